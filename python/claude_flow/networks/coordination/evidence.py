"""Past decisions as evidence at the moment of the question, without a training run.

How likely each type of agent is to get a task is a softmax over the types of a score: boosted trees
(:mod:`claude_flow.networks.coordination.ranker`) see what the log says by first words, by likeness of words, by how
lately and by how often, and what other projects did (:mod:`claude_flow.networks.coordination.prior`); the network,
which sees the past decisions in its agents' tokens, has a say beside them. Within a type the network chooses, by load
and track record; what it gives to commands (defer, split …) stays.

All of it is fitted by  python -m bench.assignment  on real logs of coding agents, and judged there with each project
left out in turn (docs/assignment.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.data.events import MAIN_THREAD
from claude_flow.networks.coordination import prior, ranker
from claude_flow.networks.coordination.features import Encoder, History
from claude_flow.networks.text import hash_text, words

__all__ = ["SIGNALS", "Decision", "chances", "decisions", "knows", "mixed", "read", "signals", "table", "with_log"]

Array = NDArray[np.float64]

#: what is known of each type: by the log, by the names, by other projects
_OWN = (
    "log share of the past decisions",
    "first word: log share of those whose task begins so",
    "first word, lately: the same, each decision 0.7 times the next",
    "nearest: likeness of the most alike past task of the type",
    "near: mean likeness of the three most alike",
    "name: likeness of the task's words and the type's name",
    "name: share of its words that the task has",
    "last: it got the last task",
    "new: it got none yet",
    "since: log decisions since its last one",
    "name: number of its words",
    "name: it has a colon",
    *prior.SIGNALS,
)
#: all that the trees see of a type: the above, each less the best type's, and what is the same for all types
SIGNALS = (
    *_OWN,
    *(f"{name}, less the best type's" for name in _OWN),
    "log number of types",
    "log number of words of the task",
    "log number of past decisions",
    "log number of past decisions whose task begins so",
)
#: of the network's log probability beside the trees; of 0.1, 0.2 and 0.4
_NETWORK = 0.2
_NEVER = 9.0  # log decisions since the last one of a type that got none
_DECAY = 0.7
_WIDTH = 256  # of hashed words
_PULL = 1.0  # pseudo-decisions: of the most used on a word's row, of all types alike on the most used
_MOST = 1000  # newest decisions that count
_COLUMNS = ("agent_type", "task_type", "description", "submitted", "start", "end", "status", "success", "group")
_NEVER_RAN = frozenset(("rejected", "launch_error"))
_FAILED = frozenset(("failed", "killed", "timeout"))


@dataclass(frozen=True)
class Decision:
    """A task of the log and the type of agent that got it; ``held`` is False where it is known to have failed.

    ``session`` is where it was handed out, ``at`` when (seconds): decisions of one session resemble each other.
    """

    text: str
    kind: str
    held: bool = True
    session: str = field(default="", repr=False, compare=False)
    at: float = field(default=0.0, repr=False, compare=False)


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
            decision = Decision(said, kind, not failed, str(run.get("group") or ""), at.timestamp())
            found.append((at, len(found), decision))
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
    tasks = np.stack([_token(encoder.describe, decision.text) for decision in shown])
    utility = np.array([[float(d.held and d.kind == kind) for kind in kinds] for d in shown], np.float32)
    return encoder.with_history(agents, History.of(tasks, utility))


def signals(past: Sequence[Decision], texts: Sequence[str], kinds: Sequence[str], others: prior.Prior) -> Array:
    """What the log and other projects say, ``[texts, kinds, SIGNALS]``; decisions that failed say nothing.

    >>> past = [Decision("review the API", "reviewer"), Decision("write the API", "coder")]
    >>> signals(past, ["Review the docs"], ["coder", "reviewer"], ranker.shipped().prior)[0, :, 0].round(2).tolist()
    [-0.69, -0.69]
    """
    index = {kind: i for i, kind in enumerate(kinds)}
    past = [decision for decision in past[-_MOST:] if decision.held and decision.kind in index]
    one_hot = np.zeros((len(past), len(kinds)))
    one_hot[np.arange(len(past)), [index[decision.kind] for decision in past]] = 1
    used = (one_hot.sum(axis=0) + _PULL / len(kinds)) / (len(past) + _PULL)
    firsts = np.array([_first(decision.text) for decision in past], dtype=object)
    age = _DECAY ** np.arange(len(past) - 1, -1, -1)
    hashed = np.stack([_hashed(text) for text in texts])
    likeness = hashed @ np.stack([_hashed(d.text) for d in past]).T if past else np.zeros((len(texts), 0))
    own = np.zeros((len(texts), len(kinds), len(_OWN)))
    context = np.zeros((len(texts), len(kinds), len(SIGNALS) - 2 * len(_OWN)))
    own[:, :, 0] = np.log(used)
    own[:, :, 5] = hashed @ np.stack([_hashed(kind) for kind in kinds]).T
    if past:
        own[:, index[past[-1].kind], 7] = 1
    own[:, :, 8] = one_hot.sum(axis=0) == 0
    own[:, :, 9] = [np.log(len(past) - rows[-1]) if len(rows := np.flatnonzero(c)) else _NEVER for c in one_hot.T]
    own[:, :, 10], own[:, :, 11] = [len(words(kind)) for kind in kinds], [":" in kind for kind in kinds]
    own[:, :, 12:] = others.signals(texts, kinds)
    context[:, :, 0], context[:, :, 2] = np.log(len(kinds)), np.log1p(len(past))
    names = [frozenset(words(kind)) for kind in kinds]
    for i, text in enumerate(texts):
        same = (firsts == _first(text)).astype(np.float64)
        table = (same @ one_hot + _PULL * used) / (same.sum() + _PULL)
        lately = ((same * age) @ one_hot + _PULL * table) / ((same * age).sum() + _PULL)
        own[i, :, 1], own[i, :, 2] = np.log(table), np.log(lately)
        said = words(text)
        own[i, :, 6] = [len(name.intersection(said)) / max(len(name), 1) for name in names]
        context[i, :, 1], context[i, :, 3] = np.log1p(len(said)), np.log1p(same.sum())
        for j in range(len(kinds)):
            near = np.sort(likeness[i, one_hot[:, j] > 0])[::-1][:3]
            if len(near):
                own[i, j, 3], own[i, j, 4] = near[0], near.mean()
    return np.concatenate([own, own - own.max(axis=1, keepdims=True), context], axis=2)


def knows(kinds: Iterable[str]) -> bool:
    """Whether other projects use two of these types of agents or more: then they say something where no log does."""
    return ranker.shipped().prior.knows(kinds)


def chances(found: Array, by_network: Array, trees: ranker.Trees) -> Array:
    """Probabilities ``[n, kinds]`` from :func:`signals` and the network's probabilities ``[n, kinds]``."""
    score = trees.score(found) + _NETWORK * np.log(np.maximum(by_network, 1e-9))
    mass = np.exp(score - score.max(axis=1, keepdims=True))
    result: Array = mass / mass.sum(axis=1, keepdims=True)
    return result


def mixed(
    probabilities: NDArray[np.float32], kinds: Sequence[str], past: Sequence[Decision], texts: Sequence[str]
) -> NDArray[np.float32]:
    """The network's probabilities ``[tasks, agents + commands]``, moved by the log, or where ``past`` is empty by what
    other projects did; ``kinds`` are the agents'.

    >>> network = np.array([[0.6, 0.2, 0.2]], np.float32)  # two agents and a command
    >>> past = [Decision("test the API", "tester"), Decision("test the docs", "tester")]
    >>> mixed(network, ["coder", "tester"], past, ["test the page"]).argmax(axis=1).tolist()
    [1]
    """
    columns = {kind: i for i, kind in enumerate(dict.fromkeys(kinds))}
    member = np.array([columns[kind] for kind in kinds])
    agents = np.maximum(probabilities[:, : len(kinds)].astype(np.float64), 1e-12)
    by_network = np.stack([agents[:, member == i].sum(axis=1) for i in range(len(columns))], axis=1)
    whole = by_network.sum(axis=1, keepdims=True)
    known = ranker.shipped()
    found = signals(past, texts, list(columns), known.prior)
    score = chances(found, by_network / whole, known.with_log if past else known.without)
    result: NDArray[np.float32] = probabilities.copy()
    result[:, : len(kinds)] = whole * score[:, member] * agents / by_network[:, member]
    return result


@lru_cache(maxsize=4096)  # 2 KB each; without it the past's tokens are most of an answer's time
def _token(describe: bool, text: str) -> NDArray[np.float32]:
    """The token of a past task, of which its words alone are known."""
    return Encoder(describe=describe).task({"description": text})


@lru_cache(maxsize=4096)
def _hashed(text: str) -> NDArray[np.float32]:
    return hash_text(text, _WIDTH)


@lru_cache(maxsize=4096)
def _first(text: str) -> str:
    return next(iter(words(text)), "")
