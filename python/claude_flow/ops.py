"""Single kernels of the engine on NumPy arrays.

Every function takes float32 or float64 arrays of any strides, read-only ones too, computes in float32 and returns a new
float32 array, or `out`; anything else (integers, objects, complex numbers, a wrong shape) raises ValueError naming the
argument. `isa` is "auto" or one of `claude_flow.engine.available()`. Weights are packed on every call; a model packs
them once.

`out` is where the result goes: a C-contiguous, writable float32 array of the result's shape. It must not overlap the
other arrays, but elementwise functions, `softmax` and `layer_norm` may write over x itself. Used again and again, it
spares the system from clearing new pages for every large result.

Sizes may be 0 wherever the mathematics is defined: a product of depth 0 is its bias. A row has at most `LIMIT`
columns, and a sequence at most `LIMIT` tokens.

>>> import numpy as np
>>> from claude_flow import ops
>>> ops.softmax(np.zeros((1, 4)))
array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from claude_flow import _core
from claude_flow.modelfile import ABSENT, PER_ITEM, PER_TOKEN, Activation, Op

__all__ = [
    "attention",
    "exp",
    "gelu",
    "layer_norm",
    "linear",
    "linear_int8",
    "lstm",
    "matmul",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]

Array = NDArray[np.float32]
#: Columns of a row, tokens of a sequence, attention heads: at most so many.
LIMIT = 65536

#: Of `linear`, by name: those that a program may name.
_ACTIVATIONS = {code.name.lower(): code for code in Activation if code is not Activation.EXP}


def relu(x: ArrayLike, isa: str = "auto", *, out: Array | None = None) -> Array:
    """max(x, 0), elementwise.

    >>> relu([-1.0, 2.0])
    array([0., 2.], dtype=float32)
    """
    return _core.activation(_floats(x, "x"), Activation.RELU, isa, out)


def gelu(x: ArrayLike, isa: str = "auto", *, out: Array | None = None) -> Array:
    """x Phi(x) with the exact normal distribution function, not its tanh approximation; within 4 ulp or 1e-7.

    >>> gelu([0.0, 1.0]).round(4)
    array([0.    , 0.8413], dtype=float32)
    """
    return _core.activation(_floats(x, "x"), Activation.GELU, isa, out)


def tanh(x: ArrayLike, isa: str = "auto", *, out: Array | None = None) -> Array:
    """Hyperbolic tangent, within 2 ulp.

    >>> tanh([0.0, 20.0])
    array([0., 1.], dtype=float32)
    """
    return _core.activation(_floats(x, "x"), Activation.TANH, isa, out)


def sigmoid(x: ArrayLike, isa: str = "auto", *, out: Array | None = None) -> Array:
    """1 / (1 + exp(-x)), within 3 ulp; with AVX-512 what is below 1.2e-38 may be 0.

    >>> sigmoid([0.0])
    array([0.5], dtype=float32)
    """
    return _core.activation(_floats(x, "x"), Activation.SIGMOID, isa, out)


def exp(x: ArrayLike, isa: str = "auto", *, out: Array | None = None) -> Array:
    """e to the x, within 2 ulp.

    >>> exp([0.0])
    array([1.], dtype=float32)
    """
    return _core.activation(_floats(x, "x"), Activation.EXP, isa, out)


def softmax(x: ArrayLike, isa: str = "auto", *, out: Array | None = None) -> Array:
    """exp(x - max) / sum over the last axis; a score of -inf beside a finite one gets exactly 0.

    >>> softmax([[1000.0, 1000.0]])
    array([[0.5, 0.5]], dtype=float32)
    >>> x = np.zeros((2, 2), np.float32)
    >>> softmax(x, out=x) is x
    True
    """
    rows = _rows(x, "x")
    return _core.softmax(rows, isa, out) if rows.shape[-1] else _nothing(rows.shape, out)


def layer_norm(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    epsilon: float = 1e-5,
    isa: str = "auto",
    *,
    out: Array | None = None,
) -> Array:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over the last axis; gamma and beta are that long.

    >>> layer_norm([[1.0, 3.0]], [1.0, 1.0], [0.0, 0.0], 1e-12)
    array([[-1.,  1.]], dtype=float32)
    """
    rows, scale, shift = _rows(x, "x"), _floats(gamma, "gamma", 1), _floats(beta, "beta", 1)
    if not rows.shape[-1] and not len(scale) and not len(shift):
        return _nothing(rows.shape, out)
    return _core.layer_norm(rows, scale, shift, epsilon, isa, out)


def matmul(a: ArrayLike, b: ArrayLike, isa: str = "auto", *, out: Array | None = None) -> Array:
    """The product of a[m, k] and b[k, n].

    >>> matmul([[1.0, 2.0]], [[3.0], [4.0]])
    array([[11.]], dtype=float32)
    """
    right = _floats(b, "b", 2)
    _within(b=right.shape[1])
    _within(a=right.shape[0])
    return linear(a, right.T, isa=isa, out=out)


def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    activation: str = "none",
    isa: str = "auto",
    *,
    out: Array | None = None,
) -> Array:
    """activation(x weight^T + bias): x[..., depth], weight[width, depth], bias[width] -> [..., width].

    `activation` is none, relu, gelu, tanh or sigmoid.

    >>> linear([[1.0, 2.0]], [[3.0, 4.0], [-1.0, 0.0]], [0.5, 0.5], "relu")
    array([[11.5,  0. ]], dtype=float32)
    """
    w = _floats(weight, "weight", 2)
    rest = [_vector(bias, "bias", len(w))] if bias is not None else []
    operands = [0, 1, 0, 0, 1 if rest else ABSENT, ABSENT, _activation(activation)]
    return _product(x, w.shape, Op.LINEAR, operands, [w, *rest], isa, out)


def linear_int8(
    x: ArrayLike,
    weight: NDArray[np.int8],
    scale: ArrayLike,
    bias: ArrayLike | None = None,
    activation: str = "none",
    bounds: tuple[float, float] | None = None,
    isa: str = "auto",
    *,
    out: Array | None = None,
) -> Array:
    """`linear` with weight[width, depth] of int8, which stands for weight * scale[:, None].

    x is quantized to 7 bits, each row to its own range or to `bounds` = (lowest <= 0, highest >= 0). The integer
    products are exact, and the result has the same bits on every instruction set.

    >>> linear_int8([[127.0, 0.0]], np.array([[2, 5]], np.int8), [0.5])
    array([[127.]], dtype=float32)
    """
    w = np.ascontiguousarray(weight)
    if w.dtype != np.int8 or w.ndim != 2:
        raise ValueError(f"weight: int8 of 2 dimensions expected, not {w.dtype} of {w.ndim}")
    tensors: list[NDArray[Any]] = [w, _vector(scale, "scale", len(w))]
    places = []
    for name, optional, count in (("bias", bias, len(w)), ("bounds", bounds, 2)):
        places.append(ABSENT if optional is None else len(tensors))
        if optional is not None:
            tensors.append(_vector(optional, name, count))
    if bounds is not None and not bounds[0] <= 0 <= bounds[1]:
        raise ValueError(f"bounds: from at most 0 to at least 0 expected, not {bounds[0]} to {bounds[1]}")
    operands = [0, 1, 0, 0, 1, places[0], ABSENT, _activation(activation), places[1]]
    return _product(x, w.shape, Op.LINEAR_I8, operands, tensors, isa, out)


def attention(
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    heads: int = 1,
    lengths: ArrayLike | None = None,
    isa: str = "auto",
    *,
    out: Array | None = None,
) -> Array:
    """softmax(q k^T / sqrt(width / heads)) v per item and head; q, k, v and the result are [items, tokens, width].

    Keys beyond an item's length are left out, and its result rows there are 0.

    >>> attention([[[0.0]]], [[[0.0]]], [[[7.0]]])
    array([[[7.]]], dtype=float32)
    """
    parts = [_floats(part, name, 3) for part, name in ((q, "q"), (k, "k"), (v, "v"))]
    if any(part.shape != parts[0].shape for part in parts):
        raise ValueError(f"q, k and v differ in shape: {', '.join(str(part.shape) for part in parts)}")
    _, tokens, width = parts[0].shape
    _within(q=max(tokens, 3 * width), heads=heads)
    if heads < 1 or width % heads:
        raise ValueError(f"heads: a divisor of the width {width} expected, not {heads}")
    if not tokens or not width:
        return _nothing(parts[0].shape, out)
    program = _program([(PER_TOKEN, 3 * width), (PER_TOKEN, width)], [Op.ATTENTION, 0, 1, heads], parts[0].shape[1])
    return _core.Model(program, [], isa).run(np.concatenate(parts, axis=2), _lengths(lengths), out)


def lstm(
    x: ArrayLike,
    w_input: ArrayLike,
    w_recurrent: ArrayLike,
    bias: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    isa: str = "auto",
    *,
    out: Array | None = None,
) -> Array:
    """The hidden states of an LSTM from a zero state: x[items, tokens, depth] -> [items, tokens, units].

    w_input[4 units, depth], w_recurrent[4 units, units], bias[4 units], gates in the order input, forget, cell, output.
    Result rows beyond an item's length are 0.

    >>> lstm(np.zeros((1, 1, 2)), np.zeros((4, 2)), np.zeros((4, 1)), [0.0, 0.0, 20.0, 20.0]).round(3)
    array([[[0.462]]], dtype=float32)
    """
    xs = _floats(x, "x", 3)
    tensors = [_floats(w_input, "w_input", 2), _floats(w_recurrent, "w_recurrent", 2)]
    if bias is not None:
        tensors.append(_floats(bias, "bias", 1))
    (items, tokens, depth), units = xs.shape, tensors[1].shape[1]
    _within(x=max(tokens, depth), w_recurrent=4 * units)
    for name, tensor, shape in zip(
        ("w_input", "w_recurrent", "bias"),
        tensors,
        ((4 * units, depth), (4 * units, units), (4 * units,)),
        strict=False,
    ):
        if tensor.shape != shape:
            raise ValueError(f"{name}: shape {shape} expected, not {tensor.shape}")
    if not tokens or not units:
        return _nothing((items, tokens, units), out)
    if not depth:  # one input that is always 0 adds as much as none
        xs, tensors[0] = np.zeros((items, tokens, 1), np.float32), np.zeros((4 * units, 1), np.float32)
    values = [(PER_TOKEN, xs.shape[2]), (PER_TOKEN, units)]
    program = _program(values, [Op.LSTM, 0, 1, 0, 1, 2 if bias is not None else ABSENT], xs.shape[1])
    return _core.Model(program, tensors, isa).run(xs, _lengths(lengths), out)


def _product(
    x: ArrayLike,
    shape: tuple[int, ...],
    code: int,
    operands: list[int],
    tensors: list[NDArray[Any]],
    isa: str,
    out: Array | None,
) -> Array:
    xs = _floats(x, "x")
    width, depth = shape
    if xs.ndim < 1 or xs.shape[-1] != depth:
        raise ValueError(f"x: rows of {depth} columns expected, as the weights have, not shape {xs.shape}")
    _within(x=depth, weight=width)
    whole = (*xs.shape[:-1], width)
    if not width:
        return _nothing(whole, out)
    if not depth:  # one input that is always 0 adds as much as none
        xs, depth = np.zeros((*xs.shape[:-1], 1), np.float32), 1
        tensors = [np.zeros((width, 1), tensors[0].dtype), *tensors[1:]]
    program = _program([(PER_ITEM, depth), (PER_ITEM, width)], [code, *operands], 1)
    rows = None
    if out is not None:
        if not isinstance(out, np.ndarray) or out.shape != whole or not out.flags.c_contiguous:
            raise ValueError(f"out: C-contiguous, writable float32 {whole} expected")
        rows = out.reshape(-1, width)
    y = _core.Model(program, tensors, isa).run(xs.reshape(-1, depth), None, rows)
    return y.reshape(whole) if out is None else out


def _program(values: list[tuple[int, int]], op: list[int], max_tokens: int) -> NDArray[np.int32]:
    words = [1, len(values), 1, 0, len(values) - 1, max_tokens, *(n for value in values for n in value)]
    return np.array([*words, op[0], len(op) - 1, *op[1:]], np.int32)


def _floats(x: ArrayLike, name: str, dimensions: int | None = None) -> Array:
    array = np.asarray(x)
    if array.dtype.char not in "fd":
        raise ValueError(f"{name}: float32 or float64 expected, not {array.dtype}")
    if dimensions is not None and array.ndim != dimensions:
        raise ValueError(f"{name}: {dimensions} dimensions expected, not {array.ndim}")
    return np.asarray(array, np.float32, order="C")


def _rows(x: ArrayLike, name: str) -> Array:
    array = _floats(x, name)
    if array.ndim < 1:
        raise ValueError(f"{name}: rows expected, not a single number")
    return array


def _vector(x: ArrayLike, name: str, count: int) -> Array:
    array = _floats(x, name, 1)
    if len(array) != count:
        raise ValueError(f"{name}: {count} numbers expected, not {len(array)}")
    return array


def _within(**sizes: int) -> None:
    for name, size in sizes.items():
        if size > LIMIT:
            raise ValueError(f"{name}: a size of {size}, and the limit is {LIMIT}")


def _nothing(shape: tuple[int, ...], out: Array | None) -> Array:
    """A result without elements."""
    if out is not None and (not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != np.float32):
        raise ValueError(f"out: float32 {shape} expected")
    return np.zeros(shape, np.float32) if out is None else out


def _lengths(lengths: ArrayLike | None) -> NDArray[np.int32] | None:
    if lengths is None:
        return None
    array = np.asarray(lengths)
    if array.dtype.kind not in "iu":
        raise ValueError(f"lengths: integers expected, not {array.dtype}")
    return np.asarray(np.clip(array, -1, np.iinfo(np.int32).max), np.int32, order="C")


def _activation(name: str) -> int:
    if name not in _ACTIVATIONS:
        raise ValueError(f"activation: one of {', '.join(_ACTIVATIONS)} expected, not {name!r}")
    return _ACTIVATIONS[name]
