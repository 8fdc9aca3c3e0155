"""Small synthetic logs, written in code: nothing here is copied from a real one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.transcript import T0, Transcript


@pytest.fixture
def transcript() -> type[Transcript]:
    return Transcript


@pytest.fixture
def after():
    """``after(3)`` is 2026-03-02T09:00:03Z."""
    return lambda seconds: T0 + timedelta(seconds=seconds)


@pytest.fixture
def gather():
    """Read a path with its own source: the records by kind, and the log's account."""
    from claude_flow.data.lines import Log
    from claude_flow.data.sources import detect

    def read(path: Path) -> tuple[dict[str, list[Any]], Log]:
        log = Log()
        found: dict[str, list[Any]] = {"Run": [], "Step": [], "Task": [], "Fold": []}
        for source, files in detect(path).parts:
            for record in source.read(path, files, log):
                found[type(record).__name__].append(record)
        return found, log

    return read
