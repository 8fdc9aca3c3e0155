"""The suites under pytest-benchmark: `pytest bench`, with --benchmark-json, --benchmark-compare,
--benchmark-histogram.

A group holds one point with everyone who computes it, ours and the peers. Published ratios come from the races
(`python -m bench`), which take turns; what is seen here is one after the other, and moves with whatever else the
machine does."""

from __future__ import annotations

import os

# As in bench/__main__.py: read when the libraries load.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

# Seconds of a benchmark, where the command line leaves pytest-benchmark's own default of 1: there are hundreds of them.
SECONDS = 0.3
#: Which module an engine needs.
NEEDS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "pytorch": "torch", "pyarrow": "pyarrow"}


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError("pytest-benchmark is not installed: run  pip install 'claude-flow[test]'")
    if float(config.getoption("benchmark_max_time", 0)) == 1.0:
        config.option.benchmark_max_time = SECONDS


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    from bench.environment import environment

    output_json["environment"] = environment([])


@pytest.fixture
def contender(benchmark: Any) -> Callable[..., Any]:
    """``contender(group, engine, call)`` measures ``call``; ``rounds`` fixes how often, for what takes seconds."""

    def measure(group: str, engine: str, call: Callable[[], Any], rounds: int | None = None, **about: Any) -> Any:
        benchmark.group = group
        benchmark.name = f"{group}: {engine}"
        benchmark.extra_info.update({"engine": engine, **about})
        return benchmark.pedantic(call, rounds=rounds) if rounds else benchmark(call)

    return measure


def require(engine: str) -> None:
    """Skip the benchmark where the peer is not installed."""
    module = NEEDS.get(engine.split("-")[0])
    if module and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: run  pip install 'claude-flow[peers]'")
