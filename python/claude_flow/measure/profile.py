"""Where the time of a model goes: op by op against the machine's limits, and how it spreads over requests."""

from __future__ import annotations

import gc
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import modelfile
from claude_flow.errors import InputError
from claude_flow.measure import machine, workload
from claude_flow.measure.graph import Cost, Graph, Node
from claude_flow.model import Model, load
from claude_flow.modelfile.quantize import products, quantize
from claude_flow.report.progress import Progress, nothing

__all__ = ["computation", "latency", "limits"]


def computation(
    model: Model,
    batch: int = 1,
    tokens: int | None = None,
    *,
    seconds: float = 2.0,
    breakdown: bool = True,
    memory: bool = False,
    cache: bool = False,
    suggestions: bool = False,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Time every op of ``model`` on ``batch`` items of ``tokens`` tokens (default: the most it takes).

    Each op's time is its best of many runs; its limit is the longer of its arithmetic and its bytes at the rates that
    this machine reaches on the model's instruction set, measured in the same call (products of 8-bit
    integers by what it multiplies of those); its share is limit / time. Raises :class:`InputError` for a backend
    without a clock between ops.
    """
    _need_native(model)
    graph = _graph(model)
    lengths = _lengths(graph, batch, tokens)
    x = np.random.default_rng(0).standard_normal(_shape(graph, lengths), np.float32)
    ceilings = machine.ceilings(model.isa, model.threads)
    times, whole = _best(model, x, seconds, progress)
    # Again: what else the machine does in one moment must not pass for its limit.
    ceilings = ceilings.best(machine.ceilings(model.isa, model.threads))
    ops = [_op(graph, index, best, lengths, ceilings) for index, best in enumerate(times)]
    inside = sum(op["seconds"] for op in ops)
    answer: dict[str, Any] = {
        "model": str(model.path),
        "network": model.network,
        "precision": model.precision,
        "isa": model.isa,
        "threads": model.threads,
        "items": batch,
        "tokens": lengths[0],
        "seconds": whole,
        "outside_ops_seconds": max(0.0, whole - inside),
        "operations": sum(op["operations"] for op in ops),
        "bytes": sum(op["bytes"] for op in ops),
        "limit_seconds": sum(op["limit_seconds"] for op in ops),
        "ceilings": {
            "operations_per_second": ceilings.operations,
            "int8_operations_per_second": ceilings.int8_operations,
            "bytes_per_second": [{"working_set": size, "rate": rate} for size, rate in ceilings.bandwidth],
        },
    }
    answer["kinds"] = _kinds(ops)
    if breakdown:
        answer["ops"] = ops
    if memory:
        answer["memory"] = {
            "weights_bytes": graph.weight_bytes,
            "file_bytes": model.path.stat().st_size,
            "arena_bytes": model.arena_bytes,
            "input_bytes": x.nbytes,
            "process_resident_bytes": (used := machine.usage()).resident,
            "process_peak_bytes": used.peak,
        }
    if cache:
        answer["cache"] = _cache(model, graph, x)
    if suggestions:
        answer["suggestions"] = _suggest(model, graph, ops, answer, x)
    return answer


def _graph(model: Model) -> Graph:
    file = modelfile.read(model.path)
    if model.precision != file.precision:
        file = quantize(file, four=products(file) if model.precision == "int4" else ())
    return Graph(file)


def _need_native(model: Model) -> None:
    if model.backend != "native":
        raise InputError(f"the limits of the {model.backend} backend cannot be measured; profile with the native one")


def _shape(graph: Graph, lengths: list[int]) -> tuple[int, ...]:
    width = graph.input_shape[-1]
    return (len(lengths), max(lengths), width) if len(graph.input_shape) == 2 else (len(lengths), width)


def _lengths(graph: Graph, batch: int, tokens: int | None) -> list[int]:
    most = graph.max_tokens if len(graph.input_shape) == 2 else 1
    if tokens is not None and not 1 <= tokens <= most:
        raise InputError(f"{tokens} tokens: this model takes 1 to {most}")
    if batch < 1:
        raise InputError(f"a batch of {batch}: it is at least 1")
    return [tokens or most] * batch


def _best(model: Model, x: NDArray[np.float32], seconds: float, progress: Progress) -> tuple[list[float], float]:
    """The best time of each op, and of a whole run without clocks in it."""
    best = [seconds for _, _, seconds in model.profile(x)]
    whole, begin = float("inf"), time.perf_counter()
    while (gone := time.perf_counter() - begin) < seconds or whole == float("inf"):
        progress(min(1.0, gone / seconds), "")
        best = [min(was, now) for was, (_, _, now) in zip(best, model.profile(x), strict=True)]
        start = time.perf_counter()
        model.run(x)
        whole = min(whole, time.perf_counter() - start)
    return best, whole


def _op(graph: Graph, index: int, seconds: float, lengths: list[int], ceilings: machine.Ceilings) -> dict[str, Any]:
    node = graph.nodes[index]
    cost = graph.cost(node, lengths)
    arithmetic, moving = limits(graph, node, cost, ceilings)
    limit = max(arithmetic, moving)
    return {
        "op": index,
        "kind": node.code.name.lower(),
        "name": node.name,
        "seconds": seconds,
        "operations": cost.operations,
        "bytes": cost.bytes,
        "operations_per_second": cost.operations / seconds if seconds > 0 else None,
        "limit_seconds": limit,
        "bound": "arithmetic" if arithmetic > moving else "memory",
        "share": min(1.0, limit / seconds) if seconds > 0 else None,
    }


def limits(graph: Graph, node: Node, cost: Cost, ceilings: machine.Ceilings) -> tuple[float, float]:
    """The least seconds for the arithmetic of ``node``, and for its bytes. Weights come from wherever all weights
    together fit, as each run reads all of them; those that an LSTM reads again at every step, and activations, from
    where they fit themselves."""
    steps = cost.again and cost.again / cost.weights
    arithmetic = cost.operations / (ceilings.int8_operations if node.int8 else ceilings.operations)
    moving = (
        cost.weights / ceilings.read_rate(graph.weight_bytes / ceilings.threads)
        + cost.again / ceilings.read_rate(cost.again / max(1.0, steps) / ceilings.threads)
        + cost.activations / ceilings.read_rate(cost.activations / ceilings.threads)
    )
    return arithmetic, moving


def _kinds(ops: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The ops by kind, the slowest first."""
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for op in ops:
        grouped[op["kind"]].append(op)
    total = sum(op["seconds"] for op in ops)
    rows = [
        {
            "kind": kind,
            "ops": len(members),
            "seconds": (seconds := sum(op["seconds"] for op in members)),
            "of_the_time": seconds / total if total > 0 else 0.0,
            "share": min(1.0, sum(op["limit_seconds"] for op in members) / seconds) if seconds > 0 else None,
        }
        for kind, members in grouped.items()
    ]
    return sorted(rows, key=lambda row: -row["seconds"])


def _cache(model: Model, graph: Graph, x: NDArray[np.float32]) -> dict[str, Any]:
    """What must fit where, and what the machine counts while the model runs ten times."""
    sets = {
        "weights": graph.weight_bytes,
        "working memory": model.arena_bytes,
        "largest weight": max(weight.nbytes for node in graph.nodes for weight in node.weights.values()),
    }
    levels = machine.caches()
    fits = {
        name: next((f"L{level['level']}" for level in levels if size <= level["bytes"]), "memory")
        for name, size in sets.items()
    }
    counters = machine.count_events(lambda: [model.run(x) for _ in range(10)])
    return {
        "levels": levels,
        "sets": [{"what": name, "bytes": size, "fits": fits[name]} for name, size in sets.items()],
        "counters_of_10_runs": counters,
    }


def _suggest(
    model: Model, graph: Graph, ops: list[dict[str, Any]], answer: dict[str, Any], x: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """What the numbers say would help, with the numbers; alternatives that can be tried are tried."""
    found: list[dict[str, Any]] = []
    total = answer["seconds"]

    def suggest(what: str, because: str, seconds_per_item: float | None = None) -> None:
        found.append({"suggestion": what, "because": because, "seconds_per_item": seconds_per_item})

    items = len(x)
    memory = sum(op["seconds"] for op in ops if op["bound"] == "memory")
    weights = sum(graph.nodes[op["op"]].weight_bytes for op in ops if op["bound"] == "memory")
    if memory > 0.5 * total and items < 8:
        wide = np.ascontiguousarray(np.repeat(x, 8, axis=0))
        per_item = min(_timed(model, wide) for _ in range(3)) / len(wide)
        if per_item < 0.8 * total / items:
            suggest(
                f"run {8 * items} items at once (runtime setup-acceleration --batch-processing true)",
                f"{memory / total:.0%} of the time reads memory, and a batch reads the weights once; "
                f"measured {1e3 * per_item:.3f} ms per item instead of {1e3 * total / items:.3f}",
                per_item,
            )
    cpus = os.cpu_count() or 1
    others: list[tuple[str, list[str], str, int]] = []
    if model.precision == "fp32":
        because = (
            [f"memory-bound ops read {weights / 1e6:.1f} MB of fp32 weights, int8 is a quarter"] if weights else []
        )
        others.append(("run it with 8-bit integers (precision int8)", because, "int8", model.threads))
    if model.threads < cpus:
        what = f"use {cpus} threads (runtime setup-acceleration --thread-pool-size {cpus})"
        others.append((what, [], model.precision, cpus))
    for what, because, precision, threads in others:
        other = load(model.path, "native", precision, threads, model.isa)
        per_item = min(_timed(other, x) for _ in range(5)) / items
        if per_item < 0.8 * total / items:
            measured = f"measured {1e3 * per_item:.3f} ms per item instead of {1e3 * total / items:.3f}"
            suggest(what, "; ".join([*because, measured]), per_item)
    if answer["outside_ops_seconds"] > 0.2 * total:
        suggest(
            "put more work into a call",
            f"{answer['outside_ops_seconds'] / total:.0%} of a run is spent outside the ops (entry, copies, waiting)",
        )
    for kind in answer["kinds"]:
        if kind["of_the_time"] > 0.15 and kind["share"] is not None and kind["share"] < 0.4:
            suggest(
                f"look at the kernel of {kind['kind']}",
                f"{kind['of_the_time']:.0%} of the time at {kind['share']:.0%} of what this machine can do",
            )
    return found


def _timed(model: Model, x: NDArray[np.float32]) -> float:
    begin = time.perf_counter()
    model.run(x)
    return time.perf_counter() - begin


# Latency ------------------------------------------------------------------------------------------------------------


def latency(
    model: Model,
    variations: Sequence[str] = ("typical-workload",),
    percentiles: Sequence[int] = (50, 90, 95, 99),
    *,
    seconds: float = 5.0,
    bottleneck: bool = False,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Time single calls on each input variation (see :data:`workload.VARIATIONS`), ``seconds`` in all.

    With ``bottleneck``, say for each which kind of op takes most, what the slow tail is made of, and what it would take
    to change that. Raises :class:`InputError` for an unknown variation or a percentile outside 1 … 100.
    """
    if bottleneck:
        _need_native(model)
    if not percentiles or not all(1 <= p <= 100 for p in percentiles):
        raise InputError(f"percentiles {list(percentiles)}: give numbers from 1 to 100")
    graph = _graph(model)
    inputs = [(v, label, xs) for v in variations for label, xs in workload.variation(graph, v)]
    rows = []
    for index, (name, label, xs) in enumerate(inputs):
        times, stalls = _sample(model, xs, seconds / len(inputs))
        progress((index + 1) / len(inputs), label)
        milliseconds = 1e3 * np.asarray(times)
        row: dict[str, Any] = {
            "variation": name,
            "input": label,
            "calls": len(times),
            "mean_ms": float(milliseconds.mean()),
            "min_ms": float(milliseconds.min()),
            "max_ms": float(milliseconds.max()),
            **{f"p{p}_ms": float(np.percentile(milliseconds, p)) for p in percentiles},
        }
        if bottleneck:
            row["bottleneck"] = _bottleneck(model, graph, xs, row, stalls)
        rows.append(row)
    return {
        "model": str(model.path),
        "network": model.network,
        "isa": model.isa,
        "threads": model.threads,
        "percentiles": list(percentiles),
        "rows": rows,
    }


def _sample(model: Model, xs: Sequence[NDArray[np.float32]], seconds: float) -> tuple[list[float], dict[str, float]]:
    """Times of calls on the inputs in turn, and what the system did to the process meanwhile."""
    for x in xs[:3]:
        model.run(x)
    before, collections = machine.usage(), _collections()
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(times) < 2 * len(xs) or time.perf_counter() < deadline:
        times.append(_timed(model, xs[len(times) % len(xs)]))
    after = machine.usage()
    return times, {
        "preemptions": (after.preemptions - before.preemptions) / len(times),
        "page_faults": (after.page_faults - before.page_faults) / len(times),
        "collections": (_collections() - collections) / len(times),
    }


def _collections() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())


def _bottleneck(
    model: Model, graph: Graph, xs: Sequence[NDArray[np.float32]], row: dict[str, Any], stalls: dict[str, float]
) -> dict[str, Any]:
    middle = sorted(xs, key=lambda x: x.size)[len(xs) // 2]
    times, whole = _best(model, middle, 0.2, nothing)
    lengths = [middle.shape[1] if middle.ndim == 3 else 1] * len(middle)
    ceilings = machine.ceilings(model.isa, model.threads, 0.1)
    ops = [_op(graph, index, best, lengths, ceilings) for index, best in enumerate(times)]
    worst = _kinds(ops)[0]
    members = [op for op in ops if op["kind"] == worst["kind"]]
    memory = sum(op["seconds"] for op in members if op["bound"] == "memory") > worst["seconds"] / 2
    return {
        "kind": worst["kind"],
        "of_the_time": worst["of_the_time"],
        "bound": "memory" if memory else "arithmetic",
        "share_of_limit": worst["share"],
        "outside_ops": max(0.0, 1 - sum(op["seconds"] for op in ops) / whole),
        "tail": row["max_ms"] / row["min_ms"],
        **{f"{name}_per_call": value for name, value in stalls.items()},
    }
