"""A column of texts as places in a list of words: a million rows of a few names take 8 MB instead of 60."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Coded", "combined", "latest", "numbered"]


@dataclass(frozen=True)
class Coded:
    """``words[codes[i]]`` is the text of row i; "" stands for unknown."""

    codes: NDArray[np.int32]
    words: list[str]

    @classmethod
    def of(cls, values: Sequence[Any] | NDArray[Any]) -> Coded:
        """The texts of a sequence, in which None is unknown.

        >>> Coded.of(["a", None, "a"])
        Coded(codes=array([1, 0, 1], dtype=int32), words=['', 'a'])
        """
        place = {"": 0}
        codes = [place.setdefault(str(value) if value else "", len(place)) for value in values]
        return cls(np.array(codes, np.int32), list(place))

    @classmethod
    def of_arrow(cls, column: Any) -> Coded:
        """The texts of an Arrow column."""
        coded = column.cast("string").dictionary_encode().unify_dictionaries()
        words = coded.chunk(0).dictionary.to_pylist() if coded.num_chunks else []
        codes = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in coded.chunks]
        return cls(np.concatenate([*codes, np.empty(0, np.int32)]).astype(np.int32) + 1, ["", *words])

    def __len__(self) -> int:
        return len(self.codes)

    def among(self, words: frozenset[str]) -> NDArray[np.bool_]:
        """Which rows have one of the words."""
        inside = np.array([word in words for word in self.words], np.bool_)
        found: NDArray[np.bool_] = inside[self.codes]
        return found

    def take(self, rows: NDArray[Any]) -> Coded:
        """The given rows."""
        return Coded(self.codes[rows], self.words)


def numbered(columns: Sequence[Coded]) -> NDArray[np.int64]:
    """For each row the number of its combination of texts, from 0 on."""
    codes = columns[0].codes.astype(np.int64)
    for column in columns[1:]:
        codes = np.unique(codes * len(column.words) + column.codes, return_inverse=True)[1]
    numbers: NDArray[np.int64] = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return numbers


def combined(columns: Sequence[Coded], join: Callable[..., str]) -> Coded:
    """One text per row out of several: ``join`` is called once for every combination that occurs.

    >>> combined([Coded.of(["a", "b", "a"]), Coded.of(["x", None, "x"])], "{}/{}".format)
    Coded(codes=array([0, 1, 0], dtype=int32), words=['a/x', 'b/'])
    """
    numbers = numbered(columns)
    first = np.unique(numbers, return_index=True)[1]
    place: dict[str, int] = {}
    words = (join(*(column.words[column.codes[row]] for column in columns)) for row in first)
    codes = np.array([place.setdefault(word, len(place)) for word in words], np.int32)
    return Coded(codes[numbers], list(place))


def latest(groups: NDArray[Any], most: int) -> NDArray[np.int64]:
    """The last rows of each group, in their order, at most ``most``: small groups are whole, large ones equally long.

    >>> latest(np.array([1, 1, 1, 2, 1]), 3).tolist()
    [2, 3, 4]
    """
    if len(groups) <= most:
        return np.arange(len(groups))
    left, share = most, 0
    sizes = np.sort(np.unique(groups, return_counts=True)[1])
    for i, size in enumerate(sizes):
        share = left // (len(sizes) - i)
        if size > share:
            break
        left -= int(size)
    order = np.argsort(groups, kind="stable")[::-1]
    first = np.r_[True, groups[order][1:] != groups[order][:-1]]
    begin = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    chosen: NDArray[np.int64] = np.sort(order[np.arange(len(order)) - begin < max(share, 1)])
    return chosen[-most:]
