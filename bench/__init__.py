"""Benchmarks against other engines. `python -m bench` measures and writes bench/results.json; `python -m bench.report`
turns that file into docs/performance.md. A comparison times its contenders in turns in one process, which
pytest-benchmark cannot do: on a shared machine only such ratios mean anything."""

from pathlib import Path

RESULTS = Path(__file__).with_name("results.json")
