"""Clients behind a proxy that closes the sending side once their request is through, as socat and others do: what the
daemon sends to see whether somebody still waits does not disturb them."""

import json
import re
import socket
import subprocess
import threading
from contextlib import closing

import openai
import pytest

from daemon import LONG
from test_openai import TEXT


class Relay(threading.Thread):
    """A proxy for one client at a time. `seen` is all that the daemon sent."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.seen = str(path), b""
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}/v1"

    def run(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            with closing(client), closing(socket.socket(socket.AF_UNIX)) as daemon:
                client.settimeout(LONG)
                daemon.settimeout(LONG)
                daemon.connect(self.path)
                daemon.sendall(whole_request(client))
                daemon.shutdown(socket.SHUT_WR)
                while data := daemon.recv(65536):
                    self.seen += data
                    client.sendall(data)


def whole_request(client):
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += client.recv(1)
    left = int(re.search(rb"content-length: (\d+)", request.lower())[1])
    while left:
        data = client.recv(left)
        request, left = request + data, left - len(data)
    return request


@pytest.fixture
def relay(shared):
    relay = Relay(shared.socket)
    relay.start()
    yield relay
    relay.server.close()


def test_openai_for_python_passes_over_it(relay, speech):
    # Two seconds of a CPU, so that the daemon asks.
    with openai.OpenAI(base_url=relay.url, api_key="none", timeout=LONG) as client:
        assert client.audio.transcriptions.create(model="default", file=speech).text == TEXT
        assert b"HTTP/1.1 100 Continue\r\n\r\n" in relay.seen


def test_a_stream_is_whole(relay, speech):
    with openai.OpenAI(base_url=relay.url, api_key="none", timeout=LONG) as client:
        with client.audio.transcriptions.create(model="hasty:stall", file=speech, stream=True) as stream:
            assert next(stream).delta == "fault engine"
            with pytest.raises(openai.APIError) as caught:
                next(stream)
    assert caught.value.code == "timeout"
    # In pieces of the answer's own, so the client did not take them for the event.
    assert b"\r\n:\n\n\r\n" in relay.seen


def test_curl_passes_over_it(relay, speech):
    command = ["curl", "--silent", "--show-error", f"{relay.url}/audio/transcriptions", "-F", f"file=@{speech}"]
    run = subprocess.run(command, capture_output=True, timeout=LONG, check=True)
    assert json.loads(run.stdout)["text"] == TEXT
    assert b"HTTP/1.1 100 Continue\r\n\r\n" in relay.seen
