"""``claude-flow neural train``: fit a network to a preprocessed dataset and keep it as a model of the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from claude_flow import networks, registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.curve import chart
from claude_flow.cli.networks import NetworkGroup
from claude_flow.cli.output import Output, Table

__all__ = ["group"]


def _line(row: networks.Network) -> str:
    return f"Learn {row.question}."


def _command(row: networks.Network) -> Command:
    """The command that trains a network: the same options and the same loop for each."""
    network = row.name

    @click.command(
        network,
        cls=Command,
        examples=row.train_examples,
        help=f"Train the {network} network: it learns {row.question}.\n\n"
        "The best epoch on the validation split becomes a new version of the model, with a card that holds its scores "
        "on held-out data beside simple baselines. Ctrl-C keeps a checkpoint for --resume.",
        short_help=_line(row),
    )
    @click.option(
        "--config",
        metavar="FILE",
        show_default="the network's own",
        default=None,
        help="Training configuration, as JSON.",
    )
    @options.data("What `data preprocess` made.", default=f"preprocessed-{network}-data")
    @options.output("model", default=network)
    @click.option(
        "--validation-split", type=params.SHARE, default=0.2, show_default=True, help="Share held out of training."
    )
    @click.option(
        "--checkpoint-interval",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        help="Epochs between checkpoints.",
    )
    @params.switch("--tensorboard-logging", help="Log to the run's folder, for TensorBoard.")
    @click.option(
        "--distributed-training",
        type=click.Choice(["auto", "off"]),
        default="auto",
        show_default=True,
        help="auto: train together with the other processes of a torchrun.",
    )
    @options.seed("Same seed, same weights.")
    @options.time_budget("End at the best epoch so far after this time, such as 60s.")
    @click.option("--resume", is_flag=True, help="Continue the interrupted run of this name.")
    @click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where to train.",
    )
    @click.option(
        "--if-better",
        is_flag=True,
        help="Judge walk-forward on the workspace's log, which the data was made of, and keep the model only if it "
        "beats the rules, LightGBM and the model in use there; see  learn.",
    )
    @click.option(
        "--find-learning-rate",
        is_flag=True,
        help="Only try which learning rate lowers the loss fastest (a range test of 100 steps), and draw it.",
    )
    @click.pass_obj
    def train(
        output: Output,
        config: str | None,
        data: str,
        name: str,
        validation_split: float,
        checkpoint_interval: int,
        tensorboard_logging: bool,
        distributed_training: str,
        seed: int,
        time_budget: float | None,
        resume: bool,
        device: str,
        if_better: bool,
        find_learning_rate: bool,
    ) -> None:
        from claude_flow.data import preprocess, views
        from claude_flow.train import config as training

        if config is None:
            settings = training.parse({f"{network}-training": {}}, network)
        else:
            settings = training.read(registry.config_path(config), network)
        dataset = preprocess.for_network(network, data, output.note)
        if find_learning_rate:
            with output.share("trying rates") as shown:
                from claude_flow.train import loop  # torch takes seconds to load: after what can be wrong

                found = loop.find_learning_rate(
                    network,
                    settings,
                    dataset,
                    validation_split=validation_split,
                    seed=seed,
                    device=device,
                    time_budget=time_budget,
                    progress=shown,
                )
            answer = {"suggested": found.suggested, "rates": found.rates, "losses": found.losses}
            output.result(answer, _rate_tables(network, answer))
            return
        if if_better:
            from claude_flow.cli.learn import verdict_tables
            from claude_flow.train.recipes import own

            tables = views.find(views.TABLES_NAME).folder
            with output.progress(f"training {name}", 1.0) as bar:
                verdict, kept = own.improve(
                    network,
                    tables,
                    dataset,
                    settings=None if config is None else settings,
                    name=name,
                    seed=seed,
                    time_budget=time_budget,
                    progress=lambda done, what: bar.update(done, note=what),
                )
            about = verdict.to_json()
            rows = [["kept", kept or "refused"], ["why", verdict.why]]
            output.result({"kept": kept, "verdict": about}, [*verdict_tables(about), ("Verdict", ["", ""], rows)])
            return
        from claude_flow.train import run

        with output.progress(f"training {name}", settings.epochs, "epochs") as bar:
            judged: dict[str, float] = {}

            def progress(epoch: int, epochs: int, share: float, values: dict[str, float]) -> None:
                judged.update((key, values[key]) for key in ("loss", settings.monitor) if key in values)
                note = "  ".join(f"{key} {value:.4g}" for key, value in judged.items())
                bar.update(epoch - 1 + share, epochs, note)

            trained = run.train(
                network,
                settings,
                dataset,
                name,
                validation_split=validation_split,
                checkpoint_interval=checkpoint_interval,
                tensorboard=tensorboard_logging,
                distributed=distributed_training,
                seed=seed,
                time_budget=time_budget,
                resume=resume,
                device=device,
                progress=progress,
            )
        if trained is None:  # under torchrun, the first process alone keeps the model
            return
        version, model, card = trained.version, trained.path, trained.card
        result = {"model": name, "version": version, "path": model, "run": trained.run, "card": card}
        output.result(result, _tables(f"{name} {version}", model, card))

    return train


def _rate_tables(network: str, found: dict[str, Any]) -> list[Table]:
    """The curve of a range test, rate on a logarithmic axis, and what it suggests."""
    losses, rates = found["losses"], found["rates"]
    start, least = losses[0], min(losses)
    # Beyond the start the loss only explodes: cut there, so that the fall can be seen.
    lines = chart([min(loss, start + (start - least) / 4) for loss in losses], 60, 8)
    axis = f"{rates[0]:.0e}".ljust(30) + f"{rates[len(rates) // 2]:.0e}".ljust(25) + f"{rates[-1]:.0e}"
    labels = [f"{start:.4g}", *[""] * (len(lines) - 2), f"{least:.4g}", "rate"]
    curve = [list(pair) for pair in zip(labels, [*lines, axis], strict=True)]
    config = f'{{"{network}-training": {{"learning-rate": {{"initial": {found["suggested"]:g}}}}}}}'
    facts = [["suggested", found["suggested"]], ["in the configuration", config]]
    return [("Smoothed training loss as the learning rate rises", ["", ""], curve), ("Learning rate", ["", ""], facts)]


def _tables(title: str, model: Path, card: dict[str, Any]) -> list[Table]:
    scores = card["held_out"]["metrics"]
    baselines = card["baselines"]
    rows = [
        [metric, value, *(baseline.get(metric) for baseline in baselines.values())] for metric, value in scores.items()
    ]
    run = [
        ["best epoch", f"{card['best_epoch']} of {card['epochs']}"],
        ["stopped", card["stopped"]],
        ["seconds", card["seconds"]],
        ["parameters", card["parameters"]],
        ["model", model],
    ]
    return [
        (f"{title}: scores on the {card['held_out']['split']} split", ["metric", "model", *baselines], rows),
        ("Run", ["what", "value"], run),
    ]


group = NetworkGroup(
    "train",
    make=_command,
    line=_line,
    help="Train a network on a preprocessed dataset.",
    members={
        "federated": ("claude_flow.cli.recipes:federated", "Train on data that stays with its owners."),
        "incremental": ("claude_flow.cli.recipes:incremental", "Learn new data without forgetting what came before."),
        "reinforcement": ("claude_flow.cli.reinforcement:reinforcement", "Learn by acting what to command a swarm."),
        "meta": ("claude_flow.cli.recipes:meta", "Learn weights from which few examples of a new project go far."),
        "multimodal": ("claude_flow.cli.multimodal:train", "Align text, code and diagrams in one space."),
    },
)
