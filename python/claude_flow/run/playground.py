"""A local page to try models on: requests changed by sliders, answered by the engine at every change.

The page (``page/``) runs the models itself, as WebAssembly: this server gives it the JavaScript package, the modules
and the model files. What goes by the workspace's past, or is of a network that has no encoder in JavaScript, the page
asks here, and the networks' own ``answer`` functions answer as on the command line. It listens on 127.0.0.1 alone; a
secret in the path and a check of the Host header keep other pages of the browser out. Nothing asked here goes to the
log of requests.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socketserver
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any

from claude_flow import modelfile, networks, registry, requests, schema
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.files import decoded
from claude_flow.model import Model, load, load_for
from claude_flow.values import parse_json, plain

__all__ = ["Models", "Playground"]

_BODY_BYTES = 1 << 20
_PAGE = Path(__file__).with_name("page")
_WASM = Path(__file__).parents[1] / "wasm"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; "
    "style-src 'unsafe-inline'; connect-src 'self'; worker-src 'self'; frame-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_KINDS = {
    "": "text/html; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
    ".safetensors": "application/octet-stream",
}
_FILE = re.compile(r"(?:demo/)?[a-z_+0-9]+\.(?:mjs|wasm|html)")
_LOG = "swarm-training-data"  # where it is, answers go by it: data.views.TABLES_NAME, beyond this layer
_QUESTION = schema.Record(
    {
        "model": schema.Text(),
        "arguments": schema.Table(schema.Anything()),
        "explain": schema.Flag(),
    },
    required=("model", "arguments"),
)


class Models:
    """The models of a playground; ``names`` as those of :class:`Playground`."""

    def __init__(self, names: Sequence[str]) -> None:
        self._models = _opened(names)
        self._one_at_a_time = threading.Lock()

    def setup(self) -> dict[str, Any]:
        """The models, and the request that each network's help shows first."""
        models = [{"name": name, "network": model.network} for name, model in self._models.items()]
        shown = {model.network: requests.example(networks.get(model.network)) for model in self._models.values()}
        return {"models": models, "examples": shown}

    def file(self, index: int) -> bytes | None:
        """What the page runs of the model with that number: its file, with those of the models that it asks."""
        if index >= len(self._models):
            return None
        model = list(self._models.values())[index]
        whole = getattr(networks.get(model.network).answer, "whole", None)
        return model.path.read_bytes() if whole is None else modelfile.encoded(whole(model))

    def ask(self, question: Any) -> dict[str, Any]:
        """The answer of a model: ``{"model", "arguments", "explain"}``, the arguments being options by name.

        Raises:
            InputError: there is no such model here, or it cannot use the arguments.
        """
        asked = schema.check(question, _QUESTION)
        name, explain = asked["model"], asked.get("explain", False)
        if name not in self._models:
            raise InputError(f"{schema.shown(name)} is not on this page: it has {', '.join(self._models)}")
        model = self._models[name]
        row = networks.get(model.network)
        request, keywords = requests.split(row, asked["arguments"])
        with self._one_at_a_time:
            begin = time.perf_counter()
            answer = row.answer.answer(model, request, explain=explain, **keywords)
            seconds = time.perf_counter() - begin
        return {
            "answer": plain(answer),
            "tables": plain(row.answer.render(answer)),
            "seconds": round(seconds, 6),
            "command": requests.command(row, asked["arguments"], name, explain),
        }


class Playground:
    """The server, from its making until :meth:`close`; ``address`` is the page's.

    Args:
        names: models, or names of networks for the newest model of each; two of one network stand side by side.
        port: 0 is a free one.
        tuning: whether the page has sliders, beside the request as JSON.
        live: whether the page asks at every change, or when its button is pressed.

    Raises:
        InputError: no model of a name, or the port is taken.
    """

    def __init__(self, names: Sequence[str], port: int = 0, *, tuning: bool = True, live: bool = True) -> None:
        self.models = Models(names)
        self._about = {"interactive-tuning": tuning, "real-time-feedback": live}
        try:
            self._server = _Server(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise InputError(f"port {port}: {error.strerror or error}: name another with --port") from None
        self._server.playground = self
        self.port = int(self._server.server_port)
        self.path = f"/{secrets.token_urlsafe(16)}/"
        self.address = f"http://127.0.0.1:{self.port}{self.path}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering, and give the port back."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def setup(self) -> dict[str, Any]:
        """What the page begins with: its settings, and :meth:`Models.setup`."""
        return {**self._about, **self.models.setup()}


def _served(name: str, models: Models) -> bytes | None:
    """What the page asks for by that name, or None: its own parts, the JavaScript package, modules, models."""
    kind, _, rest = name.partition("/")
    number, _, file = rest.partition("/")
    if kind == "models" and number.isdecimal() and file.endswith(".safetensors"):
        return models.file(int(number))
    found: Path | None = None
    if name == "":
        found = _PAGE / "index.html"
    elif _FILE.fullmatch(rest) and kind == "page":
        found = _PAGE / rest
    elif _FILE.fullmatch(rest) and kind == "engine":
        found = _WASM / rest if rest.endswith(".wasm") else _package() / rest
    return found.read_bytes() if found is not None and found.is_file() else None


def _package() -> Path:
    """The JavaScript package: an installation has it beside the page, a source tree at its top."""
    installed = _PAGE / "engine"
    return installed if installed.is_dir() else _PAGE.parents[3] / "emscripten"


def _opened(names: Sequence[str]) -> dict[str, Model]:
    if not names:
        raise InputError("--models names no model")
    models = {}
    for name in names:
        newest = name in networks.NETWORKS and name not in registry.models()
        model = load_for(name) if newest else load(name)
        models[registry.model_name(model.path)] = model
    return models


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # there it would share a port that is taken
    playground: Playground

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's looks the host's name up, which may take seconds
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was closed in the middle of an answer is no error."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10.0

    def do_GET(self) -> None:
        place = self._place()
        if place is None:
            return
        if place == "setup":
            has_log = (registry.workspace() / "datasets" / _LOG).is_dir()
            self._json(200, {**self.server.playground.setup(), "has-log": has_log})
        elif (body := _served(place, self.server.playground.models)) is not None:
            self._send(200, body, _KINDS[PurePosixPath(place).suffix])
        else:
            self._json(404, {"error": "there is no such page"})

    def do_POST(self) -> None:
        place = self._place()
        if place is None:
            return
        length = self.headers.get("Content-Length", "")
        if place != "ask":
            self._json(404, {"error": "there is no such page"})
        elif not length.isdecimal() or int(length) > _BODY_BYTES:
            self._json(413, {"error": f"a request has a Content-Length of at most {_BODY_BYTES} bytes"})
        else:
            try:
                text = decoded(self.rfile.read(int(length)), "the request")
                self._json(200, self.server.playground.models.ask(parse_json(text, "the request")))
            except ClaudeFlowError as error:
                self._json(400 if isinstance(error, InputError) else 500, {"error": str(error)})

    def _place(self) -> str | None:
        """What is asked for, below the secret; None where the asker does not know it, and has been told so."""
        playground = self.server.playground
        is_here = self.headers.get("Host") in (f"127.0.0.1:{playground.port}", f"localhost:{playground.port}")
        path = self.path.encode("latin-1", "replace")
        secret = playground.path.encode()
        if is_here and secrets.compare_digest(path[: len(secret)], secret):
            return path[len(secret) :].decode("latin-1").partition("?")[0]
        self._json(403, {"error": "open the address that the command printed"})
        return None

    def _json(self, status: int, value: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(value, allow_nan=False).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Every change of a slider is a request: they are not told."""
