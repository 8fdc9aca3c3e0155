"""``claude-flow neural explain``: what a model's answers rest on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from claude_flow import registry
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
    metavar="VIEW|FILE|DATASET",
    help="The largest of a view of requests, a file .jsonl of them, one request .json, or a preprocessed dataset.",
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
@options.page()
@options.chart()
@click.pass_obj
def attention(
    output: Output,
    model: str,
    source: str,
    layers: tuple[int, ...] | None,
    heads: str,
    visualization: str,
    html: Path | None,
    chart: Path | None,
) -> None:
    """Show what tokens attend to, and whether that agrees with ablation."""
    path = registry.model_path(model)
    chosen = None if heads == "all" else params.INTEGERS.convert(heads, None, None)
    options.check_pictures(html, chart)
    require("torch", "train")
    from claude_flow.insight import attention as look
    from claude_flow.insight.page import page

    with _shown(output, path, source) as about:
        answer = look.attention(about, _layers(output, about, layers), chosen)
    options.write_pictures(output, answer, "attention", html, chart, page if visualization != "none" else None)
    columns = ["received", "rollout_received", "gradient_received", "ablation"]
    rows = [[token, *(answer[c][i] for c in columns)] for i, token in enumerate(answer["tokens"])]
    tables: list[Table] = [
        (
            f"{answer['model']}: attention on {answer['data']}, and how {answer['ablated']} change without the token",
            ["token", "raw", "rollout", "gradient-weighted", "ablation"],
            rows,
        ),
        ("Agreement with ablation (Spearman)", ["", ""], [list(pair) for pair in answer["agreement"].items()]),
        ("Heads", ["layer", "head", "entropy"], [[a["layer"], a["head"], a["entropy"]] for a in answer["attention"]]),
        ("Take care", ["", ""], [[answer["caveat"], ""]]),
    ]
    output.result(answer, tables)


@contextlib.contextmanager
def _shown(output: Output, path: Path, source: str) -> Iterator[Any]:
    """The item that ``source`` means: of requests, whose ids name the tokens, or of a preprocessed dataset."""
    from claude_flow import export, modelfile
    from claude_flow.insight import attention as look
    from claude_flow.insight.asked import Asked, is_requests

    if not is_requests(source):
        from claude_flow.insight.data import subject

        with subject(path, source) as about:
            yield look.Shown.held_out(about)
        return
    look.parts_of(export.from_file(modelfile.read(path)), registry.model_name(path))
    try:
        asked = Asked(path, source)
    except InputError as error:
        if source != _LONGEST:
            raise
        output.warn(f"{error}: shown is the largest of the requests that are logged or simulated")
        asked = Asked(path)
    yield look.Shown.asked(asked)


def _layers(output: Output, about: Any, asked: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The layers of ``--layer-range`` that there are: some of them, or of a model smaller than the guide's all."""
    from claude_flow.insight import attention as look

    there, usual = look.layers(about)
    within = tuple(layer for layer in asked or () if 1 <= layer <= there)
    if not asked or len(within) == len(asked):
        return asked
    beyond = f"{about.model} has {there} layer(s) of attention, --layer-range asks beyond"
    if not within and not all(1 <= layer <= usual for layer in asked):
        raise InputError(f"{beyond}: name layers from 1 to {there}")
    if within:
        output.warn(f"{beyond}: shown are {len(within)} of those asked for")
        return within
    output.warn(f"{beyond}: it is smaller than the guide's {usual} layers, and all that it has are shown")
    return None


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
@options.page()
@options.chart()
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
    chart: Path | None,
    seed: int,
    time_budget: float | None,
) -> None:
    """Show which inputs a model's choices rest on."""
    path = registry.model_path(model)
    options.check_pictures(html, chart)
    from claude_flow.insight.asked import Asked
    from claude_flow.insight.features import features as look
    from claude_flow.insight.page import features as page

    with output.share(f"{method} of {registry.model_name(path)}") as shown:
        asked = Asked(path, source)
        answer = look(asked, method, baseline, groups, alpha, seed, time_budget or math.inf, shown)
    options.write_pictures(output, answer, "features", html, chart, page)
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


@group.command(
    "boundaries",
    examples=[
        """\
claude-flow neural explain boundaries \\
  --model "coordination-v3" \\
  --input-space "coordination-decisions" \\
  --perturbation-method "adversarial" \\
  --boundary-sampling 1000 \\
  --visualization "2d-projection\"""",
        "claude-flow neural explain boundaries --model coordination-v3 --input-space swarm.json "
        "--perturbation-method line-search",
    ],
)
@options.model()
@click.option(
    "--input-space",
    "source",
    metavar="VIEW|FILE",
    show_default="the logged requests, filled up with simulated ones",
    help="Requests whose decisions are looked at: a view of requests, a file .jsonl of them, or one request .json.",
)
@click.option(
    "--perturbation-method",
    "method",
    type=click.Choice(["adversarial", "random", "line-search"]),
    default="adversarial",
    show_default=True,
    help="How changes are searched: along the gradient by the fields, at random, or one field alone.",
)
@click.option(
    "--boundary-sampling",
    "samples",
    type=click.IntRange(10, 100_000),
    default=1000,
    show_default=True,
    help="Points around the first request, a tenth around every other.",
)
@click.option(
    "--visualization",
    type=click.Choice(["2d-projection", "none"]),
    default="2d-projection",
    show_default=True,
    help="A page with the points on two principal components, or no page.",
)
@options.page()
@options.chart()
@options.seed("Of the points.")
@options.time_budget("How long to look; requests beyond it are left out.")
@click.pass_obj
def boundaries(
    output: Output,
    model: str,
    source: str | None,
    method: str,
    samples: int,
    visualization: str,
    html: Path | None,
    chart: Path | None,
    seed: int,
    time_budget: float | None,
) -> None:
    """Show which changes of a request turn its decisions, and how near they are."""
    path = registry.model_path(model)
    options.check_pictures(html, chart)
    from claude_flow.insight.asked import Asked
    from claude_flow.insight.boundaries import boundaries as look
    from claude_flow.insight.page import boundaries as page

    with output.share(f"boundaries of {registry.model_name(path)}") as shown:
        asked = Asked(path, source)
        answer = look(asked, method, samples, seed, time_budget or math.inf, shown)
    options.write_pictures(output, answer, "boundaries", html, chart, None if visualization == "none" else page)
    rows = [
        [row["request"] + 1, row["decision"], row["choice"], row["radius"], row["held"], told["says"], told["verified"]]
        for row in answer["decisions"]
        for told in row["counterfactuals"][:1] or [{"says": "nothing was found that turns it", "verified": None}]
    ]
    tables: list[Table] = [
        (
            f"{answer['model']}: {method}, {answer['data']}",
            ["request", "decision", "now", "radius", "held", "nearest change", "verified"],
            rows,
        ),
        ("All of them", ["", ""], [["turned", answer["turned"]["decisions"]], ["of", answer["turned"]["of"]]]),
    ]
    if answer["caveat"]:
        tables.append(("Take care", [""], [[answer["caveat"]]]))
    output.result(answer, tables)


@group.command(
    "attention-evolution",
    examples=[
        """\
claude-flow neural explain attention-evolution \\
  --model "coordination-v3" \\
  --sequence "task-coordination-timeline" \\
  --temporal-analysis true \\
  --pattern-identification true""",
        "claude-flow neural explain attention-evolution --model coordination-v3 --sequence asked.jsonl",
    ],
)
@options.model()
@click.option(
    "--sequence",
    default="task-coordination-timeline",
    show_default=True,
    metavar="VIEW|FILE",
    help="Requests in order of time: a view of requests, or a file .jsonl of them.",
)
@params.switch("--temporal-analysis", default=True, help="Tell trends of entropy, and when a pattern jumps.")
@params.switch("--pattern-identification", default=True, help="Tell what stays, and which heads are alike.")
@options.page()
@options.chart()
@options.seed("Of the shuffles of time.")
@click.pass_obj
def attention_evolution(
    output: Output,
    model: str,
    sequence: str,
    temporal_analysis: bool,
    pattern_identification: bool,
    html: Path | None,
    chart: Path | None,
    seed: int,
) -> None:
    """Show how attention changes over a timeline of requests."""
    path = registry.model_path(model)
    options.check_pictures(html, chart)
    require("torch", "train")
    from claude_flow.insight.asked import Asked
    from claude_flow.insight.evolution import evolution as look
    from claude_flow.insight.page import evolution as page

    answer = look(Asked(path, sequence), temporal_analysis, pattern_identification, seed)
    options.write_pictures(output, answer, "attention-evolution", html, chart, page)
    tables: list[Table] = []
    for title, key, names in (
        ("Entropy over time", "trends", ["layer", "head", "mean_entropy", "trend", "p_corrected", "significant"]),
        ("Changes", "changes", ["layer", "head", "step", "moved", "limit"]),
        ("What stays", "patterns", ["layer", "head", "says", "excess", "deviation"]),
    ):
        if key in answer:
            rows = [[row[name] for name in names] for row in answer[key]]
            tables.append((title, names, rows) if rows else (title, ["", ""], [["nothing", ""]]))
    if "clusters" in answer:
        tables.append(("Heads that are alike", ["", ""], [["; ".join(names), ""] for names in answer["clusters"]]))
    output.result(answer, [*tables, ("Take care", ["", ""], [[answer["caveat"], ""]])])
