#!/usr/bin/env python3
"""Makes weights.bin from the model in Python's package silero-vad 6.2.3 (needs onnx and numpy).

    convert.py silero_vad_16k_op15.onnx weights.bin

Each layer's outputs are taken 32 at a time (the last one has only one, and zeros): first their
biases, then for each input its 32 weights. Each number is the upper half of a 32-bit float.
"""

import sys

import numpy
import onnx
from onnx import numpy_helper

LANES = 32


def layer(weights: numpy.ndarray, bias: numpy.ndarray) -> numpy.ndarray:
    rows = numpy.concatenate([bias[:, None], weights.reshape(len(bias), -1)], axis=1)
    padded = numpy.pad(rows, ((0, -len(rows) % LANES), (0, 0)))
    return padded.reshape(-1, LANES, rows.shape[1]).transpose(0, 2, 1).ravel()


def main(model: str, target: str) -> None:
    graph = onnx.load(model).graph
    found = {
        tensor.name.removeprefix("model."): numpy_helper.to_array(tensor)
        for tensor in graph.initializer
    }
    convolutions = [f"encoder.{number}.reparam_conv" for number in range(4)]
    cell = "decoder.rnn"
    layers = [
        # A convolution of three frames is a product with the three, one after the other.
        *((found[f"{name}.weight"].transpose(0, 2, 1), found[f"{name}.bias"]) for name in convolutions),
        (
            numpy.concatenate([found[f"{cell}.weight_ih"], found[f"{cell}.weight_hh"]], axis=1),
            found[f"{cell}.bias_ih"] + found[f"{cell}.bias_hh"],
        ),
        (found["decoder.decoder.2.weight"], found["decoder.decoder.2.bias"]),
    ]
    weights = numpy.concatenate([layer(*each) for each in layers]).astype("<f4").view("<u4")
    # Rounded to the nearest half, and to an even one if both are as near.
    rounded = weights + 0x7FFF + (weights >> 16 & 1)
    (rounded >> 16).astype("<u2").tofile(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
