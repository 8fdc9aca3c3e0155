"""Run times and failures of a shared machine's jobs, forecast as they are submitted: one log, walk-forward in time.

Rules:

* Jobs in order of submission; those with a run time above 0. The latest 20 % are the test, the 10 % before them the
  validation part. A job that ends only after the next part begins is in no part.
* A forecast knows the job's own request and the outcomes of jobs that had ended when it was submitted; nothing of
  those that were waiting or running.
* Scored is log1p of the seconds: pinball loss over the quantiles 2.5, 10, 50, 90, 97.5 %, and central intervals of
  80 and 95 %. An interval's width alone says little when it covers less than it promises, so there is also the mean
  width after all intervals of a contender grow (or shrink) by the one constant with which they cover exactly their
  share of the test. Failure: ROC AUC and Brier score of "did not complete".

Every contender may also learn from the other logs of the folder, of their training parts alone: what makes a forecast
good is much the same on every machine, while each log keeps its own clock and its own history. A log of the same time
might be the same machine written down otherwise; it is left out.

Our network is trained by the project's own loop with the built-in configuration ``prediction-v2``, whatever the log,
and forecasts as an exported model in the engine. Its quantiles are scored as they are; its intervals follow drift by
adaptive conformal inference. Every LightGBM sees the same numbers as the network's open record does, and is scored in
three forms: refitted on all jobs before the test, with plain conformal calibration, and in the form that ours has. No
forecast of anybody goes beyond what the training part shows to be the longest run that a request allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import registry, statistics
from claude_flow.data.collect import collect
from claude_flow.data.events import Run
from claude_flow.data.lines import Head, Log, head
from claude_flow.data.sources import swf
from claude_flow.errors import InputError, require
from claude_flow.evaluate.result import OURS, Curve, Result, Score
from claude_flow.files import temporary_folder
from claude_flow.model import load
from claude_flow.networks.prediction import conformal
from claude_flow.networks.prediction.features import QUANTILES
from claude_flow.networks.prediction.history import KEYS, NUMBERS
from claude_flow.networks.prediction.prepare import preprocess
from claude_flow.report.progress import Progress
from claude_flow.train import config

__all__ = ["DATA", "Forecast", "detect", "run"]

DATA = "a log in the Standard Workload Format: a file *.swf or *.swf.gz"
LEVELS = {0.8: (1, 3), 0.95: (0, 4)}  # central interval: its bounds among the judged quantiles
JUDGED = (0.025, 0.1, 0.5, 0.9, 0.975)
VALIDATION = 0.1
TENTHS = 10  # equal stretches of the test, in time: what the paired tests pair
_OURS_HELD_BACK = 0.05  # of the log, before the test: half chooses the epoch, half calibrates
# Of adaptive conformal inference. Logs have thousands of outcomes, and on their validation parts intervals that cover
# 80 % and 95 % are with 0.02 wider than with 0.005 by 2.4 and 1.6 % (KTH-SP2), 2.2 and -1.3 % (LLNL-Atlas).
_RATE = 0.005
_ROUNDS, _PATIENCE = 400, 20
_COMPANY = 100_000  # jobs of other logs to learn from, at most: the smallest logs come first
_ASKED = ("requested", "processors")  # LightGBM sees these as they are, too
_BOOSTING = {
    "learning_rate": 0.05,
    "num_leaves": 31,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "num_threads": 1,
    "verbose": -1,
    "deterministic": True,
}

Array = NDArray[Any]


@dataclass(frozen=True)
class Forecast:
    """Quantiles of log1p seconds ``[n, 5]`` and chances of failure ``[n]`` for the test jobs, NaN = none.

    ``intervals`` ``[n, 5]`` are the quantiles that bound the intervals, where these are others.
    """

    quantiles: Array
    failure: Array
    intervals: Array | None = None


_Forms = list[tuple[str, Forecast]]


def detect(path: Path) -> bool:
    """Whether ``path`` is a log's file."""
    return path.is_file() and swf.claims(head(path))


@dataclass(frozen=True)
class _Log:
    """The log that is judged, within the tensors of it and of the logs beside it."""

    data: Any  # Data
    source: int

    def rows(self, part: str) -> Array:
        """Its own rows of a part of the data."""
        rows: Array = self.data.rows(part)
        own: Array = rows[self.data.tasks.keys[rows, KEYS.index("source")] == self.source]
        return own


def run(path: Path, *, seeds: Sequence[int], quick: bool, progress: Progress) -> Result:
    """Train and score every contender; ``quick`` takes one seed, one member, two epochs and thirty rounds.

    :raises InputError: the log cannot be read or has too few jobs.
    """
    seeds = seeds[:1] if quick else seeds
    settings = _settings(quick)
    with temporary_folder() as folder:
        tensors = folder / "tensors"
        progress(0.0, f"read {path.name}")
        others = _company(path)
        collect([path, *others], folder / "tables", quality_filter="none")
        preprocess(folder / "tables", tensors, {"history": settings.sequence_length - 1})
        log = _open(tensors, path, VALIDATION, 0, settings)
        test = log.rows("test")
        if len(test) < 2 * TENTHS:
            raise InputError(f"{path}: {len(test)} jobs in the test part (the latest 20 %); {2 * TENTHS} are needed")
        result = Result(
            protocol="jobs",
            data=_name(path),
            scores=[],
            rows={part: len(log.rows(part)) for part in ("train", "validation", "calibration", "test")},
            higher_is_better=frozenset({"failure AUC"}),
        )
        if others:
            result.rows["train, other logs"] = len(log.data.rows("train")) - len(log.rows("train"))
        for i, seed in enumerate(seeds):
            progress(0.05 + 0.65 * i / len(seeds), f"{OURS}, seed {seed}")
            ours = _network(tensors, path, settings, seed, folder / f"run-{seed}")
            _score(result, log, OURS, ours, seed)
            if not i:
                _plot(result, log, OURS, ours)
        progress(0.7, "LightGBM")
        for name, forecast in _boosted(log, 30 if quick else _ROUNDS, progress):
            _score(result, log, name, forecast, 0)
            if name == "LightGBM":
                _plot(result, log, name, forecast)
        for name, quantiles in log.data.rule_forecasts().items():
            _score(result, log, name, Forecast(quantiles[test][:, _judged()], log.data.failure_rate()[test]), 0)
    result.notes += [
        f"{OURS} trains on the first 75 % of the log, LightGBM on the first 80 % with the rounds that were best on "
        "the last 10 % of these; LightGBM + CQR and + adaptive CQR on the first 70 %, calibrated on the last 5 %",
        '"from the anchor" is fitted to the distance from the shrunken log-mean, as the network is',
        f"{OURS}, + adaptive CQR: the quantiles are scored as they are, the intervals adapt",
        f"{OURS} and LightGBM, all logs, learn from the training parts of these logs too: "
        + (", ".join(map(_name, others)) or "none"),
        "LightGBM and the rules have one seed",
    ]
    progress(1.0, "done")
    return result


def _name(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".swf")


def _company(path: Path) -> list[Path]:
    """The other logs of the folder to learn from: of another time, and of a known one."""

    def submitted(log: Path) -> list[datetime]:
        runs = (run for run in swf.read(log, [log], Log()) if isinstance(run, Run))
        # A source of its own has users; times without a date count from 1970.
        return [run.submitted for run in runs if run.submitted and run.submitted.year > 1980 and run.user]

    own = submitted(path)
    known = [
        (log, submitted(log))
        for log in sorted(path.parent.iterdir())
        if swf.claims(Head(log)) and not log.samefile(path)
    ]
    found: list[Path] = []
    jobs = 0
    for log, times in sorted(known, key=lambda pair: len(pair[1])):
        apart = own and times and (max(times) < min(own) or min(times) > max(own))
        if apart and jobs + len(times) <= _COMPANY:
            found.append(log)
            jobs += len(times)
    return found


def _open(tensors: Path, path: Path, held_back: float, seed: int, settings: Any) -> _Log:
    from claude_flow.networks.prediction.learn import Data

    data = Data.load(tensors, held_back, seed, asdict(settings))
    names = {name: int(code) for code, name in data.manifest["source-names"].items()}
    return _Log(data, names.get(f"{swf.KIND}/{_name(path)}", names.get(swf.KIND, 0)))


def _settings(quick: bool) -> Any:
    settings = config.read(registry.config_path("prediction-v2"), "prediction")
    if quick:
        return replace(settings, epochs=2, network={**settings.network, "members": 1})
    return settings


def _judged() -> list[int]:
    return [QUANTILES.index(level) for level in JUDGED]


def _network(tensors: Path, path: Path, settings: Any, seed: int, folder: Path) -> Forecast:
    """Train, export, and forecast with the engine."""
    from claude_flow.train import loop

    loop.fit("prediction", settings, tensors, folder, validation_split=_OURS_HELD_BACK, seed=seed, device="cpu")
    log = _open(tensors, path, _OURS_HELD_BACK, seed, settings)
    model = load(folder / "model.safetensors", backend="native", threads=1)

    def forecast(part: str) -> tuple[Array, Array]:
        rows = log.rows(part)
        batches = log.data.inputs(rows)
        found = [model.run(x.numpy(), lengths.numpy().astype(np.int32)) for x, lengths in batches]
        quantiles, chances = log.data.encoder.decode(np.concatenate(found), log.data.anchors[rows])
        return quantiles[:, 0, _judged()], chances[:, 0]

    held_back, _ = forecast("calibration")
    quantiles, failure = forecast("test")
    return Forecast(quantiles, failure, _adapted(log, held_back, quantiles))


def _adapted(log: _Log, held_back: Array, quantiles: Array) -> Array:
    """Quantiles of the test jobs whose intervals follow the misses of the jobs that had ended."""
    calibration, test, targets, tasks = log.rows("calibration"), log.rows("test"), log.data.targets, log.data.tasks
    moved: Array = quantiles.copy()
    for level, (low, high) in LEVELS.items():
        before = conformal.misses(held_back[:, low], held_back[:, high], targets[calibration, 0])
        after = conformal.misses(quantiles[:, low], quantiles[:, high], targets[test, 0])
        grow = conformal.adaptive(before, after, level, decided=tasks.decision[test], ended=tasks.end[test], rate=_RATE)
        moved[:, low] -= np.nan_to_num(grow)
        moved[:, high] += np.nan_to_num(grow)
    return moved


def _calibrated(log: _Log, held_back: Array, quantiles: Array) -> Array:
    """Quantiles after split conformal calibration, once."""
    moved: Array = quantiles.copy()
    truth = log.data.targets[log.rows("calibration"), 0]
    for level, (low, high) in LEVELS.items():
        grow = conformal.shift(conformal.misses(held_back[:, low], held_back[:, high], truth), level)
        moved[:, low] -= np.nan_to_num(grow)
        moved[:, high] += np.nan_to_num(grow)
    return moved


def _possible(log: _Log, quantiles: Array) -> Array:
    """Quantiles of the test jobs of which none is below 0, above the next, or longer than the request allows."""
    limits = log.data.encoder.limits(log.data.tasks.take(log.rows("test")))[:, :1]
    possible: Array = np.minimum(np.maximum(np.sort(quantiles, axis=1), 0), limits)
    return possible


def _boosted(log: _Log, rounds: int, progress: Progress) -> _Forms:
    """LightGBM by several names: refitted on training and validation, or calibrated on what it was not fitted on."""
    lightgbm = require("lightgbm", "baselines")

    data, test = log.data, log.rows("test")
    anchor = data.anchors[:, 0]
    own = data.tasks.keys[:, KEYS.index("source")] == log.source
    asked = data.tasks.numbers[:, [NUMBERS.index(name) for name in _ASKED]]
    inputs = np.column_stack([data.openings, asked, anchor, own])
    truth, failed = data.targets[:, 0], data.tasks.failed.astype(np.float64)
    nothing = np.zeros(len(truth))

    def fit(target: Array, train: Array, valid: Array | None, count: int, objective: dict[str, Any]) -> Any:
        train = train[np.isfinite(target[train])]
        table = lightgbm.Dataset(inputs[train], target[train])
        if valid is None:
            return lightgbm.train({**_BOOSTING, **objective}, table, count)
        valid = valid[np.isfinite(target[valid])]
        stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
        held = lightgbm.Dataset(inputs[valid], target[valid], reference=table)
        return lightgbm.train({**_BOOSTING, **objective}, table, count, valid_sets=[held], callbacks=[stop])

    def forms(name: str, rows: Callable[[str], Array], offset: Array, begin: float, end: float) -> _Forms:
        """Fitted on the training part, with the rounds that did best on the validation part; and refitted on all."""
        before = np.concatenate([rows(part) for part in ("train", "validation", "calibration")])

        def both(target: Array, objective: dict[str, Any]) -> tuple[Any, Any]:
            chosen = fit(target, rows("train"), log.rows("validation"), rounds, objective)
            return chosen, fit(target, before, None, max(chosen.best_iteration, 1), objective)

        fitted = []
        for i, level in enumerate(JUDGED):
            progress(begin + (end - begin) * i / len(JUDGED), f"{name}, quantile {level:g}")
            fitted.append(both(truth - offset, {"objective": "quantile", "alpha": level}))

        def forecast(part: str, refitted: bool) -> Array:
            rows = log.rows(part)
            return np.column_stack([pair[refitted].predict(inputs[rows]) + offset[rows] for pair in fitted])

        chance = np.full(len(test), np.nan)
        known = failed[before][np.isfinite(failed[before])]
        if len(np.unique(known)) == 2:
            chance = both(failed, {"objective": "binary"})[1].predict(inputs[test])
        held_back, ahead = forecast("calibration", False), forecast("test", False)
        return [
            (name, Forecast(forecast("test", True), chance)),
            (f"{name} + CQR", Forecast(_calibrated(log, held_back, ahead), chance)),
            (f"{name} + adaptive CQR", Forecast(ahead, chance, _adapted(log, held_back, ahead))),
        ]

    found = forms("LightGBM", log.rows, nothing, 0.72, 0.79)[:1]
    found += forms("LightGBM from the anchor", log.rows, anchor, 0.79, 0.86)
    if not own.all():
        found += forms("LightGBM from the anchor, all logs", data.rows, anchor, 0.86, 0.99)
    return found


def _score(result: Result, log: _Log, contender: str, forecast: Forecast, seed: int) -> None:
    data, test = log.data, log.rows("test")
    use = np.isfinite(forecast.quantiles).all(axis=1) & np.isfinite(data.targets[test, 0])
    truth, quantiles = data.targets[test[use], 0], _possible(log, forecast.quantiles)[use]
    intervals = quantiles if forecast.intervals is None else _possible(log, forecast.intervals)[use]
    failed, chance = data.tasks.failed[test], forecast.failure

    def add(measure: str, value: float, unit: str = "") -> None:
        result.scores.append(Score(contender, measure, float(value), unit, seed))

    losses, middle = statistics.pinball(truth, quantiles, JUDGED), quantiles[:, JUDGED.index(0.5)]
    add("pinball", losses.mean())
    if use.all():
        for i, part in enumerate(np.array_split(losses, TENTHS)):
            add("pinball", part.mean(), f"tenth {i + 1}")
    add("MAE of log1p s", np.abs(truth - middle).mean())
    add("MAE of s", np.abs(np.expm1(truth) - np.expm1(middle)).mean())
    for level, (low, high) in LEVELS.items():
        below, above = intervals[:, low], intervals[:, high]
        share, width = statistics.coverage(truth, below, above)
        grow = np.quantile(conformal.misses(below, above, truth), level, method="inverted_cdf")
        add(f"coverage of {level:.0%}", share)
        add(f"width of {level:.0%}", width)
        add(f"width that covers {level:.0%}", width + 2 * grow)
    add("failure AUC", statistics.auc(failed, chance))
    for i, rows in enumerate(np.array_split(np.arange(len(test)), TENTHS)):
        add("failure AUC", statistics.auc(failed[rows], chance[rows]), f"tenth {i + 1}")
    add("failure Brier", statistics.brier(failed, chance))


def _plot(result: Result, log: _Log, contender: str, forecast: Forecast) -> None:
    data, test = log.data, log.rows("test")
    found = statistics.reliability(data.tasks.failed[test], forecast.failure)
    result.curves.append(Curve("reliability", contender, found.forecast.tolist(), found.observed.tolist()))
    middle = _possible(log, forecast.quantiles)[:, JUDGED.index(0.5)]
    result.curves.append(Curve("residual", contender, middle.tolist(), (data.targets[test, 0] - middle).tolist()))
