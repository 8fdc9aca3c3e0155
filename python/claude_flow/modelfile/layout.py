"""Weights in the order in which an instruction set's kernels read them, so that the engine uses a mapped file in place.

docs/model_format.md has the shapes. Packing moves numbers and pads with zeros; it changes none, so an 8-bit model gives
the same bits packed or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError
from claude_flow.modelfile.file import ModelFile
from claude_flow.modelfile.ops import Kind
from claude_flow.modelfile.program import Program

__all__ = ["Layout", "Packed", "kinds", "pack", "unpack"]


@dataclass(frozen=True)
class Layout:
    """An instruction set, and the sizes that its order follows: columns of a panel of a matrix product, units of a
    block of an LSTM."""

    isa: str
    tile_columns: int
    lstm_units: int

    def same_order(self, sizes: tuple[int, int]) -> bool:
        """Whether kernels of these sizes (``layout`` of an engine) read what is packed like this."""
        return sizes == (self.tile_columns, self.lstm_units)

    def order(self, kind: Kind, rows: int) -> NDArray[np.intp]:
        """Packed column -> row of the matrix; ``rows`` itself where there is only padding."""
        if kind is Kind.PRODUCT:
            columns = np.arange(rows)
        else:  # blocks of lstm_units units, the gates i, f, g, o of each side by side
            units = rows // 4
            blocks = -(-units // self.lstm_units)
            unit = np.arange(blocks * self.lstm_units).reshape(blocks, 1, self.lstm_units)
            columns = np.where(unit < units, np.arange(4).reshape(1, 4, 1) * units + unit, rows).reshape(-1)
        panel = self.panel(kind)
        padding = -len(columns) % panel
        return np.concatenate([columns, np.full(padding, rows)]).astype(np.intp)

    def panel(self, kind: Kind) -> int:
        """Columns that lie side by side."""
        return 4 * self.lstm_units if kind is Kind.RECURRENT else self.tile_columns

    def shape(self, kind: Kind, dtype: np.dtype[Any], rows: int, columns: int) -> tuple[int, ...]:
        """The shape of a packed ``[rows, columns]`` matrix: panels, depth, columns of a panel; for 8 bits in groups of
        four along the depth."""
        panel = self.panel(kind)
        width = rows if kind is Kind.PRODUCT else 4 * (-(-(rows // 4) // self.lstm_units) * self.lstm_units)
        panels = -(-width // panel)
        return (panels, -(-columns // 4), panel, 4) if dtype == np.int8 else (panels, columns, panel)


@dataclass(frozen=True)
class Packed:
    """A packed ``[rows, columns]`` matrix: ``data`` has the shape of :meth:`Layout.shape`."""

    data: NDArray[Any]
    kind: Kind
    layout: Layout
    rows: int
    columns: int

    def matrix(self) -> NDArray[Any]:
        """The matrix as it was."""
        data, depth = self.data, self.columns
        if data.ndim == 4:
            data = data.transpose(0, 2, 1, 3).reshape(data.shape[0] * data.shape[2], -1)
        else:
            data = data.transpose(0, 2, 1).reshape(-1, depth)
        order = self.layout.order(self.kind, self.rows)
        matrix = np.empty((self.rows, depth), data.dtype)
        real = order < self.rows
        matrix[order[real]] = data[real, :depth]
        return matrix

    def padding_is_zero(self) -> bool:
        """Whether the file adds nothing to the matrix: padding along the depth would enter its sums."""
        order = self.layout.order(self.kind, self.rows).reshape(len(self.data), -1)
        for panel in np.flatnonzero((order == self.rows).any(axis=1)):
            if self.data[panel][:, order[panel] == self.rows].any():
                return False
        return self.data.ndim == 3 or not (self.columns % 4 and self.data[:, -1, :, self.columns % 4 :].any())


def _pack_matrix(matrix: NDArray[Any], kind: Kind, layout: Layout) -> Packed:
    rows, columns = matrix.shape
    order = layout.order(kind, rows)
    depth = columns if matrix.dtype != np.int8 else -(-columns // 4) * 4
    padded = np.zeros((rows + 1, depth), matrix.dtype)
    padded[:rows, :columns] = matrix
    panels = padded[order].reshape(-1, layout.panel(kind), depth)
    if matrix.dtype == np.int8:
        data = panels.reshape(len(panels), layout.panel(kind), -1, 4).transpose(0, 2, 1, 3)
    else:
        data = panels.transpose(0, 2, 1)
    return Packed(np.ascontiguousarray(data), kind, layout, rows, columns)


def kinds(program: Program) -> dict[str, Kind]:
    """The matrices of a program that can be packed: those that all their readers want in one order."""
    found: dict[str, set[Kind | None]] = {}
    for code, operands in program.ops:
        for operand, name in program.tensor_names(operands).items():
            found.setdefault(name, set()).add(code.matrices.get(operand))
    alone = {name: next(iter(several)) for name, several in found.items() if len(several) == 1}
    return {name: kind for name, kind in alone.items() if kind is not None}


def pack(file: ModelFile, layout: Layout) -> ModelFile:
    """The same model with the weights of its products and LSTMs in ``layout``."""
    tensors = dict(unpack(file).tensors)
    for name, kind in kinds(file.parse()).items():
        matrix = tensors[name]
        fits = matrix.ndim == 2 and matrix.size and (kind is Kind.PRODUCT or matrix.shape[0] % 4 == 0)
        if not fits:
            raise InputError(f"tensor {name!r} of shape {matrix.shape} is no weight matrix; the file is damaged")
        tensors[name] = _pack_matrix(matrix, kind, layout)
    return replace(file, tensors=tensors)


def unpack(file: ModelFile) -> ModelFile:
    """The same model with every matrix in rows, as programs describe them."""
    tensors: Mapping[str, Any] = file.tensors
    rows = {name: tensor.matrix() if isinstance(tensor, Packed) else tensor for name, tensor in tensors.items()}
    return replace(file, tensors=rows)
