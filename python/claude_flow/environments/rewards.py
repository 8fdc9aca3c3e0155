"""THE list of reward functions: what a step is worth, from what happened in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["REWARDS", "Happened", "Reward"]


@dataclass
class Happened:
    """What happened between two decisions; the sums of a whole episode have the same fields.

    ``value``: weights of the tasks that were resolved; ``late``: of those after their deadline; ``lost``: of those that
    were given up; ``cost``: what agents, starts and escalations cost; ``waited``: weight times minutes that tasks
    waited or were worked at; ``minutes``: time that passed.
    """

    value: float = 0.0
    late: float = 0.0
    lost: float = 0.0
    cost: float = 0.0
    waited: float = 0.0
    minutes: float = 0.0

    def add(self, other: Happened) -> None:
        """Count what happened besides."""
        self.value += other.value
        self.late += other.late
        self.lost += other.lost
        self.cost += other.cost
        self.waited += other.waited
        self.minutes += other.minutes


class Reward(NamedTuple):
    """A reward function and what it is, in words."""

    of: Callable[[Happened], float]
    what: str


REWARDS: dict[str, Reward] = {
    "efficiency-improvement": Reward(
        lambda h: h.value - 0.5 * h.late - h.lost - 0.05 * h.cost - 0.005 * h.waited,
        "resolved work by priority, half if late, less what it cost and how long it took",
    ),
    "resolve-rate": Reward(lambda h: h.value - h.late - h.lost, "work resolved in time, whatever it costs"),
    "completion-time": Reward(lambda h: -0.01 * h.waited - h.lost, "as little time from arrival to end as possible"),
    "cost": Reward(lambda h: h.value - h.lost - 0.15 * h.cost, "resolved work, whenever, for little money"),
}
