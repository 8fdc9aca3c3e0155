"""Which agent to try first, and when to try a dearer one: chance to resolve, price, and a verifier that errs.

Two policies: *one shot*, an agent's answer as it is; *cheap first and escalate*, where a verifier looks at the first
agent's run and a dearer agent does the task anew if it rejects. The verifier is estimated from runs whose outcome is
known: the chance that a run resolved its task, from what is known once it has ended (its calls, its cost) and from how
often the repository's tasks are resolved. How often it errs is measured on runs that it was not fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Attempts", "Plan", "Verifier", "constant", "outcome", "plan"]

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

_INNER = 5
_RIDGE = 3.0
_PRIOR = 5.0  # a repository's mean is drawn towards the overall one as by so many tasks
_THRESHOLDS = np.linspace(0.0, 1.0, 21)  # 0 accepts every run, above 1 none


@dataclass(frozen=True)
class Attempts:
    """Every agent's run of every task: ``resolved`` 0 or 1, ``cost``, ``effort`` (calls or steps), ``[tasks, agents]``;
    ``place`` [tasks] is the number of the task's repository."""

    agents: tuple[str, ...]
    place: Rows
    resolved: Array
    cost: Array
    effort: Array

    def take(self, rows: Rows) -> Attempts:
        """Some of the tasks."""
        return Attempts(self.agents, self.place[rows], self.resolved[rows], self.cost[rows], self.effort[rows])


@dataclass(frozen=True)
class Plan:
    """``first`` runs the task; below ``threshold`` of the verifier's chance ``second`` does it anew. One shot where
    ``second`` is ``first``. ``accepts_wrong`` and ``rejects_right``: the verifier's error rates on tasks that it was
    not fitted on; NaN for one shot."""

    first: int
    second: int
    threshold: float
    rate: float
    cost: float
    accepts_wrong: float
    rejects_right: float


class Verifier:
    """A ridge logistic regression per agent."""

    def __init__(self, known: Attempts) -> None:
        self._overall = float(known.resolved.mean())
        self._mean: dict[int, tuple[float, int]] = {}
        for place in np.unique(known.place):
            own = known.resolved[known.place == place]
            self._mean[int(place)] = float(own.mean()), len(own)
        self._fits = [self._fit(known, agent) for agent in range(len(known.agents))]

    def chances(self, runs: Attempts) -> Array:
        """Chance ``[tasks, agents]`` that each run resolved its task."""
        columns = []
        for agent, (centre, scale, weights) in enumerate(self._fits):
            x = (self._inputs(runs, agent) - centre) / scale
            columns.append(_logistic(np.column_stack([np.ones(len(x)), x]) @ weights))
        return np.stack(columns, axis=1)

    def _inputs(self, runs: Attempts, agent: int) -> Array:
        prior = [self._mean.get(int(place), (self._overall, 0)) for place in runs.place]
        shrunken = [(mean * n + _PRIOR * self._overall) / (n + _PRIOR) for mean, n in prior]
        effort, cost = np.log1p(runs.effort[:, agent]), np.log1p(1000 * runs.cost[:, agent])
        return np.column_stack([np.nan_to_num(effort), np.nan_to_num(cost), shrunken])

    def _fit(self, known: Attempts, agent: int) -> tuple[Array, Array, Array]:
        x, y = self._inputs(known, agent), known.resolved[:, agent]
        centre, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
        z = np.column_stack([np.ones(len(x)), (x - centre) / scale])
        weights, ridge = np.zeros(z.shape[1]), np.diag([1e-3, *[_RIDGE] * x.shape[1]])
        for _ in range(12):  # Newton's steps
            p = _logistic(z @ weights)
            bend = (z * (p * (1 - p))[:, None]).T @ z + ridge
            weights = weights - np.linalg.solve(bend, z.T @ (p - y) + ridge @ weights)
        return centre, scale, weights


def _logistic(score: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-np.clip(score, -30, 30)))
    return result


def constant(known: Attempts, points: float = 0.01) -> int:
    """The price-aware constant: the cheapest agent within ``points`` of the best one's rate."""
    rate, cost = known.resolved.mean(axis=0), known.cost.mean(axis=0)
    return int(np.where(rate >= rate.max() - points, cost, np.inf).argmin())


def plan(known: Attempts, least: float | None = None) -> Plan:
    """The cheapest policy whose rate on known tasks is at least ``least`` (default: the price-aware constant's).

    The verifier judges each task by what was fitted on others. One shot is a policy too, so there is always one.
    """
    chances = _crossed(known)
    single = constant(known)
    least = float(known.resolved[:, single].mean()) if least is None else least
    best = Plan(single, single, 0.0, float(known.resolved[:, single].mean()), float(known.cost[:, single].mean()),
                float("nan"), float("nan"))  # fmt: skip
    mean = known.cost.mean(axis=0)
    for first in range(len(known.agents)):
        for second in range(len(known.agents)):
            if mean[second] <= mean[first]:
                continue
            for threshold in _THRESHOLDS:
                rate, cost = (float(v.mean()) for v in outcome(known, first, second, chances[:, first] >= threshold))
                if rate >= least and cost < best.cost:
                    wrong, right = _errors(chances[:, first] >= threshold, known.resolved[:, first])
                    best = Plan(first, second, float(threshold), rate, cost, wrong, right)
    return best


def outcome(runs: Attempts, first: int, second: int, accepted: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Resolved and cost ``[tasks]`` of a policy."""
    resolved = np.where(accepted, runs.resolved[:, first], runs.resolved[:, second])
    cost = runs.cost[:, first] + np.where(accepted, 0.0, runs.cost[:, second])
    if first == second:
        return runs.resolved[:, first], runs.cost[:, first]
    return resolved, cost


def _crossed(known: Attempts) -> Array:
    part = np.arange(len(known.place)) % _INNER
    chances = np.zeros_like(known.resolved)
    for inner in range(_INNER):
        held = np.flatnonzero(part == inner)
        chances[held] = Verifier(known.take(np.flatnonzero(part != inner))).chances(known.take(held))
    return chances


def _errors(accepted: NDArray[np.bool_], resolved: Array) -> tuple[float, float]:
    wrong, right = resolved < 0.5, resolved >= 0.5
    return (
        float(accepted[wrong].mean()) if wrong.any() else float("nan"),
        float((~accepted)[right].mean()) if right.any() else float("nan"),
    )
