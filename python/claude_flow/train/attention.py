"""How spread a network's attention is, layer by layer, read off by hooks while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["entropies"]


def entropies(module: nn.Module, run: Callable[[], object]) -> dict[str, float]:
    """Mean entropy of the attention weights of each layer during ``run()``, as a share of the largest possible.

    1 = every token looks at all the others alike, 0 = at a single one: H = -sum(p log p) / log(n) over the ``n``
    tokens that an item really has, averaged over heads, real tokens and items with n > 1. Keys are
    ``attention-entropy-1`` (the first layer) and so on, over all members of a network that has several; empty for a
    network without attention. Self-attention is a part with ``qkv``, ``heads`` and ``scale``; attention pooling
    one with ``keys`` and the vector ``attention``.
    """
    found: dict[str, list[Tensor]] = {}
    lengths: list[Tensor | None] = [None]
    hooks: list[Any] = []

    def remember(_: nn.Module, args: tuple[Any, ...]) -> None:
        lengths[0] = args[1] if len(args) > 1 else None

    def real(tokens: int, items: int, place: torch.device) -> Tensor:
        """bool [items, tokens]: which tokens are no padding."""
        known = lengths[0] if lengths[0] is not None else torch.full((items,), tokens, device=place)
        return torch.arange(tokens, device=place) < known[:, None]

    def of_block(name: str, block: Any) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, qkv: Tensor) -> None:
            items, tokens, _width = qkv.shape
            q, k, _v = qkv.view(items, tokens, 3, block.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            there = real(tokens, items, qkv.device)
            scores = (q @ k.transpose(2, 3) * block.scale).masked_fill(~there[:, None, None, :], -torch.inf)
            entropy = torch.special.entr(torch.softmax(scores, dim=-1)).sum(-1).mean(1)  # [items, tokens]
            found.setdefault(name, []).append(_shares(entropy, there))

        return hook

    def of_pool(keys: Tensor, vector: Tensor) -> Tensor:
        there = real(keys.shape[1], len(keys), keys.device)
        scores = (torch.tanh(keys) @ vector).masked_fill(~there, -torch.inf)
        entropy = torch.special.entr(torch.softmax(scores, dim=1)).sum(1, keepdim=True)
        return _shares(entropy.expand(-1, keys.shape[1]), there)

    layer = 0
    part: Any
    for part in module.modules():
        if hasattr(part, "qkv") and hasattr(part, "heads"):
            layer += 1
            hooks.append(part.qkv.register_forward_hook(of_block(f"attention-entropy-{layer}", part)))
        elif isinstance(getattr(part, "attention", None), nn.Parameter) and hasattr(part, "keys"):

            def pool_hook(_: nn.Module, __: Any, keys: Tensor, vector: Any = part.attention) -> None:
                found.setdefault("attention-entropy-1", []).append(of_pool(keys, vector))

            hooks.append(part.keys.register_forward_hook(pool_hook))
    if not hooks:
        return {}
    hooks.append(module.register_forward_pre_hook(remember))
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    values = {name: torch.cat(parts).mean().item() for name, parts in found.items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _shares(entropy: Tensor, there: Tensor) -> Tensor:
    """Entropies [items, tokens] over log(n), of the real tokens of items with more than one."""
    count = there.sum(1, keepdim=True)
    shares: Tensor = (entropy / count.clamp(min=2).log())[there & (count > 1)]
    return shares
