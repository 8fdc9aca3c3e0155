"""Fixtures that every test may use: the public data (absent on most machines) and small models made on the spot."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A shell that runs the tests in the background makes them ignore Ctrl-C, and every process that they start with them:
# the tests that send it need its usual effect.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def public_data() -> Path:
    """The folder of public data sets that may not be redistributed; tests that need it are skipped without it."""
    path = Path(os.environ.get("CLAUDE_FLOW_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"the public data sets are not at {path} (set CLAUDE_FLOW_TEST_DATA)")
    return path


@pytest.fixture(autouse=True)
def _own_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the developer's workspace."""
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path / "workspace"))
