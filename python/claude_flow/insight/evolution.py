"""How attention changes over a timeline of requests: which patterns stay, where they break, which heads are alike.

Requests differ in their tokens, so attention is summed by kind of token: of what tokens of one kind (agents, tasks, the
state) give, the share that goes to each kind, less what it would be if all tokens got the same. That *excess* is
comparable over time: above 0 a head looks at that kind more than its number of tokens explains.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from claude_flow import export, modelfile, statistics
from claude_flow.errors import InputError
from claude_flow.insight.asked import Asked
from claude_flow.insight.attention import CAVEAT, parts_of, weights_of
from claude_flow.networks.inputs import Item

__all__ = ["evolution"]

Array = NDArray[np.float64]
_LEAST = 3  # requests of a timeline
_EXCESS = 0.05  # from which on a pattern is told
_ALIKE = 0.1  # heads whose excess differs by less everywhere are of one cluster
_DRAWS = 1999


def evolution(asked: Asked, temporal: bool = True, patterns: bool = True, seed: int = 0) -> dict[str, Any]:
    """Attention over the requests of ``asked`` in their order.

    ``temporal``: entropy's trend over time (Spearman, p by shuffling time, Holm over the heads), and the moments where
    a head's pattern jumps. ``patterns``: what stays, and clusters of heads.

    Raises:
        InputError: the network has no self-attention, or there are fewer than three requests.
    """
    items = asked.items
    if len(items) < _LEAST:
        raise InputError(f"{asked.label}: a timeline wants at least {_LEAST} requests")
    module = export.from_file(modelfile.read(asked.model.path))
    parts = parts_of(module, asked.name)
    kinds = list(dict.fromkeys(kind for item in items for kind in item.kinds))
    steps = [_step(weights_of(module, parts, torch.from_numpy(item.x[None])), item, kinds) for item in items]
    names = [(layer + 1, head + 1) for layer, part in enumerate(parts) for head in range(part.heads)]
    entropy = np.stack([entropies for entropies, _ in steps], 1)  # [heads, steps]
    excess = np.stack([blocks for _, blocks in steps], 1)  # [heads, steps, kinds, kinds]
    result: dict[str, Any] = {
        "model": asked.name,
        "data": asked.label,
        "kinds": kinds,
        "steps": [{"tokens": len(item.tokens), "decisions": list(item.decisions)} for item in items],
        "heads": [
            {
                "layer": layer,
                "head": head,
                "entropy": entropy[i].round(4).tolist(),
                "excess": np.nan_to_num(excess[i]).round(4).tolist(),
            }
            for i, (layer, head) in enumerate(names)
        ],
        "caveat": CAVEAT,
    }
    if temporal:
        result["trends"] = _trends(names, entropy, seed)
        result["changes"] = _changes(names, excess)
    if patterns:
        result["patterns"] = _patterns(names, excess, kinds)
        result["clusters"] = _clusters(names, excess)
    return result


def _step(weights: list[Array], item: Item, kinds: list[str]) -> tuple[Array, Array]:
    """Of one request: the entropy of every head as a share of the largest, and its excess ``[heads, kinds, kinds]``."""
    w = np.concatenate(weights)  # [heads, T, T]
    tokens = w.shape[1]
    entropy = -(w * np.log(np.maximum(w, 1e-12))).sum(2).mean(1) / np.log(max(2, tokens))
    member = np.array([[kind == own for own in item.kinds] for kind in kinds], np.float64)
    count = member.sum(1)
    mass = member @ w @ member.T
    share = mass / np.where(count > 0, count, np.nan)[:, None]
    blocks: Array = share - count / tokens
    return entropy, blocks


def _trends(names: list[tuple[int, int]], entropy: Array, seed: int) -> list[dict[str, Any]]:
    generator, time = np.random.default_rng(seed), np.arange(entropy.shape[1])
    shuffles = [generator.permutation(time) for _ in range(_DRAWS)]
    found, p = [], []
    for (layer, head), line in zip(names, entropy, strict=True):
        trend = statistics.spearman(time, line)
        chance = [abs(statistics.spearman(shuffled, line)) for shuffled in shuffles]
        p.append((1 + sum(c >= abs(trend) - 1e-12 for c in chance)) / (1 + len(chance)))
        found.append({"layer": layer, "head": head, "trend": trend, "mean_entropy": float(line.mean())})
    for row, corrected in zip(found, statistics.holm(p), strict=True):
        row |= {"p_corrected": float(corrected), "significant": bool(corrected <= 0.05)}
    return found


def _changes(names: list[tuple[int, int]], excess: Array) -> list[dict[str, Any]]:
    """Steps at which a head's pattern moves by more than its usual move and three deviations (by the median)."""
    found = []
    for (layer, head), blocks in zip(names, np.nan_to_num(excess), strict=True):
        moves = np.abs(np.diff(blocks, axis=0)).sum(2).mean(1) / 2
        usual = float(np.median(moves))
        limit = max(_EXCESS, usual + 3 * 1.4826 * float(np.median(np.abs(moves - usual))))
        found += [
            {"layer": layer, "head": head, "step": int(i) + 2, "moved": float(moves[i]), "limit": limit}
            for i in np.flatnonzero(moves > limit)
        ]
    return found


def _patterns(names: list[tuple[int, int]], excess: Array, kinds: list[str]) -> list[dict[str, Any]]:
    """What a head does all along: an excess of at least five points, and twice its deviation over time."""
    found = []
    for (layer, head), blocks in zip(names, excess, strict=True):
        mean, deviation = np.nanmean(blocks, 0), np.nanstd(blocks, 0)
        for i, j in zip(*np.nonzero((np.abs(mean) >= _EXCESS) & (np.abs(mean) >= 2 * deviation)), strict=True):
            says = (
                f"{kinds[i]} tokens look at {kinds[j]} tokens {'more' if mean[i, j] > 0 else 'less'} than their number"
            )
            row = {"layer": layer, "head": head, "from": kinds[i], "to": kinds[j], "says": says}
            found.append(row | {"excess": float(mean[i, j]), "deviation": float(deviation[i, j])})
    return sorted(found, key=lambda row: -abs(float(str(row["excess"]))))


def _clusters(names: list[tuple[int, int]], excess: Array) -> list[list[str]]:
    """Heads joined by chains of such as differ by less than ten points everywhere, on the mean over time."""
    means = np.nan_to_num(np.nanmean(excess, 1)).reshape(len(names), -1)
    near = np.abs(means[:, None] - means[None]).max(2) < _ALIKE
    left, clusters = set(range(len(names))), []
    while left:
        grown, edge = set(), {min(left)}
        while edge:
            grown |= edge
            edge = {int(j) for i in edge for j in np.flatnonzero(near[i])} - grown
        left -= grown
        clusters.append([f"layer {names[i][0]}, head {names[i][1]}" for i in sorted(grown)])
    return sorted(clusters, key=len, reverse=True)
