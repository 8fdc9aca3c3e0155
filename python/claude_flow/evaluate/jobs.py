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

Our network is trained by the project's own loop with the built-in configuration ``prediction-v2``, whatever the log,
and forecasts as an exported model in the engine. Its intervals follow drift by adaptive conformal inference; the
same is done for LightGBM, beside its plain conformal calibration. Every LightGBM sees the same numbers as the
network's open record does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import registry
from claude_flow.data.collect import collect
from claude_flow.data.prepare_prediction import preprocess
from claude_flow.data.sources import swf
from claude_flow.errors import InputError, MissingExtra
from claude_flow.evaluate import statistics
from claude_flow.evaluate.result import OURS, Curve, Progress, Result, Score
from claude_flow.features import conformal
from claude_flow.features.history import NUMBERS
from claude_flow.features.prediction import QUANTILES
from claude_flow.model import load
from claude_flow.train import config

__all__ = ["DATA", "Forecast", "detect", "run"]

DATA = "a log in the Standard Workload Format: a file *.swf or *.swf.gz"
LEVELS = {0.8: (1, 3), 0.95: (0, 4)}  # central interval: its bounds among the judged quantiles
JUDGED = (0.025, 0.1, 0.5, 0.9, 0.975)
VALIDATION = 0.1
TENTHS = 10  # equal stretches of the test, in time: what the paired tests pair
_OURS_HELD_BACK = 0.05  # of the log, before the test: half chooses the epoch, half calibrates
_ROUNDS, _PATIENCE = 400, 20
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
    """Quantiles of log1p seconds ``[n, 5]`` and chances of failure ``[n]`` for the test jobs, NaN = none."""

    quantiles: Array
    failure: Array


def detect(path: Path) -> bool:
    """Whether ``path`` is a log's file."""
    return path.is_file() and bool(swf.files(path))


def run(path: Path, *, seeds: Sequence[int], quick: bool, progress: Progress) -> Result:
    """Train and score every contender; ``quick`` takes one seed, one member, two epochs and thirty rounds.

    :raises InputError: the log cannot be read or has too few jobs.
    """
    from claude_flow.train.prediction import PredictionData

    seeds = seeds[:1] if quick else seeds
    settings = _settings(quick)
    with tempfile.TemporaryDirectory() as folder:
        tensors = Path(folder) / "tensors"
        progress(0.0, f"read {path.name}")
        collect([path], Path(folder) / "tables", quality_filter="none")
        preprocess(Path(folder) / "tables", tensors, {"history": settings.sequence_length - 1})
        data = PredictionData.load(tensors, VALIDATION, 0, asdict(settings))
        test = data.rows("test")
        if len(test) < 2 * TENTHS:
            raise InputError(f"{path}: {len(test)} jobs in the test part (the latest 20 %); {2 * TENTHS} are needed")
        result = Result(
            protocol="jobs",
            data=path.name.removesuffix(".gz").removesuffix(".swf"),
            scores=[],
            rows={part: len(data.rows(part)) for part in ("train", "validation", "calibration", "test")},
            higher_is_better=frozenset({"failure AUC"}),
        )
        for i, seed in enumerate(seeds):
            progress(0.05 + 0.65 * i / len(seeds), f"{OURS}, seed {seed}")
            ours = _network(tensors, settings, seed, Path(folder) / f"run-{seed}")
            _score(result, data, OURS, ours, seed)
            if not i:
                _plot(result, data, OURS, ours)
        progress(0.7, "LightGBM")
        for name, forecast in _boosted(data, 30 if quick else _ROUNDS, progress):
            _score(result, data, name, forecast, 0)
            if name == "LightGBM":
                _plot(result, data, name, forecast)
        for name, quantiles in data.rule_forecasts().items():
            _score(result, data, name, Forecast(quantiles[test][:, _judged()], data.failure_rate()[test]), 0)
    result.notes += [
        f"{OURS} trains on the first 75 % of the log, LightGBM on the first 80 % with the rounds that were best on "
        "the last 10 % of these; LightGBM + CQR and + adaptive CQR on the first 70 %, calibrated on the last 5 %",
        '"from the anchor" is fitted to the distance from the shrunken log-mean, as the network is',
        "LightGBM and the rules have one seed",
    ]
    progress(1.0, "done")
    return result


def _settings(quick: bool) -> Any:
    settings = config.read(registry.config_path("prediction-v2"), "prediction")
    if quick:
        return replace(settings, epochs=2, network={**settings.network, "members": 1})
    return settings


def _judged() -> list[int]:
    return [QUANTILES.index(level) for level in JUDGED]


def _network(tensors: Path, settings: Any, seed: int, folder: Path) -> Forecast:
    """Train, export, and forecast with the engine."""
    from claude_flow.train import loop
    from claude_flow.train.prediction import PredictionData

    loop.fit("prediction", settings, tensors, folder, validation_split=_OURS_HELD_BACK, seed=seed, device="cpu")
    data = PredictionData.load(tensors, _OURS_HELD_BACK, seed, asdict(settings))
    model = load(folder / "model.safetensors", backend="native", threads=1)

    def forecast(part: str) -> tuple[Array, Array]:
        batches = data.batches(part, 1024, np.random.default_rng(0))
        raw = [model.run(batch["x"].numpy(), batch["lengths"].numpy().astype(np.int32)) for batch in batches]
        quantiles, chances = data.encoder.decode(np.concatenate(raw), data.anchors[data.rows(part)])
        return quantiles[:, 0, _judged()], chances[:, 0]

    held_back, _ = forecast("calibration")
    quantiles, failure = forecast("test")
    return Forecast(_adapted(data, held_back, quantiles), failure)


def _adapted(data: Any, held_back: Array, quantiles: Array) -> Array:
    """Quantiles of the test jobs whose intervals follow the misses of the jobs that had ended."""
    calibration, test = data.rows("calibration"), data.rows("test")
    moved = quantiles.copy()
    for level, (low, high) in LEVELS.items():
        before = conformal.misses(held_back[:, low], held_back[:, high], data.targets[calibration, 0])
        after = conformal.misses(quantiles[:, low], quantiles[:, high], data.targets[test, 0])
        grow = conformal.adaptive(before, after, level, decided=data.tasks.decision[test], ended=data.tasks.end[test])
        moved[:, low] -= np.nan_to_num(grow)
        moved[:, high] += np.nan_to_num(grow)
    return _ordered(moved)


def _calibrated(data: Any, held_back: Array, quantiles: Array) -> Array:
    """Quantiles after split conformal calibration, once."""
    moved, truth = quantiles.copy(), data.targets[data.rows("calibration"), 0]
    for level, (low, high) in LEVELS.items():
        grow = conformal.shift(conformal.misses(held_back[:, low], held_back[:, high], truth), level)
        moved[:, low] -= np.nan_to_num(grow)
        moved[:, high] += np.nan_to_num(grow)
    return _ordered(moved)


def _ordered(quantiles: Array) -> Array:
    """Quantiles of something that is not below 0, none above the next."""
    ordered: Array = np.maximum(np.sort(quantiles, axis=1), 0)
    return ordered


def _boosted(data: Any, rounds: int, progress: Progress) -> list[tuple[str, Forecast]]:
    """LightGBM by several names: refitted on training and validation, or calibrated on what it was not fitted on."""
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtra("lightgbm", "baselines") from error

    parts = {part: data.rows(part) for part in ("train", "validation", "calibration", "test")}
    before = np.concatenate([parts["train"], parts["validation"], parts["calibration"]])
    anchor = data.anchors[:, 0]
    inputs = np.column_stack([data.openings, data.tasks.numbers[:, [NUMBERS.index(n) for n in _ASKED]], anchor])
    inputs = inputs[:, inputs[before].std(axis=0) > 0] if len(before) else inputs
    truth, failed = data.targets[:, 0], data.tasks.failed.astype(np.float64)

    def fit(target: Array, train: Array, valid: Array | None, count: int, objective: dict[str, Any]) -> Any:
        train = train[np.isfinite(target[train])]
        table = lightgbm.Dataset(inputs[train], target[train])
        if valid is None:
            return lightgbm.train({**_BOOSTING, **objective}, table, count)
        valid = valid[np.isfinite(target[valid])]
        stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
        held = lightgbm.Dataset(inputs[valid], target[valid], reference=table)
        return lightgbm.train({**_BOOSTING, **objective}, table, count, valid_sets=[held], callbacks=[stop])

    def both(target: Array, objective: dict[str, Any]) -> tuple[Any, Any]:
        """Fitted on the training part, with the rounds that did best on the validation part; and refitted on all."""
        chosen = fit(target, parts["train"], parts["validation"], rounds, objective)
        return chosen, fit(target, before, None, max(chosen.best_iteration, 1), objective)

    def quantiles(offset: Array, label: str, share: float) -> tuple[Callable[[str], Array], Array]:
        fitted = []
        for i, level in enumerate(JUDGED):
            progress(share + 0.1 * i / len(JUDGED), f"{label}, quantile {level:g}")
            fitted.append(both(truth - offset, {"objective": "quantile", "alpha": level}))

        def forecast(part: str) -> Array:
            rows = parts[part]
            return np.column_stack([model.predict(inputs[rows]) + offset[rows] for model, _ in fitted])

        test = parts["test"]
        again = [model.predict(inputs[test]) + offset[test] for _, model in fitted]
        return forecast, _ordered(np.column_stack(again))

    chance = np.full(len(parts["test"]), np.nan)
    known = failed[before][np.isfinite(failed[before])]
    if len(np.unique(known)) == 2:
        chance = both(failed, {"objective": "binary"})[1].predict(inputs[parts["test"]])
    _, plain = quantiles(np.zeros(len(truth)), "LightGBM", 0.75)
    forecast, anchored = quantiles(anchor, "LightGBM from the anchor", 0.85)
    held_back, ahead = forecast("calibration"), forecast("test")
    return [
        ("LightGBM", Forecast(plain, chance)),
        ("LightGBM from the anchor", Forecast(anchored, chance)),
        ("LightGBM from the anchor + CQR", Forecast(_calibrated(data, held_back, ahead), chance)),
        ("LightGBM from the anchor + adaptive CQR", Forecast(_adapted(data, held_back, ahead), chance)),
    ]


def _score(result: Result, data: Any, contender: str, forecast: Forecast, seed: int) -> None:
    test = data.rows("test")
    use = np.isfinite(forecast.quantiles).all(axis=1) & np.isfinite(data.targets[test, 0])
    truth, quantiles = data.targets[test[use], 0], forecast.quantiles[use]
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
        below, above = quantiles[:, low], quantiles[:, high]
        share, width = statistics.coverage(truth, below, above)
        grow = np.quantile(conformal.misses(below, above, truth), level, method="inverted_cdf")
        add(f"coverage of {level:.0%}", share)
        add(f"width of {level:.0%}", width)
        add(f"width that covers {level:.0%}", width + 2 * grow)
    add("failure AUC", statistics.auc(failed, chance))
    for i, rows in enumerate(np.array_split(np.arange(len(test)), TENTHS)):
        add("failure AUC", statistics.auc(failed[rows], chance[rows]), f"tenth {i + 1}")
    add("failure Brier", statistics.brier(failed, chance))


def _plot(result: Result, data: Any, contender: str, forecast: Forecast) -> None:
    test = data.rows("test")
    found = statistics.reliability(data.tasks.failed[test], forecast.failure)
    result.curves.append(Curve("reliability", contender, found.forecast.tolist(), found.observed.tolist()))
    middle = forecast.quantiles[:, JUDGED.index(0.5)]
    result.curves.append(Curve("residual", contender, middle.tolist(), (data.targets[test, 0] - middle).tolist()))
