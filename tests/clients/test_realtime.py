"""Realtime sessions with clients that OpenAI's users have, each in an interpreter of its own: realtime.py and realtime.mjs
run them over TCP with a key, and over the Unix socket those that can."""

import hashlib
import subprocess
from dataclasses import dataclass

import pytest

from conftest import SPEECH
from daemon import Daemon, free_port
from known import CLIENTS
from test_others import CONFIG, HERE, OFFLINE, WORK, run

KEY = "stt_secret"
CARDS = "/usr/share/pocketsphinx/test/data/cards/001.wav"
TURNS = ["go forward ten meters", "ten of clubs"]
# Around both clips there are pauses that end a turn.
PAUSES = (
    "[0]asetpts=N/SR/TB[a];[1]asetpts=N/SR/TB[b];anullsrc=r=16000:cl=mono[s];[s]asplit=3[x][y][z];"
    "[x]atrim=duration=0.7[x];[y]atrim=duration=1.2[y];[z]atrim=duration=1.2[z];[x][a][y][b][z]concat=n=5:v=0:a=1"
)


@dataclass
class Served:
    daemon: Daemon
    url: str


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"phone sha256:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    keys.chmod(0o640)
    address = f"127.0.0.1:{free_port()}"
    config = f'{CONFIG}\n[clients.keys]\nfile = "{keys}"\n'
    with Daemon(config, also=[("http", address)]) as daemon:
        yield Served(daemon, f"http://{address}")


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A recording of two turns, as a microphone gives it."""
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    raw = ["-f", "s16le", "-ar", "16000", "-ac", "1", "-i", SPEECH]
    command = ["ffmpeg", "-loglevel", "error", "-nostdin", *raw, "-i", CARDS, "-filter_complex", PAUSES]
    # Without tags the header has 44 bytes.
    command += ["-ar", "24000", "-ac", "1", "-c:a", "pcm_s16le", "-map_metadata", "-1", "-fflags", "+bitexact", path]
    subprocess.run(command, check=True)
    return path


def environment(client, served, key=KEY):
    setting = client.setting(served.url, "localhost:0").replace("any", key)
    return {**OFFLINE, **client.environment(setting)}


def python(name, talk, environment):
    return run([WORK / "others/bin/python", HERE / "realtime.py", name, talk], environment)


def of_way(way):
    return [one for one in CLIENTS if one.way == way]


def check_openai(came):
    """What the clients of OpenAI itself heard: each turn in the order of its events, and a farewell."""
    kinds = [kind for kind in came["events"] if "delta" not in kind and "conversation.item.input" not in kind]
    begin = kinds.index("input_audio_buffer.speech_started")
    assert kinds[begin:] == 2 * [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert came["events"][0] == "session.created"
    assert came["turns"] == TURNS
    assert came["code"] == 1000


@pytest.mark.parametrize("client", of_way("realtime.py"), ids=lambda one: one.run)
def test_a_client_in_python_over_tcp_with_a_key(served, talk, client):
    came = python(client.run, talk, environment(client, served))
    # Both turns may be heard at once, and only OpenAI's own client tells which is which.
    assert sorted(came["turns"]) == sorted(TURNS)
    if client.run == "openai":
        check_openai(came)
    # LiveKit's beginnings of turns, and pipecat's errors.
    assert came.get("starts", 2) == 2
    assert not came.get("errors")


def test_openai_for_python_over_the_unix_socket(served, talk):
    (client,) = (one for one in of_way("realtime.py") if one.run == "openai")
    # There no key is asked for.
    place = {**environment(client, served, key="none"), "STT_SOCKET": str(served.daemon.socket)}
    check_openai(python(client.run, talk, place))


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_openai_for_node(served, talk, way):
    (client,) = of_way("realtime.mjs")
    socket = [served.daemon.socket] if way == "unix" else []
    key = "none" if way == "unix" else KEY
    check_openai(run(["node", HERE / "realtime.mjs", WORK / "node", talk, *socket], environment(client, served, key)))


def test_a_wrong_key_is_refused(served, talk):
    (client,) = (one for one in of_way("realtime.py") if one.run == "openai")
    with pytest.raises(AssertionError, match="HTTP 401"):
        python(client.run, talk, environment(client, served, key="stt_wrong"))
