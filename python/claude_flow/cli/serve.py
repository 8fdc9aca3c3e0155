"""``claude-flow neural serve``: the networks over HTTP."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output
from claude_flow.errors import ClaudeFlowError, InputError

__all__ = ["serve"]

_TOKEN = "CLAUDE_FLOW_TOKEN"
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    "serve",
    cls=Command,
    examples=[
        "claude-flow neural serve",
        "claude-flow neural serve --models coordination-v3,prediction --port 8720 --deadline 500ms",
        "CLAUDE_FLOW_TOKEN=... claude-flow neural serve --host 0.0.0.0 --tls-certificate cert.pem --tls-key key.pem",
    ],
)
@click.option(
    "--models",
    type=params.NAMES,
    show_default="the newest of each network",
    help="Models, or networks for the newest; the first of a network is asked where a request names none.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option("--port", type=click.IntRange(0, 65535), default=8720, show_default=True, help="Where; 0 is a free one.")
@click.option("--waiting", type=click.IntRange(1, 100_000), default=256, show_default=True, help="Requests in line.")
@click.option("--batch-size", type=click.IntRange(1, 4096), default=32, show_default=True, help="Taken at a time.")
@click.option("--deadline", type=params.DURATION, default="10s", show_default=True, help="The longest for an answer.")
@click.option("--body-limit", type=params.SIZE, default="1mb", show_default=True, help="The longest request.")
@click.option("--drain", type=params.DURATION, default="30s", show_default=True, help="At the end, for what was begun.")
@click.option("--tls-certificate", type=_FILE, help="PEM file; then it is HTTPS.")
@click.option("--tls-key", type=_FILE, help="PEM file of its key.")
@options.log_request()
@options.backend()
@options.threads()
@options.time_budget("End after this time.")
@click.pass_obj
def serve(
    output: Output,
    models: tuple[str, ...] | None,
    host: str,
    port: int,
    waiting: int,
    batch_size: int,
    deadline: float,
    body_limit: int,
    drain: float,
    tls_certificate: Path | None,
    tls_key: Path | None,
    log_request: bool | None,
    backend: str | None,
    threads: int | None,
    time_budget: float | None,
) -> None:
    """Answer requests to all networks over HTTP.

    POST /infer/NETWORK takes a network's options as JSON; /docs lists what there is. A new version of a model, or a
    rollback, is taken up while it runs. $CLAUDE_FLOW_TOKEN is the bearer token that clients must send; without one
    only this machine is listened to. It ends with Ctrl-C or SIGTERM, after what was begun. See docs/serve.md.
    """
    from claude_flow.run.serve import Limits
    from claude_flow.run.serve import serve as start

    if (tls_certificate is None) != (tls_key is None):
        raise InputError("--tls-certificate and --tls-key go together")
    limits = Limits(waiting=waiting, batch=batch_size, deadline=deadline, body_bytes=body_limit, drain=drain)
    with start(
        models or (),
        host,
        port,
        token=os.environ.get(_TOKEN) or None,
        tls=(tls_certificate, tls_key) if tls_certificate and tls_key else None,
        log=log_request,
        limits=limits,
        backend=backend,
        threads=threads,
    ) as server:
        found: dict[str, Any] = {"address": server.address, "port": server.port, "models": server.state()["models"]}
        output.result(found, [(f"Listening at {server.address}", ["network", "model"], list(found["models"].items()))])
        sys.stdout.flush()  # whoever reads it wants it now
        output.note("Ctrl-C ends it")
        ended = False
        with contextlib.suppress(KeyboardInterrupt):
            ended = server.wait(time_budget)
    if ended:
        raise ClaudeFlowError("the server ended by itself")
    output.note("everything that was begun is answered")
