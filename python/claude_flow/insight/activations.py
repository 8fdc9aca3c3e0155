"""What a model's layers put out on held-out data: how large, how sparse, which units are dead, which saturated."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from claude_flow.errors import InputError
from claude_flow.evaluate.reference import ACTIVATIONS
from claude_flow.insight.data import Subject
from claude_flow.values import did_you_mean

__all__ = ["DEAD", "SATURATED", "activations"]

#: a unit is dead if it varies less than this by its layer's own spread over all held-out rows
DEAD = 1e-6
#: a value of an LSTM or a tanh beyond this is at its end
SATURATED = 0.97
_MANY = 0.1  # share of a layer's units, or of its values, from which on it is a finding


def activations(subject: Subject, wanted: str = "all", most: int = 8) -> dict[str, Any]:
    """Every layer's outputs over up to ``most`` held-out batches; ``wanted``: ``all``, or the beginning of names.

    Raises:
        InputError: no layer is called so.
    """
    leaves = [(n, part) for n, part in subject.module.named_modules() if n and not list(part.children())]
    leaves = [(n, part) for n, part in leaves if any(True for _ in part.parameters())]
    chosen = [(n, part) for n, part in leaves if wanted == "all" or n.startswith(wanted)]
    if not chosen:
        names = [n for n, _ in leaves]
        raise InputError(
            f"{subject.name} has no layer {wanted!r}{did_you_mean(wanted, names) or ': ' + ', '.join(names)}"
        )
    seen: dict[str, list[Tensor]] = {n: [] for n, _ in chosen}
    hooks = [part.register_forward_hook(_keep(seen[n])) for n, part in chosen]
    try:
        with torch.no_grad():
            for batch in subject.batches(most):
                subject.loss(batch)
    finally:
        for hook in hooks:
            hook.remove()
    layers = [_layer(n, part, subject.activations.get(n, 0), torch.cat(seen[n])) for n, part in chosen if seen[n]]
    findings = [finding for layer in layers for finding in _findings(layer)]
    return {"model": subject.name, "data": subject.label, "layers": layers, "findings": findings}


def _keep(rows: list[Tensor]) -> Any:
    def hook(_: nn.Module, __: Any, output: Any) -> None:
        first: Tensor = output[0] if isinstance(output, tuple) else output
        rows.append(first.detach().reshape(-1, first.shape[-1]))

    return hook


def _layer(name: str, part: nn.Module, activation: int, rows: Tensor) -> dict[str, Any]:
    """The figures of one layer from its outputs [rows, units], after the activation that follows it."""
    rows = ACTIVATIONS[activation](rows)
    spread = float(rows.std()) if rows.numel() > 1 else 0.0
    by_unit = rows.std(0) if len(rows) > 1 else torch.ones(rows.shape[1])
    dead = (by_unit <= DEAD * max(spread, 1e-30)).nonzero().flatten().tolist() if len(rows) > 1 else []
    bounded = isinstance(part, nn.LSTM) or ACTIVATIONS[activation] is torch.tanh
    return {
        "layer": name,
        "kind": type(part).__name__,
        "units": rows.shape[1],
        "rows": len(rows),
        "mean": float(rows.mean()),
        "deviation": spread,
        "largest": float(rows.abs().max()),
        "not_positive": float((rows <= 0).float().mean()),
        "finite": bool(torch.isfinite(rows).all()),
        "dead": len(dead),
        "dead_units": dead[:20],
        "saturated": float((rows.abs() > SATURATED).float().mean()) if bounded else None,
    }


def _findings(layer: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    if not layer["finite"] or not math.isfinite(layer["deviation"]):
        advice = "lower learning-rate.initial; debug gradients shows where it begins"
        found.append(_told(layer, "exploding", "largest output", layer["largest"], math.inf, advice))
    if layer["dead"] > _MANY * layer["units"]:
        share = layer["dead"] / layer["units"]
        advice = "a lower learning rate, another start of its weights, or fewer units"
        found.append(_told(layer, "dead units", "share of units that never vary", share, _MANY, advice))
    if (layer["saturated"] or 0.0) > _MANY:
        advice = "smaller input weights, normalized inputs, weight decay"
        found.append(_told(layer, "saturated", "share of values at ±1", layer["saturated"], _MANY, advice))
    return found


def _told(layer: dict[str, Any], kind: str, measure: str, value: float, limit: float, advice: str) -> dict[str, Any]:
    return {"layer": layer["layer"], "kind": kind, "measure": measure, "value": value, "limit": limit, "try": advice}
