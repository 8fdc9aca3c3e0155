"""``claude-flow neural connect``: tell other tools of this one, and take it back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from claude_flow.cli.command import Command, Group
from claude_flow.cli.output import Output

__all__ = ["group"]

group = Group("connect", help="Tell other tools of this one, and take it back.")


@group.command(
    "claude-code",
    examples=[
        "claude-flow neural connect claude-code --dry-run",
        "claude-flow neural connect claude-code",
        "claude-flow neural connect claude-code --remove",
    ],
    cls=Command,
)
@click.option("--dry-run", is_flag=True, help="Show the change, and make none.")
@click.option("--remove", is_flag=True, help="Take it all out again.")
@click.pass_obj
def claude_code(output: Output, dry_run: bool, remove: bool) -> None:
    """Register the MCP server and hooks with Claude Code.

    In the project ($CLAUDE_PROJECT_DIR, else this folder) the server goes into .mcp.json, the hooks into
    .claude/settings.local.json; a skill and an agent that plans are put beside them. Claude Code asks once whether it
    may start the server. What else the files say is kept. The hooks copy what the transcript tells of subagents to the
    workspace's events, from which data collect learns.
    """
    from claude_flow.integrations import claude_code as integration

    project = Path(os.environ.get("CLAUDE_PROJECT_DIR") or ".")
    found = integration.changes(project, remove=remove)
    if not dry_run:
        for change in found:
            integration.make(change)
    words = [change.change for change in found if change.change not in ("none", "kept")]
    rows: list[list[Any]] = [[change.what, str(change.path), change.change] for change in found]
    result = {
        "change": words[0] if len(set(words)) == 1 else "changed" if words else "none",
        "made": bool(words) and not dry_run,
        "files": [
            {"what": c.what, "path": c.path, "change": c.change, "before": c.before, "after": c.after} for c in found
        ],
    }
    title = "Claude Code: what would change" if dry_run else "Claude Code"
    output.result(result, [(title, ["what", "file", "change"], rows)])
    for change in found:
        if change.change == "kept":
            output.note(f"{change.path} is not what this version wrote: it is left as it is")
