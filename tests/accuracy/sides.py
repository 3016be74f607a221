"""This service and Home Assistant's server of faster-whisper, started alike and asked alike.

Both have the same weights (Whisper base) and one thread, and get recordings over Wyoming on a Unix socket.
"""

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

import daemon
from speech import ROOT

WEIGHTS = ROOT / "target/weights"
daemon.LONG = 600

BLOCK = 2048


def message(kind, data=None, payload=b""):
    header = {"type": kind, "data": data or {}}
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header).encode() + b"\n" + payload


def request(recording, language):
    """A whole recording, as Home Assistant sends it."""
    rate = {"rate": int.from_bytes(recording[24:28], "little"), "width": 2, "channels": 1}
    samples = recording[recording.index(b"data") + 8 :]
    blocks = [samples[at : at + BLOCK] for at in range(0, len(samples), BLOCK)]
    chunks = b"".join(message("audio-chunk", rate, block) for block in blocks)
    start = message("transcribe", {"language": language}) + message("audio-start", rate)
    return start + chunks + message("audio-stop")


def transcribe(path, recording, language):
    """The text, and the seconds from the first byte sent to the text."""
    content = request(recording, language)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(daemon.LONG)
        client.connect(str(path))
        begin = time.monotonic()
        client.sendall(content)
        with client.makefile("rb") as answers:
            for line in answers:
                header = json.loads(line)
                data = header.get("data") or {}
                data |= json.loads(answers.read(header.get("data_length") or 0) or "{}")
                if header["type"] == "transcript":
                    return data["text"], time.monotonic() - begin
                if header["type"] == "error":
                    sys.exit(f"{path}: {data}")
    sys.exit(f"{path}: no transcript")


def cpu(process):
    """CPU seconds of a process, of its children, and of all that it has reaped."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
            total += times.user + times.system
            total += times.children_user + times.children_system
        except psutil.NoSuchProcess:
            pass
    return total


def memory(process):
    """What a process and its children take together, in MiB: shared pages count once."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.NoSuchProcess:
            pass
    return total / (1 << 20)


def settled(process):
    """CPU seconds, once nothing computes any more: a service may prepare for the next request."""
    last = cpu(process)
    while True:
        time.sleep(0.1)
        if (now := cpu(process)) - last < 0.005:
            return now
        last = now


class Side:
    """One of the programs that are compared."""

    def __init__(self, name, process, path):
        self.name, self.process, self.path = name, psutil.Process(process), path
        self.cpu, self.texts, self.walls, self.peak = 0.0, [], [], 0.0

    def take(self, recording, language):
        begin = settled(self.process)
        text, wall = transcribe(self.path, recording, language)
        # Until it is settled again, it works for this recording or because of it.
        self.cpu += settled(self.process) - begin
        self.texts.append(text)
        self.walls.append(wall)

    def weigh(self, recording, language):
        """Looks at the memory again and again during one more request. That takes time, so this one is not timed."""
        with ThreadPoolExecutor(1) as pool:
            request = pool.submit(transcribe, self.path, recording, language)
            while not request.done():
                self.peak = max(self.peak, memory(self.process))
                time.sleep(0.02)
            request.result()


def ours(folder, name, file, program=daemon.BINARY):
    """A daemon with one model, and the socket on which it serves Wyoming."""
    path = Path(folder, f"{name}.sock")
    config = f"""
[models.default]
engine = "whisper"
[models.default.whisper]
file = "{file}"
threads = 1
[limits]
deadline = "10min"
[zygote]
load_timeout = "10min"
[health]
interval = "0s"
"""
    return daemon.Daemon(config, also=[("wyoming", str(path))], program=program), path


def theirs(folder, weights):
    """The peer with a folder of weights, and no way to look for others."""
    path = Path(folder, "peer.sock")
    command = [sys.executable, "-m", "wyoming_faster_whisper", "--uri", f"unix://{path}", "--data-dir", folder]
    command += ["--model", str(WEIGHTS / "ctranslate2" / weights), "--stt-library", "faster-whisper", "--local-files-only"]
    command += ["--compute-type", "int8", "--beam-size", "1", "--cpu-threads", "1", "--device", "cpu"]
    quiet = {"HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    with Path(folder, "peer.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **quiet}, stdout=log, stderr=log)
    try:
        daemon.wait_for("the peer listens", lambda: path.exists() or process.poll() is not None)
        if process.poll() is not None:
            sys.exit(f"the peer did not start: {Path(folder, 'peer.log').read_text()[-2000:]}")
    except BaseException:
        process.kill()
        raise
    return process, path
