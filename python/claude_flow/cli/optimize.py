"""``claude-flow neural optimize``: smaller and faster models that keep a guaranteed share of the accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from claude_flow import registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table

__all__ = ["group"]

group = Group("optimize", help="Make models smaller and faster, with a guarantee of what they keep.")


_DATA = "the network's preprocessed dataset, else the standard suite"


def _allow_slower() -> options.Option:
    return params.switch("--allow-slower", help="Write it though it is not faster here than its parent.")


def _metric() -> options.Option:
    return click.option(
        "--metric", show_default="the network's first", help="What the threshold guards, such as accuracy, pinball."
    )


def _base(path: Path) -> str:
    """The name that the new model's is made of."""
    return registry.model_name(path).partition("/")[0]


@contextmanager
def _refusals(output: Output) -> Iterator[None]:
    """A refused candidate's table goes to standard output before its error."""
    from claude_flow.compress.release import Refused

    try:
        yield
    except Refused as refused:
        output.result(refused.report, _tables(refused.report))
        raise


@group.command(
    "quantize",
    examples=[
        """\
claude-flow neural optimize quantize \\
  --model "coordination-v3" \\
  --precision "int8" \\
  --calibration-data "representative-dataset" \\
  --accuracy-threshold 0.99 \\
  --output-format "optimized-wasm\"""",
        "claude-flow neural optimize quantize --model optimization-v2 --output-format native --output quick",
        "claude-flow neural optimize quantize --model optimization-v2 --precision int4 --accuracy-threshold 0.97",
    ],
)
@options.model("The float model to quantize.")
@click.option(
    "--precision", type=click.Choice(["int8", "int4"]), default="int8", show_default=True, help="Of the weights."
)
@click.option(
    "--calibration-data",
    metavar="DATASET|FILE",
    default="representative-dataset",
    show_default=True,
    help="What ranges are learned from: a sample of the training part, a dataset, or inputs as .npy.",
)
@click.option(
    "--calibration-items", type=click.IntRange(1), default=512, show_default=True, help="At most so many items of it."
)
@click.option(
    "--accuracy-threshold",
    type=params.Number(),
    default=0.99,
    show_default=True,
    help="Share of the parent's metric that must be kept, shown at 95 % confidence.",
)
@click.option(
    "--observer",
    type=click.Choice(["auto", "min-max", "percentile", "mse", "entropy"]),
    default="auto",
    show_default=True,
    help="How a range follows from what was seen.",
)
@click.option(
    "--scale-migration",
    type=click.Choice(["auto", "true", "false"]),
    default="auto",
    show_default=True,
    help="Move large columns of activations into weights (SmoothQuant); auto: where measuring says it helps.",
)
@click.option(
    "--learned-rounding",
    type=click.Choice(["auto", "true", "false"]),
    default="auto",
    show_default=True,
    help="Round weights as their layer's output wants it (AdaRound); auto: where measuring says it helps.",
)
@click.option(
    "--output-format",
    type=click.Choice(["optimized-wasm", "native", "safetensors", "onnx"]),
    default="optimized-wasm",
    show_default=True,
    help="Weights packed for WebAssembly, for this machine, in rows, or an ONNX file beside.",
)
@options.data("What to judge on.", without=_DATA)
@_metric()
@click.option(
    "--fine-tune-epochs",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of training the model as its integers will run.",
)
@_allow_slower()
@options.seed("Of fine-tuning.")
@options.time_budget("End fine-tuning at its best epoch after this time.")
@options.output("new model", without="MODEL-int8 or MODEL-int4")
@click.pass_obj
def quantize(
    output: Output,
    /,
    model: str,
    precision: str,
    calibration_data: str,
    calibration_items: int,
    accuracy_threshold: float,
    observer: str,
    scale_migration: str,
    learned_rounding: str,
    output_format: str,
    data: str | None,
    metric: str | None,
    fine_tune_epochs: int,
    allow_slower: bool,
    seed: int,
    time_budget: float | None,
    name: str | None,
) -> None:
    """Quantize a model to 8-bit or 4-bit integers, with calibration and an accuracy guarantee.

    Every linear and LSTM product becomes integer. Layers that the threshold needs in more bits stay in float, or with
    4-bit weights in 8, and are named. The threshold holds when the lower end of a one-sided 95 % interval of
    metric(new) / metric(parent), on held-out data in groups, reaches it. Otherwise nothing is written and the exit code
    is 1; so it is when the result is not faster on this machine than its parent.
    """
    from claude_flow.compress import quantize as compress

    path = registry.model_path(model)
    with output.share("quantize") as shown, _refusals(output):
        report = compress.static(
            path,
            name or f"{_base(path)}-{precision}",
            precision=precision,
            data=data,
            calibration_data=calibration_data,
            calibration_items=calibration_items,
            threshold=accuracy_threshold,
            measure=metric,
            observer=observer,
            scale_migration=scale_migration,
            learned_rounding=learned_rounding,
            output_format=output_format,
            fine_tune_epochs=fine_tune_epochs,
            allow_slower=allow_slower,
            seed=seed,
            time_budget=time_budget,
            progress=shown,
            say=output.note,
        )
    output.result(report, _tables(report))


@group.command(
    "quantize-dynamic",
    examples=[
        """\
claude-flow neural optimize quantize-dynamic \\
  --model "coordination-v3" \\
  --target-device "cpu" \\
  --performance-mode "balanced" \\
  --memory-constraints "4GB\"""",
        "claude-flow neural optimize quantize-dynamic --model prediction-v2 --performance-mode size",
    ],
)
@options.model("The float model to quantize.")
@click.option(
    "--target-device",
    type=click.Choice(["cpu", "wasm"]),
    default="cpu",
    show_default=True,
    help="What candidates are timed on: the native engine, or WebAssembly.",
)
@click.option(
    "--performance-mode",
    type=click.Choice(["balanced", "speed", "size"]),
    default="balanced",
    show_default=True,
    help="The fastest that keeps 99 %, the fastest that keeps 97 %, or the smallest that keeps 97 %.",
)
@click.option("--memory-constraints", "memory", type=params.SIZE, help="Most bytes of weights and working memory.")
@click.option(
    "--accuracy-threshold", type=params.Number(), show_default="the mode's", help="Share that must be kept instead."
)
@options.data("What to judge on.", without=_DATA)
@_metric()
@_allow_slower()
@options.output("new model", without="MODEL-dynamic")
@click.pass_obj
def quantize_dynamic(
    output: Output,
    /,
    model: str,
    target_device: str,
    performance_mode: str,
    memory: int | None,
    accuracy_threshold: float | None,
    data: str | None,
    metric: str | None,
    allow_slower: bool,
    name: str | None,
) -> None:
    """Quantize a model without calibration, as measuring on this machine decides.

    Candidates have 8 bits or 4, and differ in which layers stay in float. Each is judged on validation data and timed;
    of those that keep enough accuracy and fit into the memory, the mode picks one, and held-out data must show that it
    keeps it.
    """
    from claude_flow.compress import dynamic

    path = registry.model_path(model)
    with output.share("quantize") as shown, _refusals(output):
        report = dynamic.dynamic(
            path,
            name or f"{_base(path)}-dynamic",
            device=target_device,
            mode=performance_mode,
            memory=memory,
            data=data,
            threshold=accuracy_threshold,
            measure=metric,
            allow_slower=allow_slower,
            progress=shown,
            say=output.note,
        )
    output.result(report, _tables(report))


@group.command(
    "prune",
    examples=[
        """\
claude-flow neural optimize prune \\
  --model "coordination-v3" \\
  --pruning-ratio 0.3 \\
  --importance-metric "gradient-magnitude" \\
  --fine-tune-epochs 20 \\
  --preserve-accuracy 0.98""",
        "claude-flow neural optimize prune --model optimization-v2 --importance-metric taylor --time-budget 5m",
    ],
)
@options.model("The float model to prune.")
@click.option(
    "--pruning-ratio",
    type=params.Number(),
    default=0.3,
    show_default=True,
    help="Share of every group of units to leave out.",
)
@click.option(
    "--importance-metric",
    type=click.Choice(["magnitude", "gradient-magnitude", "taylor", "hessian"]),
    default="gradient-magnitude",
    show_default=True,
    help="What a weight counts: its square, its gradient's size, both multiplied, or squares of both.",
)
@click.option(
    "--fine-tune-epochs", type=click.IntRange(0), default=20, show_default=True, help="Of training afterwards."
)
@click.option(
    "--preserve-accuracy",
    type=params.Number(),
    default=0.98,
    show_default=True,
    help="Share of the parent's metric that must be kept, shown at 95 % confidence.",
)
@options.data("What to fine-tune and judge on.", without=_DATA)
@_metric()
@_allow_slower()
@options.seed("Of fine-tuning.")
@options.time_budget("End fine-tuning at its best epoch after this time.")
@options.output("new model", without="MODEL-pruned")
@click.pass_obj
def prune(
    output: Output,
    /,
    model: str,
    pruning_ratio: float,
    importance_metric: str,
    fine_tune_epochs: int,
    preserve_accuracy: float,
    data: str | None,
    metric: str | None,
    allow_slower: bool,
    seed: int,
    time_budget: float | None,
    name: str | None,
) -> None:
    """Leave out the least important heads, units and columns of a model, and fine-tune what is left.

    Whole structures go, so the model becomes smaller and faster on every host. The unpruned model teaches while
    fine-tuning. The same guarantee as for quantize holds.
    """
    path = registry.model_path(model)
    with output.share("prune") as shown, _refusals(output):
        from claude_flow.compress import prune as compress

        report = compress.prune(
            path,
            name or f"{_base(path)}-pruned",
            ratio=pruning_ratio,
            metric=importance_metric,
            epochs=fine_tune_epochs,
            threshold=preserve_accuracy,
            data=data,
            measure=metric,
            allow_slower=allow_slower,
            seed=seed,
            time_budget=time_budget,
            progress=shown,
            say=output.note,
        )
    output.result(report, _tables(report))


@group.command(
    "distill",
    examples=[
        """\
claude-flow neural optimize distill \\
  --teacher-model "coordination-v3-large" \\
  --student-architecture "coordination-v3-small" \\
  --temperature 3.0 \\
  --alpha 0.7 \\
  --distillation-epochs 50""",
        "claude-flow neural optimize distill --teacher-model optimization-v2 --student-architecture half",
        "claude-flow neural optimize distill --teacher-model prediction-v2 --student-architecture '{\"width\": 32}'",
    ],
)
@click.option(
    "--teacher-model",
    "teacher",
    metavar="MODEL",
    required=True,
    help="Who teaches. If only a configuration has this name, a model of it is trained first.",
)
@click.option(
    "--student-architecture",
    "architecture",
    metavar="NAME|JSON",
    default="half",
    show_default=True,
    help="half or quarter of the teacher's cost, a configuration's name, or sizes such as {\"width\": 64}.",
)
@click.option("--temperature", type=params.Number(), default=3.0, show_default=True, help="Of both answers compared.")
@click.option("--alpha", type=params.SHARE, default=0.7, show_default=True, help="The teacher's share of the loss.")
@click.option("--distillation-epochs", type=click.IntRange(1), default=50, show_default=True, help="Of training.")
@click.option(
    "--preserve-accuracy",
    type=params.Number(),
    show_default="not asked, only told",
    help="Share of the teacher's metric that must be kept, shown at 95 % confidence.",
)
@options.data("What to train and judge on.", without=_DATA)
@_metric()
@_allow_slower()
@options.seed("Of training.")
@options.time_budget("End at the best epoch so far after this time.")
@options.output("new model", without="the architecture's name, or TEACHER-half and the like")
@click.pass_obj
def distill(
    output: Output,
    /,
    teacher: str,
    architecture: str,
    temperature: float,
    alpha: float,
    distillation_epochs: int,
    preserve_accuracy: float | None,
    data: str | None,
    metric: str | None,
    allow_slower: bool,
    seed: int,
    time_budget: float | None,
    name: str | None,
) -> None:
    """Train a smaller student on a teacher's answers and on the labels.

    The loss is ALPHA times the divergence from the teacher's answers, both softened by the temperature, and 1 - ALPHA
    times the network's own. The report says what share of the teacher's metrics the student keeps, and how much faster
    it is.
    """
    with output.share("distill") as shown, _refusals(output):
        from claude_flow.compress import distill as compress

        report = compress.distill(
            teacher,
            architecture,
            name,
            temperature=temperature,
            alpha=alpha,
            epochs=distillation_epochs,
            threshold=preserve_accuracy,
            data=data,
            measure=metric,
            allow_slower=allow_slower,
            seed=seed,
            time_budget=time_budget,
            progress=shown,
            say=output.note,
        )
    output.result(report, _tables(report))


@group.command(
    "compare",
    examples=[
        "claude-flow neural optimize compare --model coordination-v3",
        "claude-flow neural optimize compare --model coordination-v3 --chart versions.svg --format json",
    ],
)
@options.model("The model whose versions, and all that was made of them, are compared.")
@options.data("What to judge on.", without=_DATA)
@_metric()
@options.duration("2s", "How long to time them, by turns.")
@options.chart()
@click.pass_obj
def compare(
    output: Output, /, model: str, data: str | None, metric: str | None, duration: float, chart: Path | None
) -> None:
    """Compare all versions of a model: accuracy against latency.

    All are judged on the same held-out data and timed in one run on this machine. Those on the Pareto front are beaten
    by no other in both.
    """
    from claude_flow.compress import compare as compress
    from claude_flow.report import charts

    charts.check(chart)
    with output.share("compare") as shown:
        answer = compress.compare(
            model,
            data=data,
            measure=metric,
            seconds=duration,
            progress=shown,
            say=output.note,
        )
    keys = ("model", "method", "precision", "bytes", "value", "kept", "low", "milliseconds", "speedup", "pareto")
    names = [
        "model",
        "method",
        "precision",
        "bytes",
        answer["measure"],
        "kept",
        "at least (95 %)",
        "ms",
        "times as fast",
    ]
    rows = [[row[key] for key in keys] for row in answer["versions"]]
    table: Table = (f"Versions of {answer['model']} on {answer['data']}", [*names, "front"], rows)
    if chart is not None:
        charts.write(chart, f"Versions of {answer['model']}", [compress.plot(answer)], [table])
        output.note(f"{chart} is written")
    output.result(answer, [table])


def _tables(report: dict[str, Any]) -> list[Table]:
    evidence = report["evidence"]
    rows = [[c["measure"], c["before"], c["after"], c["ratio"], c["low"]] for c in evidence["comparisons"]]
    title = f"{report.get('model', 'refused')} beside {report['parent']}, on {evidence['data']}"
    tables: list[Table] = [(title, ["metric", "before", "after", "kept", "at least (95 %)"], rows)]
    facts: list[list[Any]] = []
    if evidence["threshold"] is not None:
        facts.append(["threshold", f"{evidence['threshold']:g} of {evidence['measure']}: {evidence['verdict']}"])
    facts.append(["judged on", f"{evidence['rows']} rows in {evidence['groups']} groups"])
    if evidence["needed"]:
        facts.append(["groups needed", evidence["needed"]])
    if evidence["agreement"] is not None:
        facts.append(["same choices", f"{evidence['agreement']:.2%}"])
    size = report["size"]
    facts.append(["file, kB", f"{size['bytes']['before'] / 1e3:.0f} -> {size['bytes']['after'] / 1e3:.0f}"])
    facts.append(["weights", f"{size['weights']['before']} -> {size['weights']['after']}"])
    for host, lap in report.get("latency", {}).items():
        said = (
            lap
            if isinstance(lap, str)
            else (
                f"{lap['before_ms']:.3g} -> {lap['after_ms']:.3g} ms, {lap['speedup']:.2f} times as fast "
                f"({lap['low']:.2f} to {lap['high']:.2f})"
            )
        )
        facts.append([f"latency, {host}", said])
    for key, value in report["method"].items():
        if isinstance(value, (str, int, float)) or (key in ("float_layers", "8_bit_layers") and value):
            facts.append([key.replace("_", " "), value])
    if "groups" in report["method"]:
        groups = report["method"]["groups"].items()
        facts += [[name, f"{group['before']} -> {group['after']} {group['kind']}"] for name, group in groups]
    if "path" in report:
        facts.append(["written to", report["path"]])
    if "candidates" in report:
        keys = ("name", "kept", "ratio", "milliseconds", "file_bytes", "memory_bytes")
        columns = ["candidate", "layers in float", "kept on validation", "ms", "file, bytes", "memory, bytes"]
        candidates = [[one[key] for key in keys] for one in report["candidates"]]
        tables.append(("Candidates", columns, candidates))
    tables.append(("Facts", ["what", "value"], facts))
    return tables
