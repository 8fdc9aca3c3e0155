"""``claude-flow neural infer distributed``: a file of requests, answered by nodes that check each other."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output
from claude_flow.errors import InputError
from claude_flow.values import did_you_mean

if TYPE_CHECKING:
    from rich.console import RenderableType

    from claude_flow.run.distributed import Progress

__all__ = ["distributed"]


@click.command(
    "distributed",
    cls=Command,
    examples=[
        """\
claude-flow neural infer distributed \\
  --input-data "large-inference-dataset" \\
  --nodes '["node-1","node-2","node-3"]' \\
  --load-balancing "neural-weighted" \\
  --fault-tolerance "redundant-processing" \\
  --aggregation-strategy "majority-vote\"""",
        "claude-flow neural infer distributed --input-data requests.jsonl --nodes a,b --fault-tolerance retry",
        "claude-flow neural infer distributed --input-data requests.jsonl --nodes 10.0.0.4,10.0.0.5 "
        "--address 10.0.0.4:6379",
    ],
)
@click.option(
    "--input-data",
    "source",
    required=True,
    metavar="REQUESTS",
    help="A file of requests (.jsonl, .jsonl.gz, .parquet), or large-inference-dataset: those that were logged.",
)
@click.option("--nodes", type=params.NAMES, required=True, help="The nodes that answer, by name.")
@click.option(
    "--address",
    show_default="a Ray of its own on this machine, a process per name",
    help="A running Ray cluster: auto, HOST:PORT, ray://HOST:PORT.",
)
@click.option(
    "--load-balancing",
    type=click.Choice(["neural-weighted", "round-robin", "least-loaded"]),
    default="neural-weighted",
    show_default=True,
    help="Who gets the next shard: who is expected to be done first, the next in turn, who has least to do.",
)
@click.option(
    "--fault-tolerance",
    type=click.Choice(["redundant-processing", "retry"]),
    default="redundant-processing",
    show_default=True,
    help="Two nodes answer and are compared byte by byte, or one does; lost shards go to others in both.",
)
@click.option(
    "--aggregation-strategy",
    type=click.Choice(["majority-vote", "mean", "first"]),
    default="majority-vote",
    show_default=True,
    help="How the answers of several nodes become one.",
)
@click.option("--model-ensemble", "models", type=params.NAMES, show_default="the newest of each network",
              help="The models that answer.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Lines of a shard.")
@click.option(
    "--output-file",
    "target",
    type=click.Path(path_type=Path),
    show_default="the input's name with .answers.jsonl",
    help="Where the answers go.",
)
@click.option("--resume", is_flag=True, help="Go on with an answers file that an interrupted run left.")
@options.precision()
@click.pass_obj
def distributed(
    output: Output,
    source: str,
    nodes: list[str],
    address: str | None,
    load_balancing: str,
    fault_tolerance: str,
    aggregation_strategy: str,
    models: list[str] | None,
    batch_size: int,
    target: Path | None,
    resume: bool,
    precision: str,
) -> None:
    """Answer requests on several nodes.

    Every request is answered once, in the order of the file, whatever nodes are lost. Nodes of one machine share its
    cores: they are for trying it out. docs/scale.md says how to run a cluster.
    """
    from claude_flow.run import distributed as run
    from claude_flow.run.cluster import Cluster

    path, answers = _input(source, resume), target or Path(f"{_stem(source)}.answers.jsonl")
    if answers.exists() and answers.samefile(path):
        raise InputError(f"{answers}: the answers would overwrite the requests")
    cluster = Cluster(nodes, address)
    begin = time.perf_counter()
    last: Progress | None = None
    with output.progress("answering", unit="requests") as bar:
        bar.update(0, note=f"{len(nodes)} nodes are starting")
        steps = run.answer_file(
            path,
            answers,
            cluster,
            models or (),
            load_balancing=load_balancing,
            fault_tolerance=fault_tolerance,
            aggregation=aggregation_strategy,
            batch_size=batch_size,
            resume=resume,
            options={"precision": precision},
        )
        if output.is_interactive:
            seen: list[Progress] = []
            output.live(_pictures(steps, seen))
            last = seen[-1] if seen else None
        else:
            for last in steps:
                bar.update(last.summary.requests, note=_line(last))
    if last is None:
        raise InputError(f"{source}: interrupted before the first answer")
    summary = last.summary
    for record in summary.first_errors:
        output.warn(f"line {record['line']}: {record['error']}")
    for node in last.nodes:
        if node["state"] != "answering":
            output.warn(f"{node['name']} is {node['state']}: {node['why']}")
    result: dict[str, Any] = {
        **vars(summary),
        "answers": answers,
        "seconds": round(time.perf_counter() - begin, 3),
        "where": cluster.where,
        "load_balancing": load_balancing,
        "fault_tolerance": fault_tolerance,
        "aggregation_strategy": aggregation_strategy,
        "nodes": last.nodes,
    }
    counts = [
        ["answered", summary.answered],
        *([f"  {network}", count] for network, count in summary.by_network.items()),
        ["errors", summary.errors],
        *([["of an earlier run", summary.resumed]] if summary.resumed else []),
        ["seconds", round(result["seconds"], 2)],
    ]
    output.result(result, [(f"{answers}", ["requests", "count"], counts), (cluster.where, *_table(last))])


def _input(source: str, resume: bool) -> Path:
    """The file of requests that ``--input-data`` means."""
    path = Path(source)
    if path.is_file():
        return path
    from claude_flow import files
    from claude_flow.data import views

    groups = views.requests(source)
    if groups is None:
        near = did_you_mean(source, [view.name for view in views.VIEWS if view.kind == "requests"])
        raise InputError(f"{source}: there is no such file or view of requests{near}")
    kept = Path(f"{source}.requests.jsonl")  # the log grows: what was asked stays beside the answers
    if not (resume and kept.is_file()):
        asked = [replace(r, answer=None, seconds=None) for group in groups.values() for r in group]
        files.atomic_write(kept, "".join(json.dumps(request.line()) + "\n" for request in asked))
    return kept


def _stem(source: str) -> str:
    path = Path(source)
    return str(path.with_name(path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".parquet")))


def _table(progress: Progress) -> tuple[list[str], list[list[Any]]]:
    columns = [
        "node",
        "state",
        "shards",
        "requests",
        "requests/s",
        "expected s/shard",
        "off by",
        "restarts",
        "outvoted",
    ]
    keys = ("name", "state", "shards", "requests", "requests_per_second", "expected_seconds", "expectation_off_by")
    return columns, [[node.get(key) for key in (*keys, "restarts", "outvoted")] for node in progress.nodes]


def _line(progress: Progress) -> str:
    return ", ".join(f"{node['name']} {node['requests']}" for node in progress.nodes)


def _pictures(steps: Iterator[Progress], seen: list[Progress]) -> Iterator[RenderableType]:
    """The table of nodes, anew at every step."""
    from rich.table import Table as RichTable

    for progress in steps:
        seen[:] = [progress]
        shown = RichTable(title=f"{progress.summary.requests} requests answered", title_justify="left")
        columns, rows = _table(progress)
        for column in columns:
            shown.add_column(column)
        for row in rows:
            shown.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value or "-") for value in row))
        yield shown
