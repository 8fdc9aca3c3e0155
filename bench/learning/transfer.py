"""Transfer to a target with little data, beside training from scratch and fine-tuning every layer."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.learning import worlds
from bench.learning.cells import Cells, compared, of
from bench.report import table
from claude_flow.train.recipes.source import Source, chosen_layers

__all__ = ["NEEDS_DATA", "PAGE", "cells", "section"]

PAGE, NEEDS_DATA = "recipes.md", True
RIVALS = ("scratch", "fine-tune-all")
WAYS = ("source as it is", *RIVALS, "ours")
#: domain -> its targets
DOMAINS: dict[str, tuple[str, ...]] = {
    "sites": tuple(worlds.SWF),
    "projects": tuple(map(str, range(8))),
    "scenarios": (*worlds.SCENARIOS[1:3], *worlds.SCENARIOS[4:6]),
}
#: what ours keeps as it is: what reads a log, with the least data all but the output; and what compares tokens
FROZEN = {
    "sites": ["embedding", "attention"],
    "projects": ["embedding", "attention", "hidden"],
    "scenarios": ["attention-0"],
}
#: rates that every way may choose from, and the share of a target's data that is known
_RATES, _SHARE, _EPOCHS = (5e-4, 2e-3), 0.1, 12
_JOBS, _SOURCE_JOBS = 2000, 3000
_SAYS = """\
Mean loss on the target's held-out part; lower is better. *Sites*: a model of 3,000 jobs of one machine goes on with the
first 400 of 2,000 jobs of the other and is judged on the others (five stretches of each log). *Projects*: a model of
all other Claude Code projects goes on with the first fifth of a project's runs; the eight projects with the most runs.
*Scenarios*: a model of three algorithm selection scenarios goes on with a tenth of another's instances. *Ours* freezes
embedding and attention (for projects all but the output; of the coordination network, whose scenarios have each their
own features, attention alone), with `--layer-decay 0.5` above. All have 12 epochs; the target's validation part chooses
the epoch, and for every way the rate, 0.0005 or 0.002. Pairs are stretches, projects, scenarios, each the mean over its
seeds, tested by signs. What is frozen was chosen with another seed on other stretches, three other projects and two
other scenarios; for projects after embedding and attention alone had missed the mark, beside gradual unfreezing."""


def cells(data: Path | None, seeds: int) -> dict[str, Callable[[], dict[str, float]]]:
    """A domain before the next; of each, a seed of everything before the next seed."""
    return {
        f"{domain}/{target}/{seed}": functools.partial(_run, data, domain, target, seed)
        for domain, targets in DOMAINS.items()
        for seed in range(seeds)
        for target in targets
    }


def section(found: Cells) -> str:
    """The losses of all ways by domain, and the mark."""
    rows, gaps = [], []
    for domain, targets in DOMAINS.items():
        own = [(f"{target}/{seed}", values) for target in targets for seed, values in of(found, domain, target).items()]
        if not own:
            continue
        # A site's seeds are separate stretches of its log; a project's or a scenario's share its held-out part.
        units: dict[str, list[dict[str, float]]] = {}
        for name, values in own:
            units.setdefault(name if domain == "sites" else name.partition("/")[0], []).append(values)
        losses = {way: np.array([np.mean([v[way] for v in unit]) for unit in units.values()]) for way in WAYS}
        gaps += [list(losses["ours"] - losses[rival]) for rival in RIVALS]
        rows.append([domain, len(units), len(own), *(f"{losses[way].mean():.4f}" for way in WAYS)])
    beside = compared(gaps)
    below, sure = 0, 0
    for place, row in enumerate(rows):
        two = beside[2 * place : 2 * place + 2]
        row += [one.told for one in two]
        below += all(one.gap < 0 for one in two)
        sure += all(one.verdict == "better" for one in two)
    columns = ["domain", "pairs", "trainings", *WAYS, *(f"ours less {rival}" for rival in RIVALS)]
    mark = "reached" if below >= 2 and sure else "**missed**"
    said = f"Mark: below both rivals on two domains at least, p < .05 on one: {below} and {sure}, {mark}."
    return "\n\n".join([_SAYS, table(columns, rows), said])


def _run(data: Path, domain: str, target: str, seed: int) -> dict[str, float]:
    """The losses of all ways for one seed."""
    network = "coordination" if domain == "scenarios" else "prediction"
    if domain == "sites":
        other = next(log for log in worlds.SWF if log != target)
        source = _source(network, worlds.jobs(data, other, 0, _SOURCE_JOBS, 0.1))
        held = worlds.opened(
            network, worlds.jobs(data, target, 8000 + 3000 * min(seed, 6), _JOBS, 0.8), _SHARE / 2, seed
        )
    elif domain == "projects":
        source, held = _project(data, int(target))
    else:
        others = worlds.SCENARIOS[3:] if target in worlds.SCENARIOS[:3] else worlds.SCENARIOS[:3]
        source = _source(network, worlds.scenario(data, others))
        held = worlds.thinned(worlds.opened(network, worlds.scenario(data, [target]), 0.2, seed), _SHARE, seed)
    return {"source as it is": worlds.loss(source, held)} | {
        way: _trained(source, domain, held, seed, way) for way in WAYS[1:]
    }


def _trained(source: Source, domain: str, data: Any, seed: int, way: str) -> float:
    """The test loss of the rate that does best on the validation part."""
    network = source.row.name
    options: dict[str, Any] = {} if way == "scratch" else {"start": source.weights}
    if way == "ours":
        _, tuned = chosen_layers(source.layers, FROZEN[domain], None)
        options["trainable"] = {
            prefix: 0.5 ** (len(tuned) - 1 - place)
            for place, layer in enumerate(tuned)
            for prefix in source.layers[layer]
        }
    models = [worlds.fitted(network, worlds.settings(network, _EPOCHS, rate), data, seed, **options) for rate in _RATES]
    return worlds.loss(min(models, key=lambda model: worlds.loss(model, data, "validation")), data)


@lru_cache(8)
def _source(network: str, folder: Path) -> Source:
    return worlds.fitted(network, worlds.settings(network, _EPOCHS), worlds.opened(network, folder, 0.1, 0), 0)


@lru_cache(8)
def _project(data: Path, place: int) -> tuple[Source, Any]:
    """The model of all projects but the ``place``-th largest, and that one, of which the first fifth is known."""
    whole = worlds.opened("prediction", worlds.transcripts(data), 0.2, 0)
    whole.split[:] = 0
    rows = np.flatnonzero(worlds.largest(whole, place))
    known = rows[: max(12, round(0.2 * len(rows)))]
    others, own = copy.copy(whole), copy.copy(whole)
    others.split, own.split = np.zeros_like(whole.split), np.full_like(whole.split, -1)
    others.split[np.random.default_rng(place).permutation(len(others.split))[: len(others.split) // 10]] = 1
    others.split[rows] = -1
    own.split[rows], own.split[known], own.split[known[-max(4, len(known) // 4) :]] = 2, 0, 1
    return worlds.fitted("prediction", worlds.settings("prediction", _EPOCHS), others, 0), own
