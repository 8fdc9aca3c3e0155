"""Whole processes: what a command costs before it does anything."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from bench import points


@pytest.mark.parametrize("name", points.STARTS)
def test_start(contender: Callable[..., Any], name: str) -> None:
    command, where = points.STARTS[name], tempfile.gettempdir()
    contender("start", name, lambda: subprocess.run(command, check=True, capture_output=True, cwd=where), rounds=5)
