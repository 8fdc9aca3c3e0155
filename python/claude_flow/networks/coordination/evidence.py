"""Past decisions as evidence at the moment of the question, without a training run.

Two experts say how likely each type of agent is to get a task: the network, which sees the past decisions in its
agents' tokens, and a table of the log, first word of a description -> types, smoothed towards the most used type. Their
mixture is ``p(type) ~ network ** NETWORK * table ** TABLE``. Within a type the network chooses, by load and track
record; what it gives to commands (defer, split …) stays.

The two weights are fitted by  python -m bench.assignment  (docs/assignment.md) on real logs of coding agents, projects
left out in turn. Other experts got no weight there and are left out: most used, most recent, and neighbours by all
words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.data.events import MAIN_THREAD
from claude_flow.networks.coordination.features import Encoder, History
from claude_flow.networks.text import words

__all__ = ["Decision", "decisions", "mixed", "read", "table", "with_log"]

Array = NDArray[np.float64]

NETWORK, TABLE = 0.35, 0.45
_PULL = 1.0  # pseudo-decisions: of the most used on a word's row, of all types alike on the most used
_MOST = 1000  # newest decisions that count
_COLUMNS = ("agent_type", "task_type", "description", "submitted", "start", "end", "status", "success")
_NEVER_RAN = frozenset(("rejected", "launch_error"))
_FAILED = frozenset(("failed", "killed", "timeout"))


@dataclass(frozen=True)
class Decision:
    """A task of the log and the type of agent that got it; ``held`` is False where it is known to have failed."""

    text: str
    kind: str
    held: bool = True


def decisions(runs: Iterable[Mapping[str, Any]]) -> list[Decision]:
    """What the runs of a log say of who takes what, oldest first. A session's own runs, and what never ran, are none.

    >>> run = {"agent_type": "coder", "description": "Fix the build", "start": datetime(2026, 1, 1), "success": False}
    >>> decisions([run])
    [Decision(text='Fix the build', kind='coder', held=False)]
    """
    found: list[tuple[datetime, int, Decision]] = []
    for run in runs:
        kind, at = run.get("agent_type"), run.get("submitted") or run.get("start") or run.get("end")
        if kind and kind != MAIN_THREAD and at is not None and run.get("status") not in _NEVER_RAN:
            # In some logs the type of a task is the type of the agent that got it: known only afterwards.
            said = run.get("description") or ("" if run.get("task_type") == kind else run.get("task_type")) or ""
            success = run.get("success")
            failed = success is False or (success is None and run.get("status") in _FAILED)
            found.append((at, len(found), Decision(said, kind, not failed)))
    return [decision for _, _, decision in sorted(found)]


def read(folder: Path) -> list[Decision]:
    """The decisions of a dataset of tables, kept until its file changes. :raises InputError: it is none."""
    path = folder / "runs.parquet"
    return _read(folder, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=8)
def _read(folder: Path, written: int) -> list[Decision]:
    from claude_flow.data.tables import read_table

    runs = read_table(folder, "runs")
    kept = [] if runs is None else [name for name in _COLUMNS if name in runs.column_names]
    return [] if runs is None else decisions(runs.select(kept).to_pylist())


def table(past: Sequence[Decision], texts: Sequence[str], kinds: Sequence[str]) -> Array:
    """Probabilities ``[texts, kinds]`` by the first word of each text.

    >>> past = [Decision("review the API", "reviewer"), Decision("write the API", "coder")] * 3
    >>> table(past, ["Review the docs", "deploy"], ["coder", "reviewer"]).round(2).tolist()
    [[0.12, 0.88], [0.5, 0.5]]
    """
    index = {kind: i for i, kind in enumerate(kinds)}
    used, rows = np.zeros(len(kinds)), {_first(text): np.zeros(len(kinds)) for text in texts}
    for decision in past:
        if decision.held and decision.kind in index:
            used[index[decision.kind]] += 1
            if (word := _first(decision.text)) in rows:
                rows[word][index[decision.kind]] += 1
    used = (used + _PULL / len(kinds)) / (used.sum() + _PULL)
    result: Array = np.stack([(row + _PULL * used) / (row.sum() + _PULL) for row in (rows[_first(t)] for t in texts)])
    return result


def with_log(
    encoder: Encoder, agents: NDArray[np.float32], kinds: Sequence[str], past: Sequence[Decision]
) -> NDArray[np.float32]:
    """Agent tokens ``[A, 512]`` that show the past decisions, as training shows them; ``kinds`` are the agents'."""
    shown = [decision for decision in past[-_MOST:] if decision.kind in set(kinds)]
    if not shown:
        return agents
    tasks = np.stack([encoder.task({"description": decision.text}) for decision in shown])
    utility = np.array([[float(d.held and d.kind == kind) for kind in kinds] for d in shown], np.float32)
    return encoder.with_history(agents, History.of(tasks, utility))


def mixed(probabilities: NDArray[np.float32], kinds: Sequence[str], by_kind: Array) -> NDArray[np.float32]:
    """The network's probabilities ``[tasks, agents + commands]``, moved by a table's ``[tasks, distinct kinds]``.

    ``kinds`` are the agents'; the table's columns are the distinct ones in order of appearance.

    >>> network = np.array([[0.6, 0.2, 0.2]], np.float32)  # two agents and a command
    >>> mixed(network, ["coder", "tester"], np.array([[0.1, 0.9]])).argmax(axis=1).tolist()
    [1]
    """
    columns = {kind: i for i, kind in enumerate(dict.fromkeys(kinds))}
    member = np.array([columns[kind] for kind in kinds])
    agents = np.maximum(probabilities[:, : len(kinds)].astype(np.float64), 1e-12)
    by_network = np.stack([agents[:, member == i].sum(axis=1) for i in range(len(columns))], axis=1)
    whole = by_network.sum(axis=1, keepdims=True)
    score = (by_network / whole) ** NETWORK * np.maximum(by_kind, 1e-9) ** TABLE
    score /= score.sum(axis=1, keepdims=True)
    result: NDArray[np.float32] = probabilities.copy()
    result[:, : len(kinds)] = whole * score[:, member] * agents / by_network[:, member]
    return result


def _first(text: str) -> str:
    return next(iter(words(text)), "")
