"""The shipped models as they are, on logs of other people's: nothing is trained.

A folder or file that ``data collect`` reads is collected, preprocessed for the network whose data it holds, and judged
walk-forward: who takes which task (with the log's earlier decisions as evidence, as ``infer coordination`` answers),
and when it is done (with the runs that had ended as history, as ``infer prediction`` answers, intervals adapted).
Ours is that answer; beside it stand the same models without the log, and simple rules. A shipped model may have seen
public logs in training: its card says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import claude_flow
from claude_flow import registry
from claude_flow.data.collect import collect
from claude_flow.data.tables import read_table
from claude_flow.errors import InputError
from claude_flow.evaluate import assignment
from claude_flow.evaluate.judge import Unavailable
from claude_flow.evaluate.result import OURS, Result, Score
from claude_flow.files import temporary_folder
from claude_flow.networks.coordination import ranker
from claude_flow.networks.prediction import judge, prepare
from claude_flow.report.progress import Progress
from claude_flow.studies import durations, jobs

__all__ = ["DATA", "detect", "run"]

DATA = "a log that `data collect` reads: transcripts, or one log of the Standard Workload Format"
ACCURACY = "accuracy"
_MOST, _QUICK = 4000, 400  # forecasts of the newest runs
_RIVALS = ("rule-based", "last-2-mean", "best-single", "gradient-boosting")
_MEASURES = ("pinball", "mae", "coverage-80", "width-80", "coverage-95", "width-95")


def detect(path: Path) -> bool:
    """Whether ``path`` is a folder of transcripts or one workload log."""
    return durations.detect(path) or jobs.detect(path)


def run(path: Path, *, seeds: Sequence[int], quick: bool, progress: Progress) -> Result:
    """Score the shipped models; they have no random part, LightGBM takes the first seed.

    :raises InputError: no shipped model can be asked about the log.
    """
    progress(0.0, f"read {path.name}")
    result = Result("shipped", path.name, [], {}, frozenset({ACCURACY}))
    with temporary_folder() as folder:
        collect([path], folder / "tables", quality_filter="none")
        table = read_table(folder / "tables", "runs")
        logs = [] if table is None else assignment.logs(table.to_pylist())
        progress(0.1, "who takes which task")
        _assigned(result, logs)
        progress(0.4, "when it is done")
        try:
            _forecast(result, folder, _QUICK if quick else _MOST, seeds[0])
        except InputError as error:
            result.notes.append(f"prediction is not judged: {error}")
    if not result.scores:
        raise InputError(f"{path}: no shipped model can be asked about it: {'; '.join(result.notes)}")
    return result


def _assigned(result: Result, logs: Sequence[assignment.Log]) -> None:
    if not logs:
        result.notes.append("coordination is not judged: no project has ten decisions and two types of agents")
        return
    model = claude_flow.load(registry.built_in("coordination-v3") or "coordination-v3")
    result.rows["decisions"] = sum(len(log.decisions) for log in logs)
    result.notes.append(f"{ACCURACY}: ours is coordination-v3 with the log's earlier decisions as evidence")
    for log in logs:
        found = {OURS: assignment.evidenced(ranker.shipped(), log, assignment.answered(model, log))}
        found["coordination-v3, log not shown"] = assignment.answered(model, log, shown=False)
        found |= {name: assignment.rule(name, log) for name in assignment.RULES}
        for name, p in found.items():
            result.scores.append(Score(name, ACCURACY, float((p.argmax(axis=1) == log.chosen).mean()), log.name))


def _forecast(result: Result, folder: Path, most: int, seed: int) -> None:
    (folder / "data").mkdir()
    prepare.preprocess(folder / "tables", folder / "data", {"normalization": "z-score", "history": 127})
    examiner = judge.Judge(folder / "data", 0.2, {})
    kept = np.argsort(examiner.data.tasks.decision[examiner.rows], kind="stable")[-most:]
    examiner.rows, examiner.truth = examiner.rows[kept], examiner.truth[kept]
    examiner.failed, examiner.units = examiner.failed[kept], examiner.units[kept]
    result.rows["forecasts"] = len(kept)
    result.notes.append("the others: ours is prediction-v2 with intervals that follow what has ended")
    model = claude_flow.load(registry.built_in("prediction-v2") or "prediction-v2")
    marks = {"prediction-v2, intervals as shipped": examiner.model(model)}
    for name in (OURS, *_RIVALS):
        try:
            marks[name] = examiner.adaptive(model) if name == OURS else examiner.baseline(name, seed)
        except Unavailable as reason:
            result.notes.append(f"{name} is unavailable: {reason}")
    for name, found in marks.items():
        result.scores += found.scores(name, examiner.units, _MEASURES)
