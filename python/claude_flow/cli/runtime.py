"""``claude-flow neural runtime``: how models run in this workspace, and how fast they answer."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from claude_flow import registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output
from claude_flow.errors import InputError

__all__ = ["group"]

group = Group("runtime", help="Choose how models run here, and measure how fast they answer.")

_BACKENDS = {"native": "native", "wasm-simd": "wasm", "wasm": "wasm", "torch": "torch"}


@group.command(
    "setup-acceleration",
    examples=[
        """\
claude-flow neural runtime setup-acceleration \\
  --backend "wasm-simd" \\
  --thread-pool-size 8 \\
  --batch-processing true \\
  --model-caching "intelligent" \\
  --memory-mapping true""",
        "claude-flow neural runtime setup-acceleration --thread-pool-size 2",
    ],
)
@click.option(
    "--backend",
    type=click.Choice(list(_BACKENDS)),
    help="The engine, the engine as WebAssembly (wasm-simd and wasm are one), or torch.",
)
@click.option(
    "--thread-pool-size",
    type=click.IntRange(1, 1024),
    help="Threads for each request; for WebAssembly how many requests run at once.",
)
@click.option("--batch-processing", type=params.BOOLEAN, help="Run the requests that wait as one batch.")
@click.option(
    "--model-caching",
    type=click.Choice(["off", "intelligent"]),
    help="Keep loaded models in a process; intelligent drops those used longest ago when 512 MiB are full.",
)
@click.option("--memory-mapping", type=params.BOOLEAN, help="Map model files instead of reading them whole.")
@options.model("What to try the choices on.", without="the workspace's newest, else a built-in one")
@click.pass_obj
def setup_acceleration(
    output: Output,
    /,
    backend: str | None,
    thread_pool_size: int | None,
    batch_processing: bool | None,
    model_caching: str | None,
    memory_mapping: bool | None,
    model: str | None,
) -> None:
    """Choose how models run in this workspace.

    What is not given stays as it is. The choices are tried out on a model first, and kept in the workspace's
    runtime.json only if it runs; infer and claude_flow.load follow them.
    """
    import os

    from claude_flow import runtime
    from claude_flow.measure import acceleration

    given = {
        "backend": _BACKENDS[backend] if backend else None,
        "threads": thread_pool_size,
        "batching": batch_processing,
        "caching": model_caching,
        "memory_mapping": memory_mapping,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = replace(runtime.read(), **changes)
    path = registry.model_path(model) if model else _any_model()
    cpus = os.cpu_count() or 1
    if settings.threads > cpus:
        output.warn(f"{settings.threads} threads on {cpus} CPU{'s' if cpus > 1 else ''}: more than can run at once")
    effects = acceleration.try_out(path, settings)
    file = runtime.write(settings)
    answer = {"settings": asdict(settings), "file": str(file), "model": str(path), "effects": effects}
    output.result(
        answer,
        [
            (f"Settings ({file})", ["setting", "value"], [list(row) for row in asdict(settings).items()]),
            *(
                [
                    (
                        f"Tried out on {path}",
                        ["setting", "value", "measure", "without", "with"],
                        [list(row.values()) for row in effects],
                    )
                ]
                if effects
                else []
            ),
        ],
    )


def _any_model() -> Path:
    from claude_flow import networks

    for row in networks.NETWORKS.values():
        try:
            return registry.newest_model(row.name)
        except InputError:
            continue
    raise InputError("there is no model to try the choices on: train one with  claude-flow neural train coordination")


@group.command(
    "benchmark",
    examples=[
        """\
claude-flow neural runtime benchmark \\
  --model "coordination-v3" \\
  --workload-types '["single-request","batch-processing","streaming"]' \\
  --concurrency-levels '[1,4,8,16]' \\
  --duration "5m\"""",
        "claude-flow neural runtime benchmark --model optimization-v2 --duration 10s --chart latency.html",
    ],
)
@options.model()
@click.option(
    "--workload-types",
    type=params.NAMES,
    default="single-request,batch-processing,streaming",
    show_default=True,
    help="How clients ask; in streaming, items arrive by themselves and waiting in line counts.",
)
@click.option(
    "--concurrency-levels", type=params.INTEGERS, default="1,4", show_default=True, help="Numbers of clients at once."
)
@options.duration("30s", "Of the whole benchmark, shared equally by its runs.")
@click.option("--batch-size", type=click.IntRange(1, 4096), default=32, show_default=True, help="Items of a batch.")
@options.isa()
@options.precision()
@options.threads()
@options.backend()
@options.chart()
@click.pass_obj
def benchmark(
    output: Output,
    /,
    model: str,
    workload_types: tuple[str, ...],
    concurrency_levels: tuple[int, ...],
    duration: float,
    batch_size: int,
    isa: str,
    precision: str,
    threads: int | None,
    backend: str | None,
    chart: Path | None,
) -> None:
    """Measure throughput and latency under load.

    Percentiles come from an HDR histogram of three significant digits, in milliseconds.
    """
    from claude_flow.measure import plots, workload
    from claude_flow.model import load
    from claude_flow.report import charts

    charts.check(chart)
    loaded = load(model, backend=backend, threads=threads, isa=isa, precision=precision)
    with output.share("benchmark") as shown:
        answer = workload.benchmark(
            loaded,
            workload_types,
            concurrency_levels,
            duration,
            batch=batch_size,
            progress=shown,
        )
    tables = _render(answer)
    if chart:
        charts.write(chart, f"{answer['network']} under load", [plots.load(answer)], tables)
        output.note(f"chart: {chart}")
    output.result(answer, tables)


def _render(answer: dict[str, Any]) -> list[tuple[str, list[str], list[list[Any]]]]:
    measures = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")
    names = ("workload", "clients", "requests", "items_per_second", *measures)
    title = (
        f"{answer['model']}: {answer['backend']} {answer['isa']}, {answer['precision']}, {answer['threads']} thread(s)"
    )
    columns = ["workload", "clients", "requests", "items/s", *(name.replace("_", " ") for name in measures)]
    return [(title, columns, [[row[name] for name in names] for row in answer["rows"]])]
