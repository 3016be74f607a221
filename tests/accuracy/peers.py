"""Compares this service with Home Assistant's server of faster-whisper (wyoming-faster-whisper), side by side.

They take turns recording by recording, so that other work on the machine disturbs all alike. Compare the figures of
one run only.
"""

import argparse
import statistics
import tempfile
from contextlib import ExitStack

import jiwer

import growth
from sides import WEIGHTS, Side, ours, theirs, transcribe
from speech import BANDS, LANGUAGES, file_of, plain, prompts, seconds

# A command to a voice assistant lasts this many seconds.
COMMAND = (2, 4)


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
    parser.add_argument("--weights", default="base", choices=["base", "tiny.en"], help="of Whisper (base)")
    parser.add_argument("--beside", metavar="DAEMON", help="another build of the daemon that takes part, with base")
    parser.add_argument("--requests", type=int, help="instead: draw the memory over so many requests")
    arguments = parser.parse_args()
    languages = arguments.languages.split(",")
    if unknown := set(languages) - set(LANGUAGES):
        parser.error(f"there is no speech in {', '.join(unknown)}")
    chosen = [prompt for language in languages for prompt in prompts(language, arguments.clips)]
    with tempfile.TemporaryDirectory() as folder:
        peer, path = theirs(folder, arguments.weights)
        side = Side("wyoming-faster-whisper, int8", peer.pid, path)
        try:
            if arguments.requests:
                service, path = ours(folder, "ours", WEIGHTS / f"ggml-{arguments.weights}.bin")
                with service:
                    growth.compare(Side("stt-isolated", service.pid, path), side, chosen, arguments.band, arguments.requests)
            else:
                compare(arguments, chosen, languages, folder, side)
        finally:
            peer.terminate()
            peer.wait()


def compare(arguments, chosen, languages, folder, peer):
    name = arguments.weights
    programs = {name: (f"ggml-{name}.bin", {}), f"{name}-q8_0": (f"ggml-{name}-q8_0.bin", {})}
    if arguments.beside:
        programs[f"{name}, the other build"] = (f"ggml-{name}.bin", {"program": arguments.beside})
    with ExitStack() as running:
        sides = [peer]
        for number, (name, (file, program)) in enumerate(programs.items()):
            service, path = ours(folder, str(number), WEIGHTS / file, **program)
            sides.append(Side(f"stt-isolated, {name}", running.enter_context(service).pid, path))
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
