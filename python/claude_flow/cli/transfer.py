"""``claude-flow neural transfer``: go on from a trained model on another domain's data."""

from __future__ import annotations

from typing import Any

import click

from claude_flow import registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table

__all__ = ["group"]

group = Group(
    "transfer",
    help="Go on from a trained model on another domain's data.",
    members={
        "cross-modal": (
            "claude_flow.cli.multimodal:cross_modal",
            "Carry what was learned in one modality over to another.",
        )
    },
)


@group.itself(
    examples=[
        """\
claude-flow neural transfer \\
  --source-model "coordination-v2-general" \\
  --target-domain "microservice-development" \\
  --freeze-layers "embedding,attention-0,attention-1" \\
  --fine-tune-layers "attention-2,attention-3,output" \\
  --learning-rate 0.0001 \\
  --epochs 50""",
        "claude-flow neural transfer --source-model coordination-v3 --list-layers",
        "claude-flow neural transfer --source-model prediction-v2 --target-domain my-runs --unfreeze-every 5",
    ]
)
@click.option("--source-model", "model", required=True, metavar="MODEL", help="The trained model to start from.")
@click.option("--target-domain", "domain", metavar="DATASET", help="The data to go on with: a dataset or a view.")
@click.option("--freeze-layers", type=params.NAMES, help="Layers that stay as they are.")
@click.option("--fine-tune-layers", type=params.NAMES, show_default="the others", help="Layers that are trained.")
@click.option("--learning-rate", type=params.Number(1e-9, 10), default=1e-4, show_default=True, help="Of the output.")
@click.option("--epochs", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="The most epochs.")
@click.option(
    "--layer-decay",
    type=params.Number(1e-3, 1),
    default=1.0,
    show_default=True,
    help="Each layer below the output learns by this times the rate of the one above it.",
)
@click.option(
    "--unfreeze-every",
    type=click.IntRange(1),
    metavar="EPOCHS",
    help="Begin with the last layer and open one more every so many epochs.",
)
@params.switch("--compare", default=True, help="Also train from scratch and fine-tune all layers, and show the three.")
@click.option("--list-layers", is_flag=True, help="Only list the model's layers.")
@options.output("model", without="NETWORK-DOMAIN")
@options.seed("Same seed, same weights.")
@options.time_budget("Divide this time among the trainings; each ends at its best epoch so far.")
@options.tensorboard()
@options.resume("Continue the interrupted run of this name.")
@click.pass_obj
def transfer(
    output: Output,
    model: str,
    domain: str | None,
    freeze_layers: list[str] | None,
    fine_tune_layers: list[str] | None,
    learning_rate: float,
    epochs: int,
    layer_decay: float,
    unfreeze_every: int | None,
    compare: bool,
    list_layers: bool,
    name: str | None,
    seed: int,
    time_budget: float | None,
    tensorboard_logging: bool,
    resume: bool,
) -> None:
    """Transfer what a model learned to another domain.

    Some layers stay as they are, the others are fine-tuned.

    The best epoch on the target's validation part becomes a version of a model of the workspace. Beside it stand, on
    the target's held-out part, the source as it is, a model trained from scratch, and one with all layers fine-tuned.
    """
    path = registry.model_path(model)
    from claude_flow.data import preprocess
    from claude_flow.train.recipes import source as sources
    from claude_flow.train.recipes import transfer as recipe

    source = sources.read(path)
    if list_layers or domain is None:
        if not list_layers:
            raise click.UsageError("Missing option '--target-domain'.")
        counts = _parameters(source)
        rows = [[layer, counts[layer]] for layer in source.layers]
        output.result({"model": registry.model_name(path), "layers": counts}, [("Layers", ["layer", "weights"], rows)])
        return
    sources.chosen_layers(source.layers, freeze_layers, fine_tune_layers)
    data = preprocess.for_network(source.row.name, domain, output.note)
    if said := sources.suits(source, data):
        output.warn(said)
    name = name or f"{source.row.name}-{domain}"[:100]
    share = None if time_budget is None else time_budget / (3 if compare else 1)
    with output.progress(f"transfer to {domain}", epochs, "epochs") as bar:

        def progress(epoch: int, of: int, done: float, values: dict[str, float]) -> None:
            bar.update(epoch - 1 + done, of, f"loss {values.get('loss', 0):.4g}")

        trained = recipe.transfer(
            source,
            data,
            name,
            freeze=freeze_layers,
            fine_tune=fine_tune_layers,
            learning_rate=learning_rate,
            epochs=epochs,
            layer_decay=layer_decay,
            unfreeze_every=unfreeze_every,
            seed=seed,
            time_budget=share,
            tensorboard=tensorboard_logging,
            resume=resume,
            progress=progress,
        )
        found: dict[str, dict[str, float]] = {}
        if compare:
            found = recipe.rivals(
                source,
                data,
                learning_rate=learning_rate,
                epochs=epochs,
                seed=seed,
                time_budget=None if share is None else 2 * share,
                progress=lambda rival: lambda epoch, of, done, values: bar.update(epoch - 1 + done, of, rival),
            )
    if trained is None:
        return
    found = {"transfer": trained.card["held_out"]["metrics"], **found}
    result = {
        "model": trained.name,
        "version": trained.version,
        "path": trained.path,
        "source": registry.model_name(path),
        "data": data,
        "layers": {"trained": trained.card["trainable"]},
        "held_out": found,
    }
    output.result(result, _tables(f"{trained.name} {trained.version}", found))


def _parameters(source: Any) -> dict[str, int]:
    sizes = {name: p.numel() for name, p in source.module.named_parameters()}
    return {
        layer: sum(n for name, n in sizes.items() if any(name == p or name.startswith(f"{p}.") for p in prefixes))
        for layer, prefixes in source.layers.items()
    }


def _tables(title: str, found: dict[str, dict[str, float]]) -> list[Table]:
    rows = [[metric, *(scores.get(metric) for scores in found.values())] for metric in next(iter(found.values()))]
    return [(f"{title}: scores on the target's held-out part", ["metric", *found], rows)]
