"""``claude-flow neural test``: are the parts right, do the models work together, is a new one worse than the old?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from claude_flow import networks, registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table

__all__ = ["group"]

group = Group("test", help="Test the engine's parts, models together, and a new model against the old one.")

_junit = click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write JUnit XML for CI to this file too."
)
_SHORT = 60.0  # a time budget below this, in seconds, takes the smaller suite


@group.command(
    "unit",
    examples=[
        """\
claude-flow neural test unit \\
  --component "attention-mechanism" \\
  --test-cases "standard-attention-tests" \\
  --numerical-precision 1e-6 \\
  --gradient-checking true""",
        "claude-flow neural test unit --gradient-checking true --junit unit.xml",
        "claude-flow neural test unit --component linear --model coordination-v3",
    ],
)
@click.option(
    "--component",
    default="all",
    show_default=True,
    help="An op or a network: attention-mechanism, lstm, linear, coordination-network … (docs/testing.md), or all.",
)
@click.option("--test-cases", show_default="the component's own", help="Its list of cases: standard-attention-tests …")
@click.option(
    "--numerical-precision",
    "precision",
    type=params.Number(0, 1),
    default="1e-6",
    show_default=True,
    help="The largest error allowed, by the scale of the sum that it is the error of.",
)
@params.switch("--gradient-checking", help="Check the gradients of torch's side against differences, too.")
@options.model("Test the ops of this model with its own weights, too.", without="none")
@options.seed("Of the cases' random numbers.")
@_junit
@click.pass_obj
def unit(
    output: Output,
    component: str,
    test_cases: str | None,
    precision: float,
    gradient_checking: bool,
    model: str | None,
    seed: int,
    junit: Path | None,
) -> None:
    """Test ops and networks on every instruction set.

    Each case runs natively and as WebAssembly, on every instruction set of this machine, beside a float64 reference.
    Ends with 1 if a test fails.
    """
    from claude_flow.evaluate import components

    chosen = components.check(component, test_cases)
    if model is not None:
        from claude_flow.model import load

        chosen = [*chosen, components.of_model(load(model, backend="native"))]
    with output.share("test") as shown:
        answer = components.unit(chosen, precision, gradient_checking, seed=seed, progress=shown)
    if junit is not None:
        _write_unit(junit, answer)
        output.note(f"{junit} is written")
    output.result(answer, _unit_tables(answer))
    _end(answer)


def _unit_tables(answer: dict[str, Any]) -> list[Table]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in answer["cases"]:
        found.setdefault((row["component"], row["case"]), []).append(row)
    gradients = {row["component"]: row["passed"] for row in answer["gradients"]}
    rows = []
    for (component, case), runs in found.items():
        errors = [run["error"] for run in runs if run["error"] is not None]
        failed = [f"{run['engine']} {run['isa']}" for run in runs if not run["passed"]]
        verdict = f"failed on {', '.join(failed)}" if failed else "passed"
        rows.append([component, case, len(runs), max(errors, default=None), runs[0]["limit"], verdict])
    tables: list[Table] = [
        (
            f"{len(answer['cases'])} runs, {answer['failed']} failed",
            ["component", "case", "engines", "worst error", "limit", "verdict"],
            rows,
        )
    ]
    if gradients:
        told = [[name, "passed" if passed else "failed"] for name, passed in gradients.items()]
        tables.append(("Gradients against differences, float64", ["component", "verdict"], told))
    where = [[engine, "tested"] for engine in answer["engines"]]
    where += [reason.split(": ", 1) for reason in answer["skipped"]]
    tables.append(("Engines", ["engine", ""], where))
    return tables


def _write_unit(path: Path, answer: dict[str, Any]) -> None:
    from claude_flow.evaluate.junit import Test, write

    tests = []
    for row in answer["cases"]:
        off = "the bits differ between engines" if row.get("same_bits") is False else "the output is not finite"
        if row["error"] is not None and row["error"] > row["limit"]:
            off = f"the error {row['error']:.3g} is above {row['limit']:.3g}"
        name = f"{row['case']} on {row['engine']} {row['isa']}"
        tests.append(Test(row["component"], name, "" if row["passed"] else off))
    tests += [
        Test(row["component"], "gradients", "" if row["passed"] else "differ from differences")
        for row in answer["gradients"]
    ]
    tests += [Test("engines", reason.partition(":")[0], skipped=reason) for reason in answer["skipped"]]
    write(path, "unit", tests)


@group.command(
    "integration",
    examples=[
        """\
claude-flow neural test integration \\
  --models '["coordination","optimization"]' \\
  --test-scenarios "end-to-end-coordination" \\
  --performance-benchmarks true""",
        "claude-flow neural test integration --models coordination-v3,prediction-v2 --junit integration.xml",
    ],
)
@click.option(
    "--models",
    type=params.NAMES,
    show_default="all networks",
    help="Names of models, or of networks: then the workspace's newest, else the built-in one.",
)
@click.option(
    "--test-scenarios", "scenarios", default="end-to-end-coordination", show_default=True, help="What they go through."
)
@params.switch("--performance-benchmarks", help="Time the answers, too.")
@_junit
@click.pass_obj
def integration(
    output: Output, models: list[str] | None, scenarios: str, performance_benchmarks: bool, junit: Path | None
) -> None:
    """Test that models work as a program uses them, together.

    Each answers its network's example: on every backend, again, from a copy, from threads at once; then all in turn.
    Ends with 1 if a check fails.
    """
    from claude_flow.evaluate import integration as tests

    tests.check(scenarios)
    parts = [_part(name) for name in dict.fromkeys(models or networks.NETWORKS)]
    with output.share("integration test") as shown:
        answer = tests.integration(parts, performance_benchmarks, progress=shown)
    if junit is not None:
        from claude_flow.evaluate.junit import Test, write

        rows = answer["checks"]
        write(junit, "integration", [Test(r["model"], r["check"], r["why"], seconds=r["seconds"]) for r in rows])
        output.note(f"{junit} is written")
    checks = [[r["model"], r["check"], "passed" if r["passed"] else f"failed: {r['why']}"] for r in answer["checks"]]
    tables: list[Table] = [(f"{len(checks)} checks, {answer['failed']} failed", ["model", "check", "verdict"], checks)]
    if performance_benchmarks:
        rows = [[r["model"], r["p50_ms"], r["p95_ms"]] for r in answer["latencies"]]
        tables.append(("Milliseconds of an answer", ["model", "p50", "p95"], rows))
    output.result(answer, tables)
    _end(answer)


def _part(name: str) -> Any:
    """The model that ``name`` means, with its network's first example as the command line reads it."""
    from claude_flow import modelfile
    from claude_flow.cli.infer import group as infer
    from claude_flow.cli.infer import split
    from claude_flow.evaluate.integration import Part

    path = registry.newest_model(name) if name in networks.NETWORKS else registry.model_path(name)
    row = networks.get(modelfile.read(path).network)
    words = shlex.split(row.answer.EXAMPLES[0].replace("\\\n", " "))[4:]  # after claude-flow neural infer NETWORK
    command = infer.get_command(click.Context(infer), row.name)
    assert command is not None
    given = command.make_context(row.name, words, obj=Output()).params
    return Part(row, path, *split(row, given))


@group.command(
    "regression",
    examples=[
        """\
claude-flow neural test regression \\
  --baseline-model "coordination-v2" \\
  --candidate-model "coordination-v3" \\
  --test-dataset "regression-test-suite" \\
  --significance-threshold 0.05 \\
  --performance-regression-threshold 0.02""",
        "claude-flow neural test regression --baseline-model a/1.0.0 --candidate-model a/1.1.0 --junit regression.xml",
    ],
)
@click.option("--baseline-model", metavar="MODEL", required=True, help="The model in use.")
@click.option("--candidate-model", metavar="MODEL", required=True, help="The model that would replace it.")
@click.option(
    "--test-dataset",
    metavar="DATASET",
    default="regression-test-suite",
    show_default=True,
    help="What both answer: regression-test-suite is the network's own test part with the simulated suite.",
)
@click.option(
    "--significance-threshold",
    "alpha",
    type=params.Number(1e-6, 0.5),
    default="0.05",
    show_default=True,
    help="The chance of a false alarm over all measures of quality, and of speed.",
)
@click.option(
    "--performance-regression-threshold",
    "margin",
    type=params.Number(0, 10),
    default="0.02",
    show_default=True,
    help="How much slower or larger it may be: 0.02 is 2 %.",
)
@options.metrics("all of the network's that are means over rows")
@options.duration("5s", "How long the two models race.")
@options.time_budget("Below a minute the simulated suite is made smaller.")
@_junit
@click.pass_obj
def regression(
    output: Output,
    baseline_model: str,
    candidate_model: str,
    test_dataset: str,
    alpha: float,
    margin: float,
    metrics: list[str] | None,
    duration: float,
    time_budget: float | None,
    junit: Path | None,
) -> None:
    """Test whether a model is worse than the one it would replace.

    Both answer the same held-out requests: a paired test per measure, corrected over all of them. They race by turns
    for speed. What this much data could have shown is said beside each verdict. Ends with 1 if something got worse.
    """
    baseline, candidate = registry.model_path(baseline_model), registry.model_path(candidate_model)
    from claude_flow.studies.regression import SIMULATED
    from claude_flow.studies.regression import regression as compare

    quick = time_budget is not None and time_budget < _SHORT
    if quick and test_dataset in SIMULATED:
        output.note(f"a time budget of {time_budget:g} s: the simulated suite is made smaller")
    with output.share("regression test") as shown:
        answer = compare(
            baseline,
            candidate,
            test_dataset,
            alpha=alpha,
            margin=margin,
            measures=metrics,
            seconds=duration,
            quick=quick,
            progress=shown,
        )
    if junit is not None:
        _write_regression(junit, answer)
        output.note(f"{junit} is written")
    output.result(answer, _regression_tables(answer))
    _end(answer)


def _regression_tables(answer: dict[str, Any]) -> list[Table]:
    names = ["measure", "baseline", "candidate", "gain", "units", "p_holm", "detectable", "verdict"]
    tables: list[Table] = [
        (
            f"{answer['candidate']} against {answer['baseline']} on {data}: paired by unit",
            [name.replace("p_holm", "p (Holm)") for name in names],
            [[row[name] for name in names] for row in answer["quality"] if row["data"] == data],
        )
        for data in dict.fromkeys(row["data"] for row in answer["quality"])
    ]
    rows = [
        [c["measure"], c["baseline"], c["candidate"], c["ratio"], c.get("p"), c.get("detectable"), c["verdict"]]
        for c in answer["costs"]
    ]
    columns = ["cost", "baseline", "candidate", "candidate / baseline", "p", "detectable slow-down", "verdict"]
    tables.append(("Milliseconds of a decision, MiB", columns, rows))
    regressions = ", ".join(answer["regressions"])
    tables.append(("Verdict", ["", ""], [["regression" if regressions else "no regression shown", regressions]]))
    return tables


def _write_regression(path: Path, answer: dict[str, Any]) -> None:
    from claude_flow.evaluate.junit import Test, write

    tests = []
    for row in answer["quality"]:
        lost = f"{row['baseline']:.4g} became {row['candidate']:.4g} (p {row['p_holm']:.2g} after Holm)"
        tests.append(Test(row["data"], row["measure"], lost if row["verdict"] == "worse" else ""))
    for cost in answer["costs"]:
        grown = f"{cost['baseline']:.4g} became {cost['candidate']:.4g}"
        tests.append(Test("costs", cost["measure"], grown if cost["verdict"] == "worse" else ""))
    write(path, "regression", tests)


def _end(answer: dict[str, Any]) -> None:
    """Exit code 1 for a test that failed."""
    if not answer["passed"]:
        raise click.exceptions.Exit(1)
