"""From a float model file to an 8-bit one: symmetric 8-bit weights per output channel, 7-bit activations.

docs/quantization.md has the arithmetic; the engine gives the same bits on every instruction set.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError
from claude_flow.modelfile import ModelFile
from claude_flow.program import ABSENT, Op, Program

__all__ = ["dequantize", "quantize"]

#: Share of the observed activations beyond each end of a static range: single outliers would cost all others bits.
_TAIL = 5e-4


def quantize(file: ModelFile, inputs: NDArray[np.float32] | None = None) -> ModelFile:
    """The 8-bit version of a float model file; other tensors, features and calibration stay.

    Without ``inputs`` activations are quantized per row as they come (dynamic). With ``inputs``, a representative
    batch in the shape of :meth:`Model.run`, linear layers get one fixed range each (static), which saves the search
    for every row's range; LSTM layers stay dynamic. Raises :class:`InputError` for a file that is 8-bit already.
    """
    if file.precision != "fp32":
        raise InputError(f"only fp32 models can be quantized, this one is {file.precision}")
    program = Program.parse(file.program, file.program_tensors)
    tensors = dict(file.tensors)
    ranges = {} if inputs is None else _ranges(program, file, np.ascontiguousarray(inputs, np.float32))
    result = Program(program.max_tokens, program.source, program.target, list(program.values))

    def halves(tensor: int) -> tuple[int, int]:
        """Ids of the 8-bit weights and the scales of a float tensor."""
        name = program.tensors[tensor]
        if tensors[name].dtype != np.int8:
            tensors[name], tensors[f"{name}.scale"] = _weights(tensors[name])
        return result.tensor(name), result.tensor(f"{name}.scale")

    def same(tensor: int) -> int:
        return tensor if tensor == ABSENT else result.tensor(program.tensors[tensor])

    for code, o in program.ops:
        if code is Op.LINEAR:
            weight, scale = halves(o["weight"])
            observed = ABSENT
            if o["source"] in ranges:
                name = f"{program.tensors[o['weight']]}.range"
                tensors[name] = ranges[o["source"]]
                observed = result.tensor(name)
            kept = {key: o[key] for key in ("residual", "activation")}
            place = {key: o[key] for key in ("source", "target", "column")}
            bias = same(o["bias"])
            result.op(Op.LINEAR_I8, **place, weight=weight, scale=scale, bias=bias, **kept, range=observed)
        elif code is Op.LSTM:
            weight, scale = halves(o["weight"])
            recurrent, recurrent_scale = halves(o["recurrent"])
            result.op(
                Op.LSTM_I8,
                source=o["source"],
                target=o["target"],
                weight=weight,
                scale=scale,
                recurrent=recurrent,
                recurrent_scale=recurrent_scale,
                bias=same(o["bias"]),
            )
        else:
            named = {key: same(v) if key in ("weight", "bias") else v for key, v in o.items()}
            result.op(code, **named)
    words, names = result.words(), result.tensors
    return replace(file, precision="int8", program=words, program_tensors=names, tensors=tensors)


def dequantize(file: ModelFile) -> dict[str, NDArray[Any]]:
    """The tensors of a file as float32, under the names that they have in a float file."""
    tensors = {}
    for name, tensor in file.tensors.items():
        if name.endswith((".scale", ".range")):
            continue
        if tensor.dtype == np.int8:
            tensor = tensor.astype(np.float32) * file.tensors[f"{name}.scale"][:, None]
        tensors[name] = tensor
    return tensors


def _weights(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    largest = np.abs(matrix).max(axis=1)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(matrix / scale[:, None]).astype(np.int8), scale


def _ranges(program: Program, file: ModelFile, inputs: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
    """Value -> [low, high] that a linear op reads, observed by running the program up to that value."""
    from claude_flow import _core

    found: dict[int, NDArray[np.float32]] = {}
    weights = [file.tensors[name] for name in program.tensors]
    for value in {o["source"] for code, o in program.ops if code is Op.LINEAR}:
        seen = inputs
        if value != program.source:
            last = max(i for i, (_, o) in enumerate(program.ops) if o["target"] == value)
            part = replace(program, target=value, ops=program.ops[: last + 1])
            seen = _core.Model(np.asarray(part.words(), np.int32), weights, "auto", 1).run(inputs, None)
        low, high = np.quantile(seen, [_TAIL, 1 - _TAIL])
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        found[value] = np.array([low, high if high > low else low + 1.0], np.float32)
    return found
