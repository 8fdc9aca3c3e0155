"""Whole networks at the nine points, against the other engines."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import claude_flow as cf
from bench import peers
from bench.race import agree, race
from claude_flow.measure import profile

POINTS = [
    ("coordination", (1, 8, 512)),
    ("coordination", (1, 128, 512)),
    ("coordination", (32, 128, 512)),
    ("optimization", (1, 256)),
    ("optimization", (32, 256)),
    ("optimization", (256, 256)),
    ("prediction", (1, 32, 128)),
    ("prediction", (1, 128, 128)),
    ("prediction", (32, 128, 128)),
]
OURS = "claude-flow"
# Signal to noise that an engine must reach against PyTorch in fp32 before it is timed. 8-bit integers on these random
# weights give 30 to 38 dB, bfloat16 more; anything near 20 computes something else.
WANTED = {"fp32": 80.0, "int8": 20.0}


def _variants(net: str, shape: tuple[int, ...], precision: str, threads: int) -> dict[str, list[Callable[[], Any]]]:
    """Engine -> ways to build it, the preferred one first. OpenVINO 2026.4 computes short attention wrong (8 tokens:
    errors of 0.3 on outputs of 2) in its snippet compiler, so it may run without it where the result disagrees."""
    file = peers.onnx_file(net, shape)

    def openvino(build: Callable[..., peers.Run]) -> list[Callable[[], Any]]:
        return [partial(build, snippets=True), partial(build, snippets=False)]

    if precision == "fp32":
        return {
            "onnxruntime": [partial(peers.onnx_runtime, file, threads)],
            "openvino": openvino(partial(peers.openvino, file, threads)),
            "pytorch": [partial(peers.pytorch, net, threads)],
        }
    return {
        "onnxruntime-int8": [partial(peers.onnx_runtime_int8, net, shape, threads)],
        "openvino-int8": openvino(partial(peers.openvino_int8, net, shape, threads)),
        "openvino-bf16": openvino(partial(peers.openvino, file, threads, "bf16")),
    }


@cache
def model_file(net: str) -> Path:
    """The network as our engine reads it."""
    path = Path(tempfile.gettempdir()) / f"claude-flow-bench-{net}.safetensors"
    cf.export.save(peers.network(net), path)
    return path


def point(net: str, shape: tuple[int, ...], precision: str, threads: int, seconds: float) -> dict[str, Any]:
    """Race all engines on one input; an engine that fails or disagrees is left out, with the reason."""
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    reference = peers.pytorch(net, threads)(x)
    ours = [partial(cf.load, model_file(net), precision=precision, threads=threads)]
    contenders: dict[str, Callable[[], Any]] = {}
    snr: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name, builds in {OURS: ours, **_variants(net, shape, precision, threads)}.items():
        for build in builds:
            try:
                engine = build()
                run = engine.run if name == OURS else engine
                snr[name] = agree(reference, run(x), WANTED[precision])
            except Exception as error:  # other people's engines raise what they like
                left_out[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            else:
                contenders[name] = partial(run, x)
                if name in left_out:
                    left_out[name] += " (runs without the option that did)"
                break
    times = race(contenders, seconds, threads=threads, seldom={"pytorch"})
    return {
        "network": net,
        "shape": shape,
        "precision": precision,
        "threads": threads,
        "times": times,
        "snr": snr,
        "left_out": left_out,
    }


def instruction_sets(net: str, shape: tuple[int, ...], seconds: float) -> dict[str, Any]:
    """Our engine on one thread, on every instruction set that this CPU has."""
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    file = model_file(net)
    models = {isa: cf.load(file, isa=isa) for isa in cf.engine.available()}
    reference = peers.pytorch(net, 1)(x)
    for model in models.values():
        agree(reference, model.run(x), WANTED["fp32"])
    calls = {isa: partial(model.run, x) for isa, model in models.items()}
    return {"network": net, "shape": shape, "times": race(calls, seconds, seldom={"scalar"})}


def scaling(net: str, shape: tuple[int, ...], precision: str, seconds: float) -> dict[str, Any]:
    """Our engine with one thread and with two, in turns."""
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    file = model_file(net)
    row: dict[str, Any] = {"network": net, "shape": shape, "precision": precision}
    try:
        calls = {str(n): partial(cf.load(file, precision=precision, threads=n).run, x) for n in (1, 2)}
    except ValueError as error:
        return {**row, "left_out": str(error)}
    return {**row, "times": race(calls, seconds, threads=2)}


def profiles(seconds: float, quick: bool) -> list[dict[str, Any]]:
    """Op by op against the roofline, one thread: a small request and a large one of each network."""
    inputs = [("coordination", 1, 8), ("optimization", 1, None), ("prediction", 1, 32)]
    if not quick:
        inputs += [("coordination", 1, 128), ("optimization", 32, None), ("prediction", 32, 32)]
    return [
        {
            **profile.computation(cf.load(model_file(net), precision=precision), items, tokens, seconds=seconds / 3),
            "model": net,
        }
        for net, items, tokens in inputs
        for precision in ("fp32", "int8")
    ]


def measure(seconds: float, note: Callable[[str], None], quick: bool) -> dict[str, Any]:
    """All points. ``seconds``: for each race."""
    begin = time.perf_counter()
    found: dict[str, Any] = {"points": [], "instruction_sets": [], "scaling": []}
    points = POINTS if not quick else [POINTS[0], POINTS[3], POINTS[6]]
    for precision in ("fp32", "int8"):
        for threads in (1, 2):
            for net, shape in points:
                note(f"{time.perf_counter() - begin:4.0f} s  {net} {shape} {precision}, {threads} thread(s)")
                found["points"].append(point(net, shape, precision, threads, seconds))
    for net, shape in [p for p in points if np.prod(p[1]) <= 1 << 16]:  # scalar takes 10 s for the largest
        note(f"{time.perf_counter() - begin:4.0f} s  {net} {shape}: instruction sets")
        found["instruction_sets"].append(instruction_sets(net, shape, seconds / 2))
    note(f"{time.perf_counter() - begin:4.0f} s  profiles")
    found["profiles"] = profiles(seconds, quick)
    for precision in ("fp32", "int8"):
        for net, shape in [p for p in POINTS if p[1][0] >= 32]:
            if not quick:
                note(f"{time.perf_counter() - begin:4.0f} s  {net} {shape} {precision}: threads")
                found["scaling"].append(scaling(net, shape, precision, seconds / 2))
    return found
