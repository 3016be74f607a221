#!/usr/bin/python3
"""A program that does what the request's prompt says. Without one it behaves."""
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time

TEXT = "it behaves"


def say(**line):
    print(json.dumps(line), flush=True)


def attempt(action):
    """What became of it, as a transcript."""
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"


def leave_child():
    """A child that ignores what can be ignored, holds every descriptor, and tells its number as the transcript."""
    child = os.fork()
    if child == 0:
        for number in signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE:
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(1000)
    return str(child)


def new_session():
    child = os.fork()
    if child == 0:
        attempt(os.setsid)
        attempt(lambda: os.setpgid(0, 0))
        while True:
            time.sleep(1000)
    return str(child)


def fill_scratch():
    folder = os.environ["TMPDIR"]
    for number in range(64):
        with open(f"{folder}/{number}", "wb") as file:
            file.write(bytes(1 << 20))
    deep = folder
    for _ in range(300):
        deep += "/d"
        os.mkdir(deep)
    os.symlink("/", folder + "/link")
    os.chmod(folder, 0)
    return folder


say(ready={"audio": "original" if "original" in sys.argv else "pcm"})
request = json.loads(sys.stdin.readline())
mode = request["prompt"] or "behave"
libc = ctypes.CDLL(None, use_errno=True)
duration = None
text = TEXT

if mode == "hang":
    time.sleep(1000)
elif mode == "spin":
    while True:
        pass
elif mode == "flood":
    while True:
        os.write(1, b"x" * 65536)
elif mode == "flood-progress":
    while True:
        say(progress=0)
elif mode == "flood-text":
    while True:
        say(segment={"text": "x" * 5000, "start": 0, "end": 0})
elif mode == "flood-stderr":
    for _ in range(1000):
        os.write(2, b"y" * 65536)
elif mode == "exit":
    print("this is why", file=sys.stderr)
    sys.exit(3)
elif mode == "exit-0":
    sys.exit(0)
elif mode == "segfault":
    ctypes.string_at(0)
elif mode == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif mode == "amid":
    os.read(3, 1000)
    say(segment={"text": "the beginning", "start": 0, "end": 0})
    os.abort()
elif mode == "close":
    os.close(1)
    time.sleep(1000)
elif mode == "half-line":
    os.write(1, b'{"done":')
    sys.exit(0)
elif mode == "no-json":
    print("Loading weights", flush=True)
elif mode == "no-utf8":
    os.write(1, b"\xff\xfe\n")
elif mode == "again":
    say(ready={})
elif mode == "beyond":
    open(3, "rb").read()
    say(segment={"text": "a", "start": 0, "end": 3600})
elif mode == "backwards":
    open(3, "rb").read()
    say(segment={"text": "a", "start": 0.1, "end": 0.1})
    say(segment={"text": "a", "start": 0, "end": 0.1})
elif mode == "partials":
    # Programs may say them whether or not they are wanted.
    wanted = str(request.get("partials", False)).lower()
    open(3, "rb").read()
    say(partial="it behave")
    say(committed="it")
    say(partial=" is")
    say(committed=" behaves")
    say(segment={"text": TEXT + " " + wanted, "start": 0, "end": 0.5})
    say(done={})
elif mode == "partials-fast":
    for number in range(5000):
        say(partial=str(number))
elif mode == "partials-slow":
    for number in range(10):
        time.sleep(0.5)
        say(partial="it behave")
elif mode == "flood-partials":
    while True:
        say(partial="x")
elif mode == "flood-committed":
    while True:
        say(committed="x" * 1000)
elif mode == "partial-long":
    say(partial="x" * 5000)
elif mode == "taken-back":
    say(committed="it is")
elif mode == "promised":
    say(committed="it")
    say(done={})
elif mode == "speakers":
    # Nobody may be told apart unless that was asked.
    names = ["x", "y", None, "x"] if request.get("speakers") else ["x"]
    for name in names:
        say(segment={"text": "a", "start": 0, "end": 0, "speaker": name})
elif mode == "speaker-of-two-lines":
    say(segment={"text": "a", "start": 0, "end": 0, "speaker": "x\ny"})
elif mode == "control":
    say(segment={"text": "a\x1b[2J", "start": 0, "end": 0})
elif mode == "language":
    say(done={"language": "Klingon"})
elif mode == "invalid-audio":
    say(failed={"kind": "invalid_audio", "message": "that is no speech"})
elif mode == "failed":
    say(failed={"kind": "engine", "message": "out of\nideas"})
elif mode == "deaf":
    os.close(3)
elif mode == "deaf-open":
    pass
elif mode == "progress":
    for _ in range(10):
        say(progress=0.5)
        time.sleep(0.5)
elif mode == "child":
    text = leave_child()
elif mode == "session":
    text = new_session()
elif mode == "child-and-exit":
    say(segment={"text": leave_child(), "start": 0, "end": 0})
    sys.exit(5)
elif mode == "child-and-hang":
    say(segment={"text": leave_child(), "start": 0, "end": 0})
    time.sleep(1000)
elif mode == "socket":
    text = attempt(lambda: socket.create_connection(("127.0.0.1", 9)))
elif mode == "unix-socket":
    text = attempt(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
elif mode == "pair":
    ends = socket.socketpair()
    text = attempt(lambda: ends[0].send(b"x"))
elif mode == "datagram-pair":
    text = attempt(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
elif mode == "ptrace":
    libc.ptrace(16, os.getppid(), 0, 0)
elif mode == "mount":
    libc.mount(b"none", b"/", b"tmpfs", 0, 0)
elif mode == "bpf":
    libc.syscall(321 if os.uname().machine == "x86_64" else 280, 0, 0, 0)
elif mode == "namespace":
    text = "done" if libc.unshare(0x10000000) == 0 else "PermissionError"
elif mode == "parent":
    text = attempt(lambda: os.kill(os.getppid(), signal.SIGKILL))
elif mode == "passwd":
    text = attempt(lambda: open("/etc/passwd"))
elif mode == "write-outside":
    text = attempt(lambda: open("/var/tmp/stt-isolated-escaped", "w"))
elif mode == "named":
    text = open(sys.argv[-1]).read()
elif mode == "executable-memory":
    import mmap
    text = attempt(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
elif mode == "helper":
    text = subprocess.run(["sh", "-c", "echo helped >f; cat f"], capture_output=True, text=True).stdout
elif mode == "helper-stopped":
    helper = subprocess.Popen(["sleep", "1000"])
    helper.terminate()
    text = str(helper.wait())
elif mode == "greed":
    kept = []
    while True:
        kept.append(b"z" * (1 << 20))
elif mode == "scratch":
    text = fill_scratch()
elif mode == "surroundings":
    text = json.dumps({"environment": dict(os.environ), "folder": os.getcwd(), "request": request,
                       "descriptors": [n for n in range(64) if os.path.exists(f"/dev/fd/{n}") or n < 4]})
elif mode == "bytes":
    data = open(3, "rb").read()
    text = f"{len(data)} {data[:4].decode()} {json.dumps(request['audio'], sort_keys=True)}"
    duration = 2.5

if duration is None:
    say(segment={"text": text, "start": 0, "end": 0})
    say(done={})
else:
    say(segment={"text": text, "start": 0, "end": duration})
    say(done={"duration": duration, "language": "de"})
