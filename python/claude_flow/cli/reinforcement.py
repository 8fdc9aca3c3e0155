"""``claude-flow neural train reinforcement``: the decision engine learns by acting in an environment."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output, Table
from claude_flow.errors import InputError

__all__ = ["reinforcement"]


@click.command(
    "reinforcement",
    cls=Command,
    examples=[
        """\
claude-flow neural train reinforcement \\
  --environment "swarm-coordination-env" \\
  --agent "coordination-network" \\
  --reward-function "efficiency-improvement" \\
  --exploration-strategy "epsilon-greedy" \\
  --episodes 10000 \\
  --update-frequency 100""",
        "claude-flow neural train reinforcement --reward-function resolve-rate --seeds 3 --time-budget 30m",
    ],
)
@click.option("--environment", default="swarm-coordination-env", show_default=True, help="Where it acts.")
@click.option(
    "--world",
    metavar="NAME",
    help="What happens in it: simulated, unless said otherwise; see docs/worlds.md.",
)
@click.option(
    "--agent",
    default="coordination-network",
    show_default=True,
    help="What it sees: coordination-network (the outputs of coordination, optimization and prediction, and the "
    "swarm's numbers) or state-features (the numbers alone).",
)
@click.option(
    "--reward-function",
    "reward",
    default="efficiency-improvement",
    show_default=True,
    help="efficiency-improvement, resolve-rate, completion-time or cost: see docs/decision.md.",
)
@click.option(
    "--exploration-strategy",
    "exploration",
    default="epsilon-greedy",
    show_default=True,
    help="epsilon-greedy or boltzmann.",
)
@click.option(
    "--algorithm",
    default="q-learning",
    show_default=True,
    help="q-learning (from what it does) or rollouts (every command is tried in copies of the world).",
)
@click.option("--episodes", type=click.IntRange(1), default=10_000, show_default=True, help="To play per seed.")
@click.option(
    "--update-frequency",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Episodes between two judgements of the policy, each of which may become the best checkpoint.",
)
@click.option("--learning-rate", type=params.Number(1e-9, 10), default=7e-4, show_default=True, help="Of each step.")
@click.option("--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs; the best one counts.")
@options.output("model", default="action")
@options.seed("The first seed; same seed, same weights.")
@options.time_budget("Divide this time among the seeds; each ends at its best policy so far.")
@click.option(
    "--world-from",
    metavar="DATASET",
    help="Act in a world whose arrivals, durations, failures and costs are fitted to a dataset of `data collect`.",
)
@options.chart()
@click.option("--resume", is_flag=True, help="Continue the interrupted run of this name (of one seed).")
@click.pass_obj
def reinforcement(
    output: Output,
    environment: str,
    world: str | None,
    agent: str,
    reward: str,
    exploration: str,
    algorithm: str,
    episodes: int,
    update_frequency: int,
    learning_rate: float,
    seeds: int,
    name: str,
    seed: int,
    time_budget: float | None,
    world_from: str | None,
    chart: Path | None,
    resume: bool,
) -> None:
    """Learn by acting what to command a swarm.

    The decision engine plays training episodes with exploration. By --algorithm q-learning it learns by double
    Q-learning from a prioritized memory; by --algorithm rollouts from what each command leads to in copies of the
    world, in which thresholds that a search found go on after it. Every --update-frequency episodes it is judged,
    without exploration, on episodes that are never trained on; the best checkpoint becomes a version of the model,
    with a card that has its rewards on test episodes beside the rules'. Rewards in training and in judgement are
    logged apart; `monitor training` follows.

    With --world-from the world is fitted to a log; a table, and --chart, show how well it fits.
    """
    from claude_flow.train.recipes import reinforcement as recipe
    from claude_flow.train.recipes import worlds

    recipe.check(environment, agent, reward, exploration, algorithm)
    if world is not None and world_from is not None:
        raise InputError("--world names a world and --world-from makes one: give one of them")
    acts, judged = _fitted(world or "simulated", world_from, chart)
    epochs = -(-episodes // update_frequency)
    with output.progress(f"training {name}", float(epochs * seeds), "rounds") as bar:

        def progress(at: int) -> Any:
            def told(epoch: int, of: int, share: float, values: dict[str, float]) -> None:
                shown = ("loss", "validation-reward", "training-reward", "epsilon")
                note = "  ".join(f"{key} {values[key]:.4g}" for key in shown if key in values)
                bar.update((at - seed) * epochs + epoch - 1 + share, note=note)

            return told

        runs = recipe.reinforcement(
            name,
            environment=environment,
            agent=agent,
            reward=reward,
            exploration=exploration,
            algorithm=algorithm,
            episodes=episodes,
            update_frequency=update_frequency,
            learning_rate=learning_rate,
            seeds=range(seed, seed + seeds),
            time_budget=time_budget,
            resume=resume,
            world=acts,
            progress=progress,
        )
    best = runs[0]
    held = best.card["held_out"]["metrics"]
    result = {
        "model": best.name,
        "version": best.version,
        "path": best.path,
        "run": best.run,
        "seeds": [
            {"seed": run.card["seed"], "version": run.version, **run.card["held_out"]["metrics"]} for run in runs
        ],
        "card": best.card,
    }
    measured = ("reward", "resolve-rate", "completion-time", "cost")
    rows = [[f"{best.name} {best.version}", *[held[key] for key in measured]]]
    rows += [[rule, *[scores[key] for key in measured]] for rule, scores in best.card["baselines"].items()]
    title = f"{best.name} {best.version}: test episodes ({best.card['stopped']})"
    tables: list[Table] = [(title, ["policy", *measured], rows)]
    if judged:
        result["world"] = {"path": acts, "goodness": [asdict(one) for one in judged]}
        tables.append((f"how well {acts} fits", list(worlds.ROWS), worlds.rows(judged)))
    output.result(result, tables)


def _fitted(world: str, dataset: str | None, chart: Path | None) -> tuple[str, list[Any]]:
    """The world to act in, and how well it fits."""
    from claude_flow.report import charts
    from claude_flow.train.recipes import worlds

    if dataset is None:
        if chart is not None:
            raise InputError("--chart shows how well a world fits: it goes with --world-from")
        return world, []
    charts.check(chart)
    path, _, judged = worlds.fit(dataset)
    if chart is not None:
        places = range(len(judged))

        def medians(axes: Any) -> None:
            axes.scatter([one.observed_median for one in judged], places, label="in the log (held-out half)")
            axes.scatter([one.fitted_median for one in judged], places, marker="x", label="in the world")
            axes.set(
                yticks=list(places), yticklabels=[one.what for one in judged], xscale="log", xlabel="median minutes"
            )
            axes.legend()

        def distances(axes: Any) -> None:
            axes.barh(places, [one.distance for one in judged])
            axes.set(yticks=list(places), yticklabels=[one.family for one in judged], xlim=(0, 1))
            axes.set(xlabel="Kolmogorov-Smirnov distance")

        tables = [("Goodness of fit", worlds.ROWS, worlds.rows(judged))]
        charts.write(chart, f"A world fitted to {dataset}", [medians, distances], tables)
    return str(path), judged
