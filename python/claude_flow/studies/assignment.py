"""Who takes which task on coding agents' transcripts, whole projects left out; or each by itself, walk-forward.

Rules: a project with ten decisions or more is judged by what its dispatcher chose, which need not be the best. Projects
are dealt to five folds by size; a contender that is fitted learns from the other folds' projects. A decision is asked
twice: with the project's earlier decisions, and without any. Candidates are all types of agents that the project uses.
Ours is what ``infer coordination`` answers with: trees over signals of the log and of other projects, and a network of
the architecture of coordination-v3-small, all fitted on the other folds' projects. LightGBM sees pairs (task, type)
with which type it is, words and their likeness, and what the log says so far; it is tuned on a quarter of the training
projects. Tests pair projects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import claude_flow
from claude_flow import registry, statistics
from claude_flow.data.collect import collect
from claude_flow.data.tables import read_table, write_table
from claude_flow.errors import InputError
from claude_flow.evaluate import assignment
from claude_flow.evaluate.assignment import Log
from claude_flow.evaluate.result import OURS, Curve, Result, Score
from claude_flow.files import temporary_folder
from claude_flow.model import Model
from claude_flow.networks.coordination import prepare
from claude_flow.report.progress import Progress
from claude_flow.studies.durations import detect
from claude_flow.train import config

__all__ = ["DATA", "detect", "read", "run"]

DATA = "a folder of Claude Code transcripts (*.jsonl, *.jsonl.gz) of several projects"
_FOLDS, _QUICK_FOLDS = 5, 3
_LEAST_PROJECTS = 6
_PART = 4  # one training project in so many tunes LightGBM
ACCURACY, BARE, LOSS, ERROR = "accuracy", "no history: accuracy", "log loss", "calibration error"

Array = NDArray[np.float64]


def run(path: Path, *, seeds: Sequence[int], quick: bool, progress: Progress) -> Result:
    """Judge every contender on every project; ``quick`` takes one seed, three folds and an epoch each.

    :raises InputError: there are too few projects with decisions.
    """
    progress(0.0, f"read {path.name}")
    seeds, folds = (seeds[:1], _QUICK_FOLDS) if quick else (seeds, _FOLDS)
    with temporary_folder() as folder:
        logs, table = read(path, folder)
        higher = frozenset({ACCURACY, BARE})
        result = Result("assignment", path.name, [], {"projects": len(logs)}, higher)
        result.rows["decisions"] = sum(len(log.decisions) for log in logs)
        sure: list[tuple[Array, Array]] = []

        def score(name: str, log: Log, p: Array, seed: int = 0, *, bare: bool = False) -> None:
            rows, hit = np.arange(len(p)), p.argmax(axis=1) == log.chosen
            if bare:
                result.scores.append(Score(name, BARE, float(hit.mean()), log.name, seed))
                return
            loss = -np.log(p[rows, log.chosen] + 1e-9)
            result.scores.append(Score(name, ACCURACY, float(hit.mean()), log.name, seed))
            result.scores.append(Score(name, LOSS, float(loss.mean()), log.name, seed))
            if name == OURS:
                sure.append((hit.astype(np.float64), p.max(axis=1)))

        for log in logs:
            for name in assignment.RULES:
                score(name, log, assignment.rule(name, log))
        parts = [[log for place, log in enumerate(logs) if place % folds != fold] for fold in range(folds)]
        seen = [assignment.seen(train) for train in parts]
        for i, seed in enumerate(seeds):
            for fold, model in enumerate(_networks(logs, table, folder, folds, seed, quick)):
                progress((i + (fold + 1) / folds) / len(seeds), f"seed {seed}, fold {fold + 1} of {folds}")
                train = parts[fold]
                tuning = train[seed % _PART :: _PART]
                rest = [log for log in train if log not in tuning]
                boosted = [
                    assignment.Boosting(history=history, seed=seed).fit(rest, [(log, 0) for log in tuning])
                    for history in (True, False)
                ]
                known = assignment.ranker(seen[fold], seed)
                for log in logs[fold::folds]:
                    for shown, rival in zip((True, False), boosted, strict=True):
                        network = assignment.answered(model, log, shown=shown)
                        score(OURS, log, assignment.evidenced(known, log, network, shown=shown), seed, bare=not shown)
                        score("network alone", log, network, seed, bare=not shown)
                        score("LightGBM", log, rival.probabilities(log), seed, bare=not shown)
    hits, chance = (np.concatenate(part) for part in zip(*sure, strict=True))
    found = statistics.reliability(hits, chance)
    result.scores.append(Score(OURS, ERROR, found.error))
    result.curves.append(Curve("reliability", OURS, found.forecast.tolist(), found.observed.tolist()))
    result.notes.append("what is judged is whether the dispatcher's choice is given, which need not be the best one")
    return result


def read(path: Path, folder: Path) -> tuple[list[Log], Any]:
    """The projects, the largest first, and the table of all runs.

    :raises InputError: fewer than six projects have ten decisions and two types of agents.
    """
    collect([path], folder / "tables", quality_filter="none")
    table = read_table(folder / "tables", "runs")
    logs = [] if table is None else assignment.logs(table.to_pylist())
    if len(logs) < _LEAST_PROJECTS:
        raise InputError(
            f"{path}: {len(logs)} projects with {assignment.LEAST} decisions and two types of agents; "
            f"{_LEAST_PROJECTS} are needed"
        )
    return sorted(logs, key=lambda log: (-len(log.decisions), log.name)), table


def _networks(logs: list[Log], table: Any, folder: Path, folds: int, seed: int, quick: bool) -> Iterator[Model]:
    """One network per fold, which saw no project of it."""
    from claude_flow.train.loop import fit

    settings = config.read(registry.config_path("coordination-v3-small"), "coordination")
    if quick:
        settings.epochs = 1
    projects = [str(p or g) for p, g in zip(*(table.column(n).to_pylist() for n in ("project", "group")), strict=True)]
    for fold in range(folds):
        out = {log.name for log in logs[fold::folds]}
        rows = [i for i, name in enumerate(projects) if name not in out]
        place = folder / f"fold-{seed}-{fold}"
        for part in ("tables", "data"):
            (place / part).mkdir(parents=True)
        write_table(table.take(rows), place / "tables" / "runs.parquet")
        prepare.preprocess(place / "tables", place / "data", {})
        fit("coordination", settings, place / "data", place / "run", seed=seed, distributed="off")
        yield claude_flow.load(place / "run" / "model.safetensors")
