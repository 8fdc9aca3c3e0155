"""The server as a thing that starts and ends: the socket, the event loop in a thread of its own, and draining."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from claude_flow import networks, requests
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.run import tools
from claude_flow.run.serve.app import Application
from claude_flow.run.serve.connection import protocol
from claude_flow.run.serve.journal import Journal
from claude_flow.run.serve.line import Item, Line
from claude_flow.run.serve.metrics import Metrics
from claude_flow.run.serve.versions import Versions

__all__ = ["Limits", "Server", "serve"]

_LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Limits:
    """``waiting``: requests in line. ``batch``: taken at a time. ``deadline``: seconds for an answer.
    ``body_bytes``: of a request. ``connections``: open at a time. ``drain``: seconds for what was begun at the end."""

    waiting: int = 256
    batch: int = 32
    deadline: float = 10.0
    body_bytes: int = 1 << 20
    connections: int = 1024
    drain: float = 30.0


def serve(
    models: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    token: str | None = None,
    tls: tuple[str | Path, str | Path] | None = None,
    log: bool | None = None,
    limits: Limits | None = None,
    **options: Any,
) -> Server:
    """Answer requests over HTTP in a thread, until the server is closed.

    Args:
        models: names of models, or of networks for the newest; the first of a network answers where a request names
            none. By default the newest of every network.
        host: who is listened to: ``"127.0.0.1"`` is this machine; others need a ``token``.
        port: 0 is a free one.
        token: what clients must send as a bearer's.
        tls: the files of certificate and key.
        log: whether answers go to the workspace's log; by default where there is a workspace.
        limits: what is too much.
        options: ``backend`` and ``threads`` of the models.

    Raises:
        InputError: a model, port or file that cannot be used.
        MissingExtra: the extra ``serve`` is not installed.

    >>> import json, urllib.request
    >>> import claude_flow as cf
    >>> with cf.serve(["coordination"]) as server:
    ...     with urllib.request.urlopen(server.address + "/ready") as answer:
    ...         json.load(answer)["ready"]
    True
    """
    return Server(models, host, port, token=token, tls=tls, log=log, limits=limits or Limits(), options=options)


class Server:
    """A running server; make one with :func:`serve`, and end it with :meth:`close` or a ``with``.

    ``address`` is where it listens, such as ``http://127.0.0.1:8720``.
    """

    def __init__(
        self,
        models: Sequence[str],
        host: str,
        port: int,
        *,
        token: str | None,
        tls: tuple[str | Path, str | Path] | None,
        log: bool | None,
        limits: Limits,
        options: dict[str, Any],
    ) -> None:
        uvicorn = require("uvicorn", "serve")
        handler = protocol(limits.connections)
        self._metrics = Metrics()
        self._log = log
        if token is None and host not in _LOCAL:
            raise InputError(f"host {host} lets others in: set $CLAUDE_FLOW_TOKEN, the token that they must send")
        if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token and token):
            raise InputError("the token must be printable ASCII without spaces around it")
        certificate = _certificate(tls)
        listener = _listener(host, port)
        try:
            self._versions = Versions(models, self._switched, **options)
        except BaseException:
            listener.close()
            raise
        self._warm()
        self.port = int(listener.getsockname()[1])
        shown = f"[{host}]" if ":" in host else host
        self.address = f"{'https' if certificate else 'http'}://{shown}:{self.port}"
        self._journal = Journal(_tell)
        self._line = Line(
            self._versions,
            waiting=limits.waiting,
            batch=limits.batch,
            answered=self._answered,
            batched=self._metrics.batch,
        )
        self._draining = False
        self._watched()
        application = Application(
            self._line,
            self._metrics,
            self.state,
            token=token,
            deadline=limits.deadline,
            body_bytes=limits.body_bytes,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a client's nonsense is told to the client
        config = uvicorn.Config(
            application,
            http=handler,
            ws="none",
            lifespan="off",
            loop="asyncio" if os.name == "nt" else "uvloop",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(limits.drain)),
            ssl_certfile=str(certificate[0]) if certificate else None,
            ssl_keyfile=str(certificate[1]) if certificate else None,
        )
        self._server = uvicorn.Server(config)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listener,), name="serve", daemon=True)
        self._thread.start()
        self._closed = False

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def state(self) -> dict[str, Any]:
        """What ``/ready`` tells: whether it is ready, the models, what waits, and what is wrong."""
        wrong = [*self._versions.wrong(), *([f"the log: {self._journal.wrong}"] if self._journal.wrong else [])]
        return {
            "ready": not self._draining and self._line.alive,
            "models": self._versions.current(),
            "waiting": self._line.waiting,
            "wrong": wrong,
        }

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the server ended by itself, which it does not unless something is broken; False after a while."""
        return self._ended.wait(seconds)

    def close(self) -> None:
        """Take no more, answer what was begun, write the log, and give the port back."""
        if self._closed:
            return
        self._closed = self._draining = True
        self._server.should_exit = True
        self._thread.join()
        self._line.close()
        self._versions.close()
        self._journal.close()

    def _run(self, listener: socket.socket) -> None:
        try:
            self._server.run(sockets=[listener])
        finally:
            self._ended.set()

    def _warm(self) -> None:
        """Answer once for every network, so that the first client does not wait for what loads at first use."""
        for name in self._versions.current():
            row = networks.get(name)
            with contextlib.suppress(ClaudeFlowError):  # an example may name what this workspace lacks
                tools.question(row, requests.example(row)).answer(self._versions.meant(name))

    def _watched(self) -> None:
        watch = self._metrics.watch
        watch("waiting", "Requests in line or being answered.", lambda: self._line.waiting)
        watch("log_lost", "Answers that could not be logged.", lambda: self._journal.lost)
        watch("log_written", "Answers in the log.", lambda: self._journal.written)

    def _switched(self, done: bool, words: str) -> None:
        self._metrics.switch(done)
        _tell(words)

    def _answered(self, item: Item, asked: tools.Question, answer: dict[str, Any], seconds: float) -> None:
        if requests.is_kept(self._log):
            entry = requests.answered(asked.row.name, asked.request, asked.model, seconds, answer, item.id)
            self._journal.add(entry)


def _tell(words: str) -> None:
    print(f"serve: {words}", file=sys.stderr, flush=True)


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        words = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)
        raise InputError(f"host {host}, port {port}: {words}: name another with --port") from None


def _certificate(tls: tuple[str | Path, str | Path] | None) -> tuple[Path, Path] | None:
    """The files, tried: :class:`InputError` where they are no certificate and its key."""
    if tls is None:
        return None
    certificate, key = map(Path, tls)
    for file in (certificate, key):
        if not file.is_file():
            raise InputError(f"{file}: there is no such file")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        words = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise InputError(f"{certificate}, {key}: no certificate in PEM with its key ({words})") from None
    return certificate, key
