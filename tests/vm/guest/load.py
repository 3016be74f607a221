"""Clients that come at a steady rate, each over its own connection, and check their answers."""

import collections
import selectors
import threading
import time

from stt import *


# Largest number of parallel clients: an emulated machine on a busy host may not keep up with its
# clients.
MOST = 100

# How long a client waits for its answer, in seconds.
PATIENCE = 300


class Client:
    """A request and its partial answer, with little work: the processors are for the service."""

    def __init__(self, request, texts):
        self.began = time.monotonic()
        self.texts = texts
        self.unsent = memoryview(request)
        self.got = b""
        self.socket = socket.socket(socket.AF_UNIX)
        # This blocks only if the socket's backlog is full.
        self.socket.settimeout(PATIENCE)

    def connect(self):
        self.socket.connect(SOCKET)
        self.socket.setblocking(False)

    def go_on(self):
        """Sends and receives as much as possible. Returns the outcome once there is an answer."""
        if self.unsent:
            try:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
            except BlockingIOError:
                pass
            except OSError:
                # The server may have answered all the same.
                self.unsent = memoryview(b"")
        try:
            piece = self.socket.recv(1 << 16)
        except BlockingIOError:
            return None
        self.got += piece
        head, end, body = self.got.partition(b"\r\n\r\n")
        length = re.search(rb"\ncontent-length: *(\d+)", head.lower()) if end else None
        if length and len(body) >= int(length[1]):
            return self.judge(int(head.split(None, 2)[1]), json.loads(body))
        return None if piece else "broken: the connection ended before the answer"

    def judge(self, status, answer):
        if status != 200:
            return f"{status} {answer['error']['code']}"
        return "right" if answer["text"] in self.texts else f"wrong text: {answer['text']!r}"


class Load:
    """`with Load(rate, …) as load:` sends requests all the time; then `load.counts` has the outcomes.

    Each kind is a recording, a model, and the right texts. The kinds take turns.
    """

    def __init__(self, rate, *kinds):
        self.interval = 1 / rate
        known = {}
        for recording, model, texts in kinds:
            if (recording, model) not in known:
                known[recording, model] = request(recording, model), texts
        self.kinds = [known[recording, model] for recording, model, _ in kinds]
        self.counts = collections.Counter()
        self.slowest = 0.0
        self.lock = threading.Lock()
        self.stop = threading.Event()

    def __enter__(self):
        self.began = time.monotonic()
        self.clients = threading.Thread(target=self.work)
        self.clients.start()
        return self

    def __exit__(self, kind, *_):
        self.took = time.monotonic() - self.began
        self.stop.set()
        self.clients.join()

    def work(self):
        due, number, waiting = self.began, 0, selectors.DefaultSelector()
        while not self.stop.is_set() or waiting.get_map():
            now = time.monotonic()
            more = not self.stop.is_set() and len(waiting.get_map()) < MOST
            if more and now >= due:
                self.start(Client(*self.kinds[number % len(self.kinds)]), waiting)
                number += 1
                # Requests that could not be sent in time are skipped.
                due = max(due + self.interval, now)
            for key, _ in waiting.select(max(0, due - time.monotonic()) if more else 0.2):
                self.go_on(key.data, waiting)
            # The map keeps the order in which the clients came.
            oldest = next(iter(waiting.get_map().values()), None)
            if oldest and time.monotonic() - oldest.data.began > PATIENCE:
                self.end(oldest.data, f"no answer within {PATIENCE} s", waiting)

    def start(self, client, waiting):
        try:
            client.connect()
        except ConnectionRefusedError:
            self.note(client, "connection refused")
        except OSError as error:
            self.note(client, f"not connected: {error!r}")
        else:
            waiting.register(client.socket, selectors.EVENT_READ, client)
            self.go_on(client, waiting)

    def go_on(self, client, waiting):
        try:
            what = client.go_on()
        except (OSError, ValueError, KeyError) as error:
            what = f"broken: {error!r}"
        if what:
            self.end(client, what, waiting)
        else:
            more = selectors.EVENT_WRITE if client.unsent else 0
            waiting.modify(client.socket, selectors.EVENT_READ | more, client)

    def end(self, client, what, waiting):
        waiting.unregister(client.socket)
        self.note(client, what)

    def note(self, client, what):
        client.socket.close()
        with self.lock:
            self.counts[what] += 1
            self.slowest = max(self.slowest, time.monotonic() - client.began)

    def so_far(self):
        with self.lock:
            return self.counts["right"]

    def wait_for_more(self, count):
        """Waits until `count` more requests were answered."""
        goal = self.so_far() + count
        eventually(120, f"{count} more answers", lambda: self.so_far() >= goal)

    def check(self, name):
        """Checks that every answer was right."""
        total = sum(self.counts.values())
        rate = f"{total / self.took:.0f} a second, the slowest {self.slowest:.1f} s (emulated)"
        fact(name, f"{self.counts['right']} of {total} requests right, {rate}")
        expect("what became of the requests", {"right": total}, dict(self.counts))
        check(total > 50, f"only {total} requests")


def request(recording, model):
    """All bytes of a request for `model`."""
    headers, body = form(recording, model=model)
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
    return (head + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode() + body


# Requests for engines that answer at once, and sometimes one of real speech, which takes seconds on
# an emulated machine.
def usual(*more):
    quick = [(silence(0.5), "null", [""]), (silence(0.5), "fault", ["fault engine"])]
    quick += more
    kinds = [quick[n % len(quick)] for n in range(199)]
    return [*kinds, (goforward(), "default", ["go forward ten meters"])]


# Clients may wait while models load, and get the time that they need on an emulated machine. A line
# for each request would keep journald busier than the service. The text ends in the table [limits].
BURSTS = """
[jobs]
max_running = 8
max_queued = 3000
queue_timeout = "5min"

[service]
log_level = "warn"
drain_timeout = "3min"

[limits]
deadline = "5min"
"""


def logged():
    """The service's last log lines, without `--sync`: under load journald never finishes it."""
    return run("journalctl", "--no-pager", "-o", "cat", "-u", UNIT, "-n", "50")


NULL = '\n[models.null]\nengine = "null"\n'
