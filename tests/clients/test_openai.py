"""OpenAI's client in Python, unmodified: every format, streams, models."""

import asyncio
import datetime
import io
import wave

import pytest
import srt
import webvtt

TEXT = "go forward ten meters"
WORDS = TEXT.split()


def test_json_is_what_comes_without_a_format(client, speech):
    answer = client.audio.transcriptions.create(model="whisper-1", file=speech)
    assert answer.text == TEXT
    assert (answer.usage.type, answer.usage.seconds) == ("duration", 3)
    assert answer.logprobs is None


def test_logprobs_are_those_of_the_words(client, speech):
    answer = client.audio.transcriptions.create(
        model="default", file=speech, response_format="json", include=["logprobs"]
    )
    assert "".join(one.token for one in answer.logprobs) == TEXT
    assert all(one.logprob <= 0 for one in answer.logprobs)
    assert bytes(int(byte) for one in answer.logprobs for byte in one.bytes).decode() == TEXT


def test_text(client, speech):
    answer = client.audio.transcriptions.create(model="default", file=speech, response_format="text")
    assert answer == TEXT + "\n"


def test_srt_is_read_by_a_parser_of_it(client, speech):
    answer = client.audio.transcriptions.create(model="default", file=speech, response_format="srt")
    (subtitle,) = srt.parse(answer)
    assert (subtitle.index, subtitle.content) == (1, TEXT)
    assert datetime.timedelta(0) <= subtitle.start < subtitle.end <= datetime.timedelta(seconds=3)
    assert srt.compose([subtitle]).strip() == answer.strip()


def test_subtitles_follow_the_pauses_and_the_size_that_is_asked(client, speech):
    with wave.open(str(speech)) as clip:
        samples = clip.readframes(clip.getnframes())
    recording = io.BytesIO()
    with wave.open(recording, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples + bytes(2 * 16000 * 10) + samples)
    recording.name = "two.wav"
    recording.seek(0)
    answer = client.audio.transcriptions.create(
        model="default", file=recording, response_format="srt", extra_body={"max_line_width": 11}
    )
    first, second = srt.parse(answer)
    assert first.content == second.content == "go forward\nten meters"
    assert first.end.total_seconds() < 3 and second.start.total_seconds() > 12


NOVEL = "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0{}.wav"


def test_cues_of_a_long_recording_keep_the_rules_of_subtitles(client):
    """No cue has more than two lines of 42 characters, lasts over 7 s, stays over silence, or lasts into the next."""
    samples, silence = b"", []
    for number, pause in ((870, 3), (880, 1), (890, 6), (920, 2)):
        with wave.open(NOVEL.format(number)) as clip:
            samples += clip.readframes(clip.getnframes())
        begin = len(samples) / 32000
        samples += bytes(32000 * pause)
        silence.append((begin, begin + pause))
    recording = io.BytesIO()
    with wave.open(recording, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", "NONE"))
        file.writeframes(samples)
    recording.name = "novel.wav"

    def ask(kind):
        recording.seek(0)
        return client.audio.transcriptions.create(model="default", file=recording, response_format=kind)

    subtitles = [(cue.start.total_seconds(), cue.end.total_seconds(), cue.content) for cue in srt.parse(ask("srt"))]
    def seconds(clock):
        return sum(float(part) * 60**n for n, part in enumerate(reversed(clock.split(":"))))

    captions = webvtt.from_buffer(io.StringIO(ask("vtt")))
    captions = [(seconds(cue.start), seconds(cue.end), cue.text) for cue in captions]
    assert captions == [(pytest.approx(start), pytest.approx(end), text) for start, end, text in subtitles]
    assert len(subtitles) >= 5
    end_of_last = 0
    for start, end, text in subtitles:
        lines = text.split("\n")
        assert len(lines) <= 2 and max(map(len, lines)) <= 42, text
        assert end_of_last <= start < end <= start + 7, text
        assert all(min(end, until) - max(start, since) < 1 for since, until in silence), (start, end, text)
        end_of_last = end


def test_vtt_is_read_by_a_parser_of_it(client, speech):
    answer = client.audio.transcriptions.create(model="default", file=speech, response_format="vtt")
    (caption,) = webvtt.from_buffer(io.StringIO(answer))
    assert caption.text == TEXT
    assert 0 <= caption.start_in_seconds <= caption.end_in_seconds <= 3
    assert caption.start < caption.end


def test_verbose_json_has_words_and_segments(client, speech):
    answer = client.audio.transcriptions.create(
        model="default",
        file=speech,
        language="en",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (answer.text, answer.language) == (TEXT, "english")
    assert 2 < answer.duration < 3
    assert [word.word for word in answer.words] == WORDS
    times = [time for word in answer.words for time in (word.start, word.end)]
    assert times == sorted(times) and times[-1] <= answer.duration
    (segment,) = answer.segments
    assert segment.text == TEXT
    assert 0 <= segment.start < segment.end <= answer.duration
    assert answer.usage.seconds == 3
    # An extension of ours does not disturb the client, and can be had from it.
    assert answer.stt["cpu_ms"] > 0


@pytest.mark.parametrize(("asked", "words", "segments"), [(["word"], 4, None), (["segment"], None, 1), (None, None, 1)])
def test_granularities_are_those_asked_for(client, speech, asked, words, segments):
    options = {"timestamp_granularities": asked} if asked else {}
    answer = client.audio.transcriptions.create(
        model="default", file=speech, response_format="verbose_json", **options
    )
    count = lambda items: None if items is None else len(items)
    assert (count(answer.words), count(answer.segments)) == (words, segments)


def test_a_stream_says_the_text_in_pieces(client, speech):
    with client.audio.transcriptions.create(model="default", file=speech, stream=True) as stream:
        *deltas, done = list(stream)
    assert [event.type for event in deltas] == ["transcript.text.delta"] * len(deltas)
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text == TEXT


def test_a_stream_of_many_pieces_is_whole(client, speech):
    with client.audio.transcriptions.create(model="fault:burst=500", file=speech, stream=True) as stream:
        *deltas, done = list(stream)
    assert len(deltas) == 500
    assert "".join(event.delta for event in deltas) == done.text == " ".join(["fault engine"] * 500)


def test_headers_are_within_reach(client, speech):
    raw = client.audio.transcriptions.with_raw_response.create(model="default", file=speech)
    assert raw.parse().text == TEXT
    assert int(raw.headers["x-stt-cpu-ms"]) > 0
    assert raw.request_id == raw.headers["x-request-id"]


def test_our_own_options_pass_through(client, speech):
    answer = client.audio.transcriptions.create(
        model="default", file=speech, response_format="text", extra_body={"vad": False, "deadline": "30s"}
    )
    assert answer == TEXT + "\n"


@pytest.mark.parametrize("kind", ["path", "bytes", "file", "tuple"])
def test_a_file_may_be_given_in_every_way_that_the_client_knows(client, speech, kind):
    content = speech.read_bytes()
    file = {
        "path": speech,
        "bytes": content,
        "file": io.BytesIO(content),
        "tuple": ("speech.wav", content, "audio/wav"),
    }[kind]
    assert client.audio.transcriptions.create(model="default", file=file).text == TEXT


def test_models(client):
    models = [(model.id, model.owned_by) for model in client.models.list()]
    ours = [("default", "pocketsphinx"), ("whisper-1", "pocketsphinx"), ("null", "null")]
    assert sorted(models) == sorted([*ours, ("fault", "fault"), ("hasty", "fault")])
    assert client.models.retrieve("whisper-1").owned_by == "pocketsphinx"


async def test_async_requests_at_the_same_time(async_client, speech):
    create = async_client.audio.transcriptions.create
    requests = [create(model=model, file=speech) for model in ("default", "null", "fault", "default")]
    answers = await asyncio.gather(*requests)
    assert [answer.text for answer in answers] == [TEXT, "", "fault engine", TEXT]


async def test_an_async_stream(async_client, speech):
    stream = await async_client.audio.transcriptions.create(model="default", file=speech, stream=True)
    events = [event async for event in stream]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == TEXT


async def test_async_verbose_json(async_client, speech):
    answer = await async_client.audio.transcriptions.create(
        model="default", file=speech, response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert [word.word for word in answer.words] == WORDS


async def test_async_models(async_client):
    assert "default" in [model.id async for model in async_client.models.list()]


@pytest.mark.parametrize("options", [{"temperature": 0.5}, {"prompt": "Meters."}])
def test_a_hint_that_the_model_cannot_use_is_a_warning(client, speech, options):
    raw = client.audio.transcriptions.with_raw_response.create(model="default", file=speech, **options)
    assert raw.parse().text == TEXT
    (hint,) = options
    assert f"`{hint}` was left out" in raw.headers["x-stt-warnings"]
