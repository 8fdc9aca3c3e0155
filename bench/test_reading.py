"""Reading: a log of events into tables, beside a plain JSON parser that only reads it; and tables back from disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="tables need it: run  pip install 'claude-flow[data]'")

import pyarrow.json
import pyarrow.parquet

from bench.logs import write_log
from claude_flow.data.collect import collect
from claude_flow.data.tables import read_table

RUNS = 2000


@pytest.mark.parametrize("engine", ["claude-flow", "json", "pyarrow"])
def test_log(contender: Callable[..., Any], tmp_path: Path, engine: str) -> None:
    log = write_log(tmp_path / "events.jsonl", RUNS)
    calls: dict[str, Callable[[], Any]] = {
        "claude-flow": lambda: collect([log], tmp_path / "tables", quality_filter="none"),
        "json": lambda: [json.loads(line) for line in log.open(encoding="utf-8")],
        "pyarrow": lambda: pyarrow.json.read_json(log),
    }
    contender(f"reading {5 * RUNS:,} events", engine, calls[engine], bytes=log.stat().st_size)


@pytest.mark.parametrize("engine", ["claude-flow", "pyarrow"])
def test_table(contender: Callable[..., Any], tmp_path: Path, engine: str) -> None:
    collect([write_log(tmp_path / "events.jsonl", RUNS)], tmp_path / "tables", quality_filter="none")
    calls: dict[str, Callable[[], Any]] = {
        "claude-flow": lambda: read_table(tmp_path / "tables", "runs"),
        "pyarrow": lambda: pyarrow.parquet.read_table(tmp_path / "tables" / "runs.parquet"),
    }
    contender(f"reading a table of {RUNS:,} runs", engine, calls[engine])
