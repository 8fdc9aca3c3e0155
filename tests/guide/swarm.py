"""A month of a swarm that never was: Claude Code transcripts of two projects, and events of a third.

Its rules, so that there is something to learn: an agent is quick and reliable at its own kind of work, slow and
failure-prone at others', and every agent has its own pace. Dispatchers mostly choose well. The same seed and ``now``
give the same bytes.
"""

from __future__ import annotations

import json
import math
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.transcript import Transcript

__all__ = ["write"]

DAYS = 30
_SESSIONS = 24  # of each project with transcripts
_EVENTS = 260
_PROJECTS = ("storefront", "payments-microservice")
_USER_EMAIL = "mira.holt@example.org"  # something to anonymize
#: kind of agent -> what its work is called, and what it says that it did
_KINDS = {
    "architect": ("design", ("Design the {} API", "Sketch the {} schema", "Split the {} service")),
    "coder": ("implementation", ("Implement {} endpoints", "Write the {} client", "Port {} to async")),
    "tester": ("testing", ("Test the {} module", "Cover {} errors", "Reproduce a flaky {} test")),
    "reviewer": ("review", ("Review the {} change", "Audit {} permissions")),
    "researcher": ("research", ("Find why {} is slow", "Compare {} libraries", f"Ask {_USER_EMAIL} about {{}}")),
}
_PARTS = ("cart", "login", "billing", "search", "export", "webhook", "invoice", "session")
_TOOLS = ("Read", "Grep", "Edit", "Bash")


def write(projects: Path, events: Path, now: datetime, seed: int = 7) -> dict[str, int]:
    """Write transcripts below ``projects`` and one file of events into the folder ``events``; how many runs each has.

    ``now`` is a moment in UTC: everything starts within the :data:`DAYS` before it.
    """
    dice = random.Random(seed)
    count = 0
    for project in _PROJECTS:
        for number in range(_SESSIONS):
            begin = now - timedelta(days=DAYS * (number + dice.uniform(0.3, 0.9)) / _SESSIONS)
            count += _session(projects / f"-home-mira-{project}", project, begin, number, dice)
    events.mkdir(parents=True, exist_ok=True)
    apart = timedelta(days=DAYS) / (_EVENTS + 2)
    lines = [_event(number, now - (_EVENTS - number) * apart, dice) for number in range(_EVENTS)]
    cut = '{"event": "run", "run_id": "ledger-'  # a swarm at work is always writing its next line
    (events / "nightly.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + cut, "utf-8")
    return {"transcripts": count, "events": len(lines)}


def _work(dice: random.Random) -> tuple[str, str, str, float, bool]:
    """Who works on what: kind of agent, kind of task, description, seconds, and whether it goes well."""
    kind = dice.choice(list(_KINDS))
    agent = kind if dice.random() < 0.8 else dice.choice(list(_KINDS))
    description = dice.choice(_KINDS[kind][1]).format(dice.choice(_PARTS))
    fits = agent == kind
    seconds = math.exp(dice.gauss(4.6 + 0.1 * list(_KINDS).index(kind) + (0 if fits else 0.8), 0.35))
    return agent, kind, description, seconds, dice.random() < (0.93 if fits else 0.45)


def _session(folder: Path, project: str, begin: datetime, number: int, dice: random.Random) -> int:
    """One session: a person asks, the main agent hands tasks to subagents, one after the other; returns how many."""
    name = f"{number:08x}-{project[:4]}-4000-8000-{dice.randrange(16**12):012x}"
    session = Transcript(name, begin=begin, cwd=f"/home/mira/{project}")
    session.line("user", 0, message={"role": "user", "content": f"Work on it, and write to {_USER_EMAIL}"})
    at, tasks = 5.0, dice.randrange(4, 9)
    for task in range(tasks):
        agent, _, description, seconds, goes_well = _work(dice)
        spawn, identity = f"toolu_{project[:3]}{number:02d}{task:02d}", f"{dice.randrange(16**7):07x}"
        prompt = f"{description}. " * dice.randrange(3, 30)
        session.spawns(
            at, spawn, f"msg_{number}_{task}", "Task", description=description, subagent_type=agent, prompt=prompt
        )
        own = Transcript(name, identity, begin, session.cwd)
        calls, tokens = _steps(own, at, seconds, dice)
        own.write(folder / name / "subagents" / f"agent-{identity}.jsonl")
        at += seconds + dice.uniform(1, 20)
        status = "completed" if goes_well else dice.choice(("failed", "failed", "killed"))
        session.completes(at, spawn, identity, round(1000 * seconds), tokens, calls, status)
        at += dice.uniform(5, 400)
    session.write(folder / f"{name}.jsonl")
    return tasks


def _steps(own: Transcript, at: float, seconds: float, dice: random.Random) -> tuple[int, int]:
    """What an agent does; returns its calls of tools, and the tokens of its last request."""
    calls, tokens = dice.randrange(2, 8), 4000
    for call in range(calls):
        moment = at + seconds * (call + 0.2) / calls
        tokens += dice.randrange(300, 3000)
        usage = {"input_tokens": tokens, "output_tokens": dice.randrange(20, 600), "cache_read_input_tokens": 2000}
        tool = {"type": "tool_use", "id": f"{own.agent}-{call}", "name": dice.choice(_TOOLS), "input": {}}
        own.says(moment, f"msg_{own.agent}_{call}", tool, usage=usage)
        own.answers(moment + dice.uniform(0.1, 0.7) * seconds / calls, tool["id"], error=dice.random() < 0.1)
    return calls, tokens


def _event(number: int, start: datetime, dice: random.Random) -> dict[str, Any]:
    """One finished run of the swarm ``ledger``, as docs/events.md says."""
    agent, kind, description, seconds, goes_well = _work(dice)
    waited = dice.expovariate(1 / 20)
    return {
        "event": "run",
        "run_id": f"ledger-{number}",
        "group": f"nightly {number // 40}",
        "project": "ledger",
        "agent": f"{agent}-{dice.randrange(2)}",
        "agent_type": agent,
        "task": f"ledger-task-{number}",
        "task_type": _KINDS[kind][0],
        "description": description,
        "submitted": (start - timedelta(seconds=waited)).isoformat(),
        "start": start.isoformat(),
        "end": (start + timedelta(seconds=seconds)).isoformat(),
        "status": "completed" if goes_well else dice.choice(("failed", "failed", "timeout")),
        "success": goes_well,
        "tokens": round(seconds * dice.uniform(60, 120)),
        "tool_calls": dice.randrange(2, 30),
        "steps": dice.randrange(2, 30),
        "retries": dice.randrange(3),
        "cost": round(seconds * dice.uniform(0.001, 0.003), 4),
        "cpu_s": round(seconds * dice.uniform(0.1, 0.6), 2),
        "memory_mb": round(dice.uniform(150, 900), 1),
    }
