"""``claude-flow neural wasm``: models on the engine's WebAssembly build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from claude_flow import registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table

__all__ = ["group"]

group = Group("wasm", help="Prepack models for instruction sets, and measure them as WebAssembly.")


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
@options.model()
@click.option(
    "--workload",
    metavar="NAME",
    show_default="typical-NETWORK-tasks of the model's network",
    help="typical-coordination-tasks and the like; typical-workload, batch-sizes, lengths, largest.",
)
@options.metrics()
@options.duration("1s", "How long, per module and host.")
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
    with output.share("profile") as shown:
        answer = simd.profile(
            registry.model_path(model), workload, chosen, seconds=duration, javascript=javascript, progress=shown
        )
    output.result(answer, _tables(answer, chosen))


def _base(model: str) -> str:
    """The name that the optimized model's is made of."""
    name = registry.model_name(registry.model_path(model))
    return name.partition("/")[0]


@group.command(
    "optimize-simd",
    examples=[
        """\
claude-flow neural wasm optimize-simd \\
  --model "coordination-v3" \\
  --target-architecture "avx2" \\
  --vector-width 256 \\
  --memory-alignment 32 \\
  --instruction-scheduling "aggressive\"""",
        "claude-flow neural wasm optimize-simd --model coordination-v3 --target-architecture relaxed --output web",
    ],
)
@options.model()
@click.option(
    "--target-architecture",
    metavar="WORD",
    default="auto",
    show_default="the best of this machine",
    help="sse41, avx2, avxvnni, avx512, avx512vnni; for WebAssembly simd128, relaxed.",
)
@click.option(
    "--vector-width", type=int, show_default="the widest of the target", help="Bits of the vectors of its kernels."
)
@click.option(
    "--memory-alignment",
    type=int,
    show_default="a row of a panel, at most 64",
    help="Weights begin at multiples of this many bytes in the file.",
)
@click.option(
    "--instruction-scheduling",
    metavar="WORD",
    default="standard",
    show_default=True,
    help="standard, or aggressive: choose the kernels by measuring them.",
)
@options.output("new model", without="MODEL-simd")
@click.pass_obj
def optimize_simd(
    output: Output,
    /,
    model: str,
    target_architecture: str,
    vector_width: int | None,
    memory_alignment: int | None,
    instruction_scheduling: str,
    name: str | None,
) -> None:
    """Prepack a model for an instruction set, so that it loads faster.

    The weights are stored in the order in which the kernels of the target read them, and the engine uses the mapped
    file in place; the model then runs on those kernels where the machine has them. Elsewhere it is packed anew at load.
    For WebAssembly the model's folder holds the module too. Packing changes no number: answers of 8-bit models stay the
    same bits. Kernels are compiled ahead, and the order of their instructions with them: aggressive scheduling measures
    the model on every set of kernels that the target can run, up to the vector width, and takes the fastest.
    """
    from claude_flow.compress import prepack

    path = registry.model_path(model)
    with output.share("optimize") as shown:
        report = prepack.optimize_simd(
            path,
            name or f"{_base(model)}-simd",
            target_architecture,
            vector_width,
            memory_alignment,
            instruction_scheduling,
            shown,
        )
    output.result(report, _report(report))


@group.command(
    "optimize-memory",
    examples=[
        """\
claude-flow neural wasm optimize-memory \\
  --model "coordination-v3" \\
  --memory-layout "cache-friendly" \\
  --tensor-fusion true \\
  --memory-pooling true \\
  --garbage-collection "generational\"""",
    ],
)
@options.model()
@click.option(
    "--memory-layout",
    metavar="WORD",
    default="cache-friendly",
    show_default=True,
    help="cache-friendly: packed for this machine's kernels, used in place; row-major: as trained.",
)
@params.switch("--tensor-fusion", default=True, help="Products of the same rows as one; false: q, k and v apart.")
@params.switch("--memory-pooling", default=True, help="Values share places in the arena; always so.")
@click.option(
    "--garbage-collection",
    metavar="WORD",
    default="generational",
    show_default=True,
    help="generational: tensors that nothing reads leave the file; none: they stay.",
)
@options.output("new model", without="MODEL-memory")
@click.pass_obj
def optimize_memory(
    output: Output,
    /,
    model: str,
    memory_layout: str,
    tensor_fusion: bool,
    memory_pooling: bool,
    garbage_collection: str,
    name: str | None,
) -> None:
    """Rewrite a model so that loading and running it take less memory.

    The engine has no garbage collector: a run allocates nothing. "generational" sorts by lifetime once, ahead: tensors
    that nothing reads leave the file, weights stay in the mapped file, and the values of a run live in one arena, in
    which a value takes the place of those that are no longer needed. The report tells the arena's size, and what it
    would be if no two values shared a place.
    """
    from claude_flow.compress import prepack

    path = registry.model_path(model)
    name = name or f"{_base(model)}-memory"
    report = prepack.optimize_memory(path, name, memory_layout, tensor_fusion, memory_pooling, garbage_collection)
    output.result(report, _report(report))


def _report(report: dict[str, Any]) -> list[Table]:
    def pair(name: str, key: str, scale: float, first: str = "before", last: str = "after") -> list[Any]:
        found = report[key]
        return [name, found, ""] if isinstance(found, str) else [name, found[first] / scale, found[last] / scale]

    rows = [
        pair("file, MB", "file_bytes", 1e6),
        pair("file to first answer, ms", "first_answer_ms", 1),
        pair("packed at load, MB", "packed_at_load_bytes", 1e6),
        *([pair("ops", "ops", 1)] if "ops" in report else []),
        pair("arena, MB (before: no shared places)", "arena_bytes", 1e6, "apart", "pooled"),
    ]
    tables: list[Table] = [(f"{report['model']}: for {report['kernels']}", ["measure", "before", "after"], rows)]
    words = ["architecture", "vector_width", "instruction_scheduling", "memory_layout", "tensor_fusion"]
    words += ["garbage_collection", "memory_alignment", "tile_columns", "lstm_units"]
    chosen = [[word.replace("_", " "), report[word]] for word in words if word in report]
    if unread := report.get("unread_tensors"):
        chosen.append(["tensors that nothing reads", f"{len(unread['names'])}, {unread['bytes']} bytes"])
    tables.append(("Layout", ["what", "value"], chosen))
    if report.get("measured_ms"):
        tables.append(("Measured", ["kernels", "ms"], [list(row) for row in report["measured_ms"].items()]))
    return tables


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
