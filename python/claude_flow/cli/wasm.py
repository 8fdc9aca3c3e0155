"""``claude-flow neural wasm``: models on the engine's WebAssembly build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from claude_flow import registry
from claude_flow.cli import params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table

__all__ = ["group"]

group = Group("wasm", help="See how models run as WebAssembly.")


@group.command(
    "profile-simd",
    examples=[
        """\
claude-flow neural wasm profile-simd \\
  --model "coordination-v3" \\
  --workload "typical-coordination-tasks" \\
  --metrics '["throughput","latency","cache-misses","instruction-efficiency"]'""",
        "claude-flow neural wasm profile-simd --model optimization-v2 --javascript emscripten --format json",
    ],
)
@params.model_option
@click.option(
    "--workload",
    metavar="NAME",
    show_default="typical-NETWORK-tasks of the model's network",
    help="typical-coordination-tasks and the like; typical-workload, batch-sizes, lengths, largest.",
)
@click.option("--metrics", type=params.NAMES, show_default="all of them", help="What to measure.")
@click.option(
    "--duration", type=params.DURATION, default="1s", show_default=True, help="How long, per module and host."
)
@click.option(
    "--javascript",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder of the JavaScript package, to run it under Node too.",
)
@click.pass_obj
def profile_simd(
    output: Output,
    /,
    model: str,
    workload: str | None,
    metrics: list[str] | None,
    duration: float,
    javascript: Path | None,
) -> None:
    """Measure a model on each WebAssembly module: simd128 and relaxed.

    Metrics: throughput, latency, operations (every op), bytes-moved, simd-share (vector instructions among the
    module's, decoded from it), instruction-efficiency and cache-misses (from the CPU's counters). What the machine
    cannot count is marked unavailable, with the reason.
    """
    from claude_flow.measure import simd

    chosen = list(simd.METRICS) if metrics is None else metrics
    with output.progress("profile", 2 * duration, unit="s") as bar:
        answer = simd.profile(
            registry.model_path(model), workload, chosen, seconds=duration, javascript=javascript, progress=bar.update
        )
    output.result(answer, _tables(answer, chosen))


def _tables(answer: dict[str, Any], metrics: list[str]) -> list[Table]:
    hosts = answer["hosts"]
    titles = [f"{row['host']} {row['isa']}" for row in hosts]

    def line(name: str, value: Any) -> list[Any]:
        return [name, *(row.get("unavailable") or value(row) for row in hosts)]

    rows = []
    if "throughput" in metrics:
        rows.append(line("items per second", lambda row: row["throughput"]))
    if "latency" in metrics:
        names = ("best", "median", "p95")
        rows += [line(f"latency, {name}, ms", lambda row, name=name: row["latency"][name]) for name in names]
    if "bytes-moved" in metrics:
        rows.append(line("MB per inference", lambda row: row["bytes-moved"]["per_inference"] / 1e6))
        rows.append(line("GB/s at the median", lambda row: row["bytes-moved"]["per_second"] / 1e9))
    if "simd-share" in metrics:
        rows.append(line("vector instructions, %", lambda row: 100 * row["simd-share"]))
    counted = [name for name in ("instruction-efficiency", "cache-misses") if name in metrics]
    rows += [line(name, lambda row, name=name: row[name]) for name in counted]
    tables: list[Table] = [(f"{answer['model']}: {answer['workload']}", ["metric", *titles], rows)]
    for row in hosts:
        if "operations" in row:
            ops = [
                [op["op"], op["kind"], op["name"], 1e6 * op["seconds"], op["arithmetic"] / 1e6, op["bytes"] / 1e6]
                for op in row["operations"]
            ]
            columns = ["op", "kind", "name", "us", "million operations", "MB"]
            tables.append((f"Ops under {row['host']}, {row['isa']}", columns, ops))
    return tables
