"""Tensors of a preprocessed dataset, read in place: rows come from the file's memory map when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from claude_flow.errors import InputError
from claude_flow.modelfile import mapped

__all__ = ["Rows", "read", "shards"]

Array = NDArray[Any]


class Rows:
    """Rows of a tensor that lies in several shards: indexing copies the rows that are asked for, and no others.

    ``parts`` share all dimensions but the first; ``chosen`` int64 are the rows that this object has, in its order
    (default: all). Only ``chosen`` takes memory.

    >>> rows = Rows([np.array([[0], [1]]), np.array([[2]])])
    >>> rows[[2, 0]].tolist(), rows.take([2, 1])[:1].tolist(), len(rows), rows.shape
    ([[2], [0]], [[2]], 3, (3, 1))
    """

    def __init__(self, parts: Sequence[Array], chosen: Array | None = None) -> None:
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in parts])
        self._chosen = np.arange(self._ends[-1]) if chosen is None else chosen
        self.dtype = parts[0].dtype
        self.shape = (len(self._chosen), *parts[0].shape[1:])

    def __len__(self) -> int:
        return len(self._chosen)

    def take(self, rows: Any) -> Rows:
        """Those rows, still in the files."""
        return Rows(self._parts, self._chosen[np.asarray(rows)])

    def __getitem__(self, rows: Any) -> Array:
        wanted = self._chosen[rows if isinstance(rows, slice) else np.asarray(rows)]
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        shard = np.searchsorted(self._ends, wanted, side="right")
        for i in np.unique(shard):
            here = shard == i
            found[here] = self._parts[i][wanted[here] - (self._ends[i] - len(self._parts[i]))]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self[:] if dtype is None else self[:].astype(dtype)


_AGAIN = "make the data again with  claude-flow neural data preprocess"


def read(path: Path, rows: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, Array]:
    """The tensors of one shard as read-only views of the mapped file.

    Args:
        rows: tensors that it must have, and the shape of a row of each.

    Raises:
        InputError: it is no safetensors file, cannot be read, is cut short, or lacks one of ``rows``.
    """
    try:
        with safe_open(path, framework="numpy") as container:  # checks the header and every offset
            views = mapped(path)
            found = {n: views[n] if n in views else container.get_tensor(n) for n in container.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({error}): {_AGAIN}") from None
    for name, shape in (rows or {}).items():
        if name not in found or found[name].shape[1:] != shape:
            raise InputError(f"{path}: it has no tensor {name!r} with rows of shape {list(shape)}: {_AGAIN}")
    return found


def shards(folder: Path, names: Sequence[str], rows: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, Rows]:
    """The tensors of several shards as one, by name; all shards hold the same names and, of ``rows``, such rows."""
    parts = [read(folder / name, rows) for name in names]
    if not parts or any(part.keys() != parts[0].keys() for part in parts):
        raise InputError(f"{folder}: its shards do not fit together: {_AGAIN}")
    return {key: Rows([part[key] for part in parts]) for key in parts[0]}
