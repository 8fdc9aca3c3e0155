"""Judging when a task is done: models and baselines on the latest part of a preprocessed prediction dataset."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from claude_flow import statistics
from claude_flow.errors import InputError
from claude_flow.evaluate import baselines
from claude_flow.evaluate.judge import COSTS, Marks, Part, Unavailable, cost
from claude_flow.evaluate.walk import Block
from claude_flow.model import Model
from claude_flow.networks.prediction import prepare
from claude_flow.networks.prediction.conformal import adaptive, misses
from claude_flow.networks.prediction.features import (
    LEVELS,
    QUANTILES,
    TARGETS,
    Encoder,
    bounds,
    conformal,
    shifted,
    shifts,
    slots,
)
from claude_flow.networks.prediction.history import KEYS, NO_TIME
from claude_flow.networks.prediction.learn import JUDGED, Data

__all__ = ["Judge", "blocks", "walked", "windows"]

Array = NDArray[Any]
_DURATION = TARGETS.index("duration")
_CHUNK = 256
_BLOCKS = 40
_RULES = {
    "random": "global median",
    "best-single": "global median",
    "rule-based": "shrunken log-mean",
    "last-2-mean": "mean of the last two",
    "per-user-median": "median of the agent",
    "requested-time": "requested time",
}


class Judge:
    """Rows are runs with a known duration; all of them in log1p seconds, except where a measure says otherwise."""

    MEASURES: ClassVar[dict[str, str]] = {
        "pinball": "pinball loss of log1p seconds over the quantiles 2.5, 10, 50, 90, 97.5 %",
        "mae": "mean absolute error of the median, of log1p seconds",
        "mae-s": "the same of seconds",
        "coverage-80": "share of durations within their 80 % interval",
        "width-80": "mean width of the 80 % interval",
        "coverage-95": "share of durations within their 95 % interval",
        "width-95": "mean width of the 95 % interval",
        "failure-auc": "area under the ROC curve of the chance to fail",
        "brier": "mean squared error of the chance to fail",
        "calibration-error": "mean distance of the chance to fail to how often runs fail",
        **COSTS,
    }
    HIGHER = frozenset({"failure-auc"})
    BASELINES: ClassVar[dict[str, str]] = {
        "random": "the duration of a training run drawn at random",
        "rule-based": "mean of log1p seconds, shrunk from the source to the kind to the agent",
        "best-single": "the median of all training runs",
        "last-2-mean": "mean of the agent's last two runs, capped at the requested time",
        "per-user-median": "median of the agent's past runs",
        "requested-time": "what was requested",
        "k-nn": "the durations of the 20 most similar training runs",
        "gradient-boosting": "LightGBM, one model per quantile, conformalized (CQR)",
    }
    SLOW: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, data: Path, validation_split: float, config: dict[str, Any], part: str = "test") -> None:
        self.data = Data.load(data, validation_split, 0, config)
        truth = self.data.targets[:, _DURATION]
        rows = self.data.rows(part)
        self.rows = rows[np.isfinite(truth[rows])]
        if not len(self.rows):
            raise InputError(f"{data}: its {part} part has no run with a known duration")
        self.truth = truth[self.rows]
        self.failed = self.data.tasks.failed[self.rows].astype(np.float64)
        # Runs near each other in time resemble each other (one session, one user): blocks of equal size along it.
        order = np.argsort(np.argsort(self.data.tasks.decision[self.rows], kind="stable"))
        blocks = min(_BLOCKS, max(1, len(order) // 4))
        self.units = np.array([f"block {i}" for i in order * blocks // len(order)])
        self._forecasts: dict[str, Array] = {}  # of the rules
        self._records: dict[Path, Array] = {}  # of the past runs, as each model sees them

    @property
    def sizes(self) -> dict[str, int]:
        """Runs of each part."""
        return {part: len(self.data.rows(part)) for part in ("train", "validation", "calibration", "test")}

    def model(self, model: Model) -> Marks:
        """A model with its own feature schema and its own conformal shifts."""
        quantiles, chances = self._run(model, self.rows)
        by = shifts(model.constant("shifts"), self.data.tasks.keys[self.rows, KEYS.index("source")])
        moved = shifted(quantiles, by, self._limits(model))[:, _DURATION]
        marks, median = self._marks(moved, chances), moved[:, QUANTILES.index(0.5)]
        marks.curves.append(("residual", median.tolist(), (self.truth - median).tolist()))
        runs = [lambda row=row: self._run(model, self.rows[row : row + 1]) for row in range(min(len(self.rows), 200))]
        marks.whole |= cost(model, runs)
        return marks

    def adaptive(self, model: Model) -> Marks:
        """The model with intervals that follow what has ended by each forecast, from the calibration part on."""
        calibration = self.data.rows("calibration")
        calibration = calibration[np.isfinite(self.data.targets[calibration, _DURATION])]
        if len(calibration) < 19:
            raise Unavailable(f"adaptive intervals start from 19 calibration runs, here are {len(calibration)}")
        before = self._run(model, calibration)[0][:, _DURATION]
        quantiles, chances = self._run(model, self.rows)
        now, tasks = quantiles[:, _DURATION], self.data.tasks
        by = np.zeros((len(self.rows), len(QUANTILES)))
        for level in LEVELS:
            low, high = bounds(level)
            grow = adaptive(
                misses(before[:, low], before[:, high], self.data.targets[calibration, _DURATION]),
                misses(now[:, low], now[:, high], self.truth),
                level,
                decided=tasks.decision[self.rows],
                ended=tasks.end[self.rows],
            )
            by[:, low], by[:, high] = -grow, grow
        return self._marks(shifted(now, by, self._limits(model)[:, _DURATION]), chances)

    def baseline(self, name: str, seed: int) -> Marks:
        # The slot holds the agent's failure rate around that of the training part, times 3.
        slot = self.data.openings[self.rows, slots().index("agent: failures")].astype(np.float64)
        rate = np.clip(slot / 3 + self.data.encoder.failure_rate, 0, 1)
        if name in _RULES:
            if not self._forecasts:
                self._forecasts = self.data.rule_forecasts()
            quantiles = self._forecasts[_RULES[name]][self.rows]
            if name == "random":
                train = self.data.targets[self.data.rows("train"), _DURATION]
                drawn = np.random.default_rng(seed).choice(train[np.isfinite(train)], len(self.rows))
                quantiles = quantiles.copy()
                quantiles[:, QUANTILES.index(0.5)] = drawn
                quantiles = np.sort(quantiles, axis=1)
                return self._marks(quantiles, np.full(len(rate), np.nan), drawn)
            if not np.isfinite(quantiles).any():
                raise Unavailable(f"the data tells no {name.replace('-', ' ')}")
            return self._marks(quantiles, rate if name == "per-user-median" else np.full(len(rate), np.nan))
        x, truth = self.data.openings, self.data.targets[:, _DURATION]
        anchors = self.data.anchors[:, _DURATION]
        parts = {part: self.data.rows(part) for part in ("train", "calibration")}
        parts = {part: rows[np.isfinite(truth[rows])] for part, rows in parts.items()}
        x = np.concatenate([x, anchors[:, None]], axis=1)
        predict = baselines.fit_quantiles(name, x[parts["train"]], truth[parts["train"]], QUANTILES, seed)
        quantiles, before = predict(x[self.rows]), predict(x[parts["calibration"]])
        by = conformal(before[:, None], truth[parts["calibration"], None])[0]
        limits = self.data.encoder.limits(self.data.tasks.take(self.rows))[:, _DURATION]
        quantiles = shifted(quantiles, by, limits)
        failed = self.data.tasks.failed[parts["train"]].astype(np.float64)
        known = np.isfinite(failed)
        if name != "gradient-boosting" or len(np.unique(failed[known])) < 2:
            return self._marks(quantiles, np.full(len(rate), np.nan))
        chances = baselines.fit_chance(x[parts["train"]][known], failed[known], seed)(x[self.rows])
        return self._marks(quantiles, chances)

    def _run(self, model: Model, rows: Array) -> tuple[Array, Array]:
        """Quantiles of log1p [n, targets, 7] before calibration, and chances to fail [n]."""
        if model.network != "prediction":
            raise InputError(f"{model.path} is a {model.network} model; the data is for prediction")
        encoder, data = Encoder.from_schema(model.features), self.data
        length = min(int(model.features["history"]), data.history.index.shape[1])
        runs = encoder.view(data.runs)
        records = self._kept_records(model, encoder)
        found = []
        for first in range(0, len(rows), _CHUNK):
            part = rows[first : first + _CHUNK]
            tasks, history = encoder.view(data.tasks.take(part)), data.history.take(part)
            openings, anchors = encoder.openings(tasks, history)
            x, lengths = encoder.sequences(runs, records, tasks, openings, anchors, history.index[:, :length])
            x = np.ascontiguousarray(x[:, : int(lengths.max())])
            found.append(encoder.decode(model.run(x, lengths), anchors))
        return np.concatenate([q for q, _ in found]), np.concatenate([chances[:, _DURATION] for _, chances in found])

    def _limits(self, model: Model) -> Array:
        """What the model knows to limit the test runs [n, targets]."""
        return Encoder.from_schema(model.features).limits(self.data.tasks.take(self.rows))

    def _kept_records(self, model: Model, encoder: Encoder) -> Array:
        if model.path not in self._records:
            self._records[model.path] = encoder.records(encoder.view(self.data.runs))
        return self._records[model.path]

    def _marks(self, quantiles: Array, chances: Array, point: Array | None = None) -> Marks:
        """Marks of quantiles [n, 7] and chances to fail [n] (NaN = none); NaN rows do not count."""
        median = quantiles[:, QUANTILES.index(0.5)] if point is None else point
        at = [QUANTILES.index(level) for level in JUDGED]
        said = np.isfinite(quantiles).all(1)
        rows = {
            "pinball": statistics.pinball(self.truth, quantiles[:, at], JUDGED),
            "mae": np.abs(self.truth - median),
            "mae-s": np.abs(np.expm1(self.truth) - np.expm1(median)),
        }
        for level in LEVELS:
            low, high = bounds(level)
            inside = (self.truth >= quantiles[:, low]) & (self.truth <= quantiles[:, high])
            rows[f"coverage-{level * 100:.0f}"] = np.where(said, inside, np.nan)
            rows[f"width-{level * 100:.0f}"] = quantiles[:, high] - quantiles[:, low]
        known = np.isfinite(chances) & np.isfinite(self.failed)
        rows["brier"] = np.where(known, (chances - self.failed) ** 2, np.nan)
        whole, curves = {}, []
        if known.any():
            found = statistics.reliability(self.failed, chances)
            whole = {"failure-auc": statistics.auc(self.failed, chances), "calibration-error": found.error}
            if found.rows.size > 1:
                curves.append(("failure reliability", found.forecast.tolist(), found.observed.tolist()))
        below = (self.truth[said, None] <= quantiles[said]).mean(0)
        curves.append(("reliability", list(QUANTILES), below.tolist()))
        return Marks(rows, whole, curves)


_DAY = 86_400 * 10**6  # microseconds


def windows(data: Path, horizon: int, step: int, most: int) -> list[Part]:
    """The latest ``most`` windows of ``horizon`` microseconds, ``step`` apart, in the later half of the log."""
    _, runs, samples, _ = prepare.load(data)
    decided = np.sort(runs.decision[samples][runs.decision[samples] != NO_TIME])
    if not len(decided):
        raise InputError(f"{data}: its runs have no times to walk along")
    middle, end = int(decided[len(decided) // 2]), int(decided[-1]) + 1
    found: list[Part] = []
    begin = end - horizon
    while begin >= middle and len(found) < most:
        if np.searchsorted(decided, begin + horizon) - np.searchsorted(decided, begin) >= 10:
            day = datetime.fromtimestamp(begin / 1e6, timezone.utc).date().isoformat()
            found.append((f"window from {day}", {"split": {"from": begin, "to": begin + horizon}}, {}))
        begin -= step
    if not found:
        days = (end - middle) / _DAY
        raise InputError(
            f"{data}: no window of {horizon / _DAY:g} days with ten runs fits into the later half of the log, "
            f"{days:.3g} days: give a shorter --horizon"
        )
    return found[::-1]


#: what a network that was trained on a log must beat there
_RIVALS = ("rule-based", "best-single", "last-2-mean", "per-user-median", "k-nn", "gradient-boosting")


def blocks(data: Path, count: int) -> list[Part]:
    """The later half of the log in ``count`` blocks of as many runs; each is judged by what was trained before it."""
    _, runs, samples, _ = prepare.load(data)
    decided = np.sort(runs.decision[samples][runs.decision[samples] != NO_TIME])
    if len(decided) < 8 * count:
        raise InputError(f"{data}: {len(decided)} runs have a time: {8 * count} are needed to judge on it")
    edges = [int(decided[int(len(decided) * share)]) for share in np.linspace(0.5, 1, count + 1)[:-1]]
    edges.append(int(decided[-1]) + 1)
    return [
        (f"block {i + 1}", {"split": {"from": begin, "to": end}}, {}) for i, (begin, end) in enumerate(pairwise(edges))
    ]


def walked(tables: Path, data: Path, models: Mapping[str, Model], seed: int) -> Block:
    """Each contender's pinball loss of a block's durations; of a model with its own intervals."""
    judge = Judge(data, 0.2, {})
    values = {name: judge.model(model).rows["pinball"] for name, model in models.items()}
    for name in _RIVALS:
        try:
            found = judge.baseline(name, seed).rows["pinball"]
        except Unavailable:
            continue
        if np.isfinite(found).all():
            values[name] = found
    return Block(Judge.MEASURES["pinball"], False, judge.units, values)
