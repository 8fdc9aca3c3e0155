"""Structural pruning: whole heads, units and residual columns leave the tensors, and the configuration with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import networks, registry
from claude_flow.compress import calibration
from claude_flow.compress.evidence import trial
from claude_flow.compress.quantize import check_threshold, float_model
from claude_flow.compress.reconstruct import refitted
from claude_flow.compress.release import Release, release
from claude_flow.errors import InputError, require
from claude_flow.model import assemble
from claude_flow.networks.structure import Group

require("torch", "train")
import torch
from torch import Tensor

from claude_flow import export, nets
from claude_flow.compress import tuning
from claude_flow.report.progress import Progress, nothing
from claude_flow.train.gradients import Moments, moments

__all__ = ["METRICS", "importance", "leave", "prune", "without"]

#: importance metric -> the score of one weight, from its value and the moments of its gradient
METRICS: dict[str, Callable[[Tensor, Moments], Tensor]] = {
    "magnitude": lambda w, g: w.square(),
    "gradient-magnitude": lambda w, g: g.absolute,
    "taylor": lambda w, g: (w * g.mean).abs(),
    "hessian": lambda w, g: 0.5 * w.square() * g.square,
}
_RATE = 0.5  # of the parent's learning rate, for fine-tuning
_ITEMS = 512  # to refit layers on
_TEMPERATURE, _ALPHA = 2.0, 0.5  # of what the parent teaches


def prune(
    path: Path,
    output: str,
    *,
    ratio: float = 0.3,
    metric: str = "gradient-magnitude",
    epochs: int = 20,
    threshold: float = 0.98,
    data: str | None = None,
    measure: str | None = None,
    allow_slower: bool = False,
    seed: int = 0,
    time_budget: float | None = None,
    progress: Progress = nothing,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Leave out the least important units of ``path`` until ``ratio`` of its weights are gone, refit the layers that
    read them, fine-tune, and store ``output``.

    Args:
        metric: one of :data:`METRICS`; a unit's importance is the sum over its weights.
        epochs: of fine-tuning, in which the parent teaches too; 0: none.
        threshold: share of the parent's ``measure`` that must be kept.

    Returns:
        The report.

    Raises:
        InputError: a ratio that would leave a group without a unit, or an unusable model or dataset.
        Refused: the threshold is not shown, or the result is not faster than its parent.
    """
    check_threshold(threshold)
    if not 0 < ratio < 1:
        raise InputError(f"a pruning ratio of {ratio:g}: it is a share above 0 and below 1")
    if metric not in METRICS:
        raise InputError(f"unknown importance metric {metric!r}: it is one of {', '.join(METRICS)}")
    end = None if time_budget is None else time.monotonic() + time_budget
    file = float_model(path)
    row = networks.get(file.network)
    parent = export.from_file(file)
    groups = row.structure.groups(parent.config)
    progress(0.0, "reading")
    with trial(assemble(path, file), data, measure, threshold, say) as (test, folder):
        progress(0.05, "looking for what matters least")
        state = tuning.weights(parent)
        usual = tuning.configuration(file, parent.config, max(1, epochs))
        found = moments(
            file.network,
            usual,
            folder,
            state,
            seed=seed,
            progress=lambda done, _: progress(0.05 + 0.1 * done, "gradients"),
        )
        chosen = leave(groups, importance(groups, state, found, metric), state, ratio)
        config = row.structure.shrunk(parent.config, {name: len(units) for name, units in chosen.items()})
        weights, left = without(groups, chosen, state)
        module = nets.create(file.network, nets.config_dict(config))
        module.load_state_dict(weights)
        made = replace(
            export.lower(module.eval()),
            features=file.features,
            calibration=file.calibration,
            provenance=file.provenance,
        )
        progress(0.15, "refitting layers")
        made = refitted(file, made, left, calibration.asked(path, file, folder, _ITEMS))
        if epochs:
            progress(0.2, "fine-tuning")
            made = tuning.improved(
                path,
                made,
                tuning.configuration(file, config, epochs, rate=_RATE),
                folder,
                test.like("validation"),
                name=output,
                hooks=[tuning.Taught(file.network, parent, registry.model_name(path), _TEMPERATURE, _ALPHA)],
                seed=seed,
                end=end,
                progress=lambda done, what: progress(0.2 + 0.6 * done, what),
                say=say,
            )
        method = {
            "name": "structural pruning",
            "pruning_ratio": ratio,
            "importance_metric": metric,
            "fine_tune_epochs": epochs,
            "groups": {
                group.name: {"kind": group.kind, "before": group.units, "after": len(chosen[group.name])}
                for group in groups
            },
        }
        return release(
            Release(path, made, method, output), test, allow_slower=allow_slower, note=lambda what: progress(0.85, what)
        )


def leave(
    groups: list[Group], scores: Mapping[str, NDArray[np.float64]], state: Mapping[str, Tensor], ratio: float
) -> dict[str, NDArray[np.intp]]:
    """Group -> the units that stay, so that ``ratio`` of the weights of all groups go: those first that matter least
    per weight. No group loses more than twice the ratio, and each keeps a unit at least; those alike keep equally many.

    Raises:
        InputError: that is less than the ratio asks for.
    """
    costs = {group.name: _weights(group, state) for group in groups}
    order = {group.name: np.argsort(-scores[group.name], kind="stable") for group in groups}
    size = {group.name: group.units for group in groups}
    least = {group.name: max(_step(group), _rounded(group, 1 - 2 * ratio)) for group in groups}
    total = _count(groups, size, state)
    alike: dict[str, list[Group]] = {}
    for group in groups:
        alike.setdefault(group.alike or group.name, []).append(group)
    while _count(groups, size, state) > (1 - ratio) * total:
        open_ = [
            several for several in alike.values() if size[several[0].name] - _step(several[0]) >= least[several[0].name]
        ]
        if not open_:
            group = min(groups, key=lambda g: g.units)
            raise InputError(
                f"a pruning ratio of {ratio:g} leaves no {group.kind} of {group.name}, which has {group.units}: with "
                f"one of each left, {1 - _count(groups, size, state) / total:.2f} is gone"
            )

        def price(group: Group) -> float:
            last = order[group.name][size[group.name] - _step(group) : size[group.name]]
            return float(scores[group.name][last].mean() / costs[group.name])

        for group in min(open_, key=lambda several: float(np.mean([price(group) for group in several]))):
            size[group.name] -= _step(group)
    return {name: np.sort(units[: size[name]]) for name, units in order.items()}


def _step(group: Group) -> int:
    """Units that go at a time: whole vectors of the kernels, where a group has several."""
    return group.step if group.units >= 4 * group.step else 1


def _rounded(group: Group, share: float) -> int:
    return _step(group) * max(0, round(group.units * share / _step(group)))


def _weights(group: Group, state: Mapping[str, Tensor]) -> float:
    """Weights that go with one unit."""
    total = 0.0
    for part in group.slices:
        total += part.index.shape[1] * state[part.tensor].numel() / state[part.tensor].shape[part.axis]
    return total


def _count(groups: list[Group], size: Mapping[str, int], state: Mapping[str, Tensor]) -> float:
    """Weights of all tensors that a group touches, with so many units left."""
    shapes: dict[str, list[float]] = {}
    for group in groups:
        for part in group.slices:
            shape = shapes.setdefault(part.tensor, list(map(float, state[part.tensor].shape)))
            shape[part.axis] -= (group.units - size[group.name]) * part.index.shape[1]
    return float(sum(np.prod(shape) for shape in shapes.values()))


def importance(
    groups: list[Group], state: Mapping[str, Tensor], found: Mapping[str, Moments], metric: str
) -> dict[str, NDArray[np.float64]]:
    """Group -> the importance of each of its units: the sum over the weights that leave with it."""
    score = METRICS[metric]
    result = {}
    for group in groups:
        total = np.zeros(group.units)
        for part in group.slices:
            values = score(state[part.tensor], found[part.tensor]).double().movedim(part.axis, 0)
            total += values.reshape(len(values), -1).sum(1).numpy()[part.index].sum(axis=1)
        result[group.name] = total
    return result


def without(
    groups: list[Group], chosen: Mapping[str, NDArray[np.intp]], state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, NDArray[np.intp]]]:
    """The tensors with the ``chosen`` units of each group alone, where what belongs to no unit stays; and which rows of
    each tensor are left."""
    gone: dict[tuple[str, int], set[int]] = {}
    for group in groups:
        lost = np.setdiff1d(np.arange(group.units), chosen[group.name])
        for part in group.slices:
            gone.setdefault((part.tensor, part.axis), set()).update(part.index[lost].ravel().tolist())
    tensors, rows = dict(state), {}
    for (name, axis), places in gone.items():
        left = np.array([place for place in range(state[name].shape[axis]) if place not in places])
        tensors[name] = torch.index_select(tensors[name], axis, torch.from_numpy(left))
        if axis == 0:
            rows[name] = left
    return {name: tensor.contiguous() for name, tensor in tensors.items()}, rows
