"""What a protocol returns: scores in long form, so that tables, paired tests and plots need no other shape."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from claude_flow.errors import ClaudeFlowError
from claude_flow.report.progress import Progress

__all__ = ["OURS", "Curve", "OutOfTime", "Result", "Score", "within"]

OURS = "claude-flow"  # the contender that is ours, in every protocol


class OutOfTime(ClaudeFlowError):
    """The time budget ended; a protocol that has whole parts by then keeps them."""


def within(seconds: float | None, progress: Progress) -> Progress:
    """``progress`` that raises :class:`OutOfTime` once ``seconds`` (None: any time) are over."""
    deadline = math.inf if seconds is None else time.monotonic() + seconds

    def told(done: float, what: str) -> None:
        if time.monotonic() > deadline:
            raise OutOfTime(f"the time budget ended at {done:.0%}, {what}, with nothing whole to report: give it more")
        progress(done, what)

    return told


@dataclass(frozen=True)
class Score:
    """One number: how ``contender`` did by ``measure`` on ``unit``.

    ``unit`` is what a paired test resamples (a fold, a session, a task, a workload); ``""`` is the whole test set.
    Baselines without a random part have the one seed 0.

    >>> Score("best single agent", "regret", 0.44, unit="fold 3").seed
    0
    """

    contender: str
    measure: str
    value: float
    unit: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Curve:
    """Points to plot: ``kind`` is ``reliability``, ``regret`` or ``residual``; one line per contender."""

    kind: str
    contender: str
    x: list[float]
    y: list[float]


@dataclass
class Result:
    """A protocol's outcome on one data set. Lower is better for a measure unless it is in ``higher_is_better``."""

    protocol: str
    data: str
    scores: list[Score]
    rows: dict[str, int] = field(default_factory=dict)  # train, validation, calibration, test …
    higher_is_better: frozenset[str] = frozenset()
    curves: list[Curve] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what a reader must know to believe the figures
    test_share: float | None = None  # units are folds whose training sets overlap: the test part of all rows, 1/folds
