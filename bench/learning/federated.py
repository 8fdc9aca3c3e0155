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
from bench.learning.cells import Cells, grid, of
from bench.report import table
from claude_flow import statistics
from claude_flow.train.recipes import federated
from claude_flow.train.recipes.federated import Federation, Participant

__all__ = ["NEEDS_DATA", "PAGE", "cells", "section"]

PAGE, NEEDS_DATA = "recipes.md", True


@dataclass(frozen=True)
class _Way:
    """How the five learn together, and the least share of the pooled model's gain that the mark asks for."""

    mark: float
    strategy: str = "weighted-average"
    poisoned: bool = False
    epsilon: float | None = None


WAYS = {
    "weighted average": _Way(0.95),
    "one poisoned, median": _Way(0.9, "median", poisoned=True),
    "one poisoned, trimmed mean": _Way(0.9, "trimmed-mean", poisoned=True),
    "private, epsilon ≤ 8": _Way(0.8, epsilon=8.0),
}
APART = "alone and pooled"
DOMAINS = ("users of two sites", "projects")
_NETWORK, _OWNERS, _JOBS, _ROUNDS, _EPOCHS, _RATE, _BATCH = "prediction", 5, 2000, 6, 3, 2e-3, 32
#: of DP-SGD: all of an owner's examples in a step, few of whose gradients are shorter than the clip
_PRIVATE_RATE, _PRIVATE_BATCH, _CLIP = 2e-2, 128, 0.05
_POISON = -5.0  # times the honest update
_SAYS = """\
Five owners, each with data of its own: three users of one machine and two of the other, those with the most jobs among
2,000 of either log (another stretch with every seed), or the five largest Claude Code projects; of each the earliest
60 % to learn from, 20 % to choose by, 20 % to judge by. *Gain*: how far the mean loss on the owners' last parts falls
from that of the best single owner's model (the best on all parts to choose by) to that of a model of the pooled data,
which has as many epochs, of batches as large, as all rounds together; a way's share of it is shown, of the mean gain
over seeds. 6 rounds of 3 local epochs. *Poisoned*: one owner, another with every seed, sends minus five times its
update; judged by the other four owners' parts, *of all five* by its own too. *Private*: every example's gradient is
clipped and noised for epsilon 8 at most. Intervals are Student's, over seeds."""


@dataclass
class _Poisoned(Federation):
    """A federation of which ``liar`` answers with minus five times its update."""

    liar: str = ""

    def trained(
        self, weights: Mapping[str, Tensor], number: int, deadline: float
    ) -> tuple[dict[str, dict[str, Tensor]], dict[str, str]]:
        after, absent = super().trained(dict(weights), number, deadline)
        own = after[self.liar]
        for name, tensor in own.items():
            if tensor.is_floating_point():
                own[name] = weights[name] + _POISON * (tensor - weights[name])
        return after, absent


def cells(data: Path | None, seeds: int) -> dict[str, Callable[[], dict[str, float]]]:
    """A seed of everything before the next seed."""
    return grid(functools.partial(_run, data), DOMAINS, (APART, *WAYS), seeds)


def _run(data: Path, domain: str, way: str, seed: int) -> dict[str, float]:
    """Losses on the owners' held-out parts, the place of the owner behind a colon. ``alone``, of the best single
    owner's model, and ``pooled``; or ``loss``, and the ``epsilon`` spent."""
    whole, owners = _owners(data, domain, seed)
    config = _config(_RATE, _BATCH)
    if way == APART:
        alone = [worlds.fitted(_NETWORK, config, owner.data, seed) for owner in owners]
        pooled = worlds.fitted(_NETWORK, config, whole, seed)
        best = min(alone, key=lambda model: np.mean(_judged(model.module, owners, "validation")))
        return _named("alone", _judged(best.module, owners)) | _named("pooled", _judged(pooled.module, owners))
    how = WAYS[way]
    secret = None
    if how.epsilon is not None:
        config = _config(_PRIVATE_RATE, _PRIVATE_BATCH)
        plan = {"rounds": _ROUNDS, "local_epochs": _EPOCHS, "epsilon": how.epsilon, "clip": _CLIP}
        secret = functools.partial(federated.private, config=config, seed=seed, **plan)
    options: dict[str, Any] = {"liar": owners[_liar(seed)].name} if how.poisoned else {}
    federation = (_Poisoned if how.poisoned else Federation)(
        _NETWORK, config, owners, how.strategy, _EPOCHS, seed, secret, secure=secret is not None, **options
    )
    torch.manual_seed(seed)
    module = whole.module(config.network)
    weights, _ = federation.run(dict(module.state_dict()), _ROUNDS)
    module.load_state_dict(weights)
    epsilon = {"epsilon": max(federation.epsilon.values())} if secret else {}
    return _named("loss", _judged(module, owners)) | epsilon


def _config(rate: float, batch: int) -> Any:
    return worlds.settings(_NETWORK, _ROUNDS * _EPOCHS, rate, **{"batch-size": batch})


def _liar(seed: int) -> int:
    return seed % _OWNERS


def _named(name: str, losses: list[float]) -> dict[str, float]:
    return {f"{name}:{place}": loss for place, loss in enumerate(losses)}


def _judged(module: Any, owners: list[Participant], split: str = "test") -> list[float]:
    module.eval()
    with torch.no_grad():
        return [float(owner.data.metrics(module, split)["loss"]) for owner in owners]


@lru_cache(1)
def _owners(data: Path, domain: str, seed: int) -> tuple[Any, list[Participant]]:
    """The pooled data, of the owners alone, and the owners."""
    if domain == "projects":
        whole = worlds.opened(_NETWORK, worlds.transcripts(data), 0.2, seed)
    else:
        whole = worlds.opened(_NETWORK, worlds.jobs(data, list(worlds.SWF), 4000 * seed, _JOBS, 0.2), 0.2, seed)
    rows: dict[str, Any] = {}
    for name, part in whole.parts().items():
        # An owner's own latest fifths, not the whole log's: every owner has something to learn and to judge by.
        own = np.flatnonzero(part.split >= 0)
        beside = sum(other.rpartition("/")[0] == name.rpartition("/")[0] for other in rows)
        if len(rows) < _OWNERS and len(own) >= 40 and (domain == "projects" or beside < 3):
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


def _mean(values: dict[str, float], name: str, without: int | None = None) -> float:
    return float(np.mean([values[f"{name}:{place}"] for place in range(_OWNERS) if place != without]))


def _share(apart: Cells, own: Cells, honest: bool) -> Any:
    """Of the mean gain, since a seed's own may be next to nothing; on the ``honest`` owners' parts alone, or on all."""
    gains, gained = [], []
    for seed, values in own.items():
        liar = _liar(int(seed)) if honest else None
        alone, pooled = (_mean(apart[seed], name, liar) for name in ("alone", "pooled"))
        gains.append(alone - pooled)
        gained.append(alone - _mean(values, "loss", liar))
    return statistics.interval([gain / np.mean(gains) for gain in gained])


def _shown(span: Any) -> str:
    return f"{span.mean:.2f} ({span.low:.2f} … {span.high:.2f})"


def section(found: Cells) -> str:
    """Losses and shares of the pooled model's gain, and the marks."""
    rows, told = [], []
    for domain in DOMAINS:
        apart = of(found, domain, APART)
        if not apart:
            continue
        for name in ("alone", "pooled"):
            loss = np.mean([_mean(v, name) for v in apart.values()])
            shown = "best single owner" if name == "alone" else name
            rows.append([domain, len(apart), shown, f"{loss:.4f}", None, None, None])
        for way, how in WAYS.items():
            own = {seed: v for seed, v in of(found, domain, way).items() if seed in apart}
            if not own:
                continue
            span, whole = (_share(apart, own, honest) for honest in (how.poisoned, False))
            epsilon = f"{max(v['epsilon'] for v in own.values()):.1f}" if how.epsilon else None
            loss = np.mean([_mean(v, "loss") for v in own.values()])
            rows.append([domain, len(own), way, f"{loss:.4f}", *map(_shown, (span, whole)), epsilon])
            reached = "reached" if span.mean >= how.mark else "**missed**"
            told.append(f"{domain}, {way} ≥ {how.mark}: {span.mean:.2f}, {reached}")
    columns = ["owners", "seeds", "way", "loss", "share of the gain", "of all five", "epsilon"]
    return "\n\n".join([_SAYS, table(columns, rows), f"Marks: {'; '.join(told)}."])
