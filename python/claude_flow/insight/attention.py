"""What a network's tokens attend to, and how far that agrees with what changes when a token is blanked.

Attention weights are not importance: a token may draw attention and change nothing, since its values are small or
later layers undo them. So beside the raw weights stands the rollout (Abnar and Zuidema 2020: the layers' matrices,
each mixed half with the identity for the residual way, multiplied), and both are compared with ablation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from claude_flow import statistics
from claude_flow.errors import InputError
from claude_flow.insight.data import Subject

__all__ = ["CAVEAT", "attention", "layers", "parts_of", "weights_of"]

CAVEAT = "attention weights are not importance: see how far they agree with blanking a token"


def attention(
    subject: Subject, wanted: tuple[int, ...] | None = None, heads: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """Attention on the held-out item with most tokens; ``wanted`` layers and ``heads`` count from 1, None is all.

    Returns per layer and head the weights ``[tokens][tokens]`` and their entropy as a share of the largest possible,
    the rollout, and per token what blanking it changes in the output, with Spearman's correlations.

    Raises:
        InputError: the network has no self-attention, or no such layer or head.
    """
    parts = parts_of(subject.module, subject.name)
    _within("layer", wanted, len(parts), subject.name)
    _within("head", heads, parts[0].heads, subject.name)
    x, names = _longest(subject)
    weights = weights_of(subject.module, parts, x)
    received = np.stack([w.mean(0) for w in weights])
    rollout = np.eye(len(names))
    for matrix in received:
        rollout = (0.5 * matrix + 0.5 * np.eye(len(names))) @ rollout
    effect = _ablation(subject.module, x)
    rows = []
    for layer in wanted or range(1, len(parts) + 1):
        for head in heads or range(1, parts[0].heads + 1):
            w = weights[layer - 1][head - 1]
            entropy = float(-(w * np.log(np.maximum(w, 1e-12))).sum(1).mean() / np.log(max(2, len(names))))
            rows.append({"layer": layer, "head": head, "entropy": entropy, "weights": w.round(4).tolist()})
    raw = received.mean((0, 1))
    return {
        "model": subject.name,
        "data": subject.label,
        "tokens": names,
        "attention": rows,
        "rollout": rollout.round(4).tolist(),
        "received": raw.round(4).tolist(),
        "rollout_received": rollout.mean(0).round(4).tolist(),
        "ablation": effect.round(4).tolist(),
        "agreement": {
            "raw": statistics.spearman(raw, effect),
            "rollout": statistics.spearman(rollout.mean(0), effect),
        },
        "caveat": CAVEAT,
    }


def layers(subject: Subject) -> int:
    """How many layers of self-attention there are; :class:`InputError` if none."""
    return len(parts_of(subject.module, subject.name))


def parts_of(module: nn.Module, name: str) -> list[Any]:
    """The blocks with self-attention, in order; :class:`InputError` if the model ``name`` has none."""
    parts: list[Any] = [part for part in module.modules() if hasattr(part, "qkv") and hasattr(part, "heads")]
    if not parts:
        raise InputError(f"{name} has no self-attention layer to show")
    return parts


def _within(what: str, wanted: tuple[int, ...] | None, most: int, model: str) -> None:
    for number in wanted or ():
        if not 1 <= number <= most:
            raise InputError(f"{model} has no {what} {number}: its {what}s are 1 to {most}")


def _longest(subject: Subject) -> tuple[Tensor, list[str]]:
    """The inputs ``[1, T, width]`` of the held-out item with most tokens, and their names."""
    best: tuple[Tensor, list[str]] | None = None
    for batch in subject.batches(8):
        for item in range(len(batch["x"])):
            names = subject.tokens(batch, item)
            if best is None or len(names) > len(best[1]):
                best = batch["x"][item : item + 1, : len(names)], names
    assert best is not None
    return best


def weights_of(module: nn.Module, parts: list[Any], x: Tensor) -> list[NDArray[np.float64]]:
    """Per layer the weights ``[heads, T, T]`` on one item ``x`` ``[1, T, width]``."""
    found: dict[int, Tensor] = {}

    def hook(layer: int) -> Any:
        def keep(_: nn.Module, __: Any, qkv: Tensor) -> None:
            found[layer] = qkv.detach()

        return keep

    hooks = [part.qkv.register_forward_hook(hook(layer)) for layer, part in enumerate(parts)]
    try:
        with torch.no_grad():
            module(x)
    finally:
        for handle in hooks:
            handle.remove()
    result = []
    for layer, part in enumerate(parts):
        tokens = found[layer].shape[1]
        q, k, _ = found[layer][0].double().view(tokens, 3, part.heads, -1).permute(1, 2, 0, 3).unbind(0)
        result.append(torch.softmax(q @ k.transpose(1, 2) * part.scale, -1).numpy())
    return result


def _ablation(module: nn.Module, x: Tensor) -> NDArray[np.float64]:
    """Per token by how much the other tokens' outputs change when it is blanked, relative to their size."""
    tokens = x.shape[1]
    batch = x.repeat(tokens, 1, 1)
    batch[torch.arange(tokens), torch.arange(tokens)] = 0
    with torch.no_grad():
        whole, without = module(x).double(), module(batch).double()
    others = ~torch.eye(tokens, dtype=torch.bool)
    change = ((without - whole).square().sum(-1) * others).sum(1).sqrt()
    size = (whole.square().sum(-1) * others).sum(1).sqrt()
    effect: NDArray[np.float64] = (change / size.clamp(min=1e-12)).numpy()
    return effect
