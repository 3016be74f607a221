"""OpenAI's client in Python, unmodified: an error is the exception that its user expects, and is tried again only
where that helps. How often it asked is counted by the daemon."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import openai
import pytest

from conftest import CONFIG, client_of
from daemon import Daemon, free_port, wait_for

FAULT = "fault engine"


def ask(client, speech, model="fault", **options):
    return client.audio.transcriptions.create(model=model, file=speech, **options)


def about(error):
    return error.status_code, error.param, error.code


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"language": "de"}, "language"),
        ({"extra_body": {"speakers": "loud"}}, "speakers"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"extra_body": {"colour": "blue"}}, "colour"),
    ],
)
def test_what_the_model_cannot_do_names_the_parameter(client, speech, options, param):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, speech, "default", **options)
    assert about(caught.value) == (400, param, "invalid_parameter")
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id


def test_no_audio(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, ("noise.wav", b"this is no audio at all" * 100), "default")
    assert caught.value.code == "invalid_audio"


def test_no_such_model(client, speech):
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, speech, "gpt-4o-transcribe")
    assert about(caught.value) == (404, "model", "model_not_found")
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-4o-transcribe")
    assert about(caught.value) == (404, "model", "model_not_found")


def test_no_such_page(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="default", input="text")
    assert about(caught.value) == (404, None, "not_found")


# The client says of the page itself that OpenAI would rather not have it any more.
@pytest.mark.filterwarnings("ignore:deprecated")
def test_translations_are_refused_by_a_model_that_has_none(client, speech):
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.translations.create(model="default", file=speech)
    assert about(caught.value) == (400, "model", "invalid_parameter")


async def test_errors_of_the_async_client(async_client, speech):
    with pytest.raises(openai.BadRequestError) as caught:
        await async_client.audio.transcriptions.create(model="default", file=speech, language="de")
    assert about(caught.value) == (400, "language", "invalid_parameter")


def test_a_stream_that_fails_at_once_is_an_error_like_any_other(client, speech):
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, speech, "fault:exit=1", stream=True)
    assert about(caught.value) == (502, None, "worker_crashed")


def test_a_stream_that_fails_later_says_so(client, speech):
    stream = ask(client, speech, "hasty:stall", stream=True)
    assert next(stream).delta == FAULT
    with pytest.raises(openai.APIError) as caught:
        next(stream)
    assert caught.value.code == "timeout"


def test_who_may_not_ask_is_told_so(speech):
    # Over TCP nobody vouches for who a client is.
    port = free_port()
    only_me = CONFIG + f'[clients]\nallow_users = ["{os.geteuid()}"]\n'
    with Daemon(only_me, also=[("http", f"127.0.0.1:{port}")]) as daemon:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        with client, pytest.raises(openai.PermissionDeniedError) as caught:
            ask(client, speech)
        assert about(caught.value) == (403, None, "forbidden")
        assert daemon.endings() == {}


def test_a_key_opens_tcp(speech, tmp_path):
    port, keys = free_port(), tmp_path / "keys"
    keys.write_text(f"mine sha256:{hashlib.sha256(b'stt_mine').hexdigest()}\n")
    keys.chmod(0o600)
    config = CONFIG + f'[clients.keys]\nfile = "{keys}"\n'
    with Daemon(config, also=[("http", f"127.0.0.1:{port}")]) as daemon:
        def by(key):
            return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key)

        with by("none") as client, pytest.raises(openai.AuthenticationError) as caught:
            ask(client, speech)
        assert about(caught.value) == (401, None, "invalid_api_key")
        assert daemon.endings() == {}
        with by("stt_mine") as client:
            assert ask(client, speech).text == FAULT


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("fault:segfault", 502, "worker_crashed"),
        ("fault:fail", 502, "engine_failed"),
        ("fault:malformed", 502, "worker_misbehaved"),
        ("hasty:hang", 504, "timeout"),
    ],
)
def test_what_would_fail_again_is_not_tried_again(daemon, speech, model, status, code):
    with client_of(daemon, max_retries=5) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client, speech, model)
        assert about(caught.value) == (status, None, code)
        # The counter-proof: the client tries such an error again unless it is told not to.
        assert caught.value.response.headers["x-should-retry"] == "false"
    assert daemon.endings() == {"accepted": 1, code: 1}


def test_an_upload_that_cannot_be_stored_is_not_tried_again(speech, tmp_path):
    # A job beyond its memory limit is answered with the same status and header. That takes a real
    # cgroup, and is in tests/vm/cases/20-memory-limit.
    spool = tmp_path / "spool"
    spool.mkdir()
    sent = []
    config = CONFIG + f'[http]\nspool_memory = "1K"\nspool_directory = "{spool}"\n'
    with Daemon(config) as daemon, client_of(daemon, sent=sent, max_retries=5) as client:
        assert ask(client, speech).text == FAULT
        spool.rmdir()
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client, speech)
        assert about(caught.value) == (507, None, "storage_full")
        assert len(sent) == 2


FULL = CONFIG + """
[jobs]
max_running = 1
max_queued = 1

[clients]
max_queued = 0
"""


def fill(daemon, speech, held):
    """Have one request run and another one wait."""
    for kind in ("running", "queued"):
        request = daemon.connect()
        held.callback(request.close)
        path = "/v1/audio/transcriptions?model=fault:hang"
        request.request("POST", path, speech.read_bytes(), {"content-type": "audio/wav"})
        wait_for(f"it is {kind}", lambda: daemon.total()[kind] == 1)


def test_a_full_queue_is_tried_again_after_the_time_that_the_daemon_says(speech):
    sent = []
    with Daemon(FULL) as daemon, client_of(daemon, sent=sent) as client, ThreadPoolExecutor() as threads:
        with ExitStack() as held:
            fill(daemon, speech, held)
            answer = threads.submit(ask, client, speech)
            wait_for("it is refused", lambda: daemon.total()["refused"]["queue_full"] == 1)
        assert answer.result().text == FAULT
        assert [request.headers["x-stainless-retry-count"] for request in sent] == ["0", "1"]
        assert daemon.endings() == {"accepted": 3, "ok": 1, "cancelled": 2, "refused queue_full": 1}


def test_a_client_without_patience_learns_when_to_come_again(speech):
    with Daemon(FULL) as daemon, client_of(daemon, max_retries=0) as client, ExitStack() as held:
        fill(daemon, speech, held)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(client, speech)
        assert about(caught.value) == (429, None, "queue_full")
        assert caught.value.type == "rate_limit_error"
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 120
