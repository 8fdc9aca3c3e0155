"""Architecture search on simulated swarms: our search beside random search, and its winner beside the guide's sizes."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench import ROOT
from bench.learning.cells import Cells, of
from bench.report import table
from claude_flow import registry, statistics
from claude_flow.networks.optimization.prepare import preprocess
from claude_flow.search import architecture
from claude_flow.search.candidate import Candidate, Measured, Setting, measure
from claude_flow.values import parse_json

__all__ = ["NEEDS_DATA", "PAGE", "cells", "section"]

PAGE, NEEDS_DATA = "recipes.md", False
_NETWORK, _MODEL = "optimization", "optimization-v2"
_SWARMS, _EPOCHS, _LONGER = 1000, 4, 20
_GENERATIONS, _POPULATION = 5, 6
_SEEDS = (101, 102, 103)  # of trainings that no search had
_WAYS = ("evolutionary", "random")


def cells(data: Path | None, seeds: int) -> dict[str, Callable[[], dict[str, float]]]:
    """A search of each seed, with random search beside it."""
    return {f"search/{seed}": functools.partial(search, seed) for seed in range(seeds)}


def _setting(epochs: int) -> Setting:
    folder = ROOT / "build" / "learning" / "swarms"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        preprocess(None, folder, {"simulate": _SWARMS})
    shipped = registry.built_in_configs(_NETWORK)[-1]
    document = parse_json(shipped.read_text("utf-8"), str(shipped))[f"{_NETWORK}-training"]
    rate = {"initial": 2e-3, "schedule": "cosine-annealing", "warmup-steps": 10}
    return Setting(_NETWORK, folder, epochs, document={**document, "batch-size": 64, "learning-rate": rate})


def search(seed: int) -> dict[str, float]:
    """The areas that both fronts dominate, and loss and latency of the winner and of the guide's sizes, trained longer.

    The areas are of the loss times the log of the latency, up to twice the guide's loss and latency of the same run.
    The winner is the fastest of the front whose loss is at most that of the guide's sizes, trained alike.
    """
    setting, longer = _setting(_EPOCHS), _setting(_LONGER)
    _, guide = architecture.base_sizes(_MODEL)
    base = measure(setting, guide, seed)
    os.environ["CLAUDE_FLOW_HOME"] = str(ROOT / "build" / "learning" / "home")
    answer = architecture.search(setting, generations=_GENERATIONS, population=_POPULATION, seed=seed, name="bench")
    found: dict[str, float] = {}
    fronts = {
        way: [Candidate(c["sizes"], Measured(c["metric"], c["metric"], c["latency"], 0.0, 0.0)) for c in front]
        for way, front in answer["fronts"].items()
    }
    for way, front in fronts.items():
        found[f"hypervolume {way}"] = architecture.hypervolume(front, (2 * base.loss, 2 * base.latency))
    own = fronts["evolutionary"]
    winner = min(own, key=lambda c: (c.measured.loss > base.loss, c.measured.latency))
    for name, sizes in (("guide", guide), ("winner", winner.sizes)):
        runs = [measure(longer, sizes, own_seed) for own_seed in _SEEDS]
        found |= {f"{name} loss": float(np.mean([m.loss for m in runs]))}
        found |= {f"{name} ms": float(np.median([m.latency for m in runs]))}
    return {**found, "layers": float(len(winner.sizes["hidden"])), "width": float(max(winner.sizes["hidden"]))}


def section(found: Cells) -> str:
    """The two marks and the table behind them."""
    by = of(found, "search")
    if len(by) < 2:
        return ""
    cells_ = list(by.values())

    def at(name: str) -> np.ndarray:
        return np.array([cell[name] for cell in cells_])

    ours, theirs = (at(f"hypervolume {way}") for way in _WAYS)
    beside = statistics.interval(theirs)
    speed = at("guide ms") / at("winner ms")
    loss = at("winner loss") / at("guide loss") - 1
    p = statistics.permutation(ours - theirs)
    rows = [
        [seed, *(f"{cell[f'hypervolume {way}']:.3f}" for way in _WAYS), f"{cell['layers']:.0f} × {cell['width']:.0f}",
         f"{one:.1f} ×", f"{100 * more:+.1f} %"]
        for (seed, cell), one, more in zip(by.items(), speed, loss, strict=True)
    ]  # fmt: skip
    above = bool(ours.mean() > beside.high)
    faster = math.exp(float(np.log(speed).mean()))
    holds = faster >= 1.5 and float(loss.mean()) <= 0.01
    marks = [
        [
            "hypervolume above random search's 95 % interval",
            f"{ours.mean():.3f} against {beside.value:.3f} [{beside.low:.3f}, {beside.high:.3f}], p {p:.3f}",
            "reached" if above else "**missed**",
        ],
        [
            "the winner ≥ 1.5 × faster than the guide's sizes at ≤ 1 % loss",
            f"{faster:.1f} ×, loss {100 * loss.mean():+.1f} %",
            "reached" if holds else "**missed**",
        ],
    ]
    return "\n\n".join(
        [
            f"The sizes of the optimization network, {_SWARMS} simulated swarms, {_GENERATIONS * _POPULATION} "
            f"trainings of {_EPOCHS} epochs for each strategy and seed. Winner: the fastest of our front whose loss is "
            f"at most that of the guide's sizes, trained alike; then both are trained {_LONGER} epochs with "
            f"{len(_SEEDS)} other seeds. Loss is the regret on held-out swarms.",
            table(["seed", "hypervolume, ours", "random", "winner's layers", "faster", "its loss"], rows),
            table(["mark", "found", ""], marks),
        ]
    )
