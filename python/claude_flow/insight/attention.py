"""What a network's tokens attend to, and how far that agrees with what changes when a token is blanked.

Attention weights are not importance: a token may draw attention and change nothing, since its values are small or
later layers undo them. So beside the raw weights stand two measures through all layers, and all three are compared with
ablation:

================== =================================================================================================
rollout            the layers' matrices, each mixed half with the identity for the residual way, multiplied (Abnar and
                   Zuidema 2020)
gradient-weighted  R + A R from layer to layer, where A is the positive part of attention times its gradient, mean over
                   the heads (Chefer, Gur and Wolf 2021): what helps the output, not all that is looked at
================== =================================================================================================

The output is the lead of a request's choices over their runners-up; of a dataset's item, which asks nothing, half the
square of its outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from claude_flow import export, modelfile, nets, statistics
from claude_flow.errors import InputError
from claude_flow.insight.asked import Asked
from claude_flow.insight.data import Subject

__all__ = ["CAVEAT", "Shown", "attention", "layers", "parts_of", "weights_of"]

CAVEAT = "attention weights are not importance: see how far they agree with blanking a token"
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """One item: the module, its inputs ``[1, T, width]``, the tokens' names, and what its outputs decide.

    ``lead`` takes outputs ``[B, T, width]`` to ``[B]``; None where nothing is asked.
    """

    model: str
    network: str
    data: str
    module: nn.Module
    x: Tensor
    tokens: list[str]
    lead: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def asked(cls, asked: Asked) -> Shown:
        """The request with most tokens; its tokens have the ids of its agents and tasks."""
        item = max(asked.items, key=lambda item: len(item.tokens))
        choice = asked.choice(item)
        module = export.from_file(modelfile.read(asked.model.path))

        def lead(y: Tensor) -> Tensor:
            found: Tensor = asked.lead(item.scores(y, torch), choice)
            return found

        data = f"the largest of {asked.label}" if len(asked.items) > 1 else asked.label
        x = torch.from_numpy(item.x[None])
        return cls(asked.name, asked.row.name, data, module, x, list(item.tokens), lead)

    @classmethod
    def held_out(cls, subject: Subject) -> Shown:
        """The item with most tokens of a dataset's held-out part; its tokens are counted."""
        x, tokens = _longest(subject)
        return cls(subject.name, subject.network, subject.label, subject.module, x, tokens)


def attention(
    shown: Shown, wanted: tuple[int, ...] | None = None, heads: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """Attention on one item; ``wanted`` layers and ``heads`` count from 1, None is all.

    Returns per layer and head the weights ``[tokens][tokens]`` and their entropy as a share of the largest possible,
    rollout and gradient-weighted attention through all layers, and per token what blanking it changes in the output,
    with Spearman's correlations.

    Raises:
        InputError: the network has no self-attention, or no such layer or head.
    """
    parts = parts_of(shown.module, shown.model)
    _within("layer", wanted, len(parts), shown.model)
    _within("head", heads, max(parts[layer - 1].heads for layer in wanted or range(1, len(parts) + 1)), shown.model)
    tokens = len(shown.tokens)
    weights = weights_of(shown.module, parts, shown.x)
    received = np.stack([w.mean(0) for w in weights])
    rollout = np.eye(tokens)
    for matrix in received:
        rollout = (0.5 * matrix + 0.5 * np.eye(tokens)) @ rollout
    weighted = _gradient_weighted(shown, parts)
    effect = _ablation(shown)
    rows = []
    for layer in wanted or range(1, len(parts) + 1):
        for head in heads or range(1, parts[layer - 1].heads + 1):
            if head > len(weights[layer - 1]):
                continue  # layers may differ in their number of heads
            w = weights[layer - 1][head - 1]
            entropy = float(-(w * np.log(np.maximum(w, 1e-12))).sum(1).mean() / np.log(max(2, tokens)))
            rows.append({"layer": layer, "head": head, "entropy": entropy, "weights": w.round(4).tolist()})
    by_token = {
        "received": received.mean((0, 1)),
        "rollout_received": rollout.mean(0),
        "gradient_received": weighted.mean(0),
    }
    return {
        "model": shown.model,
        "data": shown.data,
        "tokens": shown.tokens,
        "attention": rows,
        "rollout": rollout.round(4).tolist(),
        "gradient_weighted": weighted.tolist(),
        **{name: values.round(6).tolist() for name, values in by_token.items()},
        "ablation": effect.round(6).tolist(),
        "ablated": "the lead of the choices" if shown.lead else "the other tokens' outputs",
        "agreement": {
            name: statistics.spearman(values, effect)
            for name, values in zip(("raw", "rollout", "gradient_weighted"), by_token.values(), strict=True)
        },
        "caveat": CAVEAT,
    }


def layers(shown: Shown) -> tuple[int, int]:
    """How many layers of self-attention the model has, and how many its network has at the guide's sizes.

    Raises:
        InputError: it has none.
    """
    # Not on the "meta" device, whose first operation imports torch's compiler: 2.3 s, where the weights take 0.1 s.
    return len(parts_of(shown.module, shown.model)), len(_parts(nets.create(shown.network)))


def parts_of(module: nn.Module, name: str) -> list[Any]:
    """The blocks with self-attention, in order; :class:`InputError` if the model ``name`` has none."""
    parts = _parts(module)
    if not parts:
        raise InputError(f"{name} has no self-attention layer to show")
    return parts


def _parts(module: nn.Module) -> list[Any]:
    return [part for part in module.modules() if hasattr(part, "qkv") and hasattr(part, "heads")]


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


def weights_of(module: nn.Module, parts: list[Any], x: Tensor) -> list[Matrix]:
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


def _gradient_weighted(shown: Shown, parts: list[Any]) -> Matrix:
    """Relevance ``[T, T]`` of every token for every token's output, without the identity that it began with.

    A layer's output is O = A V before its projection, so the gradient by A is (gradient by O) V^T.
    """
    module, x, tokens = shown.module, shown.x, shown.x.shape[1]
    kept: list[Tensor] = []
    hooks: list[Any] = []
    for part in parts:
        hooks.append(part.qkv.register_forward_hook(lambda _, __, qkv: kept.append(qkv)))
        hooks.append(part.projection.register_forward_pre_hook(lambda _, given: kept.append(given[0])))
    try:
        y = module(x)
    finally:
        for handle in hooks:
            handle.remove()
    output = y.square().sum() / 2 if shown.lead is None else shown.lead(y).sum()
    slopes = torch.autograd.grad(output, kept[1::2])
    relevance = np.eye(tokens)
    for part, qkv, slope in zip(parts, kept[::2], slopes, strict=True):
        q, k, v = qkv[0].detach().double().view(tokens, 3, part.heads, -1).permute(1, 2, 0, 3).unbind(0)
        by_output = slope[0].double().view(tokens, part.heads, -1).permute(1, 0, 2)
        weights = torch.softmax(q @ k.transpose(1, 2) * part.scale, -1)
        helped = (weights * (by_output @ v.transpose(1, 2))).clamp(min=0).mean(0).numpy()
        relevance = relevance + helped @ relevance
    found: Matrix = relevance - np.eye(tokens)
    return found


def _ablation(shown: Shown) -> Matrix:
    """Per token by how much the lead changes when it is blanked; without a lead the other tokens' outputs, by size."""
    module, x = shown.module, shown.x
    tokens = x.shape[1]
    batch = x.repeat(tokens, 1, 1)
    batch[torch.arange(tokens), torch.arange(tokens)] = 0
    with torch.no_grad():
        whole, without = module(x).double(), module(batch).double()
    if shown.lead is not None:
        change: Matrix = (shown.lead(without) - shown.lead(whole)).abs().numpy()
        return change
    others = ~torch.eye(tokens, dtype=torch.bool)
    moved = ((without - whole).square().sum(-1) * others).sum(1).sqrt()
    size = (whole.square().sum(-1) * others).sum(1).sqrt()
    effect: Matrix = (moved / size.clamp(min=1e-12)).numpy()
    return effect
