"""A notebook server as a child process: on this machine alone, awaited until it answers, ended with its kernels."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from claude_flow.errors import ClaudeFlowError, InputError

__all__ = ["HOST", "Server", "free", "started"]

HOST = "127.0.0.1"
_START_S, _END_S = 240.0, 15.0  # a cold disk and a busy machine; kernels that are asked to end


@dataclass(frozen=True)
class Server:
    """A server that answers: what it is, its address for a browser, which holds the token, and its process."""

    name: str
    url: str
    process: subprocess.Popen[bytes]

    def wait(self, seconds: float | None) -> None:
        """Return when it was shut down from its page, or after ``seconds``; else ClaudeFlowError."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if code := self.process.wait(seconds):
                raise ClaudeFlowError(f"{self.name} ended with code {code}")


def free(port: int | None) -> int:
    """That port, or a free one; InputError where it is in use, or may not be used."""
    try:
        with socket.create_server((HOST, port or 0)) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise InputError(f"--port {port}: {error.strerror}: name another, or none for a free one") from None


@contextlib.contextmanager
def started(
    name: str,
    command: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    log: Path,
    asked: urllib.request.Request,
    url: str,
) -> Iterator[Server]:
    """Run ``command`` in ``folder`` until the body ends; the body begins when ``asked`` is answered.

    Raises:
        ClaudeFlowError: it ended, or did not answer within four minutes; the message says where its log is.
    """
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as written:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for this process alone, which then ends it
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows' word for the same
        )
    try:
        end = time.monotonic() + _START_S
        while not _answers(asked):
            if process.poll() is not None:
                raise ClaudeFlowError(f"{name} ended with code {process.returncode}: see {log}")
            if time.monotonic() > end:
                raise ClaudeFlowError(f"{name} does not answer after {_START_S:g} s: see {log}")
            time.sleep(0.2)
        yield Server(name, url, process)
    finally:
        _end(process)


def _answers(asked: urllib.request.Request) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end its kernels and itself; make it, if it does not."""
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
