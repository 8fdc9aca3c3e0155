"""Programs in float64: what every op means, written once in torch and apart from the engine.

:func:`run` follows docs/model_format.md op by op. Beside each value it gives the *scale* of its rounding: the same sum
with every term's magnitude. A result of single precision differs from the exact one by some multiples of 6e-8 times
that, however much of the sum cancels. docs/testing.md has the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from claude_flow.modelfile import ABSENT, PER_TOKEN, Op, Program
from claude_flow.modelfile.quantize import GROUP

__all__ = ["ACTIVATIONS", "OPS", "Call", "Result", "run"]

#: activation codes of docs/model_format.md
ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x,
    torch.relu,
    functional.gelu,
    torch.tanh,
    torch.sigmoid,
)


@dataclass(frozen=True)
class Result:
    """A value and the scale of its rounding, both float64 ``[B, T, width]`` or ``[B, width]``."""

    value: Tensor
    scale: Tensor


@dataclass
class Call:
    """What an op sees: the values so far, its operands, its tensors in float64, and the items' lengths ``[B]``."""

    values: dict[int, Tensor]
    operands: dict[str, int]
    tensors: Sequence[Tensor]
    lengths: Tensor

    def value(self, name: str) -> Tensor:
        return self.values[self.operands[name]]

    def tensor(self, name: str) -> Tensor | None:
        index = self.operands[name]
        return None if index == ABSENT else self.tensors[index]

    def real(self, tokens: int) -> Tensor:
        """bool ``[B, T]``: which tokens are no padding."""
        return torch.arange(tokens) < self.lengths[:, None]


def _product(call: Call, x: Tensor, weight: Tensor) -> Result:
    bias, residual = call.tensor("bias"), call.operands["residual"]
    y, scale = x @ weight.T, x.abs() @ weight.abs().T
    if bias is not None:
        y, scale = y + bias, scale + bias.abs()
    if call.operands["activation"]:
        z = y
        y = ACTIVATIONS[call.operands["activation"]](z)
        scale = scale * _slope(z, call.operands["activation"]) + y.abs()
        if ACTIVATIONS[call.operands["activation"]] is functional.gelu:  # z times a probability, right to 1e-7
            scale = scale + z.abs().clamp(max=1)
    if residual != ABSENT:
        y, scale = y + call.values[residual], scale + call.values[residual].abs()
    return Result(y, scale)


def _slope(z: Tensor, activation: int) -> Tensor:
    """|act'(z)|: how far the error of ``z`` reaches into the result."""
    with torch.enable_grad():
        at = z.detach().requires_grad_()
        return torch.autograd.grad(ACTIVATIONS[activation](at).sum(), at)[0].abs()


def _linear(call: Call) -> Result:
    weight = call.tensor("weight")
    assert weight is not None
    return _product(call, call.value("source"), weight)


def _layer_norm(call: Call) -> Result:
    x, gamma, beta = call.value("source"), call.tensor("weight"), call.tensor("bias")
    assert gamma is not None
    assert beta is not None
    epsilon = float(np.int32(call.operands["epsilon"]).view(np.float32))
    deviation = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + epsilon)
    y = (x - x.mean(-1, keepdim=True)) / deviation
    largest = x.abs().amax(-1, keepdim=True) / deviation
    return Result(y * gamma + beta, largest * gamma.abs() + beta.abs())


def _attention(call: Call) -> Result:
    qkv, heads = call.value("source"), call.operands["heads"]
    items, tokens, width = qkv.shape
    split = qkv.view(items, tokens, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4)
    real = call.real(tokens)
    size = split.shape[-1] ** -0.5

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = (q @ k.transpose(2, 3) * size).masked_fill(~real[:, None, None, :], -torch.inf)
        return (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(items, tokens, width // 3)

    q, k, v = split.unbind(0)
    terms = (q.abs() @ k.abs().transpose(2, 3) * size).amax(-1).clamp(min=1)  # a score's error multiplies its weight
    largest = v.abs().masked_fill(~real[:, None, :, None], 0).amax(2, keepdim=True) * terms[..., None]
    scale = largest.transpose(1, 2).reshape(items, tokens, width // 3)
    keep = real[:, :, None]
    return Result(attend(q, k, v) * keep, scale * keep)


def _lstm(call: Call, x: Tensor, weight: Tensor, recurrent: Tensor) -> Result:
    bias = call.tensor("bias")
    items, tokens, _ = x.shape
    units = recurrent.shape[1]
    h = c = torch.zeros(items, units, dtype=torch.float64)
    rows, scales = [], []
    scale = torch.ones(items, units, dtype=torch.float64)
    for step in range(tokens):
        gates = x[:, step] @ weight.T + h @ recurrent.T
        terms = x[:, step].abs() @ weight.abs().T + h.abs() @ recurrent.abs().T
        if bias is not None:
            gates, terms = gates + bias, terms + bias.abs()
        i, f, g, o = gates.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        scale = torch.maximum(scale, torch.stack(terms.chunk(4, 1)).amax(0))
        rows.append(h)
        scales.append(scale)
    keep = call.real(tokens)[:, :, None]
    return Result(torch.stack(rows, 1) * keep, torch.stack(scales, 1) * keep)


def _lstm_fp32(call: Call) -> Result:
    weight, recurrent = call.tensor("weight"), call.tensor("recurrent")
    assert weight is not None
    assert recurrent is not None
    return _lstm(call, call.value("source"), weight, recurrent)


def _attention_pool(call: Call) -> Result:
    values, keys, vector = call.value("source"), call.value("keys"), call.tensor("weight")
    assert vector is not None
    hidden = ~call.real(values.shape[1])
    weights = torch.softmax((keys @ vector).masked_fill(hidden, -torch.inf), 1)
    terms = (keys.abs() @ vector.abs()).masked_fill(hidden, 0).amax(1).clamp(min=1)
    largest = values.abs().masked_fill(hidden[:, :, None], 0).amax(1)
    return Result((weights[:, None, :] @ values)[:, 0], largest * terms[:, None])


def _last(call: Call) -> Result:
    x = call.value("source")
    row = x[torch.arange(len(x)), call.lengths - 1]
    return Result(row, row.abs())


def _monotone(call: Call) -> Result:
    q, group = call.operands["quantiles"], call.operands["group"]
    raw = call.value("source")
    columns = raw.reshape(*raw.shape[:-1], -1, group)
    middle = columns[..., q // 2 : q // 2 + 1]
    low, high = functional.softplus(columns[..., : q // 2]), functional.softplus(columns[..., q // 2 + 1 : q])
    down, up = low.flip(-1).cumsum(-1).flip(-1), high.cumsum(-1)
    rest = columns[..., q:]
    y = torch.cat([middle - down, middle, middle + up, rest], -1)
    scale = torch.cat([middle.abs() + down, middle.abs(), middle.abs() + up, rest.abs()], -1)
    return Result(y.reshape(raw.shape), scale.reshape(raw.shape))


def _seven_bits(x: Tensor, bounds: Tensor | None) -> Tensor:
    """``x`` on the grid of docs/quantization.md, each row to its own range or all to ``bounds``."""
    zero = torch.zeros((), dtype=torch.float64)
    low = torch.minimum(x.amin(-1, keepdim=True), zero) if bounds is None else bounds[0]
    high = torch.maximum(x.amax(-1, keepdim=True), zero) if bounds is None else bounds[1]
    step = (high - low) / 127
    step = torch.where(step > 0, step, torch.ones_like(step))
    origin = torch.round(-low / step)
    return (torch.clamp(torch.round(x / step) + origin, 0, 127) - origin) * step


def _scaled(call: Call, weight: str, scale: str) -> Tensor:
    matrix, factors = call.tensor(weight), call.tensor(scale)
    assert matrix is not None
    assert factors is not None
    return matrix * factors[:, None]


def _scaled_pairs(call: Call, weight: str, scale: str, depth: int) -> Tensor:
    """4-bit weights: the low half of a byte comes first, and GROUP of a row share a scale."""
    pairs, factors = call.tensor(weight), call.tensor(scale)
    assert pairs is not None
    assert factors is not None
    low = torch.remainder(pairs + 8, 16) - 8
    matrix = torch.stack([low, (pairs - torch.remainder(pairs, 16)) / 16], dim=2).flatten(1)
    return matrix[:, :depth] * factors.repeat_interleave(GROUP, dim=1)[:, :depth]


def _linear_int8(call: Call) -> Result:
    return _product(call, _seven_bits(call.value("source"), call.tensor("range")), _scaled(call, "weight", "scale"))


def _lstm_int8(call: Call) -> Result:
    """Of one token: later ones depend on how the hidden state before them was rounded."""
    x = _seven_bits(call.value("source"), None)
    return _lstm(call, x, _scaled(call, "weight", "scale"), _scaled(call, "recurrent", "recurrent_scale"))


def _linear_int4(call: Call) -> Result:
    x = call.value("source")
    weight = _scaled_pairs(call, "weight", "scale", x.shape[-1])
    return _product(call, _seven_bits(x, call.tensor("range")), weight)


def _lstm_int4(call: Call) -> Result:
    """Of one token, as with 8 bits."""
    x = _seven_bits(call.value("source"), None)
    recurrent = call.tensor("recurrent")
    assert recurrent is not None
    back = _scaled_pairs(call, "recurrent", "recurrent_scale", len(recurrent) // 4)
    return _lstm(call, x, _scaled_pairs(call, "weight", "scale", x.shape[-1]), back)


#: what every opcode computes
OPS: dict[Op, Callable[[Call], Result]] = {
    Op.LINEAR: _linear,
    Op.LAYER_NORM: _layer_norm,
    Op.ATTENTION: _attention,
    Op.LSTM: _lstm_fp32,
    Op.ATTENTION_POOL: _attention_pool,
    Op.LAST: _last,
    Op.MONOTONE: _monotone,
    Op.LINEAR_I8: _linear_int8,
    Op.LSTM_I8: _lstm_int8,
    Op.LINEAR_I4: _linear_int4,
    Op.LSTM_I4: _lstm_int4,
}


def run(
    program: Program, tensors: Sequence[Any], x: Any, lengths: Any | None = None, given: dict[int, Any] | None = None
) -> dict[int, Result]:
    """Every value that the program computes from ``x``, in float64.

    Args:
        tensors: the program's, in its order, as arrays.
        x: ``[B, T, width]`` or ``[B, width]``.
        lengths: real tokens of each item; default all.
        given: values that stand in for what the ops before would give, so that an op is judged by itself.
    """
    source = torch.as_tensor(np.array(x), dtype=torch.float64)
    many = torch.full((len(source),), source.shape[1] if source.ndim == 3 else 1)
    sizes = many if lengths is None else torch.as_tensor(np.array(lengths)).long()
    weights = [torch.as_tensor(np.array(tensor), dtype=torch.float64) for tensor in tensors]
    values = {program.source: source}
    found: dict[int, Result] = {}
    for code, operands in program.ops:
        result = OPS[code](Call(values, operands, weights, sizes))
        target, column = operands["target"], operands.get("column", 0)
        rows, width = program.values[target]
        if rows == PER_TOKEN and result.value.ndim == 3:
            keep = Call(values, operands, weights, sizes).real(result.value.shape[1])[:, :, None]
            result = Result(result.value * keep, result.scale * keep)
        if result.value.shape[-1] != width:  # one of several ops that fill the value, side by side
            before = found.get(target)
            shape = (*result.value.shape[:-1], width)
            parts = [
                torch.zeros(shape, dtype=torch.float64) if before is None else old.clone() for old in _both(before)
            ]
            for part, new in zip(parts, (result.value, result.scale), strict=True):
                part[..., column : column + new.shape[-1]] = new
            result = Result(*parts)
        found[target] = result
        values[target] = result.value
        if given and target in given:
            values[target] = torch.as_tensor(np.array(given[target]), dtype=torch.float64)
    return found


def _both(result: Result | None) -> tuple[Any, Any]:
    return (None, None) if result is None else (result.value, result.scale)
