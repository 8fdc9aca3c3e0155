"""The pytest-benchmark suites: the smallest point of each runs, peers stand in its group, and what pytest-benchmark
offers works on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pytest_benchmark", reason="the suites need it: run  pip install 'claude-flow[test]'")
pytest.importorskip("torch", reason="the networks come from torch: run  pip install 'claude-flow[train]'")
pytest.importorskip("pyarrow", reason="the logs are read into tables: run  pip install 'claude-flow[data]'")

from bench import points

ROOT = Path(__file__).parents[2]
SMALLEST = [
    "test_networks.py::test_engine[fp32-claude-flow-1-optimization-1x256]",
    "test_networks.py::test_engine[fp32-pytorch-1-optimization-1x256]",
    "test_networks.py::test_engine[int8-claude-flow-2-optimization-1x256]",
    "test_networks.py::test_instruction_set[scalar-int8-optimization-1x256]",
    "test_kernels.py::test_product[openblas-128]",
    "test_kernels.py::test_elementwise[claude-flow-gelu-64KiB]",
    "test_kernels.py::test_elementwise[pytorch-gelu-64KiB]",
    "test_wasm.py::test_wasmtime[native-fp32-optimization-1x256]",
    "test_wasm.py::test_wasmtime[wasmtime relaxed-fp32-optimization-1x256]",
    "test_wasm.py::test_node[relaxed-int8-optimization-1x256]",
    "test_loading.py::test_load[claude-flow-optimization]",
    "test_loading.py::test_load[safetensors-optimization]",
    "test_reading.py::test_log",
    "test_training.py::test_step[step-optimization-64x256]",
    "test_training.py::test_step[forward-optimization-64x256]",
    "test_start.py::test_start[claude-flow --help]",
]


def suites(folder: Path, tests: list[str], *options: str) -> str:
    """What `pytest bench/TEST…` prints; each benchmark is short."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", *options]
    done = subprocess.run(
        [
            *command,
            "--benchmark-max-time=0.01",
            "--benchmark-min-rounds=1",
            *(f"{ROOT}/bench/{test}" for test in tests),
        ],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_suite_runs_and_peers_share_the_group(tmp_path):
    modules = ROOT / "python" / "claude_flow" / "wasm"
    wanted = [test for test in SMALLEST if "test_wasm" not in test or (modules / "relaxed.wasm").exists()]
    said = suites(tmp_path, wanted, "--benchmark-json=found.json")
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    groups: dict[str, set[str]] = {}
    for row in found["benchmarks"]:
        groups.setdefault(row["group"], set()).add(row["extra_info"]["engine"])
        assert row["stats"]["min"] > 0
    assert groups["optimization 1×256 fp32, 1 thread"] == {points.OURS, "pytorch"}
    assert groups["gelu, 64 KiB"] == {points.OURS, "pytorch"}
    assert groups["loading optimization"] == {points.OURS, "safetensors"}
    assert groups["reading 10,000 events"] == {points.OURS, "json", "pyarrow"}
    assert groups["training optimization 64×256"] == {"step", "forward"}
    assert {"optimization 1×256 int8 by instruction set", "product 128×128×128", "start"} <= set(groups)
    assert found["environment"]["isa"]
    assert "optimization 1×256 fp32, 1 thread" in said


def test_results_are_compared_and_drawn(tmp_path):
    tests = ["test_kernels.py::test_elementwise[claude-flow-exp-64KiB]"]
    suites(tmp_path, tests, "--benchmark-save=before")
    said = suites(tmp_path, tests, "--benchmark-compare", "--benchmark-histogram=times")
    assert "before" in said
    (drawn,) = tmp_path.glob("times*.svg")
    assert "exp" in drawn.read_text("utf-8")


def test_the_list_of_suites_is_complete():
    """A suite that is added gets its smallest point above."""
    assert {test.split("::")[0] for test in SMALLEST} == {path.name for path in (ROOT / "bench").glob("test_*.py")}


def test_suites_and_races_measure_the_same_points():
    from bench import kernels, models, wasm

    assert models.NETWORKS is points.NETWORKS
    assert wasm.WASM is points.WASM
    assert (kernels.PRODUCTS, kernels.BYTES) == (points.PRODUCTS, points.BYTES)
    assert len(points.NETWORKS) == 9
    assert len(points.WASM) == 6
