"""A Model Context Protocol server: the networks as a few tools, and one that records how work ended.

It speaks over standard input and output, or HTTP. Over the former nothing but messages goes to standard output: the SDK
keeps the descriptor to itself.
"""

from __future__ import annotations

import functools
import hmac
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from claude_flow import __version__
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.run.tools import Tools

__all__ = ["Tools", "application", "serve_stdio"]

INSTRUCTIONS = (
    "Ask before you hand out work: coordinate says which agent should take which task, predict when it will be done, "
    "optimize what to change when work piles up. Afterwards record_outcome tells how it went, and later answers learn "
    "from it."
)


# The server -----------------------------------------------------------------------------------------------


def _server(tools: Tools) -> Any:
    types = require("mcp.types", "mcp")
    lowlevel = require("mcp.server.lowlevel.server", "mcp")
    threads = require("anyio.to_thread", "mcp")
    listed = types.ListToolsResult(tools=[types.Tool(**tool) for tool in tools.list()])

    async def list_tools(context: Any, parameters: Any) -> Any:
        return listed

    async def call_tool(context: Any, parameters: Any) -> Any:
        call = functools.partial(tools.call, parameters.name, parameters.arguments or {})
        try:
            # A client that gives up is not kept waiting for the thread.
            result = await threads.run_sync(call, abandon_on_cancel=True)
        except (ClaudeFlowError, OSError) as error:
            return types.CallToolResult(content=[types.TextContent(type="text", text=str(error))], is_error=True)
        text = json.dumps(result, separators=(",", ":"), ensure_ascii=False)
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=result)

    return lowlevel.Server(
        "claude-flow",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def serve_stdio() -> None:
    """Answer on standard input and output until the client closes them.

    Raises:
        MissingExtra: the SDK is not installed.
    """
    if sys.stdin is None or sys.stdout is None:
        raise InputError("mcp speaks over standard input and output, and one of them is closed")
    anyio = require("anyio", "mcp")
    stdio = require("mcp.server.stdio", "mcp")
    logging.getLogger("mcp").setLevel(logging.ERROR)
    server = _server(Tools())

    async def run() -> None:
        async with stdio.stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    anyio.run(run)


def application(host: str, token: str | None = None) -> Any:
    """The server as an ASGI application, at ``/mcp``; with a ``token`` only for those who send it as a bearer's."""
    inner = _server(Tools()).streamable_http_app(json_response=True, stateless_http=True, host=host)
    return inner if token is None else _guarded(inner, token)


def _guarded(inner: Any, token: str) -> Callable[[Any, Any, Any], Awaitable[None]]:
    expected = f"Bearer {token}".encode()

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] == "http" and not hmac.compare_digest(given, expected):
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"error": "a bearer token is needed"}'})
            return
        await inner(scope, receive, send)

    return guard
