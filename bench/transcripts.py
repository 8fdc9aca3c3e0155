"""A large synthetic log, and what it takes to collect and preprocess it: ``python -m bench.transcripts [LINES]``.

Writes about LINES (default a million) lines of Claude Code transcripts, sessions with subagents in files of their own,
and as many runs in the project's own events. Prints for each command, run in a process of its own, the seconds of
processor time and of the clock, and the most memory that it held. Its bounds are 120 s of processor time and 1 GB.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from time import perf_counter
from typing import Any

__all__ = ["events", "sessions"]

_BEGIN = datetime(2026, 1, 5, tzinfo=timezone.utc)
_KINDS = ("Explore", "Plan", "coder", "tester", "reviewer")
_TOOLS = ("Read", "Grep", "Bash", "Edit", "Write")
_SPAWNS, _CALLS = 8, 30  # of a session; of an agent
_SECONDS, _BYTES = 120.0, 1e9


def sessions(folder: Path, lines: int, seed: int = 0) -> int:
    """Write sessions of about ``lines`` lines in all below ``folder``; return how many lines there are."""
    chance = random.Random(seed)
    written, number, at = 0, 0, _BEGIN
    while written < lines:
        session = f"{number:08x}-0000-4000-8000-000000000000"
        project = folder / f"-home-mira-project{number % 12}"
        at += timedelta(minutes=chance.expovariate(1 / 30))
        main, agents = _session(chance, session, f"/home/mira/project{number % 12}", at)
        written += _write(project / f"{session}.jsonl", main)
        for agent, inner in agents.items():
            written += _write(project / session / "subagents" / f"agent-{agent}.jsonl", inner)
        number += 1
    return written


def events(path: Path, runs: int, seed: int = 0) -> None:
    """Write ``runs`` runs of a swarm as the project's own events."""
    chance, at = random.Random(seed), _BEGIN
    with path.open("w", encoding="utf-8") as file:
        for i in range(runs):
            at += timedelta(seconds=chance.expovariate(1 / 40))
            seconds, ok = chance.lognormvariate(4, 0.6), chance.random() < 0.8
            run = {"event": "run", "run_id": f"r{i}", "agent": f"a{chance.randrange(40)}", "task": f"t{i}"}
            run |= {"agent_type": chance.choice(_KINDS), "task_type": chance.choice(("docs", "bug-fix", "feature"))}
            run |= {"project": f"p{i % 9}", "group": f"g{i // 20}", "tokens": int(300 * seconds), "success": ok}
            run |= {"description": f"Fix page {chance.randrange(50_000)}", "submitted": at.isoformat()}
            run |= {"start": at.isoformat(), "end": (at + timedelta(seconds=seconds)).isoformat()}
            file.write(json.dumps(run | {"status": "completed" if ok else "failed"}) + "\n")


def _session(
    chance: random.Random, session: str, cwd: str, at: datetime
) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    main: list[dict[str, Any]] = []
    agents: dict[str, list[dict[str, Any]]] = {}
    serial = 0

    def line(kind: str, message: dict[str, Any], into: list[dict[str, Any]], **more: Any) -> None:
        nonlocal serial
        serial += 1
        stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        about = {"type": kind, "uuid": f"{session}-{serial}", "sessionId": session, "timestamp": stamp, "cwd": cwd}
        into.append({**about, "version": "2.1.250", "isSidechain": False, "message": message, **more})

    def says(into: list[dict[str, Any]], block: dict[str, Any], **more: Any) -> None:
        usage = {"input_tokens": 9, "cache_read_input_tokens": 20_000, "output_tokens": 50}
        body = {"id": f"m-{session}-{serial}", "role": "assistant", "model": "claude-x", "usage": usage}
        line("assistant", {**body, "content": [block]}, into, **more)

    def answers(into: list[dict[str, Any]], identity: str, said: str, **more: Any) -> None:
        block = {"type": "tool_result", "tool_use_id": identity, "content": said, "is_error": chance.random() < 0.05}
        line("user", {"role": "user", "content": [block]}, into, **more)

    line("user", {"role": "user", "content": "Build the next part"}, main)
    for n in range(_SPAWNS):
        spawn, agent, began = f"toolu_{session}_{n}", f"a{session[:8]}{n:02}", at
        asked = {"description": f"Look at part {n}", "prompt": "look " * 40, "subagent_type": chance.choice(_KINDS)}
        says(main, {"type": "tool_use", "id": spawn, "name": "Agent", "input": asked})
        agents[agent] = []
        for i in range(_CALLS):
            call, own = f"{spawn}_{i}", {"isSidechain": True, "agentId": agent}
            at += timedelta(seconds=chance.expovariate(1 / 3))
            tool = {
                "type": "tool_use",
                "id": call,
                "name": chance.choice(_TOOLS),
                "input": {"file_path": f"src/{i}.py"},
            }
            says(agents[agent], tool, **own)
            at += timedelta(seconds=chance.expovariate(1 / 2))
            answers(agents[agent], call, "x" * 400, **own)
        took = int((at - began).total_seconds() * 1000)
        result = {"status": "completed", "agentId": agent, "totalDurationMs": took, "totalToolUseCount": _CALLS}
        answers(main, spawn, "It is done. " * 20, toolUseResult=result)
    return main, agents


def _write(path: Path, lines: list[dict[str, Any]]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return len(lines)


def _measured(home: Path, *words: str) -> dict[str, float]:
    """Run a command of ``claude-flow neural data``; its seconds and bytes."""
    environment = os.environ | {"CLAUDE_FLOW_HOME": str(home), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "claude_flow", "neural", "data", *words, "--format", "quiet"]
    begin = perf_counter()
    process = subprocess.Popen(line, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(line)} failed")
    unit = 1 if sys.platform == "darwin" else 1024
    spent: resource.struct_rusage = used
    return {"cpu_s": spent.ru_utime + spent.ru_stime, "wall_s": perf_counter() - begin, "bytes": spent.ru_maxrss * unit}


def _rows(lines: int) -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = sessions(folder / "projects", lines)
        events(folder / "events.jsonl", lines)
        logs = ((f"transcripts, {count} lines", "projects"), (f"events, {lines} runs", "events.jsonl"))
        for what, source in logs:
            for words in (("collect", "--source", str(folder / source)), ("preprocess",)):
                used = _measured(folder / "home", *words)
                holds = used["cpu_s"] <= _SECONDS and used["bytes"] <= _BYTES
                size = f"{used['bytes'] / 1e6:.0f} MB"
                yield [
                    what,
                    words[0],
                    f"{used['cpu_s']:.0f} s",
                    f"{used['wall_s']:.0f} s",
                    size,
                    "yes" if holds else "NO",
                ]


if __name__ == "__main__":
    print("| log | command | processor | clock | memory | within 120 s, 1 GB |\n|---|---|--:|--:|--:|---|")
    for row in _rows(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000):
        print(f"| {' | '.join(row)} |", flush=True)
