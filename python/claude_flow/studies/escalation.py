"""Cheap first, and a dearer agent where a verifier rejects (SWE-bench Verified): what does a resolved task cost?

Rules: tasks are split, never runs: ten folds by the hash of the task's name. Everything is chosen on the training
tasks: the price-aware constant (the cheapest agent within one point of the best), the two agents of the escalation,
its threshold, and its verifier, which sees of a run that has ended its calls and its cost, and how often the
repository's tasks are resolved. How often the verifier errs is estimated on training tasks that it was not fitted on.
The cost of an escalated task is both runs'. Prices are the data's, or the user's table: agent, USD per run.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from claude_flow.data.lines import Log, head
from claude_flow.errors import InputError
from claude_flow.evaluate import escalate
from claude_flow.evaluate.escalate import Attempts, Verifier
from claude_flow.evaluate.result import OURS, Result, Score
from claude_flow.report.progress import Progress

__all__ = ["DATA", "detect", "read", "run"]

DATA = "runs of agents as CSV: task, repository, agent, resolved, api_calls, cost_usd"
RATE, COST = "resolve rate", "cost"
_COLUMNS = ("task", "repository", "agent", "resolved", "api_calls", "cost_usd")
_FOLDS = 10
CONSTANT, BEST, CHEAPEST = "price-aware constant", "best single agent", "cheapest agent"


def detect(path: Path) -> bool:
    """Whether ``path`` is a CSV file with these columns, or a folder with one in it."""
    return _file(path) is not None


def _file(path: Path) -> Path | None:
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file() and file.name.endswith((".csv", ".csv.gz")):
            lines = head(file).lines
            if lines and set(_COLUMNS) <= set(lines[0].strip().split(",")):
                return file
    return None


def read(path: Path, prices: Mapping[str, float]) -> tuple[tuple[str, ...], Attempts, list[str]]:
    """The tasks that every agent tried, the runs, at the data's prices or the user's per run, and notes.

    An agent of no known price is left out, and of a run told twice the first counts; the notes say so.

    :raises InputError: a value is no number, or fewer than two agents share twenty tasks.
    """
    path = _file(path) or path
    cells: dict[tuple[str, str], tuple[float, float, float]] = {}
    places: dict[str, str] = {}
    contradicted = 0
    for number, row in enumerate(csv.DictReader(line for _, line in Log().lines(path)), 2):
        try:
            value = float(row["resolved"]), float(row["cost_usd"] or "nan"), float(row["api_calls"] or "nan")
        except (TypeError, ValueError):
            raise InputError(f"{path}:{number}: resolved, cost_usd and api_calls are numbers") from None
        known = cells.setdefault((row["task"], row["agent"]), value)
        contradicted += known[0] != value[0]
        places[row["task"]] = row["repository"]
    agents = tuple(sorted({agent for _, agent in cells}))
    tasks = tuple(task for task in sorted(places) if all((task, agent) in cells for agent in agents))
    if len(agents) < 2 or len(tasks) < 2 * _FOLDS:
        raise InputError(f"{path}: {len(agents)} agents share {len(tasks)} tasks: two and {2 * _FOLDS} are needed")
    found = np.array([[cells[task, agent] for agent in agents] for task in tasks])
    repositories = sorted(set(places.values()))
    place = np.array([repositories.index(places[task]) for task in tasks])
    for agent, price in prices.items():
        if agent not in agents:
            raise InputError(f"--prices: there are no runs of {agent!r}: there are {', '.join(agents)}")
        found[:, agents.index(agent), 1] = price
    unpriced = [agent for agent, cost in zip(agents, found[:, :, 1].T, strict=True) if np.isnan(cost).all()]
    kept = [i for i, agent in enumerate(agents) if agent not in unpriced]
    if len(kept) < 2:
        raise InputError(f"{path}: fewer than two agents have a price: give them with --prices")
    runs = found[:, kept]
    cost = np.where(np.isnan(runs[:, :, 1]), np.nanmean(runs[:, :, 1], axis=0), runs[:, :, 1])
    notes = []
    if unpriced:
        notes.append(f"left out, for want of a price (--prices gives one): {', '.join(unpriced)}")
    if guessed := int(np.isnan(runs[:, :, 1]).sum()):
        notes.append(f"{guessed} runs without a price count at the mean of their agent's others")
    if contradicted:
        notes.append(f"{contradicted} runs stand there again with the other outcome: the first counts")
    return tasks, Attempts(tuple(agents[i] for i in kept), place, runs[:, :, 0], cost, runs[:, :, 2]), notes


def run(
    path: Path,
    *,
    seeds: Sequence[int],
    quick: bool,
    progress: Progress,
    prices: Mapping[str, float] | None = None,
) -> Result:
    """Score the policies on tasks that nothing was chosen on; ``quick`` takes two folds. ``prices``: USD
    per run by agent, in place of the data's.

    :raises InputError: there are too few tasks or agents, or a price is of nobody.
    """
    progress(0.0, f"read {path.name}")
    tasks, runs, notes = read(path, prices or {})
    fold = np.array([zlib.crc32(task.encode()) % _FOLDS for task in tasks])
    result = Result("escalation", path.name, [], {"tasks": len(tasks), "agents": len(runs.agents)}, frozenset({RATE}))
    estimated, seen, escalated = [], [], 0
    for number in range(2 if quick else _FOLDS):
        progress(number / _FOLDS, f"fold {number}")
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        known, asked = runs.take(train), runs.take(test)
        plan, single = escalate.plan(known), escalate.constant(known)
        accepted = Verifier(known).chances(asked)[:, plan.first] >= plan.threshold
        if plan.first != plan.second:
            escalated += 1
            estimated.append([plan.accepts_wrong, plan.rejects_right])
            right = asked.resolved[:, plan.first] > 0.5
            seen.append([(accepted & ~right).sum(), (~right).sum(), (~accepted & right).sum(), right.sum()])
        policies = {
            OURS: escalate.outcome(asked, plan.first, plan.second, accepted),
            CONSTANT: (asked.resolved[:, single], asked.cost[:, single]),
        }
        for name, agent in (
            (BEST, int(known.resolved.mean(axis=0).argmax())),
            (CHEAPEST, int(known.cost.mean(axis=0).argmin())),
        ):
            policies[name] = asked.resolved[:, agent], asked.cost[:, agent]
        for name, (resolved, cost) in policies.items():
            for row, task in enumerate(test):
                result.scores.append(Score(name, RATE, float(resolved[row]), tasks[task]))
                result.scores.append(Score(name, COST, float(cost[row]), tasks[task]))
    result.notes += notes
    result.notes.append(f"{escalated} folds escalate; in the others one shot was the cheapest policy of that rate")
    if seen:
        wrong, right = np.nanmean(estimated, axis=0)
        counts = np.sum(seen, axis=0)
        result.notes.append(
            f"the verifier accepts {wrong:.0%} of wrong and rejects {right:.0%} of right runs by its estimate, "
            f"{counts[0] / max(counts[1], 1):.0%} and {counts[2] / max(counts[3], 1):.0%} on the test tasks"
        )
    perfect = runs.resolved.max(axis=1).mean()
    result.notes.append(f"a router that knew the outcomes would resolve {perfect:.1%}")
    return result
