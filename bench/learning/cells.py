"""What was measured, cell by cell, and its paired comparison."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from claude_flow import statistics

__all__ = ["Cells", "Compared", "compared", "grid", "of"]

#: name of a cell ("part/…/seed") -> measure -> value
Cells = dict[str, dict[str, float]]


def of(found: Cells, *path: str) -> dict[str, dict[str, float]]:
    """The cells whose name begins so, by the rest of their name, in order.

    >>> of({"a/b/0": {"loss": 1.0}, "a/c/0": {"loss": 2.0}}, "a", "b")
    {'0': {'loss': 1.0}}
    """
    begin = "/".join(path) + "/"
    return {name[len(begin) :]: found[name] for name in sorted(found) if name.startswith(begin)}


def grid(
    run: Callable[[str, str, int], dict[str, float]], domains: Iterable[str], ways: Sequence[str], seeds: int
) -> dict[str, Callable[[], dict[str, float]]]:
    """Cells ``domain/way/seed``, each ``run`` with the three; a seed of everything before the next seed."""
    return {
        f"{domain}/{way}/{seed}": functools.partial(run, domain, way, seed)
        for seed in range(seeds)
        for domain in domains
        for way in ways
    }


@dataclass(frozen=True)
class Compared:
    """A paired comparison: ``gap`` is the mean difference, ``p`` is corrected by Holm's method."""

    gap: float
    p: float

    @property
    def verdict(self) -> str:
        """Of a loss: lower is better."""
        return "tie" if not self.p < 0.05 else "better" if self.gap < 0 else "worse"

    @property
    def told(self) -> str:
        """As a cell of a table."""
        return f"{self.gap:+.4f}, p {self.p:.3f}: {self.verdict}"


def compared(differences: Sequence[Sequence[float]]) -> list[Compared]:
    """Each row of paired differences (ours less theirs) of a loss, tested by signs, all rows corrected together."""
    p = statistics.holm([statistics.permutation(row) for row in differences])
    return [Compared(float(np.mean(row)), float(value)) for row, value in zip(differences, p, strict=True)]
