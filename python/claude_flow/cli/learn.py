"""``claude-flow neural learn``: from the workspace's own log to models that are better for it, or to none."""

from __future__ import annotations

import click

from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output, Table

__all__ = ["learn", "verdict_tables"]


@click.command(
    "learn",
    cls=Command,
    examples=[
        "claude-flow neural learn --time-budget 10m",
        "claude-flow neural learn --source events.jsonl --networks coordination",
        "claude-flow neural learn --dataset swarm-training-data --format json",
    ],
    short_help="Learn from the own log, and keep what is better for it.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="PATH",
    show_default="Claude Code's transcripts and the workspace's events",
    help="A log to collect, repeatable.",
)
@click.option("--dataset", metavar="DATASET", help="Learn from this dataset of tables; collect nothing.")
@click.option("--networks", type=params.NAMES, show_default="all that the log supports", help="Learn only these.")
@options.seed("Of training.")
@options.time_budget("For all trainings together; each ends at its best epoch.")
@click.pass_obj
def learn(
    output: Output,
    sources: tuple[str, ...],
    dataset: str | None,
    networks: tuple[str, ...] | None,
    seed: int,
    time_budget: float | None,
) -> None:
    """Learn from the own log, and keep what is better for it.

    Collects the log, validates and preprocesses it, and trains every network that it supports. Each is judged
    walk-forward on the later half of the log, beside the rules that are hard to beat (most used, first-word table,
    shrunken mean …), nearest neighbours, LightGBM, and the model in use. It becomes a new version, and the one in use,
    only if it beats the strongest of them by a paired test; else it is refused, and nothing changes.
    """
    from claude_flow.errors import InputError
    from claude_flow.train.recipes import own

    if sources and dataset:
        raise InputError("--source and --dataset: name the one or the other")
    with output.progress("learning", 1.0) as bar:
        found = own.learn(
            sources=sources or None,
            dataset=dataset,
            only=networks or None,
            seed=seed,
            time_budget=time_budget,
            progress=lambda done, what: bar.update(done, note=what),
        )
    answer = found.to_json()
    tables: list[Table] = []
    for verdict in answer["verdicts"].values():
        tables += verdict_tables(verdict)
    rows = [[name, found.kept.get(name, "refused"), verdict.why] for name, verdict in found.verdicts.items()]
    rows += [[name, "left out", why] for name, why in found.skipped.items()]
    tables.append((f"Learned from {found.runs} runs", ["network", "kept", "why"], rows))
    if found.warnings:
        tables.append(("Warnings about the data", ["what"], [[what] for what in found.warnings[:5]]))
    output.result(answer, tables)


def verdict_tables(verdict: dict[str, object]) -> list[Table]:
    """How the contenders of a walk-forward judgement did, the best first."""
    contenders = verdict["contenders"]
    assert isinstance(contenders, dict)
    better = -1 if str(verdict["measure"]).startswith("share") else 1
    rows = [[name, value] for name, value in sorted(contenders.items(), key=lambda item: better * item[1])]
    title = (
        f"{verdict['network']}, walk-forward: {verdict['measure']}, {verdict['rows']} rows, {verdict['units']} units"
    )
    return [(title, ["contender", "mean"], rows)]
