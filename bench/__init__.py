"""Benchmarks against other engines. `python -m bench` measures and writes bench/results.json, or
bench/results_avx2.json on a machine without AVX-512; `python -m bench.report` turns them into pages of docs/. A
comparison times its contenders in turns in one process, which pytest-benchmark cannot do: on a shared machine only such
ratios mean anything."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def results(isa: str) -> Path:
    """Where the results of machines go whose best instruction set is `isa`."""
    return ROOT / "bench" / ("results.json" if isa.startswith("avx512") else f"results_{isa}.json")
