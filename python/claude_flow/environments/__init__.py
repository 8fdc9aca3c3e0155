"""Where decisions are learned: a swarm as a Gymnasium environment, hand-written rules, reward functions.

>>> from claude_flow import environments
>>> list(environments.ENVIRONMENTS), list(environments.REWARDS)[0]
(['swarm-coordination-env'], 'efficiency-improvement')
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from claude_flow.environments import fitted
from claude_flow.environments.fitted import fit
from claude_flow.environments.jobs import JobsWorld, read_graphs
from claude_flow.environments.replay import ReplayWorld, read_runs
from claude_flow.environments.rewards import REWARDS
from claude_flow.environments.world import WORLDS, World
from claude_flow.errors import InputError
from claude_flow.values import did_you_mean

__all__ = ["ENVIRONMENTS", "RECORDED", "REWARDS", "WORLDS", "check", "fit", "make", "recorded"]

#: name -> what it is
ENVIRONMENTS = {"swarm-coordination-env": "a swarm of agents with arriving tasks"}


class Recorded(NamedTuple):
    """A world that is made from a file: how, what reads the file, a file of this form, and what happens in it."""

    make: Callable[..., Any]
    read: Callable[[Any], Any]
    example: str
    what: str


#: name -> a world made from a file, which is not part of this package
RECORDED = {
    "replay": Recorded(
        ReplayWorld,
        lambda world: read_runs(world.path),
        "swebench_pro_agent_runs_data.csv.gz",
        "a task is resolved, or is not, as that agent's real run did",
    ),
    "jobs": Recorded(
        JobsWorld,
        lambda world: read_graphs(world.path, world.executors),
        "tpch_jobs.json.gz",
        "graphs of stages with measured durations share executors",
    ),
}


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


def make(
    name: str = "swarm-coordination-env",
    world: str | Path | World | JobsWorld | ReplayWorld = "simulated",
    reward: str = "efficiency-improvement",
    data: str | Path | None = None,
    pairs: bool = False,
) -> Any:
    """The Gymnasium environment ``name`` in a world, with a reward of :data:`REWARDS`.

    Args:
        name: one of :data:`ENVIRONMENTS`.
        world: one of :data:`WORLDS` or of :data:`RECORDED`, a world itself, or the file of a fitted one.
        reward: one of :data:`REWARDS`.
        data: the file of a recorded world.
        pairs: whether a simulated swarm also shows what each command would do, which takes twice as long.

    Raises:
        InputError: one of them is unknown, or the file is absent or of another form.
        ClaudeFlowError: gymnasium is not installed.
    """
    check("environment", name, ENVIRONMENTS)
    check("reward function", reward, REWARDS)
    if isinstance(world, Path) or str(world).endswith(".json"):
        world = fitted.read(Path(str(world)))
    if isinstance(world, str):
        check("world", world, [*WORLDS, *RECORDED])
        world = WORLDS[world] if world in WORLDS else recorded(world, data)
    from claude_flow.environments.gym import ChoiceEnv, SwarmEnv

    return SwarmEnv(world, reward, pairs) if isinstance(world, World) else ChoiceEnv(world, reward)


def recorded(world: str, data: str | Path | None, **settings: Any) -> Any:
    """A world of :data:`RECORDED` from its file, with ``settings`` such as ``load``.

    >>> recorded("jobs", None)
    Traceback (most recent call last):
    ...
    claude_flow.errors.InputError: the world 'jobs' is made from a file: say which, such as data='tpch_jobs.json.gz'
    """
    check("world", world, RECORDED)
    row = RECORDED[world]
    if data is None:
        raise InputError(f"the world {world!r} is made from a file: say which, such as data={row.example!r}")
    found = row.make(path=Path(data), **settings)
    row.read(found)
    return found
