"""A swarm, as a request says it or as an environment has it, to what the networks and the decision engine see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from claude_flow.environments.observe import FEATURES, Seen, observe
from claude_flow.environments.pairs import offers
from claude_flow.environments.world import Agent, Task
from claude_flow.networks.coordination.features import PRIORITIES
from claude_flow.networks.coordination.scenarios import ROLES
from claude_flow.networks.text import words

__all__ = ["FEATURES", "able", "fit", "free", "legal", "performance", "seen", "state", "urgent"]

_ROLE_OF = {skill: role for role, skills in ROLES.items() for skill in (role, *skills)}
#: where a request says nothing: minutes left of a task, until an agent is free; dollars an agent costs per hour
_NO_DEADLINE, _BUSY, _COST = 60.0, 15.0, 2.0
_WINDOW = 8  # tasks that a decision sees


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


class Able(NamedTuple):
    """Agents, those of them that are free, the tasks that a decision sees, and the table of fits between them: a row
    per agent, a column per type of task. The ids of agents and tasks are their places in the request."""

    agents: list[Agent]
    free: list[Agent]
    tasks: list[Task]
    table: list[list[float]]


def able(request: Mapping[str, Any], most: int | None = _WINDOW) -> Able:
    """A request as :mod:`claude_flow.environments.pairs` takes a swarm: now is minute 0."""
    people, work = request["current-agents"], request["pending-tasks"][:most]
    kinds = {task.get("type") or "": task for task in work}
    columns = {kind: i for i, kind in enumerate(kinds)}
    table = [[fit(person, task) for task in kinds.values()] for person in people]
    tasks = []
    for i, (task, known) in enumerate(zip(work, seen((), work), strict=True)):
        expected = task.get("features", {}).get("expected-minutes", 8.0 * (0.4 + known.complexity))
        kind, priority = columns[task.get("type") or ""], round(known.priority)
        tasks.append(Task(i, kind, max(0.01, expected), priority, known.complexity, -known.waited, known.left))
    agents = []
    for i, person in enumerate(people):
        load = person.get("load") or 0.0
        speed = person.get("speed", 1.0 - 0.5 * load if free(person) else 1.0)
        wait = 0.0 if free(person) else person.get("free-in-minutes", _BUSY)
        agents.append(Agent(i, i, speed, person.get("cost-per-hour", _COST), 0.0, wait))
        agents[i].tasks = person.get("past-tasks", round(100 * load))
    return Able(agents, [agent for agent in agents if free(people[agent.id])], tasks, table)


def state(request: Mapping[str, Any], count: int = len(FEATURES)) -> NDArray[np.float32]:
    """The first ``count`` numbers of :data:`claude_flow.environments.observe.FEATURES`, float32; what a request does
    not say (a concurrency limit, what was commanded just now, speeds, prices) stands at what is usual."""
    agents, tasks = request["current-agents"], request["pending-tasks"]
    records = [agent["track-record"] for agent in agents if agent.get("track-record")]
    past = sum(record["tasks"] for record in records)
    failed = sum(record["tasks"] * (1 - record["success-rate"]) for record in records)
    numbers = observe(
        seen(agents, tasks)[:_WINDOW],
        len(agents),
        [(agent.get("type") or "").lower() for agent in agents if free(agent)],
        sum(not free(agent) for agent in agents),
        failed / max(1.0, past),
        waiting=len(tasks),
    )
    if count > len(numbers):
        swarm = able(request)
        numbers += offers(swarm.agents, swarm.free, swarm.tasks, 0.0, swarm.table)
    return np.clip(np.array(numbers[:count], np.float32), -4, 4)


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
