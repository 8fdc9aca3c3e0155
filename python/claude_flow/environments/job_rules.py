"""Rules for the *jobs* world: those of schedulers, and a family that counts what it costs to move an executor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np

from claude_flow.environments.jobs import Job, Jobs

__all__ = ["RULES", "Packed", "Policy", "WeightedFair", "candidates"]

#: the job that gets an executor; None = wait
Policy = Callable[[Jobs], "Job | None"]


@dataclass(frozen=True)
class WeightedFair:
    """Shares in proportion to a job's work to the power ``exponent``, as in Decima; the job that lacks most of its
    share is first. What a share leaves over goes to the others, unless ``strict``."""

    exponent: float = 0.0
    strict: bool = False

    def __call__(self, episode: Jobs) -> Job | None:
        power = self.exponent
        unit = episode.executors / sum([job.graph.work**power for job in episode.jobs])
        best, most = episode.candidates[0], float("-inf")
        for job in episode.candidates:
            lacks = unit * job.graph.work**power - job.executors
            if lacks > most:
                best, most = job, lacks
        return None if self.strict and most <= 0 and episode.may_wait else best


@dataclass(frozen=True)
class Packed:
    """The job with least left is first, up to a limit, and an executor moves only to work that is worth the move.

    ``least`` executors a job may always have, and ``share`` times an even share of all; ``path``: how much the longest
    path counts beside the work; ``stay``: what the work left is multiplied by for a job with an idle executor;
    ``worth``: seconds of work left per executor of the job, below which none moves there.
    """

    least: int = 5
    share: float = 1.0
    path: float = 0.0
    stay: float = 1.0
    worth: float = 0.0

    def __call__(self, episode: Jobs) -> Job | None:
        limit = max(self.least, self.share * episode.executors / len(episode.jobs))
        best, least = None, float("inf")
        for job in episode.candidates:
            executors, left = job.executors, job.work
            if job.idle:
                left *= self.stay
            elif executors >= limit or left < self.worth * executors:
                continue
            if self.path:
                left += 10.0 * self.path * job.graph.path[job.ready[-1]]
            if left < least:
                best, least = job, left
        if best is None and not episode.may_wait:
            return min(episode.candidates, key=lambda job: job.work)
        return best


#: name -> rule, without a search
RULES: dict[str, Policy] = {
    "first come, first served": lambda episode: min(episode.candidates, key=lambda job: job.arrival),
    "shortest job first": lambda episode: min(episode.candidates, key=lambda job: job.work),
    "critical path": lambda episode: max(episode.candidates, key=lambda job: job.graph.path[job.ready[-1]]),
    "fair": WeightedFair(),
}


def candidates(family: str, count: int, seed: int = 0) -> list[Policy]:
    """So many rules of a family, ``"weighted fair"`` or ``"packed"``, for a search: the same budget for each."""
    if family == "weighted fair":
        return [WeightedFair(float(exponent)) for exponent in np.linspace(-1.5, 1.5, count)]
    random = Random(seed)
    drawn: list[Policy] = [Packed()]
    while len(drawn) < count:
        drawn.append(
            Packed(
                random.choice((1, 3, 5, 8)),
                random.choice((0.7, 0.85, 1.0, 1.3)),
                random.choice((0.0, 1.0, 2.0, 4.0)),
                random.choice((1.0, 0.7, 0.4)),
                random.choice((0.0, 3.0, 6.0, 9.0)),
            )
        )
    return drawn
