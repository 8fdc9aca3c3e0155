"""How the training loss's gradient flows through a model, layer by layer: does it vanish, does it explode?"""

from __future__ import annotations

import math
from typing import Any

import torch

from claude_flow.insight.data import Subject

__all__ = ["EXPLODING", "VANISHING", "gradients"]

#: a layer's gradient by its weights, on the median layer's scale, below which it learns next to nothing
VANISHING = 1e-3
#: and above which one step of the usual learning rates throws it off
EXPLODING = 1e3


def gradients(subject: Subject, most: int = 8) -> dict[str, Any]:
    """Per tensor of weights the norm of its gradient over up to ``most`` held-out batches, and what is wrong.

    ``ratio`` is the gradient's norm by the weights' norm, the size of a step by what it changes; a layer is *vanishing*
    where its ratio is below :data:`VANISHING` times the median ratio, *exploding* above :data:`EXPLODING` times it, and
    wherever a gradient is not finite.
    """
    module = subject.module.eval()
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    norms: dict[str, list[float]] = {name: [] for name, _ in named}
    for batch in subject.batches(most):
        found = torch.autograd.grad(subject.loss(batch), [p for _, p in named], allow_unused=True)
        for (name, _), gradient in zip(named, found, strict=True):
            norms[name].append(0.0 if gradient is None else float(gradient.norm()))
    layers: list[dict[str, Any]] = []
    for name, parameter in named:
        norm = sum(norms[name]) / len(norms[name])
        size = float(parameter.detach().norm())
        ratio = norm / size if size > 0 else None
        layers.append({"layer": name, "numbers": parameter.numel(), "norm": norm, "weights": size, "ratio": ratio})
    ratios = sorted(r for layer in layers if (r := layer["ratio"]) and math.isfinite(r) and layer["numbers"] > 1)
    middle = ratios[len(ratios) // 2] if ratios else math.nan
    findings = [f for layer in layers if (f := _finding(layer, middle)) is not None]
    return {
        "model": subject.name,
        "data": subject.label,
        "median_ratio": middle,
        "layers": layers,
        "findings": findings,
    }


def _finding(layer: dict[str, Any], middle: float) -> dict[str, Any] | None:
    """What is wrong with a layer's gradient: the layer, the measure, the limit, and what to try."""
    ratio = layer["ratio"]
    if not math.isfinite(layer["norm"]):
        return _told(layer, "exploding", layer["norm"], math.inf, "lower learning-rate.initial, and look at the inputs")
    if ratio is None or not layer["layer"].endswith("weight"):
        return None
    if ratio < VANISHING * middle:
        advice = "a residual connection, another start of its weights, or fewer layers; debug activations shows why"
        return _told(layer, "vanishing", ratio, VANISHING * middle, advice)
    if ratio > EXPLODING * middle:
        return _told(layer, "exploding", ratio, EXPLODING * middle, "layer norm before it, or a smaller start")
    return None


def _told(layer: dict[str, Any], kind: str, value: float, limit: float, advice: str) -> dict[str, Any]:
    measure = "gradient by weights"
    return {"layer": layer["layer"], "kind": kind, "measure": measure, "value": value, "limit": limit, "try": advice}
