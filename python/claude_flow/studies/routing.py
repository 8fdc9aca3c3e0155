"""Routing tasks to coding agents (SWE-bench Pro): what does it cost to resolve as many as the best single agent does?

Tasks are split, never runs: ten folds by the hash of the task's name. A router sees the repository and, where the data
has it, the issue's text: what is known before any agent starts. The tests that judge a run are hidden from it. Two
questions:

* **priced agents**: those whose runs have a price in dollars, on the tasks that all of them tried. A router scores
  agents for a task and takes the best score less ``price weight * the agent's mean price``. The weight is chosen on the
  training tasks, from scores that each got without itself (three inner folds), for two aims: *saving*, the cheapest
  weight whose resolve rate there is at least the best single agent's; *quality*, the weight of the highest resolve rate
  that costs at most what the best single agent does. Cost and resolve rate on the test tasks are reported for both,
  since neither aim is sure to be met on unseen tasks.
* **all agents**, on the tasks that all of them tried: the resolve rate alone. Most agents have no published price, and
  turns do not stand in for one: their caps differ. A router leaves the best single agent for another one only where the
  scores differ by more than a margin: the one of the highest resolve rate on the training tasks, again from scores that
  each got without itself; of equal ones the largest.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from claude_flow import statistics
from claude_flow.data import sources
from claude_flow.data.events import Run, Task
from claude_flow.data.lines import Log
from claude_flow.data.sources import swebench_pro
from claude_flow.errors import InputError
from claude_flow.evaluate.result import OURS, Result, Score
from claude_flow.networks.text import hash_text
from claude_flow.report.progress import Progress

__all__ = ["DATA", "Attempts", "aims", "detect", "margin", "read", "run"]

DATA = "outcomes of coding agents on SWE-bench Pro: a folder with swebench_pro_agent_runs_data.csv"
BEST_SINGLE = "best single agent"
SAVING_COST, SAVING_RATE = "cost, aim: saving", "resolve rate, aim: saving"
QUALITY_COST, QUALITY_RATE = "cost, aim: quality", "resolve rate, aim: quality"
ALL_RATE = "resolve rate, all agents"
_FOLDS, _INNER = 10, 3
_QUICK_FOLDS = 2
_TEXT_WIDTH = 32
_NEIGHBOURS = 25
_PRIOR_TASKS = 10.0  # a repository's mean is drawn towards the overall one as by so many tasks

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
#: (features and outcomes of the training tasks, features of the test tasks, seed) -> scores [test, agents]
Router = Callable[[Array, Array, Array, int], Array]


@dataclass(frozen=True)
class Attempts:
    """Tasks that every one of ``agents`` tried: features ``[n, F]``, resolved 0 or 1 ``[n, A]``, dollars ``[n, A]``.

    A row of features: one column per repository, 1 in the task's own, then the issue's hashed text. ``price`` is NaN
    where it is unknown.
    """

    tasks: tuple[str, ...]
    agents: tuple[str, ...]
    features: Array
    resolved: Array
    price: Array

    @property
    def fold(self) -> Rows:
        return np.array([zlib.crc32(task.encode()) % _FOLDS for task in self.tasks], np.int64)


def detect(path: Path) -> bool:
    """Whether ``path`` is a folder that holds the agents' runs."""
    if not path.is_dir():
        return False
    return path.is_dir() and any(file.name.startswith("swebench_pro_agent_runs_data.csv") for file in path.iterdir())


def read(path: Path) -> tuple[Attempts, Attempts]:
    """The tasks of the priced agents, and those of all agents.

    :raises InputError: fewer than two agents share tasks with known outcomes.
    """
    log = Log()
    runs: dict[str, dict[str, Run]] = defaultdict(dict)
    known: dict[str, Task] = {}
    for record in swebench_pro.read(path, sources.detect(path).files(swebench_pro), log):
        if isinstance(record, Run) and record.task and record.agent and record.success is not None:
            runs[record.task].setdefault(record.agent, record)
        elif isinstance(record, Task):
            known[record.task] = record
    agents = sorted({agent for tried in runs.values() for agent in tried})
    priced = sorted({agent for tried in runs.values() for agent, run in tried.items() if run.cost is not None})
    return _attempts(path, runs, known, priced, True), _attempts(path, runs, known, agents, False)


def _attempts(
    path: Path, runs: dict[str, dict[str, Run]], known: dict[str, Task], agents: list[str], need_price: bool
) -> Attempts:
    tasks = [
        task
        for task in sorted(runs)
        if all(a in runs[task] and not (need_price and runs[task][a].cost is None) for a in agents)
    ]
    if len(agents) < 2 or len(tasks) < 2 * _FOLDS:
        kind = "priced agents" if need_price else "agents"
        raise InputError(f"{path}: {len(agents)} {kind} share {len(tasks)} tasks: routing needs two and {2 * _FOLDS}")
    names = {task: next(run.task_type for run in runs[task].values()) or "" for task in tasks}
    repositories = sorted(set(names.values()))
    rows = []
    for task in tasks:
        row = [float(names[task] == repository) for repository in repositories]
        info = known.get(task, Task(task=task))
        row += hash_text(info.description or "", _TEXT_WIDTH).tolist()
        rows.append(row)
    price = [[np.nan if (cost := runs[t][a].cost) is None else cost for a in agents] for t in tasks]
    return Attempts(
        tasks=tuple(tasks),
        agents=tuple(agents),
        features=np.array(rows, np.float64),
        resolved=np.array([[float(bool(runs[t][a].success)) for a in agents] for t in tasks]),
        price=np.array(price, np.float64),
    )


def aims(scores: Array, resolved: Array, price: Array) -> tuple[float, float]:
    """The price weights for *saving* and for *quality*, chosen on tasks whose outcomes are known.

    All arrays are ``[n, agents]``. Where no weight meets an aim, the one closest to meeting it is taken.
    """
    single = int(resolved.mean(axis=0).argmax())
    rate, budget = resolved[:, single].mean(), price[:, single].mean()
    weights, costs, rates = [], [], []
    for weight in _weights(scores, price.mean(axis=0)):
        rows, chosen = np.arange(len(scores)), _choose(scores, price.mean(axis=0), weight)
        weights.append(weight)
        costs.append(price[rows, chosen].mean())
        rates.append(resolved[rows, chosen].mean())
    cost, resolve = np.array(costs), np.array(rates)
    meets = resolve >= min(rate, resolve.max())
    saving = weights[int(np.where(meets, cost, np.inf).argmin())]
    affordable = cost <= max(budget, cost.min())
    quality = weights[int(np.where(affordable, resolve, -np.inf).argmax())]
    return saving, quality


def _weights(scores: Array, price: Array) -> list[float]:
    """Candidates from "always the dearest" to "always the cheapest": where tasks change hands, at 101 quantiles."""
    first, second = np.triu_indices(len(price), 1)
    gap = price[first] - price[second]
    different = gap != 0
    if not different.any():
        return [0.0]
    ties = ((scores[:, first] - scores[:, second])[:, different] / gap[different]).reshape(-1)
    inside = np.quantile(ties, np.linspace(0, 1, 101))
    return [float(ties.min() - 1), *map(float, inside), float(ties.max() + 1)]


def _choose(scores: Array, price: Array, weight: float) -> Rows:
    chosen: Rows = (scores - weight * price).argmax(axis=1)
    return chosen


def run(path: Path, *, seeds: Sequence[int], quick: bool, progress: Progress) -> Result:
    """Score every router on tasks that it has not seen; ``quick`` takes two folds and one seed.

    :raises InputError: there are too few tasks or agents.
    """
    priced, everyone = read(path)
    seeds = seeds[:1] if quick else seeds
    tested = range(_QUICK_FOLDS if quick else _FOLDS)
    scores: list[Score] = []
    for done, fold in enumerate(tested):
        for place, (name, (router, is_random)) in enumerate(ROUTERS.items()):
            progress((done + place / len(ROUTERS)) / len(tested), f"fold {fold}: {name}")
            for seed in seeds if is_random else [0]:
                scores += _priced(priced, fold, name, router, seed)
                scores += _unpriced(everyone, fold, name, router, seed)
    result = Result(
        protocol="routing",
        data=path.name,
        scores=scores,
        rows={
            "tasks of the priced agents": len(priced.tasks),
            "priced agents": len(priced.agents),
            "tasks of all agents": len(everyone.tasks),
            "agents": len(everyone.agents),
        },
        higher_is_better=frozenset({SAVING_RATE, QUALITY_RATE, ALL_RATE}),
    )
    result.notes += [
        f"cost is US dollars per task, published for {', '.join(priced.agents)} only; the others' is not estimated",
        f"a router that knew the outcomes: {priced.resolved.max(axis=1).mean():.3f} of the priced agents' tasks, "
        f"{everyone.resolved.max(axis=1).mean():.3f} of all agents'",
    ]
    plans = [(measure, _power(scores, measure)) for measure in (QUALITY_RATE, ALL_RATE)]
    result.notes += [f"{measure}: {plan}" for measure, plan in plans if plan]
    return result


def margin(scores: Array, resolved: Array) -> float:
    """By how much another agent's score must exceed the best single agent's, from tasks whose outcomes are known.

    Both arrays are ``[n, agents]``. The highest resolve rate decides, of equal ones the largest margin; the largest of
    all is never exceeded there.
    """
    single = int(resolved.mean(axis=0).argmax())
    candidates = np.quantile(scores.max(axis=1) - scores[:, single], np.linspace(0, 1, 101))
    rows = np.arange(len(scores))
    rates = [resolved[rows, _departing(scores, single, least)].sum() for least in candidates]
    return float(candidates[np.flatnonzero(rates == np.max(rates))[-1]])


def _departing(scores: Array, single: int, least: float) -> Rows:
    """The agents chosen [n]: the best score if it exceeds the best single agent's by more than ``least``, else that."""
    chosen: Rows = np.where(scores.max(axis=1) - scores[:, single] > least, scores.argmax(axis=1), single)
    return chosen


def _scored(data: Attempts, train: Rows, test: Rows, router: Router, seed: int) -> tuple[Array, Array]:
    """The router's scores of the training tasks, each got without itself by inner folds, and of the test tasks."""
    inner = np.empty((len(train), len(data.agents)))
    for part in range(_INNER):
        held = np.arange(len(train)) % _INNER == part
        known = train[~held]
        inner[held] = router(data.features[known], data.resolved[known], data.features[train[held]], seed)
    return inner, router(data.features[train], data.resolved[train], data.features[test], seed)


def _unpriced(data: Attempts, fold: int, name: str, router: Router, seed: int) -> list[Score]:
    train, test = np.flatnonzero(data.fold != fold), np.flatnonzero(data.fold == fold)
    inner, found = _scored(data, train, test, router, seed)
    single = int(data.resolved[train].mean(axis=0).argmax())
    chosen = _departing(found, single, margin(inner, data.resolved[train]))
    return _scores(name, ALL_RATE, data.resolved[test, chosen], data, test, seed)


def _priced(data: Attempts, fold: int, name: str, router: Router, seed: int) -> list[Score]:
    train, test = np.flatnonzero(data.fold != fold), np.flatnonzero(data.fold == fold)
    inner, found = _scored(data, train, test, router, seed)
    price = data.price[train].mean(axis=0)
    scores = []
    weights = aims(inner, data.resolved[train], data.price[train])
    for weight, cost, rate in zip(weights, (SAVING_COST, QUALITY_COST), (SAVING_RATE, QUALITY_RATE), strict=True):
        chosen = _choose(found, price, weight)
        if name == BEST_SINGLE:  # no weight turns it into another agent
            chosen = found.argmax(axis=1)
        scores += _scores(name, cost, data.price[test, chosen], data, test, seed)
        scores += _scores(name, rate, data.resolved[test, chosen], data, test, seed)
    return scores


def _scores(name: str, measure: str, values: Array, data: Attempts, test: Rows, seed: int) -> list[Score]:
    return [
        Score(name, measure, float(value), unit=data.tasks[row], seed=seed)
        for row, value in zip(test, values, strict=True)
    ]


def _power(scores: list[Score], measure: str) -> str | None:
    """What the paired comparison of ours with the best single agent could have shown, in words."""
    by_task: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        if score.measure == measure and score.contender in (OURS, BEST_SINGLE):
            by_task[score.unit][score.contender].append(score.value)
    differences = [np.mean(found[OURS]) - np.mean(found[BEST_SINGLE]) for found in by_task.values()]
    plan = statistics.power(differences)
    if not np.isfinite(plan.detectable):
        return None
    needed = "more than a million" if plan.needed is None else f"{plan.needed:,}"
    return (
        f"with {plan.units} tasks the smallest gain over the {BEST_SINGLE} that shows with 80 % power is "
        f"{100 * plan.detectable:.1f} points; ours is {100 * plan.effect:+.1f}, for which {needed} tasks are needed"
    )


# Routers ------------------------------------------------------------------------------------------------------------


def _ours(features: Array, resolved: Array, test: Array, seed: int) -> Array:
    from claude_flow.studies.selection.learner import fit

    return fit(features, 1 - resolved, seed=seed).scores(test).astype(np.float64)


def _best_single(features: Array, resolved: Array, test: Array, seed: int) -> Array:
    return np.tile(resolved.mean(axis=0), (len(test), 1))


def _repository(features: Array, resolved: Array, test: Array, seed: int) -> Array:
    """Each agent's mean in the task's repository, shrunken towards its mean over all tasks."""
    overall = resolved.mean(axis=0)
    found = np.tile(overall, (len(test), 1))
    one_hot = slice(_repositories(features))
    for row, task in enumerate(test):
        same = (features[:, one_hot] == task[one_hot]).all(axis=1)
        found[row] = (resolved[same].sum(axis=0) + _PRIOR_TASKS * overall) / (same.sum() + _PRIOR_TASKS)
    return found


def _repositories(features: Array) -> int:
    """How many columns, the first ones, tell the repository; the text follows."""
    return int(features.shape[1]) - _TEXT_WIDTH


def _neighbours(features: Array, resolved: Array, test: Array, seed: int) -> Array:
    """The agents' means over the 25 nearest training tasks by repository and text."""
    near = [np.argsort(((features - row) ** 2).sum(axis=1), kind="stable")[:_NEIGHBOURS] for row in test]
    return np.array([resolved[rows].mean(axis=0) for rows in near])


#: name -> (router, whether it has a random part)
ROUTERS: dict[str, tuple[Router, bool]] = {
    OURS: (_ours, True),
    BEST_SINGLE: (_best_single, False),
    "repository mean": (_repository, False),
    "k-NN": (_neighbours, False),
}
