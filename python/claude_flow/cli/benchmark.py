"""``claude-flow neural benchmark``: a model beside baselines and other models, on data that none of them has seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from claude_flow import files, registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output, Table
from claude_flow.errors import InputError

__all__ = ["benchmark", "check_page", "show"]


@click.command(
    "benchmark",
    cls=Command,
    examples=[
        """\
claude-flow neural benchmark \\
  --model "coordination-v3" \\
  --baselines '["random","rule-based","coordination-v2"]' \\
  --test-scenarios "standard-benchmark-suite" \\
  --metrics '["accuracy","latency","memory-usage","coordination-quality"]'""",
        "claude-flow neural benchmark --model prediction-v2 --html report.html",
        "claude-flow neural benchmark --model action --ablate fusion,prediction,optimization,rl",
        "claude-flow neural benchmark --model coordination-v3 --test-scenarios logs/aslib/SAT11-RAND",
    ],
)
@options.model("The model to judge.")
@options.baselines("Baselines, and names or paths of other models.", without="all of the network's")
@click.option(
    "--test-scenarios",
    "scenarios",
    default="standard-benchmark-suite",
    show_default=True,
    metavar="SUITE|DATASET|PATH",
    help="The simulated suite, a preprocessed dataset, or public data that there is a protocol for: an ASlib scenario, "
    "an SWF log, SWE-bench Pro runs, MySQL knobs, Claude Code sessions.",
)
@options.metrics(without="all of the network's")
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="Of what has a random part.")
@params.switch("--quick", help="A smaller suite and a shorter protocol, to see that it runs.")
@click.option(
    "--prices",
    type=params.Json(dict),
    help='US dollars per run by agent, such as {"opus": 0.7}, in place of the data\'s: of runs of agents as CSV.',
)
@click.option(
    "--ablate",
    type=params.NAMES,
    default=(),
    help="Parts of the pipeline that it is judged without, too, one by one: fusion, prediction, optimization, rl.",
)
@options.html()
@click.pass_obj
def benchmark(
    output: Output,
    model: str,
    baselines: list[str] | None,
    scenarios: str,
    metrics: list[str] | None,
    seeds: int,
    quick: bool,
    prices: dict[str, Any] | None,
    ablate: list[str],
    html: Path | None,
) -> None:
    """Benchmark a model against baselines.

    All are judged on the same held-out part in one run, with paired tests of the model against each. On public data
    the data's own protocol runs: the model's network is trained anew on its training part, as each baseline is, and
    stands in the report as claude-flow.
    """
    check_page(html)
    path = registry.model_path(model)
    with output.share(f"benchmark {model}") as shown:
        from claude_flow.studies import judging

        if prices is None:
            summaries = judging.benchmark(
                path,
                scenarios,
                baselines=baselines,
                measures=metrics,
                seeds=seeds,
                quick=quick,
                ablate=ablate,
                progress=shown,
            )
        else:
            summaries = judging.policies(Path(scenarios), prices, quick=quick, progress=shown)
    show(output, f"Benchmark of {model}", summaries, html)


def check_page(html: Path | None) -> None:
    """Refuse a page that cannot be written before anything is measured."""
    if html is not None:
        if html.suffix != ".html":
            raise InputError(f"{html}: the report is a file .html")
        from claude_flow.report import charts

        charts.check(html)


def show(output: Output, title: str, summaries: list[dict[str, Any]], html: Path | None) -> None:
    """Write the summaries to the sink, and as a page."""
    from claude_flow.evaluate import report

    if html is not None:
        files.atomic_write(html, report.page(title, summaries))
        output.note(f"{html} is written")
    tables: list[Table] = [table for summary in summaries for table in report.tables(summary)]
    output.result({"evaluations": summaries}, tables)
