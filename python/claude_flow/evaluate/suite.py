"""The standard benchmark suite: simulated data of fixed seeds, made anew wherever it runs, one dataset per network.

Its swarms and logs are others than those that the shipped models learned from, under the same rules. It shows that a
model works and how it compares on equal terms; what it is worth on real data, real data says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path

import numpy as np

from claude_flow.data.collect import collect
from claude_flow.data.scenarios import ROLES

__all__ = ["NAME", "build"]

NAME = "standard-benchmark-suite"
#: The shipped models learned from seed 0. Of all other seeds this is the first that tests optimization on the same
#: three families of work: on those that the shipped model never saw (a test compares them with its card).
_SEED = 1303
_SWARMS = {"coordination": 1500, "optimization": 3000}
_RUNS = 3000
_BEGIN = datetime(2026, 1, 5, tzinfo=timezone.utc)


def build(network: str, folder: Path, share: float = 1.0) -> Path:
    """Make a network's dataset of the suite in ``folder``, or the given ``share`` of it; returns the dataset.

    Simulated swarms (:mod:`claude_flow.data.scenarios`, :mod:`claude_flow.data.simulator`), of which the last fifth,
    or three families of work, are the test part; for prediction a simulated log, see :func:`_log`.
    """
    data = folder / network
    data.mkdir(parents=True, exist_ok=True)
    tables: Path | None = None
    options: dict[str, int] = {"seed": _SEED}
    if network == "prediction":
        tables = folder / "tables"
        lines = folder / "runs.jsonl"
        lines.write_text("".join(json.dumps(event) + "\n" for event in _log(max(200, round(_RUNS * share)))), "utf-8")
        collect([lines], tables)
    else:
        options["simulate"] = max(200, round(_SWARMS[network] * share))
    import_module(f"claude_flow.data.prepare_{network}").preprocess(tables or folder / "none", data, options)
    return data


def _log(count: int) -> Iterator[dict[str, object]]:
    """Runs of 24 agents over a few months, by these rules.

    log seconds = skill's level (N(5, 0.8)) + agent's pace (N(0, 0.4), drifting by N(0, 0.02) a run) + description's
    size (0, 0.7 or 1.4) + noise (N(0, 0.35)); a tenth of the runs ends early or late by a factor of 5. A run fails
    with the agent's own chance, from 2 to 40 %, and takes then a third of the time. Arrivals are exponential, one
    every 40 minutes on average.
    """
    generator = np.random.default_rng([_SEED, 0x106])
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
