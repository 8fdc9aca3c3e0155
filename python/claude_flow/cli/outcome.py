"""``claude-flow neural record-outcome``: how a task ended, told by hand or by a script."""

from __future__ import annotations

from typing import Any

import click

from claude_flow.cli import params
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output
from claude_flow.errors import InputError

__all__ = ["record_outcome"]

_REQUEST = "The logged answer that was followed: its own id, or file and line. Without it known by task and agent."


@click.command(
    "record-outcome",
    cls=Command,
    examples=[
        "claude-flow neural record-outcome --agent coder-1 --task t-17 --success true",
        """\
claude-flow neural record-outcome \\
  --agent coder-1 --agent-type coder \\
  --task t-17 --task-type bug-fix --description "login fails after a redirect" \\
  --success false --duration 12m --tokens 48210""",
        "claude-flow neural record-outcome --agent coder-1 --task t-17 --verify 'make test'",
        "claude-flow neural record-outcome --agent coder-1 --task t-17 --success true --request 000001-17",
    ],
)
@click.option("--agent", required=True, help="Who did it.")
@click.option("--task", required=True, help="The task's id or name.")
@click.option("--success", type=params.BOOLEAN, show_default="what --verify says", help="Whether the result was good.")
@click.option(
    "--verify", metavar="COMMAND", help="Run this check of yours in the shell: the result is good if it ends with 0."
)
@click.option("--agent-type", help="The agent's kind, such as coder.")
@click.option("--task-type", help="The task's kind, such as bug-fix.")
@click.option("--description", help="The task in words.")
@click.option("--group", help="The session or project.")
@click.option("--duration", "duration_s", type=params.DURATION, help="How long it took; the end is now.")
@click.option("--tokens", type=click.IntRange(0), help="Of all requests together.")
@click.option("--cost", type=click.FloatRange(0), help="US dollars.")
@click.option("--request", metavar="ID", help=_REQUEST)
@click.pass_obj
def record_outcome(output: Output, /, **told: Any) -> None:
    """Say how a task ended, so that later answers learn from it.

    The line goes to the workspace's events, where the MCP tool record_outcome and Claude Code's hooks write too, and
    from which data collect learns. monitor production and maintain take accuracy from it.
    """
    from claude_flow import requests
    from claude_flow.run import outcomes

    command = told.pop("verify")
    if (command is None) == (told["success"] is None):
        raise InputError("say --success, or give a check to --verify: the one or the other")
    if told["request"] is not None and not requests.is_logged(told["request"]):
        raise InputError(
            f"--request: the log has no answer {told['request']!r}: name its own id, or file and line as 000001-17"
        )
    if command is not None:
        told["success"] = outcomes.verified(command)
        output.note(f"{command}: {'it holds' if told['success'] else 'it does not hold'}")
    result = outcomes.record({name: value for name, value in told.items() if value is not None}, by="cli")
    result["success"] = told["success"]
    rows = [["run", result["run_id"]], ["good", told["success"]], ["recorded in", result["recorded_in"]]]
    output.result(result, [("Outcome", ["", ""], rows)])
