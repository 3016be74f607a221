"""Makes the files that sherpa-onnx reads of a Whisper model in CTranslate2's format:

    to_sherpa.py FOLDER NAME TARGET_FOLDER

NAME is Whisper's own (`base`). The files are NAME-encoder.int8.onnx, NAME-decoder.int8.onnx and
NAME-tokens.txt, shaped like those of sherpa-onnx's own export: matrices in 8 bits, an encoder that
takes a recording of any length up to 30 s, a decoder that gets its earlier keys and values.
"""

import base64
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

import ctranslate2

# Positions of a text, and of 30 s.
TEXT_CONTEXT, AUDIO_CONTEXT = 448, 1500
# The width of one head of attention in all models of Whisper.
HEAD = 64


class Graph:
    """A graph in the making. Operations give the names of their results."""

    def __init__(self, arrays):
        self.arrays, self.nodes, self.constants, self.count = arrays, [], [], 0

    def name(self, kind):
        self.count += 1
        return f"{kind}{self.count}"

    def constant(self, array):
        name = self.name("c")
        self.constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def integer(self, number):
        return self.constant(np.array([number], np.int64))

    def scalar(self, number):
        return self.constant(np.float32(number))

    def op(self, kind, *inputs, out=None, **attributes):
        name = self.name("t")
        out = out or name
        self.nodes.append(helper.make_node(kind, list(inputs), [out], f"n{self.count}", **attributes))
        return out

    def weight(self, name):
        return self.arrays[name].astype(np.float32)

    def linear(self, x, weight, bias=None):
        product = self.op("MatMul", x, self.constant(weight.T))
        return product if bias is None else self.op("Add", product, self.constant(bias))

    def layer(self, x, name):
        return self.linear(x, self.weight(name + "/weight"), self.weight(name + "/bias"))

    def parts(self, name, count):
        """Matrices and biases of several layers in one. The keys' bias, the second last, is zero."""
        weights = np.split(self.weight(name + "/weight"), count)
        biases = np.split(self.weight(name + "/bias"), count)
        biases[-2] = None
        return list(zip(weights, biases, strict=True))

    def norm(self, x, name):
        scale, shift = (self.constant(self.weight(f"{name}/{part}")) for part in ("gamma", "beta"))
        return self.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-5)

    def gelu(self, x):
        error = self.op("Erf", self.op("Div", x, self.scalar(2**0.5)))
        factor = self.op("Add", error, self.scalar(1))
        return self.op("Mul", self.op("Mul", x, factor), self.scalar(0.5))

    def heads(self, x, order):
        shape = self.constant(np.array([0, 0, -1, HEAD], np.int64))
        return self.op("Transpose", self.op("Reshape", x, shape), perm=order)

    def attend(self, query, key, value, mask=None):
        scaled = self.op("Mul", self.heads(query, [0, 2, 1, 3]), self.scalar(HEAD**-0.5))
        scores = self.op("MatMul", scaled, self.heads(key, [0, 2, 3, 1]))
        if mask:
            scores = self.op("Add", scores, mask)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), self.heads(value, [0, 2, 1, 3]))
        shape = self.constant(np.array([0, 0, -1], np.int64))
        return self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), shape)

    def feed_forward(self, x, name):
        inner = self.gelu(self.layer(self.norm(x, name + "/layer_norm"), name + "/linear_0"))
        return self.op("Add", x, self.layer(inner, name + "/linear_1"))

    def slice(self, x, start, end, axis):
        return self.op("Slice", x, start, end, self.integer(axis))

    def first(self, x):
        """A list of one number as that number."""
        return self.op("Squeeze", x, self.integer(0))

    def write(self, file, inputs, outputs, about):
        graph = helper.make_graph(self.nodes, "whisper", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="to_sherpa")
        for key, value in about.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, str(value)
        onnx.checker.check_model(model)
        onnx.save(model, file)


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def cross(layers, width):
    """The keys and values that the encoder gives and the decoder takes."""
    return [tensor(f"n_layer_cross_{part}", [layers, "n_audio", "Tc", width]) for part in "kv"]


def encoder(arrays, file, about):
    graph = Graph(arrays)
    width, layers = about["n_audio_state"], about["n_text_layer"]
    x = "mel"
    for conv, strides in (("conv1", {}), ("conv2", {"strides": [2]})):
        weight, bias = (graph.constant(graph.weight(f"encoder/{conv}/{part}")) for part in ("weight", "bias"))
        x = graph.gelu(graph.op("Conv", x, weight, bias, kernel_shape=[3], pads=[1, 1], **strides))
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    length = graph.op("Gather", graph.op("Shape", x), graph.integer(1))
    positions = graph.constant(graph.weight("encoder/position_encodings/encodings"))
    x = graph.op("Add", x, graph.slice(positions, graph.integer(0), length, 0))
    for n in range(about["n_audio_layer"]):
        name = f"encoder/layer_{n}/self_attention"
        normed = graph.norm(x, name + "/layer_norm")
        mixed = graph.attend(*(graph.linear(normed, *part) for part in graph.parts(name + "/linear_0", 3)))
        x = graph.op("Add", x, graph.layer(mixed, name + "/linear_1"))
        x = graph.feed_forward(x, f"encoder/layer_{n}/ffn")
    x = graph.norm(x, "encoder/layer_norm")
    found = ([], [])
    for n in range(layers):
        for part, all_layers in zip(graph.parts(f"decoder/layer_{n}/attention/linear_1", 2), found, strict=True):
            all_layers.append(graph.op("Unsqueeze", graph.linear(x, *part), graph.integer(0)))
    for part, all_layers in zip("kv", found, strict=True):
        graph.op("Concat", *all_layers, out=f"n_layer_cross_{part}", axis=0)
    mel = tensor("mel", ["n_audio", about["n_mels"], "T"])
    graph.write(file, [mel], cross(layers, width), about)


def decoder(arrays, file, about):
    graph = Graph(arrays)
    width, layers = about["n_text_state"], about["n_text_layer"]
    embeddings = graph.constant(graph.weight("decoder/embeddings/weight"))
    count = graph.op("Gather", graph.op("Shape", "tokens"), graph.integer(1))
    end = graph.op("Add", "offset", count)
    zero, limit = graph.integer(0), graph.integer(TEXT_CONTEXT)
    positions = graph.constant(graph.weight("decoder/position_encodings/encodings"))
    x = graph.op("Add", graph.op("Gather", embeddings, "tokens"), graph.slice(positions, "offset", end, 0))
    mask = causal_mask(graph, end)
    kept = {"k": [], "v": []}
    for n in range(layers):
        name = f"decoder/layer_{n}/self_attention"
        normed = graph.norm(x, name + "/layer_norm")
        query, *fresh = (graph.linear(normed, *part) for part in graph.parts(name + "/linear_0", 3))
        at, seen = graph.constant(np.array(n, np.int64)), []
        for part, new in zip("kv", fresh, strict=True):
            cache = graph.op("Gather", f"in_n_layer_self_{part}_cache", at, axis=0)
            seen.append(graph.op("Concat", graph.slice(cache, zero, "offset", 1), new, axis=1))
            whole = graph.op("Concat", seen[-1], graph.slice(cache, end, limit, 1), axis=1)
            kept[part].append(graph.op("Unsqueeze", whole, graph.integer(0)))
        x = graph.op("Add", x, graph.layer(graph.attend(query, *seen, mask), name + "/linear_1"))
        name = f"decoder/layer_{n}/attention"
        query = graph.layer(graph.norm(x, name + "/layer_norm"), name + "/linear_0")
        heard = (graph.op("Gather", f"n_layer_cross_{part}", at, axis=0) for part in "kv")
        x = graph.op("Add", x, graph.layer(graph.attend(query, *heard), name + "/linear_2"))
        x = graph.feed_forward(x, f"decoder/layer_{n}/ffn")
    x = graph.norm(x, "decoder/layer_norm")
    product = graph.op("MatMul", embeddings, graph.op("Transpose", x, perm=[0, 2, 1]))
    graph.op("Transpose", product, out="logits", perm=[0, 2, 1])
    for part, all_layers in kept.items():
        graph.op("Concat", *all_layers, out=f"out_n_layer_self_{part}_cache", axis=0)
    shape = [layers, "n_audio", TEXT_CONTEXT, width]
    caches = {way: [tensor(f"{way}_n_layer_self_{part}_cache", shape) for part in "kv"] for way in ("in", "out")}
    tokens = tensor("tokens", ["n_audio", "n_tokens"], TensorProto.INT64)
    offset = tensor("offset", [1], TensorProto.INT64)
    logits = tensor("logits", ["n_audio", "n_tokens", about["n_vocab"]])
    graph.write(
        file, [tokens, *caches["in"], *cross(layers, width), offset], [logits, *caches["out"]], {}
    )


def causal_mask(graph, end):
    """Keeps each token from those behind it."""
    one, nothing = (graph.constant(np.array(n, np.int64)) for n in (1, 0))
    rows = graph.op("Range", graph.first("offset"), graph.first(end), one)
    columns = graph.op("Range", nothing, graph.first(end), one)
    row, column = graph.op("Unsqueeze", rows, graph.integer(1)), graph.op("Unsqueeze", columns, graph.integer(0))
    return graph.op("Where", graph.op("Greater", column, row), graph.scalar(-1e9), graph.scalar(0))


def metadata(arrays, words, name):
    """All that sherpa-onnx wants to know of a model."""
    vocabulary, width = arrays["decoder/embeddings/weight"].shape
    number = {word: n for n, word in enumerate(words)}
    special = lambda word: number[f"<|{word}|>"]
    start = special("startoftranscript")
    is_multilingual = vocabulary >= 51_865
    languages = [word[2:-2] for word in words[start + 1 : special("translate")]]
    no_speech = "nospeech" if "<|nospeech|>" in number else "nocaptions"
    sequence = [start, special("en"), special("transcribe")] if is_multilingual else [start]
    about = {
        "model_type": f"whisper-{name}",
        "version": 1,
        "maintainer": "to_sherpa",
        "n_mels": arrays["encoder/conv1/weight"].shape[1],
        "n_audio_ctx": AUDIO_CONTEXT,
        "n_text_ctx": TEXT_CONTEXT,
        "n_vocab": vocabulary,
        "sot_sequence": ",".join(map(str, sequence)),
        "all_language_tokens": ",".join(str(special(code)) for code in languages),
        "all_language_codes": ",".join(languages),
        "sot": start,
        "sot_index": 0,
        "eot": special("endoftext"),
        "blank_id": number["Ġ"],
        "is_multilingual": int(is_multilingual),
        "no_speech": special(no_speech),
        "non_speech_tokens": "",
        "transcribe": special("transcribe"),
        "translate": special("translate"),
        "sot_prev": special("startofprev"),
        "sot_lm": special("startoflm"),
        "no_timestamps": special("notimestamps"),
    }
    for side, key in (("encoder", "audio"), ("decoder", "text")):
        layers = ctranslate2.layers(arrays, side)
        about |= {f"n_{key}_state": width, f"n_{key}_head": width // HEAD, f"n_{key}_layer": layers}
    return about


def main():
    _, folder, name, target = sys.argv
    arrays, words, target = ctranslate2.read(folder), ctranslate2.vocabulary(folder), Path(target)
    about = metadata(arrays, words, name)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target) as work:
        for part, write in (("encoder", encoder), ("decoder", decoder)):
            whole = Path(work, f"{part}.onnx")
            write(arrays, whole, about)
            quantised = target / f"{name}-{part}.int8.onnx"
            quantize_dynamic(whole, quantised, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)
    with open(target / f"{name}-tokens.txt", "w", encoding="ascii") as file:
        for n, token in enumerate(ctranslate2.text_tokens(words)):
            print(base64.b64encode(token).decode() or "=", n, file=file)


main()
