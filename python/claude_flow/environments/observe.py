"""A swarm at a moment as numbers: what the environment shows, and what a request of the guide's form says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from claude_flow.environments.pairs import OFFERS

__all__ = ["FEATURES", "SWARM", "Seen", "observe"]

#: the numbers of :func:`observe`, in order; minutes are in half hours, counts in eighths
SWARM = (
    *("agents", "free agents", "busy agents", "ready tasks", "ready tasks (log)", "ready tasks per agent"),
    *("mean priority", "highest priority", "mean complexity", "highest complexity"),
    *("mean wait", "longest wait", "least time left", "share overdue"),
    *("share whose kind is free", "share with a capable agent free", "share whose kind is there"),
    *("share with a capable agent", "largest share of one kind", "free agents of no ready kind"),
    *("urgent: priority", "urgent: complexity", "urgent: wait", "urgent: time left"),
    *("urgent: fit of the best free agent", "urgent: fit of the best agent"),
    *("agents' failures", "concurrency", "commanded now", "one"),
)
#: all that a decision sees: those, and the ones of :func:`claude_flow.environments.pairs.offers`
FEATURES = (*SWARM, *OFFERS)


class Seen(NamedTuple):
    """A ready task: priority 0..3, complexity 0..1, minutes waited, minutes to its deadline, its kind, how well the
    best free agent and the best agent of all fit it (0..1)."""

    priority: float
    complexity: float
    waited: float
    left: float
    kind: object
    free_fit: float
    any_fit: float


def observe(
    tasks: Sequence[tuple[float, float, float, float, object, float, float]],
    agents: int,
    free_kinds: Sequence[object],
    busy: int,
    failure: float,
    *,
    waiting: int | None = None,
    concurrency: float = 1.0,
    commanded: bool = False,
) -> list[float]:
    """The numbers of :data:`SWARM`. ``tasks``: those that a decision sees, each a :class:`Seen` or such a tuple, which
    is made in half the time; ``waiting``: how many there are in all.

    >>> len(observe([], 3, ["coder"], 2, 0.1)) == len(SWARM)
    True
    """
    waiting = len(tasks) if waiting is None else waiting
    free = len(free_kinds)
    numbers = [agents / 8, free / 8, busy / 8, min(len(tasks), 8) / 8]
    numbers += [min(waiting, 64) ** 0.5 / 4, min(waiting / max(agents, 1), 8.0) / 4]
    if not tasks:
        idle = [0.0] * 13 + [free / 8] + [0.0] * 6
        return [*numbers, *idle, failure, concurrency, float(commanded), 1.0]
    count: dict[object, int] = {}
    urgent = tasks[0]
    priority = complexity = waited = overdue = own = capable = own_any = capable_any = 0.0
    most = hardest = longest = 0.0
    least = 90.0
    for task in tasks:
        level, hard, wait, left, kind, fit, fit_any = task
        count[kind] = count.get(kind, 0) + 1
        priority += level
        complexity += hard
        waited += wait
        if left < 0:
            overdue += 1
        if fit > 0.5:
            capable += 1
            if fit > 0.9:
                own += 1
        if fit_any > 0.5:
            capable_any += 1
            if fit_any > 0.9:
                own_any += 1
        if hard > hardest:
            hardest = hard
        if wait > longest:
            longest = wait
        if left < least:
            least = left
        if level > most:
            most = level
        if level > urgent[0] or (level == urgent[0] and left < urgent[3]):
            urgent = task
    idle_kinds = 0
    for kind in free_kinds:
        if kind not in count:
            idle_kinds += 1
    n = len(tasks)
    numbers += [priority / n / 3, most / 3, complexity / n, hardest, _half_hours(waited / n), _half_hours(longest)]
    numbers += [_half_hours(least), overdue / n, own / n, capable / n, own_any / n, capable_any / n]
    numbers += [max(count.values()) / n, idle_kinds / 8]
    numbers += [urgent[0] / 3, urgent[1], _half_hours(urgent[2]), _half_hours(urgent[3]), urgent[5], urgent[6]]
    return [*numbers, failure, concurrency, float(commanded), 1.0]


def _half_hours(minutes: float) -> float:
    return (90.0 if minutes > 90.0 else -90.0 if minutes < -90.0 else minutes) / 30.0
