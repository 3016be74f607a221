"""Wyoming's own client in Python, unmodified, as Home Assistant uses it: one connection, several recordings."""

import wave

import pytest
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import wav_to_chunks
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from conftest import CONFIG
from daemon import LONG, Daemon

TEXT = "go forward ten meters"


@pytest.fixture(scope="module")
def socket(tmp_path_factory):
    return tmp_path_factory.mktemp("wyoming") / "wyoming.sock"


@pytest.fixture(scope="module")
def served(socket):
    with Daemon(CONFIG, also=[("wyoming", socket)]) as daemon:
        yield daemon


def connect(socket):
    return AsyncClient.from_uri(f"unix://{socket}", connect_timeout=LONG, read_timeout=LONG)


@pytest.fixture
async def client(served, socket):
    async with connect(socket) as client:
        yield client


async def send(client, speech, **wish):
    await client.write_event(Transcribe(**wish).event())
    with wave.open(str(speech)) as file:
        for piece in wav_to_chunks(file, 1024, start_event=True, stop_event=True):
            await client.write_event(piece.event())


async def hear(client):
    """The transcript, and the kinds of the events around it; together the pieces of a stream are the same."""
    kinds, pieces, transcript = [], "", None
    while TranscriptStop().event().type not in kinds:
        event = await client.read_event()
        assert event is not None, f"the connection ended after {kinds}"
        kinds.append(event.type)
        if TranscriptChunk.is_type(event.type):
            pieces += TranscriptChunk.from_event(event).text
        elif Transcript.is_type(event.type):
            transcript = Transcript.from_event(event)
        elif Error.is_type(event.type):
            raise AssertionError(Error.from_event(event))
    assert pieces == transcript.text
    return transcript, kinds


async def test_describe(client):
    await client.write_event(Describe().event())
    (program,) = Info.from_event(await client.read_event()).asr
    assert program.installed and program.supports_transcript_streaming
    models = {model.name: model for model in program.models}
    assert sorted(models) == ["default", "fault", "hasty", "null"]
    assert models["default"].installed and models["default"].languages == ["en"]


async def test_a_transcript_comes_as_a_stream_too(client, speech):
    await send(client, speech, language="en")
    transcript, kinds = await hear(client)
    assert (transcript.text, transcript.language) == (TEXT, "en")
    assert kinds == [
        TranscriptStart().event().type,
        TranscriptChunk(text="").event().type,
        Transcript(text="").event().type,
        TranscriptStop().event().type,
    ]


async def test_a_long_stream_is_whole(client, speech):
    await send(client, speech, name="fault:burst=100")
    transcript, kinds = await hear(client)
    assert transcript.text == " ".join(["fault engine"] * 100)
    assert kinds.count("transcript-chunk") == 100


async def test_one_connection_serves_many_requests(served, client, speech):
    before = served.total()["requests"]["ok"]
    for name, text in [("default", TEXT), ("fault", "fault engine"), (None, TEXT)]:
        await client.write_event(Ping(text="still there?").event())
        assert Pong.from_event(await client.read_event()).text == "still there?"
        await send(client, speech, name=name)
        assert (await hear(client))[0].text == text
    assert served.total()["requests"]["ok"] - before == 3


async def assert_ends_with(code, client):
    event = await client.read_event()
    while not Error.is_type(event.type):
        event = await client.read_event()
    assert Error.from_event(event).code == code
    # Home Assistant up to 2026.8.0 passes over errors: only the end of the connection ends its
    # waiting.
    assert await client.read_event() is None


@pytest.mark.parametrize(
    ("wish", "code"),
    [({"name": "nobody"}, "model_not_found"), ({"name": "default", "language": "de"}, "invalid_parameter")],
)
async def test_a_wish_that_cannot_be_met_is_refused_before_the_recording(client, wish, code):
    await client.write_event(Transcribe(**wish).event())
    await assert_ends_with(code, client)


@pytest.mark.parametrize(("model", "code"), [("fault:segfault", "worker_crashed"), ("hasty:hang", "timeout")])
async def test_a_job_that_fails_is_an_error_with_the_code_that_http_has(client, socket, speech, model, code):
    await send(client, speech, name=model)
    await assert_ends_with(code, client)
    async with connect(socket) as other:
        await send(other, speech)
        assert (await hear(other))[0].text == TEXT
