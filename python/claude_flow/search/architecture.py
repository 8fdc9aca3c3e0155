"""Search, evaluation and optimization of architectures, with Optuna; every latency is measured, none is counted.

A search has two objectives, the held-out loss and the latency on the engine; random search at equal budget stands
beside it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import modelfile, registry
from claude_flow.errors import InputError, require
from claude_flow.files import atomic_write
from claude_flow.report.progress import Progress, nothing
from claude_flow.search import front
from claude_flow.search.candidate import Candidate, Measured, Setting, space
from claude_flow.search.front import ranked
from claude_flow.search.gauge import Gauge
from claude_flow.search.training import measure, rungs
from claude_flow.search.trials import HALVING, STRATEGIES, Trials, workers
from claude_flow.statistics import holm
from claude_flow.values import did_you_mean

__all__ = ["STRATEGIES", "TARGETS", "evaluate", "optimize", "parse_constraints", "search"]

#: optimization target of ``nas optimize`` -> field of Measured that it lowers
TARGETS = {"reduce-latency": "latency", "reduce-memory": "memory", "reduce-flops": "flops", "improve-accuracy": "loss"}
_TOP = 10
_DRAWS = 16  # that are all the same in a space of one architecture


def search(
    setting: Setting,
    *,
    strategy: str = "evolutionary",
    generations: int = 50,
    population: int = 20,
    random_beside: bool = True,
    name: str = "nas-results",
    seed: int = 0,
    time_budget: float | None = None,
    resume: bool = False,
    jobs: int = 1,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Search sizes of the setting's network; the Pareto front's first ten are kept as ``NAME-top10``.

    NSGA-II (Deb et al. 2002) over loss and latency for ``evolutionary``, whose proposals are screened
    (:mod:`claude_flow.search.screen`); ``successive-halving`` draws as ``random`` does. All but ``random`` end a
    training at a rung unless it is in the better half there (:mod:`claude_flow.search.training`). Each strategy has
    ``generations`` x ``population`` x the setting's epochs. Candidates that do not train are failed trials, not errors.
    ``jobs`` candidates train beside each other; a search with the same seed and ``jobs`` tries the same. The study is a
    SQLite file of the workspace; ``resume`` goes on with it. Raises :class:`InputError` for a space of one architecture
    or when nothing could be trained.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"search-strategy {strategy!r}{did_you_mean(strategy, STRATEGIES)}: {', '.join(STRATEGIES)}")
    if strategy == HALVING and not rungs(setting.epochs):
        raise InputError("--epochs 1: successive halving ends candidates after a half of their epochs; give 2 or more")
    optuna = require("optuna", "nas")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    draws = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    sizes_of = space(setting.network)
    first, *others = (sizes_of(draws.ask()) for _ in range(_DRAWS))
    if all(sizes == first for sizes in others):
        raise InputError(f"the search space of {setting.network} holds one architecture: there is nothing to search")
    folder = registry.workspace() / "searches"
    folder.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{folder / name}.db"
    ways = [strategy] + (["random"] if random_beside and strategy != "random" else [])
    deadline = math.inf if time_budget is None else time.monotonic() + time_budget
    fronts: dict[str, list[Candidate]] = {}
    tried: dict[str, dict[str, int]] = {}
    gauge = Gauge(setting, registry.workspace() / "latencies.json")
    budget = generations * population * setting.epochs
    with workers(jobs) as train:
        for place, way in enumerate(ways):
            trials = Trials(setting, way, storage, gauge, population, seed, resume)
            until = time.monotonic() + (deadline - time.monotonic()) / (len(ways) - place)
            while (room := (budget - trials.spent) // setting.epochs) > 0:
                if time.monotonic() >= until and trials.trained():
                    break
                done = trials.spent / budget
                progress((place + done) / len(ways), f"{way}: candidate {trials.count + 1}, {done:.0%} of the epochs")
                seconds = None if math.isinf(until) else max(2.0, until - time.monotonic())
                trials.step(train, min(jobs, room), seconds)
            fronts[way] = trials.front()
            tried[way] = {"candidates": trials.count, "trained": len(trials.trained()), "epochs": trials.spent}
    corner = front.reference(fronts)
    volumes = {way: front.hypervolume(own, corner) for way, own in fronts.items()}
    best = ranked(fronts[strategy])[:_TOP]
    kept = folder / f"{name}-top{_TOP}.json"
    result = {
        "network": setting.network,
        "metric": setting.metric,
        "strategy": strategy,
        "epochs": setting.epochs,
        "hypervolume": volumes,
        "tried": tried,
        "reference": list(corner),
        "candidates": [{"rank": i + 1, "sizes": c.sizes, **c.measured.to_json()} for i, c in enumerate(best)],
        "fronts": {way: [{"sizes": c.sizes, **c.measured.to_json()} for c in own] for way, own in fronts.items()},
    }
    atomic_write(kept, json.dumps(result, indent=1) + "\n")
    return {**result, "path": str(kept)}


def candidates(name: str) -> tuple[str, list[dict[str, Any]]]:
    """Network and candidates of a search's kept file: a path or ``NAME-top10``.

    Raises :class:`InputError` if there is none, with near matches.
    """
    folder = registry.workspace() / "searches"
    path = Path(name) if Path(name).is_file() else folder / f"{name}.json"
    if not path.is_file():
        known = [file.stem for file in folder.glob("*.json")]
        near = did_you_mean(name, known)
        raise InputError(f"there are no architectures {name!r}{near} (to make some: claude-flow neural nas search)")
    from claude_flow.values import read_json

    found = read_json(path)
    try:
        return str(found["network"]), list(found["candidates"])
    except (KeyError, TypeError):
        raise InputError(f"{path}: it is no result of  claude-flow neural nas search") from None


def evaluate(
    setting: Setting,
    architectures: Sequence[Mapping[str, Any]],
    *,
    seeds: Sequence[int] = (1, 2, 3),
    time_budget: float | None = None,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Train each architecture anew with other seeds than its search had, and test it against the first, by seed.

    The p-values are of paired t-tests over seeds, Holm-corrected; the seeds that the time budget left are said.
    """
    stats = require("scipy.stats", "nas")

    deadline = math.inf if time_budget is None else time.monotonic() + time_budget
    gauge = Gauge(setting)
    rows: list[list[Measured]] = [[] for _ in architectures]
    total = len(seeds) * len(architectures)
    for number, seed in enumerate(seeds):
        if number and time.monotonic() > deadline:
            break
        for place, architecture in enumerate(architectures):
            progress((number * len(architectures) + place) / total, f"seed {seed}, candidate {place + 1}")
            left = None
            if not math.isinf(deadline):
                left = max(2.0, (deadline - time.monotonic()) / (total - number * len(architectures) - place))
            rows[place].append(measure(setting, architecture["sizes"], seed, gauge, seconds=left))
    done = len(rows[0])
    p_values = []
    for own in rows[1:]:
        gaps = [a.loss - b.loss for a, b in zip(own, rows[0], strict=True)]
        flat = done < 2 or np.ptp(gaps) == 0
        p_values.append(1.0 if flat else float(stats.ttest_1samp(gaps, 0.0).pvalue))
    corrected = [None, *holm(p_values)] if p_values else [None]
    table = []
    for place, own in enumerate(rows):
        values = {key: float(np.mean([m.to_json()[key] for m in own])) for key in own[0].to_json()}
        spread = float(np.std([m.metric for m in own], ddof=1)) if done > 1 else None
        p = corrected[place]
        table.append(
            {
                "rank": place + 1,
                "sizes": dict(architectures[place]["sizes"]),
                **values,
                "metric_sd": spread,
                "p_corrected": None if p is None else float(p),
            }
        )
    return {"network": setting.network, "metric": setting.metric, "seeds": list(seeds[:done]), "candidates": table}


def parse_constraints(document: Mapping[str, Any]) -> dict[str, float]:
    """``{"accuracy-loss": "<2%", "memory-increase": "<10%"}`` as shares.

    >>> parse_constraints({"accuracy-loss": "<2%"})
    {'accuracy-loss': 0.02}

    Raises :class:`InputError` for another name or form.
    """
    known = ("accuracy-loss", "latency-increase", "memory-increase", "flops-increase")
    found = {}
    for name, text in document.items():
        if name not in known:
            raise InputError(
                f"constraints.{name}: no such constraint{did_you_mean(name, known) or ': ' + ', '.join(known)}"
            )
        word = str(text).strip().removeprefix("<").strip()
        try:
            found[name] = float(word[:-1]) / 100 if word.endswith("%") else float(word)
        except ValueError:
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise InputError(f'constraints.{name}: {text!r} is not a share such as "<2%"')
        if name != "accuracy-loss" and found[name] <= -1:
            raise InputError(f"constraints.{name}: {text!r} cannot be met, nothing can fall by all of it or more")
    return found


def optimize(
    setting: Setting,
    base: Mapping[str, Any],
    *,
    target: str = "reduce-latency",
    constraints: Mapping[str, float] | None = None,
    iterations: int = 100,
    seed: int = 0,
    time_budget: float | None = None,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Better sizes than ``base`` by one target under constraints relative to it, both trained in the same way.

    ``accuracy-loss`` is the rise of the loss relative to the base's (its magnitude). Raises :class:`InputError` for an
    unknown target; the best is None where no candidate met the constraints.
    """
    if target not in TARGETS:
        raise InputError(
            f"optimization-target {target!r}{did_you_mean(target, TARGETS)}: it is one of {', '.join(TARGETS)}"
        )
    optuna = require("optuna", "nas")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    limits = dict(constraints or {})
    deadline = math.inf if time_budget is None else time.monotonic() + time_budget
    progress(0.0, "the base architecture")
    first = None if math.isinf(deadline) else max(2.0, (deadline - time.monotonic()) / 4)
    gauge = Gauge(setting)
    reference = measure(setting, base, seed, gauge, seconds=first)

    def excess(m: Measured) -> dict[str, float]:
        rises = {
            "accuracy-loss": (m.loss - reference.loss) / max(abs(reference.loss), 1e-12),
            "latency-increase": m.latency / reference.latency - 1,
            "memory-increase": m.memory / reference.memory - 1,
            "flops-increase": m.flops / max(reference.flops, 1.0) - 1,
        }
        return {name: rises[name] - limit for name, limit in limits.items()}

    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=10)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    draw = space(setting.network)
    tried: list[Candidate] = []
    while len(study.trials) < iterations and (time.monotonic() < deadline or not tried):
        trial = study.ask()
        progress(len(study.trials) / (iterations + 1), f"candidate {len(study.trials)} of {iterations}")
        try:
            sizes = draw(trial)
            left = None if math.isinf(deadline) else max(2.0, deadline - time.monotonic())
            found = measure(setting, sizes, seed, gauge, seconds=left)
        except InputError as error:
            trial.set_user_attr("error", str(error))
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        for key, value in excess(found).items():
            trial.set_constraint(key, value)
        study.tell(trial, getattr(found, TARGETS[target]))
        tried.append(Candidate(sizes, found))
    feasible = [c for c in tried if all(value < 0 for value in excess(c.measured).values())]
    best = min(feasible, key=lambda c: float(getattr(c.measured, TARGETS[target])), default=None)
    if best and getattr(best.measured, TARGETS[target]) >= getattr(reference, TARGETS[target]):
        best = None
    return {
        "network": setting.network,
        "metric": setting.metric,
        "target": target,
        "constraints": limits,
        "base": {"sizes": dict(base), **reference.to_json()},
        "best": {"sizes": best.sizes, **best.measured.to_json()} if best else None,
        "tried": len(tried),
        "feasible": len(feasible),
    }


def base_sizes(name: str) -> tuple[str, dict[str, Any]]:
    """Network and sizes of a model, without the fields that its encoder dictates; :class:`InputError` where the sizes
    of such a network are not searched."""
    from claude_flow import networks

    file = modelfile.read(registry.model_path(name))
    space(file.network)
    fixed = networks.get(file.network).part("config").FIXED
    return file.network, {key: value for key, value in file.config.items() if key not in fixed}
