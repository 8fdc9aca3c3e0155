"""A model of data that stays with its owners, beside the best single owner's and the pooled data's."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
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
    "one poisoned, trimmed mean": _Way(0.9, "trimmed-mean", poisoned=True),
    "private, epsilon ≤ 8": _Way(0.8, epsilon=8.0),
}
APART = "alone and pooled"
DOMAINS = ("sites", "projects")
_NETWORK, _OWNERS, _JOBS, _ROUNDS, _EPOCHS, _RATE, _BATCH = "prediction", 5, 1000, 6, 3, 2e-3, 32
_LEARN, _CHOOSE = 0.5, 0.65  # of an owner's rows, in time: where each part ends
#: of DP-SGD: all of an owner's examples in a step, few of whose gradients are shorter than the clip
_PRIVATE_RATE, _PRIVATE_BATCH, _CLIP = 2e-2, 128, 0.05
_POISON = -5.0  # times the honest update
_SAYS = """\
Five owners, each with data of its own. *Sites*: 1,000 jobs of either machine (another stretch of the logs with every
seed), the users of one machine dealt to three owners, of the other to two. *Projects*: all Claude Code projects, dealt
to five owners anew with every seed. Of each owner the earliest 50 % to learn from, 15 % to choose by, 35 % to judge by.
*Gain*: how far the mean loss on the owners' last parts falls from that of the best single owner's model (the best on
all parts to choose by) to that of a model of the pooled data, which has as many epochs, of batches as large, as all
rounds together; a way's share of it is shown, of the mean gain over seeds; a mark is judged where the gain's interval
is above 0. 6 rounds of 3 local epochs. *Poisoned*: one owner, another with every seed, sends minus five times its
update; judged by the other four owners' parts, *of all five* by its own too. *Private*: every example's gradient is
clipped and noised for epsilon 8 at most. Intervals are Student's, over seeds. Chosen by the validation parts of another
seed: rounds, epochs and batches among four; of the private way the clip (0.05 of 1, 0.2, 0.05, 0.02), the rate (0.02
of five, from 0.002 to 0.03) and weighted averaging over fedadam. A local rate that falls with the rounds was tried, and
for the private way a smaller network: no better there. What epsilon 8 costs falls with the examples that an owner has,
which are a few dozen to some two hundred here."""


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
    """The pooled data, and the owners: users of either machine, or projects, dealt to them in another order by seed."""
    if domain == "projects":
        whole = worlds.opened(_NETWORK, worlds.transcripts(data), 0.2, seed)
    else:
        whole = worlds.opened(_NETWORK, worlds.jobs(data, list(worlds.SWF), 4000 * seed, _JOBS, 0.2), 0.2, seed)
    parts = whole.parts()
    sources = sorted({name.rpartition("/")[0] for name in parts})
    seats = dict(zip(sources, np.array_split(np.arange(_OWNERS), len(sources)), strict=True))
    dealt = dict.fromkeys(sources, 0)
    owned: list[list[int]] = [[] for _ in range(_OWNERS)]
    for place in np.random.default_rng([seed, 7]).permutation(len(parts)):
        name, part = list(parts.items())[place]
        source = name.rpartition("/")[0]
        owned[seats[source][dealt[source] % len(seats[source])]] += np.flatnonzero(part.split >= 0).tolist()
        dealt[source] += 1
    pooled = copy.copy(whole)
    pooled.split = np.full_like(whole.split, -1)
    own = {}
    for place, rows in enumerate(owned):
        # An owner's own latest part, not the whole log's: every owner has something to learn and to judge by.
        rows.sort()
        own[f"owner-{place}"] = copy.copy(whole)
        own[f"owner-{place}"].split = np.full_like(whole.split, -1)
        ends = [0, *(round(share * len(rows)) for share in (_LEARN, _CHOOSE)), len(rows)]
        for label, (begin, end) in enumerate(pairwise(ends)):
            pooled.split[rows[begin:end]] = own[f"owner-{place}"].split[rows[begin:end]] = label
    return pooled, list(federated.participants(own, list(own), 64))


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
        alone, pooled = ([_mean(v, name) for v in apart.values()] for name in ("alone", "pooled"))
        gain = statistics.interval([a - b for a, b in zip(alone, pooled, strict=True)])
        rows.append([domain, len(apart), "best single owner", f"{np.mean(alone):.4f}", None, None, None, None])
        gained = f"{gain.mean:.4f} ({gain.low:.4f} … {gain.high:.4f})"
        rows.append([domain, len(apart), "pooled", f"{np.mean(pooled):.4f}", gained, None, None, None])
        for way, how in WAYS.items():
            own = {seed: v for seed, v in of(found, domain, way).items() if seed in apart}
            if not own:
                continue
            gained = f"{np.mean(alone) - np.mean([_mean(v, 'loss') for v in own.values()]):.4f}"
            epsilon = f"{max(v['epsilon'] for v in own.values()):.1f}" if how.epsilon else None
            loss = np.mean([_mean(v, "loss") for v in own.values()])
            span, whole = (_share(apart, own, honest) for honest in (how.poisoned, False))
            rows.append([domain, len(own), way, f"{loss:.4f}", gained, *map(_shown, (span, whole)), epsilon])
            reached = "reached" if span.mean >= how.mark else "**missed**"
            if gain.low <= 0:
                reached = "not judged, since pooling itself has no sure gain"
            told.append(f"{domain}, {way} ≥ {how.mark}: {span.mean:.2f}, {reached}")
    columns = ["owners", "seeds", "way", "loss", "gain", "share of the gain", "of all five", "epsilon"]
    return "\n\n".join([_SAYS, table(columns, rows), f"Marks: {'; '.join(told)}."])
