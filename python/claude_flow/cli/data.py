"""``claude-flow neural data``: logs to tables, tables to the tensors that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from claude_flow import files, registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table

__all__ = ["group"]

group = Group(
    "data",
    help="Collect a swarm's logs and prepare them for training.",
    members={
        "functions": (
            "claude_flow.cli.multimodal:functions",
            "Make a dataset of functions: docstring, code, call graph.",
        )
    },
)

SWARM_LOGS = "swarm-logs"
SIMULATOR = "simulator"
_SIMULATED_SWARMS = 20_000
_HISTORY = 127  # records before the open one: the prediction network's whole sequence
_SHOWN_LINES = 10
_SHOWN_COLUMNS = 10

_COLLECT_EXAMPLE = """\
claude-flow neural data collect \\
  --source "swarm-logs" \\
  --timeframe "30d" \\
  --quality-filter "high" \\
  --anonymize-sensitive true"""
_VALIDATE_EXAMPLE = """\
claude-flow neural data validate \\
  --dataset "swarm-training-data" \\
  --completeness-check \\
  --consistency-check \\
  --anomaly-detection"""
_PREPROCESS_EXAMPLE = """\
claude-flow neural data preprocess \\
  --dataset "swarm-training-data" \\
  --normalization "z-score" \\
  --feature-extraction "automated" \\
  --sequence-alignment true \\
  --output-format "optimized-tensors\""""


@group.command(
    "collect",
    examples=[_COLLECT_EXAMPLE, "claude-flow neural data collect --source ~/.claude/projects --source events.jsonl"],
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    default=(SWARM_LOGS,),
    show_default=True,
    metavar="PATH",
    help="A log file or folder, or swarm-logs: Claude Code's transcripts and the workspace's events. Repeatable.",
)
@click.option(
    "--timeframe",
    default="all",
    show_default=True,
    metavar="TIME",
    help="Runs that start within this time before now (30d), in a range (2026-01-01..2026-02-01), or all.",
)
@click.option(
    "--quality-filter",
    type=click.Choice(["none", "low", "medium", "high"]),
    default="medium",
    show_default=True,
    help="How much must be known of a run; the report counts what each rule leaves out.",
)
@params.switch(
    "--main-thread",
    None,
    "Also the runs of sessions themselves, one per request of their users; not named: where no subagent ran.",
)
@params.switch("--anonymize-sensitive", help="Replace secrets, e-mails, user names and addresses by pseudonyms.")
@click.option(
    "--names-model",
    metavar="MODEL",
    help="Also find people's names in prose, by Presidio with this spaCy model (en_core_web_sm, or a folder).",
)
@click.option(
    "--bad-line-share",
    type=params.SHARE,
    default=0.01,
    show_default=True,
    help="Refuse a source when more of its lines than this cannot be used.",
)
@options.output("dataset", default="swarm-training-data")
@click.pass_obj
def collect(
    output: Output,
    sources: tuple[str, ...],
    timeframe: str,
    quality_filter: str,
    main_thread: bool | None,
    anonymize_sensitive: bool,
    names_model: str | None,
    bad_line_share: float,
    name: str,
) -> None:
    """Read logs into a dataset of tables.

    Understands Claude Code's transcripts, stream-json and OpenTelemetry, SWE-bench Pro agent runs, Standard Workload
    Format logs, ASlib scenarios and the events of docs/events.md, plain or gzip, and tells them apart by itself, file
    by file. Lines and files that cannot be used are counted and reported with the reason. A dataset of the same name
    is replaced, at the very end.
    """
    from claude_flow.data import collect as collecting

    folder = registry.workspace() / "datasets" / name
    paths: list[str | Path] = []
    for source in sources:
        is_alias = source == SWARM_LOGS and not Path(source).exists()
        paths += collecting.swarm_logs(registry.workspace()) if is_alias else [source]
    with output.share("reading") as shown:
        manifest = collecting.collect(
            paths,
            folder,
            timeframe=timeframe,
            quality_filter=quality_filter,
            main_thread=main_thread,
            anonymize=anonymize_sensitive,
            names_model=names_model,
            bad_line_share=bad_line_share,
            progress=shown,
        )
    if manifest["rejected_total"]:
        output.warn(f"{manifest['rejected_total']} of {manifest['lines_total']} lines could not be used")
    first, last = (at[:10] if at else None for at in manifest["time_range"])
    output.note(f"{folder} is written" + (f", runs of {first} to {last}" if first else ""))
    output.result({**manifest, "path": str(folder)}, _report(manifest))


@group.command(
    "validate", examples=[_VALIDATE_EXAMPLE, "claude-flow neural data validate --dataset my-runs --report quality.html"]
)
@options.dataset("What `data collect` made.")
@params.switch("--completeness-check", None, "What is unknown, constant, of one class only, or too little.")
@params.switch("--consistency-check", None, "Duplicates, impossible times and numbers, orphans, label leakage.")
@params.switch("--anomaly-detection", None, "Drift to newer runs, and runs unlike the others (isolation forest).")
@options.seed("Of --anomaly-detection.")
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Your own rules for the runs, as a pandera schema in YAML or JSON; each one that is broken is an error.",
)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write an HTML page with plots, too.")
@click.pass_obj
def validate(
    output: Output,
    dataset: str,
    completeness_check: bool | None,
    consistency_check: bool | None,
    anomaly_detection: bool | None,
    seed: int,
    rules: Path | None,
    report: Path | None,
) -> None:
    """Check whether a dataset of tables is fit to learn from.

    Reports errors, warnings and things to know, with counts and the ids of some runs; the exit code is 1 when there
    are errors. All checks run when none is named; columns and types are checked in any case. Anomaly detection and
    --rules need pip install 'claude-flow[validate]'.
    """
    from claude_flow.data import report as reporting
    from claude_flow.data import validate as validating
    from claude_flow.data import views

    named = dict(zip(validating.CHECKS, (completeness_check, consistency_check, anomaly_detection), strict=True))
    checks = tuple(check for check, on in named.items() if on or (on is None and True not in named.values()))
    answer = validating.validate(views.find(dataset).folder, checks, seed=seed, rules=rules)
    if report is not None:
        files.atomic_write(report, reporting.page(answer))
        output.note(f"{report} is written")
    output.result(answer, _verdict(answer))
    if answer["errors"]:
        raise click.exceptions.Exit(1)


@group.command(
    "preprocess",
    examples=[_PREPROCESS_EXAMPLE, "claude-flow neural data preprocess --dataset simulator --simulate 100000"],
)
@options.dataset("What `data collect` made, or simulator: swarms that are simulated on the spot.")
@click.option(
    "--normalization",
    type=click.Choice(["z-score", "robust", "quantile", "log", "none"]),
    default="z-score",
    show_default=True,
    help="Of numeric features; its constants travel in the model file.",
)
@click.option(
    "--feature-extraction",
    type=click.Choice(["automated", "basic"]),
    default="automated",
    show_default=True,
    help="automated: also from the texts of tasks; basic: from types and numbers alone.",
)
@params.switch(
    "--sequence-alignment",
    default=True,
    help="Give each task the runs that had ended before it, in their order; false: the last one only.",
)
@click.option(
    "--output-format",
    type=click.Choice(["optimized-tensors"]),
    default="optimized-tensors",
    show_default=True,
    help="safetensors shards, read in place by training.",
)
@click.option(
    "--simulate",
    type=click.IntRange(1),
    metavar="SWARMS",
    help=f"Add this many simulated swarms. [default: {_SIMULATED_SWARMS} with --dataset simulator, else none]",
)
@click.option("--networks", "only", type=params.NAMES, show_default="all", help="Make the data of these alone.")
@options.seed("Of the simulated swarms.")
@click.pass_obj
def preprocess(
    output: Output,
    dataset: str,
    normalization: str,
    feature_extraction: str,
    sequence_alignment: bool,
    output_format: str,  # there is one so far
    simulate: int | None,
    only: tuple[str, ...] | None,
    seed: int,
) -> None:
    """Turn a dataset of tables into tensors, for each network that it can teach.

    Writes preprocessed-coordination-data, preprocessed-optimization-data and preprocessed-prediction-data, as far as
    the tables support them, and says which are left out and why. The feature schema is stored with the tensors, then
    in the model, so that inference computes the very same features.
    """
    from claude_flow.data import preprocess as preprocessing
    from claude_flow.data import views

    is_simulated = dataset == SIMULATOR and not Path(dataset).exists()
    tables = None if is_simulated else views.find(dataset).folder
    options: dict[str, Any] = {
        "normalization": normalization,
        "feature_extraction": feature_extraction,
        "history": _HISTORY if sequence_alignment else 1,
        "seed": seed,
    }
    if simulate is not None or is_simulated:
        options["simulate"] = simulate or _SIMULATED_SWARMS
    with output.share("preprocessing") as shown:
        result = preprocessing.preprocess(tables, options, shown, only or ())
    for folder in result.kept:
        output.warn(f"{folder} is left as it was: it comes from an earlier preprocessing")
    made, skipped = result.made, result.skipped
    rows = [[name, dataset["dataset"], _bytes(Path(dataset["path"]))] for name, dataset in result.made.items()]
    tables_ = [(f"preprocessed {dataset}", ["network", "dataset", "bytes"], rows)]
    if skipped:
        tables_.append(("left out", ["network", "why"], [[network, why] for network, why in skipped.items()]))
    output.result({"made": made, "skipped": skipped}, tables_)


@group.command("list", examples=["claude-flow neural data list", "claude-flow neural data list --format json"])
@click.pass_obj
def list_(output: Output) -> None:
    """List the models, datasets and views that a command may be given.

    A view is a name for a part of what there is: DATASET stands for one in any command, and DATASET:VIEW for that of a
    given dataset. NETWORK is coordination, optimization or prediction.
    """
    from claude_flow.data.inventory import inventory

    found = inventory()
    models = [
        [row["name"], row["version"], row["network"], "built in" if row["built_in"] else "workspace", row["bytes"]]
        for row in found["models"]
    ]
    datasets = [[row[key] for key in ("name", "kind", "network", "runs", "bytes")] for row in found["datasets"]]
    views = [[row["name"], row["kind"], row["what"], row["missing"]] for row in found["views"]]
    tables: list[Table] = [("Models", ["name", "version", "network", "where", "bytes"], models)]
    if datasets:
        tables.append((f"Datasets of {found['workspace']}", ["name", "kind", "network", "runs", "bytes"], datasets))
    tables.append(("Views", ["name", "of", "what", "empty here, since"], views))
    output.result(found, tables)


def _report(manifest: dict[str, Any]) -> list[Table]:
    """The tables of ``data collect``."""
    filters = manifest["filters"]
    facts: list[list[Any]] = [["runs read", filters["runs_read"]]]
    facts += [[f"outside {filters['timeframe']}", filters["outside_timeframe"]]] if filters["outside_timeframe"] else []
    facts += [["without a time of day", filters["without_time"]]] if filters["without_time"] else []
    facts += [[f"left out: {rule}", count] for rule, count in filters["dropped"].items()]
    facts.append(["runs kept", manifest["tables"].get("runs", {}).get("rows", 0)])
    tables: list[Table] = [
        (
            f"dataset {manifest['name']}",
            ["table", "rows", "columns"],
            [[name, t["rows"], len(t["columns"])] for name, t in manifest["tables"].items()],
        ),
        (
            "sources",
            ["source", "kind", "files", "lines", "rejected"],
            [[s["path"], s["kind"], s["files"], s["lines"], s["rejected"]] for s in manifest["sources"]],
        ),
        (f"runs, quality {filters['quality']}", ["what", "count"], facts),
    ]
    if filters["anonymized"] is not None:
        replaced = [list(item) for item in filters["anonymized"].items()] or [["nothing was found", 0]]
        tables.append(("anonymized", ["what", "replaced"], replaced))
    if manifest["left_out"]:
        why: dict[str, list[str]] = {}
        for found in manifest["left_out"]:
            why.setdefault(found["reason"], []).append(found["file"])
        shown = [[len(files), reason, files[:2]] for reason, files in why.items()]
        tables.append(
            (f"left out: {manifest['left_out_total']} files", ["files", "why", "which"], shown[:_SHOWN_LINES])
        )
    if manifest["notes"]:
        tables.append(("also seen", ["what", "count"], [list(item) for item in manifest["notes"].items()]))
    if manifest["rejected"]:
        shown = manifest["rejected"][:_SHOWN_LINES]
        title = f"lines that could not be used ({len(shown)} of {manifest['rejected_total']}; more in manifest.json)"
        tables.append((title, ["line", "why"], [[f"{r['file']}:{r['line']}", r["reason"]] for r in shown]))
    return tables


def _verdict(answer: dict[str, Any]) -> list[Table]:
    """The tables of ``data validate``."""
    counts = ", ".join(f"{answer[f'{severity}s']} {severity}" for severity in ("error", "warning", "info"))
    rows = [
        [
            found["severity"],
            found["name"],
            f"{found['table']}.{found['column']}" if found["column"] else found["table"],
            f"{found['count']} of {found['of']}",
            found["message"],
            found["examples"][:2],
        ]
        for found in answer["findings"]
    ]
    columns = ["severity", "finding", "where", "count", "what", "examples"]
    tables: list[Table] = [(f"dataset {answer['dataset']}: {counts}", columns, rows)]
    if partial := [c for c in answer["columns"] if c["table"] == "runs" and 0 < c["missing_share"] < 1]:
        shown = [[c["column"], c["known"], c["missing"], f"{c['missing_share']:.1%}"] for c in partial]
        tables.append(("columns known in part of the runs", ["column", "known", "missing", "share"], shown))
    if drift := answer["drift"][:_SHOWN_COLUMNS]:
        shown = [[d["column"], d["measure"], d["distance"], d["p_corrected"]] for d in drift]
        tables.append(("older against newer runs", ["column", "measure", "distance", "p (corrected)"], shown))
    if leakage := answer["leakage"][:_SHOWN_COLUMNS]:
        shown = [[leak["column"], leak["label"], leak["measure"], leak["value"]] for leak in leakage]
        tables.append(("columns that tell the outcome alone", ["column", "label", "measure", "value"], shown))
    if anomalies := answer["anomalies"][:_SHOWN_COLUMNS]:
        shown = [[a["run_id"], a["score"], a["column"], a["value"], a["median"]] for a in anomalies]
        tables.append(("runs unlike the others", ["run", "score", "most unusual in", "value", "median"], shown))
    return tables


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
