"""``claude-flow neural maintain``: train again when it is time, and deploy what is better."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from typing import Any

import click

from claude_flow import registry, values
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table
from claude_flow.errors import InputError

__all__ = ["group"]

_UNIT = """\
# claude-flow-maintain.service
[Service]
Type=oneshot
Environment="{home}"
ExecStart={program} neural maintain run-once

# claude-flow-maintain.timer; then  systemctl --user enable --now claude-flow-maintain.timer
[Timer]
OnCalendar=hourly
Persistent=true
[Install]
WantedBy=timers.target
"""

group = Group("maintain", help="Train models again when it is time, and deploy what is not worse.")


@group.command(
    "retrain-schedule",
    examples=[
        """\
claude-flow neural maintain retrain-schedule \\
  --models '["coordination-v3"]' \\
  --trigger-conditions '{
    "data-drift": 0.15,
    "performance-degradation": 0.05,
    "new-data-volume": 10000
  }' \\
  --retraining-strategy "incremental" \\
  --validation-pipeline "automated" \\
  --deployment-approval "automated-with-rollback\"""",
        "claude-flow neural maintain retrain-schedule --models prediction-v2 --deployment-approval manual --only-set",
    ],
)
@click.option("--models", type=params.NAMES, required=True, help="The models to keep up to date.")
@click.option(
    "--trigger-conditions",
    "triggers",
    type=params.Json(dict),
    default='{"data-drift": 0.15, "performance-degradation": 0.05, "new-data-volume": 10000}',
    show_default=True,
    help="What starts a training, each by itself.",
)
@click.option(
    "--retraining-strategy",
    "strategy",
    type=click.Choice(["incremental", "full", "transfer"]),
    default="incremental",
    show_default=True,
    help="Go on learning without forgetting, train anew, or fine-tune.",
)
@click.option(
    "--validation-pipeline",
    "validation",
    type=click.Choice(["automated", "manual"]),
    default="automated",
    show_default=True,
    help="automated: a candidate that `test regression` finds worse is rejected.",
)
@click.option(
    "--deployment-approval",
    "approval",
    type=click.Choice(["automated-with-rollback", "automated", "manual"]),
    default="automated-with-rollback",
    show_default=True,
    help="Who says yes, and whether a version with worse outcomes goes back by itself.",
)
@click.option(
    "--canary-share",
    type=params.SHARE,
    default="10%",
    show_default=True,
    help="Of the requests that name the model, for a new version until its outcomes are known; 0: none.",
)
@click.option(
    "--canary-outcomes",
    type=click.IntRange(20),
    default=40,
    show_default=True,
    help="Outcomes of the new version that decide.",
)
@click.option(
    "--canary-time", type=params.DURATION, default="24h", show_default=True, help="After this it decides without them."
)
@click.option(
    "--training-window", metavar="DURATION", show_default="all", help="Learn from the newest events of so long."
)
@click.option("--interval", type=params.DURATION, default="1h", show_default=True, help="How often to look.")
@click.option("--cron", metavar="LINE", help="Look at these times (UTC) instead, such as '0 3 * * *'.")
@click.option("--only-set", is_flag=True, help="Keep the schedule and end, for cron or systemd to run.")
@options.time_budget("End after this time.")
@click.pass_obj
def retrain_schedule(
    output: Output,
    models: tuple[str, ...],
    triggers: dict[str, Any],
    strategy: str,
    validation: str,
    approval: str,
    canary_share: float,
    canary_outcomes: int,
    canary_time: float,
    training_window: str | None,
    interval: float,
    cron: str | None,
    only_set: bool,
    time_budget: float | None,
) -> None:
    """Keep a schedule, and follow it in the foreground until Ctrl-C.

    It prints a cron line and a systemd unit that follow it instead. Every step is in the workspace's
    maintain/audit.jsonl; a process that was killed goes on where it was.
    """
    from claude_flow import modelfile
    from claude_flow.watch import policies, scheduler

    conditions = policies.conditions(triggers)
    if training_window:
        values.duration(training_window)
    if interval < 1:
        raise InputError("--interval: a second or more is wanted")
    if not canary_share < 1:
        raise InputError("--canary-share: less than all of the requests is wanted")
    chosen = []
    for name in dict.fromkeys(models):
        network = modelfile.read(registry.model_path(name)).network
        chosen.append(
            policies.Policy(name, network, conditions, strategy, validation, approval, canary_share, canary_outcomes,
                            canary_time, training_window or "")
        )  # fmt: skip
    when = None if only_set else scheduler.trigger(interval, cron)
    policies.schedule(chosen)
    program = shutil.which("claude-flow") or f"{sys.executable} -m claude_flow"
    folder = str(registry.workspace().resolve())
    line = f"{cron or '0 * * * *'} CLAUDE_FLOW_HOME={shlex.quote(folder)} {program} neural maintain run-once"
    unit = _UNIT.format(home=f"CLAUDE_FLOW_HOME={folder}", program=program)
    looks: dict[str, Any] = {}

    def told(model: str, look: dict[str, Any]) -> None:
        looks[model] = look
        output.note(f"{model}: {look['did']}")

    try:
        if when is not None:
            scheduler.follow([policy.model for policy in chosen], when, time_budget, told, output.note)
    except KeyboardInterrupt:
        output.note("the schedule is kept: maintain run-once follows it, maintain stop ends it")
    rows = [[p.model, p.network, strategy, approval, (looks.get(p.model) or {}).get("did")] for p in chosen]
    tables: list[Table] = [("Schedule", ["model", "network", "strategy", "approval", "did"], rows)]
    tables += _triggers(looks)
    tables.append(("To follow it by cron instead: a line of crontab -e", [""], [[line]]))
    tables.append(
        ("Or by systemd: two files in ~/.config/systemd/user", [""], [[each] for each in unit.splitlines() if each])
    )
    answer = {
        "schedules": [vars(policy) for policy in chosen],
        "looks": looks,
        "cron": line,
        "systemd": unit,
        "audit": registry.workspace() / "maintain" / "audit.jsonl",
    }
    output.result(answer, tables)


def _triggers(looks: dict[str, Any]) -> list[Table]:
    rows = [
        [model, t["condition"], t["value"], t["limit"], t["met"], t["note"]]
        for model, look in looks.items()
        for t in look["triggers"]
    ]
    return [("Triggers", ["model", "condition", "value", "limit", "met", "rests on"], rows)] if rows else []


@group.command(
    "status", examples=["claude-flow neural maintain status", "claude-flow neural maintain status --last 50"]
)
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="Entries of the audit log to show.")
@click.pass_obj
def status(output: Output, last: int) -> None:
    """Show the schedules, where each model's cycle is, and what was done."""
    from claude_flow.watch import audit, policies

    kept = policies.schedules()
    states = {name: audit.state(name) for name in kept}
    entries = audit.entries()[-last:]
    rows = [
        [name, p.strategy, p.approval, s["ended"] or ("waits for approval" if s["waiting"] else
         f"{len(s['done'])} steps done" if s["cycle"] else "no cycle yet"), s["since"]]
        for (name, p), s in zip(kept.items(), states.values(), strict=True)
    ]  # fmt: skip
    told = [[e["time"], e["model"], e["step"], e["state"], str(e["detail"] or "")[:80]] for e in entries]
    tables: list[Table] = [
        ("Schedules", ["model", "strategy", "approval", "cycle", "since"], rows),
        ("Audit log", ["time", "model", "step", "state", "detail"], told),
    ]
    answer = {"schedules": {name: vars(policy) for name, policy in kept.items()}, "states": states, "audit": entries}
    output.result(answer, tables)


@group.command(
    "run-once",
    examples=[
        "claude-flow neural maintain run-once",
        "claude-flow neural maintain run-once --model prediction --force",
    ],
)
@click.option("--model", metavar="MODEL", show_default="every scheduled one", help="One model.")
@click.option("--force", is_flag=True, help="Begin a training although no trigger is met.")
@options.time_budget("Begin no step after this time; a training ends at its best epoch by then.")
@click.pass_obj
def run_once(output: Output, model: str | None, force: bool, time_budget: float | None) -> None:
    """Look at every schedule once, go on with a cycle or begin one, and end."""
    from claude_flow.watch import policies, retrain

    kept = policies.schedules()
    chosen = list(kept.values()) if model is None else [policies.known(model, kept)]
    end = None if time_budget is None else time.monotonic() + time_budget
    looks = {p.model: retrain.check(p, force=force, deadline=end, progress=output.note) for p in chosen}
    rows = [[name, look["did"]] for name, look in looks.items()]
    output.result({"looks": looks}, [("Maintenance", ["model", "did"], rows), *_triggers(looks)])


@group.command(
    "approve",
    examples=[
        "claude-flow neural maintain approve --model coordination-v3",
        "claude-flow neural maintain approve --model coordination-v3 --answer no",
    ],
)
@click.option("--model", required=True, metavar="MODEL", help="The model whose candidate waits.")
@click.option("--answer", type=click.Choice(["yes", "no"]), default="yes", show_default=True, help="Deploy it?")
@click.pass_obj
def approve(output: Output, model: str, answer: str) -> None:
    """Say whether a candidate that waits is deployed; the next look does it."""
    from claude_flow.watch import retrain

    state = retrain.approve(model, answer == "yes")
    output.result({"model": model, "state": state}, [("Approval", ["", ""], [["model", model], ["answer", answer]])])


@group.command("stop", examples=["claude-flow neural maintain stop --model coordination-v3"])
@click.option("--model", required=True, metavar="MODEL", help="The model to leave alone.")
@click.pass_obj
def stop(output: Output, model: str) -> None:
    """End a model's schedule; a process that follows it is to be ended by Ctrl-C."""
    from claude_flow.watch import policies

    policies.stop(model)
    output.result({"model": model, "stopped": True}, [("Stopped", ["", ""], [["model", model]])])
