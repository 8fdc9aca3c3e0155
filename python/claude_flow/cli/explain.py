"""``claude-flow neural explain``: what a model's answers rest on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from claude_flow import files, registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table
from claude_flow.errors import InputError, require

__all__ = ["group"]

group = Group("explain", help="Show what a model's answers rest on.")

_LONGEST = "complex-coordination-scenario"
_input = click.option(
    "--input",
    "source",
    metavar="VIEW|FILE",
    show_default="the logged requests, filled up with simulated ones",
    help="Requests to look at: a view of requests, a file .jsonl of them, or one request .json.",
)
_html = click.option(
    "--html", type=click.Path(path_type=Path), show_default="reports/ in the workspace", help="Where the page goes."
)


@group.command(
    "attention",
    examples=[
        """\
claude-flow neural explain attention \\
  --model "coordination-v3" \\
  --input "complex-coordination-scenario" \\
  --layer-range "2-4" \\
  --head-selection "all" \\
  --visualization "interactive-heatmap\"""",
        "claude-flow neural explain attention --model coordination-v3 --layer-range 1 --head-selection 1,2",
    ],
)
@options.model()
@click.option(
    "--input",
    "source",
    default=_LONGEST,
    show_default=True,
    metavar="VIEW|DATASET",
    help=f"{_LONGEST}: the held-out request with most tokens; of a preprocessed dataset, if one is named.",
)
@click.option("--layer-range", "layers", type=params.INTEGERS, show_default="all", help="Layers, such as 2-4.")
@click.option("--head-selection", "heads", default="all", show_default=True, help="all, or heads such as 1,3.")
@click.option(
    "--visualization",
    type=click.Choice(["interactive-heatmap", "none"]),
    default="interactive-heatmap",
    show_default=True,
    help="A page to choose layers and heads on, or no page.",
)
@_html
@click.pass_obj
def attention(
    output: Output,
    model: str,
    source: str,
    layers: tuple[int, ...] | None,
    heads: str,
    visualization: str,
    html: Path | None,
) -> None:
    """Show what tokens attend to, and whether that agrees with ablation."""
    path = registry.model_path(model)
    chosen = None if heads == "all" else params.INTEGERS.convert(heads, None, None)
    _is_page(html)
    require("torch", "train")
    from claude_flow.insight import attention as look
    from claude_flow.insight.data import subject
    from claude_flow.insight.page import page

    with subject(path, None if source == _LONGEST else source) as about:
        there = look.layers(about)
        within = tuple(layer for layer in layers or () if layer <= there)
        if layers and len(within) < len(layers):
            shown = f"{len(within)} of those asked for" if within else "all"
            output.warn(f"{about.name} has {there} layer(s) of attention, --layer-range asks beyond: shown are {shown}")
        answer = look.attention(about, within or None, chosen)
    if visualization != "none":
        _write(output, answer, "attention", html, page(answer))
    columns = ["received", "rollout_received", "ablation"]
    rows = [[token, *(answer[c][i] for c in columns)] for i, token in enumerate(answer["tokens"])]
    tables: list[Table] = [
        (
            f"{answer['model']}: attention, and change without it",
            ["token", "raw", "rollout", "ablation"],
            rows,
        ),
        ("Agreement with ablation (Spearman)", ["", ""], [list(pair) for pair in answer["agreement"].items()]),
        ("Heads", ["layer", "head", "entropy"], [[a["layer"], a["head"], a["entropy"]] for a in answer["attention"]]),
        ("Take care", ["", ""], [[answer["caveat"], ""]]),
    ]
    output.result(answer, tables)


@group.command(
    "features",
    examples=[
        """\
claude-flow neural explain features \\
  --model "coordination-v3" \\
  --method "integrated-gradients" \\
  --baseline "average-input" \\
  --feature-groups '["agent-properties","task-attributes","system-state"]' \\
  --statistical-significance 0.05""",
        "claude-flow neural explain features --model optimization-v2 --method ablation --baseline zero",
    ],
)
@options.model()
@click.option(
    "--method",
    type=click.Choice(
        ["integrated-gradients", "shapley", "permutation", "ablation", "gradient-x-input", "expected-gradients"]
    ),
    default="integrated-gradients",
    show_default=True,
    help="How importance is told; shapley, permutation and ablation need neither torch nor Captum.",
)
@click.option(
    "--baseline",
    type=click.Choice(["average-input", "zero"]),
    default="average-input",
    show_default=True,
    help="What a part is blanked by: the mean of its kind over the requests, or nothing.",
)
@click.option(
    "--feature-groups", "groups", type=params.NAMES, show_default="all", help="Groups of the network's inputs."
)
@click.option(
    "--statistical-significance",
    "alpha",
    type=params.SHARE,
    default=0.05,
    show_default=True,
    help="The p value, corrected for being one of many, from which on an input counts.",
)
@_input
@_html
@options.seed("Of the draws of shapley, permutation, expected-gradients and the random orders.")
@options.time_budget("How long to look; requests beyond it are left out.")
@click.pass_obj
def features(
    output: Output,
    model: str,
    method: str,
    baseline: str,
    groups: tuple[str, ...] | None,
    alpha: float,
    source: str | None,
    html: Path | None,
    seed: int,
    time_budget: float | None,
) -> None:
    """Show which inputs a model's choices rest on."""
    path = registry.model_path(model)
    _is_page(html)
    from claude_flow.insight.asked import Asked
    from claude_flow.insight.features import features as look
    from claude_flow.insight.page import features as page

    with output.progress(f"{method} of {registry.model_name(path)}", unit="requests") as bar:
        asked = Asked(path, source)
        answer = look(asked, method, baseline, groups, alpha, seed, time_budget or math.inf, bar.update)
    _write(output, answer, "features", html, page(answer))
    names = ["group", "name", "effect", "size", "share", "p_corrected", "significant"]
    curves = [[side, c["area"], c["random_area"], c["p_corrected"]] for side, c in answer["curves"].items()]
    about = answer["completeness"]
    tables: list[Table] = [
        (
            f"{answer['model']}: {method}, {answer['data']}",
            names,
            [[row[name] for name in names] for key in ("groups", "features") for row in answer[key]],
        ),
        ("The lead while inputs go or come in this order", ["", "area", "in random order", "p"], curves),
        (
            "Completeness",
            ["median error", "largest", "note"],
            [[about["median_error"], about["largest_error"], about["note"]]],
        ),
    ]
    output.result(answer, tables)


def _is_page(html: Path | None) -> None:
    if html is not None and html.suffix != ".html":
        raise InputError(f"{html}: the page is a file .html")


def _write(output: Output, answer: dict[str, Any], what: str, html: Path | None, text: str) -> None:
    """Write the page, by default into the workspace, and say where it is."""
    name = answer["model"].replace("/", "-")
    file = html or registry.workspace() / "reports" / f"{what}-{name}.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    files.atomic_write(file, text)
    answer["page"] = str(file)
    output.note(f"{file} is written")
