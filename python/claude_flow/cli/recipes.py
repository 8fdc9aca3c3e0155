"""``claude-flow neural train federated | incremental | meta``: training from more than one data set."""

from __future__ import annotations

import time
from typing import Any

import click

from claude_flow import registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output, Table

__all__ = ["federated", "incremental", "meta"]


@click.command(
    "incremental",
    cls=Command,
    examples=[
        """\
claude-flow neural train incremental \\
  --model "coordination-v3" \\
  --new-data "recent-coordination-patterns" \\
  --forgetting-prevention "elastic-weight-consolidation" \\
  --importance-estimation "fisher-information" \\
  --rehearsal-strategy "gradient-episodic-memory\"""",
        "claude-flow neural train incremental --model prediction-v2 --new-data october --new-data november",
        """\
claude-flow neural train incremental --model prediction-v2 --new-data october \\
  --forgetting-prevention distillation --rehearsal-strategy experience-replay""",
    ],
)
@options.model("The model that goes on learning.")
@click.option(
    "--new-data",
    "periods",
    required=True,
    multiple=True,
    metavar="DATASET",
    help="A period's data. Repeatable, in order.",
)
@click.option(
    "--old-data",
    metavar="DATASET",
    show_default="preprocessed-NETWORK-data",
    help="What the model learned from.",
)
@click.option(
    "--forgetting-prevention",
    type=click.Choice(["elastic-weight-consolidation", "distillation", "none"]),
    default="elastic-weight-consolidation",
    show_default=True,
    help="Hold weights that mattered for what came before, or the old model's answers.",
)
@click.option(
    "--importance-estimation",
    type=click.Choice(["fisher-information", "gradient-magnitude", "uniform"]),
    default="fisher-information",
    show_default=True,
    help="What says that a weight mattered.",
)
@click.option(
    "--rehearsal-strategy",
    type=click.Choice(["gradient-episodic-memory", "experience-replay", "none"]),
    default="gradient-episodic-memory",
    show_default=True,
    help="How remembered examples take part.",
)
@click.option(
    "--strength",
    type=params.Number(0, 1e9),
    show_default="100 for elastic weights, 1 for distillation",
    help="Of the forgetting prevention.",
)
@click.option("--learning-rate", type=params.Number(1e-9, 10), default=3e-4, show_default=True, help="At its peak.")
@click.option("--epochs", type=click.IntRange(1, 1_000_000), default=5, show_default=True, help="Per period.")
@params.switch("--compare", default=True, help="Also fine-tune plainly, and show both.")
@options.output("model", without="the model's own name")
@options.seed("Same seed, same weights.")
@options.time_budget("Divide this time among the periods; each ends at its best epoch so far.")
@options.tensorboard()
@options.resume("Continue the interrupted run of this name.")
@click.pass_obj
def incremental(
    output: Output,
    model: str,
    periods: tuple[str, ...],
    old_data: str | None,
    forgetting_prevention: str,
    importance_estimation: str,
    rehearsal_strategy: str,
    strength: float | None,
    learning_rate: float,
    epochs: int,
    compare: bool,
    name: str | None,
    seed: int,
    time_budget: float | None,
    tensorboard_logging: bool,
    resume: bool,
) -> None:
    """Learn new data without forgetting what came before.

    Shows the measure on every period after every period, how much was forgotten on average, and plain fine-tuning
    beside it. The last period's model becomes a version of a model of the workspace.
    """
    path = registry.model_path(model)
    from claude_flow.data import preprocess
    from claude_flow.train.recipes import incremental as recipe
    from claude_flow.train.recipes import source as sources

    source = sources.read(path)
    network = source.row.name
    old = preprocess.for_network(network, old_data or f"preprocessed-{network}-data")
    news = [preprocess.for_network(network, period, output.note) for period in periods]
    name = name or registry.model_name(path).partition("/")[0]
    share = None if time_budget is None else time_budget / (2 if compare else 1)
    arguments: dict[str, Any] = {
        "importance_kind": importance_estimation,
        "strength": strength,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "seed": seed,
        "time_budget": share,
    }
    with output.share("learning") as shown:
        trained, report = recipe.incremental(
            source,
            old,
            news,
            name,
            prevention=forgetting_prevention,
            rehearsal=rehearsal_strategy,
            resume=resume,
            tensorboard=tensorboard_logging,
            progress=shown,
            **arguments,
        )
        reports = {"this": report}
        if compare:
            plain = sources.read(path)
            _, reports["fine-tuning"] = recipe.incremental(
                plain, old, news, None, prevention="none", rehearsal="none", progress=shown, **arguments
            )
    if trained is None:
        return
    result = {
        "model": trained.name,
        "version": trained.version,
        "path": trained.path,
        "measure": report.measure,
        "periods": report.periods,
        **{way: r.summary() for way, r in reports.items()},
    }
    output.result(result, _incremental_tables(f"{trained.name} {trained.version}", reports))


def _incremental_tables(title: str, reports: dict[str, Any]) -> list[Table]:
    report = reports["this"]
    rows = [[f"after {name}", *row] for name, row in zip(report.periods, report.matrix, strict=True)]
    summary = [[way, r.forgetting, r.learned, r.forward] for way, r in reports.items()]
    return [
        (f"{title}: {report.measure} on the held-out part of", ["", *report.periods], rows),
        ("Forgetting", ["way", "average forgetting", "measure on the last", "forward transfer"], summary),
    ]


@click.command(
    "meta",
    cls=Command,
    examples=[
        """\
claude-flow neural train meta \\
  --base-model "coordination-v3" \\
  --meta-algorithm "maml" \\
  --task-distribution "coordination-variants" \\
  --inner-steps 5 \\
  --outer-steps 1000 \\
  --adaptation-rate 0.01""",
        "claude-flow neural train meta --base-model prediction-v2 --meta-algorithm anil --task-distribution my-runs",
    ],
)
@click.option("--base-model", "model", required=True, metavar="MODEL", help="The weights to start from.")
@click.option(
    "--meta-algorithm",
    type=click.Choice(["maml", "reptile", "anil"]),
    default="maml",
    show_default=True,
    help="How tasks teach.",
)
@click.option(
    "--task-distribution",
    "data",
    metavar="DATASET",
    show_default="preprocessed-NETWORK-data",
    help="The tasks: the projects, pools or families in a dataset.",
)
@click.option("--inner-steps", type=click.IntRange(1, 1000), default=5, show_default=True, help="On a new task.")
@click.option("--outer-steps", type=click.IntRange(1), default=1000, show_default=True, help="Over tasks.")
@click.option("--adaptation-rate", type=params.Number(1e-9, 10), default=0.01, show_default=True, help="Inner steps.")
@click.option("--learning-rate", type=params.Number(1e-9, 10), default=1e-3, show_default=True, help="Of outer steps.")
@click.option("--examples", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Of a new task.")
@options.output("model", without="NETWORK-meta")
@options.seed("Same seed, same weights.")
@options.time_budget("End at the best epoch so far after this time.")
@options.tensorboard()
@options.resume("Continue the interrupted run of this name.")
@click.pass_obj
def meta(
    output: Output,
    model: str,
    meta_algorithm: str,
    data: str | None,
    inner_steps: int,
    outer_steps: int,
    adaptation_rate: float,
    learning_rate: float,
    examples: int,
    name: str | None,
    seed: int,
    time_budget: float | None,
    tensorboard_logging: bool,
    resume: bool,
) -> None:
    """Learn weights from which few examples of a new project go far.

    Judged on tasks that were never trained on, after the same few steps: beside it stand the base model and joint
    training on all tasks, which often wins.
    """
    path = registry.model_path(model)
    from claude_flow.data import preprocess
    from claude_flow.train.recipes import meta as recipe
    from claude_flow.train.recipes import source as sources

    source = sources.read(path)
    network = source.row.name
    folder = preprocess.for_network(network, data or f"preprocessed-{network}-data", output.note)
    with output.progress("meta-learning", 1.0) as bar:
        trained, found = recipe.meta(
            source,
            folder,
            name or f"{network}-meta",
            algorithm=meta_algorithm,
            inner_steps=inner_steps,
            outer_steps=outer_steps,
            adaptation_rate=adaptation_rate,
            learning_rate=learning_rate,
            examples=examples,
            seed=seed,
            time_budget=time_budget,
            tensorboard=tensorboard_logging,
            resume=resume,
            progress=lambda epoch, of, done, values: bar.update((epoch - 1 + done) / of),
        )
    if trained is None:
        return
    result = {"model": trained.name, "version": trained.version, "path": trained.path, "held_out_tasks": found}
    rows = [[way, scores["loss-before"], scores["loss"]] for way, scores in found.items()]
    title = f"{trained.name} {trained.version}: loss on tasks never trained on"
    output.result(result, [(title, ["way", "before adapting", f"after {inner_steps} steps"], rows)])


@click.command(
    "federated",
    cls=Command,
    examples=[
        """\
claude-flow neural train federated \\
  --participants '["swarm-1","swarm-2","swarm-3"]' \\
  --aggregation-strategy "weighted-average" \\
  --rounds 50 \\
  --local-epochs 5 \\
  --privacy-preserving true""",
        "claude-flow neural train federated --participants site-a,site-b --network prediction --rounds 10",
        """\
claude-flow neural train federated --network prediction --model prediction-v2 \\
  --participants flower://127.0.0.1:8000/site-a,flower://127.0.0.1:8000/site-b""",
    ],
)
@click.option(
    "--participants",
    type=params.NAMES,
    required=True,
    help="Datasets; swarm-1, swarm-2 and so on: the projects of --data, the largest first; or Flower clients, as "
    "flower://HOST:PORT/NAME.",
)
@click.option("--network", default="coordination", show_default=True, help="Which network learns.")
@click.option("--data", metavar="DATASET", show_default="preprocessed-NETWORK-data", help="Where swarm-1 … come from.")
@options.model("The weights to start from.", without="a new network")
@click.option(
    "--aggregation-strategy",
    type=click.Choice(["weighted-average", "fedadam", "fedprox", "median", "trimmed-mean"]),
    default="weighted-average",
    show_default=True,
    help="How updates become one; median and trimmed-mean bear poisoned ones.",
)
@click.option("--rounds", type=click.IntRange(1), default=50, show_default=True, help="Of averaging.")
@click.option("--local-epochs", type=click.IntRange(1), default=5, show_default=True, help="Per round.")
@params.switch("--privacy-preserving", help="Differential privacy of every example, and secure aggregation.")
@click.option("--epsilon", type=params.Number(0.01, 1000), default=8.0, show_default=True, help="The privacy to keep.")
@click.option("--clip", type=params.Number(1e-6, 1e6), default=1.0, show_default=True, help="An example's norm.")
@options.output("model", without="NETWORK-federated")
@options.seed("Same seed, same weights.")
@options.time_budget("End at the best round so far after this time.")
@options.tensorboard()
@options.resume("Continue the interrupted federation of this name.")
@click.pass_obj
def federated(output: Output, /, **given: Any) -> None:
    """Train on data that stays with its owners.

    Each round every participant trains on its own data and the server aggregates the updates. The best round by the
    participants' own validation parts becomes a version of a model of the workspace. Who leaves a round or sends an
    update far from the others' is named. --privacy-preserving clips and noises every example's gradient (DP-SGD,
    epsilon by Opacus's accountant) and hides single updates from the server by masks that cancel.

    Flower clients (`flwr`) are SuperNodes, each started with --node-config 'name="NAME" data="DATASET"' beside its
    owner's data; HOST:PORT is the SuperLink, which runs on this machine.
    """
    from claude_flow.train.recipes import federation

    begin = time.monotonic()
    with output.progress("federation", given["rounds"], "rounds") as bar:

        def progress(done: int, of: int, entry: dict[str, Any]) -> None:
            named = [*entry["absent"], *(f"{name}?" for name in entry["suspects"])]
            bar.update(done, of, f"loss {entry['loss']:.4g}" + (f"  {', '.join(named)}" if named else ""))

        result = federation.train(progress=progress, **given)
    result["seconds"] = round(time.monotonic() - begin, 1)
    if given["privacy_preserving"] and not result["secure_aggregation"]:
        output.warn("single updates were seen by the server: masks need datasets as participants, and weighted-average")
    for name, reasons in result["absent"].items():
        output.warn(f"{name} was left out of {len(reasons)} rounds: {reasons[-1]}")
    for name, count in result["suspects"].items():
        output.warn(f"{name} sent {count} updates far from the others'")
    losses, epsilon = result["losses"], result["epsilon"]
    rows = [[name, size, losses.get(name), epsilon.get(name)] for name, size in result["participants"].items()]
    title = f"{result['model']} {result['version']}: {result['stopped']}"
    tables: list[Table] = [(title, ["participant", "examples", "validation loss", "epsilon"], rows)]
    scores = result["held_out"]
    tables.append(("Held-out scores, all participants", ["metric", "federated"], [[k, v] for k, v in scores.items()]))
    output.result(result, tables)
