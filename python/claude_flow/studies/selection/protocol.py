"""Algorithm selection on ASlib scenarios, in their official folds: mean nPAR10, 0 = oracle, 1 = best single algorithm.

Rules (Bischl et al., "ASlib: A Benchmark Library for Algorithm Selection", 2016, made exact):

* A run costs its time where it is solved (status ok, time below the cutoff), else 10 times the cutoff (PAR10). A run
  that is not in the scenario is not solved; repetitions of a run are averaged.
* Instances that no algorithm solves are dropped: in testing all selectors fail on them alike, in training they say
  nothing about which algorithm is better.
* A selector pays the instance's feature cost on top; a sum of cutoff or more is a timeout. The oracle and the best
  single algorithm, which is the one of least mean PAR10 on the training folds, look at no feature and do not pay.
* ``nPAR10 = (selector - oracle) / (best single - oracle)`` of a fold's mean PAR10s; the score is the unweighted mean of
  the folds. A fold in which the best single algorithm is the oracle has no nPAR10 and is left out, with a note.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from claude_flow.data import sources
from claude_flow.data.events import Fold, Run, Task
from claude_flow.data.lines import Log
from claude_flow.data.sources import aslib
from claude_flow.errors import InputError, require
from claude_flow.evaluate.result import OURS, OutOfTime, Result, Score
from claude_flow.report.progress import Progress

__all__ = ["DATA", "Scenario", "detect", "npar10", "read", "run"]

DATA = "an ASlib scenario: a folder with algorithm_runs.arff, feature_values.arff and cv.arff"
MEASURE = "nPAR10"
_QUICK_FOLDS = 2
_NEIGHBOURS = 10
_TREES = 100

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
#: (features and PAR10 of the training rows, features of the test rows, seed) -> the algorithm chosen for each test row
Contender = Callable[[Array, Array, Array, int], Rows]


@dataclass(frozen=True)
class Scenario:
    """A scenario as arrays: features ``[n, F]`` (NaN = missing), PAR10 ``[n, A]``, feature seconds ``[n]``, folds."""

    name: str
    algorithms: tuple[str, ...]
    cutoff: float
    features: Array
    par10: Array
    feature_cost: Array
    fold: Rows

    @property
    def solvable(self) -> NDArray[np.bool_]:
        """Which instances some algorithm solves."""
        found: NDArray[np.bool_] = self.par10.min(axis=1) < 10 * self.cutoff
        return found

    def paid(self, rows: Rows, chosen: Rows) -> Array:
        """PAR10 of a selector that chose ``chosen`` for ``rows``, the feature cost included."""
        alone = self.par10[rows, chosen]
        total = alone + self.feature_cost[rows]
        return np.where((alone < 10 * self.cutoff) & (total < self.cutoff), total, 10 * self.cutoff)


def detect(path: Path) -> bool:
    """Whether ``path`` is a scenario's folder."""
    names = {file.name.removesuffix(".gz") for file in path.iterdir()} if path.is_dir() else set()
    return {"algorithm_runs.arff", "feature_values.arff", "cv.arff"} <= names


def read(path: Path) -> Scenario:
    """Read a scenario; of a repeated cross-validation the first repetition.

    :raises InputError: a part or the cutoff is missing, or no instance has a fold and a run.
    """
    log = Log()
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    tasks: dict[str, Task] = {}
    folds: dict[int, dict[str, int]] = defaultdict(dict)
    cutoffs = set()
    for record in aslib.read(path, sources.detect(path).files(aslib), log):
        if isinstance(record, Run):
            if record.requested_s is None or record.task is None or record.agent is None:
                raise InputError(f"{path}: description.txt names no algorithm_cutoff_time, which PAR10 needs")
            cutoffs.add(record.requested_s)
            solved = record.success and record.duration_s is not None
            cost = float(record.duration_s or 0.0) if solved else 10 * record.requested_s
            times[record.task][record.agent].append(cost)
        elif isinstance(record, Task):
            tasks[record.task] = record
        elif isinstance(record, Fold):
            folds[record.repetition][record.task] = record.fold
    fold = folds[min(folds)] if folds else {}
    instances = sorted(set(fold) & set(times))
    if not instances or not tasks:
        raise InputError(f"{path}: no instance has runs, features and a fold: {DATA}")
    cutoff = cutoffs.pop()
    algorithms = tuple(sorted({algorithm for runs in times.values() for algorithm in runs}))
    names = list(next(iter(tasks.values())).features)
    blank = Task(task="")
    values = [[tasks.get(i, blank).features.get(name) for name in names] for i in instances]
    par10 = [[np.mean(times[i].get(algorithm, [10 * cutoff])) for algorithm in algorithms] for i in instances]
    return Scenario(
        name=next(iter(log.header), path.name),
        algorithms=algorithms,
        cutoff=cutoff,
        features=np.array(values, np.float64).reshape(len(instances), len(names)),
        par10=np.array(par10, np.float64),
        feature_cost=np.array([tasks.get(i, blank).feature_cost_s or 0.0 for i in instances]),
        fold=np.array([fold[i] for i in instances], np.int64),
    )


def npar10(selector: float, oracle: float, best_single: float) -> float:
    """Normalized PAR10 of three means over the same instances; NaN where the best single algorithm is the oracle.

    >>> npar10(30.0, 10.0, 50.0), npar10(10.0, 10.0, 50.0), npar10(50.0, 10.0, 50.0)
    (0.5, 0.0, 1.0)
    """
    return (selector - oracle) / (best_single - oracle) if best_single > oracle else float("nan")


def run(path: Path, *, seeds: Sequence[int], quick: bool, progress: Progress) -> Result:
    """Train and score every contender in every fold; ``quick`` takes two folds and one seed.

    :raises InputError: there is one algorithm only, one fold only, or no fold has anything to gain.
    """
    scenario = read(path)
    if len(scenario.algorithms) < 2:
        raise InputError(f"{path}: one algorithm only ({scenario.algorithms[0]}): there is nothing to select")
    folds = sorted(set(scenario.fold.tolist()))
    if len(folds) < 2:
        raise InputError(f"{path}: one fold only: training and testing need two or more")
    tested = folds[:_QUICK_FOLDS] if quick else folds
    seeds = seeds[:1] if quick else seeds
    result = Result(protocol="selection", data=scenario.name, scores=[], test_share=1 / len(folds))
    unfit = []
    for done, fold in enumerate(tested):
        train = np.flatnonzero((scenario.fold != fold) & scenario.solvable)
        test = np.flatnonzero((scenario.fold == fold) & scenario.solvable)
        # Unsolvable instances cost every algorithm the same: without them the best single one is the same.
        best = int(scenario.par10[train].mean(axis=0).argmin()) if len(train) else 0
        reference = (
            [scenario.par10[test].min(axis=1).mean(), scenario.par10[test, best].mean()] if len(test) else [0, 0]
        )
        if not len(train) or not reference[1] > reference[0]:
            unfit.append(fold)
            continue
        features, costs = scenario.features[train], scenario.par10[train]
        scores = []
        try:
            for place, (name, (contender, is_seeded)) in enumerate(CONTENDERS.items()):
                for seed in seeds if is_seeded else [0]:
                    progress((done + place / len(CONTENDERS)) / len(tested), f"fold {fold}: {name}")
                    chosen = contender(features, costs, scenario.features[test], seed)
                    value = npar10(float(scenario.paid(test, chosen).mean()), *map(float, reference))
                    scores.append(Score(name, MEASURE, value, unit=f"fold {fold}", seed=seed))
        except OutOfTime:
            if not result.scores:
                raise
            result.notes.append(f"the time budget ended after {done} of {len(tested)} folds")
            tested = tested[:done]
            break
        result.scores += scores
        result.scores.append(Score("best single algorithm", MEASURE, 1.0, unit=f"fold {fold}"))
    if not result.scores:
        raise InputError(f"{path}: in no fold an algorithm beats the best single one: nothing can be normalized")
    result.rows = {
        "instances": len(scenario.fold),
        "of them solved by no algorithm (dropped)": int((~scenario.solvable).sum()),
        "algorithms": len(scenario.algorithms),
        "features": scenario.features.shape[1],
        "folds": len(tested) - len(unfit),
    }
    if unfit:
        names = ", ".join(map(str, unfit))
        result.notes.append(f"left out, since the best single algorithm is the oracle there or no instance is: {names}")
    if len(seeds) > 1:
        result.notes.append("the per-algorithm random forests have one seed")
    if published := _published(path.parent / "published_npar10.csv", scenario.name):
        result.notes.append(published)
    return result


def _published(file: Path, scenario: str) -> str | None:
    """The best published selector of the scenario, where the folder of scenarios has such a table."""
    if not file.is_file():
        return None
    with file.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("ASlib Scenario") == scenario]
    if not rows:
        return None
    best = min(rows, key=lambda row: float(row["normalized"]))
    return f"best published selector: {best['Algorithm Selector']}, nPAR10 {float(best['normalized']):.3f}"


# Contenders ---------------------------------------------------------------------------------------------------------


def _ours(features: Array, costs: Array, test: Array, seed: int) -> Rows:
    from claude_flow.studies.selection.learner import fit

    return fit(features, costs, seed=seed).choose(test)


def _filled(features: Array, test: Array) -> tuple[Array, Array]:
    """Missing values by the training median (0 where a feature is missing everywhere), as float32 can hold them."""
    known = ~np.isnan(features).all(axis=0)
    median = np.zeros(features.shape[1])
    median[known] = np.nanmedian(features[:, known], axis=0)
    largest = np.finfo(np.float32).max
    filled = [np.where(np.isnan(x), median, x).clip(-largest, largest) for x in (features, test)]
    return filled[0], filled[1]


def _regress(features: Array, values: Array, test: Array, seed: int) -> Array:
    """A regression forest's forecast of ``values`` for the test rows."""
    RandomForestRegressor = require("sklearn.ensemble", "baselines").RandomForestRegressor
    known, asked = _filled(features, test)
    forecast: Array = (
        RandomForestRegressor(_TREES, max_features=1 / 3, random_state=seed).fit(known, values).predict(asked)
    )
    return forecast


def _forest(features: Array, costs: Array, test: Array, seed: int) -> Rows:
    """One forest of the regrets PAR10 - min of all algorithms together."""
    chosen: Rows = _regress(features, costs - costs.min(axis=1, keepdims=True), test, seed).argmin(axis=1)
    return chosen


def _forests(features: Array, costs: Array, test: Array, seed: int) -> Rows:
    """A forest of the PAR10 of each algorithm."""
    chosen: Rows = np.array([_regress(features, cost, test, seed) for cost in costs.T]).argmin(axis=0)
    return chosen


def _classes(features: Array, costs: Array, test: Array, seed: int) -> Rows:
    """A forest that classifies instances by their best algorithm."""
    RandomForestClassifier = require("sklearn.ensemble", "baselines").RandomForestClassifier
    known, asked = _filled(features, test)
    forest = RandomForestClassifier(_TREES, max_features=1 / 3, random_state=seed)
    chosen: Rows = forest.fit(known, costs.argmin(axis=1)).predict(asked)
    return chosen


def _neighbours(features: Array, costs: Array, test: Array, seed: int) -> Rows:
    """The algorithm of least mean PAR10 over the ten nearest training instances, features scaled to variance 1."""
    known, asked = _filled(features, test)
    center, scale = known.mean(axis=0), known.std(axis=0)
    used = scale > 0
    a, b = ((x[:, used] - center[used]) / scale[used] for x in (known, asked))
    distance = np.array([((a - row) ** 2).sum(axis=1) for row in b])
    near = np.argsort(distance, axis=1, kind="stable")[:, :_NEIGHBOURS]
    chosen: Rows = costs[near].mean(axis=1).argmin(axis=1)
    return chosen


def _random(features: Array, costs: Array, test: Array, seed: int) -> Rows:
    return np.random.default_rng(seed).integers(costs.shape[1], size=len(test))


#: name -> (contender, whether it runs with every seed); the best single algorithm is 1 by definition
CONTENDERS: dict[str, tuple[Contender, bool]] = {
    OURS: (_ours, True),
    "multi-output random forest": (_forest, True),
    "multiclass random forest": (_classes, True),
    "per-algorithm random forests": (_forests, False),  # a seed takes as long as five of ours
    "k-NN": (_neighbours, False),
    "random": (_random, True),
}
