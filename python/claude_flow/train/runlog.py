"""The append-only record of a training run, ``RUN/metrics.jsonl``: written by the loop, read by whoever watches it.

One JSON object per line, each with ``event`` and ``time`` (seconds since 1970):

* ``start``: what is trained, by which process (``network``, ``epochs``, ``monitor``, ``patience``, ``parameters``,
  ``host``, ``pid``), and ``epoch``, the epochs that were done before: 0, or more where the run was resumed;
* ``progress``: at most one a second, within an epoch (``epoch``, ``share`` of it, ``loss`` so far);
* ``epoch``: all values that the epoch was judged by, ``seconds`` of training so far among them;
* ``end``: why the run ended (``stopped``), or broke off (``error``).

A reader sees whole lines only; a resumed run takes back the epochs that its checkpoint does not hold.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claude_flow.errors import InputError
from claude_flow.files import atomic_write

__all__ = ["FILE", "RunLog", "Seen", "alive", "read"]

FILE = "metrics.jsonl"
_PROGRESS_SECONDS = 1.0


class RunLog:
    """Writes the log of a run in ``folder``: anew, or on at its end where ``epoch`` epochs were done before."""

    def __init__(self, folder: Path, epoch: int, **about: Any) -> None:
        self._path = folder / FILE
        self._last = -math.inf
        if epoch == 0:
            atomic_write(self._path, "")
        self._append("start", {"epoch": epoch, "host": socket.gethostname(), "pid": os.getpid(), **about})

    def progress(self, epoch: int, share: float, loss: float) -> None:
        """Note how far the epoch (from 1) is; calls within a second of the last note are dropped."""
        if time.monotonic() - self._last >= _PROGRESS_SECONDS:
            self._last = time.monotonic()
            self._append("progress", {"epoch": epoch, "share": round(share, 4), "loss": loss})

    def epoch(self, values: dict[str, float], seconds: float) -> None:
        """Note the values of an epoch, its number (``epoch``) among them."""
        self._append("epoch", {**values, "seconds": round(seconds, 3)})

    def end(self, **why: str) -> None:
        """Note the end: ``stopped="..."``, or ``error="..."``."""
        self._append("end", why)

    def _append(self, event: str, values: dict[str, Any]) -> None:
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        line = json.dumps({"event": event, "time": round(time.time(), 3), **finite}) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)  # one write of a short line: a reader never sees half of two


@dataclass
class Seen:
    """What a log told so far: ``about`` of its latest start, the ``epochs``, how far the current one is, its end."""

    about: dict[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    progress: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)
    time: float = 0.0  # of the last word

    @property
    def alive(self) -> bool:
        """Whether the process that writes it may still run; of another machine's it is taken to."""
        if self.end:
            return False
        if self.about.get("host") != socket.gethostname():
            return True
        try:
            return alive(int(self.about["pid"]))
        except (OverflowError, ValueError):
            return False

    def series(self, name: str) -> list[tuple[int, float]]:
        """(epoch, value) of every epoch that logged ``name`` as a number.

        >>> Seen(epochs=[{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": None}]).series("loss")
        [(1, 2.0)]
        """
        return [(entry["epoch"], entry[name]) for entry in self.epochs if entry.get(name) is not None]


def alive(pid: int) -> bool:
    """Whether this machine has such a process. On Windows ``os.kill`` would end it, whatever the signal."""
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = ctypes.c_void_p(kernel.OpenProcess(0x100000, False, pid))  # SYNCHRONIZE
        if not handle:
            return bool(kernel.GetLastError() == 5)  # it is there, and another user's
        ended = kernel.WaitForSingleObject(handle, 0) == 0
        kernel.CloseHandle(handle)
        return not ended
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def read(folder: Path) -> Seen:
    """Read the log of a run, finished or not; an incomplete last line is left for the next time.

    Raises :class:`InputError` when there is none, or when it is not such a log.
    """
    path = folder / FILE
    try:
        lines = path.read_text("utf-8").split("\n")[:-1]
    except FileNotFoundError:
        raise InputError(f"{folder}: this run has no {FILE}; train it with this version to watch it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    seen = Seen()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            event, seen.time = entry.pop("event"), float(entry.pop("time"))
            if event == "start":
                seen.epochs = [e for e in seen.epochs if e["epoch"] <= entry["epoch"]]
                patience = entry["patience"] and int(entry["patience"])
                about = {"network": str(entry["network"]), "epochs": int(entry["epochs"]), "patience": patience}
                seen.about = {**entry, **about, "monitor": str(entry["monitor"])}
                seen.progress, seen.end = {}, {}
            elif event == "epoch":
                values = {k: None if v is None else float(v) for k, v in entry.items()}
                seen.epochs.append({**values, "epoch": int(entry["epoch"]), "seconds": float(entry["seconds"])})
                seen.progress = {}
            elif event == "progress":
                seen.progress = {"epoch": int(entry["epoch"]), "share": float(entry["share"]), "loss": entry["loss"]}
            elif event == "end":
                seen.end = entry
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            message = f"{path}:{number}: not a line of a training log ({type(error).__name__}: {error})"
            raise InputError(message) from None
    if not seen.about:
        raise InputError(f"{path}: the run has written nothing yet; try again in a moment")
    return seen
