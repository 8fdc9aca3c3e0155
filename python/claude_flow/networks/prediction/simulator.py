"""A simulated log of runs, by known rules: what the standard benchmark suite forecasts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import numpy as np

from claude_flow.networks.coordination.scenarios import ROLES

__all__ = ["log"]

_BEGIN = datetime(2026, 1, 5, tzinfo=timezone.utc)


def log(count: int, seed: int) -> Iterator[dict[str, object]]:
    """Runs of 24 agents over a few months, by these rules.

    log seconds = skill's level (N(5, 0.8)) + agent's pace (N(0, 0.4), drifting by N(0, 0.02) a run) + description's
    size (0, 0.7 or 1.4) + noise (N(0, 0.35)); a tenth of the runs ends early or late by a factor of 5. A run fails
    with the agent's own chance, from 2 to 40 %, and takes then a third of the time. Arrivals are exponential, one
    every 40 minutes on average.
    """
    generator = np.random.default_rng([seed, 0x106])
    skills = [(role, skill) for role, own in ROLES.items() for skill in own]
    level = {skill: generator.normal(5, 0.8) for _, skill in skills}
    agents = [f"{role}-{i}" for role in ROLES for i in range(2)]
    pace = dict(zip(agents, generator.normal(0, 0.4, len(agents)), strict=True))
    failing = dict(zip(agents, generator.uniform(0.02, 0.4, len(agents)), strict=True))
    sizes = {"small": 0.0, "usual": 0.7, "large": 1.4}
    moment = _BEGIN
    for number in range(count):
        role, skill = skills[int(generator.integers(len(skills)))]
        agent = f"{role}-{int(generator.integers(2))}"
        size = str(generator.choice(list(sizes)))
        moment += timedelta(minutes=float(generator.exponential(40)))
        pace[agent] += generator.normal(0, 0.02)
        failed = bool(generator.random() < failing[agent])
        odd = float(generator.choice([-1.0, 1.0])) * np.log(5) * (generator.random() < 0.1)
        log_seconds = level[skill] + pace[agent] + sizes[size] + generator.normal(0, 0.35) + odd
        seconds = float(np.exp(log_seconds)) / (3 if failed else 1)
        yield (
            {
                "event": "run",
                "run_id": f"r{number}",
                "group": f"week {(moment - _BEGIN).days // 7}",
                "agent": agent,
                "agent_type": role,
                "task": f"t{number}",
                "task_type": skill,
                "description": f"a {size} piece of {skill.replace('-', ' ')}",
                "submitted": moment.isoformat(),
                "start": moment.isoformat(),
                "end": (moment + timedelta(seconds=seconds)).isoformat(),
                "status": "failed" if failed else "completed",
                "success": not failed,
            }
        )
