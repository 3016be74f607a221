"""Reads a folder with a Whisper model of CTranslate2 (faster-whisper's format). Needs numpy only."""

import json
import re
import struct
import sys
from pathlib import Path

import numpy as np

KINDS = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}

# Versions of the format that this was compared with.
VERSIONS = (5, 6)


def read(folder):
    """Everything that the model's file names, as {name: array}."""
    file = _File(Path(folder, "model.bin").read_bytes())
    version = file.number("I")
    if version not in VERSIONS:
        sys.exit(f"model.bin has version {version} of CTranslate2's format, not one of {VERSIONS}")
    if (spec := file.text()) != "WhisperSpec":
        sys.exit(f"model.bin is no Whisper model but a {spec}")
    file.number("I")  # the revision of that
    arrays = dict(file.array() for _ in range(file.number("I")))
    aliases = dict((file.text(), file.text()) for _ in range(file.number("I")))
    if file.at != len(file.bytes):
        sys.exit(f"model.bin has {len(file.bytes) - file.at} bytes behind its last variable")
    embeddings = "decoder/embeddings/weight"
    if aliases.get("decoder/projection/weight", embeddings) != embeddings:
        sys.exit("model.bin has another projection than Whisper")
    return arrays


class _File:
    def __init__(self, content):
        self.bytes, self.at = content, 0

    def take(self, length):
        if self.at + length > len(self.bytes):
            sys.exit("model.bin is cut off")
        self.at += length
        return self.bytes[self.at - length : self.at]

    def number(self, kind):
        (number,) = struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))
        return number

    def text(self):
        return self.take(self.number("H")).rstrip(b"\0").decode()

    def array(self):
        name = self.text()
        shape = [self.number("I") for _ in range(self.number("B"))]
        kind, length = self.number("B"), self.number("I")
        if kind not in KINDS:
            sys.exit(f"{name} has numbers of the unknown kind {kind}")
        return name, np.frombuffer(self.take(length), KINDS[kind]).reshape(shape)


def layers(arrays, side):
    """Number of layers of `encoder` or `decoder`."""
    found = (re.match(rf"{side}/layer_(\d+)/", name) for name in arrays)
    return 1 + max(int(one[1]) for one in found if one)


def vocabulary(folder):
    """The texts of the tokens, those that stand for no text included, in their order."""
    lines = Path(folder, "vocabulary.txt")
    if lines.exists():
        return lines.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return json.loads(Path(folder, "vocabulary.json").read_text(encoding="utf-8"))


def text_tokens(words):
    """The bytes of each token that stands for text: those before `<|endoftext|>`."""
    # GPT-2 writes bytes that cannot be printed as letters from 256 on.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printable))
    table = {chr(byte): byte for byte in printable}
    table |= {chr(256 + n): byte for n, byte in enumerate(others)}
    tokens = [bytes(table[letter] for letter in word) for word in words[: words.index("<|endoftext|>")]]
    if len({token for token in tokens if len(token) == 1}) != 256:
        sys.exit("the vocabulary does not have every byte")
    return tokens
