"""Architecture search on simulated swarms: our search beside random search, and its winner beside the guide's sizes and
those of the model that ships."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import ROOT
from bench.learning.cells import Cells, of
from bench.report import table
from claude_flow import registry, statistics
from claude_flow.networks.optimization.config import OptimizationConfig
from claude_flow.networks.optimization.prepare import preprocess
from claude_flow.search import architecture
from claude_flow.search.candidate import Candidate, Measured, Setting
from claude_flow.search.front import hypervolume
from claude_flow.search.gauge import Gauge
from claude_flow.search.training import measure
from claude_flow.values import parse_json

__all__ = ["NEEDS_DATA", "PAGE", "cells", "section"]

PAGE, NEEDS_DATA = "recipes.md", False
_NETWORK, _MODEL = "optimization", "optimization-v2"
_SWARMS, _EPOCHS, _LONGER = 400, 4, 40
_GENERATIONS, _POPULATION = 5, 6
_CHOOSING = (51, 52)  # seeds of trainings, by which the winner of a front is chosen
_SEEDS = (101, 102, 103)  # of trainings that neither a search nor a choice had
_MOST = 6  # of a front, that are trained longer
_WAYS = ("evolutionary", "random", "successive-halving")


def cells(data: Path | None, seeds: int) -> dict[str, Callable[[], dict[str, float]]]:
    """The sizes to compare with; per seed a search, with random search and successive halving beside it; a replay."""
    bases = {f"{name}/0": functools.partial(base, name) for name in ("shipped", "guide")}
    searches = {f"search/{seed}": functools.partial(search, seed) for seed in range(seeds)}
    winners = {f"winner/{seed}": functools.partial(winner, seed) for seed in range(seeds)}
    return {**bases, **searches, **winners, "replay/0": replay}


def _setting(epochs: int) -> Setting:
    folder = ROOT / "build" / "learning" / f"swarms-{_SWARMS}"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        preprocess(None, folder, {"simulate": _SWARMS})
    os.environ["CLAUDE_FLOW_HOME"] = str(ROOT / "build" / "learning" / "home")
    shipped = registry.built_in_configs(_NETWORK)[-1]
    document = parse_json(shipped.read_text("utf-8"), str(shipped))[f"{_NETWORK}-training"]
    rate = {"initial": 2e-3, "schedule": "cosine-annealing", "warmup-steps": 10}
    return Setting(_NETWORK, folder, epochs, document={**document, "batch-size": 64, "learning-rate": rate})


def _gauge(setting: Setting) -> Gauge:
    return Gauge(setting, registry.workspace() / "latencies.json")


def _trained(sizes: Mapping[str, Any], seeds: Iterable[int]) -> list[Measured]:
    setting = _setting(_LONGER)
    return [measure(setting, sizes, seed, _gauge(setting)) for seed in seeds]


def base(name: str) -> dict[str, float]:
    """Loss and latency of the guide's sizes, or of the shipped model's, by every seed that a winner is chosen or judged
    by."""
    sizes = architecture.base_sizes(_MODEL)[1] if name == "shipped" else {"hidden": OptimizationConfig.hidden}
    runs = dict(zip((*_CHOOSING, *_SEEDS), _trained(sizes, (*_CHOOSING, *_SEEDS)), strict=True))
    return {f"loss {seed}": found.loss for seed, found in runs.items()} | {"ms": runs[_SEEDS[0]].latency}


def search(seed: int) -> dict[str, float]:
    """The areas that the fronts dominate, as shares of what they dominate together; how many candidates there were.

    The areas are of the loss times the log of the latency, up to twice the shipped sizes' loss and latency of the same
    run.
    """
    setting = _setting(_EPOCHS)
    base = measure(setting, architecture.base_sizes(_MODEL)[1], seed, _gauge(setting))
    corner = (2 * base.loss, 2 * base.latency)
    fronts, found = _searched(seed)
    whole = hypervolume([c for front in fronts.values() for c in front], corner)
    return found | {f"hypervolume {way}": hypervolume(front, corner) / whole for way, front in fronts.items()}


def _searched(seed: int) -> tuple[dict[str, list[Candidate]], dict[str, float]]:
    """The fronts by strategy, and how many candidates and epochs there were; a search that is done is read again."""
    fronts, found = {}, {}
    for way in (_WAYS[0], _WAYS[2]):
        answer = architecture.search(
            _setting(_EPOCHS), strategy=way, random_beside=way == _WAYS[0], generations=_GENERATIONS,
            population=_POPULATION, seed=seed, name=f"bench-{way}", resume=True,
        )  # fmt: skip
        for name, front in answer["fronts"].items():
            fronts[name] = [
                Candidate(c["sizes"], Measured(c["metric"], c["metric"], c["latency"], 0, 0)) for c in front
            ]
            found |= {f"{what} {name}": float(value) for what, value in answer["tried"][name].items()}
    return fronts, found


def winner(seed: int) -> dict[str, float]:
    """Loss and latency of the winner of our search, trained longer, and its sizes."""
    fronts, _ = _searched(seed)
    best, chosen_by = _winner(fronts[_WAYS[0]])
    runs = _trained(best.sizes, _SEEDS)
    found = {f"loss {own}": run.loss for own, run in zip(_SEEDS, runs, strict=True)}
    found |= {"ms": runs[0].latency, "chosen by": chosen_by}
    return {**found, "layers": float(len(best.sizes["hidden"])), "width": float(max(best.sizes["hidden"]))}


def _winner(front: Sequence[Candidate]) -> tuple[Candidate, float]:
    """The fastest of a front whose loss, trained longer with other seeds, is at most the guide's sizes'; else the best.

    Only those that lost least in the search are trained longer. With it, its loss there over the guide's, less 1.
    """
    found = _guide()
    mean = np.mean([found[f"loss {seed}"] for seed in _CHOOSING])
    tried = []
    for candidate in sorted(front, key=lambda c: c.measured.loss)[:_MOST]:
        loss = float(np.mean([run.loss for run in _trained(candidate.sizes, _CHOOSING)]))
        tried.append((float(loss / mean - 1), candidate))
    fit = [one for one in tried if one[0] <= 0]
    if fit:
        worse, best = min(fit, key=lambda one: one[1].measured.latency)
    else:
        worse, best = min(tried, key=lambda one: one[0])
    return best, worse


@functools.cache
def _guide() -> dict[str, float]:
    """The cell that was measured before."""
    kept = parse_json((Path(__file__).parent / "nas.json").read_text("utf-8"), "nas.json")
    return dict(kept["guide/0"])


def replay() -> dict[str, float]:
    """Whether two trainings beside each other, twice, try and find the same; and how many candidates."""
    setting = _setting(1)
    answers = [
        architecture.search(setting, generations=2, population=6, random_beside=False, seed=7, name=name, jobs=2)
        for name in ("once", "again")
    ]
    tried = answers[0]["tried"]["evolutionary"]["candidates"]
    return {"same": float(answers[0]["fronts"] == answers[1]["fronts"]), "candidates": float(tried)}


def section(found: Cells) -> str:
    """The two marks and the table behind them."""
    searched, won = of(found, "search"), of(found, "winner")
    by = {seed: searched[seed] | won[seed] for seed in searched if seed in won}
    bases = {name: found[f"{name}/0"] for name in ("guide", "shipped") if f"{name}/0" in found}
    if len(by) < 2 or len(bases) < 2:
        return ""
    cells_ = list(by.values())

    def at(name: str) -> np.ndarray:
        return np.array([cell[name] for cell in cells_])

    ours, theirs, halved = (at(f"hypervolume {way}") for way in _WAYS)
    beside = statistics.interval(theirs)
    losses = np.array([[cell[f"loss {seed}"] for seed in _SEEDS] for cell in cells_]).mean(axis=1)
    speed = {name: base["ms"] / at("ms") for name, base in bases.items()}
    more = {name: losses / np.mean([base[f"loss {seed}"] for seed in _SEEDS]) - 1 for name, base in bases.items()}
    rows = [
        [seed, *(f"{cell[f'hypervolume {way}']:.3f}" for way in _WAYS),
         ", ".join(f"{cell[f'candidates {way}']:.0f}" for way in _WAYS),
         f"{cell['layers']:.0f} × {cell['width']:.0f}",
         *(f"{speed[name][place]:.1f} ×, {100 * more[name][place]:+.1f} %" for name in bases)]
        for place, (seed, cell) in enumerate(by.items())
    ]  # fmt: skip
    p, p_halved = (statistics.permutation(own - theirs) for own in (ours, halved))
    within = f"[{beside.low:.3f}, {beside.high:.3f}]"
    marks = [
        [
            "hypervolume above random search's 95 % interval",
            f"{ours.mean():.3f} against {beside.mean:.3f} {within}, p {p:.3f}",
            _reached(bool(ours.mean() > beside.high)),
        ]
    ]
    for name, whose in (("guide", "guide's"), ("shipped", "shipped")):
        faster, worse = math.exp(float(np.log(speed[name]).mean())), float(more[name].mean())
        marks.append(
            [
                f"the winner ≥ 1.5 × faster than the {whose} sizes at ≤ 1 % loss",
                f"{faster:.1f} ×, loss {100 * worse:+.1f} %",
                _reached(faster >= 1.5 and worse <= 0.01),
            ]
        )
    again = found.get("replay/0")
    lines = [
        f"The sizes of the optimization network, {_SWARMS} simulated swarms, {len(by)} seeds. Every strategy has "
        f"{_GENERATIONS * _POPULATION * _EPOCHS} epochs of training for each seed: {_GENERATIONS * _POPULATION} "
        f"trainings of {_EPOCHS} for random search; of ours and of halving a half end after 1 and of the rest half "
        "after 2, so that they try more candidates. The "
        "hypervolume is the area below twice the shipped sizes' loss and latency, in loss times log latency, as a "
        "share of what the three fronts of a seed dominate together. Winner: "
        f"of the {_MOST} of our front with the least loss, trained {_LONGER} epochs with {len(_CHOOSING)} other seeds, "
        "the fastest whose loss is at most that of the guide's sizes, or else the least of all; then they are judged "
        f"by {len(_SEEDS)} further seeds. Loss is the regret on held-out swarms. The guide's sizes are "
        f"{' → '.join(map(str, OptimizationConfig.hidden))}; those of `{_MODEL}` are smaller.",
        table(
            ["seed", "hypervolume, ours", "random", "halving", "candidates", "winner's layers",
             "against the guide's", "the shipped"], rows,
        ),
        table(["mark", "found", ""], marks),
        f"Successive halving draws as random search does: {halved.mean():.3f} against {beside.mean:.3f}, "
        f"p {p_halved:.3f}, with {at('candidates successive-halving').mean():.0f} candidates instead of "
        f"{_GENERATIONS * _POPULATION}.",
    ]  # fmt: skip
    if again:
        same = "the same candidates and figures" if again["same"] else "**different candidates**"
        lines.append(
            f"A search of {again['candidates']:.0f} candidates, two trained beside each other (`--jobs 2`), was run "
            f"twice with one seed: {same}."
        )
    return "\n\n".join(lines)


def _reached(is_so: bool) -> str:
    return "reached" if is_so else "**missed**"
