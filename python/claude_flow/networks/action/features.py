"""A swarm, as a request says it or as an environment has it, to what the networks and the decision engine see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.environments.observe import FEATURES, Seen, observe
from claude_flow.networks.coordination.features import PRIORITIES
from claude_flow.networks.coordination.scenarios import ROLES
from claude_flow.networks.text import words

__all__ = ["FEATURES", "fit", "free", "legal", "performance", "seen", "state", "urgent"]

_ROLE_OF = {skill: role for role, skills in ROLES.items() for skill in (role, *skills)}
_NO_DEADLINE = 60.0  # minutes left, where a request says nothing


@lru_cache(maxsize=65536)
def role(kind: str) -> str:
    """The role that a task type asks for: the one that has it as a skill, else itself."""
    kind = kind.strip().lower()
    return _ROLE_OF.get(kind) or next((_ROLE_OF[word] for word in words(kind) if word in _ROLE_OF), kind)


@lru_cache(maxsize=65536)
def _fit(kind: str, agent: str, capabilities: tuple[str, ...]) -> float:
    if role(kind) == agent.strip().lower():
        return 1.0
    able = {word for capability in capabilities for word in words(capability)}
    return 0.6 if able & {*words(kind), *words(role(kind))} else 0.2


def fit(agent: Mapping[str, Any], task: Mapping[str, Any]) -> float:
    """How well an agent fits a task: 1 its role, 0.6 one of its capabilities, 0.2 neither.

    >>> fit({"type": "coder"}, {"type": "implementation"}), fit({"capabilities": ["apis"]}, {"type": "apis"})
    (1.0, 0.6)
    """
    return _fit(task.get("type") or "", agent.get("type") or "", tuple(agent.get("capabilities", ())))


def free(agent: Mapping[str, Any]) -> bool:
    """Whether an agent can take another task."""
    return (agent.get("load") or 0.0) < 0.95


def seen(agents: Sequence[Mapping[str, Any]], tasks: Sequence[Mapping[str, Any]]) -> list[Seen]:
    """The tasks as :func:`claude_flow.environments.observe.observe` takes them."""
    found = []
    able = [agent for agent in agents if free(agent)]
    for task in tasks:
        level = task.get("priority")
        share = PRIORITIES[level] if isinstance(level, str) else 1 / 3 if level is None else level
        numbers = task.get("features", {})
        found.append(
            Seen(
                3 * share,
                0.5 if task.get("complexity") is None else task["complexity"],
                numbers.get("waiting-minutes", 0.0),
                numbers.get("minutes-left", _NO_DEADLINE),
                role(task.get("type") or ""),
                max((fit(agent, task) for agent in able), default=0.0),
                max((fit(agent, task) for agent in agents), default=0.0),
            )
        )
    return found


def state(request: Mapping[str, Any]) -> NDArray[np.float32]:
    """The numbers of :data:`claude_flow.environments.observe.FEATURES`, float32 ``[30]``; what a request cannot say
    (a concurrency limit, what was commanded just now) stands at what is usual."""
    agents, tasks = request["current-agents"], request["pending-tasks"]
    records = [agent["track-record"] for agent in agents if agent.get("track-record")]
    count = sum(record["tasks"] for record in records)
    failed = sum(record["tasks"] * (1 - record["success-rate"]) for record in records)
    numbers = observe(
        seen(agents, tasks)[:8],
        len(agents),
        [(agent.get("type") or "").lower() for agent in agents if free(agent)],
        sum(not free(agent) for agent in agents),
        failed / max(1.0, count),
        waiting=len(tasks),
    )
    return np.clip(np.array(numbers, np.float32), -4, 4)


def legal(request: Mapping[str, Any]) -> list[bool]:
    """Which commands make sense for a request, in the order of ``environments.swarm.ACTIONS``."""
    agents, tasks = request["current-agents"], request["pending-tasks"]
    able = sum(free(agent) for agent in agents)
    busy = len(agents) - able
    large = any((task.get("complexity") or 0.0) > 0.6 for task in tasks[:8])
    assign = bool(tasks) and able > 0
    return [*[assign] * 5, True, large, bool(tasks), len(agents) < 8, able > 0 and len(agents) > 1,
            busy > 1 and bool(tasks), False, busy > 1]  # fmt: skip


def performance(request: Mapping[str, Any]) -> dict[str, float]:
    """What the optimization network is told of the swarm."""
    agents, tasks = request["current-agents"], request["pending-tasks"]
    busy = sum(agent.get("load") or 0.0 for agent in agents) / max(1, len(agents))
    told = {"queue-length": float(len(tasks)), "agent-utilization": busy, "active-agents": float(len(agents))}
    waits = [task["features"]["waiting-minutes"] for task in tasks if "waiting-minutes" in task.get("features", {})]
    if waits:
        told["queue-time"] = 60.0 * round(sum(waits) / len(waits))
    system = request.get("system-state", {})
    return told | {name: system[name] for name in ("memory-usage", "cpu-usage") if system.get(name) is not None}


def urgent(request: Mapping[str, Any]) -> str:
    """The words that the prediction network gets: those of the most urgent task."""
    tasks = request["pending-tasks"]
    if not tasks:
        return "nothing"
    first = max(zip(seen((), tasks), tasks, strict=True), key=lambda pair: (pair[0].priority, -pair[0].left))[1]
    return str(first.get("description") or first.get("type") or "a task")
