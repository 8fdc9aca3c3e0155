"""What a model's layers do on two groups of requests: which units differ, by how much, and whether it is chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from claude_flow import export, modelfile, statistics
from claude_flow.errors import InputError
from claude_flow.insight.asked import Asked
from claude_flow.networks.inputs import Item

__all__ = ["compare"]

Array = NDArray[np.float64]
_LEAST = 3  # requests of a group
_DRAWS = 1999  # shuffles of which request is of which group
_SHOWN = 24  # units of a layer on the page


def compare(asked: Asked, test: bool = True, alpha: float = 0.05, seed: int = 0) -> dict[str, Any]:
    """Mean outputs of every layer's units over the requests of the two groups of ``asked``.

    A request counts once, as the mean over its tokens. The *effect* is the difference of the groups' means in units of
    their pooled deviation (Cohen's d). p is that of the layer's largest effect among shuffled groups: so it is
    corrected for the layer's many units (Westfall and Young's max-T), and by Holm for the many layers.

    Raises:
        InputError: there are not two groups, or one has fewer than three requests.
    """
    groups = [(name, items) for name, items in asked.groups.items() if items]
    if len(groups) != 2 or any(len(items) < _LEAST for _, items in groups):
        sizes = ", ".join(f"{name} has {len(items)}" for name, items in asked.groups.items())
        raise InputError(f"two groups of at least {_LEAST} requests to {asked.row.name} are wanted: {sizes}")
    items = [item for _, items in groups for item in items]
    first = np.arange(len(items)) < len(groups[0][1])
    generator = np.random.default_rng(seed)
    shuffles = np.stack([first, *(generator.permutation(first) for _ in range(_DRAWS if test else 0))])
    layers = [_layer(name, rows, shuffles, test) for name, rows in _outputs(asked, items).items()]
    corrected = statistics.holm([layer["p"] if test else np.nan for layer in layers])
    for layer, p in zip(layers, corrected, strict=True):
        layer["p_corrected"] = float(p) if test else None
        layer["differs"] = bool(p <= alpha) if test else None
    lengths = np.array([len(item.tokens) for item in items])
    tokens = [float(lengths[side].mean()) for side in (first, ~first)]
    return {
        "model": asked.name,
        "data": asked.label,
        "groups": [
            {"name": label, "requests": len(own), "tokens": t} for (label, own), t in zip(groups, tokens, strict=True)
        ],
        "layers": layers,
        "differing": [layer["layer"] for layer in layers if layer["differs"]],
        "note": "a difference says that the inputs differ, not that the layer is why: compare the requests first",
    }


def _outputs(asked: Asked, items: Sequence[Item]) -> dict[str, Array]:
    """Per layer the mean outputs ``[requests, units]``."""
    module: nn.Module = export.from_file(modelfile.read(asked.model.path))
    seen: dict[str, list[Array]] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            first: Tensor = output[0] if isinstance(output, tuple) else output
            seen.setdefault(name, []).append(first.detach().double().reshape(-1, first.shape[-1]).mean(0).numpy())

        return hook

    leaves = [(n, part) for n, part in module.named_modules() if n and not list(part.children())]
    hooks = [part.register_forward_hook(keep(n)) for n, part in leaves if any(True for _ in part.parameters())]
    try:
        with torch.no_grad():
            for item in items:
                module(torch.from_numpy(item.batch(item.x[None])))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: np.stack(rows) for name, rows in seen.items() if len(rows) == len(items)}


def _effects(rows: Array, first: NDArray[np.bool_]) -> Array:
    """Cohen's d of every unit ``[shuffles, units]`` for groups ``first [shuffles, requests]``."""
    mask = first.astype(np.float64)
    counts = mask.sum(1, keepdims=True), (1 - mask).sum(1, keepdims=True)
    means = mask @ rows / counts[0], (1 - mask) @ rows / counts[1]
    squares = np.square(rows).sum(0) - counts[0] * np.square(means[0]) - counts[1] * np.square(means[1])
    deviation = np.sqrt(np.maximum(squares, 0) / max(len(rows) - 2, 1))
    scale = np.maximum(deviation, 1e-9 * np.abs(rows).max(initial=1e-30))
    effects: Array = (means[0] - means[1]) / scale
    return effects


def _layer(name: str, rows: Array, shuffles: NDArray[np.bool_], test: bool) -> dict[str, Any]:
    effects = _effects(rows, shuffles)
    largest = np.abs(effects).max(1)
    order = np.argsort(-np.abs(effects[0]), kind="stable")
    one, other = rows[shuffles[0]], rows[~shuffles[0]]
    critical = float(np.quantile(largest[1:], 0.95)) if test else None
    return {
        "layer": name,
        "units": rows.shape[1],
        "largest_effect": float(largest[0]),
        "differing_units": int((np.abs(effects[0]) > critical).sum()) if critical is not None else None,
        "p": float((1 + (largest[1:] >= largest[0] - 1e-12).sum()) / len(largest)) if test else None,
        "shown": [
            {
                "unit": int(i),
                "effect": float(effects[0, i]),
                "means": [float(one[:, i].mean()), float(other[:, i].mean())],
            }
            for i in order[:_SHOWN]
        ],
    }
