"""What the server answers to which path: an ASGI application without a framework (docs/serve.md has the reason)."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import json
import math
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from claude_flow import networks
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.files import decoded
from claude_flow.run import outcomes
from claude_flow.run.serve import openapi
from claude_flow.run.serve.line import Full, Item, Line, Reply, failure
from claude_flow.run.serve.metrics import Metrics
from claude_flow.values import parse_json

__all__ = ["Application"]

_JSON, _HTML = b"application/json", b"text/html; charset=utf-8"
#: what anyone may ask, so that whatever watches the server needs no token
_OPEN = {"/health", "/ready"}
_LOCAL = {"127.0.0.1", "localhost", "[::1]"}
#: bytes of bodies that are in memory at one time, of all clients together
_HELD_BYTES = 64 << 20
Headers = dict[bytes, bytes]


class _Refused(Exception):
    """A request that is not read to its end: the connection closes."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class Application:
    """The routes, and what stands before them: token, media type, sizes, deadlines.

    Args:
        line: where requests wait.
        metrics: where they are counted.
        state: what ``/ready`` tells, with ``"ready"``.
        token: what clients must send as a bearer's; None lets in who names this machine as the host.
        deadline: seconds within which an answer must be there, unless the request says less.
        body_bytes: the longest body.
    """

    def __init__(
        self,
        line: Line,
        metrics: Metrics,
        state: Callable[[], dict[str, Any]],
        *,
        token: str | None,
        deadline: float,
        body_bytes: int,
    ) -> None:
        self._line, self._metrics, self._state = line, metrics, state
        self._token = f"Bearer {token}".encode() if token else None
        self._deadline, self._body_bytes = deadline, body_bytes
        self._held = 0
        self._ids, self._prefix = itertools.count(1), secrets.token_hex(4)
        self._rows = {f"/infer/{name}": row for name, row in networks.NETWORKS.items()}
        self._pages: dict[str, Callable[[], tuple[bytes, bytes]]] = {
            "/": lambda: (_HTML, openapi.page(bool(token))),
            "/docs": lambda: (_HTML, openapi.page(bool(token))),
            "/openapi.json": lambda: (_JSON, json.dumps(openapi.document(bool(token))).encode()),
            "/metrics": lambda: metrics.page(),
        }

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[..., Any]) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        headers: Headers = dict(scope["headers"])
        identity = _identity(headers) or f"{self._prefix}-{next(self._ids)}"
        more = [(b"x-request-id", identity.encode())]
        kind, held = _JSON, 0
        begin = asyncio.get_running_loop().time()
        try:
            self._let_in(path, headers)
            if path in self._rows or path == "/record_outcome":
                _only(method, "POST")
                body = await self._body(headers, receive)
                held = len(body)
                if path in self._rows:
                    reply = await self._infer(self._rows[path], body, identity, headers, receive)
                else:
                    reply = await asyncio.get_running_loop().run_in_executor(None, _record, body)
            elif path in _OPEN:
                _only(method, "GET")
                reply = self._health() if path == "/health" else self._ready()
            elif path in self._pages:
                _only(method, "GET")
                kind, page = self._pages[path]()
                reply = Reply(200, page)
            else:
                raise _Refused(failure(404, f"there is no {path}: /docs lists what there is"))
        except _Refused as refused:
            reply = refused.reply
            more.append((b"connection", b"close"))
        finally:
            self._held -= held
        if reply is None:  # the client went away
            return
        if reply.retry_after is not None:
            more.append((b"retry-after", str(max(1, math.ceil(reply.retry_after))).encode()))
        if reply.status == 401:
            more.append((b"www-authenticate", b"Bearer"))
        self._metrics.request(
            path if path in self._rows else "", reply.status, asyncio.get_running_loop().time() - begin
        )
        more += [(b"content-type", kind), (b"content-length", str(len(reply.body)).encode())]
        try:
            await send({"type": "http.response.start", "status": reply.status, "headers": more})
            await send({"type": "http.response.body", "body": b"" if method == "HEAD" else reply.body})
        except RuntimeError as error:
            if "closed" not in str(error):  # uvloop's word for a client that has gone this moment
                raise

    def _let_in(self, path: str, headers: Headers) -> None:
        if path in _OPEN:
            return
        if self._token is None:
            # A page of the browser that has its own name point to this machine is kept out.
            host = headers.get(b"host", b"").decode("latin-1").lower()
            if host.rpartition(":")[0] not in _LOCAL and host not in _LOCAL:
                raise _Refused(failure(403, "without a token only requests to localhost are answered"))
        elif not hmac.compare_digest(headers.get(b"authorization", b""), self._token):
            raise _Refused(failure(401, "send the header  Authorization: Bearer TOKEN  with the server's token"))

    async def _body(self, headers: Headers, receive: Callable[[], Awaitable[Any]]) -> bytes:
        """The body, refused before it is read where its length is told and too long."""
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != _JSON:
            raise _Refused(failure(415, "send JSON, with the header  Content-Type: application/json"))
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._body_bytes:
            raise _Refused(failure(413, f"a body has at most {self._body_bytes} bytes"))
        parts, size = [], 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Refused(failure(400, "the body ended early"))
                part = message.get("body", b"")
                size += len(part)
                self._held += len(part)
                if size > self._body_bytes:
                    raise _Refused(failure(413, f"a body has at most {self._body_bytes} bytes"))
                if self._held > _HELD_BYTES:
                    raise _Refused(failure(503, "too many bodies are being read", 1.0))
                parts.append(part)
                if not message.get("more_body"):
                    return b"".join(parts)
        except BaseException:
            self._held -= size
            raise

    async def _infer(
        self,
        row: networks.Network,
        body: bytes,
        identity: str,
        headers: Headers,
        receive: Callable[[], Awaitable[Any]],
    ) -> Reply | None:
        """The answer, or None where nobody waits for it any more."""
        deadline = self._deadline
        if given := headers.get(b"x-deadline-ms"):
            if not given.isdigit() or not int(given):
                return failure(400, "X-Deadline-Ms is a whole number of milliseconds")
            deadline = min(deadline, int(given) / 1000)
        item = Item(row, body, identity)
        try:
            alone = not self._line.waiting
            self._line.put(item, deadline)
        except Full as full:
            return failure(503, str(full), full.seconds)
        late = asyncio.get_running_loop().call_later(deadline, _expire, item, deadline)
        try:
            if alone:
                return await item.reply
            gone = asyncio.ensure_future(receive())  # says so when the client goes away
            try:
                await asyncio.wait((item.reply, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
            return item.reply.result() if item.reply.done() else None
        finally:
            late.cancel()
            item.gone = True

    def _health(self) -> Reply:
        alive = self._line.alive
        return Reply(200 if alive else 500, json.dumps({"status": "ok" if alive else "no thread answers"}).encode())

    def _ready(self) -> Reply:
        state = self._state()
        return Reply(200 if state["ready"] else 503, json.dumps(state).encode(), None if state["ready"] else 1.0)


def _expire(item: Item, deadline: float) -> None:
    item.gone = True
    item.finish(failure(504, f"no answer within {deadline:g} s"))


def _identity(headers: Headers) -> str:
    """The client's own name of its request, if it can stand in a log."""
    given = headers.get(b"x-request-id", b"")
    return given.decode("ascii") if 0 < len(given) <= 100 and given.isascii() and given.decode().isprintable() else ""


def _only(method: str, allowed: str) -> None:
    if method != allowed and (method, allowed) != ("HEAD", "GET"):
        raise _Refused(failure(405, f"{method} is not for this path: {allowed} is"))


def _record(body: bytes) -> Reply:
    try:
        given = parse_json(decoded(body, "the body"), "the body")
        return Reply(200, json.dumps(outcomes.record(given, by="serve")).encode())
    except InputError as error:
        return failure(400, str(error))
    except (ClaudeFlowError, OSError) as error:
        return failure(500, str(error))
