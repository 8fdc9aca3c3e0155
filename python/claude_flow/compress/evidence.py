"""What a smaller model keeps of its parent's quality, shown on held-out data, and when that is enough.

The guarantee: both models judge the same rows, and the lower end of the one-sided 95 % bootstrap interval of
metric(new) / metric(parent), which draws whole groups (tasks, swarms, blocks of time), reaches the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import networks, statistics
from claude_flow.data import views
from claude_flow.errors import InputError
from claude_flow.evaluate import judge
from claude_flow.evaluate.judge import COSTS, Marks
from claude_flow.files import temporary_folder
from claude_flow.model import Model
from claude_flow.studies import suite

__all__ = ["LEVEL", "Comparison", "Evidence", "Trial", "trial"]

LEVEL = 0.95
#: Below this many groups the bootstrap's own error is larger than what it measures.
FEWEST = 20
_LEVELS = 8  # of a measure that counts: accuracy of a task is 0, 1, or a share of ties


@dataclass(frozen=True)
class Comparison:
    """One measure of both models; ``ratio`` is new / parent, or parent / new where less is better, so that 1 is equal
    and less is worse; ``low`` is its lower end."""

    measure: str
    before: float | None
    after: float | None
    ratio: float | None
    low: float | None  # None: one value for all rows, of which no interval is made


@dataclass(frozen=True)
class Evidence:
    """All measures of both models. ``threshold`` guards ``measure``; ``verdict``: "held", "below" (the ratio itself
    misses the threshold), "too little data" (``needed`` groups would show it, if the ratio stays what it is) or
    "not asked"."""

    data: str
    measure: str
    threshold: float | None
    groups: int
    rows: int
    verdict: str
    needed: int | None
    agreement: float | None  # share of rows with the same choice
    comparisons: tuple[Comparison, ...]

    @property
    def guarded(self) -> Comparison:
        """Of the measure that the threshold guards."""
        return next(c for c in self.comparisons if c.measure == self.measure)

    def why(self) -> str:
        """One line that says what is missing."""
        c, n = self.guarded, self.groups
        kept = f"kept {c.ratio or 0:.4f} of the parent's on {self.data}, at least {c.low or 0:.4f} at {LEVEL:.0%}"
        base = f"{self.measure} {kept}"
        if self.verdict == "below":
            return f"{base}: below the threshold {self.threshold:g}"
        more = f"about {self.needed} groups" if self.needed else "more"
        return f"{base}: {n} groups cannot show the threshold {self.threshold:g}, {more} are needed"

    def as_json(self) -> dict[str, Any]:
        """For cards and ``--format json``."""
        return asdict(self)


class Trial:
    """A parent on one part of the dataset in ``folder``; :meth:`of` compares other models with it.

    ``data`` is what the user knows it by. Raises :class:`InputError` for an unknown measure, or one without a share.
    """

    def __init__(
        self,
        parent: Model,
        folder: Path,
        data: str,
        measure: str | None,
        threshold: float | None,
        part: str = "test",
    ) -> None:
        self._parent, self._folder = parent, folder
        examiner = judge.judge(parent.network, folder, part=part)
        kind = networks.get(parent.network).judge.Judge
        known = [name for name in kind.MEASURES if name not in COSTS]
        self.measure = known[0] if measure is None else _known(measure, known, parent.network)
        self.threshold, self.data, self.examiner = threshold, data, examiner
        self._higher = kind.HIGHER
        self.higher = self.measure in kind.HIGHER
        self._before = examiner.model(parent)
        if self.measure in self._before.rows and not np.nanmean(self._before.rows[self.measure]) > 0:
            raise InputError(
                f"the parent's {self.measure} is not above 0, so a share of it means nothing: choose another metric"
            )
        if self.measure not in self._before.rows:
            rows = ", ".join(self._before.rows)
            raise InputError(f"{self.measure} has no value per row, so no interval of its ratio: choose from {rows}")

    def like(self, part: str) -> Trial:
        """The same on another part of the dataset: "validation", which choices may rest on."""
        return Trial(self._parent, self._folder, self.data, self.measure, self.threshold, part)

    @property
    def groups(self) -> int:
        """How many groups the judged rows fall into."""
        return len(np.unique(self.examiner.units[np.isfinite(self._before.rows[self.measure])]))

    @property
    def needed(self) -> int:
        """Groups that the threshold takes at least: of a measure that counts, so many that none of them getting worse
        is enough, (1 - level)^(1/n) >= threshold."""
        values = self._before.rows[self.measure]
        if self.threshold is None or len(np.unique(values[np.isfinite(values)])) > _LEVELS:
            return FEWEST
        return max(FEWEST, math.ceil(math.log(1 - LEVEL) / math.log(self.threshold))) if self.threshold < 1 else FEWEST

    def kept(self, model: Model) -> float:
        """The guarded ratio alone, for choices: no interval."""
        ours, theirs = self.examiner.model(model).rows[self.measure], self._before.rows[self.measure]
        known = np.isfinite(ours) & np.isfinite(theirs)
        means = float(ours[known].mean()), float(theirs[known].mean())
        above, below = means if self.higher else means[::-1]
        return above / below if below else 0.0

    def of(self, model: Model) -> Evidence:
        """What ``model`` keeps."""
        after = self.examiner.model(model)
        comparisons = tuple(self._comparisons(after))
        guarded = next(c for c in comparisons if c.measure == self.measure)
        verdict, needed = self._verdict(guarded)
        pair = self._before.choices, after.choices
        agreement = None if pair[0] is None or pair[1] is None else float((pair[0] == pair[1]).mean())
        rows = int(np.isfinite(self._before.rows[self.measure]).sum())
        return Evidence(
            self.data, self.measure, self.threshold, self.groups, rows, verdict, needed, agreement, comparisons
        )

    def _comparisons(self, after: Marks) -> Iterator[Comparison]:
        for measure, theirs in self._before.rows.items():
            ours = after.rows[measure]
            pair = (ours, theirs) if measure in self._higher else (theirs, ours)
            found = statistics.ratio(*pair, self.examiner.units, level=LEVEL)
            known = np.isfinite(ours) & np.isfinite(theirs)
            if known.any():
                means = float(theirs[known].mean()), float(ours[known].mean())
                yield Comparison(measure, *means, _finite(found.mean), _finite(found.low))
        for measure, value in self._before.whole.items():
            if measure not in COSTS and measure in after.whole:
                yield Comparison(measure, _finite(value), _finite(after.whole[measure]), None, None)

    def _verdict(self, c: Comparison) -> tuple[str, int | None]:
        if self.threshold is None:
            return "not asked", None
        if c.ratio is None or c.low is None or self.groups < FEWEST:
            return "too little data", self.needed
        if c.ratio < self.threshold:
            return "below", None
        if c.low >= self.threshold:
            return "held", None
        margin, spread = c.ratio - self.threshold, c.ratio - c.low
        # The interval shrinks with the root of the groups.
        share = (spread / margin) ** 2 if margin > 0 else math.inf
        return "too little data", max(self.needed, math.ceil(self.groups * share)) if share < 1e6 else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _known(measure: str, known: list[str], network: str) -> str:
    return judge.choose([measure], dict.fromkeys(known, ""), f"metric of {network}")[0]


@contextmanager
def trial(
    parent: Model,
    data: str | None,
    measure: str | None,
    threshold: float | None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[Trial, Path]]:
    """The trial of ``parent`` on the test part of ``data``, and the folder of that dataset.

    Without ``data`` it is the workspace's preprocessed dataset of the network; where there is none, or it has too few
    groups for the threshold whatever they show, the standard suite, and the user is told. What is chosen here follows
    from the parent alone, before any other model is judged.

    Raises:
        InputError: an unknown dataset or measure, or a dataset of another network.
    """
    own = f"preprocessed-{parent.network}-data"
    note = f"there is no {own} in this workspace"
    try:
        folder: Path | None = views.find(data or own, parent.network, "test").folder
    except InputError:
        if data is not None:
            raise
        folder = None
    if folder is not None:
        try:
            found = Trial(parent, folder, data or own, measure, threshold)
        except InputError as error:
            if data is not None or measure is not None:
                raise
            note = str(error)
        else:
            if data is not None or found.groups >= found.needed:
                yield found, folder
                return
            judging = "judging" if threshold is None else f"a threshold of {threshold:g}"
            note = f"{own} has {found.groups} groups to judge on, and {judging} takes {found.needed}"
    say(f"{note}: judged on {suite.NAME} (name --data to choose)")
    with temporary_folder() as scratch:
        folder = suite.build(parent.network, scratch)
        found = Trial(parent, folder, suite.NAME, measure, threshold)
        yield found, folder
