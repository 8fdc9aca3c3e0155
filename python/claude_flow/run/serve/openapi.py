"""The server's own description, from the networks' rows: OpenAPI 3.1, and a page that needs nothing from elsewhere."""

from __future__ import annotations

import html
import json
from typing import Any

from claude_flow import __version__, networks, requests
from claude_flow.run import tools

__all__ = ["document", "page"]

_ERRORS = {
    "400": "The request cannot be used; `error` says why.",
    "413": "The body is too long.",
    "415": "The body is not JSON.",
    "503": "Too much is waiting; come again after `Retry-After` seconds.",
    "504": "The deadline passed.",
}


def document(token: bool) -> dict[str, Any]:
    """The description as OpenAPI has it; ``token``: whether one must be sent.

    >>> sorted(document(False)["paths"])[:3]
    ['/health', '/infer/action', '/infer/coordination']
    """
    paths: dict[str, Any] = {}
    for name, row in networks.NETWORKS.items():
        about = tools.described(name, row)
        operation = _operation(name, f"Say {row.question}.", about, requests.example(row))
        operation["parameters"] = [
            _header("X-Deadline-Ms", "integer", "Milliseconds within which the answer is of use."),
            _header("X-Request-Id", "string", "A name of your own; the log and the answer bear it."),
        ]
        paths[f"/infer/{name}"] = {"post": operation}
    example = {"agent": "coder-1", "task": "task-001", "success": True, "duration_s": 340}
    paths["/record_outcome"] = {
        "post": _operation("record_outcome", tools.RECORD_OUTCOME["description"], tools.RECORD_OUTCOME, example)
    }
    for path, what in (
        ("/health", "Whether the process answers. Needs no token."),
        ("/ready", "Whether it takes requests, and which models answer. Needs no token."),
        ("/metrics", "Counters for Prometheus."),
    ):
        paths[path] = {"get": {"summary": what, "responses": {"200": {"description": "OK"}}}}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Claude Flow Neural", "version": __version__},
        "paths": paths,
    }
    if token:
        found["components"] = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
        found["security"] = [{"token": []}]
    return found


def _operation(name: str, summary: str, about: dict[str, Any], example: Any) -> dict[str, Any]:
    errors = {
        code: {"description": what, "content": {"application/json": {"schema": {"type": "object"}}}}
        for code, what in _ERRORS.items()
    }
    answer = {"description": "The answer.", "content": {"application/json": {"schema": about["output_schema"]}}}
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": about["input_schema"], "example": example}},
        },
        "responses": {"200": answer, **errors},
    }


def _header(name: str, kind: str, what: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": what, "schema": {"type": kind}}


def page(token: bool) -> bytes:
    """The same for people."""
    parts = []
    for path, methods in document(token)["paths"].items():
        ((method, about),) = methods.items()
        body = about.get("requestBody", {}).get("content", {}).get("application/json")
        parts.append(f"<h2><code>{method.upper()} {path}</code></h2><p>{html.escape(about['summary'])}</p>")
        if body is None:
            continue
        required = body["schema"].get("required", [])
        rows = "".join(
            f"<tr><td><code>{html.escape(name)}</code>{' *' if name in required else ''}"
            f"<td>{html.escape(str(field.get('type', '')))}<td>{html.escape(field.get('description', ''))}"
            for name, field in body["schema"]["properties"].items()
        )
        example = json.dumps(body["example"], indent=1, ensure_ascii=False)
        parts.append(f"<table>{rows}</table><pre>{html.escape(example)}</pre>")
    note = "Every request sends <code>Authorization: Bearer TOKEN</code>." if token else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>Claude Flow Neural</title><style>:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;"
        "max-width:60rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}td{border-top:1px solid #8886;"
        "padding:.3rem .8rem .3rem 0;vertical-align:top}pre{overflow:auto;background:#8882;padding:.8rem}</style>"
        f"<h1>Claude Flow Neural {__version__}</h1><p>JSON in, JSON out; fields with * must be there. {note} "
        'The same for programs: <a href="openapi.json">openapi.json</a>.</p>' + "".join(parts)
    ).encode()
