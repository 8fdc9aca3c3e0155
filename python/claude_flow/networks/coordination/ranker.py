"""Which type of agent gets a task, from signals: boosted trees, whose sum is the score in a softmax over the types.

A tree has at most six conditions, ``signal > threshold``. Which of them hold makes a number of six bits, and the tree
is a table of 64 values by it: all trees of all candidates are three operations on arrays. They are fitted by
``python -m bench.assignment --fit`` (:func:`claude_flow.evaluate.assignment.ranker`) and ship as ``ranker.safetensors``
beside this file, with the counts of the same projects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import files
from claude_flow.networks.coordination.prior import Prior

__all__ = ["CONDITIONS", "FILE", "Ranker", "Trees", "read", "shipped", "write"]

CONDITIONS = 6
FILE = Path(__file__).with_name("ranker.safetensors")
_BITS = 1 << np.arange(CONDITIONS)


@dataclass(frozen=True)
class Trees:
    """``signals`` and ``thresholds [trees, 6]``, ``values [trees, 64]``; unused conditions never hold."""

    signals: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    values: NDArray[np.float64]

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The trees' sum of ``x [..., signals]``.

        >>> stump = Trees(np.zeros((1, 6), np.int64), np.array([[0.5, *[np.inf] * 5]]), np.arange(64.0)[None])
        >>> stump.score(np.array([[0.2], [0.7]])).tolist()
        [0.0, 1.0]
        """
        places = (x[..., self.signals] > self.thresholds) @ _BITS
        result: NDArray[np.float64] = self.values[np.arange(len(self.values)), places].sum(axis=-1)
        return result


@dataclass(frozen=True)
class Ranker:
    """What is known of other projects, and the trees for a log's decisions and for none."""

    prior: Prior
    with_log: Trees
    without: Trees


def write(ranker: Ranker, path: Path, about: Mapping[str, str]) -> None:
    """Write a file that :func:`read` reads; ``about`` stands in its header."""
    from safetensors.numpy import save

    counts = sorted(ranker.prior.counts.items())
    tensors: dict[str, NDArray[Any]] = {
        "prior.codes": np.array([code for code, _ in counts], np.uint32),
        "prior.counts": np.array([count for _, count in counts], np.uint32),
    }
    for part in ("with_log", "without"):
        trees: Trees = getattr(ranker, part)
        tensors[f"{part}.signals"] = trees.signals.astype(np.uint8)
        tensors[f"{part}.thresholds"] = trees.thresholds.astype(np.float32)
        tensors[f"{part}.values"] = trees.values.astype(np.float32)
    files.atomic_write(path, save(tensors, dict(about)))


def read(path: Path) -> Ranker:
    """The ranker of a file."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    prior = Prior(dict(zip(tensors["prior.codes"].tolist(), tensors["prior.counts"].tolist(), strict=True)))
    with_log, without = (
        Trees(
            tensors[f"{part}.signals"].astype(np.int64),
            tensors[f"{part}.thresholds"].astype(np.float64),
            tensors[f"{part}.values"].astype(np.float64),
        )
        for part in ("with_log", "without")
    )
    return Ranker(prior, with_log, without)


@lru_cache(maxsize=1)
def shipped() -> Ranker:
    """The ranker that ships with the package."""
    return read(FILE)
