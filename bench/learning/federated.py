"""A model of data that stays with its owners, beside the best single owner's and the pooled data's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.learning import worlds
from bench.learning.cells import Cells, of
from bench.report import table
from claude_flow import statistics
from claude_flow.train.recipes import federated
from claude_flow.train.recipes.federated import Federation, Participant

__all__ = ["NEEDS_DATA", "PAGE", "cells", "section"]

PAGE, NEEDS_DATA = "recipes.md", True
#: way -> (strategy, whether one of the five sends poison, epsilon)
WAYS: dict[str, tuple[str, bool, float | None]] = {
    "weighted average": ("weighted-average", False, None),
    "one poisoned, median": ("median", True, None),
    "one poisoned, trimmed mean": ("trimmed-mean", True, None),
    "private, epsilon ≤ 8": ("weighted-average", False, 8.0),
}
#: way -> the least share of the pooled model's gain
MARKS = dict(zip(WAYS, (0.95, 0.9, 0.9, 0.8), strict=True))
DOMAINS = ("users of a site", "projects")
_NETWORK, _OWNERS, _JOBS, _ROUNDS, _EPOCHS, _RATE = "prediction", 5, 2500, 6, 2, 2e-3
_POISON = -5.0  # times the honest update
_SAYS = """\
Five owners, each with data of its own: the five users of the LLNL-Atlas log with the most jobs among 2,500 (another
stretch of the log with every seed), or the five largest Claude Code projects; of each the earliest 60 % to learn from,
20 % to choose by, 20 % to judge by. *Gain*: how far the mean loss on all owners' last parts falls from that of the best
single owner's model (the best on all parts to choose by) to that of a model of the pooled data, which has as many
epochs as all rounds together; a way's share of it is shown. 6 rounds of 2 local epochs. *Poisoned*: the largest owner
sends minus five times its update; its data are judged with the others'. *Private*: every example's gradient is clipped
and noised for epsilon 8 at most. Intervals are Student's, over seeds."""


@dataclass
class _Poisoned(Federation):
    """A federation whose first participant answers with minus five times its update."""

    def trained(
        self, weights: Mapping[str, Tensor], number: int, deadline: float
    ) -> tuple[dict[str, dict[str, Tensor]], dict[str, str]]:
        after, absent = super().trained(dict(weights), number, deadline)
        own = after[self.participants[0].name]
        for name, tensor in own.items():
            if tensor.is_floating_point():
                own[name] = weights[name] + _POISON * (tensor - weights[name])
        return after, absent


def cells(data: Path | None, seeds: int) -> dict[str, Callable[[], dict[str, float]]]:
    """A seed of everything before the next seed."""
    ways = ("alone and pooled", *WAYS)
    return {
        f"{domain}/{way}/{seed}": functools.partial(_run, data, domain, way, seed)
        for seed in range(seeds)
        for domain in DOMAINS
        for way in ways
    }


def _run(data: Path, domain: str, way: str, seed: int) -> dict[str, float]:
    """The mean loss over all owners' held-out parts: ``alone``, of the best single owner's model, and ``pooled``; or
    ``loss``, and the ``epsilon`` spent."""
    whole, owners = _owners(data, domain, seed)
    config = worlds.settings(_NETWORK, _ROUNDS * _EPOCHS, _RATE)
    if way not in WAYS:
        alone = [worlds.fitted(_NETWORK, config, owner.data, seed) for owner in owners]
        pooled = worlds.fitted(_NETWORK, config, whole, seed)
        best = min(alone, key=lambda model: _judged(model.module, owners, "validation"))
        return {"alone": _judged(best.module, owners), "pooled": _judged(pooled.module, owners)}
    strategy, poisoned, epsilon = WAYS[way]
    secret = None
    if epsilon is not None:
        secret = functools.partial(
            federated.private, config=config, rounds=_ROUNDS, local_epochs=_EPOCHS, seed=seed, epsilon=epsilon, clip=1.0
        )
    federation = (_Poisoned if poisoned else Federation)(
        _NETWORK, config, owners, strategy, _EPOCHS, seed, secret, secure=epsilon is not None
    )
    torch.manual_seed(seed)
    module = whole.module(config.network)
    weights, _ = federation.run(dict(module.state_dict()), _ROUNDS)
    module.load_state_dict(weights)
    return {"loss": _judged(module, owners), "epsilon": max(federation.epsilon.values(), default=0.0)}


def _judged(module: Any, owners: list[Participant], split: str = "test") -> float:
    module.eval()
    with torch.no_grad():
        return float(np.mean([owner.data.metrics(module, split)["loss"] for owner in owners]))


@lru_cache(1)
def _owners(data: Path, domain: str, seed: int) -> tuple[Any, list[Participant]]:
    """The pooled data, of the owners alone, and the owners."""
    if domain == "projects":
        whole = worlds.opened(_NETWORK, worlds.transcripts(data), 0.2, seed)
    else:
        whole = worlds.opened(_NETWORK, worlds.jobs(data, "LLNL-Atlas", 4000 * seed, _JOBS, 0.2), 0.2, seed)
    rows = {}
    for name, part in whole.parts().items():
        # An owner's own latest fifths, not the whole log's: every owner has something to learn and to judge by.
        own = np.flatnonzero(part.split >= 0)
        if len(rows) < _OWNERS and len(own) >= 40:
            rows[name] = own
    parts = {}
    for name, own in rows.items():
        part = whole.parts()[name]
        part.split = np.full_like(whole.split, -1)
        for label, (begin, end) in enumerate(((0, 0.6), (0.6, 0.8), (0.8, 1.0))):
            part.split[own[int(begin * len(own)) : int(end * len(own))]] = label
        parts[name] = part
    pooled = next(iter(whole.parts().values()))
    pooled.split = np.max([part.split for part in parts.values()], axis=0)
    return pooled, list(federated.participants(parts, list(parts), 64))


def section(found: Cells) -> str:
    """Losses and shares of the pooled model's gain, and the marks."""
    rows, told = [], []
    for domain in DOMAINS:
        ends = of(found, domain, "alone and pooled")
        if not ends:
            continue
        gain = {seed: v["alone"] - v["pooled"] for seed, v in ends.items()}
        rows += [
            [domain, len(ends), "best single owner", f"{np.mean([v['alone'] for v in ends.values()]):.4f}", None, None],
            [domain, len(ends), "pooled", f"{np.mean([v['pooled'] for v in ends.values()]):.4f}", None, None],
        ]
        for way in WAYS:
            own = {seed: v for seed, v in of(found, domain, way).items() if seed in ends}
            if not own:
                continue
            # Of the mean gain: a seed's own gain may be next to nothing.
            shares = [(ends[seed]["alone"] - v["loss"]) / np.mean(list(gain.values())) for seed, v in own.items()]
            span = statistics.interval(shares)
            epsilon = max(v["epsilon"] for v in own.values())
            loss = np.mean([v["loss"] for v in own.values()])
            shown = f"{span.mean:.2f} ({span.low:.2f} … {span.high:.2f})"
            rows.append([domain, len(own), way, f"{loss:.4f}", shown, f"{epsilon:.1f}" if epsilon else None])
            if way in MARKS:
                reached = "reached" if span.mean >= MARKS[way] else "**missed**"
                told.append(f"{domain}, {way} ≥ {MARKS[way]}: {span.mean:.2f}, {reached}")
    columns = ["owners", "seeds", "way", "loss", "share of the gain", "epsilon"]
    return "\n\n".join([_SAYS, table(columns, rows), f"Marks: {'; '.join(told)}."])
