"""Training data of the prediction network: sequences of runs, quantile loss, and how its forecasts are judged."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from claude_flow import nets, statistics
from claude_flow.errors import InputError
from claude_flow.nets import PredictionNet
from claude_flow.networks.prediction import prepare
from claude_flow.networks.prediction.features import (
    LEVELS,
    QUANTILES,
    TARGETS,
    Encoder,
    anonymous,
    calibrate,
    shifted,
    shifts,
    slots,
)
from claude_flow.networks.prediction.history import KEYS, NUMBERS, SCOPES, History, Runs

__all__ = ["JUDGED", "Data", "distillation", "interval_scores", "point_scores"]

Array = NDArray[Any]

#: the quantiles of the published comparison
JUDGED = (0.025, 0.1, 0.5, 0.9, 0.975)
_OCCURRENCE_WEIGHT = 0.25
_OTHERS_WEIGHT = 0.2  # of a target other than the duration
_DURATION = TARGETS.index("duration")
_MEDIAN = QUANTILES.index(0.5)


class Data:
    """Sequences of past runs, each ending in an open task whose outcome is known by now.

    The validation part is the latest share of each source. Its first half chooses the epoch; its second half, the
    calibration part, sets the widths of the intervals and is never used for anything else. Options (``data`` in
    the configuration): ``forget`` (default 0.1), the share of training sequences that are shown without any
    history, so that the network has a prior for a user's first task; ``anonymous`` (default 0.3), the share shown
    without names and words, so that it serves logs of people whom it has never met.
    """

    name = "prediction"

    def __init__(
        self,
        manifest: dict[str, Any],
        runs: Runs,
        samples: Array,
        history: History,
        split: Array,
        length: int,
        options: dict[str, float],
    ) -> None:
        self.manifest, self.split, self.length, self.options = manifest, split, length, options
        self.runs, self.history = runs, history
        self.tasks = self.runs.take(samples)
        self.encoder = Encoder(manifest["schema"]["normalization"], manifest["schema"]["describe"])
        self.encoder.fit(self.tasks, self.history, np.flatnonzero(split == 0))
        self.targets = self.tasks.numbers[:, : len(TARGETS)].astype(np.float64)
        self.splits: tuple[str, ...] = (
            ("train", "validation", "test") if (split == 2).any() else ("train", "validation")
        )
        self._limits = self.encoder.limits(self.tasks)
        self._records = self.encoder.records(self.runs)
        self.openings, self.anchors = self.encoder.openings(self.tasks, self.history)
        nothing = self.history.forgotten()
        self._bare_openings, self._bare_anchors = self.encoder.openings(self.tasks, nothing)

    @classmethod
    def load(cls, path: Path, validation_split: float, seed: int, config: dict[str, Any]) -> Data:
        """Read a preprocessed folder. Raises :class:`InputError` for damaged data or a part without rows."""
        manifest, runs, samples, history = prepare.load(path)
        options = {"forget": 0.1, "anonymous": 0.3, **config.get("data", {})}
        for name, share in options.items():
            if name not in ("forget", "anonymous"):
                raise InputError(f"data.{name}: no such field; known fields: forget, anonymous")
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise InputError(f"data.{name} must be a share from 0 to 1, not {share!r}")
        asked = manifest["split"]  # a share at the end of every source, or a window in time
        window = (int(asked["from"]), int(asked["to"])) if "from" in asked else None
        split = prepare.split_rows(runs.take(samples), validation_split, asked.get("test", 0.0), window)
        for label, part in enumerate(("training", "validation")):
            if (split == label).sum() < 4:
                raise InputError(
                    f"{path}: fewer than 4 rows in the {part} part; collect more or change --validation-split"
                )
        length = min(int(config.get("sequence_length", 128)) - 1, history.index.shape[1])
        return cls(manifest, runs, samples, history, split, length, options)

    def parts(self) -> dict[str, Data]:
        """The data by group of each source (project or session), the largest first; of a source of one group, such as
        a machine's log, by agent: its users."""
        keys = self.tasks.keys[:, [KEYS.index("source"), KEYS.index("group")]]
        for source in np.unique(keys[:, 0]):
            own = keys[:, 0] == source
            if len(np.unique(keys[own, 1])) == 1:
                keys[own, 1] = self.tasks.keys[own, KEYS.index("agent")]
        names = self.manifest["source-names"]
        found = {}
        values, place, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
        for number in np.argsort(-counts, kind="stable"):
            source, group = values[number]
            part = copy.copy(self)
            part.split = np.where(place.ravel() == number, self.split, -1)
            found[f"{names.get(str(source), source)}/{group % 10**6}"] = part
        return found

    def module(self, config: dict[str, Any]) -> nn.Module:
        """A network of the configured sizes."""
        return nets.create("prediction", config)

    def rows(self, split: str) -> Array:
        """Rows of a part: train, validation (its first half), calibration (its second half) or test."""
        if split in ("validation", "calibration"):
            rows = np.flatnonzero(self.split == 1)
            late = np.zeros(len(rows), bool)
            sources = self._source(rows)
            for source in np.unique(sources):
                own = np.flatnonzero(sources == source)
                late[own[len(own) // 2 :]] = True
            own_half: Array = rows[late == (split == "calibration")]
            return own_half
        return np.flatnonzero(self.split == {"train": 0, "test": 2}[split])

    def _source(self, rows: Array) -> Array:
        source: Array = self.tasks.keys[rows, KEYS.index("source")]
        return source

    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """One epoch: ``x`` [B, T, 128], ``lengths`` [B], and [B, 8] each: ``residual`` and ``occurrence`` (NaN =
        unknown), ``limit`` (inf = none)."""
        rows = self.rows(split)
        if split == "train":
            rows = generator.permutation(rows)
        for first in range(0, len(rows), batch_size):
            part = rows[first : first + batch_size]
            if split == "train":
                bare, unnamed = (generator.random(len(part)) < self.options[name] for name in ("forget", "anonymous"))
            else:
                bare = unnamed = np.zeros(len(part), bool)
            yield self._batch(part, bare, unnamed)

    def _batch(self, rows: Array, bare: Array, unnamed: Array) -> dict[str, Tensor]:
        openings = np.where(bare[:, None], self._bare_openings[rows], self.openings[rows])
        anchors = np.where(bare[:, None], self._bare_anchors[rows], self.anchors[rows])
        index = np.where(bare[:, None], -1, self.history.index[rows, : self.length])
        x, lengths = self.encoder.sequences(self.runs, self._records, self.tasks.take(rows), openings, anchors, index)
        x[unnamed] = anonymous(x[unnamed])
        longest = int(lengths.max())
        targets = self.targets[rows]
        occurrence = np.where(np.isnan(targets), np.nan, targets > 0)
        occurrence[:, _DURATION] = self.tasks.failed[rows]
        limits = (self._limits[rows] - anchors) / self.encoder.spread
        return {
            "x": torch.from_numpy(np.ascontiguousarray(x[:, :longest])),
            "lengths": torch.from_numpy(lengths.astype(np.int64)),
            "limit": torch.from_numpy(limits.astype(np.float32)),
            "residual": torch.from_numpy(((targets - anchors) / self.encoder.spread).astype(np.float32)),
            "occurrence": torch.from_numpy(occurrence.astype(np.float32)),
        }

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Mean pinball loss of the known targets (in units of their spread) plus a quarter of the occurrences' BCE.

        The duration weighs five times what any other target does.

        Quantiles above the median are cut at their limits first, as in an answer: what lies beyond the edge costs
        nothing, so the network need not bend around it.
        In training each member of the network is judged by itself, afterwards their average.
        """
        net: Any = module  # or one that computes with other weights, as meta-learning does
        if module.training:
            raw, members = net.each(batch["x"], batch["lengths"]).flatten(0, 1), net.config.members
        else:
            raw, members = module(batch["x"], batch["lengths"]), 1
        raw = raw.reshape(-1, len(TARGETS), len(QUANTILES) + 1)
        residual, occurrence, limit = (batch[name].repeat(members, 1) for name in ("residual", "occurrence", "limit"))
        levels = torch.tensor(QUANTILES, device=raw.device)
        above = torch.minimum(raw[..., _MEDIAN + 1 : -1], limit[..., None])
        gap = torch.nan_to_num(residual)[..., None] - torch.cat([raw[..., : _MEDIAN + 1], above], dim=-1)
        pinball = torch.maximum(levels * gap, (levels - 1) * gap).mean(-1)
        weights = torch.full((len(TARGETS),), _OTHERS_WEIGHT, device=raw.device)
        weights[_DURATION] = 1
        known = ~torch.isnan(residual) * weights
        told = ~torch.isnan(occurrence) * weights
        crossed = functional.binary_cross_entropy_with_logits(
            raw[..., -1], torch.nan_to_num(occurrence), reduction="none"
        )
        return _weighted_mean(pinball, known) + _OCCURRENCE_WEIGHT * _weighted_mean(crossed, told)

    def inputs(self, rows: Array) -> Iterator[tuple[Tensor, Tensor]]:
        """What the network sees of ``rows``, in their order, 1024 at a time: ``x`` [B, T, 128], lengths int64 [B]."""
        for first in range(0, len(rows), 1024):
            part = rows[first : first + 1024]
            batch = self._batch(part, *np.zeros((2, len(part)), bool))
            yield batch["x"], batch["lengths"]

    def predict(self, module: nn.Module, rows: Array) -> tuple[Array, Array]:
        """Quantiles of log1p [n, 8, 7] and probabilities [n, 8], before calibration."""
        raw = []
        place = next(module.parameters()).device
        with torch.no_grad():
            for x, lengths in self.inputs(rows):
                raw.append(module(x.to(place), lengths.to(place)).cpu().numpy())
        width = len(TARGETS) * (len(QUANTILES) + 1)
        output = np.concatenate(raw) if raw else np.zeros((0, width), np.float32)
        return self.encoder.decode(output, self.anchors[rows])

    def metrics(self, module: nn.Module, split: str) -> dict[str, float]:
        """Scores on a part; of log1p seconds where they say ``duration``, and per source where there are several."""
        rows = self.rows(split)
        quantiles, chances = self.predict(module, rows)
        by = shifts(self.calibration(module), self._source(rows)) if split == "test" else np.zeros(())
        quantiles = shifted(quantiles, by, self._limits[rows])
        scores = {"loss": self._loss_on(module, rows)}
        for name, part in self._sources(rows):
            truth = self.targets[rows[part], _DURATION]
            found = interval_scores(truth, quantiles[part, _DURATION])
            found["failure-auc"] = statistics.auc(self.tasks.failed[rows[part]], chances[part, _DURATION])
            scores |= {f"{name}{key}": value for key, value in found.items() if np.isfinite(value)}
        for i, target in enumerate(TARGETS):
            if i != _DURATION and self.encoder.trained()[i]:
                error = np.abs(self.targets[rows, i] - quantiles[:, i, len(QUANTILES) // 2])
                if np.isfinite(error).any():
                    scores[f"{target}-mae-log"] = float(np.nanmean(error))
        return scores

    def _loss_on(self, module: nn.Module, rows: Array) -> float:
        total = 0.0
        place = next(module.parameters()).device
        with torch.no_grad():
            for first in range(0, len(rows), 1024):
                part = rows[first : first + 1024]
                batch = {k: v.to(place) for k, v in self._batch(part, *np.zeros((2, len(part)), bool)).items()}
                total += self.loss(module, batch).item() * len(part)
        return total / max(len(rows), 1)

    def _sources(self, rows: Array) -> list[tuple[str, Array]]:
        """("", all rows) and, with several sources, ("<n>/", its rows) for each that has timed durations."""
        sources = self._source(rows)
        parts = [("", np.ones(len(rows), bool))]
        everything = np.unique(self.tasks.keys[:, KEYS.index("source")])
        if len(everything) > 1:
            names = self.manifest["source-names"]
            parts += [(f"{names[str(s)]}/", sources == s) for s in everything if (sources == s).any()]
        return parts

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """What simple rules reach on a part, with the metric names of :meth:`metrics`.

        Where a rule says nothing (no time was requested), the row does not count for it.
        """
        rows, truth, rate = self.rows(split), self.targets[:, _DURATION], self.failure_rate()
        result: dict[str, dict[str, float]] = {}
        for name, quantiles in self.rule_forecasts().items():
            scores: dict[str, float] = {}
            for label, part in self._sources(rows):
                use = rows[part][np.isfinite(quantiles[rows[part], 0])]
                found = interval_scores(truth[use], quantiles[use])
                found["failure-auc"] = statistics.auc(self.tasks.failed[use], rate[use])
                scores |= {f"{label}{key}": value for key, value in found.items() if np.isfinite(value)}
            if scores:
                result[name] = scores
        return result

    def failure_rate(self) -> Array:
        """float [tasks]: how often the agent's latest runs failed, shrunk to wider scopes."""
        shown: Array = self.openings[:, slots().index("agent: failures")] / 3 + self.encoder.failure_rate
        return shown

    def rule_forecasts(self) -> dict[str, Array]:
        """Quantiles of log1p seconds [tasks, 7] by rule; NaN where a rule says nothing."""
        truth, train = self.targets[:, _DURATION], self.rows("train")
        everyone = self._source(np.arange(len(self.tasks)))
        found = {}
        for name, point in self._rules().items():
            quantiles = np.full((len(point), len(QUANTILES)), np.nan)
            for source in np.unique(everyone):
                errors = (truth - point)[train[self._source(train) == source]]
                errors = errors[np.isfinite(errors)]
                if len(errors):
                    own = np.flatnonzero(everyone == source)
                    quantiles[own] = np.maximum(point[own, None] + np.quantile(errors, QUANTILES), 0)
            found[name] = quantiles
        return found

    def _rules(self) -> dict[str, Array]:
        """Rules to beat: log1p seconds of every task, NaN where a rule says nothing."""
        median, last_two = self.history.spread[:, :, 1], self.history.spread[:, :, 3]
        requested = self.tasks.numbers[:, NUMBERS.index("requested")].astype(np.float64)
        everyone = np.arange(len(self.tasks))
        train = self.rows("train")
        whole = np.full(len(everyone), np.nan)
        for source in np.unique(self._source(train)):
            known = self.targets[train[self._source(train) == source], _DURATION]
            known = known[np.isfinite(known)]
            if len(known):
                whole[self._source(everyone) == source] = np.median(known)

        def first_known(values: Array, *scopes: str) -> Array:
            point = whole
            for scope in reversed(scopes):
                own = values[:, SCOPES.index(scope)]
                point = np.where(np.isnan(own), point, own)
            return point

        return {
            "global median": whole,
            "median of the kind": first_known(median, "type"),
            "median of the agent": first_known(median, "agent"),
            "mean of the last two": np.fmin(first_known(last_two, "agent", "type in group", "type"), requested),
            "shrunken log-mean": self.anchors[:, _DURATION],
            "requested time": requested,
        }

    def calibration(self, module: nn.Module) -> dict[str, Any]:
        """Conformal shifts of the quantiles from the calibration part."""
        rows = self.rows("calibration")
        return calibrate(self.predict(module, rows)[0], self.targets[rows], self._source(rows))

    def metadata(self, module: nn.Module) -> dict[str, Any]:
        """Feature schema and calibration for the model file, and the data's part of the card."""
        rows = self.rows("calibration")
        schema = {**self.encoder.schema(), "history": self.length}
        return {
            "features": schema,
            "calibration": {
                "method": "split conformal quantile regression",
                "levels": list(LEVELS),
                "rows": (~np.isnan(self.targets[rows])).sum(0).tolist(),
                "shifts": self.calibration(module),
            },
            "card": {
                "protocol": "per source in order of submission: training, then validation (first half: choice of the "
                "epoch, second half: calibration), then test; runs that end in a later part are dropped; a history "
                "holds what had ended by submission; intervals of the test scores are calibrated",
                "rows": {part: len(self.rows(part)) for part in ("train", "validation", "calibration", "test")},
                "training_rows_by_target": dict(zip(TARGETS, self.encoder.rows.tolist(), strict=True)),
                "sources": sorted(self.manifest["source-names"].values()),
                "intended_use": "durations and effort of single tasks of a swarm, beside its own logged history",
                "limits": "only targets with training rows are predicted; without a history the intervals are wide; "
                "team capacity is a stated rule, not learned",
            },
        }


def distillation(student: nn.Module, teacher: nn.Module, batch: dict[str, Tensor], temperature: float) -> Tensor:
    """Mean distance of each member's quantiles from the teacher's, plus a quarter of the cross-entropy of occurrences
    to the teacher's chances at ``temperature``, times its square."""
    assert isinstance(student, PredictionNet)
    ours = student.each(batch["x"], batch["lengths"])
    theirs = teacher(batch["x"], batch["lengths"])
    shape = (len(TARGETS), len(QUANTILES) + 1)
    ours, theirs = ours.reshape(len(ours), -1, *shape), theirs.reshape(-1, *shape)
    weights = torch.full((len(TARGETS),), _OTHERS_WEIGHT, device=ours.device)
    weights[_DURATION] = 1
    distance = functional.smooth_l1_loss(ours[..., :-1], theirs[..., :-1].expand_as(ours[..., :-1]), reduction="none")
    chances = torch.sigmoid(theirs[..., -1] / temperature).expand_as(ours[..., -1])
    crossed = functional.binary_cross_entropy_with_logits(ours[..., -1] / temperature, chances, reduction="none")
    both = distance.mean(-1) + _OCCURRENCE_WEIGHT * temperature**2 * crossed
    return (both * weights).sum(-1).mean() / weights.sum()


def interval_scores(truth: Array, quantiles: Array) -> dict[str, float]:
    """Scores of forecasts: ``truth`` [n] log1p seconds (NaN = unknown), ``quantiles`` [n, 7]."""
    known = np.isfinite(truth)
    if not known.any():
        return {}
    truth, quantiles = truth[known], quantiles[known]
    scores = point_scores(truth, quantiles[:, QUANTILES.index(0.5)])
    judged = np.array(JUDGED)
    gap = truth[:, None] - quantiles[:, [QUANTILES.index(level) for level in JUDGED]]
    scores["duration-pinball"] = float(np.maximum(judged * gap, (judged - 1) * gap).mean())
    for level, low, high in ((80, 0.1, 0.9), (95, 0.025, 0.975)):
        below, above = quantiles[:, QUANTILES.index(low)], quantiles[:, QUANTILES.index(high)]
        scores[f"duration-coverage-{level}"] = float(((truth >= below) & (truth <= above)).mean())
        scores[f"duration-width-{level}"] = float((above - below).mean())
    return scores


def point_scores(truth: Array, point: Array) -> dict[str, float]:
    """Mean absolute errors of a point forecast: of log1p seconds and of seconds."""
    return {
        "duration-mae-log": float(np.abs(truth - point).mean()),
        "duration-mae-s": float(np.abs(np.expm1(truth) - np.expm1(point)).mean()),
    }


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)
