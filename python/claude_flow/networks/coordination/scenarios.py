"""Simulated swarms: what a log rarely shows (load, priority, capabilities, commands) as episodes with known utility.

The rules, all of them. An agent that has the very skill a task needs does it with quality 1, one of the role that the
skill belongs to 0.8, any other 0.1; difficulty costs the weaker ones more; load costs in proportion to its square, more
for urgent tasks. Commands have a utility too: *defer* while nothing presses, *split* for very complex work, *spawn*
when nobody has the skill and memory is free, *escalate* when nobody has the skill and it is urgent. Half of the swarms
name their skills in invented words, so that a network has to learn to match words instead of learning the words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scenario", "scenarios"]

#: role -> skills; a task that needs one of them names it as its type, alone or with a subject
ROLES: dict[str, tuple[str, ...]] = {
    "architect": ("design", "architecture", "planning", "api-design"),
    "coder": ("implementation", "backend", "feature", "coding", "apis"),
    "tester": ("testing", "coverage", "test-automation", "qa"),
    "reviewer": ("review", "code-quality", "audit"),
    "researcher": ("research", "analysis", "exploration", "search"),
    "devops": ("deployment", "infrastructure", "ci", "monitoring"),
    "writer": ("documentation", "docs", "tutorial"),
    "debugger": ("debugging", "bug-fix", "diagnosis"),
    "security-engineer": ("security", "vulnerability-scan", "threat-model"),
    "database-engineer": ("database", "migration", "schema", "query-tuning"),
    "performance-engineer": ("performance", "profiling", "optimization"),
    "frontend-developer": ("frontend", "ui", "styling", "accessibility"),
}
SUBJECTS = ("", "", "", "service", "module", "login", "payments", "pipeline", "cache", "parser", "client", "report")
_SYLLABLES = ("ba", "do", "ki", "lu", "me", "no", "pra", "qui", "ro", "sta", "tri", "vex", "wol", "zan")
COMMANDS = ("defer", "split", "escalate", "spawn")


@dataclass(frozen=True)
class Scenario:
    """A request in the spec's form and its utilities ``[tasks, agents + commands]`` float32 in [0, 1]."""

    request: dict[str, Any]
    utility: NDArray[np.float32]


def _roles(generator: np.random.Generator) -> dict[str, tuple[str, ...]]:
    if generator.random() < 0.5:
        return ROLES

    def word() -> str:
        return "".join(_SYLLABLES[i] for i in generator.integers(len(_SYLLABLES), size=int(generator.integers(2, 4))))

    return {word(): tuple(word() for _ in range(4)) for _ in range(10)}


def _any(generator: np.random.Generator, items: Sequence[str]) -> str:
    """One of ``items``, as ``generator.choice`` draws it, which makes an array of them first: half of all the time."""
    return items[int(generator.integers(len(items)))]


def scenarios(count: int, seed: int) -> Iterator[Scenario]:
    """Yield ``count`` simulated swarms of 2-12 agents and 1-12 tasks; the same seed gives the same swarms.

    >>> scenario = next(scenarios(1, seed=1))
    >>> scenario.utility.shape == (
    ...     len(scenario.request["pending-tasks"]), len(scenario.request["current-agents"]) + len(COMMANDS))
    True
    """
    generator = np.random.default_rng([seed, 0x5CE])
    for _ in range(count):
        yield _scenario(generator)


def _scenario(generator: np.random.Generator) -> Scenario:
    roles = _roles(generator)
    names = list(roles)
    state = {
        "memory-usage": round(float(generator.uniform(0.1, 1.0)), 2),
        "cpu-usage": round(float(generator.uniform(0.05, 1.0)), 2),
        "network-latency": round(float(generator.lognormal(3.0, 1.0)), 1),
    }
    agents, agent_roles, agent_skills = [], [], []
    for i in range(int(generator.integers(2, 13))):
        role = _any(generator, names)
        skills = roles[role]
        own = [skills[i] for i in generator.choice(len(skills), size=int(generator.integers(0, 3)), replace=False)]
        if generator.random() < 0.3:
            own.append(_any(generator, roles[_any(generator, names)]))
        load = round(float(generator.beta(1.2, 1.2)), 2)
        agents.append({"id": f"a{i}", "type": role, "load": load, "capabilities": own})
        agent_roles.append(role)
        agent_skills.append(set(own))
    tasks, utility = [], []
    for i in range(int(generator.integers(1, 13))):
        role = _any(generator, names)
        if generator.random() < 0.7:  # most tasks suit somebody
            role = _any(generator, agent_roles)
        skill = _any(generator, [*roles[role], role] if generator.random() < 0.2 else roles[role])
        subject = _any(generator, SUBJECTS)
        urgency = int(generator.integers(4))
        complexity = round(float(generator.uniform(0, 1)), 2)
        kind = f"{skill}-{subject}" if subject and generator.random() < 0.5 else skill
        task = {"id": f"t{i}", "type": kind, "complexity": complexity}
        task["priority"] = ("low", "medium", "high", "critical")[urgency]
        if subject and kind == skill:
            task["description"] = f"{skill.replace('-', ' ')} of the {subject}"
        tasks.append(task)
        fit = np.array(
            [_fit(skill, role, r, skills) for r, skills in zip(agent_roles, agent_skills, strict=True)], np.float32
        )
        loads = np.array([agent["load"] for agent in agents], np.float32)
        quality = fit - 0.3 * complexity * (1 - fit)
        by_agent = np.clip(quality, 0, 1) * (1 - (0.4 + 0.15 * urgency) * loads**2)
        utility.append(np.concatenate([by_agent, _commands(fit.max(), complexity, urgency / 3, state["memory-usage"])]))
    request = {"current-agents": agents, "pending-tasks": tasks, "system-state": state}
    return Scenario(request, np.array(utility, np.float32))


def _fit(skill: str, role: str, agent_role: str, agent_skills: set[str]) -> float:
    if skill in agent_skills or skill == agent_role:
        return 1.0
    return 0.8 if agent_role == role else 0.1


def _commands(best: float, complexity: float, urgency: float, memory: float) -> list[float]:
    """Utilities of defer, split, escalate and spawn for a task whose best agent fits it with quality ``best``."""
    nobody = best < 0.5
    return [
        0.35 * (1 - urgency),
        0.6 * best if complexity > 0.9 else 0.1,
        0.5 * urgency if nobody else 0.1,
        0.55 * (1 - memory) + 0.1 if nobody else 0.1,
    ]
