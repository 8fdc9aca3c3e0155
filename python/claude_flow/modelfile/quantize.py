"""From a float model file to an 8-bit one: symmetric 8-bit weights per output channel, 7-bit activations.

docs/quantization.md has the arithmetic; the engine gives the same bits on every instruction set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError
from claude_flow.modelfile import probe
from claude_flow.modelfile.file import ModelFile
from claude_flow.modelfile.ops import ABSENT

__all__ = ["dequantize", "quantize"]

#: Share of the observed activations beyond each end of a static range: single outliers would cost all others bits.
_TAIL = 5e-4
#: A batch, or one for each input of a model of several.
Inputs = NDArray[np.float32] | Sequence[NDArray[np.float32]]


def quantize(file: ModelFile, inputs: Inputs | None = None) -> ModelFile:
    """The 8-bit version of a float model file; other tensors, features and calibration stay.

    Without ``inputs`` activations are quantized per row as they come (dynamic). With ``inputs``, a representative
    batch in the shape of :meth:`Model.run`, linear layers get one fixed range each (static), which saves the search
    for every row's range; LSTM layers stay dynamic. Raises :class:`InputError` for a file that is 8-bit already.
    """
    if file.precision != "fp32":
        raise InputError(f"only fp32 models can be quantized, this one is {file.precision}")
    program = file.parse()
    tensors = dict(file.tensors)
    ranges = {} if inputs is None else _ranges(file, inputs)
    result = program.like()
    for code, o in program.ops:
        names, int8 = program.tensor_names(o), code.int8
        for matrix, scale in (int8.scales if int8 else {}).items():
            name = names[matrix]
            names[scale] = f"{name}.scale"
            if tensors[name].dtype != np.int8:
                tensors[name], tensors[names[scale]] = _weights(tensors[name])
        if int8 and "range" in int8.operands and o["source"] in ranges:
            names["range"] = f"{names['weight']}.range"
            tensors[names["range"]] = ranges[o["source"]]
        new = int8 or code
        result.op(
            new, **{key: result.tensor(names[key]) if key in names else o.get(key, ABSENT) for key in new.operands}
        )
    words, tensor_names = result.words(), result.tensors
    return replace(file, precision="int8", program=words, program_tensors=tensor_names, tensors=tensors)


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


def _ranges(file: ModelFile, inputs: Inputs) -> dict[int, NDArray[np.float32]]:
    """Value -> [low, high] of what products read, observed by running the program up to that value."""
    ranges: dict[int, NDArray[np.float32]] = {}
    for value in {o["source"] for code, o in file.parse().ops if code.int8 and "range" in code.int8.operands}:
        low, high = np.quantile(probe.run(file, value, inputs), [_TAIL, 1 - _TAIL])
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        ranges[value] = np.array([low, high if high > low else low + 1.0], np.float32)
    return ranges
