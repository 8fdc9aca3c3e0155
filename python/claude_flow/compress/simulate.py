"""A quantized model in torch: every op gives the engine's own bits forward, and a float op's gradient backward.

Each op of the 8-bit program runs by itself on the engine, so a value is what every instruction set and WebAssembly
computes, by construction. Backward it is the float op on the same rounded operands; rounding passes gradients through
(straight-through estimator, Bengio et al. 2013), except where a static range cuts a value off.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from claude_flow import networks
from claude_flow.errors import require
from claude_flow.lowering import Lowering
from claude_flow.modelfile import ABSENT, PER_ITEM, Activation, Op, Program
from claude_flow.modelfile.quantize import integers, on_grid
from claude_flow.modelfile.ranges import LEVELS, Rows

require("torch", "train")
import torch
from torch import Tensor, nn
from torch.nn import functional

from claude_flow.train.hooks import Hook

__all__ = ["Quantized", "Simulation"]

_ACTIVATIONS: dict[int, Callable[[Tensor], Tensor]] = {
    Activation.NONE: lambda x: x,
    Activation.RELU: torch.relu,
    Activation.GELU: functional.gelu,
    Activation.TANH: torch.tanh,
    Activation.SIGMOID: torch.sigmoid,
}


class Simulation:
    """The quantized form of a float module: the same parameters, ``ranges``, layers kept in float and layers of 4 bits
    as :func:`claude_flow.modelfile.quantize.quantize` takes them.

    Calling it is ``module.forward`` with the bits of the engine on ``quantize(lower(module), ranges, keep, four)``.
    """

    def __init__(
        self,
        module: nn.Module,
        ranges: Mapping[int, Rows] | None = None,
        keep: Collection[str] = (),
        four: Collection[str] = (),
    ) -> None:
        self._module: Any = module
        self._net = next(row.net for row in networks.NETWORKS.values() if type(module) is row.net.Net)
        tensors, config = self._net.stored(self._detached(), self._module.config)
        program = Lowering(tensors, getattr(config, "max_tokens", 1))
        self._net.lower(program, config)
        self._program: Program = program
        self._ranges, self._keep, self._four = dict(ranges or {}), frozenset(keep), frozenset(four)

    def _detached(self) -> dict[str, Any]:
        return {name: t.detach().cpu().float().numpy() for name, t in self._module.state_dict().items()}

    def __call__(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The program's output for ``x`` [B, T, width] or [B, width]; rows of padded tokens are 0."""
        program = self._program
        # Not a copy of the state: gradients go to the parameters.
        own = {**self._module.state_dict(), **dict(self._module.named_parameters())}
        tensors, _ = self._net.stored(own, self._module.config)
        size = None if lengths is None else np.ascontiguousarray(lengths.cpu().numpy(), np.int32)
        values: dict[int, Tensor] = {program.source: x}
        for code, operands in program.ops:
            made = self._op(code, operands, values, tensors, size)
            before = values.get(operands["target"])  # an op may fill the columns behind what others wrote
            values[operands["target"]] = made if before is None else torch.cat([before, made], dim=-1)
        return values[program.target]

    def _op(
        self, code: Op, o: dict[str, int], values: dict[int, Tensor], tensors: dict[str, Tensor], lengths: Any
    ) -> Tensor:
        names = self._program.tensor_names(o)
        given = {key: tensors[name] for key, name in names.items()}
        weight = names.get("weight")
        small = None if weight in self._keep else code.int4 if weight in self._four else code.int8
        bounds = self._ranges.get(o["source"]) if small and code is Op.LINEAR else None
        read = {key: values[o[key]] for key in ("source", "keys", "residual") if o.get(key, ABSENT) != ABSENT}
        hard = _engine(code, self._program, o, read, given, bounds, lengths, small)
        soft = _float(code, o, read, given, bounds, lengths, small)
        result: Tensor = _Straight.apply(soft, torch.from_numpy(hard))  # type: ignore[no-untyped-call]
        return result


class _Straight(torch.autograd.Function):
    """The second argument forward, the first one backward."""

    @staticmethod
    def forward(context: Any, soft: Tensor, hard: Tensor) -> Tensor:
        return hard

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _engine(
    code: Op,
    whole: Program,
    o: dict[str, int],
    read: dict[str, Tensor],
    given: dict[str, Tensor],
    bounds: Rows | None,
    lengths: Any,
    small: Op | None,
) -> Rows:
    """One op as the engine runs it in a model of integers: as ``small``, or in float."""
    from claude_flow import _core

    program = Program(whole.max_tokens)
    operands = dict.fromkeys(code.operands, 0) | o
    for key in read:
        operands[key] = program.input(*whole.values[o[key]])
    rows, width = whole.values[o["target"]]
    arrays = {key: np.ascontiguousarray(t.detach().numpy()) for key, t in given.items()}
    new = small or code
    for matrix, scale in new.scales.items():
        arrays[matrix], arrays[scale] = integers(new.bits, arrays[matrix])
    if bounds is not None:
        arrays["range"] = bounds
    if "column" in operands:
        operands["column"] = 0
        width = len(arrays["weight"]) if code is Op.LINEAR else read["source"].shape[-1]
    operands["target"] = program.target = program.value(rows, width)
    tensors = {key: program.tensor(key) for key in arrays}
    if small is None:
        _make_consistent(program, operands["source"], arrays)
    program.op(new, **{key: tensors.get(key, operands.get(key, ABSENT)) for key in new.operands})
    model = _core.Model(np.asarray(program.words(), np.int32), [arrays[key] for key in program.tensors])
    x = [np.ascontiguousarray(t.detach().numpy()) for t in read.values()]
    sizes = [None if whole.values[o[key]][0] == PER_ITEM else lengths for key in read]
    return model.run(x[0] if len(x) == 1 else x, sizes[0] if len(x) == 1 else sizes)


def _make_consistent(program: Program, source: int, arrays: dict[str, Any]) -> None:
    """A product of bytes that no one reads: the float ops of a program with one run their consistent kernels."""
    rows, width = program.values[source]
    arrays |= {"nothing": np.zeros((1, width), np.int8), "nothing.scale": np.ones(1, np.float32)}
    operands = {"source": source, "target": program.value(rows, 1), "column": 0, "activation": 0}
    tensors = {"weight": program.tensor("nothing"), "scale": program.tensor("nothing.scale")}
    program.op(Op.LINEAR_I8, **{key: (operands | tensors).get(key, ABSENT) for key in Op.LINEAR_I8.operands})


def _float(
    code: Op,
    o: dict[str, int],
    read: dict[str, Tensor],
    given: dict[str, Tensor],
    bounds: Rows | None,
    lengths: Any,
    small: Op | None,
) -> Tensor:
    """The same op in float on rounded operands, for its gradient."""
    x = read["source"]
    mask = None
    if lengths is not None and x.ndim == 3:
        mask = torch.arange(x.shape[1]) < torch.from_numpy(np.asarray(lengths, np.int64))[:, None]
    match code:
        case Op.LINEAR:
            weight = given["weight"]
            if small:
                x, weight = _seven_bits(x, bounds), _in_bits(small, weight)
            y = _ACTIVATIONS[o["activation"]](functional.linear(x, weight, given.get("bias")))
            return y + read["residual"] if "residual" in read else y
        case Op.LAYER_NORM:
            epsilon = float(np.int32(o["epsilon"]).view(np.float32))
            return functional.layer_norm(x, x.shape[-1:], given["weight"], given["bias"], epsilon)
        case Op.ATTENTION:
            batch, tokens, width = x.shape
            q, k, v = x.view(batch, tokens, 3, o["heads"], -1).permute(2, 0, 3, 1, 4).unbind(0)
            visible = None if mask is None else mask[:, None, None, :]
            y = functional.scaled_dot_product_attention(q, k, v, attn_mask=visible)
            return y.transpose(1, 2).reshape(batch, tokens, width // 3)
        case Op.LSTM:
            weight, recurrent = given["weight"], given["recurrent"]
            if small:
                x, weight, recurrent = _seven_bits(x, None), _in_bits(small, weight), _in_bits(small, recurrent)
            units = recurrent.shape[1]
            start = torch.zeros(1, len(x), units)
            bias = given["bias"] if "bias" in given else torch.zeros(4 * units)
            parameters = [weight, recurrent, bias, torch.zeros_like(bias)]
            return torch._VF.lstm(x, (start, start), parameters, True, 1, 0.0, False, False, True)[0]
        case Op.ATTENTION_POOL:
            scores = read["keys"] @ given["weight"]
            if mask is not None:
                scores = scores.masked_fill(~mask, -torch.inf)
            return (torch.softmax(scores, dim=1)[:, None, :] @ x)[:, 0]
        case Op.LAST:
            ends = torch.full((len(x),), x.shape[1]) if lengths is None else torch.from_numpy(np.asarray(lengths))
            return x[torch.arange(len(x)), ends.long() - 1]
        case Op.MONOTONE:
            quantiles, groups = o["quantiles"], x.reshape(len(x), -1, o["group"])
            middle = groups[..., quantiles // 2 : quantiles // 2 + 1]
            below = middle - functional.softplus(groups[..., : quantiles // 2]).flip(-1).cumsum(-1).flip(-1)
            above = middle + functional.softplus(groups[..., quantiles // 2 + 1 : quantiles]).cumsum(-1)
            return torch.cat([below, middle, above, groups[..., quantiles:]], dim=-1).flatten(1)
    raise NotImplementedError(f"{code.name} has no gradient here")


def _in_bits(code: Op, weight: Tensor) -> Tensor:
    return (
        weight + (torch.from_numpy(on_grid(np.ascontiguousarray(weight.detach().numpy()), code.bits)) - weight).detach()
    )


def _seven_bits(x: Tensor, bounds: Rows | None) -> Tensor:
    """Rounded forward; backward 1 within the range and 0 beyond."""
    if bounds is None:
        low, high = x.detach().amin(-1, keepdim=True).clamp(max=0), x.detach().amax(-1, keepdim=True).clamp(min=0)
    else:
        low, high = (torch.tensor(float(end)) for end in bounds)
    step = ((high - low) / LEVELS).clamp(min=1e-30)
    zero = torch.round(-low / step)
    cut = torch.minimum(torch.maximum(x, low), high)
    return cut + ((torch.round(cut / step + zero).clamp(0, LEVELS) - zero) * step - cut).detach()


class Quantized(Hook):
    """Trains a network as its form in integers runs: with it, ``module.forward`` is :class:`Simulation`, in training as
    in judging. Dropout is off, since the engine has none."""

    def __init__(self, ranges: Mapping[int, Rows], keep: Collection[str], four: Collection[str] = ()) -> None:
        self._ranges, self._keep, self._four = dict(ranges), frozenset(keep), frozenset(four)
        self.about = {
            "name": "quantized",
            "ranges": {str(value): bounds.tolist() for value, bounds in self._ranges.items()},
            "keep": sorted(self._keep),
            "four": sorted(self._four),
        }

    def loss(self, compute: Callable[[], Tensor], module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of what the engine says."""
        if not isinstance(module.forward, Simulation):
            module.forward = Simulation(module, self._ranges, self._keep, self._four)
        training = module.training
        module.eval()
        loss = compute()
        module.train(training)
        return loss
