"""From a float model file to an 8-bit one: symmetric 8-bit weights per output channel, 7-bit activations.

docs/quantization.md has the arithmetic; the engine gives the same bits on every instruction set.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError
from claude_flow.modelfile.file import ModelFile
from claude_flow.modelfile.ops import ABSENT

__all__ = ["dequantize", "quantize", "rounded"]


def quantize(
    file: ModelFile, ranges: Mapping[int, NDArray[np.float32]] | None = None, keep: Collection[str] = ()
) -> ModelFile:
    """The 8-bit version of a float model file; other tensors, features and calibration stay.

    Args:
        ranges: value of the program -> ``[low, high]`` of it, which the linear layers that read it take for every row
            (static; :mod:`claude_flow.modelfile.ranges` finds them). All others are quantized per row as they come
            (dynamic), LSTM layers always.
        keep: names of weights whose layer stays in float.

    Raises:
        InputError: the file is 8-bit already.
    """
    if file.precision != "fp32":
        raise InputError(f"only fp32 models can be quantized, this one is {file.precision}")
    ranges, program = ranges or {}, file.parse()
    tensors = dict(file.tensors)
    result = program.like()
    for code, o in program.ops:
        names = program.tensor_names(o)
        int8 = None if names.get("weight") in keep else code.int8
        for matrix, scale in (int8.scales if int8 else {}).items():
            name = names[matrix]
            names[scale] = f"{name}.scale"
            if tensors[name].dtype != np.int8:
                tensors[name], tensors[names[scale]] = rounded(tensors[name])
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


def rounded(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A matrix in 8 bits, and the scale of each of its rows."""
    largest = np.abs(matrix).max(axis=1)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(matrix / scale[:, None]).astype(np.int8), scale
