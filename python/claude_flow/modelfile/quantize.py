"""From a float model file to one of integers: symmetric weights of 8 bits with a scale per output channel, or of 4 bits
with a scale per group of :data:`GROUP` inputs; 7-bit activations.

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
from claude_flow.modelfile.ops import ABSENT, Op

__all__ = ["GROUP", "depths", "dequantize", "in_four_bits", "integers", "on_grid", "products", "quantize", "rounded"]

#: Inputs that share a scale of 4-bit weights: ``kGroupDepth`` of the engine.
GROUP = 64
#: Largest 4-bit weight, either way.
_MOST = 7
#: Shares of a group's range that its 4 bits may cover: the rest is cut off, where that loses less.
_SHARES = np.linspace(1.0, 0.6, 9)


def products(file: ModelFile) -> list[str]:
    """The weights of a float model's linear and LSTM layers, in the program's order."""
    program = file.parse()
    return list(dict.fromkeys(program.tensors[o["weight"]] for code, o in program.ops if code.int8))


def quantize(
    file: ModelFile,
    ranges: Mapping[int, NDArray[np.float32]] | None = None,
    keep: Collection[str] = (),
    four: Collection[str] = (),
) -> ModelFile:
    """The integer version of a float model file; other tensors, features and calibration stay.

    Args:
        ranges: value of the program -> ``[low, high]`` of it, which the linear layers that read it take for every row
            (static; :mod:`claude_flow.modelfile.ranges` finds them). All others are quantized per row as they come
            (dynamic), LSTM layers always.
        keep: names of weights whose layer stays in float.
        four: names of weights whose layer gets 4 bits; all others get 8.

    Raises:
        InputError: the file is of integers already.
    """
    if file.precision != "fp32":
        raise InputError(f"only fp32 models can be quantized, this one is {file.precision}")
    ranges, program = ranges or {}, file.parse()
    tensors = dict(file.tensors)
    result = program.like()
    for code, o in program.ops:
        names = program.tensor_names(o)
        weight = names.get("weight")
        small = None if weight in keep else code.int4 if weight in four else code.int8
        new = small or code
        for matrix, scale in new.scales.items():
            name = names[matrix]
            names[scale] = f"{name}.scale"
            if tensors[name].dtype != np.int8:
                tensors[name], tensors[names[scale]] = integers(new.bits, tensors[name])
        if small and "range" in small.operands and o["source"] in ranges:
            names["range"] = f"{names['weight']}.range"
            tensors[names["range"]] = ranges[o["source"]]
        result.op(
            new, **{key: result.tensor(names[key]) if key in names else o.get(key, ABSENT) for key in new.operands}
        )
    words, tensor_names = result.words(), result.tensors
    least = min((code.bits for code, _ in result.ops if code.bits < 32), default=8)
    return replace(file, precision=f"int{least}", program=words, program_tensors=tensor_names, tensors=tensors)


def dequantize(file: ModelFile) -> dict[str, NDArray[Any]]:
    """The tensors of a file as float32, under the names that they have in a float file."""
    program = file.parse()
    four: dict[str, int] = {}
    for code, o in program.ops:
        names = program.tensor_names(o)
        four |= {names[key]: depth for key, depth in depths(code, program.values[o["source"]][1], names, file).items()}
    tensors = {}
    for name, tensor in file.tensors.items():
        if name.endswith((".scale", ".range")):
            continue
        if tensor.dtype == np.int8:
            scale = file.tensors[f"{name}.scale"]
            if name in four:
                tensor = _apart(tensor)[:, : four[name]] * np.repeat(scale, GROUP, axis=1)[:, : four[name]]
            else:
                tensor = tensor.astype(np.float32) * scale[:, None]
        tensors[name] = tensor
    return tensors


def depths(code: Op, width: int, names: Mapping[str, str], file: ModelFile) -> dict[str, int]:
    """Of an op on 4-bit weights: operand -> the columns of its matrix, of which two share a byte."""
    if code.bits != 4:
        return {}
    return {key: width if key == "weight" else len(file.tensors[names[key]]) // 4 for key in code.scales}


def integers(bits: int, matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A matrix and its scales as an op on integers of so many bits reads them."""
    if bits == 8:
        return rounded(matrix)
    q, scale = in_four_bits(matrix)
    q = np.pad(q, ((0, 0), (0, q.shape[1] % 2))).view(np.uint8)
    return (q[:, ::2] & 15 | q[:, 1::2] << 4).view(np.int8), scale


def on_grid(matrix: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """What so many bits make of a matrix."""
    if bits == 8:
        q, scale = rounded(matrix)
        return (q * scale[:, None]).astype(np.float32)
    q, scale = in_four_bits(matrix)
    return (q * np.repeat(scale, GROUP, axis=1)[:, : matrix.shape[1]]).astype(np.float32)


def in_four_bits(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A matrix in -7..7, and the scale of each group of each row, a number of half precision.

    Of several ranges each group gets that of the least squared error. What is on such a grid already stays as it is.
    """
    rows, columns = matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -columns % GROUP))).reshape(rows, -1, GROUP)
    largest = np.abs(padded).max(axis=2)
    best = np.full(largest.shape, np.inf, np.float32)
    q, scale = np.zeros(padded.shape, np.int8), np.ones(largest.shape, np.float32)
    for share in _SHARES:
        tried = (largest * np.float32(share / _MOST)).astype(np.float16).astype(np.float32)
        tried = np.where(tried > 0, tried, np.float32(1))
        steps = np.clip(np.rint(padded / tried[..., None]), -_MOST, _MOST)
        error = np.square(steps * tried[..., None] - padded).sum(axis=2)
        better = error < best
        best, scale = np.where(better, error, best), np.where(better, tried, scale)
        q[better] = steps[better].astype(np.int8)
    return np.ascontiguousarray(q.reshape(rows, -1)[:, :columns]), scale


def _apart(pairs: NDArray[np.int8]) -> NDArray[np.float32]:
    """Two weights of every byte, the even one from its low half."""
    low = (pairs << 4).view(np.int8) >> 4
    return np.stack([low, pairs >> 4], axis=2).reshape(len(pairs), -1).astype(np.float32)


def rounded(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A matrix in 8 bits, and the scale of each of its rows."""
    largest = np.abs(matrix).max(axis=1)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(matrix / scale[:, None]).astype(np.int8), scale
