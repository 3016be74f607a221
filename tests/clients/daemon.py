"""The real daemon under real socket activation, as the clients of these tests find it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

BINARY = os.environ["STT_DAEMON"]

# Long enough for anything that happens at all, on a machine that is busy with other things.
LONG = 60


def wait_for(what, condition):
    """What `condition` gives, once it gives something."""
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.005)
    raise TimeoutError(f"not within {LONG} s: {what}")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=LONG)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Daemon:
    """A running daemon, which must end in good order when it is told to."""

    def __init__(self, config, *, also=(), program=BINARY):
        """`also`: names and addresses of sockets beside that of HTTP."""
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.socket = self.folder / "http.sock"
        file = self.folder / "stt-isolated.toml"
        file.write_text(config)
        sockets = [("http", str(self.socket)), *also]
        arguments = ["--fdname", ":".join(name for name, _ in sockets)]
        for _, address in sockets:
            arguments += ["-l", address]
        # Where no cgroup is delegated to the test, jobs run without limits.
        arguments += ["-E", "STT_ISOLATED_ISOLATION__REQUIRE_CGROUP=false"]
        arguments += [program, "serve", "--config", str(file)]
        if os.geteuid() == 0:
            arguments.append("--allow-root")
        self._log = (self.folder / "log").open("wb")
        # A test that is killed takes its daemon with it.
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "systemd-socket-activate", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        try:
            wait_for("the daemon is ready", self._is_ready)
        except BaseException:
            self._end(signal.SIGKILL)
            raise

    @property
    def pid(self):
        return self._process.pid

    def _is_ready(self):
        if self._process.poll() is not None:
            raise ChildProcessError(f"the daemon ended: {self.log()}")
        try:
            return self.get("/readyz")[0] == 200
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def get(self, path):
        """Status and body of a page."""
        with closing(self.connect()) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def connect(self):
        """A connection of the standard library's, which knows nothing of what it carries."""
        return _UnixConnection(self.socket)

    def total(self):
        """What all models did so far: docs/STATS.md."""
        return json.loads(self.get("/v1/stats")[1])["total"]

    def endings(self):
        """How many requests of each kind there were, those refused included; none is left out, and no zero is in."""
        total = self.total()
        seen = {**total["requests"], **{f"refused {why}": n for why, n in total["refused"].items()}}
        return {kind: count for kind, count in seen.items() if count}

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def _end(self, number):
        self._process.send_signal(number)
        try:
            return self._process.wait(LONG)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            status = self._end(signal.SIGTERM)
            log = self.log()
        finally:
            self._folder.cleanup()
        if kind is not None:
            # pytest shows what is printed by a test that fails.
            print(f"the end of the daemon's log:\n{log[-8000:]}")
        elif status != 0:
            raise ChildProcessError(f"the daemon ended with {status}:\n{log}")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
