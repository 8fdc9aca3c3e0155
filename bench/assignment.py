"""python -m bench.assignment --data DIR [--seeds N]: who takes which task on real transcripts, projects left out.

Runs :mod:`claude_flow.studies.assignment` and writes docs/assignment.md, anew after each seed. With --fit it only fits
on all projects what ships with the package, :data:`claude_flow.networks.coordination.ranker.FILE` (a minute).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import table
from claude_flow import statistics
from claude_flow.evaluate import assignment as evaluated
from claude_flow.evaluate.result import OURS, Result
from claude_flow.files import temporary_folder
from claude_flow.networks.coordination import evidence, ranker
from claude_flow.networks.coordination.ranker import FILE
from claude_flow.studies import assignment

ROOT = Path(__file__).parents[1]
PAGE = """\
# Who takes which task, with the own log as evidence

`infer coordination` goes by the past decisions of the workspace's `swarm-training-data` (made by `data collect`),
or of the dataset or view that `--historical-context` names; `none` asks the network alone. No training is
needed: the network sees the log in its agents' track records, and the log itself says by first words, by likeness of
words, by how lately and by how often which type of agent took such tasks. Runs known to have failed are no evidence.
**Without a log** an answer goes by what other people's projects did, where they use two of the request's types of
agents or more and the request brings no `track-record`; else by the network alone. What an answer rests on stands above
it, and as `rests_on` in the JSON.

How these signals are weighed is learned: two ensembles of small boosted trees, with a log and without one, whose sum is
the score in a softmax over the types, and the network's log probability times 0.2. Trees and the counts of words and
types (as hashes) ship as one file of {size:.0f} kB, which `python -m bench.assignment --data FOLDER --fit` makes.

Written by `python -m bench.assignment --data FOLDER --seeds {seeds}` from public transcripts that may not be shipped.
How often the choice is the one that the log's dispatcher made, which need not be the best one. Candidates are all types
of agents that a project uses; {decisions} decisions of {projects} projects with ten or more. Every decision knows its
project's earlier ones, those of its own batch included. **Everything fitted was fitted on other projects**: our
network, trees and counts, and LightGBM, which sees for each type how alike the words are, how often other projects and
the log use it, and which type it is, as a category. The shipped network and counts saw these logs, so they are not used
here. Chosen, not fitted, are the signals and the trees' size: of linear weights, networks of 16 hidden units and trees,
some fifty forms had been tried on these same projects. That flatters ours, and projects that nobody here has seen are
the test. Tests are paired by project, permutations, corrected by Holm's method; the rows with history and without are
two families."""


def _rows(result: Result, measure: str) -> list[list[Any]]:
    """Contender, mean over projects, ours less it with 95 %, p, verdict."""
    units: dict[str, dict[str, list[float]]] = {}
    for score in result.scores:
        if score.measure == measure:
            units.setdefault(score.contender, {}).setdefault(score.unit, []).append(score.value)
    means = {name: {unit: float(np.mean(v)) for unit, v in found.items()} for name, found in units.items()}
    ours = means.pop(OURS)
    differences = {name: [ours[unit] - found[unit] for unit in ours] for name, found in means.items()}
    corrected = statistics.holm([statistics.permutation(d) for d in differences.values()])
    rows: list[list[Any]] = [[OURS, f"{np.mean(list(ours.values())):.1%}", "", "", ""]]
    for (name, difference), p in zip(differences.items(), corrected, strict=True):
        span = statistics.bootstrap(difference)
        verdict = "tie" if p >= 0.05 else ("better" if span.mean > 0 else "worse")
        told = f"{span.mean:+.1%} ({span.low:+.1%} … {span.high:+.1%})"
        rows.append([name, f"{np.mean(list(means[name].values())):.1%}", told, f"{p:.3f}", verdict])
    return rows


def _write(result: Result, seeds: int) -> None:
    page = PAGE.format(seeds=seeds, size=FILE.stat().st_size / 1000, **result.rows)
    columns = ["contender", "mean of projects", "ours less it, by project", "p (Holm)", "ours is"]
    lines = [page, "", "With the project's own past:", "", table(columns, _rows(result, assignment.ACCURACY)), ""]
    lines += ["Without any history:", "", table(columns, _rows(result, assignment.BARE)), ""]
    error = float(np.mean([score.value for score in result.scores if score.measure == assignment.ERROR]))
    lines.append(f"Our expected calibration error is {error:.3f} (ten bins), all decisions together.")
    lines += [f"{note[0].upper()}{note[1:]}." for note in result.notes]
    (ROOT / "docs" / "assignment.md").write_text("\n".join(lines) + "\n", "utf-8")


def _fit(data: Path) -> None:
    with temporary_folder() as folder:
        logs, _ = assignment.read(data, folder)
    decisions = sum(len(log.decisions) for log in logs)
    about = {
        "data": f"{decisions} decisions of {len(logs)} projects' Claude Code transcripts",
        "command": "python -m bench.assignment --fit",
        "signals": json.dumps(evidence.SIGNALS),
    }
    ranker.write(evaluated.ranker(evaluated.seen(logs)), FILE, about)
    print(f"{FILE.relative_to(ROOT)}: {about['data']}, {FILE.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.assignment", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of transcripts")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="of networks, trees and LightGBM")
    parser.add_argument("--fit", action="store_true", help="only fit what ships with the package, on all projects")
    options = parser.parse_args()
    if options.fit:
        _fit(options.data)
        return

    def progress(done: float, what: str) -> None:
        print(f"  {done:.0%} {what}", file=sys.stderr, flush=True)

    whole: Result | None = None
    for seed in range(options.seeds):
        result = assignment.run(options.data, seeds=[seed], quick=False, progress=progress)
        whole = result if whole is None else replace(whole, scores=whole.scores + result.scores)
        _write(whole, seed + 1)


if __name__ == "__main__":
    main()
