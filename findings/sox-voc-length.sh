#!/usr/bin/env bash
# SoX announces 8 bytes too few in the block of sound of a VOC file.
#
# Seen with: sox 14.4.2 of Debian 12 (SoX v14.4.2).
#
# Guess before the run: block 9 of VOC has 12 bytes of description and then the samples, so for
# 16,000 samples of 16 bits its length says 32,012.
#
# Seen: it says 32,004, as if the description had 4 bytes, while the file holds the 12 bytes, all
# 32,000 bytes of samples and the terminator. With one channel of 8 bits at 8 kHz the file has
# block 1, whose length is right.
#
# Consequence: a reader that believes the length loses the last 4 samples, and then finds samples
# where the next block should begin. A reader must look whether the terminator comes later.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
command -v sox >/dev/null || apt-get install -y -q sox >/dev/null

sox --version | sed 's/^sox: *//' >seen
python3 - <<'PYTHON'
with open("sixteen.raw", "wb") as raw:
    raw.write(b"".join((n % 1000).to_bytes(2, "little") for n in range(16000)))
with open("eight.raw", "wb") as raw:
    raw.write(bytes(n % 200 for n in range(8000)))
PYTHON
sox -t raw -r 16000 -e signed -b 16 -c 1 sixteen.raw sixteen.voc
sox -t raw -r 8000 -e unsigned -b 8 -c 1 eight.raw eight.voc
python3 - >>seen <<'PYTHON'
for name in ("sixteen", "eight"):
    voc = open(name + ".voc", "rb").read()
    raw = open(name + ".raw", "rb").read()
    kind, announced = voc[26], int.from_bytes(voc[27:30], "little")
    held = len(voc) - 30 - 1  # all behind the block's head but the terminator
    print(f"{name}: block {kind} announces {announced}, holds {held};",
          "all samples are there" if raw in voc and voc[-1] == 0 else "samples are missing")
PYTHON

diff - seen <<'EXPECTED'
SoX v14.4.2
sixteen: block 9 announces 32004, holds 32012; all samples are there
eight: block 1 announces 8002, holds 8002; all samples are there
EXPECTED
