"""Writes docs/ACCURACY.md: how many words each engine hears wrong, and what that costs.

The real service transcribes public speech through its HTTP socket. tests/accuracy/run has the arguments.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections import defaultdict, namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import jiwer

import daemon
from speech import BANDS, LANGUAGES, ROOT, RULES, file_of, plain, prompts, seconds

WEIGHTS = ROOT / "target/weights"
# A model may take its time to load on a busy machine.
daemon.LONG = 600

Model = namedtuple("Model", "engine name languages table")
# Of one model, language and band. `cpu` and `audio` are in seconds.
Cell = namedtuple("Cell", "errors words clips cpu audio")


def whisper(name, languages):
    file = WEIGHTS / f"ggml-{name}.bin"
    bits = "8 bits" if name.endswith("-q8_0") else "16 bits"
    table = f'[models.default.whisper]\nfile = "{file}"\nthreads = 1\n'
    return Model("whisper", f"Whisper {name.removesuffix('-q8_0')}, {bits}", languages, table)


def sherpa(name, languages):
    """None if this build has no such engine, or its library is not there."""
    library = next((ROOT / "target/engines").glob("**/libsherpa-onnx-c-api.so"), None)
    if library is None:
        return None
    table = f'[models.default.sherpa]\nlibrary = "{library}"\nmodel = "{WEIGHTS}/sherpa/{name}"\n'
    return Model("sherpa", f"Whisper {name}, 8 bits", languages, table)


def models():
    every = list(LANGUAGES)
    yield Model("pocketsphinx", "en-us, as in Debian", ["en"], "")
    for name, languages in (("tiny.en", ["en"]), ("base", every)):
        yield whisper(name, languages)
        yield whisper(f"{name}-q8_0", languages)
        if (model := sherpa(name, languages)) is not None:
            yield model


def ask(service, prompt, band):
    """The text of one prompt, and the CPU time that it took."""
    with closing(service.connect()) as connection:
        path = f"/v1/audio/transcriptions?language={prompt.language}"
        connection.request("POST", path, file_of(prompt, band).read_bytes(), {"Content-Type": "audio/wav"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        if answer.status != 200:
            sys.exit(f"{file_of(prompt, band)}: {body['error']['message']}")
        return body["text"], int(answer.headers["x-stt-cpu-ms"]) / 1000


def measure(model, chosen, at_once):
    """One cell for each language and band."""
    config = f"""
[models.default]
engine = "{model.engine}"
{model.table}
[jobs]
max_running = {at_once}
queue_timeout = "1h"
[limits]
deadline = "10min"
[zygote]
load_timeout = "10min"
[health]
interval = "0s"
"""
    cells = {}
    with daemon.Daemon(config) as service, ThreadPoolExecutor(at_once) as pool:
        for language in model.languages:
            for band in BANDS:
                of_language = chosen[language]
                answers = list(pool.map(lambda prompt: ask(service, prompt, band), of_language))
                said = [plain(language, prompt.text) for prompt in of_language]
                counts = jiwer.process_words(said, [plain(language, text) for text, _ in answers])
                cell = Cell(
                    counts.substitutions + counts.deletions + counts.insertions,
                    counts.substitutions + counts.deletions + counts.hits,
                    len(of_language),
                    sum(cpu for _, cpu in answers),
                    sum(seconds(file_of(prompt, band)) for prompt in of_language),
                )
                cells[language, band] = cell
                print(f"{model.engine}, {model.name}, {language} {band} kHz: {wrong(cell)}, {cost(cell)}", flush=True)
                for prompt, (text, _) in zip(of_language, answers, strict=True):
                    print(f"    {prompt.name}: {prompt.text} | {text}")
    return cells


def wrong(cell):
    return f"{100 * cell.errors / cell.words:.1f} %"


def cost(cell):
    return f"{cell.cpu / cell.audio:.2f}"


def table(head, rows):
    """A table in Markdown."""
    lines = [head, ["---"] * 2 + ["--:"] * (len(head) - 2), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rows(results, show):
    for model, cells in results:
        shown = [show(cells[key]) if key in cells else "–" for key in every_key()]
        yield [f"`{model.engine}`", model.name, *shown]


def every_key():
    return [(language, band) for language in LANGUAGES for band in BANDS]


def totals(results):
    """Cost over all that a model has heard."""
    for model, cells in results:
        for name, languages in (("English", ["en"]), ("all five", list(LANGUAGES))):
            mine = [cell for (language, _), cell in cells.items() if language in languages]
            if name != "English" and len(model.languages) == 1:
                continue
            errors, words, _, cpu, audio = (sum(one) for one in zip(*mine, strict=True))
            yield [f"`{model.engine}`", model.name, name, f"{100 * errors / words:.1f} %", f"{cpu / audio:.2f}"]


def counts(results):
    """How much there was to hear, by language: the same at both bands."""
    heard = defaultdict(dict)
    for _, cells in results:
        for (language, band), cell in cells.items():
            heard[language][band] = cell
    for language, of_band in heard.items():
        cell = of_band[BANDS[-1]]
        yield [LANGUAGES[language], str(cell.clips), str(cell.words), f"{cell.audio:.0f} s"]


def package(name):
    output = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True)
    return output.stdout or "unknown"


def commit():
    run = lambda *arguments: subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True).stdout
    head = run("rev-parse", "--short", "HEAD").strip()
    return head + (" with changes" if run("status", "--porcelain", "src", "Cargo.lock").strip() else "")


def cpu_name():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())


def page(results, arguments):
    bands = [f"{language} {band} kHz" for language, band in every_key()]
    return f"""# Accuracy

`make accuracy` writes this page: the running service transcribes public speech, and a program counts
the wrong words. It needs real weights, which `tests/weights/setup` gets.

## Words wrong

Share of the words that were exchanged, left out or put in. Each request names its language.

{table(["engine", "model", *bands], rows(results, wrong))}

## Words wrong, and cost

CPU seconds for each second of audio, at both bands together. One thread for each job.

{table(["engine", "model", "languages", "words wrong", "CPU s / s"], totals(results))}

{table(["engine", "model", *bands], rows(results, cost))}

## How it was measured

{RULES}
- **Cost** is the CPU time of the request's process (`X-Stt-Cpu-Ms`). On a machine that does other
  work it is higher. Compare figures of one table only.

{table(["language", "recordings", "words", "audio at 16 kHz"], counts(results))}

Build {commit()}; jiwer {version("jiwer")}, whisper-normalizer {version("whisper-normalizer")},
num2words {version("num2words")}; libpocketsphinx3 {package("libpocketsphinx3")}; {cpu_name()},
{os.cpu_count()} CPUs, {arguments.at_once} requests at once.
"""


def main():
    parser = argparse.ArgumentParser(prog="tests/accuracy/run")
    parser.add_argument("--clips", type=int, default=40, help="recordings of each language and band (40)")
    parser.add_argument("--only", default="", help="only models with this in engine and name")
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="requests at once (one for each CPU)")
    parser.add_argument("--output", default=ROOT / "docs/ACCURACY.md", help="the page (docs/ACCURACY.md)")
    arguments = parser.parse_args()
    chosen = {language: prompts(language, arguments.clips) for language in LANGUAGES}
    wanted = [model for model in models() if arguments.only in f"{model.engine}, {model.name}"]
    results = [(model, measure(model, chosen, arguments.at_once)) for model in wanted]
    Path(arguments.output).write_text(page(results, arguments), encoding="utf-8")
    print(f"wrote {arguments.output}")


main()
