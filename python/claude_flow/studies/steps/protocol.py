"""Forecasting coding agents' runs on SWE-bench Pro from their first steps: will it fail, how many steps are left.

Rules:

* A run is its sequence of steps; it failed when it did not resolve its task. Runs of unknown outcome, and of fewer than
  two steps, are left out.
* Each run is seen twice: after 25 % and after 50 % of its steps, rounded down, at least one. Training runs are cut at
  the same two points. **No contender is told which of the two it sees**, nor the length: knowing the share, the
  length would follow from the steps seen. So the remaining steps are about three times those seen, or as many, and
  what is judged is whether a contender can tell how far a run has come.
* All runs of a task are in one of five folds, by a hash of the task's name; a contender learns from the other four.
* Measures, per fold: ROC AUC of failure; mean absolute error of log1p of the remaining steps.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import statistics
from claude_flow.data import sources
from claude_flow.data.events import Run, Step
from claude_flow.data.lines import Log
from claude_flow.data.sources import swebench_pro
from claude_flow.errors import InputError, require
from claude_flow.evaluate.result import OURS, Result, Score
from claude_flow.report.progress import Progress
from claude_flow.studies.steps.encoder import Begun, StepEncoder

__all__ = ["DATA", "Runs", "cut", "detect", "read", "run"]

DATA = "steps of coding agents on SWE-bench Pro: a folder with swebench_pro_trajectory_sequences.json and outcomes"

SHARES = (0.25, 0.5)
_FOLDS = 5
_PARTS = ("trajectory_sequences.json", "agent_runs_data.csv")
_PRIOR_RUNS = 5.0  # a repository's mean is drawn towards the overall one as by so many runs
_MIDDLE = 3  # the median among the seven quantiles

Array = NDArray[Any]


@dataclass(frozen=True)
class Runs:
    """Runs with their steps, in full: ``begun`` has all of them."""

    begun: list[Begun]
    tasks: list[str]
    failed: Array  # [n], 0 or 1


@dataclass(frozen=True)
class Cut:
    """Runs cut short: each run at each share, run by run; ``run`` ``[n]`` is the place of its run."""

    begun: list[Begun]
    tasks: list[str]
    failed: Array
    remaining: Array
    share: Array
    run: Array

    def at(self, rows: Array) -> Cut:
        """Some rows."""
        return Cut(
            [self.begun[i] for i in rows],
            [self.tasks[i] for i in rows],
            self.failed[rows],
            self.remaining[rows],
            self.share[rows],
            self.run[rows],
        )


#: (training rows, seed) -> a function from test rows to P(failure) [n] and log1p of the remaining steps [n]
Contender = Callable[[Cut, int], Callable[["list[Begun]"], "tuple[Array, Array]"]]


def detect(path: Path) -> bool:
    """Whether ``path`` is a folder with the agents' steps and their outcomes."""
    if not path.is_dir():
        return False
    names = [file.name for file in path.iterdir()] if path.is_dir() else []
    return all(any(name.startswith(f"swebench_pro_{part}") for name in names) for part in _PARTS)


def read(path: Path) -> Runs:
    """The runs whose steps and outcome are known.

    :raises InputError: they are of fewer tasks than there are folds.
    """
    outcomes: dict[str, Run] = {}
    steps: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
    for record in swebench_pro.read(path, sources.detect(path).files(swebench_pro), Log()):
        if isinstance(record, Run) and record.success is not None and record.task:
            outcomes[record.run_id] = record
        elif isinstance(record, Step):
            steps[record.run_id].append((record.action, record.detail))
    begun, names, failed = [], [], []
    for run_id, one in outcomes.items():
        if len(steps.get(run_id, ())) < 2:
            continue
        task = str(one.task)
        begun.append(Begun(steps[run_id], one.agent or "", one.task_type or ""))
        names.append(task)
        failed.append(float(not one.success))
    if len({_fold(name) for name in names}) < _FOLDS:
        raise InputError(f"{path}: {len(set(names))} tasks with steps and outcomes do not fill {_FOLDS} folds")
    return Runs(begun, names, np.array(failed))


def cut(runs: Runs) -> Cut:
    """Every run after each of :data:`SHARES` of its steps."""
    begun, remaining = [], []
    for one in runs.begun:
        for share in SHARES:
            seen = max(1, int(share * len(one.steps)))
            begun.append(Begun(one.steps[:seen], one.agent, one.repository))
            remaining.append(len(one.steps) - seen)
    twice = len(SHARES)
    return Cut(
        begun,
        [task for task in runs.tasks for _ in SHARES],
        np.repeat(runs.failed, twice),
        np.array(remaining),
        np.tile(SHARES, len(runs.begun)),
        np.repeat(np.arange(len(runs.begun)), twice),
    )


def _fold(task: str) -> int:
    return zlib.crc32(task.encode()) % _FOLDS


def run(path: Path, *, seeds: Sequence[int], quick: bool, progress: Progress) -> Result:
    """Forecast each fold's runs by what the other folds taught.

    Contenders: ours (``learner.py``), the number of steps seen, the repository's mean, LightGBM on how often each
    action occurred, and LightGBM on that and on what is known of the task and the agent. ``quick``: the first seed, a
    small training.

    :raises InputError: the data cannot be used. :raises MissingExtra: LightGBM, scipy or torch is absent.
    """
    rows = cut(read(path))
    seeds = seeds[:1] if quick else seeds
    from claude_flow.studies.steps.learner import Recipe

    recipe = Recipe(members=1, width=16, hidden=16, epochs=4) if quick else Recipe()
    contenders: dict[str, Contender] = {
        OURS: lambda train, seed: _ours(train, seed, recipe),
        "steps seen": _steps_seen,
        "repository mean": _repository_mean,
        "LightGBM on action counts": lambda train, seed: _lightgbm(train, seed, context=False),
        "LightGBM on action counts and task": lambda train, seed: _lightgbm(train, seed, context=True),
    }
    fold = np.array([_fold(task) for task in rows.tasks])
    units = [(seed, part, name) for seed in seeds for part in range(_FOLDS) for name in contenders]
    failure = {name: np.zeros((len(seeds), len(fold))) for name in contenders}
    left = {name: np.zeros((len(seeds), len(fold))) for name in contenders}
    scores: list[Score] = []
    for done, (seed, part, name) in enumerate(units):
        progress(done / len(units), f"fold {part + 1}, seed {seed}: {name}")
        test = np.flatnonzero(fold == part)
        forecast = contenders[name](rows.at(np.flatnonzero(fold != part)), seed)
        found = forecast(rows.at(test).begun)
        place = list(seeds).index(seed)
        failure[name][place, test], left[name][place, test] = found
        for share in SHARES:
            own = test[rows.share[test] == share]
            area = statistics.auc(rows.failed[own], failure[name][place, own])
            if np.isfinite(area):
                scores.append(Score(name, _measures(share)[0], area, f"fold {part + 1}", seed))
            error = float(np.abs(left[name][place, own] - np.log1p(rows.remaining[own])).mean())
            scores.append(Score(name, _measures(share)[1], error, f"fold {part + 1}", seed))
    progress(1.0, "done")
    notes = [
        "contenders are not told whether they see 25 % or 50 % of a run: knowing it, the length would follow",
        "our training was settled on these tasks: sizes on the first two folds, what came later within the other four",
        *_task_bootstrap(rows, failure, left, 200 if quick else 1000),
    ]
    return Result(
        protocol="steps",
        data=path.name,
        scores=scores,
        rows={"runs": len(rows.begun) // len(SHARES), "tasks": len(set(rows.tasks))},
        higher_is_better=frozenset(_measures(share)[0] for share in SHARES),
        notes=notes,
        test_share=1 / _FOLDS,
    )


def _measures(share: float) -> tuple[str, str]:
    return f"failure AUC after {share:.0%}", f"MAE of log remaining steps after {share:.0%}"


def _task_bootstrap(rows: Cut, failure: dict[str, Array], left: dict[str, Array], draws: int) -> list[str]:
    """Ours less each other contender on all runs, seeds averaged, with 95 % intervals that resample tasks."""
    notes = []
    for share in SHARES:
        own = np.flatnonzero(rows.share == share)
        tasks = np.array(rows.tasks)[own]
        truth = np.log1p(rows.remaining[own])
        error = {name: np.abs(found[:, own] - truth).mean(0) for name, found in left.items()}
        chance = {name: found[:, own].mean(0) for name, found in failure.items()}
        for name in failure:
            if name == OURS:
                continue

            def ahead(drawn: Array, name: str = name, chance: dict[str, Array] = chance, own: Array = own) -> float:
                places = drawn.astype(int)
                failed = rows.failed[own][places]
                return statistics.auc(failed, chance[OURS][places]) - statistics.auc(failed, chance[name][places])

            if len(np.unique(rows.failed[own])) < 2:
                continue  # no AUC to compare
            area = statistics.bootstrap(np.arange(len(own)), tasks, statistic=ahead, draws=draws)
            gap = statistics.bootstrap(error[OURS] - error[name], tasks)
            notes.append(
                f"after {share:.0%}, ours less {name}, tasks resampled: failure AUC {area.mean:+.3f} "
                f"[{area.low:+.3f}, {area.high:+.3f}], error {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
            )
    return notes


def _ours(train: Cut, seed: int, recipe: Any) -> Callable[[list[Begun]], tuple[Array, Array]]:
    from claude_flow.studies.steps.learner import fit

    trained = fit(train.begun, train.failed, train.remaining, train.tasks, seed, recipe)

    def forecast(begun: list[Begun]) -> tuple[Array, Array]:
        failure, quantiles = trained.forecast(begun)
        return failure, quantiles[:, _MIDDLE]

    return forecast


def _steps_seen(train: Cut, seed: int) -> Callable[[list[Begun]], tuple[Array, Array]]:
    """The more steps, the likelier a failure; log1p of the remaining steps is a line over that of the seen ones."""
    seen = np.log1p([len(one.steps) for one in train.begun])
    line = (
        np.polyfit(seen, np.log1p(train.remaining), 1) if np.ptp(seen) > 0 else [0.0, np.log1p(train.remaining).mean()]
    )

    def forecast(begun: list[Begun]) -> tuple[Array, Array]:
        steps = np.log1p([len(one.steps) for one in begun])
        return steps, np.polyval(line, steps)

    return forecast


def _repository_mean(train: Cut, seed: int) -> Callable[[list[Begun]], tuple[Array, Array]]:
    """The repository's failure rate, shrunk, and the median of its log remaining steps; the overall ones for others."""
    names = np.array([one.repository for one in train.begun])
    wanted, overall = np.log1p(train.remaining), float(train.failed.mean())
    rate, middle = {}, {}
    for name in set(names.tolist()):
        own = names == name
        rate[name] = (train.failed[own].sum() + _PRIOR_RUNS * overall) / (own.sum() + _PRIOR_RUNS)
        middle[name] = float(np.median(wanted[own]))
    typical = float(np.median(wanted))

    def forecast(begun: list[Begun]) -> tuple[Array, Array]:
        return (
            np.array([rate.get(one.repository, overall) for one in begun]),
            np.array([middle.get(one.repository, typical) for one in begun]),
        )

    return forecast


def _lightgbm(train: Cut, seed: int, context: bool) -> Callable[[list[Begun]], tuple[Array, Array]]:
    """Boosted trees on how often each action and detail occurred; ``context`` adds agent, repository."""
    lightgbm = require("lightgbm", "baselines")
    encoder = StepEncoder.fit(train.begun)

    def inputs(begun: list[Begun]) -> Array:
        rows = np.array([encoder.counts(one) for one in begun])
        if not context:
            return rows
        known = [
            [encoder.place.get(f"agent:{one.agent}", -1), encoder.place.get(f"repository:{one.repository}", -1)]
            for one in begun
        ]
        return np.concatenate([rows, known], axis=1)

    settings: dict[str, Any] = {
        "n_estimators": 200,
        "learning_rate": 0.03,
        "num_leaves": 15,
        "colsample_bytree": 0.5,
        "subsample": 0.7,
        "subsample_freq": 1,
        "random_state": seed,
        "n_jobs": 1,
        "verbose": -1,
    }
    x = inputs(train.begun)
    length = lightgbm.LGBMRegressor(objective="l1", **settings).fit(x, np.log1p(train.remaining))
    several = len(np.unique(train.failed)) > 1
    failure = lightgbm.LGBMClassifier(**settings).fit(x, train.failed) if several else None

    def forecast(begun: list[Begun]) -> tuple[Array, Array]:
        rows = inputs(begun)
        chance = np.full(len(rows), train.failed[0])
        if failure is not None:
            chance = np.asarray(failure.predict_proba(rows))[:, 1]
        return chance, np.asarray(length.predict(rows))

    return forecast
