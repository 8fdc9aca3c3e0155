"""The quality filter: which runs are left out of a dataset, rule by rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from claude_flow.data.events import Run
from claude_flow.errors import InputError

__all__ = ["LEVELS", "RULES", "QualityFilter", "Rule"]

LEVELS = ("none", "low", "medium", "high")


@dataclass(frozen=True)
class Rule:
    """A run for which ``drops(run, now)`` holds is left out at ``level`` and every stricter one."""

    level: str
    name: str
    why: str
    drops: Callable[[Run, datetime], bool]


def _impossible(run: Run, now: datetime) -> bool:
    backwards = run.start is not None and run.end is not None and run.end < run.start
    return backwards or (run.start is not None and run.start > now + timedelta(days=1))


def _mostly_idle(run: Run, now: datetime) -> bool:
    return run.active_s is not None and run.duration_s is not None and run.active_s < run.duration_s / 2


RULES = (
    Rule("low", "impossible times", "it ends before it starts, or starts in the future", _impossible),
    Rule("medium", "unnamed", "agent or task is unknown", lambda r, _: r.agent is None or r.task is None),
    Rule(
        "medium",
        "never ran",
        "rejected, or its launch failed",
        lambda r, _: r.status in ("rejected", "launch_error"),
    ),
    Rule("medium", "censored", "its end is not in the log", lambda r, _: r.status == "censored"),
    Rule(
        "high",
        "stopped early",
        "killed or interrupted: its duration says when someone stopped it, not how long the task takes",
        lambda r, _: r.status in ("killed", "interrupted"),
    ),
    Rule(
        "high",
        "no outcome",
        "neither a duration above 0, a success nor a utility is known",
        lambda r, _: not r.duration_s and r.success is None and r.utility is None,
    ),
    Rule("high", "mostly idle", "more than half of its duration is gaps above 300 s", _mostly_idle),
)


_OUTCOMES: dict[bool | None, int] = {None: 0, True: 1, False: 2}


class QualityFilter:
    """Counts and leaves out runs by the rules of a level. A run id seen before is left out at every level.

    >>> from claude_flow.data.events import Run
    >>> f = QualityFilter("medium", now=datetime(2026, 1, 1))
    >>> f.keeps(Run(run_id="a", source="jsonl", agent="x", task="t", status="censored")), dict(f.dropped)
    (False, {'censored': 1})
    """

    def __init__(self, level: str, now: datetime) -> None:
        if level not in LEVELS:
            raise InputError(f"quality filter {level!r} is unknown: choose one of {', '.join(LEVELS)}")
        self._now = now
        self._rules = [rule for rule in RULES if LEVELS.index(rule.level) <= LEVELS.index(level)]
        self._seen: set[int] = set()
        self.dropped: Counter[str] = Counter()

    def keeps(self, run: Run) -> bool:
        """Whether the run stays in; if not, the first rule against it is counted in ``dropped``."""
        # 64-bit hashes instead of the ids: a million runs take 60 MB less, and collide with odds of 5e-7. Their lowest
        # bits say how the run ended.
        identity = hash((run.source, run.run_id)) & ~3
        other = identity | _OUTCOMES[not run.success] if run.success is not None else None
        if other in self._seen:
            self.dropped["duplicate, of the other outcome (the first counts)"] += 1
            return False
        if any(identity | outcome in self._seen for outcome in _OUTCOMES.values()):
            self.dropped["duplicate"] += 1
            return False
        for rule in self._rules:
            if rule.drops(run, self._now):
                self.dropped[rule.name] += 1
                return False
        self._seen.add(identity | _OUTCOMES[run.success])
        return True
