"""Compares this service with Home Assistant's server of faster-whisper (wyoming-faster-whisper), side by side.

Both have the same weights (Whisper base) and one thread, and get the same recordings over Wyoming on a Unix socket, one
after the other. They take turns recording by recording, so that other work on the machine disturbs both alike.
Compare the figures of one run only.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jiwer
import psutil

import daemon
from speech import BANDS, LANGUAGES, ROOT, file_of, plain, prompts, seconds

WEIGHTS = ROOT / "target/weights"
daemon.LONG = 600

# A command to a voice assistant lasts this many seconds.
COMMAND = (2, 4)

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


def ours(folder, model, file):
    path = Path(folder, f"{model}.sock")
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
    return daemon.Daemon(config, also=[("wyoming", str(path))]), path


def theirs(folder):
    """The peer with a folder of weights, and no way to look for others."""
    path = Path(folder, "peer.sock")
    command = [sys.executable, "-m", "wyoming_faster_whisper", "--uri", f"unix://{path}", "--data-dir", folder]
    command += ["--model", str(WEIGHTS / "ctranslate2/base"), "--stt-library", "faster-whisper", "--local-files-only"]
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


def report(sides, prompts_of, lengths, languages):
    audio = sum(lengths)
    said = [plain(prompt.language, prompt.text) for prompt in prompts_of]
    reference = sides[0]
    head = ["", "words wrong", "CPU s per s of audio", f"wall of {COMMAND[0]}–{COMMAND[1]} s, median"]
    head += ["memory", "CPU", "wall"]
    print(f"\n{len(lengths)} recordings in {', '.join(languages)}, {audio:.0f} s; CPU and wall against {reference.name}\n")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    middle = {}
    for side in sides:
        heard = [plain(prompt.language, text) for prompt, text in zip(prompts_of, side.texts, strict=True)]
        walls = [wall for wall, length in zip(side.walls, lengths, strict=True) if COMMAND[0] <= length <= COMMAND[1]]
        middle[side.name] = statistics.median(walls)
        cells = [
            side.name,
            f"{100 * jiwer.wer(said, heard):.1f} %",
            f"{side.cpu / audio:.3f}",
            f"{middle[side.name]:.2f} s",
            f"{side.peak:.0f} MiB",
            f"{side.cpu / reference.cpu:.2f}",
            f"{middle[side.name] / middle[reference.name]:.2f}",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="tests/accuracy/peers")
    parser.add_argument("--clips", type=int, default=20, help="recordings of each language (20)")
    parser.add_argument("--languages", default="en", help="their codes, with commas (en)")
    parser.add_argument("--band", type=int, default=16, choices=BANDS, help="kHz (16)")
    arguments = parser.parse_args()
    languages = arguments.languages.split(",")
    if unknown := set(languages) - set(LANGUAGES):
        parser.error(f"there is no speech in {', '.join(unknown)}")
    chosen = [prompt for language in languages for prompt in prompts(language, arguments.clips)]
    with tempfile.TemporaryDirectory() as folder:
        peer, path = theirs(folder)
        try:
            compare(arguments, chosen, languages, folder, Side("wyoming-faster-whisper, int8", peer.pid, path))
        finally:
            peer.terminate()
            peer.wait()


def compare(arguments, chosen, languages, folder, peer):
    files = {"base": "ggml-base.bin", "base-q8_0": "ggml-base-q8_0.bin"}
    started = {name: ours(folder, name, WEIGHTS / file) for name, file in files.items()}
    with started["base"][0] as first, started["base-q8_0"][0] as second:
        sides = [peer]
        for (name, (_, path)), service in zip(started.items(), (first, second), strict=True):
            sides.append(Side(f"stt-isolated, {name}", service.pid, path))
        # The first request of a server is slower. Nobody is measured by it.
        warm = file_of(chosen[0], arguments.band).read_bytes()
        for side in sides:
            transcribe(side.path, warm, chosen[0].language)
        for prompt in chosen:
            recording = file_of(prompt, arguments.band).read_bytes()
            for side in sides:
                side.take(recording, prompt.language)
        for side in sides:
            side.weigh(warm, chosen[0].language)
        report(sides, chosen, [seconds(file_of(prompt, arguments.band)) for prompt in chosen], languages)


main()
