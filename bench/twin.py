"""python -m bench.twin --data DIR: does the twin foretell the next period better than "as last period"? docs/twin.md.

DIR holds ``swf/*.swf.gz`` and ``claude-code/sessions``; each log, and each project of the transcripts, has a twin.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import table
from claude_flow import statistics
from claude_flow.data import sources
from claude_flow.data.events import Run
from claude_flow.data.lines import Log
from claude_flow.errors import InputError
from claude_flow.networks.optimization import twin
from claude_flow.networks.optimization.twin import LAST, TWIN, Forecast

ROOT = Path(__file__).parents[1]
PAGE = """\
# The twin: what the log's own swarm would gain

`infer optimization` without `--current-performance` asks the workspace's log (`swarm-training-data`, or the dataset or
view that `--historical-context` names). Its newest whole period, a week, or a day or an eighth of a shorter log, says
throughput, latencies, waits, failures, tokens, costs, how many agents were busy, and the load. What the log does not
tell stays unknown. A log needs three periods of five runs with known times.

The **twin** is the simulator fitted to that period: of {draws} random swarms that have the log's load, variability,
steps and number of agents, the {kept} whose metrics come nearest the measured ones. They disagree where the log says
nothing; so each recommendation has a `gain` by the twin beside the network's score: expected, and an {level:.0%}
interval that holds what these swarms disagree on and how far the twin's forecasts were off. `twin` in the JSON says how
well it fits (`misfit`, median absolute logarithm by metric) and how far off its forecasts of throughput and median
latency were, beside "as last period". The simulator's mechanisms stay assumptions: a wide interval that holds zero
means that the log cannot tell.

`data preprocess` of a log draws swarms around the twins of its newest periods (400 in all), the newest periods apart as
test part: data to train or fine-tune the optimization network with. `--simulate N` draws from all kinds of work.

## How well it foretells

Written by `python -m bench.twin --data FOLDER` from public logs. Every period from the third on is foretold from the
earlier ones alone. Figures are mean absolute errors of the natural logarithm; differences are paired by period,
permutations, corrected by Holm's method over all rows; intervals by bootstrap. Periods of the transcripts are days with
five runs or more, or eighths, of each project, and resampled by project. The way of smoothing was changed once after a
look at these same logs."""


def runs_of(path: Path) -> list[dict[str, Any]]:
    """The runs of a log as the twin takes them."""
    names = ("submitted", "start", "end", "duration_s", "queue_s", "status", "success", "agent_type", "tokens", "cost",
             "retries", "steps", "tool_calls", "tool_s", "project", "group")  # fmt: skip
    found = []
    for source, files in sources.detect(path).parts:
        found += [
            {name: getattr(record, name) for name in names}
            for record in source.read(path, files, Log())
            if isinstance(record, Run)
        ]
    return found


def foretold(path: Path) -> list[tuple[str, Forecast]]:
    """Every forecast of a log, with its project."""
    projects: dict[str, list[dict[str, Any]]] = {}
    for run in runs_of(path):
        projects.setdefault(str(run["project"] or "") if path.is_dir() else "", []).append(run)
    found = []
    for name, own in sorted(projects.items()):
        try:
            found += [(name, forecast) for forecast in twin.forecasts(twin.periods(own))]
        except InputError:  # too short
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.twin", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    data = parser.parse_args().data
    logs = {file.name.partition(".")[0]: file for file in sorted((data / "swf").glob("*.swf.gz"))}
    logs["Claude Code transcripts"] = data / "claude-code" / "sessions"
    rows: list[list[Any]] = []
    for name, path in logs.items():
        forecasts = foretold(path)
        for place, metric in enumerate(("throughput", "median latency")):
            off = {
                way: np.array([abs(f.foretold[way][place] - f.truth[place]) for _, f in forecasts])
                for way in (TWIN, LAST)
            }
            difference = off[TWIN] - off[LAST]
            groups = [project or str(i) for i, (project, _) in enumerate(forecasts)]
            span = statistics.bootstrap(difference, groups)
            told = f"{span.mean:+.3f} ({span.low:+.3f} … {span.high:+.3f})"
            p = statistics.permutation(difference)
            rows.append([name, metric, len(difference), f"{off[TWIN].mean():.3f}", f"{off[LAST].mean():.3f}", told, p])
    corrected = statistics.holm([row[-1] for row in rows])
    for row, p in zip(rows, corrected, strict=True):
        row[-1] = f"{p:.3f}"
        row.append("tie" if p >= 0.05 else "better" if row[5].startswith("-") else "worse")
    columns = ["log", "of the next period", "periods", "twin", LAST, "twin less it", "p (Holm)", "the twin is"]
    page = PAGE.format(draws=twin.DRAWS, kept=twin.KEPT, level=twin.LEVEL)
    (ROOT / "docs" / "twin.md").write_text(f"{page}\n\n{table(columns, rows)}\n", "utf-8")


if __name__ == "__main__":
    main()
