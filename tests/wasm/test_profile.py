"""`wasm profile-simd` measures what it says, and the decoder counts what stands in the modules."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_flow.errors import InputError
from claude_flow.measure import simd
from claude_flow.wasm.binary import count_instructions
from claude_flow.wasm.modules import ISAS, module_path

ROOT = Path(__file__).parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "claude_flow", "neural", "wasm", "profile-simd", *words, "--duration", "0.1s"]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_specs_command() -> None:
    metrics = '["throughput","latency","cache-misses","instruction-efficiency"]'
    said = run(
        *("--model", "coordination-v3", "--workload", "typical-coordination-tasks"),
        *("--metrics", metrics, "--format", "json"),
    )
    assert said.returncode == 0, said.stderr
    answer = json.loads(said.stdout)
    assert [(row["host"], row["isa"]) for row in answer["hosts"]] == [("wasmtime", isa) for isa in ISAS]
    for row in answer["hosts"]:
        latency = row["latency"]
        assert 0 < latency["best"] <= latency["median"] <= latency["p95"]
        assert row["throughput"] > 0
        assert "operations" not in row
        for name in ("cache-misses", "instruction-efficiency"):
            assert str(row[name]).startswith("unavailable: ") or row[name] > 0


def test_every_metric_under_wasmtime_and_node(files: dict[str, Path]) -> None:
    if shutil.which("node") is None:
        pytest.skip("no Node on the PATH")
    answer: dict[str, Any] = simd.profile(files["optimization"], seconds=0.1, javascript=ROOT / "emscripten")
    first, node = answer["hosts"][0], answer["hosts"][len(ISAS)]
    assert node["host"].startswith("Node v")
    assert node["throughput"] > 0
    # Six layers: a product each, and a shortcut where the width changes; 2 operations a weight, and its 4 bytes.
    weights = 256 * 512 * 2 + 512 * 1024 * 2 + 1024 * 1024 + 1024 * 512 * 2 + 512 * 256 * 2 + 256 * 256 + 256 * 128
    assert answer["arithmetic_per_inference"] == pytest.approx(2 * weights, rel=0.01)
    assert first["bytes-moved"]["per_inference"] == pytest.approx(4 * weights, rel=0.02)
    assert sum(op["seconds"] for op in first["operations"]) <= first["latency"]["p95"] / 1e3
    assert 0.05 < first["simd-share"] < 0.5


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--metrics", "speed"), "unknown metric 'speed'"),
        (("--workload", "heavy"), "unknown workload 'heavy'"),
        (("--workload", "typical-prediction-tasks"), "is for prediction models"),
        (("--javascript", "docs"), "holds no claude_flow.mjs"),
    ],
)
def test_refuses_in_one_line(words: tuple[str, ...], text: str) -> None:
    said = run("--model", "coordination-v3", *words)
    assert said.returncode == 2
    assert text in said.stderr
    assert said.stdout == ""


def test_only_the_relaxed_module_holds_relaxed_instructions() -> None:
    plain, relaxed = (count_instructions(module_path(isa).read_bytes()) for isa in ISAS)
    assert "relaxed SIMD" not in plain
    assert relaxed["relaxed SIMD"] > 50
    assert plain["SIMD"] > 1000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 5000))
def test_hostile_modules_are_counted_or_refused(tail: bytes, keep: int) -> None:
    damaged = module_path("simd128").read_bytes()[:keep] + tail
    with contextlib.suppress(InputError):
        assert all(count > 0 for count in count_instructions(damaged).values())
