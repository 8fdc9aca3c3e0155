"""A swarm's log in our own format (docs/events.md), always the same, on which reading and training are measured."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

KINDS = {"testing": "tester", "implementation": "coder", "review": "reviewer"}


def write_log(path: Path, runs: int) -> Path:
    """``runs`` runs of agents that do best what is their trade, with two steps each: five events a run."""
    chance, lines = random.Random(0), []
    begin = datetime(2026, 1, 5, tzinfo=timezone.utc)
    for i in range(runs):
        kind, agent = chance.choice(list(KINDS)), chance.choice(list(KINDS.values()))
        fits = KINDS[kind] == agent
        start = begin + timedelta(minutes=30 * i)
        seconds = chance.lognormvariate(5 if fits else 6, 0.5)
        about = {"agent": f"{agent}-{i % 5}", "agent_type": agent, "task": f"t-{i}", "task_type": kind, "group": "shop"}
        times = [(start + timedelta(seconds=share * seconds)).isoformat() for share in (0, 1)]
        run = {"run_id": f"r-{i}"}
        lines += [
            {"event": "task", "task": f"t-{i}", "task_type": kind, "description": f"{kind} of page {i % 40}"},
            {"event": "start", **run, "time": times[0], "submitted": start.isoformat(), **about},
            {"event": "step", **run, "action": "search", "seconds": 0.2 * seconds},
            {"event": "step", **run, "action": "edit", "seconds": 0.7 * seconds},
            {
                "event": "end",
                **run,
                "time": times[1],
                "status": "completed",
                "success": chance.random() < 0.5 + 0.4 * fits,
            },
        ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path
