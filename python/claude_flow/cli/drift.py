"""``claude-flow neural monitor drift``: has what is asked moved away from what was learned?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from claude_flow import files, networks
from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output, Table

__all__ = ["drift"]

_METHODS = ["kolmogorov-smirnov", "wasserstein", "psi", "chi-squared", "mmd", "classifier", "page-hinkley", "adwin"]


@click.command(
    "drift",
    cls=Command,
    examples=[
        """\
claude-flow neural monitor drift \\
  --reference-data "training-distribution" \\
  --streaming-data "production-inputs" \\
  --drift-detection-method "kolmogorov-smirnov" \\
  --sensitivity "medium" \\
  --alert-frequency "hourly\"""",
        "claude-flow neural monitor drift --reference-data june.csv --streaming-data july.csv --error-column error",
    ],
)
@click.option(
    "--reference-data",
    "reference",
    metavar="DATA",
    default="training-distribution",
    show_default=True,
    help="What was learned: a dataset, a view, or a file.",
)
@click.option(
    "--streaming-data",
    "stream",
    metavar="DATA",
    default="production-inputs",
    show_default=True,
    help="What is asked now: logged requests, a dataset, a view, or a file.",
)
@click.option(
    "--drift-detection-method",
    "method",
    type=click.Choice(_METHODS),
    default=_METHODS[0],
    show_default=True,
    help="How samples are compared.",
)
@click.option(
    "--sensitivity",
    type=click.Choice(["low", "medium", "high"]),
    default="medium",
    show_default=True,
    help="The smallest shift that counts: 0.5, 0.25 or 0.125 standard deviations.",
)
@click.option(
    "--alert-frequency",
    "frequency",
    type=click.Choice(["always", "hourly", "daily", "weekly"]),
    default="hourly",
    show_default=True,
    help="The same alert goes to the workspace's alerts once in this time.",
)
@click.option("--network", type=click.Choice(list(networks.NETWORKS)), help="Requests of one network alone.")
@click.option("--features", type=params.NAMES, show_default="all", help="Features to compare.")
@click.option("--time-column", metavar="NAME", help="Which column of a file says when.", show_default="one named so")
@click.option("--error-column", metavar="NAME", help="A model's errors, row by row: what the drift costs.")
@options.html()
@options.seed("Of the permutations.")
@click.pass_obj
def drift(
    output: Output,
    reference: str,
    stream: str,
    method: str,
    sensitivity: str,
    frequency: str,
    network: str | None,
    features: tuple[str, ...] | None,
    time_column: str | None,
    error_column: str | None,
    html: Path | None,
    seed: int,
) -> None:
    """Tell whether what is asked has moved away from what was learned.

    An alarm needs a p-value that is small after correction for all features, and an effect of the size that
    --sensitivity asks for. Where rows are too few to show that much, it says so. See docs/operate.md.
    """
    from claude_flow.watch import alerts, page, samples
    from claude_flow.watch import drift as drifts

    groups: dict[str, dict[str, Any]] = {}
    with output.share("comparing") as shown:
        pairs = samples.pair(reference, stream, network, time_column)
        for done, (name, (one, other)) in enumerate(pairs.items()):
            shown(done / len(pairs), name)
            found = drifts.compare(
                one, other, method, sensitivity, features=features, error_column=error_column, seed=seed
            )
            groups[name] = {"inputs": found, "outputs": None}
            if name in networks.NETWORKS and not features:
                groups[name]["outputs"] = drifts.outputs(name, one, other, method, sensitivity, seed=seed)
    raised = []
    for name, group in groups.items():
        for kind, found in group.items():
            if found and found["verdict"] == "drift":
                message = f"{name} {kind}: {drifts.verdict(found)} ({stream} from {reference})"
                key = json.dumps([stream, reference, name, kind, sorted(found["alarms"])])
                if alert := alerts.raise_alert("drift", key, "warning", message, alerts.FREQUENCIES[frequency]):
                    raised.append(alert)
    verdicts = [found["verdict"] for group in groups.values() for found in group.values() if found]
    worst = next(word for word in ("drift", "too small", "no drift") if word in verdicts)
    answer = {
        "reference_data": reference,
        "streaming_data": stream,
        "method": method,
        "sensitivity": sensitivity,
        "verdict": worst,
        "groups": groups,
        "alerts": raised,
    }
    if html:
        files.atomic_write(html, page.drift(answer))
    tables: list[Table] = []
    for name, group in groups.items():
        for kind, found in group.items():
            if found:
                tables += _tables(f"{name}: {kind}", found)
    output.result(answer, tables)
    for alert in raised:
        output.warn(alert["message"])


def _tables(title: str, found: dict[str, Any]) -> list[Table]:
    from claude_flow.watch.drift import facts

    rows = [
        [r["feature"], r["effect"], r["threshold"], r["p_corrected"], r["alarm"], r["since"]]
        for r in found["features"][:20]
    ]
    tables: list[Table] = [(title, ["", ""], facts(found))]
    if rows:
        names = ["feature", "effect", "threshold", "corrected p", "alarm", "since"]
        tables.append((f"{title}: features, {len(found['skipped'])} not compared", names, rows))
    return tables
