"""``claude-flow neural mcp``: the networks as tools of an agent."""

from __future__ import annotations

import os
import socket

import click

from claude_flow.cli.command import Command
from claude_flow.cli.output import Output
from claude_flow.errors import InputError, require

__all__ = ["mcp"]

_TOKEN = "CLAUDE_FLOW_TOKEN"


@click.command(
    "mcp",
    cls=Command,
    examples=[
        "claude-flow neural mcp",
        "claude-flow neural mcp --transport http --port 8765",
    ],
)
@click.option(
    "--transport",
    type=click.Choice(["stdio", "http"]),
    default="stdio",
    show_default=True,
    help="Standard input and output, or streamable HTTP at /mcp.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where HTTP listens.")
@click.option("--port", type=click.IntRange(1, 65535), default=8765, show_default=True, help="Where HTTP listens.")
@click.pass_obj
def mcp(output: Output, transport: str, host: str, port: int) -> None:
    """Offer the networks to agents as MCP tools.

    Five tools: coordinate, optimize, predict, act, record_outcome. They use the workspace of $CLAUDE_PROJECT_DIR,
    whatever the folder. Over HTTP, $CLAUDE_FLOW_TOKEN is the bearer token that clients must send; without one only
    this machine is listened to.
    """
    from claude_flow.run import mcp as server

    if transport == "stdio":
        server.serve_stdio()
        return
    token = os.environ.get(_TOKEN) or None
    if token is None and host not in ("127.0.0.1", "localhost", "::1"):
        raise InputError(f"--host {host} lets others in: set ${_TOKEN}, the token that they must send")
    uvicorn = require("uvicorn", "mcp")
    application = server.application(host, token)
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host} --port {port}: {getattr(error, 'strerror', None) or error}") from None
    output.note(f"listening at http://{host}:{port}/mcp; Ctrl-C ends it")
    uvicorn.Server(uvicorn.Config(application, log_level="warning")).run(sockets=[listener])
