"""Few steps on a new task's few examples: meta-learned weights beside jointly trained ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.learning import worlds
from bench.learning.cells import Cells, compared, grid, of
from bench.report import table
from claude_flow import networks
from claude_flow.train.recipes.meta import ALGORITHMS, Joint, MetaData
from claude_flow.train.recipes.source import Source

__all__ = ["NEEDS_DATA", "PAGE", "cells", "section"]

PAGE, NEEDS_DATA = "recipes.md", True
WAYS = ("joint", *ALGORITHMS)
#: domain -> network
DOMAINS = {"users of KTH-SP2": "prediction", "simulated swarms": "optimization"}
_EXAMPLES, _STEPS, _OUTER, _EPOCHS = 20, 5, 60, 2
_JOBS, _SWARMS, _MOST = 4000, 600, 10
#: of the inner steps; every way may choose
_RATES = (0.01, 0.1)
_SAYS = """\
Loss on tasks that were never trained on, after 5 steps on 20 of their examples; lower is better. Tasks: users of a
log (4,000 jobs; the ten users with the most), and families of simulated swarms; a fifth of them judges and
another chooses epochs, others with every seed. Every way starts from the same new network and has 60 batches of
tasks. *Joint* trains on all tasks at once and then takes the same steps. Every way may choose the rate of the
steps, 0.01 or 0.1. *Before*: without the steps. Pairs are seeds, tested by signs."""


def cells(data: Path | None, seeds: int) -> dict[str, Callable[[], dict[str, float]]]:
    """A seed of everything before the next seed."""
    return grid(functools.partial(_run, data), DOMAINS, WAYS, seeds)


def _run(data: Path, domain: str, way: str, seed: int) -> dict[str, float]:
    """``loss`` after the steps and ``before`` them, at the rate that does better on the tasks that choose."""
    network = DOMAINS[domain]
    config = worlds.settings(network, _EPOCHS, 2e-3)
    found = []
    joint: Source | None = None
    for rate in _RATES:
        chosen, judged = _tasks(data, domain, "maml" if way == "joint" else way, rate, seed)
        if way == "joint":  # what is trained does not depend on the rate
            joint = joint or worlds.fitted(network, config, Joint(chosen), seed)
        model = joint or worlds.fitted(network, config, chosen, seed)
        known, new = chosen.metrics(model.module, "validation"), judged.metrics(model.module, "validation")
        found.append((known["loss"], new["loss"], new["loss-before"]))
    _, loss, before = min(found)
    return {"loss": loss, "before": before}


def _tasks(data: Path, domain: str, algorithm: str, rate: float, seed: int) -> tuple[MetaData, MetaData]:
    """The tasks to learn from with those that choose epoch and rate, and with those that judge."""
    network, log = DOMAINS[domain], domain.rpartition(" ")[2]
    folder = worlds.jobs(data, log, 0, _JOBS, 0.1) if log in worlds.SWF else worlds.simulated(_SWARMS)
    whole = _whole(network, folder)
    parts = [part for part in whole.parts().values() if _batches(part) == 2][:_MOST]
    order = np.random.default_rng([seed, 9]).permutation(len(parts))
    fifth = max(1, len(parts) // 5)
    module = whole.module(worlds.settings(network, 1).network)
    layers = networks.get(network).net.layers(module.config)
    made = [
        MetaData(
            [parts[i] for i in order[2 * fifth :]],
            [parts[i] for i in held],
            algorithm=algorithm,
            inner_steps=_STEPS,
            rate=rate,
            examples=_EXAMPLES,
            per_epoch=_OUTER // _EPOCHS,
            output_names=list(layers.values())[-1],
            whole=whole,
            fingerprint=f"{domain} {algorithm} {rate}",
        )
        for held in (order[:fifth], order[fifth : 2 * fifth])
    ]
    return made[0], made[1]


@lru_cache(2)
def _whole(network: str, folder: Path) -> Any:
    return worlds.opened(network, folder, 0.2, 0)


def _batches(part: Any) -> int:
    return sum(1 for _, _ in zip(part.batches("train", _EXAMPLES, np.random.default_rng(0)), range(2), strict=False))


def section(found: Cells) -> str:
    """Losses by domain and way, beside joint training."""
    by = {d: {way: of(found, d, way) for way in WAYS} for d in DOMAINS}
    seeds = {d: sorted(set.intersection(*(set(own) for own in ways.values()))) for d, ways in by.items()}
    shown = [d for d in DOMAINS if seeds[d]]
    questions = [(d, way) for d in shown for way in ALGORITHMS]
    gaps = [[by[d][way][s]["loss"] - by[d]["joint"][s]["loss"] for s in seeds[d]] for d, way in questions]
    beside = dict(zip(questions, compared(gaps), strict=True))
    rows = []
    for d in shown:
        for way in WAYS:
            loss, before = (np.mean([by[d][way][s][measure] for s in seeds[d]]) for measure in ("loss", "before"))
            told = beside[d, way].told if way in ALGORITHMS else None
            rows.append([d, len(seeds[d]), way, f"{before:.4f}", f"{loss:.4f}", told])
    columns = ["tasks", "seeds", "way", "before", "after 5 steps", "less joint training's"]
    lower = [f"{way} on {d}" for d, way in questions if beside[d, way].gap < 0]
    sure = [f"{way} on {d}" for d, way in questions if beside[d, way].verdict == "better"]
    mark = (
        f"Mark: below joint training and the same steps, on average: {', '.join(lower) or 'nowhere'}; by the test: "
        f"{', '.join(sure) or 'nowhere, so that what meta-learning brings here is not shown'}."
    )
    return "\n\n".join([_SAYS, table(columns, rows), mark])
