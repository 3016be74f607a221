"""curl, in the ways to send that docs/API.md has no line for: from a pipe, asking first, on one connection."""

import json
import subprocess

from conftest import CONFIG
from daemon import LONG, Daemon

TEXT = "go forward ten meters"
URL = "http://localhost/v1/audio/transcriptions"


def curl(daemon, *arguments, stdin=None):
    """What curl came to, and what it wrote."""
    command = ["curl", "--silent", "--show-error", "--unix-socket", daemon.socket, *arguments]
    run = subprocess.run(command, input=stdin, capture_output=True, timeout=LONG)
    return run.returncode, run.stdout.decode(), run.stderr.decode()


def test_a_recording_from_a_pipe_has_no_length(shared, speech):
    arguments = ["--verbose", "-X", "POST", "-T", "-", "-H", "Content-Type: audio/wav"]
    status, answer, trouble = curl(shared, URL, *arguments, stdin=speech.read_bytes())
    assert (status, json.loads(answer)["text"]) == (0, TEXT), trouble
    assert "> Transfer-Encoding: chunked" in trouble


def test_whoever_asks_first_may_send_and_is_spared_what_is_too_large(speech, tmp_path):
    size = 4 << 20
    (tmp_path / "large").write_bytes(speech.read_bytes().ljust(size, b"\0"))
    (tmp_path / "larger").write_bytes(bytes(2 * size))
    ask = ["--expect100-timeout", str(LONG), "-H", "Expect: 100-continue", "-H", "Content-Type: audio/wav"]
    figures = ["--write-out", "\n%{response_code} %{size_upload}"]

    def send(daemon, name):
        status, answer, trouble = curl(daemon, "-v", URL, *ask, "--data-binary", f"@{tmp_path / name}", *figures)
        assert status == 0, trouble
        answer, figure = answer.rsplit("\n", 1)
        return json.loads(answer), figure, trouble

    with Daemon(CONFIG + f"[http]\nmax_upload = \"{size + 4096}\"\n") as daemon:
        answer, figure, trouble = send(daemon, "large")
        assert (answer["text"], figure) == (TEXT, f"200 {size}")
        assert "< HTTP/1.1 100 Continue" in trouble
        answer, figure, trouble = send(daemon, "larger")
        assert (answer["error"]["code"], figure) == ("upload_too_large", "413 0")
        assert "100 Continue" not in trouble


def test_one_connection_serves_many_requests(shared, speech):
    ask = ["--unix-socket", shared.socket, URL, "-F", f"file=@{speech}", "-F", "response_format=text"]
    count = ["--write-out", "%{response_code} %{num_connects}\n", "--output", "/dev/null"]
    good, bad = [*ask, *count], [*ask, "-F", "model=none", *count]
    status, answer, trouble = curl(shared, *good, "--next", *bad, "--next", *good)
    assert (status, answer) == (0, "200 1\n404 0\n200 0\n"), trouble


def test_http2_is_refused_and_not_left_hanging(shared):
    status, answer, trouble = curl(shared, "--http2-prior-knowledge", "http://localhost/healthz")
    assert (status, answer) != (0, ""), trouble
    assert shared.get("/healthz")[0] == 200
