"""Requests of programs that cannot be run here, sent again: recorded.json says which part of which program's source
each was recorded from. As the program's own transport would, each is sent in one go, over TCP."""

import http.client
import json
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from daemon import LONG, Daemon, free_port
from test_others import CONFIG, SHIPPED, TEXT, check

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())
BOUNDARY = "----recorded"


@pytest.fixture(scope="module")
def port():
    port = free_port()
    with Daemon(CONFIG, also=[("http", f"127.0.0.1:{port}")]):
        yield port


def recording(speech, name, folder):
    """The clip as the program records it: its file's name tells."""
    kind = Path(name).suffix.removeprefix(".")
    if kind == "wav":
        return speech.read_bytes()
    file = folder / f"clip.{kind or 'raw'}"
    codec = {"webm": ["-c:a", "libopus"], "ogg": ["-c:a", "libopus"], "": ["-f", "s16le"]}.get(kind, [])
    subprocess.run(["ffmpeg", "-v", "error", "-i", speech, *codec, file], check=True)
    return file.read_bytes()


def form(request, content):
    """The body of the request."""
    file = request["file"]
    part = [f'Content-Disposition: form-data; name="{file["field"]}"; filename="{file["name"]}"']
    part += [f"Content-Type: {file['type']}"] if "type" in file else []
    head = "\r\n".join(part)
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in request["fields"]
    ]
    parts.insert(0 if request["file_comes"] == "first" else len(parts), f"{head}\r\n\r\n".encode() + content)
    body = b"".join(b"--%s\r\n%s\r\n" % (BOUNDARY.encode(), part) for part in parts)
    return body + f"--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(
    "request_", RECORDED, ids=[f"{one['name']} {number}" for number, one in enumerate(RECORDED)]
)
def test_a_recorded_request_is_served(port, speech, tmp_path, request_):
    body = form(request_, recording(speech, request_["file"]["name"], tmp_path))
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **request_["headers"]}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)) as connection:
        connection.request("POST", request_["path"], body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
    assert answer.status == 200, text
    kind = request_["answer"]
    if kind == "language":
        assert json.loads(text) == {"detected_language": "english", "language_code": "en"}
    elif kind in ("json", "verbose_json"):
        assert json.loads(text)["text"] == TEXT
    else:
        check({kind: text}, kind)


def test_the_models_that_the_programs_name_are_aliases_as_shipped():
    names = {value for one in RECORDED for field, value in one["fields"] if field == "model"}
    assert names <= set(SHIPPED["aliases"])
