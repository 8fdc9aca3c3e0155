"""``claude-flow neural debug``: activations and gradients of a model, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from claude_flow import registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table
from claude_flow.errors import require

__all__ = ["group"]

group = Group("debug", help="Look into a model: dead and saturated units, gradients that vanish or explode.")

_FINDINGS = ["layer", "kind", "measure", "value", "limit", "try"]
_DATA = "What it looks at: a preprocessed dataset."
_OWN = "the workspace's of that network, else simulated"


@group.command(
    "activations",
    examples=[
        """\
claude-flow neural debug activations \\
  --model "coordination-v3" \\
  --layer-analysis "all" \\
  --activation-patterns true \\
  --dead-neuron-detection true \\
  --saturation-analysis true""",
        "claude-flow neural debug activations --model prediction-v2 --layer-analysis members.0",
    ],
)
@options.model()
@click.option(
    "--layer-analysis", "layers", default="all", show_default=True, help="all, or how the layers' names begin."
)
@params.switch("--activation-patterns", default=True, help="Show every layer's mean, spread and largest output.")
@params.switch("--dead-neuron-detection", default=True, help="Find units that never vary.")
@params.switch("--saturation-analysis", default=True, help="Find LSTM and tanh layers whose values are at their ends.")
@options.data(_DATA, without=_OWN)
@click.pass_obj
def activations(
    output: Output,
    model: str,
    layers: str,
    activation_patterns: bool,
    dead_neuron_detection: bool,
    saturation_analysis: bool,
    data: str | None,
) -> None:
    """Show what every layer puts out on held-out data, and what is wrong with it."""
    path = registry.model_path(model)
    require("torch", "train")
    from claude_flow.insight import activations as look
    from claude_flow.insight.data import subject

    with subject(path, data) as about:
        answer = look.activations(about, layers)
    left_out = {"dead units": not dead_neuron_detection, "saturated": not saturation_analysis}
    answer["findings"] = [f for f in answer["findings"] if not left_out.get(f["kind"], False)]
    names = ["layer", "kind", "units", "mean", "deviation", "largest", "not_positive", "dead", "saturated"]
    tables: list[Table] = []
    if activation_patterns:
        rows = [[layer[name] for name in names] for layer in answer["layers"]]
        tables.append((f"{answer['model']}: outputs on {answer['data']}", names, rows))
    output.result(answer, [*tables, _findings(answer)])


@group.command(
    "activation-comparison",
    examples=[
        """\
claude-flow neural debug activation-comparison \\
  --model "coordination-v3" \\
  --input-pairs "successful-vs-failed-coordination" \\
  --statistical-tests true \\
  --visualization "comparative-heatmap\"""",
        "claude-flow neural debug activation-comparison --model coordination-v3 --input-pairs good.jsonl,bad.jsonl",
    ],
)
@options.model()
@click.option(
    "--input-pairs",
    "pairs",
    default="successful-vs-failed-coordination",
    show_default=True,
    metavar="VIEW|FILE,FILE",
    help="Two groups of requests: a view that has two, or two files of requests.",
)
@params.switch("--statistical-tests", default=True, help="Test whether the groups differ by more than chance.")
@click.option(
    "--visualization",
    type=click.Choice(["comparative-heatmap", "none"]),
    default="comparative-heatmap",
    show_default=True,
    help="A page with the units that differ most, or no page.",
)
@options.page()
@options.chart()
@options.seed("Of the shuffles.")
@click.pass_obj
def activation_comparison(
    output: Output,
    model: str,
    pairs: str,
    statistical_tests: bool,
    visualization: str,
    html: Path | None,
    chart: Path | None,
    seed: int,
) -> None:
    """Show how a model's layers differ between two groups of requests."""
    path = registry.model_path(model)
    options.check_pictures(html, chart)
    require("torch", "train")
    from claude_flow.insight.asked import Asked
    from claude_flow.insight.compare import compare
    from claude_flow.insight.page import comparison as page

    answer = compare(Asked(path, pairs), statistical_tests, seed=seed)
    shown = None if visualization == "none" else page
    options.write_pictures(output, answer, "activation-comparison", html, chart, shown)
    names = ["layer", "units", "largest_effect", "differing_units", "p_corrected", "differs"]
    rows = [[layer[name] for name in names] for layer in answer["layers"]]
    tables: list[Table] = [
        (f"{answer['model']}: {answer['data']}", names, rows),
        ("Groups", ["", "requests", "tokens"], [[g["name"], g["requests"], g["tokens"]] for g in answer["groups"]]),
        ("Take care", ["", ""], [[answer["note"], ""]]),
    ]
    output.result(answer, tables)


@group.command(
    "gradients",
    examples=[
        """\
claude-flow neural debug gradients \\
  --model "coordination-v3" \\
  --gradient-magnitude true \\
  --vanishing-gradient-detection true \\
  --exploding-gradient-detection true \\
  --layer-wise-analysis true""",
        "claude-flow neural debug gradients --model optimization-v2 --format json",
    ],
)
@options.model()
@params.switch("--gradient-magnitude", default=True, help="Show the norm of every gradient.")
@params.switch("--vanishing-gradient-detection", default=True, help="Find layers that learn next to nothing.")
@params.switch("--exploding-gradient-detection", default=True, help="Find layers that a step throws off.")
@params.switch("--layer-wise-analysis", default=True, help="Show every layer, not only what is wrong.")
@options.data(_DATA, without=_OWN)
@click.pass_obj
def gradients(
    output: Output,
    model: str,
    gradient_magnitude: bool,
    vanishing_gradient_detection: bool,
    exploding_gradient_detection: bool,
    layer_wise_analysis: bool,
    data: str | None,
) -> None:
    """Show how the training loss's gradient flows through the layers, and what is wrong with it."""
    path = registry.model_path(model)
    require("torch", "train")
    from claude_flow.insight import gradients as look
    from claude_flow.insight.data import subject

    with subject(path, data) as about:
        answer = look.gradients(about)
    left_out = {"vanishing": not vanishing_gradient_detection, "exploding": not exploding_gradient_detection}
    answer["findings"] = [f for f in answer["findings"] if not left_out[f["kind"]]]
    names = ["layer", "numbers", *(["norm"] if gradient_magnitude else []), "weights", "ratio"]
    tables: list[Table] = []
    if layer_wise_analysis:
        rows = [[layer[name] for name in names] for layer in answer["layers"]]
        tables.append((f"{answer['model']}: gradients of the loss on {answer['data']}", names, rows))
    output.result(answer, [*tables, _findings(answer)])


def _findings(answer: dict[str, Any]) -> Table:
    rows = [[finding[name] for name in _FINDINGS] for finding in answer["findings"]]
    return ("Findings", _FINDINGS, rows) if rows else ("Findings", ["", ""], [["nothing is wrong", ""]])
