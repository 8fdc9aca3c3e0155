"""``data functions``, ``train multimodal``, ``infer multimodal``, ``transfer cross-modal``: text, code and diagrams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from claude_flow import files, registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output, Table
from claude_flow.errors import InputError

__all__ = ["cross_modal", "functions", "infer", "train"]

FUNCTIONS = "functions"


def _data(help: str) -> options.Option:
    return options.data(help, without=f"{FUNCTIONS}, made of the installed packages if there is none")


def _functions(output: Output, name: str | None, time_budget: float | None) -> str:
    """The dataset ``name``; without one the workspace's, made now if need be."""
    from claude_flow.modalities import dataset

    if name is not None:
        return name
    folder = registry.workspace() / "datasets" / FUNCTIONS
    if not folder.exists():
        output.note(f"there is no dataset {FUNCTIONS}: it is made of the installed packages (data functions)")
        with output.share("reading packages") as shown:
            dataset.collect([], folder, time_budget=time_budget, progress=shown)
    return FUNCTIONS


@click.command(
    "functions",
    cls=Command,
    examples=[
        "claude-flow neural data functions",
        "claude-flow neural data functions --source src/ --source numpy --source click --output my-functions",
    ],
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    show_default="every installed package of a permissive licence",
    metavar="PACKAGE",
    help="An installed package, or a folder of Python code. Repeatable; three at least.",
)
@click.option("--most", type=click.IntRange(2), default=1500, show_default=True, help="Functions of each, at most.")
@options.output("dataset", default=FUNCTIONS)
@options.seed("Same seed, same functions.")
@options.time_budget("End after this time, between two files, with what was read.")
@click.pass_obj
def functions(
    output: Output, sources: tuple[str, ...], most: int, name: str, seed: int, time_budget: float | None
) -> None:
    """Make a dataset of functions: docstring, code, call graph.

    The docstring's first paragraph is the text; the code is kept without it; the diagram is what the function calls,
    and what those call that stand in the same file. `train multimodal` learns from it and splits it by package.
    """
    from claude_flow.modalities import dataset

    folder = registry.workspace() / "datasets" / name
    with output.share("reading packages") as shown:
        manifest = dataset.collect(
            sources,
            folder,
            most=most,
            seed=seed,
            time_budget=time_budget,
            progress=shown,
        )
    rows = [[package, a["version"], a["licence"], a["functions"]] for package, a in manifest["packages"].items()]
    title = f"{name}: {manifest['rows']} functions"
    output.result({"path": folder, **manifest}, [(title, ["package", "version", "licence", "functions"], rows)])


@click.command(
    "multimodal",
    cls=Command,
    examples=[
        """\
claude-flow neural train multimodal \\
  --modalities '["text","code","diagrams"]' \\
  --fusion-strategy "late-fusion" \\
  --alignment-loss "contrastive" \\
  --data-augmentation "cross-modal" \\
  --epochs 75""",
        "claude-flow neural train multimodal --modalities text,code --data my-functions --time-budget 5m",
    ],
)
@click.option(
    "--modalities",
    type=params.NAMES,
    default=("text", "code", "diagrams"),
    show_default="text,code,diagrams",
    help="Which to align: two or three of text, code, diagrams.",
)
@click.option(
    "--fusion-strategy",
    type=click.Choice(["late-fusion", "early-fusion"]),
    default="late-fusion",
    show_default=True,
    help="Encode each and add, or add and encode.",
)
@click.option(
    "--alignment-loss",
    type=click.Choice(["contrastive", "triplet"]),
    default="contrastive",
    show_default=True,
    help="Told from the whole batch, or from the nearest wrong one.",
)
@click.option(
    "--data-augmentation",
    type=click.Choice(["cross-modal", "none"]),
    default="cross-modal",
    show_default=True,
    help="Leave words out, and put some of another modality in.",
)
@_data("Functions, from `data functions`.")
@click.option("--epochs", type=click.IntRange(1, 1_000_000), default=75, show_default=True, help="The most epochs.")
@click.option("--learning-rate", type=params.Number(1e-9, 10), default=3e-3, show_default=True, help="At its peak.")
@click.option("--batch-size", type=click.IntRange(2, 65536), default=256, show_default=True, help="Of functions.")
@click.option("--width", type=click.IntRange(8, 4096), default=256, show_default=True, help="Of the vectors.")
@options.tensorboard()
@options.output("model", default="multimodal")
@options.seed("Same seed, same weights and same split.")
@options.time_budget("End at the best epoch so far after this time.")
@options.resume("Continue the interrupted run of this name.")
@click.pass_obj
def train(
    output: Output,
    modalities: list[str],
    fusion_strategy: str,
    alignment_loss: str,
    data_augmentation: str,
    data: str | None,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    width: int,
    tensorboard_logging: bool,
    name: str,
    seed: int,
    time_budget: float | None,
    resume: bool,
) -> None:
    """Align text, code and diagrams in one space.

    Judged on packages that were never trained on: how often the right function is among the first ten, asked by one
    modality for another or for two together, beside BM25 and chance. A modality may be missing at inference.
    """
    from claude_flow import modalities as known

    known.chosen(modalities)
    data = _functions(output, data, None if time_budget is None else time_budget / 3)
    from claude_flow.train.recipes import multimodal as recipe

    chosen = {"fusion": fusion_strategy, "alignment_loss": alignment_loss, "augmentation": data_augmentation}
    held = recipe.Data(data, modalities, seed=seed, **chosen)
    with output.progress("aligning", epochs, "epochs") as bar:
        trained = recipe.train(
            held,
            name,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            width=width,
            about=chosen,
            seed=seed,
            time_budget=time_budget,
            resume=resume,
            tensorboard=tensorboard_logging,
            progress=lambda epoch, of, done, values: bar.update(epoch - 1 + done, of, f"loss {values['loss']:.4g}"),
        )
    if trained is None:
        return
    card = trained.card
    scores, baselines = card["held_out"]["metrics"], card["baselines"]
    result = {
        "model": trained.name,
        "version": trained.version,
        "path": trained.path,
        "functions": card["functions"],
        "held_out": scores,
        "baselines": baselines,
        "stopped": card["stopped"],
    }
    chance = baselines["chance"]["recall"]
    rows = [
        [metric.removesuffix("-recall@10"), value, baselines["bm25"].get(metric), chance]
        for metric, value in scores.items()
        if metric.endswith("recall@10")
    ]
    title = f"{trained.name} {trained.version}: recall@10 on packages left out ({card['stopped']})"
    output.result(result, [(title, ["asked by, for", "model", "bm25", "chance"], rows)])


@click.command(
    "multimodal",
    cls=Command,
    examples=[
        "claude-flow neural infer multimodal --text 'parse a date from a string'",
        "claude-flow neural infer multimodal --diagram calls.dot --text 'open and parse' --among my-functions",
    ],
)
@click.option("--text", help="What the function does, in words.")
@click.option("--code", type=click.Path(dir_okay=False, path_type=Path), help="A file with code like it.")
@click.option(
    "--diagram", type=click.Path(dir_okay=False, path_type=Path), help="A file with its calls, as DOT or Mermaid."
)
@click.option("--among", metavar="DATASET", default=FUNCTIONS, show_default=True, help="The functions to search.")
@click.option(
    "--by", type=params.NAMES, default=("code",), show_default="code", help="Modalities of the functions to look at."
)
@click.option("--top", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many to show.")
@options.model(without="multimodal")
@options.threads()
@click.pass_obj
def infer(
    output: Output,
    text: str | None,
    code: Path | None,
    diagram: Path | None,
    among: str,
    by: list[str],
    top: int,
    model: str | None,
    threads: int | None,
) -> None:
    """Find functions by words, code or call graph.

    Give any of the three; what is missing is fine.
    """
    from claude_flow.modalities import dataset, embedder, named

    question = {
        name: value
        for name, value in (
            ("text", text),
            ("code", None if code is None else files.read_text(code)),
            ("diagrams", None if diagram is None else files.read_text(diagram)),
        )
        if value is not None
    }
    if not any(value.strip() for value in question.values()):
        raise InputError("nothing is asked: give --text, --code or --diagram")
    model_ = embedder.Embedder(registry.model_path(model or "multimodal"), threads or 1)
    _, table, bags = dataset.load(among)
    nearest = model_.nearest(question, {name: bags[name] for name in map(named, by)}, top)
    found: list[dict[str, Any]] = [
        {"package": table["package"][row], "name": table["name"][row], "text": table["text"][row], "similarity": near}
        for row, near in nearest
    ]
    rows = [[a["package"], a["name"], a["similarity"], a["text"][:70]] for a in found]
    tables: list[Table] = [(f"Nearest in {among}", ["package", "function", "similarity", "says"], rows)]
    output.result({"model": registry.model_name(model_.path), "asked_by": list(question), "functions": found}, tables)


@click.command(
    "cross-modal",
    cls=Command,
    examples=[
        """\
claude-flow neural transfer cross-modal \\
  --source-modality "text-coordination" \\
  --target-modality "visual-coordination" \\
  --alignment-technique "canonical-correlation" \\
  --adaptation-layers 2""",
        "claude-flow neural transfer cross-modal --source-modality code --target-modality text --pairs 500",
    ],
)
@click.option("--source-modality", "source", required=True, help="What is known: text, code, or diagrams (visual).")
@click.option("--target-modality", "target", required=True, help="What is to be understood with it.")
@click.option(
    "--alignment-technique",
    type=click.Choice(["canonical-correlation", "contrastive", "procrustes"]),
    default="canonical-correlation",
    show_default=True,
    help="How the two spaces are laid onto each other.",
)
@click.option(
    "--adaptation-layers", type=click.IntRange(1, 8), default=2, show_default=True, help="Trained on the target's side."
)
@click.option("--pairs", type=click.IntRange(20), default=2000, show_default=True, help="Pairs to align by, at most.")
@click.option("--shots", type=click.IntRange(1, 1000), default=10, show_default=True, help="Examples of a class.")
@_data("Functions that have both.")
@options.output("model", without="SOURCE-to-TARGET")
@options.seed("Same seed, same weights and same split.")
@options.time_budget("End at the best epoch so far after this time.")
@click.pass_obj
def cross_modal(
    output: Output,
    source: str,
    target: str,
    alignment_technique: str,
    adaptation_layers: int,
    pairs: int,
    shots: int,
    data: str | None,
    name: str | None,
    seed: int,
    time_budget: float | None,
) -> None:
    """Carry what was learned in one modality over to another.

    A classifier learns in the source modality which kind of function it sees. Aligned by pairs, it answers in the
    target modality without any label there (zero-shot), and with a few (few-shot); beside it stand the same labels
    without the alignment, a classifier with all labels of the target, and the largest class.
    """
    from claude_flow.modalities import named

    a, b = named(source), named(target)
    if a == b:
        raise InputError(f"source and target are the same modality, {a}: name two")
    data = _functions(output, data, None if time_budget is None else time_budget / 3)
    from claude_flow.train.recipes import crossmodal as recipe

    name = name or f"{a}-to-{b}"
    with output.progress(f"{a} to {b}", 1.0) as bar:
        trained, found = recipe.transfer(
            data,
            a,
            b,
            name,
            technique=alignment_technique,
            layers=adaptation_layers,
            pairs=pairs,
            shots=shots,
            seed=seed,
            time_budget=time_budget,
            progress=lambda epoch, of, done, values: bar.update((epoch - 1 + done) / of),
        )
    if trained is None:
        return
    result: dict[str, Any] = {"model": trained.name, "version": trained.version, "path": trained.path, **found}
    rows = [[way, value] for way, value in found["accuracy"].items()]
    title = f"{trained.name} {trained.version}: kind of function told from {b}, packages left out"
    near = [[way, value] for way, value in found["retrieval"].items()]
    output.result(result, [(title, ["way", "accuracy"], rows), ("Finding the partner", ["way", "recall@10"], near)])
