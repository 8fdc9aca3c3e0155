"""A local MLflow server over the workspace's own runs: started, found again, stopped.

It listens on 127.0.0.1 alone, and outlives the command that starts it; ``experiments/server.json`` says where it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from claude_flow import files, registry
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.train import runlog
from claude_flow.values import read_json

__all__ = ["knock", "running", "start", "stop"]

_EXTRA = "experiments-server"
_STOPS_S = 10.0


def _folder() -> Path:
    return registry.workspace() / "experiments"


def knock(address: str, seconds: float = 5.0) -> str:
    """What is wrong with a server's address, in words; nothing where a server answers there."""
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=seconds):
            return ""
    except urllib.error.HTTPError as error:  # who refuses the stranger is there
        return "" if error.code in (401, 403, 404, 405) else f"it answers with status {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or reason or type(error).__name__)


def running() -> dict[str, Any] | None:
    """``{"address", "pid"}`` of the server that this workspace started, if it answers."""
    path = _folder() / "server.json"
    found = read_json(path) if path.is_file() else None
    if not isinstance(found, dict) or not isinstance(found.get("pid"), int):
        return None
    return found if runlog.alive(found["pid"]) and not knock(str(found["address"]), 2.0) else None


def start(store: str, artifacts: str, port: int = 0, seconds: float = 300.0) -> dict[str, Any]:
    """Start the server, or find the one that runs, and wait until it answers.

    Args:
        store: the address of the database.
        artifacts: a folder, or ``s3://BUCKET/PREFIX``.
        port: 0 = any that is free.
        seconds: how long it may take to answer.

    Raises:
        InputError: the port is taken.
        ClaudeFlowError: the server ended, or did not answer in time; the message has its last line.
    """
    with files.locked(_folder() / ".server.lock", timeout=seconds):
        if there := running():
            return there
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise InputError(f"port {port}: {error.strerror or error}: name another") from None
            port = int(probe.getsockname()[1])
        for module in ("mlflow", "flask", "graphene"):  # mlflow-skinny has the command, but not what it serves with
            require(module, _EXTRA)
        _folder().mkdir(parents=True, exist_ok=True)
        log = _folder() / "server.log"
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--artifacts-destination",
                   artifacts, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]  # fmt: skip
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        quiet["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = (
            "false"  # four more processes, for evaluations that nobody asks for
        )
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                env={**os.environ, **quiet},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C of the command that starts it is not meant for it
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows' word for the same
            )
        found: dict[str, Any] = {"address": f"http://127.0.0.1:{port}", "pid": process.pid}
        end = time.monotonic() + seconds
        try:
            while knock(found["address"], 1.0):
                ended = process.poll() is not None
                if ended or time.monotonic() > end:
                    last = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()][-1:]
                    how = "does not start" if ended else f"did not answer within {seconds:.0f} s"
                    raise ClaudeFlowError(f"the MLflow server {how}: {last[0][:200] if last else log}")
                time.sleep(0.25)
        except BaseException:
            _end(process.pid)
            raise
        files.atomic_write(_folder() / "server.json", json.dumps(found) + "\n")
        return found


def stop() -> dict[str, Any] | None:
    """End the server that this workspace started; None where none runs."""
    with files.locked(_folder() / ".server.lock", timeout=_STOPS_S):
        found = running()
        if found:
            _end(found["pid"])
        (_folder() / "server.json").unlink(missing_ok=True)
        return found


def _end(pid: int) -> None:
    """End the process and its workers: with SIGTERM, after ten seconds without asking."""
    for word in ("SIGTERM", "SIGKILL"):
        number = getattr(signal, word, signal.SIGTERM)
        try:
            os.killpg(pid, number) if hasattr(os, "killpg") else os.kill(pid, number)
        except OSError:
            return
        end = time.monotonic() + _STOPS_S
        while time.monotonic() < end and runlog.alive(pid):
            _reaped(pid)
            time.sleep(0.05)
        if not runlog.alive(pid):
            return


def _reaped(pid: int) -> None:
    """Where it is a child of this process, take its exit code, or it stays as a name without a process."""
    with contextlib.suppress(OSError):
        os.waitpid(pid, getattr(os, "WNOHANG", 0))
