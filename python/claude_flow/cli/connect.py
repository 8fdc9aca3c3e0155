"""``claude-flow neural connect``: tell other tools of this one, and take it back."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from claude_flow import files, values
from claude_flow.cli.command import Command, Group
from claude_flow.cli.output import Output
from claude_flow.errors import InputError

__all__ = ["group"]

_NAME = "claude-flow"
_SERVER: dict[str, Any] = {"type": "stdio", "command": sys.executable, "args": ["-m", "claude_flow", "neural", "mcp"]}

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
@click.option("--remove", is_flag=True, help="Take the server out again.")
@click.pass_obj
def claude_code(output: Output, dry_run: bool, remove: bool) -> None:
    """Register the MCP server with Claude Code.

    It goes into .mcp.json of the project ($CLAUDE_PROJECT_DIR, else this folder); Claude Code asks once whether it
    may start it. What else the file says is kept.
    """
    path = Path(os.environ.get("CLAUDE_PROJECT_DIR") or ".") / ".mcp.json"
    before: dict[str, Any] = {}
    if path.exists():
        found = values.read_json(path)
        if not isinstance(found, dict) or not isinstance(found.get("mcpServers", {}), dict):
            raise InputError(f'{path}: it is no object with "mcpServers": mend it, or move it away')
        before = found
    servers = dict(before.get("mcpServers", {}))
    had = servers.pop(_NAME, None)
    if not remove:
        servers[_NAME] = _SERVER
    after = {**before, "mcpServers": servers}
    if remove and not servers:
        del after["mcpServers"]
    change = "none" if had == servers.get(_NAME) else "removed" if remove else "added" if had is None else "changed"
    if change != "none" and not dry_run:
        if after:
            files.atomic_write(path, json.dumps(after, indent=2, ensure_ascii=False) + "\n")
        else:
            path.unlink()
    entry = servers.get(_NAME, had)
    rows: list[list[Any]] = [["file", str(path)], ["change", change], ["made", not dry_run and change != "none"]]
    rows += [["server", " ".join([entry["command"], *entry["args"]])]] if entry is not None and entry == _SERVER else []
    result = {"file": path, "change": change, "made": not dry_run and change != "none", "before": had,
              "after": servers.get(_NAME)}  # fmt: skip
    output.result(result, [("Claude Code", ["", ""], rows)])
