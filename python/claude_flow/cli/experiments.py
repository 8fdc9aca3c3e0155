"""``claude-flow neural experiments``: keep the parameters, measures and files of every run, and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from claude_flow import files, schema
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.curve import sparkline
from claude_flow.cli.output import Output, Table
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.values import json_argument

__all__ = ["group"]

group = Group("experiments", help="Keep what every run was given and what came out, and compare.")


@group.command(
    "setup",
    examples=[
        """\
claude-flow neural experiments setup \\
  --tracking-backend "mlflow" \\
  --metrics-logging "comprehensive" \\
  --artifact-storage "s3" \\
  --collaboration-features true""",
        "claude-flow neural experiments setup --tracking-uri http://mlflow.example:5000 --artifact-storage local",
        "claude-flow neural experiments setup --tracking-uri local",
    ],
)
@click.option(
    "--tracking-backend", type=click.Choice(["mlflow"]), default="mlflow", show_default=True, help="Who keeps the runs."
)
@click.option(
    "--tracking-uri",
    metavar="URI",
    envvar="MLFLOW_TRACKING_URI",
    show_envvar=True,
    show_default="a SQLite file in the workspace",
    help="A server, a database, or local: a server on this machine that is started over the workspace's runs.",
)
@click.option(
    "--metrics-logging",
    type=click.Choice(["basic", "comprehensive"]),
    default="comprehensive",
    show_default=True,
    help="basic: numbers of the result; comprehensive: every epoch and the model's card as well.",
)
@click.option(
    "--artifact-storage",
    type=click.Choice(["local", "s3"]),
    default="local",
    show_default=True,
    help="Where files of runs go.",
)
@click.option(
    "--artifact-uri",
    metavar="ADDRESS",
    show_default="$CLAUDE_FLOW_ARTIFACT_URI, else the workspace",
    help="A folder, or s3://BUCKET/PREFIX.",
)
@params.switch("--collaboration-features", help="Say in every run who made it and where, for a store that many share.")
@click.pass_obj
def setup(
    output: Output,
    tracking_backend: str,
    tracking_uri: str | None,
    metrics_logging: str,
    artifact_storage: str,
    artifact_uri: str | None,
    collaboration_features: bool,
) -> None:
    """Choose where runs are kept, and check it by writing, reading and deleting a probe.

    From then on every run of train, transfer, optimize, nas and validate in this workspace is kept. What cannot be
    delivered waits in the workspace, and the next run or `experiments list` delivers it.
    """
    from claude_flow.watch import tracking

    with output.progress("reaching the store"):
        found = tracking.set_up(
            tracking_uri=tracking_uri,
            metrics_logging=metrics_logging,
            storage=artifact_storage,
            artifact_uri=artifact_uri,
            collaboration=collaboration_features,
        )
    artifacts = found["artifacts"]
    own = "sqlite" in found["tracking_uri"]
    share = "claude-flow neural experiments server start" if collaboration_features and own else None
    answer = {**found, "share": None if found["server"] else share}
    rows = [
        ["runs", found["tracking_uri"]],
        ["metrics", metrics_logging],
        ["files", artifacts["uri"]],
        ["probe", ", ".join(f"{step} {ms:g} ms" for step, ms in artifacts["probe"].items())],
        *([["server", found["server"]["address"]]] if found["server"] else []),
        *([["to show them", answer["share"]]] if answer["share"] else []),
    ]
    output.result(answer, [("Experiments", ["", ""], rows)])
    if artifacts["waiting_for"]:
        output.warn(f"no S3 address is given, so files stay in the workspace: set {artifacts['waiting_for']}")


@group.command(
    "server",
    examples=[
        "claude-flow neural experiments server start",
        "claude-flow neural experiments server stop",
    ],
)
@click.argument("action", type=click.Choice(["start", "stop", "status"]), default="status")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default="any that is free", help="Where.")
@click.pass_obj
def server_(output: Output, action: str, port: int) -> None:
    """Start or stop MLflow's server over the runs of this workspace, or say where it is.

    It listens on this machine alone and runs on when the command has ended.
    """
    from claude_flow.watch import server, tracking

    with output.progress(f"{action}: the server"):
        if action == "start":
            settings = tracking.settings() or tracking.own_settings()
            store = str(settings["tracking_uri"])
            if "://" in store and not store.startswith("sqlite:"):
                raise InputError(f"runs go to {store}: that is the server")
            tracking.client(settings)  # which makes the database
            found: dict[str, Any] | None = server.start(store, settings["artifacts"]["uri"], port)
        else:
            found = server.stop() if action == "stop" else server.running()
    state = "none runs" if found is None else {"stop": "stopped"}.get(action, "it answers")
    answer = {"server": found, "running": found is not None and action != "stop", "state": state}
    output.result(answer, [("MLflow's server", ["", ""], [["address", found and found["address"]], ["state", state]])])


def _object(option: str, text: str | None) -> dict[str, Any]:
    """The JSON object that an option names or spells out."""
    found: dict[str, Any] = (
        {} if text is None else schema.check(json_argument(text), schema.Record({}, free=True), option)
    )
    return found


@group.command(
    "log",
    examples=[
        """\
claude-flow neural experiments log \\
  --experiment-name "coordination-optimization-v4" \\
  --parameters "training-config.json" \\
  --metrics "training-results.json" \\
  --artifacts "model-checkpoints/" \\
  --tags '["coordination","optimization","v4"]'"""
    ],
)
@click.option("--experiment-name", required=True, metavar="NAME", help="The experiment; made if need be.")
@click.option("--parameters", metavar="FILE", help="What the run was given: a file of JSON.")
@click.option("--metrics", metavar="FILE", help="What came out: a file of JSON; its numbers by their paths.")
@click.option("--artifacts", type=click.Path(path_type=Path), help="A file or a folder to keep.")
@click.option("--tags", type=params.NAMES, show_default="none", help="Words to find it by.")
@click.option("--run-name", default="", metavar="NAME", help="What the run is called.", show_default="a random one")
@click.pass_obj
def log(
    output: Output,
    experiment_name: str,
    parameters: str | None,
    metrics: str | None,
    artifacts: Path | None,
    tags: tuple[str, ...] | None,
    run_name: str,
) -> None:
    """Keep a run that was made by hand or elsewhere."""
    from claude_flow.watch import tracking

    if artifacts is not None and not artifacts.exists():
        raise InputError(f"--artifacts: there is no {artifacts}")
    given = tracking.flat(_object("--parameters", parameters))
    numbers = tracking.numbers(_object("--metrics", metrics))
    if metrics is not None and not numbers:
        raise InputError("--metrics holds no number")
    path = tracking.keep(
        experiment_name,
        parameters=given,
        metrics=numbers,
        name=run_name,
        artifacts=[artifacts] if artifacts else [],
        tags=dict.fromkeys(tags or (), "true"),
    )
    with output.progress("delivering"):
        runs = _delivered(output)
    own = next((run for run in runs if path.stem.endswith(run["id"])), None)
    answer = {
        "experiment": experiment_name,
        "run": own and own["run"],
        "name": own and own["name"],
        "delivered": own is not None,
        "parameters": len(given),
        "metrics": len(numbers),
        "artifacts": artifacts,
        "tags": list(tags or ()),
    }
    output.result(answer, [(f"{experiment_name}", ["", ""], [[k, v] for k, v in answer.items()][1:])])


def _delivered(output: Output) -> list[dict[str, Any]]:
    from claude_flow.watch import tracking

    try:
        return tracking.deliver()
    except ClaudeFlowError as error:
        waiting = len(tracking.pending())
        output.warn(f"{error}; {waiting} {'run waits' if waiting == 1 else 'runs wait'} in the workspace")
        return []


@group.command(
    "list",
    examples=["claude-flow neural experiments list", "claude-flow neural experiments list --experiment-name train"],
)
@click.option("--experiment-name", metavar="NAME", show_default="all", help="One experiment's runs.")
@click.option("--most", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many, newest first.")
@click.pass_obj
def list_(output: Output, experiment_name: str | None, most: int) -> None:
    """List the runs that are kept, newest first."""
    from claude_flow.watch import tracking

    with output.progress("reading"):
        _delivered(output)
        runs = tracking.runs(tracking.settings() or tracking.own_settings(), experiment_name, most)
    rows = [[r["time"], r["experiment"], r["name"], r["status"].lower(), len(r["metrics"]), r["run"][:8]] for r in runs]
    names = ["time", "experiment", "name", "status", "metrics", "run"]
    output.result({"runs": runs, "waiting": len(tracking.pending())}, [(f"{len(runs)} runs", names, rows)])


@group.command(
    "compare",
    examples=[
        "claude-flow neural experiments compare --experiment-name train-coordination",
        "claude-flow neural experiments compare --runs 1f3a,77b0 --metrics loss --html compared.html",
    ],
)
@click.option("--experiment-name", metavar="NAME", show_default="all", help="Runs of one experiment.")
@click.option("--runs", "chosen", type=params.NAMES, show_default="the two newest", help="Beginnings of runs' ids.")
@click.option("--metrics", type=params.NAMES, show_default="all", help="Metrics, or beginnings of their names.")
@options.html()
@click.pass_obj
def compare(
    output: Output,
    experiment_name: str | None,
    chosen: tuple[str, ...] | None,
    metrics: tuple[str, ...] | None,
    html: Path | None,
) -> None:
    """Show what runs were given that differs, and what came out."""
    from claude_flow.watch import tracking

    with output.progress("reading"):
        _delivered(output)
        settings = tracking.settings() or tracking.own_settings()
        runs = tracking.runs(settings, experiment_name, 1000)
        if chosen:
            picked = []
            for begin in chosen:
                same = [run for run in runs if run["run"].startswith(begin)]
                if len(same) != 1:
                    raise InputError(f"{len(same)} runs have ids that begin with {begin!r}: see experiments list")
                picked += same
        else:
            picked = runs[:2]
        if len(picked) < 2:
            raise InputError(f"a comparison takes two runs, there {'is' if len(picked) == 1 else 'are'} {len(picked)}")
        names = sorted({name for run in picked for name in run["metrics"]})
        if metrics is not None:
            names = [name for name in names if name.startswith(metrics)]
            if not names:
                raise InputError(f"no metric of these runs begins with {' or '.join(metrics)}")
        values = {name: [run["metrics"].get(name) for run in picked] for name in names}
        courses = {name: [tracking.history(settings, run["run"], name) for run in picked] for name in names[:20]}
    given = {
        name: [run["parameters"].get(name) for run in picked]
        for name in sorted({name for run in picked for name in run["parameters"]})
    }
    differ = {name: row for name, row in given.items() if len(set(row)) > 1}
    heads = [run["run"][:8] for run in picked]
    shown = [
        [name, *row, "  ".join(sparkline(course) for course in courses.get(name, []) if len(course) > 1)]
        for name, row in values.items()
    ]
    about = [[head, run["experiment"], run["name"], run["time"]] for head, run in zip(heads, picked, strict=True)]
    tables: list[Table] = [("Runs", ["run", "experiment", "name", "time"], about)]
    if differ:
        tables.append(("Given", ["parameter", *heads], [[name, *row] for name, row in differ.items()]))
    tables.append(("Came out", ["metric", *heads, "course"], shown))
    answer = {"runs": picked, "differ": differ, "metrics": values, "courses": courses}
    if html:
        from claude_flow.watch import page

        files.atomic_write(html, page.runs(answer))
    output.result(answer, tables)
