"""python -m bench.assignment --data DIR: who takes which task on real transcripts, and the weights of the mixture.

Each project is left out in turn: the two weights of :mod:`claude_flow.networks.coordination.evidence` are fitted on the
others, and each of its decisions is judged on the project's own decisions before it. Writes docs/assignment.md. The
shipped network learned from the first four fifths of these same transcripts, if they are the ones of `make models`; the
table, the mixture's weights and the other rivals did not.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import claude_flow
from bench.report import table
from claude_flow import statistics
from claude_flow.data.collect import collect
from claude_flow.data.tables import read_table
from claude_flow.files import temporary_folder
from claude_flow.networks.coordination import evidence
from claude_flow.networks.coordination.features import Encoder

ROOT = Path(__file__).parents[1]
LEAST = 10  # decisions of a project that is judged
GRID = np.arange(0, 1.01, 0.05)
OURS = "network and log"
PAGE = """\
# Who takes which task, with the own log as evidence

`infer coordination` goes by the past decisions of the workspace's `swarm-training-data` (made by `data collect`),
or of the dataset or view that `--historical-context` names; `none` asks the network alone. No training is
needed: the network sees the log in its agents' track records, and a table of the log says which type of agent
took the tasks that begin with the same word. Runs known to have failed are no evidence. What an answer rests
on stands above it, and as `rests_on` in the JSON. Types of agents that the log does not name get little.

Written by `python -m bench.assignment --data FOLDER` from public transcripts that may not be shipped. How
often the choice is the one that the log's dispatcher made, which need not be the best one. Candidates are
all types of agents that a project uses; {decisions} decisions of {projects} projects with {least} or more.
Every decision knows its project's earlier ones, those of its own batch included. The mixture's weights are
fitted on the other projects. **The network is the shipped one, which learned from the first four fifths of each
of these logs**: its own figures, and ours as far as they rest on it, flatter it; the table's do not. Tests are
paired by project, permutations, corrected by Holm's method."""
Array = NDArray[np.float64]


@dataclass
class Project:
    """Probabilities ``[decisions, 2, types]`` of network and table, what was chosen, and rivals' choices."""

    name: str
    experts: Array
    chosen: NDArray[np.int64]
    rivals: dict[str, NDArray[np.int64]]


def _project(name: str, runs: list[dict[str, Any]], model: Any) -> Project | None:
    past = evidence.decisions(runs)
    kinds = sorted({decision.kind for decision in past})
    if len(past) < LEAST or len(kinds) < 2:
        return None
    encoder = Encoder.from_schema(model.features)
    agents = np.stack([encoder.agent({"type": kind}) for kind in kinds])
    state = encoder.state({}, [{"id": kind} for kind in kinds], 1)[None]
    experts, most, last, bare = [], [], [], []
    for i, decision in enumerate(past):
        task, asked = encoder.task({"description": decision.text})[None], []
        for seen in (past[:i], []):
            x = np.concatenate([state, evidence.with_log(encoder, agents, kinds, seen), task])[None]
            p = model.decide(x, len(kinds), 1).probabilities[0, 0, : len(kinds)].astype(np.float64)
            asked.append(p / p.sum())
        own, without = asked
        bare.append(int(without.argmax()))
        experts.append(np.stack([own, evidence.table(past[:i], [decision.text], kinds)[0]]))
        before = [d.kind for d in past[:i]]
        most.append(kinds.index(Counter(before).most_common(1)[0][0]) if before else 0)
        last.append(kinds.index(before[-1]) if before else 0)
    rivals = {"most used": most, "last used": last, "network, log not shown": bare}
    return Project(
        name,
        np.stack(experts),
        np.array([kinds.index(decision.kind) for decision in past]),
        {rival: np.array(found) for rival, found in rivals.items()},
    )


def _probabilities(experts: Array, weights: tuple[float, float]) -> Array:
    score = np.tensordot(np.log(np.maximum(experts, 1e-9)), np.array(weights), ([1], [0]))
    mass = np.exp(score - score.max(axis=1, keepdims=True))
    result: Array = mass / mass.sum(axis=1, keepdims=True)
    return result


def _fitted(projects: list[Project]) -> tuple[float, float]:
    """The weights of the least mean log loss."""

    def loss(weights: tuple[float, float]) -> float:
        lost = [
            -np.log(_probabilities(p.experts, weights)[np.arange(len(p.chosen)), p.chosen] + 1e-12) for p in projects
        ]
        return float(np.concatenate(lost).mean())

    return min(((float(a), float(b)) for a in GRID for b in GRID), key=loss)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.assignment", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of transcripts")
    parser.add_argument("--tables", action="store_true", help="--data is a dataset of tables already")
    options = parser.parse_args()
    with temporary_folder() as folder:
        tables = options.data
        if not options.tables:
            tables = folder / "tables"
            collect([options.data], tables, quality_filter="none")
        runs = read_table(tables, "runs")
    assert runs is not None
    by_project: dict[str, list[dict[str, Any]]] = {}
    for run in runs.to_pylist():
        by_project.setdefault(str(run["project"] or run["group"]), []).append(run)
    model = claude_flow.load("coordination-v3")
    found = [_project(name, own, model) for name, own in sorted(by_project.items())]
    projects = [project for project in found if project is not None]
    hits: dict[str, list[Array]] = {}
    sure, weights = [], []
    for project in projects:
        fitted = _fitted([other for other in projects if other is not project])
        weights.append(fitted)
        p = _probabilities(project.experts, fitted)
        sure.append(p.max(axis=1))
        picks = {OURS: p.argmax(axis=1), "first-word table": project.experts[:, 1].argmax(axis=1)}
        picks |= {"network, log shown": project.experts[:, 0].argmax(axis=1), **project.rivals}
        for name, pick in picks.items():
            hits.setdefault(name, []).append((pick == project.chosen).astype(np.float64))
    ours = np.concatenate(hits[OURS])
    reliability = statistics.reliability(ours, np.concatenate(sure))
    rivals = [name for name in hits if name != OURS]
    # Projects are the units: decisions of one resemble each other.
    differences = {
        name: [float((a - b).mean()) for a, b in zip(hits[OURS], hits[name], strict=True)] for name in rivals
    }
    corrected = statistics.holm([statistics.permutation(differences[name]) for name in rivals])
    rows: list[list[Any]] = [[OURS, f"{ours.mean():.1%}", f"{np.mean([h.mean() for h in hits[OURS]]):.1%}", "", "", ""]]
    for name, p_value in zip(rivals, corrected, strict=True):
        span = statistics.bootstrap(differences[name])
        over, mean = np.concatenate(hits[name]).mean(), np.mean([h.mean() for h in hits[name]])
        verdict = "tie" if p_value >= 0.05 else ("better" if span.mean > 0 else "worse")
        interval = f"{span.mean:+.1%} ({span.low:+.1%} … {span.high:+.1%})"
        rows.append([name, f"{over:.1%}", f"{mean:.1%}", interval, f"{p_value:.3f}", verdict])
    columns = ["contender", "of all decisions", "mean of projects", "ours less it, by project", "p (Holm)", "ours is"]
    whole = _fitted(projects)
    lines = [
        PAGE.format(decisions=len(ours), projects=len(projects), least=LEAST),
        "",
        table(columns, rows),
        "",
        f"Confidence is {np.concatenate(sure).mean():.1%} on average; its expected calibration error is "
        f"{reliability.error:.3f} (ten bins).",
        f"Weights fitted on all projects: network {whole[0]:.2f}, table {whole[1]:.2f}; with a project left out "
        f"{min(w[0] for w in weights):.2f} to {max(w[0] for w in weights):.2f} and "
        f"{min(w[1] for w in weights):.2f} to {max(w[1] for w in weights):.2f}.",
    ]
    (ROOT / "docs" / "assignment.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
