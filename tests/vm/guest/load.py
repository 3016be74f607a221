"""Clients that come at a steady rate, each over a connection of its own, and check what they get."""

import collections
import threading
import time

from stt import *


# Clients at once, at most: an emulated machine beside other work may not keep up with its clients.
MOST = 100


class Load:
    """`with Load(rate, …) as load:` asks all the time; afterwards `load.counts` tells what became of it all.

    Each kind is a recording, a model, and the texts that are right answers. They are asked for in turn.
    """

    def __init__(self, rate, *kinds):
        self.interval = 1 / rate
        self.kinds = kinds
        self.counts = collections.Counter()
        self.slowest = 0.0
        self.lock = threading.Lock()
        self.places = threading.Semaphore(MOST)
        self.stop = threading.Event()
        self.clients = []

    def __enter__(self):
        self.clock = threading.Thread(target=self.tick)
        self.clock.start()
        return self

    def __exit__(self, kind, *_):
        self.stop.set()
        self.clock.join()
        self.took = time.monotonic() - self.began
        for client in self.clients:
            client.join()

    def tick(self):
        self.began = due = time.monotonic()
        number = 0
        while not self.stop.is_set():
            if not self.places.acquire(timeout=1):
                continue
            client = threading.Thread(target=self.ask, args=(self.kinds[number % len(self.kinds)],))
            client.start()
            self.clients.append(client)
            number += 1
            due += self.interval
            late = time.monotonic() - due
            time.sleep(max(0, -late))
            # What could not be asked in time is not made up for.
            due += max(0, late)

    def ask(self, kind):
        recording, model, texts = kind
        began = time.monotonic()
        try:
            answer = transcribe(recording, timeout=300, model=model)
            if answer.status != 200:
                what = f"{answer.status} {answer.error['code']}"
            elif answer.json["text"] in texts:
                what = "right"
            else:
                what = f"wrong text: {answer.json['text']!r}"
        except ConnectionRefusedError:
            what = "connection refused"
        except (OSError, http.client.HTTPException, ValueError) as error:
            what = f"broken: {error!r}"
        self.places.release()
        with self.lock:
            self.counts[what] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

    def so_far(self):
        with self.lock:
            return self.counts["right"]

    def wait_for_more(self, count):
        """Until so many more were answered."""
        goal = self.so_far() + count
        eventually(120, f"{count} more answers", lambda: self.so_far() >= goal)

    def check(self, name):
        """Every single one was right."""
        total = sum(self.counts.values())
        rate = f"{total / self.took:.0f} a second, the slowest {self.slowest:.1f} s (emulated)"
        fact(name, f"{self.counts['right']} of {total} requests right, {rate}")
        expect("what became of the requests", {"right": total}, dict(self.counts))
        check(total > 50, f"only {total} requests")


# Requests for engines that answer at once, and now and then one of real speech: emulated that takes seconds.
def usual(*more):
    quick = [(silence(0.5), "null", [""]), (silence(0.5), "fault", ["fault engine"])]
    quick += more
    kinds = [quick[n % len(quick)] for n in range(199)]
    return [*kinds, (goforward(), "default", ["go forward ten meters"])]


# As many as come while models load may wait, and everybody has the time that he needs emulated. A line for each request
# would keep journald busier than the service. Ends in the table [limits].
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
    """What the service said lately; under load journald does not come to the end of a `--sync`."""
    return run("journalctl", "--no-pager", "-o", "cat", "-u", UNIT, "-n", "50")


NULL = '\n[models.null]\nengine = "null"\n'
