#!/usr/bin/python3
"""An engine in forty lines: CMU PocketSphinx (Debian: libpocketsphinx3, pocketsphinx-en-us) by way of ctypes."""
import ctypes
import json
import sys

MODEL = "/usr/share/pocketsphinx/model/en-us/"
ARGUMENTS = ["-hmm", MODEL + "en-us", "-lm", MODEL + "en-us.lm.bin", "-dict", MODEL + "cmudict-en-us.dict"]
FRAMES = 100  # a second


def say(**line):
    print(json.dumps(line), flush=True)


base = ctypes.CDLL("libsphinxbase.so.3", ctypes.RTLD_GLOBAL)
sphinx = ctypes.CDLL("libpocketsphinx.so.3")
for function in sphinx.ps_args, sphinx.ps_init, sphinx.ps_seg_iter, sphinx.ps_seg_next, base.cmd_ln_parse_r:
    function.restype = ctypes.c_void_p
sphinx.ps_seg_word.restype = ctypes.c_char_p
base.err_set_logfp(None)

argv = (ctypes.c_char_p * (1 + len(ARGUMENTS)))(b"engine", *(text.encode() for text in ARGUMENTS))
config = base.cmd_ln_parse_r(None, ctypes.c_void_p(sphinx.ps_args()), len(argv), argv, 1)
decoder = ctypes.c_void_p(sphinx.ps_init(ctypes.c_void_p(config)))
say(ready={"audio": "pcm"})

request = json.loads(sys.stdin.readline())  # nothing in it matters to a model that knows one language and no prompt
samples = open(3, "rb").read()
sphinx.ps_start_utt(decoder)
sphinx.ps_process_raw(decoder, samples, ctypes.c_size_t(len(samples) // 2), 0, 1)
sphinx.ps_end_utt(decoder)

words, segment, first, last = [], sphinx.ps_seg_iter(decoder), ctypes.c_int(), ctypes.c_int()
while segment:
    text = sphinx.ps_seg_word(ctypes.c_void_p(segment)).decode().partition("(")[0]
    sphinx.ps_seg_frames(ctypes.c_void_p(segment), ctypes.byref(first), ctypes.byref(last))
    if text and text[0] not in "<[":  # silence and noises
        words.append({"text": text, "start": first.value / FRAMES, "end": (last.value + 1) / FRAMES})
    segment = sphinx.ps_seg_next(ctypes.c_void_p(segment))
if words:
    text = " ".join(word["text"] for word in words)
    say(segment={"text": text, "start": words[0]["start"], "end": words[-1]["end"], "words": words})
say(done={"language": "en"})
