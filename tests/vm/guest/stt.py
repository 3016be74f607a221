"""Shared by cases in Python: requests to the service, its cgroups, its unit, the journal."""

import http.client
import json
import os
import pathlib
import pwd
import re
import socket
import subprocess
import sys
import time
import uuid
import wave

SOCKET = os.environ.get("STT_ISOLATED_SOCKET", "/run/stt-isolated/http.sock")
CONFIG = pathlib.Path("/etc/stt-isolated/stt-isolated.toml")
UNIT = "stt-isolated.service"
DATA = pathlib.Path("/usr/share/pocketsphinx/test/data")

# The default configuration of every case: the real engine, and the one that misbehaves on request.
MODELS = """
default_model = "default"

[models.default]
engine = "pocketsphinx"

[models.fault]
engine = "fault"
"""


def fail(reason):
    print("FAILED:", reason, file=sys.stderr)
    sys.exit(1)


def expect(what, wanted, got):
    if wanted != got:
        fail(f"{what}: wanted {wanted!r}, got {got!r}")


def check(condition, what):
    if not condition:
        fail(what)


def fact(name, value):
    print(f"fact {name}={value}", flush=True)


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def eventually(seconds, what, condition):
    """Waits until the condition holds and returns its value; otherwise fails the case."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            fail(f"never came true: {what}")
        time.sleep(0.02)


class Connection(http.client.HTTPConnection):
    """HTTP over the service's Unix socket."""

    def __init__(self, timeout):
        super().__init__("localhost", timeout=timeout)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read().decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        """The transcript; fails the case if there is none."""
        if self.status != 200:
            fail(f"status {self.status}: {self.body}")
        return self.json["text"]

    @property
    def error(self):
        return self.json["error"] if self.status != 200 else {"code": "ok", "message": self.body}

    def number(self, header):
        return int(self.headers[header])


def get(path, timeout=60):
    connection = Connection(timeout)
    connection.request("GET", path)
    answer = Answer(connection.getresponse())
    connection.close()
    return answer


def form(recording, **fields):
    """Content type and body of a multipart form."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="clip.wav"\r\n\r\n'
    parts += [head.encode(), recording, f"\r\n--{boundary}--\r\n".encode()]
    return {"content-type": f"multipart/form-data; boundary={boundary}"}, b"".join(parts)


def send(recording, timeout=300, **fields):
    """A connection on which a transcription was requested and not yet answered."""
    headers, body = form(recording, **fields)
    connection = Connection(timeout)
    connection.request("POST", "/v1/audio/transcriptions", body, headers)
    return connection


def transcribe(recording, timeout=300, **fields):
    connection = send(recording, timeout, **fields)
    answer = Answer(connection.getresponse())
    connection.close()
    return answer


def wav(samples, rate=16000):
    import io

    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", "NONE"))
        out.writeframes(samples)
    return file.getvalue()


def goforward():
    """A recording of a person who says `go forward ten meters`."""
    return wav((DATA / "goforward.raw").read_bytes())


def silence(seconds):
    return wav(bytes(int(seconds * 32000)))


def as_user(name, work):
    """Runs `work` as a user with all its groups, in another process, and returns its result."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            user = pwd.getpwnam(name)
            os.initgroups(name, user.pw_gid)
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            try:
                result = work()
            except OSError as error:
                result = type(error).__name__
            os.write(writer, json.dumps(result).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    check(result, f"{name} ended without a result")
    return json.loads(result)


def property_of(name, unit=UNIT):
    return run("systemctl", "show", f"--property={name}", "--value", unit).strip()


def unit_cgroup():
    return pathlib.Path("/sys/fs/cgroup" + property_of("ControlGroup"))


def field(path, key):
    """The number after `key` in a flat-keyed cgroup file."""
    for line in pathlib.Path(path).read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return None


def supervisor():
    return int(property_of("MainPID"))


def processes(pattern="*"):
    """Process ids by the name of their cgroup below the unit."""
    found = {}
    for file in unit_cgroup().glob(f"{pattern}/cgroup.procs"):
        found[file.parent.name] = [int(pid) for pid in file.read_text().split()]
    return found


def private_memory(pid):
    """Bytes that only this process has: Private_Clean + Private_Dirty."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(n) << 10 for n in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", text, re.M))


def is_ready():
    try:
        return get("/readyz", timeout=30).status == 200
    except OSError:
        return False


def start(config=MODELS, wait=True):
    """Starts the service with `config`, and waits until it is ready."""
    CONFIG.write_text(config)
    subprocess.run(["systemctl", "stop", UNIT], check=True)
    subprocess.run(["systemctl", "reset-failed", UNIT], check=False, capture_output=True)
    run("systemctl", "start", "stt-isolated.socket")
    if wait:
        subprocess.run(["systemctl", "start", UNIT], check=True)
        eventually(60, "the service is ready", is_ready)


def journal(*arguments):
    run("journalctl", "--sync")
    return run("journalctl", "--no-pager", "-o", "cat", *arguments)
