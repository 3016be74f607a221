"""Clients that use OpenAI's API or Wyoming below another name, each in an interpreter of its own: others.py, ai.mjs and
the program in Rust run them, and print what they came to."""

import io
import json
import os
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
import srt
import webvtt

from daemon import LONG, Daemon, free_port
from known import CLIENTS

HERE = Path(__file__).resolve().parent
TEXT = "go forward ten meters"
WORK = Path(os.environ["STT_CLIENTS"])

# As it is shipped: the names by which programs ask.
SHIPPED = tomllib.loads((HERE / "../../config/stt-isolated.toml").read_text())["models"]["default"]
CONFIG = f"""
[models.default]
engine = "pocketsphinx"
aliases = {json.dumps(SHIPPED["aliases"])}
"""


@dataclass
class Served:
    daemon: Daemon
    url: str
    wyoming: str


@pytest.fixture(scope="module")
def served():
    http, wyoming = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with Daemon(CONFIG, also=[("http", http), ("wyoming", wyoming)]) as daemon:
        yield Served(daemon, f"http://{http}", wyoming)


def run(command, environment):
    # Compiled code is kept, but not among the sources.
    ours = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(WORK / "cache"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [str(word) for word in command],
        env={"HOME": str(WORK / "cache"), **ours, **environment},
        capture_output=True,
        text=True,
        timeout=3 * LONG,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


# Nothing is fetched that is not pinned.
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HAYSTACK_TELEMETRY_ENABLED": "False", "DO_NOT_TRACK": "1"}


def python(name, speech, environment):
    return run([WORK / "others/bin/python", HERE / "others.py", name, speech], {**OFFLINE, **environment})


def check(came, kinds):
    """Each way in which a client asked has come to the text."""
    for kind in kinds.split():
        answer = came.pop(kind)
        if kind in ("json", "text"):
            assert answer.strip() == TEXT
        elif kind == "srt":
            assert [cue.content for cue in srt.parse(answer)] == [TEXT]
        elif kind == "vtt":
            assert [cue.text for cue in webvtt.from_buffer(io.StringIO(answer))] == [TEXT]
        elif kind == "verbose_json":
            assert answer["text"] == TEXT
            # Of a client that has no word for words, the segments.
            parts = answer.get("words") or answer["segments"]
            assert " ".join(part.get("word", part.get("text")) for part in parts) == TEXT
        else:
            assert kind == "stream"
            *deltas, done = answer
            assert done["type"] == "transcript.text.done"
            assert "".join(event["delta"] for event in deltas) == done["text"] == TEXT
    return came


@pytest.mark.parametrize("client", [one for one in CLIENTS if one.way == "python"], ids=lambda one: one.run)
def test_a_client_in_python(served, speech, client):
    environment = client.environment(client.setting(served.url, served.wyoming))
    if client.package == "homeassistant":
        environment["STT_HOME_ASSISTANT"] = str(WORK / "apart/homeassistant")
    if client.package == "openai":
        environment["PYTHONPATH"] = str(WORK / "apart/openai")
    rest = check(python(client.run, speech, environment), client.asks)
    # Those that name a model by default asked for that one.
    assert rest.get("model", "whisper-1") in SHIPPED["aliases"]
    # Wyoming's errors are heard, and not waited for.
    assert rest.get("refused", "error") == "error"


def test_openai_for_python_finds_the_service_in_its_environment(served, speech, monkeypatch):
    (client,) = (one for one in CLIENTS if one.way == "test_openai.py")
    for name, value in client.environment(client.setting(served.url, served.wyoming)).items():
        monkeypatch.setenv(name, value)
    with openai.OpenAI() as service:
        assert service.audio.transcriptions.create(model="whisper-1", file=speech).text == TEXT


MODELS = ["whisper-1", "gpt-4o-mini-transcribe", "gpt-4o-transcribe", "gpt-transcribe"]


def ai(served, speech, *models):
    (client,) = (one for one in CLIENTS if one.way == "node")
    environment = client.environment(client.setting(served.url, served.wyoming))
    return run(["node", HERE / "ai.mjs", WORK / "node", speech, *models], environment)


def test_ai_for_node_with_each_of_its_models(served, speech):
    came = ai(served, speech, *MODELS)
    assert came["openai"] == TEXT
    assert [came[model]["text"] for model in MODELS] == [TEXT] * 4
    assert [segment["text"] for segment in came["whisper-1"]["segments"]] == [TEXT]
    assert came["whisper-1"]["language"] == came["gpt-transcribe"]["language"] == "en"
    assert came["whisper-1"]["seconds"] > 2


def test_ai_for_node_with_the_model_that_tells_speakers_apart(served, speech):
    model = "gpt-4o-transcribe-diarize"
    came = ai(served, speech, model)[model]
    assert came["text"] == TEXT
    # The recording has one channel.
    assert {segment["speaker"] for segment in came["speakers"]} == {"unknown"}


def test_async_openai(served, speech):
    (client,) = (one for one in CLIENTS if one.way == "rust")
    environment = client.environment(client.setting(served.url, served.wyoming))
    assert not check(run([WORK / "rust/debug/client", speech], environment), client.asks)
