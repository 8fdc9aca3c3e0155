"""Where decisions are learned: a swarm as a Gymnasium environment, hand-written rules, reward functions.

>>> from claude_flow import environments
>>> list(environments.ENVIRONMENTS), list(environments.REWARDS)[0]
(['swarm-coordination-env'], 'efficiency-improvement')
"""

from __future__ import annotations

from typing import Any

from claude_flow.environments.rewards import REWARDS
from claude_flow.environments.world import WORLDS
from claude_flow.errors import InputError
from claude_flow.values import did_you_mean

__all__ = ["ENVIRONMENTS", "REWARDS", "WORLDS", "check", "make"]

#: name -> what it is
ENVIRONMENTS = {"swarm-coordination-env": "a swarm of agents with arriving tasks"}


def check(kind: str, name: str, known: Any) -> None:
    """Refuse an unknown name with near matches: :class:`InputError`.

    >>> check("reward function", "efficiency", REWARDS)
    Traceback (most recent call last):
    ...
    claude_flow.errors.InputError: there is no reward function 'efficiency': it is one of efficiency-improvement, ...
    """
    if name not in known:
        near = did_you_mean(name, known) or f": it is one of {', '.join(known)}"
        raise InputError(f"there is no {kind} {name!r}{near}")


def make(name: str = "swarm-coordination-env", world: str = "simulated", reward: str = "efficiency-improvement") -> Any:
    """The Gymnasium environment ``name`` in a world of :data:`WORLDS`, with a reward of :data:`REWARDS`.

    Raises:
        InputError: one of them is unknown.
        ClaudeFlowError: gymnasium is not installed.
    """
    check("environment", name, ENVIRONMENTS)
    check("world", world, WORLDS)
    check("reward function", reward, REWARDS)
    from claude_flow.environments.gym import SwarmEnv

    return SwarmEnv(world, reward)
