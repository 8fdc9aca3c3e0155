"""``claude-flow neural nas``: search for architectures that learn as well and run faster."""

from __future__ import annotations

from typing import Any

import click

from claude_flow import networks, registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table
from claude_flow.errors import InputError
from claude_flow.values import did_you_mean

__all__ = ["group"]

group = Group("nas", help="Search for architectures that learn as well and run faster.")
_METRICS = ("accuracy", "latency", "memory", "flops")


def _network(task: str, space: str | None) -> str:
    tasks = {f"{name}-optimization": name for name in networks.NETWORKS}
    if task not in tasks:
        raise InputError(f"there is no task {task!r}{did_you_mean(task, tasks) or ': ' + ', '.join(tasks)}")
    row = networks.get(tasks[task])
    own = f"{row.architecture}-variants"
    if space is not None and space != own:
        raise InputError(f"there is no search space {space!r} for {row.name}: it is {own}")
    from claude_flow.search import candidate

    candidate.space(row.name)
    return row.name


def _setting(network: str, data: str | None, epochs: int, use: str | None = "train") -> Any:
    from claude_flow.data import preprocess
    from claude_flow.search.candidate import Setting
    from claude_flow.values import parse_json

    folder = preprocess.for_network(network, data or f"preprocessed-{network}-data", use=use)
    document: dict[str, Any] = {}
    shipped = registry.built_in_configs(network)
    if shipped:
        document = parse_json(shipped[-1].read_text("utf-8"), str(shipped[-1]))[f"{network}-training"]
    return Setting(network, folder, epochs, document=document)


@group.command(
    "search",
    examples=[
        """\
claude-flow neural nas search \\
  --task "coordination-optimization" \\
  --search-space "transformer-variants" \\
  --search-strategy "evolutionary" \\
  --generations 50 \\
  --population-size 20 \\
  --fitness-metric "efficiency-accuracy-tradeoff\"""",
        "claude-flow neural nas search --task prediction-optimization --generations 5 --time-budget 10m",
        "claude-flow neural nas search --task prediction-optimization --search-strategy successive-halving --epochs 8",
    ],
)
@click.option("--task", required=True, metavar="NETWORK-optimization", help="Which network's sizes to search.")
@click.option(
    "--search-space", "space", metavar="NAME", show_default="the network's own", help="Such as transformer-variants."
)
@click.option(
    "--search-strategy",
    "strategy",
    type=click.Choice(["evolutionary", "random", "successive-halving"]),
    default="evolutionary",
    show_default=True,
    help="NSGA-II; draws; draws of which the worse half ends early, as with NSGA-II.",
)
@click.option("--generations", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Of candidates.")
@click.option("--population-size", type=click.IntRange(2, 1000), default=20, show_default=True, help="Per generation.")
@click.option(
    "--fitness-metric",
    type=click.Choice(["efficiency-accuracy-tradeoff"]),
    default="efficiency-accuracy-tradeoff",
    show_default=True,
    help="Rank the front of loss and latency by the distance to its best corner.",
)
@options.data("What candidates learn from.", without="preprocessed-NETWORK-data")
@click.option("--epochs", type=click.IntRange(1, 10_000), default=3, show_default=True, help="Per candidate.")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Trainings beside each other.")
@params.switch("--random-search", default=True, help="Run random search at the same budget beside it.")
@click.option("--results", type=params.NAME, default="nas-results", show_default=True, help="What they are called.")
@options.seed("Of the search and of training.")
@options.time_budget("End with the best so far after this time.")
@click.option("--resume", is_flag=True, help="Go on with the search of this name.")
@click.pass_obj
def search(
    output: Output,
    task: str,
    space: str | None,
    strategy: str,
    generations: int,
    population_size: int,
    fitness_metric: str,  # there is one so far
    data: str | None,
    epochs: int,
    jobs: int,
    random_search: bool,
    results: str,
    seed: int,
    time_budget: float | None,
    resume: bool,
) -> None:
    """Search sizes of a network by loss and by latency on the engine.

    Every candidate is run natively, and as WebAssembly where wasmtime is installed: its latency and memory are
    measured, not counted. It is trained for a few epochs. The ten best of the front are kept as RESULTS-top10 for
    `nas evaluate`. Every strategy has generations x population x epochs epochs of training; the same seed and number
    of jobs try the same candidates.
    """
    setting = _setting(_network(task, space), data, epochs)
    from claude_flow.search import architecture

    with output.share("searching") as shown:
        answer = architecture.search(
            setting,
            strategy=strategy,
            generations=generations,
            population=population_size,
            random_beside=random_search,
            name=results,
            seed=seed,
            time_budget=time_budget,
            resume=resume,
            jobs=jobs,
            progress=shown,
        )
    output.note(f"{answer['path']} is written")
    volumes = [
        [way, *answer["tried"][way].values(), len(answer["fronts"][way]), volume]
        for way, volume in answer["hypervolume"].items()
    ]
    heads = ["strategy", "candidates", "trained to the end", "epochs", "on the front", "loss x log latency"]
    output.result(
        answer,
        [
            _candidates(f"The front, by {fitness_metric}", answer),
            ("Hypervolume at equal budget", heads, volumes),
        ],
    )


def _candidates(title: str, answer: dict[str, Any]) -> Table:
    rows = [
        [c["rank"], _words(c["sizes"]), c["metric"], c["latency"], c.get("latency_wasm"), c["memory"], c["flops"] / 1e6,
         c.get("p_corrected")]
        for c in answer["candidates"]
    ]  # fmt: skip
    tested = any(row[-1] is not None for row in rows)
    columns = ["rank", "sizes", answer["metric"], "ms", "ms, WebAssembly", "MiB", "Mflop", "p (corrected)"]
    return title, columns if tested else columns[:-1], rows if tested else [row[:-1] for row in rows]


def _words(sizes: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in sizes.items()).replace(", ", ",")


@group.command(
    "evaluate",
    examples=[
        """\
claude-flow neural nas evaluate \\
  --candidate-architectures "nas-results-top10" \\
  --validation-data "holdout-dataset" \\
  --metrics '["accuracy","latency","memory","flops"]' \\
  --statistical-testing true""",
        "claude-flow neural nas evaluate --candidate-architectures nas-results-top10 --seeds 5",
    ],
)
@click.option(
    "--candidate-architectures", "candidates", required=True, metavar="RESULTS", help="What a search kept, or its file."
)
@click.option(
    "--validation-data",
    "data",
    metavar="DATASET",
    show_default="preprocessed-NETWORK-data",
    help="What to train anew on; its held-out part judges.",
)
@click.option(
    "--metrics", type=params.NAMES, default=",".join(_METRICS), show_default=True, help="What the table shows."
)
@params.switch("--statistical-testing", default=True, help="Test each against the first, paired by seed.")
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="Trainings of each.")
@click.option("--epochs", type=click.IntRange(1, 10_000), default=3, show_default=True, help="Per training.")
@options.time_budget("Divide this time among the trainings.")
@click.pass_obj
def evaluate(
    output: Output,
    candidates: str,
    data: str | None,
    metrics: list[str],
    statistical_testing: bool,
    seeds: int,
    epochs: int,
    time_budget: float | None,
) -> None:
    """Train found architectures anew on seeds that their search never saw, and compare them.

    Differences to the first are tested by t-tests paired by seed, with Holm's correction.
    """
    unknown = [name for name in metrics if name not in _METRICS]
    if unknown:
        near = did_you_mean(unknown[0], _METRICS) or ": " + ", ".join(_METRICS)
        raise InputError(f"there is no metric {unknown[0]!r}{near}")
    from claude_flow.search import architecture

    network, found = architecture.candidates(candidates)
    setting = _setting(network, data, epochs, None)  # it is trained on the one part and judged on the other
    with output.share("evaluating") as bar:
        answer = architecture.evaluate(
            setting,
            found,
            seeds=range(1, seeds + 1),
            time_budget=time_budget,
            progress=bar,
        )
    if not statistical_testing:
        for row in answer["candidates"]:
            row["p_corrected"] = None
    shown = {"accuracy": "metric", "latency": "latency", "memory": "memory", "flops": "flops"}
    answer["metrics"] = list(metrics)
    rows = [
        [c["rank"], _words(c["sizes"]), *(c[shown[name]] for name in metrics), c["p_corrected"]]
        for c in answer["candidates"]
    ]
    heads = {"accuracy": answer["metric"], "latency": "ms", "memory": "MiB", "flops": "flop"}
    columns = ["rank", "sizes", *(heads[name] for name in metrics), "p (corrected)"]
    output.result(answer, [(f"{network}: {len(answer['seeds'])} seeds", columns, rows)])


@group.command(
    "optimize",
    examples=[
        """\
claude-flow neural nas optimize \\
  --base-architecture "coordination-v3" \\
  --optimization-target "reduce-latency" \\
  --constraints '{"accuracy-loss":"<2%","memory-increase":"<10%"}' \\
  --search-iterations 100""",
        "claude-flow neural nas optimize --base-architecture optimization-v2 --optimization-target reduce-memory",
    ],
)
@click.option("--base-architecture", "base", required=True, metavar="MODEL", help="The model to improve on.")
@click.option(
    "--optimization-target",
    "target",
    type=click.Choice(["reduce-latency", "reduce-memory", "reduce-flops", "improve-accuracy"]),
    default="reduce-latency",
    show_default=True,
    help="What to improve.",
)
@click.option("--constraints", type=params.Json(dict), help='Limits against the base, such as {"accuracy-loss":"<2%"}.')
@click.option(
    "--search-iterations", "iterations", type=click.IntRange(1), default=100, show_default=True, help="Candidates."
)
@options.data("What candidates learn from.", without="preprocessed-NETWORK-data")
@click.option("--epochs", type=click.IntRange(1, 10_000), default=3, show_default=True, help="Per candidate.")
@options.seed("Of the search and of training.")
@options.time_budget("End with the best so far after this time.")
@click.pass_obj
def optimize(
    output: Output,
    base: str,
    target: str,
    constraints: dict[str, Any] | None,
    iterations: int,
    data: str | None,
    epochs: int,
    seed: int,
    time_budget: float | None,
) -> None:
    """Improve an architecture by one measure within limits on the others.

    The base is trained in the same way as the candidates, so that they compare. When none is better within the limits,
    the answer's best is null and a note says so.
    """
    from claude_flow.search import architecture

    limits = architecture.parse_constraints(constraints or {})
    network, sizes = architecture.base_sizes(base)
    setting = _setting(network, data, epochs)
    with output.share("optimizing") as bar:
        answer = architecture.optimize(
            setting,
            sizes,
            target=target,
            constraints=limits,
            iterations=iterations,
            seed=seed,
            time_budget=time_budget,
            progress=bar,
        )
    rows = [[who, _words(c["sizes"]), c["metric"], c["latency"], c["memory"], c["flops"] / 1e6]
            for who, c in (("base", answer["base"]), ("best", answer["best"])) if c]  # fmt: skip
    title = f"{target}: {answer['feasible']} of {answer['tried']} candidates within the limits"
    output.result(answer, [(title, ["", "sizes", answer["metric"], "ms", "MiB", "Mflop"], rows)])
    if answer["best"] is None:
        output.warn("no candidate is better than the base within the limits")
