"""Makes a file for whisper.cpp of a Whisper model in CTranslate2's format:

    to_ggml.py FOLDER FILE f16|q8_0

Every variable must be used, the positions must be Whisper's sinusoids and no key may have a bias:
otherwise the file would be another model.
"""

import math
import re
import struct
import sys

import numpy as np

import ctranslate2

# Variables that say how CTranslate2 computes.
IGNORED = re.compile(
    r"(en|de)coder/(activation|num_heads|num_heads_kv|pre_norm|multi_query_attention|.*queries_scale)$"
    r"|decoder/(alibi|alibi_use_positive_positions|scale_alibi|alignment_heads|alignment_layer)$"
    r"|decoder/(scale_embeddings|start_from_zero_embedding|embeddings/multiply_by_sqrt_depth)$"
    r"|decoder/.*scale_outputs$|multi_query_attention$"
)

MARK = 0x67676D6C
# Numbers of these kinds in a file as a whole, and in a tensor.
OF_FILE = {"f16": 1, "q8_0": 2007}
OF_TENSOR = {"f32": 0, "f16": 1, "q8_0": 8}

# Tensors that whisper.cpp wants in 32 bits, besides all with one dimension.
EXACT = {
    "encoder.conv1.bias",
    "encoder.conv2.bias",
    "encoder.positional_embedding",
    "decoder.positional_embedding",
}


class Tensors:
    """The tensors under whisper.cpp's names, in its order."""

    def __init__(self, arrays):
        self.arrays, self.unused, self.all = arrays, set(arrays), []
        self.width = arrays["decoder/embeddings/weight"].shape[1]

    def get(self, name, *shape):
        self.unused.discard(name)
        array = self.arrays[name]
        if shape and array.shape != shape:
            sys.exit(f"{name} has the shape {array.shape} instead of {shape}")
        return array

    def put(self, name, array):
        self.all.append((name, array))

    def norm(self, target, source):
        self.put(target + ".weight", self.get(source + "/gamma", self.width))
        self.put(target + ".bias", self.get(source + "/beta", self.width))

    def split(self, source, parts):
        """A matrix and a bias of several layers in one. The second last is that of the keys."""
        width = self.width
        weight = self.get(source + "/weight", parts * width, width)
        bias = self.get(source + "/bias", parts * width)
        weights, biases = np.split(weight, parts), np.split(bias, parts)
        if np.any(biases[-2]):
            sys.exit(f"{source}: the keys have a bias, which Whisper's have not")
        return weights, biases

    def linear(self, target, source, *shape):
        self.put(target + ".weight", self.get(source + "/weight", *shape))
        self.put(target + ".bias", self.get(source + "/bias", shape[0]))

    def attention(self, target, source, *, is_cross):
        width = self.width
        if is_cross:
            self.linear(target + ".query", source + "/linear_0", width, width)
            (key, value), (_, bias) = self.split(source + "/linear_1", 2)
        else:
            (query, key, value), (query_bias, _, bias) = self.split(source + "/linear_0", 3)
            self.put(target + ".query.weight", query)
            self.put(target + ".query.bias", query_bias)
        self.put(target + ".key.weight", key)
        self.put(target + ".value.weight", value)
        self.put(target + ".value.bias", bias)
        self.linear(target + ".out", source + f"/linear_{2 if is_cross else 1}", width, width)

    def side(self, side):
        width = self.width
        for n in range(ctranslate2.layers(self.arrays, side)):
            source, target = f"{side}/layer_{n}", f"{side}.blocks.{n}"
            self.norm(target + ".attn_ln", source + "/self_attention/layer_norm")
            self.attention(target + ".attn", source + "/self_attention", is_cross=False)
            if side == "decoder":
                self.norm(target + ".cross_attn_ln", source + "/attention/layer_norm")
                self.attention(target + ".cross_attn", source + "/attention", is_cross=True)
            self.norm(target + ".mlp_ln", source + "/ffn/layer_norm")
            self.linear(target + ".mlp.0", source + "/ffn/linear_0", 4 * width, width)
            self.linear(target + ".mlp.2", source + "/ffn/linear_1", width, 4 * width)

    def collect(self):
        width = self.width
        positions = self.get("encoder/position_encodings/encodings")
        # Half a step of 16 bits at 1.
        if np.abs(positions - sinusoids(*positions.shape)).max() > 1e-3:
            sys.exit("the encoder's positions are not Whisper's")
        self.put("encoder.positional_embedding", positions)
        for conv in ("conv1", "conv2"):
            self.put(f"encoder.{conv}.weight", self.get(f"encoder/{conv}/weight"))
            bias = self.get(f"encoder/{conv}/bias", width)
            self.put(f"encoder.{conv}.bias", bias.reshape(width, 1))
        self.side("encoder")
        self.norm("encoder.ln_post", "encoder/layer_norm")
        self.put("decoder.positional_embedding", self.get("decoder/position_encodings/encodings"))
        self.put("decoder.token_embedding.weight", self.get("decoder/embeddings/weight"))
        self.side("decoder")
        self.norm("decoder.ln", "decoder/layer_norm")
        if unused := [name for name in self.unused if not IGNORED.match(name)]:
            sys.exit(f"not used: {', '.join(sorted(unused))}")
        return self.all


def sinusoids(length, width):
    step = math.log(10_000) / (width // 2 - 1)
    angles = np.arange(length)[:, None] * np.exp(-step * np.arange(width // 2))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def mel_filters(count, window=400, rate=16_000):
    """Triangles on Slaney's scale, each with the same area: (count, window / 2 + 1)."""
    step = math.log(6.4) / 27

    def hertz(mel):
        above = 1000 * np.exp(step * (np.maximum(mel, 15) - 15))
        return np.where(mel >= 15, above, mel * 200 / 3)

    edges = hertz(np.linspace(0, 15 + math.log(rate / 2 / 1000) / step, count + 2))
    bands = np.linspace(0, rate / 2, window // 2 + 1)
    ramps, widths = edges[:, None] - bands, np.diff(edges)
    rising, falling = -ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype("<f4")


def q8_0(array):
    """ggml's blocks: the scale of 32 numbers in 16 bits, then the numbers in 8 bits each."""
    blocks = array.astype(np.float32).reshape(-1, 32)
    scale = np.abs(blocks).max(axis=1) / 127.0
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale != 0)
    numbers = blocks * inverse[:, None]
    out = np.empty((len(blocks), 34), np.uint8)
    out[:, :2] = scale.astype("<f2").view(np.uint8).reshape(-1, 2)
    # Halves are rounded away from zero, as in C.
    rounded = np.sign(numbers) * np.floor(np.abs(numbers) + 0.5)
    out[:, 2:] = rounded.astype(np.int8).view(np.uint8)
    return out.tobytes()


def packed(name, array, kind):
    if array.ndim < 2 or name in EXACT:
        kind = "f32"
    elif array.ndim != 2:
        kind = "f16"
    if kind == "q8_0":
        return kind, q8_0(array)
    return kind, array.astype("<f4" if kind == "f32" else "<f2").tobytes()


def write(file, folder, kind):
    arrays = ctranslate2.read(folder)
    tensors = Tensors(arrays).collect()
    words, width = ctranslate2.vocabulary(folder), arrays["decoder/embeddings/weight"].shape[1]
    tokens, mels = ctranslate2.text_tokens(words), arrays["encoder/conv1/weight"].shape[1]
    sides = [
        (len(arrays[f"{side}/position_encodings/encodings"]), width, width // 64, ctranslate2.layers(arrays, side))
        for side in ("encoder", "decoder")
    ]
    header = [MARK, len(words), *sides[0], *sides[1], mels, OF_FILE[kind]]
    file.write(struct.pack("<12i", *header))
    filters = mel_filters(mels)
    file.write(struct.pack("<2i", *filters.shape) + filters.tobytes())
    file.write(struct.pack("<i", len(tokens)))
    for token in tokens:
        file.write(struct.pack("<i", len(token)) + token)
    for name, array in tensors:
        this, content = packed(name, array, kind)
        file.write(struct.pack("<3i", array.ndim, len(name), OF_TENSOR[this]))
        file.write(struct.pack(f"<{array.ndim}i", *reversed(array.shape)) + name.encode() + content)


if __name__ == "__main__":
    _, folder, target, kind = sys.argv
    with open(target, "wb") as file:
        write(file, folder, kind)
