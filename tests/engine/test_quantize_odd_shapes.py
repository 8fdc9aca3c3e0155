"""8-bit networks of odd shapes do what docs/quantization.md says, also where that is far from the float network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from claude_flow import _core, export, nets
from claude_flow.modelfile import ABSENT, ModelFile, Op, Program
from claude_flow.modelfile.quantize import quantize

Array = NDArray[np.float64]


def seven_bits(x: Array) -> Array:
    """Unsigned, with a zero point, by each row's own range."""
    low, high = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
    step = np.where(high > low, high - low, 1) / 127
    return (np.clip(np.rint(x / step + np.rint(-low / step)), 0, 127) - np.rint(-low / step)) * step


def eight_bits(x: Array, axis: int) -> Array:
    largest = np.abs(x).max(axis, keepdims=True)
    step = np.where(largest > 0, largest, 1) / 127
    return np.rint(x / step) * step


def attend(qkv: Array, heads: int) -> Array:
    tokens, width = len(qkv), qkv.shape[1] // 3
    q, k, v = (part.reshape(tokens, heads, -1).swapaxes(0, 1) for part in np.split(qkv, 3, axis=1))
    scores = seven_bits(q) @ eight_bits(k, 2).swapaxes(1, 2) / np.sqrt(width / heads)
    weights = np.rint(np.exp(scores - scores.max(2, keepdims=True)) * 127 * 128)
    y = weights @ eight_bits(v, 1) / weights.sum(2, keepdims=True)
    return y.swapaxes(0, 1).reshape(tokens, width)


def documented(file: ModelFile, x: NDArray[np.float32]) -> Array:
    """One item through a coordination network by the arithmetic of the page, in float64."""
    program = Program.parse(file.program, file.program_tensors)
    tensors = [np.asarray(file.tensors[name], np.float64) for name in file.program_tensors]
    values = {program.source: x.astype(np.float64)}
    for code, o in program.ops:
        source = values[o["source"]]
        if code is Op.LAYER_NORM:
            centred = source - source.mean(1, keepdims=True)
            scale = np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
            y = centred / scale * tensors[o["weight"]] + tensors[o["bias"]]
        elif code is Op.ATTENTION:
            y = attend(source, o["heads"])
        else:
            assert code is Op.LINEAR_I8
            y = seven_bits(source) @ (tensors[o["weight"]] * tensors[o["scale"]][:, None]).T
            y = y + (0 if o["bias"] == ABSENT else tensors[o["bias"]])
            if o["activation"] == 2:
                y = torch.nn.functional.gelu(torch.from_numpy(y)).numpy()
            y = y + (0 if o["residual"] == ABSENT else values[o["residual"]])
        values[o["target"]] = y
    return values[program.target]


def networks(width: int, seed: int) -> tuple[ModelFile, NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    odd = [1, 2, 3, 5, 7, 9, 13, 17, 31, 33]
    config = {
        "input_width": int(generator.choice(odd)),
        "width": width,
        "heads": 1,
        "feed_forward": generator.choice(odd, 2).tolist(),
        "output_width": int(generator.choice(odd)),
        "max_tokens": 32,
    }
    x = generator.normal(size=(1, int(generator.integers(1, 20)), config["input_width"])).astype(np.float32)
    return export.lower(nets.create("coordination", config).eval()), x


def run(file: ModelFile, x: NDArray[np.float32]) -> NDArray[np.float32]:
    tensors = [file.tensors[name] for name in file.program_tensors]
    return _core.Model(np.asarray(file.program, np.int32), tensors).run(x)


@pytest.mark.parametrize(("width", "share"), [(2, 0.5), (3, 0.9), (17, 0.9)])
def test_an_8_bit_network_is_the_documented_arithmetic(width: int, share: float) -> None:
    """But for values that float32 and float64 see on different sides of a rounding: each is a step of a 127th. Two
    normalized columns are +a and -a, whose zero point is always such a value, 63.5."""
    agree = []
    for seed in range(30):
        file, x = networks(width, seed)
        eight = quantize(file)
        want = documented(eight, x[0])
        error = np.abs(run(eight, x)[0] - want).max(1) / np.abs(want).max()
        agree += list(error < 1e-4)
        assert error.max() < 0.25, seed
    assert np.mean(agree) > share


def test_a_layer_norm_of_two_columns_is_what_8_bits_cannot_do() -> None:
    """It answers with the sign of their difference: 7 bits of a nearly equal pair decide it anew, and only there."""

    def error(width: int) -> float:
        found = []
        for seed in range(100):
            file, x = networks(width, seed)
            y = run(file, x)
            found.append(np.abs(run(quantize(file), x) - y).max() / np.abs(y).max())
        return float(max(found))

    assert error(2) > 0.5
    assert error(17) < 0.25
