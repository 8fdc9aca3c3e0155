"""python -m bench.assignment --data DIR [--seeds N]: who takes which task on real transcripts, projects left out.

Runs :mod:`claude_flow.studies.assignment` and writes docs/assignment.md, with the weights of the signals that
:mod:`claude_flow.networks.coordination.evidence` holds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import table
from claude_flow import statistics
from claude_flow.evaluate.result import OURS, Result
from claude_flow.studies import assignment

ROOT = Path(__file__).parents[1]
PAGE = """\
# Who takes which task, with the own log as evidence

`infer coordination` goes by the past decisions of the workspace's `swarm-training-data` (made by `data collect`),
or of the dataset or view that `--historical-context` names; `none` asks the network alone. No training is
needed: the network sees the log in its agents' track records, and the log itself says by first words, by likeness of
words, by how lately and by how often which type of agent took such tasks. Runs known to have failed are no evidence.
What an answer rests on stands above it, and as `rests_on` in the JSON. Types of agents that the log does not name get
little.

Written by `python -m bench.assignment --data FOLDER --seeds {seeds}` from public transcripts that may not be shipped.
How often the choice is the one that the log's dispatcher made, which need not be the best one. Candidates are all types
of agents that a project uses; {decisions} decisions of {projects} projects with ten or more. Every decision knows its
project's earlier ones, those of its own batch included. **Everything fitted was fitted on other projects**: our
network and weights, and LightGBM, which sees the same signals and which type it is. The shipped network saw four fifths
of these logs, so it is not used here. Chosen, not fitted, are the signals themselves, after about eight sets of them
had been tried on these same projects: that flatters ours, and projects that nobody here has seen are the test. Tests
are paired by project, permutations, corrected by Holm's method; the rows with history and without are two families."""


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.assignment", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of transcripts")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="of networks and of LightGBM")
    options = parser.parse_args()

    def progress(done: float, what: str) -> None:
        print(f"  {done:.0%} {what}", file=sys.stderr, flush=True)

    result = assignment.run(options.data, seeds=range(options.seeds), quick=False, progress=progress)
    page = PAGE.format(seeds=options.seeds, **result.rows)
    columns = ["contender", "mean of projects", "ours less it, by project", "p (Holm)", "ours is"]
    lines = [page, "", "With the project's own past:", "", table(columns, _rows(result, assignment.ACCURACY)), ""]
    lines += ["Without any history:", "", table(columns, _rows(result, assignment.BARE)), ""]
    error = next(score.value for score in result.scores if score.measure == assignment.ERROR)
    lines.append(f"Our expected calibration error is {error:.3f} (ten bins), all decisions together.")
    lines += [f"{note[0].upper()}{note[1:]}." for note in result.notes]
    (ROOT / "docs" / "assignment.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
