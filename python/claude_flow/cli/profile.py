"""``claude-flow neural profile``: where a model's time goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table

__all__ = ["group"]

group = Group("profile", help="See where a model's time goes, and what this machine could do.")


@group.command(
    "computation",
    examples=[
        """\
claude-flow neural profile computation \\
  --model "coordination-v3" \\
  --operation-breakdown true \\
  --memory-profiling true \\
  --cache-analysis true \\
  --optimization-suggestions true""",
        "claude-flow neural profile computation --model optimization-v2 --batch 32 --chart roofline.html",
    ],
)
@options.model()
@params.switch("--operation-breakdown", default=True, help="Show every op, not only the kinds of ops.")
@params.switch("--memory-profiling", help="Show what takes memory.")
@params.switch("--cache-analysis", help="Show what fits into which cache, and the machine's counters.")
@params.switch("--optimization-suggestions", help="Say what would make it faster, from these numbers.")
@click.option("--batch", type=click.IntRange(1, 4096), default=1, show_default=True, help="Items of a run.")
@click.option("--tokens", type=click.IntRange(1), show_default="the most the model takes", help="Tokens of each item.")
@options.duration("3s", "How long to measure.")
@options.threads()
@options.isa()
@options.precision()
@options.chart()
@click.pass_obj
def computation(
    output: Output,
    /,
    model: str,
    operation_breakdown: bool,
    memory_profiling: bool,
    cache_analysis: bool,
    optimization_suggestions: bool,
    batch: int,
    tokens: int | None,
    duration: float,
    threads: int | None,
    isa: str,
    precision: str,
    chart: Path | None,
) -> None:
    """Time every op of a model against this machine's limits.

    An op's limit is the longer of its arithmetic and its bytes at the rates that this machine reaches, measured here;
    its share is that limit by the time it took.
    """
    from claude_flow.measure import plots, profile
    from claude_flow.model import load
    from claude_flow.report import charts

    charts.check(chart)
    loaded = load(model, backend="native", threads=threads, isa=isa, precision=precision)
    with output.share("profile") as shown:
        answer = profile.computation(
            loaded,
            batch,
            tokens,
            seconds=duration,
            breakdown=operation_breakdown or chart is not None,
            memory=memory_profiling,
            cache=cache_analysis,
            suggestions=optimization_suggestions,
            progress=shown,
        )
    tables = _computation_tables(answer, operation_breakdown)
    if chart:
        charts.write(chart, f"{answer['network']} against the roofline", [plots.roofline(answer)], tables)
        output.note(f"chart: {chart}")
    output.result(answer, tables)


def _computation_tables(answer: dict[str, Any], breakdown: bool) -> list[Table]:
    where = f"{answer['isa']}, {answer['threads']} thread(s), {answer['items']} item(s) of {answer['tokens']} token(s)"
    ceilings = answer["ceilings"]
    rates = [f"{r['working_set'] >> 10} KiB {r['rate'] / 1e9:.0f} GB/s" for r in ceilings["bytes_per_second"]]
    tables: list[Table] = [
        (
            f"{answer['model']}: {where}",
            ["measure", "value"],
            [
                ["time of a run, ms", 1e3 * answer["seconds"]],
                ["outside the ops, ms", 1e3 * answer["outside_ops_seconds"]],
                ["at the machine's limits, ms", 1e3 * answer["limit_seconds"]],
                ["operations, millions", answer["operations"] / 1e6],
                ["bytes, MB", answer["bytes"] / 1e6],
                ["most arithmetic in fp32, GFLOP/s", ceilings["operations_per_second"] / 1e9],
                ["most arithmetic in int8, Gop/s", ceilings["int8_operations_per_second"] / 1e9],
                ["reading, by working set", "; ".join(rates)],
            ],
        ),
        (
            "Kinds of ops",
            ["kind", "ops", "ms", "% of the time", "% of the limit"],
            [
                [k["kind"], k["ops"], 1e3 * k["seconds"], 100 * k["of_the_time"], _percent(k["share"])]
                for k in answer["kinds"]
            ],
        ),
    ]
    if breakdown:
        rows = [
            [
                op["op"],
                op["kind"],
                op["name"],
                1e6 * op["seconds"],
                op["operations"] / 1e6,
                op["bytes"] / 1e6,
                op["bound"],
                _percent(op["share"]),
            ]
            for op in answer["ops"]
        ]
        tables.append(
            ("Ops", ["op", "kind", "name", "us", "million operations", "MB", "bound by", "% of the limit"], rows)
        )
    if "memory" in answer:
        memory = [[name.removesuffix("_bytes").replace("_", " "), n / 1e6] for name, n in answer["memory"].items()]
        tables.append(("Memory", ["what", "MB"], memory))
    if "cache" in answer:
        cache = answer["cache"]
        tables.append(
            (
                "Caches (" + ", ".join(f"L{c['level']} {c['bytes'] >> 10} KiB" for c in cache["levels"]) + ")",
                ["what", "MB", "fits into"],
                [[s["what"], s["bytes"] / 1e6, s["fits"]] for s in cache["sets"]],
            )
        )
        counters = [[name, value] for name, value in cache["counters_of_10_runs"].items()]
        tables.append(("Counters over 10 runs", ["counter", "value"], counters))
    if "suggestions" in answer:
        suggestions = [[s["suggestion"], s["because"]] for s in answer["suggestions"]]
        tables.append(("Suggestions", ["suggestion", "because"], suggestions))
    return tables


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


@group.command(
    "latency",
    examples=[
        """\
claude-flow neural profile latency \\
  --model "coordination-v3" \\
  --input-variations "typical-workload" \\
  --percentile-analysis "50,90,95,99" \\
  --bottleneck-identification true""",
        "claude-flow neural profile latency --model prediction-v2 --input-variations batch-sizes,lengths",
    ],
)
@options.model()
@click.option(
    "--input-variations",
    type=params.NAMES,
    default="typical-workload",
    show_default=True,
    help="What to send: typical-workload, batch-sizes, lengths, largest.",
)
@click.option(
    "--percentile-analysis", type=params.INTEGERS, default="50,90,95,99", show_default=True, help="Which percentiles."
)
@params.switch("--bottleneck-identification", help="Say which ops take most, and what the slow calls waited for.")
@options.duration("3s", "How long to measure.")
@options.threads()
@options.isa()
@options.precision()
@options.chart()
@click.pass_obj
def latency(
    output: Output,
    /,
    model: str,
    input_variations: tuple[str, ...],
    percentile_analysis: tuple[int, ...],
    bottleneck_identification: bool,
    duration: float,
    threads: int | None,
    isa: str,
    precision: str,
    chart: Path | None,
) -> None:
    """Time single calls, one after the other, on inputs of several sizes."""
    from claude_flow.measure import plots, profile
    from claude_flow.model import load
    from claude_flow.report import charts

    charts.check(chart)
    loaded = load(model, backend="native", threads=threads, isa=isa, precision=precision)
    with output.share("profile") as shown:
        answer = profile.latency(
            loaded,
            input_variations,
            percentile_analysis,
            seconds=duration,
            bottleneck=bottleneck_identification,
            progress=shown,
        )
    tables = _latency_tables(answer)
    if chart:
        charts.write(chart, f"{answer['network']}: latency", [plots.latency(answer)], tables)
        output.note(f"chart: {chart}")
    output.result(answer, tables)


def _latency_tables(answer: dict[str, Any]) -> list[Table]:
    shares = [f"p{p}_ms" for p in answer["percentiles"]]
    names = ["variation", "input", "calls", "min_ms", *shares, "max_ms"]
    tables: list[Table] = [
        (
            f"{answer['model']}: {answer['isa']}, {answer['threads']} thread(s)",
            [name.replace("_", " ") for name in names],
            [[row[name] for name in names] for row in answer["rows"]],
        )
    ]
    found = [(row, row["bottleneck"]) for row in answer["rows"] if "bottleneck" in row]
    if found:
        rows = [
            [
                row["input"],
                b["kind"],
                100 * b["of_the_time"],
                b["bound"],
                _percent(b["share_of_limit"]),
                100 * b["outside_ops"],
                b["tail"],
                b["preemptions_per_call"],
                b["page_faults_per_call"],
            ]
            for row, b in found
        ]
        columns = ["input", "slowest kind", "% of the time", "bound by", "% of the limit", "% outside ops"]
        tables.append(("Bottlenecks", [*columns, "slowest / fastest", "preempted / call", "page faults / call"], rows))
    return tables
