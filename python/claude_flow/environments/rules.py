"""Hand-written rules, the search that tunes them, and what an episode comes to under any policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from claude_flow.environments.fitted import named
from claude_flow.environments.rewards import REWARDS
from claude_flow.environments.swarm import DEFER, ESCALATE, MATCHING, RETIRE, SPAWN, Swarm
from claude_flow.environments.world import fit

__all__ = ["RULES", "Policy", "Rule", "at_random", "measures", "play", "played", "tuned"]

#: the command for a swarm that has a legal one
Policy = Callable[[Swarm], int]
Episode = TypeVar("Episode", bound=Any)


@dataclass(frozen=True)
class Rule:
    """Assign by one command whenever that is legal; beside it, thresholds that a search may set.

    ``spawn``: from so many ready tasks per agent on, ``retire``: from so many free agents that nothing waits for,
    ``escalate``: tasks of this priority that no agent of their kind is there for, ``fit``: what an assignment must
    reach, unless nothing else is going on. None = never.
    """

    assign: int
    spawn: float | None = None
    retire: int | None = None
    escalate: int | None = None
    fit: float = 0.0

    def __call__(self, swarm: Swarm) -> int:
        mask = swarm.mask()
        if self.spawn is not None and mask[SPAWN] and len(swarm.ready) >= self.spawn * len(swarm.agents):
            return SPAWN
        if self.escalate is not None and mask[ESCALATE]:
            task = max(swarm.ready[:8], key=lambda t: (t.priority, -t.deadline))
            if task.priority >= self.escalate and all(fit(a, task) < 0.5 for a in swarm.agents):
                return ESCALATE
        if self.retire is not None and mask[RETIRE] and not swarm.ready and len(swarm.free) >= self.retire:
            return RETIRE
        if mask[self.assign] and (not mask[DEFER] or self.fit == 0.0 or fit(*swarm.pair(self.assign)) >= self.fit):
            return self.assign
        return DEFER if mask[DEFER] else mask.index(True)


#: name -> rule, as it is without a search
RULES = {
    "least-loaded": Rule(0),
    "shortest-first": Rule(1),
    "earliest-deadline": Rule(2),
    "matching": Rule(MATCHING),
}


def at_random(seed: int) -> Policy:
    """Any legal command."""
    random = Random(seed)
    return lambda swarm: random.choice([action for action, legal in enumerate(swarm.mask()) if legal])


def play(policy: Policy, world: str, seed: int, most: int = 1000) -> Swarm:
    """An episode to its end, or to ``most`` decisions."""
    swarm = Swarm(named(world), seed)
    for _ in range(most):
        if swarm.over:
            break
        swarm.step(policy(swarm))
    return swarm


def played(episode: Episode, policy: Callable[[Episode], Any]) -> Episode:
    """An episode of any world, played to its end."""
    while not episode.over:
        episode.step(policy(episode))
    return episode


def measures(swarm: Swarm) -> dict[str, float]:
    """What an episode came to.

    >>> sorted(measures(play(RULES["matching"], "simulated", 1)))
    ['completion-time', 'cost', 'efficiency-improvement', 'resolve-rate', ...]
    """
    total = swarm.total
    return {
        **{name if name not in ("completion-time", "cost", "resolve-rate") else f"reward-{name}": reward.of(total)
           for name, reward in REWARDS.items()},
        "completion-time": swarm.latency / max(1, swarm.resolved),
        "cost": total.cost,
        "resolve-rate": swarm.resolved / swarm.tasks,
    }  # fmt: skip


def tuned(
    reward: str, seeds: Sequence[int], candidates: int = 60, seed: int = 0, world: str = "simulated"
) -> tuple[str, Rule, float]:
    """The best of ``candidates`` rules with thresholds drawn at random, by its mean reward over training episodes.

    Returns the name of the rule it comes from, the rule, and that reward.
    """
    random, best = Random(seed), ("", RULES["matching"], float("-inf"))
    plain = list(RULES.items())
    for i in range(candidates):
        name, rule = plain[i % len(plain)]
        if i >= len(plain):
            rule = Rule(
                rule.assign,
                random.choice([None, 0.5, 1.0, 1.5, 2.0, 3.0]),
                random.choice([None, 1, 2, 3]),
                random.choice([None, 1, 2, 3]),
                random.choice([0.0, 0.0, 0.5, 1.0]),
            )
        mean = sum(REWARDS[reward].of(play(rule, world, s).total) for s in seeds) / len(seeds)
        if mean > best[2]:
            best = (name, rule, mean)
    return best
