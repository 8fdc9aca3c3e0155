"""A model's architecture and configuration, trained anew for every test part: k folds, or windows that walk forward."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

import claude_flow
from claude_flow import networks, registry
from claude_flow.data import manifest as manifests
from claude_flow.errors import InputError
from claude_flow.evaluate import benchmark, judge
from claude_flow.evaluate.result import Curve, Result
from claude_flow.files import temporary_folder
from claude_flow.report.progress import Progress, nothing

__all__ = ["cross_fold", "derive", "walk_forward"]


def cross_fold(
    model: Path,
    data: Path,
    *,
    folds: int = 5,
    baselines: Sequence[str] = ("random", "rule-based", "best-single"),
    measures: Sequence[str] | None = None,
    seed: int = 0,
    time_budget: float | None = None,
    progress: Progress = nothing,
) -> Result:
    """k-fold cross-validation of how ``model`` was trained, on the preprocessed dataset ``data``.

    What belongs together stays together: a task with all its attempts; tasks that a log saw one after another (blocks
    in time, so that a session is cut at most once); a simulated swarm; for optimization a family of work. The part
    that chooses the epoch comes out of the training folds.

    :raises InputError: too few groups for ``folds``; runs of one log, which :func:`walk_forward` is for.
    """
    network = judge.network_of(data)
    examiner = networks.get(network).judge
    if not hasattr(examiner, "folds"):
        raise InputError(
            f"{data}: in folds a forecast would learn from its future: use  claude-flow neural validate time-series"
        )
    parts = examiner.folds(data, folds, seed)
    return _refit(model, data, network, parts, baselines, measures, seed, time_budget, progress)


def walk_forward(
    model: Path,
    data: Path,
    *,
    horizon: float = 7 * 86_400,
    overlap: float = 86_400,
    windows: int = 5,
    baselines: Sequence[str] = ("best-single", "per-user-median", "last-2-mean", "rule-based"),
    measures: Sequence[str] | None = None,
    seed: int = 0,
    time_budget: float | None = None,
    progress: Progress = nothing,
) -> Result:
    """Walk forward: for each of the latest ``windows``, train on what had ended before it and forecast all of it.

    A window is ``horizon`` seconds long; the next one begins ``horizon - overlap`` later. Windows without ten runs to
    judge are left out, and so is what lies before the middle of the log, which the first training needs.

    :raises InputError: the dataset is none of prediction, has no times, or is shorter than such a window.
    """
    network = judge.network_of(data)
    examiner = networks.get(network).judge
    if not hasattr(examiner, "windows"):
        raise InputError(
            f"{data} is for {network}, which forecasts nothing: use  claude-flow neural validate cross-fold"
        )
    if not 0 <= overlap < horizon:
        raise InputError(f"the overlap must be shorter than the horizon, {horizon / 86_400:g} days")
    parts = examiner.windows(data, int(horizon * 1e6), int((horizon - overlap) * 1e6), windows)
    result = _refit(model, data, network, parts, baselines, measures, seed, time_budget, progress)
    if overlap:
        result.notes.append("windows share runs, and the tests take them for independent: p is somewhat too small")
    return result


def _refit(
    model: Path,
    data: Path,
    network: str,
    parts: list[judge.Part],
    baselines: Sequence[str],
    measures: Sequence[str] | None,
    seed: int,
    time_budget: float | None,
    progress: Progress,
) -> Result:
    kind = networks.get(network).judge.Judge
    wanted = judge.choose(measures, kind.MEASURES, f"metric of {network}")
    rules, others = benchmark.split_names(baselines, network)
    if others:
        raise InputError(
            f"{others[0]}: a model that was trained elsewhere may know the test parts: name baselines only"
        )
    loaded = claude_flow.load(model)
    networks.get(network).check(loaded, f"{data} is for {network}")
    document = loaded.provenance.get("config") or {f"{network}-training": {}}
    from claude_flow.train import config
    from claude_flow.train.loop import fit  # torch takes seconds to load: after what can be wrong

    settings = config.parse(document, network, f"the configuration in {model}")
    name = registry.model_name(model)
    result = Result(f"{network} validation", data.name, [], higher_is_better=kind.HIGHER & frozenset(wanted))
    result.notes.append(f"{name}: its architecture and configuration, trained anew for each of {len(parts)} parts")
    begin = time.monotonic()
    with temporary_folder() as scratch:
        for place, (unit, manifest, tensors) in enumerate(parts):
            folder = derive(data, scratch / f"data-{place}", manifest, tensors)

            def epochs(epoch: int, of: int, share: float, values: dict[str, float]) -> None:
                done = (epoch - 1 + share) / of
                progress((place + 0.9 * done) / len(parts), f"{unit}: epoch {epoch} of {of}")  # noqa: B023

            left = None if time_budget is None else time_budget - (time.monotonic() - begin)
            if left is not None and left <= 0:
                result.notes.append(f"the time budget ended after {place} of {len(parts)} parts")
                break
            run = scratch / f"run-{place}"
            share = None if left is None else 0.8 * left / (len(parts) - place)
            fit(network, settings, folder, run, seed=seed, time_budget=share, distributed="off", progress=epochs)
            trained = {name: run / "model.safetensors"}
            benchmark.compare(result, folder, trained, rules, wanted, seeds=(seed,), unit=unit)
    result.curves = _pooled(result.curves)
    return result


def _pooled(curves: list[Curve]) -> list[Curve]:
    """One curve per kind and contender of those of all parts: residuals together, reliability averaged by tenths."""
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.kind, curve.contender), []).append(curve)
    found = []
    for (kind, contender), own in groups.items():
        x, y = (np.concatenate([getattr(curve, axis) for curve in own]) for axis in "xy")
        if kind != "residual":
            levels = own[0].x if all(curve.x == own[0].x for curve in own) else None
            place = np.minimum((x * 10).astype(int), 9) if levels is None else np.searchsorted(levels, x)
            x, y = (np.array([values[place == i].mean() for i in np.unique(place)]) for values in (x, y))
        found.append(Curve(kind, contender, x.tolist(), y.tolist()))
    return found


def derive(data: Path, folder: Path, manifest: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Path:
    """A dataset as ``data`` is, with other entries in its manifest and other tensors; shards stay where they are."""
    folder.mkdir()
    found = manifests.read(data, "tensors", {})
    if "shards" in found:
        found["shards"] = [str((data / shard).resolve()) for shard in found["shards"]]
    (folder / manifests.FILE).write_text(json.dumps({**found, **manifest}), "utf-8")
    if tensors:
        save_file({**load_file(data / "pools.safetensors"), **tensors}, folder / "pools.safetensors")
    return folder
