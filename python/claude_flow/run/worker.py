"""What a node of a cluster runs: the models, and the answers to shards of requests."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from claude_flow import engine, registry
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.run.batch import Ensemble, Item, records, text

__all__ = ["Worker", "digests"]


def digests(models: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the files that the names stand for here."""
    return {name: hashlib.sha256(registry.model_path(name).read_bytes()).hexdigest() for name in models}


class Worker:
    """Answers shards. Nothing of it is Ray's; ``folder`` and ``workspace`` hold where the node has them."""

    def __init__(self, *, folder: str = "", workspace: str = "") -> None:
        if folder and Path(folder).is_dir():
            os.chdir(folder)
        if workspace and Path(workspace).is_dir():
            os.environ["CLAUDE_FLOW_HOME"] = workspace
        self._ensemble: Ensemble | None = None

    def about(self, models: Sequence[str]) -> dict[str, Any]:
        """This node's machine, process, instruction sets, and the digests of the models."""
        return {
            "host": platform.node(),
            "pid": os.getpid(),
            "isas": list(engine.available()),
            "models": digests(models),
        }

    def load(self, models: Sequence[str], moment: str, options: dict[str, Any]) -> None:
        """Load the models; see :class:`claude_flow.run.batch.Ensemble`."""
        self._ensemble = Ensemble(models, moment=moment, **options)

    def answer(self, where: str, items: Sequence[Item]) -> tuple[list[bytes], float]:
        """A line for every request, and the seconds that they took."""
        begin = time.perf_counter()
        if self._ensemble is None:
            raise InputError("no models are loaded")
        try:
            found = list(map(text, records(self._ensemble, where, items)))
        except MemoryError:
            raise ClaudeFlowError("out of memory") from None
        return found, time.perf_counter() - begin
