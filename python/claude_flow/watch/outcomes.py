"""The log of answers, and what became of them.

An outcome arrives later than its answer, in one of two ways:

* by id: lines ``{"id", "correct": true | false}`` or ``{"id", "score": 0..1}`` in the workspace's ``outcomes/*.jsonl``.
  ``id`` is the request's own, or its place in the log: ``000001-17`` is file and line;
* by the work itself: the runs in ``events/*.jsonl``, which ``record-outcome`` (the command, the MCP tool, HTTP) and
  Claude Code's hooks write. A run belongs to the last answer that was given about its task, by id or description,
  before the run ended. What it says of that answer, the network knows: a task that another agent took says nothing of
  who was chosen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from claude_flow import networks, registry
from claude_flow import requests as lines
from claude_flow.data import sources
from claude_flow.data.events import Run
from claude_flow.data.lines import Log
from claude_flow.requests import Request
from claude_flow.watch.alerts import read_lines

__all__ = ["Logged", "known", "logged", "scores"]


@dataclass(frozen=True)
class Logged:
    """A request of the log with its place (file and line), its ids, and its time in seconds since 1970."""

    request: Request
    place: tuple[str, int]
    time: float

    @property
    def ids(self) -> tuple[str, str]:
        """What an outcome may call it: its own id, or its place."""
        return self.request.id, f"{self.place[0]}-{self.place[1]}"


def logged(since: float) -> list[Logged]:
    """The requests of the log that were answered at or after ``since``, in the order of the log."""
    found = []
    for file in lines.log_files():
        if file.stat().st_mtime < since:
            continue
        for number, request in lines.read(file):
            if isinstance(request, Request) and request.time:
                moment = datetime.fromisoformat(request.time.replace("Z", "+00:00")).timestamp()
                if moment >= since:
                    found.append(Logged(request, (file.stem, number), moment))
    return found


def scores(entries: Sequence[Logged]) -> list[float | None]:
    """What became of every answer: 1 good, 0 bad, or between; None: that is still open.

    An outcome by id counts before those of runs, of which the mean counts.
    """
    told = _told()
    found: list[float | None] = [next((told[i] for i in entry.ids if i in told), None) for entry in entries]
    if None in found:
        for place, score in _of_runs(entries).items():
            if found[place] is None:
                found[place] = score
    return found


def known(entries: Sequence[Logged]) -> list[float]:
    """The scores that are known, in order."""
    return [score for score in scores(entries) if score is not None]


def _told() -> dict[str, float]:
    """Outcomes by id; a later line of an id replaces an earlier."""
    found: dict[str, float] = {}
    for file in sorted((registry.workspace() / "outcomes").glob("*.jsonl")):
        for entry in read_lines(file):
            score = entry.get("score", entry.get("correct"))
            if "id" in entry and isinstance(score, (bool, int, float)) and 0 <= score <= 1:
                found[str(entry["id"])] = float(score)
    return found


def _of_runs(entries: Sequence[Logged]) -> dict[int, float]:
    """Outcomes that runs tell, by the entry's number."""
    asked: dict[tuple[str, str], list[tuple[float, int]]] = {}  # (network, task) -> when it was asked about
    for place in sorted(range(len(entries)), key=lambda i: entries[i].time):
        request = entries[place].request
        tasks = getattr(networks.get(request.network).answer, "tasks", None)
        for task in tasks(request.input) if tasks and request.answer else ():
            asked.setdefault((request.network, task), []).append((entries[place].time, place))
    if not asked:
        return {}
    names = {name for name, _ in asked}
    runs: dict[int, dict[str, float]] = {}
    for run in _runs(min(entry.time for entry in entries)):
        ended = run.end or run.start or run.submitted
        if ended is None:
            continue
        for name in sorted(names):
            before = []
            for task in {run.task, run.description} - {None}:
                times = asked.get((name, str(task)), [])
                before += times[: bisect_right(times, (ended.timestamp(), len(entries)))][-1:]
            if before:
                _, place = max(before)
                request = entries[place].request
                answer = networks.get(name).answer
                if (score := answer.outcome(request.input, request.answer, asdict(run))) is not None:
                    runs.setdefault(place, {})[run.run_id] = score
    return {place: sum(found.values()) / len(found) for place, found in runs.items()}


def _runs(since: float) -> Iterator[Run]:
    """The runs in files of events that changed at or after ``since``."""
    folder = registry.workspace() / "events"
    if folder.is_dir():
        for source, files in sources.detect(folder).parts:
            fresh = [file for file in files if file.stat().st_mtime >= since]
            for record in source.read(folder, fresh, Log()) if fresh else ():
                if isinstance(record, Run):
                    yield record
