"""Requests as swarms send them, and how fast a model answers when many come at once."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import modelfile
from claude_flow.errors import InputError, require
from claude_flow.measure.graph import Graph
from claude_flow.model import Model
from claude_flow.report.progress import Progress, nothing

__all__ = ["TYPES", "VARIATIONS", "benchmark", "variation"]

#: input variation -> what it is
VARIATIONS = {
    "typical-workload": "one item a call, sizes mixed as in a small swarm",
    "batch-sizes": "1, 8 and 32 items of the typical size",
    "lengths": "one item of a few, a quarter, half and all of the tokens that the model takes",
    "largest": "one item of the most tokens",
}
#: workload type -> what it is
TYPES = {
    "single-request": "each client sends one item and waits for the answer",
    "batch-processing": "each client sends a batch and waits for the answer",
    "streaming": "items arrive at random at 70 % of the single-request rate; an item's time counts from its arrival, "
    "so waiting in line counts too",
}
STREAMING_LOAD = 0.7
_MIXED = 64  # inputs in a mix
_HIGHEST = 60 * 10**9  # nanoseconds: longer ones count as a minute
_SHARES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}

Inputs = list[NDArray[np.float32]]


def variation(graph: Graph, name: str) -> list[tuple[str, Inputs]]:
    """The inputs of a variation, as labelled lists to call in turn; values random, sizes as it says."""
    if name not in VARIATIONS:
        raise InputError(f"unknown input variation {name!r}: it is one of {', '.join(VARIATIONS)}")
    generator = np.random.default_rng(0)
    typical = int(np.median(_typical_tokens(graph, generator)))
    if name == "typical-workload":
        return [("mixed", _inputs(graph, 1, _typical_tokens(graph, generator), generator))]
    if name == "batch-sizes":
        return [(f"{n} items", _inputs(graph, n, [typical], generator)) for n in (1, 8, 32)]
    if name == "largest" or graph.max_tokens == 1:
        return [(f"{graph.max_tokens} tokens", _inputs(graph, 1, [graph.max_tokens], generator))]
    steps = sorted({min(4, graph.max_tokens), *(max(1, graph.max_tokens // k) for k in (4, 2, 1))})
    return [(f"{tokens} tokens", _inputs(graph, 1, [tokens], generator)) for tokens in steps]


def _typical_tokens(graph: Graph, generator: np.random.Generator) -> list[int]:
    """A swarm of 2 to 8 agents with 1 to 12 open tasks and a state token; for histories the same range of records."""
    sizes = 1 + generator.integers(2, 9, _MIXED) + generator.integers(1, 13, _MIXED)
    return [min(int(size), graph.max_tokens) for size in sizes]


def _inputs(graph: Graph, items: int, tokens: Sequence[int], generator: np.random.Generator) -> Inputs:
    *has_tokens, width = graph.input_shape
    shapes = [(items, count, width) if has_tokens else (items, width) for count in tokens]
    return [generator.standard_normal(shape, np.float32) for shape in shapes]


def benchmark(
    model: Model,
    types: Sequence[str] = tuple(TYPES),
    concurrency: Sequence[int] = (1, 4),
    seconds: float = 30.0,
    *,
    batch: int = 32,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Throughput and latency under each workload type and number of clients; ``seconds`` in all, shared equally.

    Latencies go into an HDR histogram of three significant digits. Raises :class:`InputError` for an unknown type, a
    concurrency below 1 or a duration that leaves a run less than 20 ms, ``ModuleNotFoundError`` without hdrhistogram.
    """
    unknown = [name for name in types if name not in TYPES]
    if unknown or not types:
        named = f"unknown workload type {unknown[0]!r}" if unknown else "no workload type"
        raise InputError(f"{named}: choose from {', '.join(TYPES)}")
    if not concurrency or min(concurrency) < 1 or max(concurrency) > 1024:
        raise InputError(f"concurrency levels {list(concurrency)}: give numbers from 1 to 1024")
    if batch < 1:
        raise InputError(f"a batch of {batch}: it is at least 1")
    share = seconds / (len(types) * len(concurrency))
    if share < 0.02:
        raise InputError(
            f"{seconds:g} s for {len(types) * len(concurrency)} runs is too short: give at least 20 ms each"
        )
    graph = Graph(modelfile.read(model.path))
    generator = np.random.default_rng(0)
    tokens = _typical_tokens(graph, generator)
    singles = _inputs(graph, 1, tokens, generator)
    batches = _inputs(graph, batch, tokens[:4], generator)
    rows: list[dict[str, Any]] = []
    for kind, clients in itertools.product(types, concurrency):
        done = share * len(rows)
        note = f"{kind}, {clients} client{'s' if clients > 1 else ''}"

        def report(gone: float, done: float = done, note: str = note) -> None:
            progress((done + gone) / seconds, note)

        if kind == "streaming":
            probe, _, elapsed = _closed(model, singles, clients, 0.2 * share, report)
            rate = STREAMING_LOAD * len(probe) / elapsed
            times, late, elapsed = _open(model, singles, clients, rate, 0.8 * share, report)
        else:
            times, late, elapsed = _closed(
                model, batches if kind == "batch-processing" else singles, clients, share, report
            )
            rate = None
        items = len(times) * (batch if kind == "batch-processing" else 1)
        rows.append(
            {
                "workload": kind,
                "clients": clients,
                "requests": len(times),
                "unanswered": late,
                "items_per_second": items / elapsed,
                "arrivals_per_second": rate,
                **_summary(times),
            }
        )
    return {
        "model": str(model.path),
        "network": model.network,
        "backend": model.backend,
        "precision": model.precision,
        "isa": model.isa,
        "threads": model.threads,
        "batch": batch,
        "seconds": seconds,
        "rows": rows,
    }


def _summary(times: list[float]) -> dict[str, float]:
    """Percentiles in milliseconds out of an HDR histogram."""
    histogram = require("hdrh.histogram", "bench").HdrHistogram(1, _HIGHEST, 3)
    nanoseconds = np.clip(1e9 * np.asarray(times), 1, _HIGHEST).astype(np.int64)
    for value, count in zip(*np.unique(nanoseconds, return_counts=True), strict=True):
        histogram.record_value(int(value), int(count))
    shares = {name: histogram.get_value_at_percentile(share) / 1e6 for name, share in _SHARES.items()}
    return {
        **{f"{name}_ms": value for name, value in shares.items()},
        "mean_ms": histogram.get_mean_value() / 1e6,
        "max_ms": histogram.get_max_value() / 1e6,
    }


Report = Callable[[float], None]


def _closed(
    model: Model, inputs: Inputs, clients: int, seconds: float, report: Report
) -> tuple[list[float], int, float]:
    """Each client calls, waits, calls again. Returns the latencies, 0, and the seconds that it took."""
    begin = time.perf_counter()
    deadline = begin + seconds

    def client(number: int, times: list[float]) -> None:
        for x in itertools.cycle(inputs[number % len(inputs) :] + inputs[: number % len(inputs)]):
            start = time.perf_counter()
            model.run(x)
            end = time.perf_counter()
            times.append(end - start)
            if end >= deadline:
                return

    times = _run_clients(client, clients, seconds, report)
    return times, 0, time.perf_counter() - begin


def _open(
    model: Model, inputs: Inputs, clients: int, rate: float, seconds: float, report: Report
) -> tuple[list[float], int, float]:
    """Items arrive by a Poisson process; a free client takes the next. Returns also how many never had their turn."""
    gaps = np.random.default_rng(1).exponential(1 / rate, max(1, int(rate * seconds)))
    begin = time.perf_counter()
    arrivals = (begin + np.cumsum(gaps)).tolist()
    deadline = begin + 2 * seconds
    next_one = itertools.count()  # its next() is atomic under the interpreter's lock

    def client(number: int, times: list[float]) -> None:
        while (index := next(next_one)) < len(arrivals):
            early = arrivals[index] - time.perf_counter()
            if early > 0:
                time.sleep(early)
            model.run(inputs[index % len(inputs)])
            end = time.perf_counter()
            times.append(end - arrivals[index])
            if end >= deadline:
                return

    times = _run_clients(client, clients, seconds, report)
    return times, len(arrivals) - len(times), time.perf_counter() - begin


def _run_clients(
    client: Callable[[int, list[float]], None], clients: int, seconds: float, report: Report
) -> list[float]:
    found: list[list[float]] = [[] for _ in range(clients)]
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            client(number, found[number])
        except BaseException as error:
            failures.append(error)

    # Daemons, so that Ctrl-C ends the program without waiting for them.
    threads = [threading.Thread(target=guarded, args=(number,), daemon=True) for number in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.1)
            report(min(seconds, time.perf_counter() - begin))
    if failures:
        raise failures[0]
    return [value for times in found for value in times]
