"""What the tests share: a daemon, real speech, and clients of the daemon."""

import wave

import httpx2
import openai
import pytest

from daemon import LONG, Daemon

SPEECH = "/usr/share/pocketsphinx/test/data/goforward.raw"

CONFIG = """
default_model = "default"

[models.default]
engine = "pocketsphinx"
aliases = ["whisper-1"]

[models.null]
engine = "null"

[models.fault]
engine = "fault"

[models.hasty]
engine = "fault"
limits = { deadline = "2s", deadline_per_audio_second = 0.0 }
"""


@pytest.fixture(scope="session")
def speech(tmp_path_factory):
    """A file in which somebody says `go forward ten meters`."""
    path = tmp_path_factory.mktemp("speech") / "goforward.wav"
    with wave.open(str(path), "wb") as file, open(SPEECH, "rb") as samples:
        file.setparams((1, 2, 16000, 0, "NONE", "NONE"))
        file.writeframes(samples.read())
    return path


@pytest.fixture(scope="session")
def shared():
    """One daemon for every test that leaves nothing behind."""
    with Daemon(CONFIG) as daemon:
        yield daemon


@pytest.fixture
def daemon():
    """A daemon whose counts are one test's own."""
    with Daemon(CONFIG) as daemon:
        yield daemon


def client_of(daemon, *, sent=None, **options):
    """OpenAI's client as it comes, retries included, with the transport that it offers for a Unix socket. Each request
    that leaves it is put into `sent`."""
    transport = httpx2.HTTPTransport(uds=str(daemon.socket))
    return openai.OpenAI(
        base_url="http://localhost/v1",
        api_key="none",
        timeout=LONG,
        http_client=openai.DefaultHttpxClient(
            transport=transport, event_hooks={"request": [] if sent is None else [sent.append]}
        ),
        **options,
    )


@pytest.fixture
def client(shared):
    with client_of(shared) as client:
        yield client


@pytest.fixture
async def async_client(shared):
    transport = httpx2.AsyncHTTPTransport(uds=str(shared.socket))
    async with openai.AsyncOpenAI(
        base_url="http://localhost/v1",
        api_key="none",
        timeout=LONG,
        http_client=openai.DefaultAsyncHttpxClient(transport=transport),
    ) as client:
        yield client
