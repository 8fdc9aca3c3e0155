"""One period after another: what is forgotten and what is learned, beside plain fine-tuning."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.learning import worlds
from bench.learning.cells import Cells, compared, of
from bench.report import table
from claude_flow.train.recipes import incremental

__all__ = ["NEEDS_DATA", "PAGE", "cells", "section"]

PAGE, NEEDS_DATA = "recipes.md", True
#: way -> (forgetting prevention, rehearsal strategy) of `train incremental`
WAYS = {
    "plain fine-tuning": ("none", "none"),
    "EWC and GEM": ("elastic-weight-consolidation", "gradient-episodic-memory"),
    "replay": ("none", "experience-replay"),
}
PLAIN, OURS = "plain fine-tuning", "EWC and GEM"
DOMAINS = ("KTH-SP2", "both machines in turn", "projects")
MEASURES = ("forgetting", "old", "new")
_NETWORK, _JOBS, _PERIODS, _RATE, _EPOCHS = "prediction", 700, 4, 1e-3, 5
_SAYS = """\
The prediction network learns one period, then three or four more, one after another: stretches of 700 jobs of a
log, or of two machines' logs in turn (every seed begins 4,000 jobs later, so that seeds share no job); or one
Claude Code project after another, in another order with every seed. The latest fifth of every period judges.
*Forgetting*: by how much the loss on earlier periods rose from its least to the end, on average (below zero: later
periods helped). *Old*: the loss on earlier periods in the end. *New*: the loss on a period right after it was
learned. Pairs are seeds, tested by signs."""


def cells(data: Path | None, seeds: int) -> dict[str, Callable[[], dict[str, float]]]:
    """A seed of everything before the next seed."""
    return {
        f"{domain}/{seed}": functools.partial(_run, data, domain, seed) for seed in range(seeds) for domain in DOMAINS
    }


def _run(data: Path, domain: str, seed: int) -> dict[str, float]:
    """ "WAY: MEASURE" -> value."""
    if domain == "projects":
        order = np.random.default_rng(seed).permutation(len(worlds.PROJECTS))
        folders = [worlds.transcripts(data, worlds.PROJECTS[place]) for place in order]
    else:
        logs = list(worlds.SWF) * 2 if domain not in worlds.SWF else [domain] * _PERIODS
        folders = [worlds.jobs(data, log, 4000 * seed + _JOBS * i, _JOBS, 0.2) for i, log in enumerate(logs)]
    first = worlds.opened(_NETWORK, folders[0], 0.2, seed)
    source = worlds.fitted(_NETWORK, worlds.settings(_NETWORK, 12), first, seed)
    found = {}
    for way, (prevention, rehearsal) in WAYS.items():
        _, report = incremental.incremental(
            copy.deepcopy(source),
            folders[0],
            folders[1:],
            None,
            prevention=prevention,
            rehearsal=rehearsal,
            learning_rate=_RATE,
            epochs=_EPOCHS,
            seed=seed,
            distributed="off",
        )
        losses = np.array(report.matrix)
        values = (report.forgetting, losses[-1, :-1].mean(), np.diag(losses)[1:].mean())
        found |= {f"{way}: {measure}": float(value) for measure, value in zip(MEASURES, values, strict=True)}
    return found


def section(found: Cells) -> str:
    """Losses by log and way, and the mark."""
    by = {domain: list(of(found, domain).values()) for domain in DOMAINS if of(found, domain)}
    others = [way for way in WAYS if way != PLAIN]
    questions = [(domain, way, measure) for domain in by for way in others for measure in MEASURES]
    beside = dict(
        zip(
            questions,
            compared([[v[f"{way}: {m}"] - v[f"{PLAIN}: {m}"] for v in by[domain]] for domain, way, m in questions]),
            strict=True,
        )
    )
    rows, told = [], []
    for domain, values in by.items():
        mean = {key: float(np.mean([value[key] for value in values])) for key in values[0]}
        for way in WAYS:
            verdicts = [f" ({beside[domain, way, m].verdict})" if way != PLAIN else "" for m in MEASURES]
            cells = [f"{mean[f'{way}: {m}']:.4f}{verdict}" for m, verdict in zip(MEASURES, verdicts, strict=True)]
            rows.append([domain, len(values), way, *cells])
        cost = mean[f"{OURS}: new"] / mean[f"{PLAIN}: new"] - 1
        forgot, plain = mean[f"{OURS}: forgetting"], mean[f"{PLAIN}: forgetting"]
        if plain > 0:
            reached = "reached" if forgot <= plain / 2 and cost <= 0.02 else "**missed**"
            told.append(f"{domain}: {forgot / plain:.2f} of it at {cost:+.1%}, {reached}")
        else:
            told.append(f"{domain}: plain fine-tuning forgets nothing, {cost:+.1%} on new data")
    mark = (
        f"Mark, {OURS} (what the command does unless told otherwise): at most half of plain fine-tuning's forgetting "
        f"at a loss on new data at most 2 % higher. {'; '.join(told)}."
    )
    return "\n\n".join([_SAYS, table(["log", "seeds", "way", *MEASURES], rows), mark])
