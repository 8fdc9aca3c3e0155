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
import time
from collections.abc import Awaitable, Callable
from typing import Any

from claude_flow import __version__, networks, requests, schema
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.model import load_for
from claude_flow.networks.network import Network, Option
from claude_flow.run import outcomes
from claude_flow.values import did_you_mean, plain

__all__ = ["Tools", "application", "serve_stdio"]

INSTRUCTIONS = (
    "Ask before you hand out work: coordinate says which agent should take which task, predict when it will be done, "
    "optimize what to change when work piles up. Afterwards record_outcome tells how it went, and later answers learn "
    "from it."
)
_TYPES: dict[str, dict[str, Any]] = {
    "object": {"type": "object"},
    "text": {"type": "string"},
    "share": {"type": "number", "minimum": 0, "maximum": 1},
    "shares": {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}},
    "duration": {"type": "number", "minimum": 0},  # seconds
    "number": {"type": "number"},
    "count": {"type": "integer"},
    "switch": {"type": "boolean"},
    "targets": {"type": ["array", "object"]},
}


class Tools:
    """What the server offers: a tool for every network whose row names one, and ``record_outcome``.

    >>> [tool["name"] for tool in Tools().list()]
    ['coordinate', 'optimize', 'predict', 'act', 'record_outcome']
    """

    def __init__(self) -> None:
        self._rows = {row.tool: row for row in networks.NETWORKS.values() if row.tool}

    def list(self) -> list[dict[str, Any]]:
        """Name, description, and the schemas of arguments and result of every tool."""
        return [*(_described(name, row) for name, row in self._rows.items()), _RECORD_OUTCOME]

    def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """A tool's result. Raises :class:`InputError` for arguments that it cannot use, and an unknown tool."""
        if name == _RECORD_OUTCOME["name"]:
            return outcomes.record(arguments)
        if name not in self._rows:
            raise InputError(f"there is no tool {name!r}{did_you_mean(name, [t['name'] for t in self.list()])}")
        return _ask(self._rows[name], dict(arguments))


def _ask(row: Network, arguments: dict[str, Any]) -> dict[str, Any]:
    explain = schema.check(arguments.pop("explain", False), schema.Flag(), "explain")
    model = arguments.pop("model", None)
    model = model if model is None else schema.check(model, schema.Text(), "model")
    request, keywords = requests.split(row, arguments, besides=("model", "explain"))
    begin = time.perf_counter()
    loaded = load_for(row.name, model)
    answer: dict[str, Any] = plain(row.answer.answer(loaded, request, explain=explain, **keywords))
    if requests.is_kept(None):
        requests.keep(row.name, request, model, time.perf_counter() - begin, answer)
    return answer


# What clients are told ------------------------------------------------------------------------------------


def _described(name: str, row: Network) -> dict[str, Any]:
    options = row.answer.OPTIONS
    properties = {option.name: _property(option) for option in options}
    properties["model"] = {"type": "string", "description": f"By default the newest of {row.name}."}
    properties["explain"] = {"type": "boolean", "description": "Name the inputs that decided."}
    example = json.dumps(requests.example(row), separators=(",", ":"))
    return {
        "name": name,
        "description": f"Say {row.question}. Example: {example}",
        "input_schema": {
            "type": "object",
            "properties": properties,
            "required": [option.name for option in options if option.required],
            "additionalProperties": False,
        },
        "output_schema": {
            "type": "object",
            "properties": {"network": {"type": "string"}, "model": {"type": "string"}},
            "required": ["network", "model"],
        },
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    }


def _property(option: Option) -> dict[str, Any]:
    found = {**_TYPES[option.kind], "description": option.help}
    if option.limits is not None and option.kind in ("number", "count"):
        found |= {key: limit for key, limit in zip(("minimum", "maximum"), option.limits, strict=True)
                  if abs(limit) != float("inf")}  # fmt: skip
    return found


_RECORD_OUTCOME: dict[str, Any] = {
    "name": "record_outcome",
    "description": "Say how a task ended, so that later answers learn from it.",
    "input_schema": {
        "type": "object",
        "properties": {f.name: {"type": f.type, "description": f.help} for f in outcomes.FIELDS},
        "required": list(outcomes.RECORD.required),
        "additionalProperties": False,
    },
    "output_schema": {
        "type": "object",
        "properties": {"run_id": {"type": "string"}, "recorded_in": {"type": "string"}},
        "required": ["run_id", "recorded_in"],
    },
    "annotations": {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False},
}


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
