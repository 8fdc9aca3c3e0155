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
steps and number of agents, the {kept} whose metrics come nearest the measured ones. Where two kinds of agents did a
sixth of the period's runs or more, each kind is measured and fitted by itself, its durations drawn to the whole
period's where its runs are few, and the {kept} stand for them by their shares of the runs. They disagree where the log
says nothing; so each recommendation has a `gain` by the twin beside the network's score: expected, and an {level:.0%}
interval that holds what these swarms disagree on and how far the twin's forecasts were off. `twin` in the JSON says how
well it fits (`misfit`, median absolute logarithm by metric) and how far off its forecasts of throughput and median
latency were, beside "as last period". The simulator's mechanisms stay assumptions: a wide interval that holds zero
means that the log cannot tell. `by_type`, `by_agent` and `by_model` tell of the log's most frequent ones seconds,
failures, tokens and cost, each drawn to the whole log's by how little it says; `durations` how well those by type and
agent foretell the log's newest fifth.

`data preprocess` of a log draws swarms around the twins of its newest periods (400 in all), the newest periods apart as
test part: data to train or fine-tune the optimization network with. `--simulate N` draws from all kinds of work.

## How well it foretells

Written by `python -m bench.twin --data FOLDER` from public logs. Every period from the third on is foretold from the
earlier ones alone. Figures are mean absolute errors of the natural logarithm; differences are paired by period,
permutations, corrected by Holm's method over all rows; intervals by bootstrap. Periods of the transcripts are days with
five runs or more, or eighths, of each project, and resampled by project. The way of smoothing was changed once after a
look at these same logs. Foretelling the mix of types and agents, too, changed no error by more than chance and was
left out."""
DURATIONS = """\
## Durations by type and agent

Each log's newest fifth of runs, foretold by the earlier ones: quantiles of log1p seconds by type and agent, beside the
whole log's. Differences of pinball are paired by twenty stretches of time, permutations, Holm over the logs."""


def runs_of(path: Path) -> list[dict[str, Any]]:
    """The runs of a log as the twin takes them."""
    names = ("submitted", "start", "end", "duration_s", "queue_s", "status", "success", "agent_type", "tokens", "cost",
             "retries", "steps", "tool_calls", "tool_s", "project", "group", "agent", "task_type", "model")  # fmt: skip
    found = []
    for source, files in sources.detect(path).parts:
        found += [
            {name: getattr(record, name) for name in names}
            for record in source.read(path, files, Log())
            if isinstance(record, Run)
        ]
    return found


def foretold(runs: list[dict[str, Any]], by_project: bool) -> list[tuple[str, Forecast]]:
    """Every forecast of a log, with its project."""
    projects: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        projects.setdefault(str(run["project"] or "") if by_project else "", []).append(run)
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
    lasting: list[list[Any]] = []
    for name, path in logs.items():
        runs = runs_of(path)
        told = twin.foretold_durations(runs)
        span = statistics.bootstrap(told["difference"])
        figures = [f"{told['pinball']:.4f}", f"{told['whole_log']:.4f}", _difference(span, 4)]
        lasting.append([name, told["runs"], f"{told['coverage_80']:.1%}", *figures, told["p"]])
        forecasts = foretold(runs, path.is_dir())
        for place, metric in enumerate(("throughput", "median latency")):
            off = {
                way: np.array([abs(f.foretold[way][place] - f.truth[place]) for _, f in forecasts])
                for way in (TWIN, LAST)
            }
            difference = off[TWIN] - off[LAST]
            groups = [project or str(i) for i, (project, _) in enumerate(forecasts)]
            span = statistics.bootstrap(difference, groups)
            means = [f"{off[way].mean():.3f}" for way in (TWIN, LAST)]
            p = statistics.permutation(difference)
            rows.append([name, metric, len(difference), *means, _difference(span, 3), p])
    _judge(rows)
    _judge(lasting)
    columns = ["log", "of the next period", "periods", "twin", LAST, "twin less it", "p (Holm)", "the twin is"]
    page = PAGE.format(draws=twin.DRAWS, kept=twin.KEPT, level=twin.LEVEL)
    by = ["log", "runs", "coverage of 80 %", "by type and agent", "whole log", "it less whole", "p (Holm)", "it is"]
    text = f"{page}\n\n{table(columns, rows)}\n\n{DURATIONS}\n\n{table(by, lasting)}\n"
    (ROOT / "docs" / "twin.md").write_text(text, "utf-8")


def _difference(span: statistics.Interval, digits: int) -> str:
    return f"{span.mean:+.{digits}f} ({span.low:+.{digits}f} … {span.high:+.{digits}f})"


def _judge(rows: list[list[Any]]) -> None:
    """Correct the p that ends each row, after the difference, and say what it shows."""
    for row, p in zip(rows, statistics.holm([row[-1] for row in rows]), strict=True):
        row[-1] = f"{p:.3f}"
        row.append("tie" if p >= 0.05 else "better" if row[-2].startswith("-") else "worse")


if __name__ == "__main__":
    main()
