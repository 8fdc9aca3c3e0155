"""What of a network may be left out: units of its layers, as groups that stand or fall together over all tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Group", "Slice", "repeated"]


@dataclass(frozen=True)
class Slice:
    """Where a group's units lie in one tensor of the module: unit u has the positions ``index[u]`` along ``axis``."""

    tensor: str
    axis: int
    index: NDArray[np.intp]  # [units, positions]


@dataclass(frozen=True)
class Group:
    """Units of one kind that may be left out one by one: heads of a block, units of a layer, a residual width.

    ``kind`` is the word for one of them; ``step``: how many are kept is a multiple of it, where there are enough;
    groups that are ``alike`` keep the same number.
    """

    name: str
    kind: str
    units: int
    slices: tuple[Slice, ...]
    step: int = 1
    alike: str = ""


def repeated(units: int, *, size: int = 1, times: int = 1, first: int = 0) -> NDArray[np.intp]:
    """The positions of ``units`` neighbours of ``size`` positions each, in each of ``times`` stretches from ``first``.

    >>> repeated(2, size=2, times=2).tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    unit = np.arange(units)[:, None, None] * size
    stretch = np.arange(times)[None, :, None] * (units * size)
    return (first + unit + stretch + np.arange(size)).reshape(units, -1)
