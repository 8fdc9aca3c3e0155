"""Real streams with a model whose loss says what their drift costs.

A gradient-boosted model learns on the first half of the reference and is judged on the second; its errors (0 or 1, for
times: off by a factor of three) are followed along the stream, window by window. The loss passes its limit in the first
window whose error lies 5 points above the reference's. A detector sees the inputs alone, window by window beside the
reference, and should alarm no later. How often it alarms without drift: on windows of rows drawn from the reference.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import detectors
from bench.detectors import Array

__all__ = ["QUIET", "READERS", "Stream", "lines"]

LIMIT, QUIET = 0.05, 20


@dataclass(frozen=True)
class Stream:
    """Inputs [rows, features] in order of time, and the model's errors [rows]; ``known`` rows are the reference."""

    what: str
    inputs: Array
    errors: Array
    known: int
    window: int

    def judged(self, name: str, run: int) -> Any:
        """Run 0: when a detector first alarms and when the loss passes its limit (rows of the stream). The others:
        whether it alarms on rows drawn from the reference."""
        alarm = detectors.STREAMS[name]
        reference, stream = self.inputs[: self.known], self.inputs[self.known :]
        if run == 0:
            ends = range(self.window, len(stream) + 1, self.window)
            first = next((end for end in ends if alarm(reference, stream[end - self.window : end], end)), None)
            return {"alarm": first, "loss": self.loss(), "rows": len(stream), "what": self.what}
        rows = np.random.default_rng(run).permutation(self.known)
        return int(alarm(reference[rows[self.window :]], reference[rows[: self.window]], run))

    def loss(self) -> int | None:
        """The end of the first window whose error passes the limit."""
        base = self.errors[self.known // 2 : self.known].mean()
        late = self.errors[self.known :]
        for end in range(self.window, len(late) + 1, self.window):
            if late[end - self.window : end].mean() > base + LIMIT:
                return end
        return None


def _elec2(path: Path) -> Stream:
    table = np.genfromtxt(io.BytesIO(gzip.decompress(path.read_bytes())), delimiter=",", skip_header=1)
    inputs, labels, known = table[:, :-1], table[:, -1], 9_000
    model = _learner("classifier").fit(inputs[: known // 2], labels[: known // 2])
    errors = (model.predict(inputs) != labels).astype(float)
    return Stream("electricity prices; the class is up or down", inputs, errors, known, 500)


def _swf(path: Path) -> Stream:
    lines_ = gzip.decompress(path.read_bytes()).decode("latin-1").splitlines()
    jobs = np.array([line.split()[:18] for line in lines_ if line.strip() and not line.startswith(";")], float)
    jobs = jobs[jobs[:, 3] > 0]
    jobs = jobs[np.lexsort((jobs[:, 0], jobs[:, 1]))]
    day = jobs[:, 1] % 86_400 / 3600
    week = jobs[:, 1] // 86_400 % 7
    inputs = np.column_stack(
        [day, week, np.log1p(np.maximum(jobs[:, [7, 8, 9]], 0)), jobs[:, [11, 13, 14]]]  # asked for, and by whom
    )
    known = len(jobs) // 5
    return _timed("jobs; their run time", inputs, np.log(jobs[:, 3]), known, 500)


def _claude(path: Path) -> Stream:
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode("utf-8"))))
    rows = [row for row in rows if _number(row["duration_s"]) > 0]
    order = {"entireio+cli": 0}  # the project with most runs is the reference, the others are asked after it
    rows.sort(key=lambda row: (order.get(row["repo"], 1), row["spawn_ts"]))
    kinds = {kind: float(i) for i, kind in enumerate(dict.fromkeys(row["subagent_type"] for row in rows))}
    inputs = np.array(
        [
            [
                math.log1p(_number(row["prompt_chars"])),
                len(row["description"].split()),
                _number(row["parallel"]),
                float(row["background"] or 0),
                kinds[row["subagent_type"]],
            ]
            for row in rows
        ]
    )
    known = sum(row["repo"] in order for row in rows)
    target = np.log([_number(row["duration_s"]) for row in rows])
    return _timed("subagents' runs; their time", inputs, target, known, 60)


def _number(text: str) -> float:
    return float(text) if text else 0.0


def _timed(what: str, inputs: Array, target: Array, known: int, window: int) -> Stream:
    model = _learner("regressor").fit(inputs[: known // 2], target[: known // 2])
    errors = (np.abs(model.predict(inputs) - target) > math.log(3)).astype(float)
    return Stream(what, inputs, errors, known, window)


def _learner(kind: str) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    make = HistGradientBoostingClassifier if kind == "classifier" else HistGradientBoostingRegressor
    return make(max_iter=100, random_state=0)


def lines(values: dict[str, Any]) -> list[str]:
    """The table of what there is."""
    found = [
        *(" ".join((__doc__ or "").split("\n\n")[1].split()), ""),
        "| stream | rows | detector | first alarm after | loss passes after | in time | alarms without drift |",
        "|---|---|---|---|---|---|---|",
    ]
    for stream, detector in itertools.product(READERS, detectors.STREAMS):
        if not (value := values.get(f"stream {stream}: {detector}")):
            found.append(f"| {stream} | | {detector} | not run yet | | | |")
            continue
        about = value[0]
        alarm, loss = about["alarm"], about["loss"]
        timely = "it never passes" if loss is None else "yes" if alarm and alarm <= loss else "no"
        ends = ["never" if end is None else f"{end:,}" for end in (alarm, loss)]
        false = f"{sum(value[1:])} of {len(value) - 1}"
        cells = [stream, f"{about['rows']:,}", detector, *ends, timely, false]
        found.append(f"| {' | '.join(cells)} |")
    return found


#: name -> the stream, read from the folder of the public data sets
READERS: dict[str, Callable[[Path], Stream]] = {
    "Elec2": lambda data: _elec2(data / "streams" / "elec2.csv.gz"),
    "KTH-SP2": lambda data: _swf(data / "swf" / "KTH-SP2-1996-2.swf.gz"),
    "LLNL-Atlas": lambda data: _swf(data / "swf" / "LLNL-Atlas-2006-2.1-cln.swf.gz"),
    "Claude Code projects": lambda data: _claude(data / "claude-code" / "subagent_runs.csv.gz"),
}
