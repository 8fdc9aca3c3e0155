"""8-bit models: the arithmetic that docs/quantization.md promises, and the same bits on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from claude_flow import _core

F32 = np.float32
NONE = -1
EPSILON = int(np.float32(1e-5).view(np.int32))


class Program:
    """A network written once and lowered to float or to 8-bit ops."""

    def __init__(self, width: int, per_token: bool, int8: bool, seed: int = 0) -> None:
        self.values, self.ops, self.tensors = [(int(per_token), width)], [], []
        self.int8, self.generator = int8, np.random.default_rng(seed)

    def random(self, *shape: int) -> NDArray[np.float32]:
        return (self.generator.normal(size=shape) / np.sqrt(shape[-1])).astype(F32)

    def tensor(self, data: NDArray) -> int:
        self.tensors.append(np.ascontiguousarray(data))
        return len(self.tensors) - 1

    def value(self, width: int, per_token: int) -> int:
        self.values.append((per_token, width))
        return len(self.values) - 1

    def op(self, code: int, *operands: int) -> None:
        self.ops.append([code, len(operands), *operands])

    def weights(self, matrix: NDArray[np.float32]) -> tuple[int, int]:
        quantized, scale = quantize_weights(matrix)
        return self.tensor(quantized), self.tensor(scale)

    def linear(self, x: int, width: int, activation: int = 0, residual: int = NONE) -> int:
        per_token, depth = self.values[x]
        matrix, bias = self.random(width, depth), self.tensor(self.random(width))
        out = self.value(width, per_token)
        if self.int8:
            self.op(8, x, out, 0, *self.weights(matrix), bias, residual, activation, NONE)
        else:
            self.op(1, x, out, 0, self.tensor(matrix), bias, residual, activation)
        return out

    def lstm(self, x: int, units: int) -> int:
        out = self.value(units, 1)
        w, r, bias = self.random(4 * units, self.values[x][1]), self.random(4 * units, units), self.random(4 * units)
        if self.int8:
            self.op(9, x, out, *self.weights(w), *self.weights(r), self.tensor(bias))
        else:
            self.op(4, x, out, self.tensor(w), self.tensor(r), self.tensor(bias))
        return out

    def layer_norm(self, x: int) -> int:
        per_token, width = self.values[x]
        out = self.value(width, per_token)
        self.op(2, x, out, self.tensor(self.random(width) + 1), self.tensor(self.random(width)), EPSILON)
        return out

    def attention(self, x: int, heads: int) -> int:
        out = self.value(self.values[x][1] // 3, 1)
        self.op(3, x, out, heads)
        return out

    def model(self, output: int, isa: str = "auto", threads: int = 1) -> _core.Model:
        flat = [1, len(self.values), len(self.ops), 0, output, 128]
        flat += [n for value in self.values for n in value] + [n for op in self.ops for n in op]
        return _core.Model(np.array(flat, np.int32), self.tensors, isa, threads)


def quantize_weights(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    scale = (np.abs(matrix).max(1) / 127).astype(F32)
    return np.round(matrix / scale[:, None]).astype(np.int8), scale


def coordination(int8: bool) -> tuple[Program, int, tuple[int, ...]]:
    p = Program(48, True, int8)
    x = p.linear(0, 64)
    for feed_forward in (64, 130):
        x = p.linear(p.attention(p.linear(p.layer_norm(x), 192), 4), 64, 0, x)
        x = p.linear(p.linear(p.layer_norm(x), feed_forward, 2), 64, 0, x)
    return p, p.linear(p.layer_norm(x), 32), (5, 33, 48)


def optimization(int8: bool) -> tuple[Program, int, tuple[int, ...]]:
    p = Program(40, False, int8)
    x = 0
    for width in (40, 72, 1100, 64):
        x = p.linear(x, width, 1, x if p.values[x][1] == width else p.linear(x, width))
    return p, p.linear(x, 19), (37, 40)


def prediction(int8: bool) -> tuple[Program, int, tuple[int, ...]]:
    p = Program(24, True, int8)
    x = p.lstm(p.lstm(0, 70), 70)
    keys = p.linear(x, 36, 3)
    out = p.value(140, 0)
    p.op(5, x, keys, p.tensor(p.random(36)), out, 0)
    p.op(6, x, out, 70)
    y = p.linear(out, 32)
    final = p.value(32, 0)
    p.op(7, y, final, 7, 8)
    return p, final, (7, 19, 24)


NETWORKS = [coordination, optimization, prediction]


def run(network, int8: bool, isa: str, threads: int = 1, padded: bool = False) -> NDArray[np.float32]:
    program, output, shape = network(int8)
    generator = np.random.default_rng(9)
    x = generator.normal(size=shape).astype(F32)
    lengths = generator.integers(1, shape[1] + 1, shape[0]).astype(np.int32) if padded else None
    return program.model(output, isa, threads).run(x, lengths)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("padded", [False, True])
def test_every_instruction_set_and_thread_count_gives_the_same_bits(network, padded: bool) -> None:
    if padded and network is optimization:
        padded = False
    first = run(network, True, "scalar", padded=padded)
    assert np.isfinite(first).all()
    for isa in _core.available():
        for threads in (1, 2, 5):  # 5: the layers of the LSTM run at once
            assert run(network, True, isa, threads, padded).tobytes() == first.tobytes(), (isa, threads)


@pytest.mark.parametrize("network", NETWORKS)
def test_close_to_the_float_network(network) -> None:
    exact, quantized = run(network, False, "scalar"), run(network, True, "auto")
    noise = 10 * np.log10((exact**2).sum() / ((exact - quantized) ** 2).sum())
    assert noise > 24, f"signal to noise {noise:.1f} dB"


def seven_bits(x: NDArray[np.float32], low: float | None = None, high: float | None = None):
    """Per row: (q - zero) as integers, and the scale."""
    lowest = np.minimum(x.min(1, keepdims=True), 0).astype(F32) if low is None else F32(low)
    highest = np.maximum(x.max(1, keepdims=True), 0).astype(F32) if high is None else F32(high)
    width = (highest - lowest).astype(F32)
    inverse = (F32(127) / width).astype(F32)
    zero = np.round(-lowest * inverse)
    q = np.round(np.clip(x * inverse + zero, 0, 127))
    return (q - zero).astype(np.int64), np.broadcast_to(width / F32(127), (x.shape[0], 1))


@pytest.mark.parametrize("given", [None, (-1.5, 2.0), (0.0, 3.0)])
@pytest.mark.parametrize(("items", "depth", "width"), [(1, 3, 5), (17, 130, 33), (5, 2100, 70)])
def test_linear_is_the_integer_product(isa: str, given, items: int, depth: int, width: int) -> None:
    p = Program(depth, False, True)
    matrix, bias = quantize_weights(p.random(width, depth)), p.random(width)
    out = p.value(width, 0)
    bounds = NONE if given is None else p.tensor(np.array(given, F32))
    p.op(8, 0, out, 0, p.tensor(matrix[0]), p.tensor(matrix[1]), p.tensor(bias), NONE, 1, bounds)
    x = p.random(items, depth) * F32(20)
    q, scale = seven_bits(x, *(given or (None, None)))
    exact = (q @ matrix[0].T.astype(np.int64)) * (scale.astype(np.float64) * matrix[1]) + bias
    np.testing.assert_allclose(p.model(out, isa).run(x), np.maximum(exact, 0), rtol=3e-6, atol=3e-6)


def test_values_that_are_not_finite_come_out(isa: str) -> None:
    program, output, _ = optimization(True)
    x = np.ones((3, 40), F32)
    x[0, 3], x[1, 5] = np.nan, np.inf
    y = program.model(output, isa).run(x)
    assert np.isnan(y[:2]).all()
    assert np.isfinite(y[2]).all()


def test_rows_of_zeros(isa: str) -> None:
    program, output, _ = optimization(True)
    assert np.isfinite(program.model(output, isa).run(np.zeros((2, 40), F32))).all()


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((1.0, 2.0), "range"),
        ((-1.0, -0.5), "range"),
        ((0.0, 0.0), "range"),
        ((np.nan, 1.0), "range"),
        ((-1.0, np.inf), "range"),
    ],
)
def test_impossible_ranges_are_refused(bounds: tuple[float, float], text: str) -> None:
    p = Program(4, False, True)
    out = p.value(2, 0)
    weight, scale = p.weights(p.random(2, 4))
    p.op(8, 0, out, 0, weight, scale, NONE, NONE, 0, p.tensor(np.array(bounds, F32)))
    with pytest.raises(ValueError, match=text):
        p.model(out)


def test_float_weights_are_refused() -> None:
    p = Program(4, False, True)
    out = p.value(2, 0)
    p.op(8, 0, out, 0, p.tensor(p.random(2, 4)), p.tensor(np.ones(2, F32)), NONE, NONE, 0, NONE)
    with pytest.raises(ValueError, match="tensor 0 is not int8"):
        p.model(out)
