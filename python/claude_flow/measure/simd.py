"""A model on the WebAssembly modules: how fast, op by op, and how much of the work its vector instructions do."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import modelfile, networks, wasm
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.measure import machine, workload
from claude_flow.measure.graph import Graph
from claude_flow.model import Model, load
from claude_flow.modelfile import PER_ITEM, PER_TOKEN, Op, Program
from claude_flow.report.progress import Progress, nothing
from claude_flow.wasm.binary import count_instructions
from claude_flow.wasm.modules import available, module_path

__all__ = ["METRICS", "profile"]

#: metric -> what it is
METRICS = {
    "throughput": "items per second, one after the other",
    "latency": "milliseconds of a call: best, median, 95th percentile",
    "operations": "time of every op, with its arithmetic and its bytes",
    "bytes-moved": "bytes that an inference must move at least, and per second at the median latency",
    "simd-share": "share of the module's instructions that are vector instructions, as they stand in the file",
    "instruction-efficiency": "arithmetic operations per instruction that the CPU executed",
    "cache-misses": "cache misses per inference",
}
_NODE = """
import { readFileSync } from "node:fs";
const { library, model, isas, shapes, seconds } = JSON.parse(readFileSync(0, "utf8"));
const { available, load } = await import(library);
const results = [];
for (const isa of isas.filter((word) => available().includes(word))) {
  const loaded = await load(model, { isa });
  const inputs = shapes.map((shape) => [Float32Array.from({ length: shape.reduce((a, b) => a * b) },
                                                          () => Math.random() - 0.5), shape]);
  for (const input of inputs) loaded.run(...input);
  const times = [];
  for (const end = performance.now() + 1000 * seconds; performance.now() < end;) {
    const input = inputs[times.length % inputs.length];
    const start = performance.now();
    loaded.run(...input);
    times.push((performance.now() - start) / 1000);
  }
  results.push({ isa, times });
}
process.stdout.write(JSON.stringify({ version: process.version, results }));
"""


def profile(
    path: Path,
    work: str | None = None,
    metrics: Sequence[str] = tuple(METRICS),
    *,
    seconds: float = 1.0,
    javascript: Path | None = None,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Measure ``metrics`` of a model file on every module of this installation under wasmtime, and under Node too when
    ``javascript`` names the folder of the JavaScript package (``emscripten`` of the source tree).

    ``work``: ``typical-NETWORK-tasks`` or one of :data:`claude_flow.measure.workload.VARIATIONS`; default the typical
    one of the model's network. ``seconds`` per module and host. What this machine cannot measure is
    ``"unavailable: <reason>"``. Raises :class:`InputError` for an unknown metric or workload, or another network's.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise InputError(f"unknown metric {metric!r}: it is one of {', '.join(METRICS)}")
    file = modelfile.read(path)
    work = work or f"typical-{file.network}-tasks"
    typical = {f"typical-{name}-tasks": name for name in networks.NETWORKS}
    if work not in typical and work not in workload.VARIATIONS:
        known = ", ".join([*typical, *workload.VARIATIONS])
        raise InputError(f"unknown workload {work!r}: it is one of {known}")
    if typical.get(work, file.network) != file.network:
        raise InputError(f"the workload {work} is for {typical[work]} models, {path} is a {file.network} model")
    graph = Graph(file)
    variation = "typical-workload" if work in typical else work
    inputs = [x for _, several in workload.variation(graph, variation) for x in several]
    costs = [[graph.cost(node, _lengths(x)) for node in graph.nodes] for x in inputs]
    operations = [sum(cost.operations for cost in ops) for ops in costs]
    moved = float(np.mean([sum(cost.bytes for cost in ops) for ops in costs]))

    isas = available() or [module_path("auto").stem]  # the latter says how to get a module
    rows = []
    for index, isa in enumerate(isas):
        model = load(path, backend="wasm", isa=isa, threads=1)
        times = _times(model, inputs, seconds)
        row = _row("wasmtime", isa, times, inputs, metrics, moved)
        if "instruction-efficiency" in metrics or "cache-misses" in metrics:
            _count(row, model, inputs[0], metrics, operations[0])
        if "operations" in metrics:
            row["operations"] = _ops(model, graph, inputs[0])
        rows.append(row)
        progress((index + 1) / len(isas), isa)
    if javascript is not None:
        rows += _under_node(path, javascript, isas, inputs, seconds, metrics, moved)
    return {
        "model": str(path),
        "network": file.network,
        "precision": file.precision,
        "workload": work,
        "inputs": len(inputs),
        "arithmetic_per_inference": float(np.mean(operations)),
        "hosts": rows,
    }


def _lengths(x: NDArray[np.float32]) -> list[int]:
    return [x.shape[1] if x.ndim == 3 else 1] * x.shape[0]


def _times(model: Model, inputs: Sequence[NDArray[np.float32]], seconds: float) -> list[float]:
    for x in inputs:
        model.run(x)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end or not times:
        model.run(inputs[len(times) % len(inputs)])
        times.append(time.perf_counter() - start)
    return times


def _row(
    host: str,
    isa: str,
    times: Sequence[float],
    inputs: Sequence[NDArray[np.float32]],
    metrics: Sequence[str],
    moved: float,
) -> dict[str, Any]:
    row: dict[str, Any] = {"host": host, "isa": isa, "calls": len(times)}
    median = float(np.median(times))
    if "throughput" in metrics:
        row["throughput"] = sum(len(inputs[i % len(inputs)]) for i in range(len(times))) / sum(times)
    if "latency" in metrics:
        tail = float(np.percentile(times, 95))
        row["latency"] = {"best": 1e3 * min(times), "median": 1e3 * median, "p95": 1e3 * tail}
    if "bytes-moved" in metrics:
        row["bytes-moved"] = {"per_inference": moved, "per_second": moved / median}
    if "simd-share" in metrics:
        kinds = count_instructions(module_path(isa).read_bytes())
        vector = kinds.get("SIMD", 0) + kinds.get("relaxed SIMD", 0)
        row["simd-share"] = vector / sum(kinds.values())
        row["instructions"] = kinds
    return row


def _count(
    row: dict[str, Any], model: Model, x: NDArray[np.float32], metrics: Sequence[str], operations: float
) -> None:
    """Counts of the whole process over one call, in which wasmtime's own part is small."""
    counted = machine.count_events(lambda: model.run(x))
    if "instruction-efficiency" in metrics:
        executed = counted["instructions"]
        row["instruction-efficiency"] = executed if isinstance(executed, str) else operations / max(executed, 1)
    if "cache-misses" in metrics:
        row["cache-misses"] = counted["cache misses"]


def _ops(model: Model, graph: Graph, x: NDArray[np.float32], rounds: int = 20) -> list[dict[str, Any]]:
    """Every op's best time, less the clock's: reading it is a call out of the module, about 20 us."""
    idle = Program(max_tokens=1)
    idle.source, idle.target = idle.value(PER_TOKEN, 1), idle.value(PER_ITEM, 1)
    idle.op(Op.LAST, source=idle.source, target=idle.target, column=0)
    clock = wasm.Model(np.asarray(idle.words(), np.int32), [], model.isa)
    nothing = np.zeros((1, 1, 1), np.float32)
    best, reading = [float("inf")] * len(graph.nodes), float("inf")
    for _ in range(rounds):
        best = [min(was, now) for was, (_, _, now) in zip(best, model.profile(x), strict=True)]
        reading = min(reading, clock.profile(nothing)[0][2])
    best = [max(0.0, seconds - reading) for seconds in best]
    lengths = _lengths(x)
    return [
        {
            "op": op,
            "kind": node.code.name.lower(),
            "name": node.name,
            "seconds": seconds,
            "arithmetic": graph.cost(node, lengths).operations,
            "bytes": graph.cost(node, lengths).bytes,
        }
        for op, (node, seconds) in enumerate(zip(graph.nodes, best, strict=True))
    ]


def _under_node(
    path: Path,
    javascript: Path,
    isas: Sequence[str],
    inputs: Sequence[NDArray[np.float32]],
    seconds: float,
    metrics: Sequence[str],
    moved: float,
) -> list[dict[str, Any]]:
    library, node = javascript / "claude_flow.mjs", shutil.which("node")
    if not library.is_file():
        raise InputError(f"{javascript} holds no claude_flow.mjs: name the folder of the JavaScript package")
    if node is None:
        raise ClaudeFlowError("Node is not on the PATH: install it, or leave --javascript out")
    request = {
        "library": library.resolve().as_uri(),
        "model": str(path.resolve()),
        "isas": isas,
        "shapes": [x.shape for x in inputs],
        "seconds": seconds,
    }
    command = [node, "--input-type=module", "--eval", _NODE]
    ended = subprocess.run(command, input=json.dumps(request), capture_output=True, encoding="utf-8")
    if ended.returncode != 0:
        reason = [line for line in ended.stderr.splitlines() if "Error" in line] or ["no reason given"]
        raise ClaudeFlowError(f"Node could not run the model: {reason[0]}")
    answer = json.loads(ended.stdout)
    rows = []
    for isa in isas:
        times = next((result["times"] for result in answer["results"] if result["isa"] == isa), None)
        host = f"Node {answer['version']}"
        if times is None:
            rows.append({"host": host, "isa": isa, "unavailable": f"{host} has no {isa} SIMD"})
        else:
            row = _row(host, isa, times, inputs, metrics, moved)
            uncounted = "unavailable: not counted in another process"
            row.update({name: uncounted for name in ("instruction-efficiency", "cache-misses") if name in metrics})
            rows.append(row)
    return rows
