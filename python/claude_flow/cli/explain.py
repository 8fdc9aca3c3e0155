"""``claude-flow neural explain``: what a model's answers rest on."""

from __future__ import annotations

from pathlib import Path

import click

from claude_flow import files, registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table
from claude_flow.errors import InputError, require

__all__ = ["group"]

group = Group("explain", help="Show what a model's answers rest on.")

_LONGEST = "complex-coordination-scenario"


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
@click.option(
    "--html", type=click.Path(path_type=Path), show_default="reports/ in the workspace", help="Where the page goes."
)
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
    if html is not None and html.suffix != ".html":
        raise InputError(f"{html}: the page is a file .html")
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
        name = registry.model_name(path).replace("/", "-")
        file = html or registry.workspace() / "reports" / f"attention-{name}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        files.atomic_write(file, page(answer))
        answer["page"] = str(file)
        output.note(f"{file} is written")
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
