"""Rules for the *replay* world: those that look at time, one agent for all, and what a run is worth for its price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np

from claude_flow.environments.replay import FEATURES, Order, Replay
from claude_flow.environments.scorer import Scorer
from claude_flow.errors import require

__all__ = ["RULES", "Policy", "Priced", "Single", "candidates", "scored", "start"]

Choice = tuple[Order, "int | None"]
#: a task and its agent, or None for the agent to give it up; None = wait
Policy = Callable[[Replay], "Choice | None"]
_CAPABLE = 0.5  # of the chance of the best free agent


def _assignments(episode: Replay) -> list[tuple[Order, int]]:
    return [(order, agent) for order, agent in episode.choices() if agent is not None]


def _otherwise(episode: Replay) -> Choice | None:
    """Wait, or give up where nothing else will happen."""
    return None if episode.may_wait else next(choice for choice in episode.choices() if choice[1] is None)


def _least_loaded(episode: Replay) -> Choice | None:
    pairs = _assignments(episode)
    if not pairs:
        return _otherwise(episode)
    of = [(order, agent) for order, agent in pairs if order is pairs[0][0]]
    best = max(episode.likely(*pair)[1] for pair in of)
    capable = [pair for pair in of if episode.likely(*pair)[1] >= _CAPABLE * best]
    return min(capable, key=lambda pair: episode.given[pair[1]])


def _shortest(episode: Replay) -> Choice | None:
    pairs = _assignments(episode)
    return min(pairs, key=lambda pair: episode.mean_calls[pair[1]]) if pairs else _otherwise(episode)


def _earliest(episode: Replay) -> Choice | None:
    pairs = _assignments(episode)
    if not pairs:
        return _otherwise(episode)
    return min(pairs, key=lambda pair: (pair[0].deadline, episode.mean_calls[pair[1]]))


def _matching(episode: Replay) -> Choice | None:
    pairs = _assignments(episode)
    if not pairs:
        return _otherwise(episode)
    orders, agents = episode.ready, sorted({agent for _, agent in pairs})
    cost = np.full((len(orders), len(agents)), 1e6)
    for order, agent in pairs:
        minutes = episode.mean_calls[agent] / max(episode.likely(order, agent)[1], 0.01) / order.weight
        cost[orders.index(order), agents.index(agent)] = minutes
    rows, columns = require("scipy.optimize", "rl").linear_sum_assignment(cost)
    i, j = min(zip(rows, columns, strict=True), key=lambda at: cost[at])
    return orders[i], agents[j]


#: name -> rule, without a search
RULES: dict[str, Policy] = {
    "least loaded": _least_loaded,
    "shortest first": _shortest,
    "earliest deadline": _earliest,
    "matching": _matching,
}


@dataclass(frozen=True)
class Single:
    """One agent for everything, in the order of urgency; a task that it fails at is given up."""

    agent: int

    def __call__(self, episode: Replay) -> Choice | None:
        for order, agent in episode.choices():
            if agent == self.agent or (agent is None and self.agent in order.tried):
                return order, agent
        if episode.may_wait:
            return None
        return next(choice for choice in episode.choices())  # its run of the task is not recorded


@dataclass(frozen=True)
class Priced:
    """The pair whose chance, times the task's weight, is highest above ``price`` times the run's cost.

    ``patience``: share of the value of the best agent, be it free or not, that a free one must reach, else the task
    waits; ``floor``: the value below which a task that failed is given up.
    """

    price: float = 1.0
    patience: float = 0.0
    floor: float = 0.0

    def __call__(self, episode: Replay) -> Choice | None:
        best, most = None, float("-inf")
        unit = 0.05 * episode.scale * self.price
        for order in episode.ready:
            values = {
                agent: order.weight * episode.likely(order, agent)[1] - unit * episode.mean_cost[agent]
                for agent in episode.recorded[order.task]
                if agent not in order.tried
            }
            if not values:
                continue
            top = max(values.values())
            if order.tried and top < self.floor:
                return order, None
            for agent, value in values.items():
                if episode.free[agent] and value > most and value >= top - (1 - self.patience) * abs(top):
                    best, most = (order, agent), value
        if best is not None:
            return best
        return None if episode.may_wait else episode.choices()[0]


def candidates(count: int, seed: int = 0) -> list[Priced]:
    """So many priced rules for a search."""
    random = Random(seed)
    drawn = [Priced()]
    while len(drawn) < count:
        drawn.append(
            Priced(
                random.choice((0.0, 0.3, 1.0, 2.0, 4.0, 8.0)),
                random.choice((0.0, 0.5, 0.8, 0.95)),
                random.choice((-1.0, 0.0, 0.05, 0.1, 0.2)),
            )
        )
    return drawn


def start(margin: float) -> tuple[float, ...]:
    """A linear score that a search starts from: weight times chance, less the cost, less ``margin`` times what a better
    agent would add; to give up is worth nothing."""
    values = dict.fromkeys(FEATURES, 0.0)
    values |= {"weight times that chance": 1.0, "run cost": -1.0, FEATURES[-1]: -margin, "gives up": 0.0}
    return tuple(values.values())


def scored(scorer: Scorer) -> Policy:
    """The choice of the highest score; wait where none is above -1."""

    def policy(episode: Replay) -> Choice | None:
        choices = episode.choices()
        scores = scorer(np.array(episode.features(choices)))
        best = int(scores.argmax())
        return None if scores[best] <= -1.0 and episode.may_wait else choices[best]

    return policy
