"""The instruction sets of the engine's tests: one that this CPU lacks is skipped, never passed."""

from __future__ import annotations

import pytest

from claude_flow import engine

WORDS = ("scalar", "sse41", "avx2", "avxvnni", "avx512", "avx512vnni")
unknown = [word for word in engine.available() if word not in WORDS]
assert not unknown, f"the engine has instruction sets that no test names: {unknown}"


@pytest.fixture(params=WORDS)
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set in turn."""
    if request.param not in engine.available():
        pytest.skip(f"this CPU has no {request.param}")
    return request.param
