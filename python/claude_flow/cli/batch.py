"""``claude-flow neural infer batch``: a file of requests, an answer a line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output, Table
from claude_flow.errors import ClaudeFlowError, InputError

__all__ = ["batch"]


@click.command(
    "batch",
    cls=Command,
    examples=[
        """\
claude-flow neural infer batch \\
  --input-file "inference-requests.jsonl" \\
  --model-ensemble '["coordination-v3","optimization-v2","prediction-v2"]' \\
  --batch-size 16 \\
  --parallel-processing true \\
  --output-format "structured-json\"""",
        "claude-flow neural infer batch --input-file - --output-file - < requests.jsonl > answers.jsonl",
        "claude-flow neural infer batch --input-file requests.jsonl.gz --resume",
    ],
)
@click.option(
    "--input-file", "source", required=True, metavar="FILE", help="Requests: .jsonl, .jsonl.gz, .parquet, or - (stdin)."
)
@click.option(
    "--model-ensemble",
    "models",
    type=params.NAMES,
    show_default="the newest of each network",
    help="The models that answer; several of one network all do.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, 100_000),
    default=16,
    show_default=True,
    help="Requests at a time in the engine.",
)
@params.switch("--parallel-processing", default=True, help="Answer on all cores.")
@click.option(
    "--output-format",
    type=click.Choice(["structured-json"]),
    default="structured-json",
    show_default=True,
    help="One JSON object a line.",
)
@click.option(
    "--output-file",
    "target",
    metavar="FILE",
    show_default="the input's name with .answers.jsonl",
    help="Where the answers go; - is standard output.",
)
@click.option("--resume", is_flag=True, help="Go on with an answers file that an interrupted run left.")
@options.log_request()
@options.backend()
@click.pass_obj
def batch(
    output: Output,
    source: str,
    models: list[str] | None,
    batch_size: int,
    parallel_processing: bool,
    output_format: str,  # there is one so far
    target: str | None,
    resume: bool,
    log_request: bool | None,
    backend: str | None,
) -> None:
    """Answer a file of requests of all kinds.

    Answers keep the order of the requests. A line that cannot be answered gets a record with the error, and the rest
    goes on. Memory does not depend on the size of the file.
    """
    from claude_flow import requests
    from claude_flow.run import batch as batches

    path = Path(source)
    if path != batches.STANDARD and not path.is_file():
        raise InputError(f"{source}: there is no such file of requests (infer NETWORK --save-request FILE makes one)")
    if target is None:
        name = path.name.removesuffix(".gz").rpartition(".")[0] or "requests"
        answers = Path("-") if path == batches.STANDARD else path.with_name(f"{name}.answers.jsonl")
    else:
        answers = Path(target)
    if answers != batches.STANDARD and answers.exists() and path.exists() and answers.samefile(path):
        raise InputError(f"{target}: the answers would overwrite the requests")
    ensemble = batches.Ensemble(models or (), **({"backend": backend} if backend else {}))
    unlogged: list[str] = []

    def log(entries: Sequence[Any]) -> None:
        try:
            requests.keep_all(entries)
        except (OSError, ClaudeFlowError) as error:  # they were answered all the same
            unlogged.append(str(error))

    begin = time.perf_counter()
    with output.progress("answering", unit="requests") as bar:
        summary = batches.answer_file(
            path,
            answers,
            ensemble,
            batch_size=batch_size,
            parallel=parallel_processing,
            resume=resume,
            log=log if requests.is_kept(log_request) else None,
            progress=lambda done, _: bar.update(done),
        )
    seconds = time.perf_counter() - begin
    for record in summary.first_errors:
        output.warn(f"line {record['line']}: {record['error']}")
    if unlogged:
        output.warn(f"requests were not logged: {unlogged[0]}")
    if answers == batches.STANDARD:
        output.note(f"{summary.answered} answered, {summary.errors} errors")
        return
    result: dict[str, Any] = {**vars(summary), "answers": answers, "seconds": round(seconds, 3)}
    rows = [
        ["answered", summary.answered],
        *([f"  {network}", count] for network, count in summary.by_network.items()),
        ["errors", summary.errors],
        *([["of an earlier run", summary.resumed]] if summary.resumed else []),
        ["seconds", round(seconds, 2)],
    ]
    tables: list[Table] = [(f"{answers}", ["requests", "count"], rows)]
    output.result(result, tables)
