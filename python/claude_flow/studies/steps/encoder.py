"""Runs that have begun as network inputs: one token per step, and a last one for what is known of the task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError

__all__ = ["LONGEST", "Begun", "StepEncoder"]

Array = NDArray[Any]

LONGEST = 127  # steps shown, the latest ones; the last token makes 128
_MOST_KINDS = 48  # actions, details, agents, repositories with columns of their own: the most frequent in training


@dataclass(frozen=True)
class Begun:
    """A run as far as it has come: its steps as (action, detail), and what is known beforehand.

    How many tests will judge it is not: they are hidden.
    """

    steps: Sequence[tuple[str, str | None]]
    agent: str
    repository: str


class StepEncoder:
    """Learns the kinds of steps, agents and repositories of some runs, and turns any run into tokens.

    A kind that was never seen has no column: it is all zeros.

    >>> run = Begun([("edit", "file"), ("test", None)], "agent", "repository")
    >>> encoder = StepEncoder.fit([run])
    >>> encoder.counts(run).tolist(), encoder.tokens(run).shape
    ([1.0, 1.0, 1.0, 2.0], (3, 7))
    """

    def __init__(self, *names: list[str]) -> None:
        kinds = ("action", "detail", "agent", "repository")
        columns = [f"{kind}:{name}" for kind, known in zip(kinds, names, strict=True) for name in known]
        self.place = {name: column for column, name in enumerate(columns)}
        self.width = len(self.place) + 2
        self._counted = len(names[0]) + len(names[1])

    @classmethod
    def fit(cls, runs: Sequence[Begun]) -> StepEncoder:
        """Learn the names. :raises InputError: there are no runs."""
        if not runs:
            raise InputError("no runs to learn from")
        seen = [Counter[str]() for _ in range(4)]
        for run in runs:
            seen[0].update(action for action, _ in run.steps)
            seen[1].update(detail for _, detail in run.steps if detail is not None)
            seen[2].update([run.agent])
            seen[3].update([run.repository])
        common = [sorted(name for name, _ in names.most_common(_MOST_KINDS)) for names in seen]
        return cls(*common)

    def counts(self, run: Begun) -> Array:
        """How often each known action and detail occurs, then the number of steps."""
        found = np.zeros(self._counted + 1)
        for action, detail in run.steps:
            for name in (f"action:{action}", f"detail:{detail}"):
                if name in self.place:
                    found[self.place[name]] += 1
        found[-1] = len(run.steps)
        return found

    def tokens(self, run: Begun) -> NDArray[np.float32]:
        """Float32 ``[T, width]``, T = the steps shown + 1."""
        shown = run.steps[-LONGEST:]
        x = np.zeros((len(shown) + 1, self.width), np.float32)
        for row, (action, detail) in enumerate(shown):
            for name in (f"action:{action}", f"detail:{detail}"):
                if name in self.place:
                    x[row, self.place[name]] = 1
        counts = self.counts(run)
        x[-1, : len(counts) - 1] = np.log1p(counts[:-1])
        for name in (f"agent:{run.agent}", f"repository:{run.repository}"):
            if name in self.place:
                x[-1, self.place[name]] = 1
        x[:, -2] = np.log1p(np.arange(len(run.steps) - len(shown), len(run.steps) + 1)) / 4
        x[-1, -1] = 1
        return x
