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
from bench.points import ENGINES, NETWORKS, PRECISIONS, SCALAR_LIMIT, THREADS
from bench.race import agree, race
from claude_flow.measure import profile

# Signal to noise that an engine must reach against PyTorch in fp32 before it is timed. 8-bit integers on these random
# weights give 30 to 38 dB, bfloat16 more; anything near 20 computes something else.
WANTED = {"fp32": 80.0, "int8": 20.0}


def _builds(name: str, net: str, shape: tuple[int, ...], precision: str, threads: int) -> list[Callable[[], peers.Run]]:
    """Ways to build an engine, the preferred one first. OpenVINO 2026.4 computes short attention wrong (8 tokens:
    errors of 0.3 on outputs of 2) in its snippet compiler, so it may run without it where the result disagrees."""
    file = partial(peers.onnx_file, net, shape)

    def openvino(build: Callable[..., peers.Run]) -> list[Callable[[], peers.Run]]:
        return [partial(build, snippets=True), partial(build, snippets=False)]

    match name:
        case "claude-flow":
            return [lambda: cf.load(model_file(net), precision=precision, threads=threads).run]
        case "onnxruntime":
            return [lambda: peers.onnx_runtime(file(), threads)]
        case "openvino":
            return openvino(lambda **options: peers.openvino(file(), threads, **options))
        case "pytorch":
            return [partial(peers.pytorch, net, threads)]
        case "onnxruntime-int8":
            return [partial(peers.onnx_runtime_int8, net, shape, threads)]
        case "openvino-int8":
            return openvino(partial(peers.openvino_int8, net, shape, threads))
        case "openvino-bf16":
            return openvino(lambda **options: peers.openvino(file(), threads, "bf16", **options))
    raise ValueError(f"there is no engine {name!r}")


def contender(
    name: str, net: str, shape: tuple[int, ...], precision: str, threads: int
) -> tuple[Callable[[], np.ndarray], float, str]:
    """An engine on the point's input, held to PyTorch's result before it is timed.

    Returns:
        The call, its signal to noise in decibels, and what kept a preferred way to build it out, or "".

    Raises:
        Exception: whatever the engine raises, or :class:`bench.race.Disagreement`, if no way is left.
    """
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    reference = peers.pytorch(net, threads)(x)
    builds, left_out = _builds(name, net, shape, precision, threads), ""
    for build in builds:
        try:
            run = build()
            return partial(run, x), agree(reference, run(x), WANTED[precision]), left_out
        except Exception as error:  # other people's engines raise what they like
            if build is builds[-1]:
                raise
            left_out = f"{reason(error)} (runs without the option that did)"
    raise AssertionError(name)


def reason(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


@cache
def model_file(net: str) -> Path:
    """The network as our engine reads it."""
    path = Path(tempfile.gettempdir()) / f"claude-flow-bench-{net}.safetensors"
    cf.export.save(peers.network(net), path)
    return path


def point(net: str, shape: tuple[int, ...], precision: str, threads: int, seconds: float) -> dict[str, Any]:
    """Race all engines on one input; an engine that fails or disagrees is left out, with the reason."""
    contenders: dict[str, Callable[[], Any]] = {}
    snr: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name in ENGINES[precision]:
        try:
            contenders[name], snr[name], why = contender(name, net, shape, precision, threads)
        except Exception as error:  # other people's engines raise what they like
            why = reason(error)
        if why:
            left_out[name] = why
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
    points = NETWORKS if not quick else NETWORKS[::3]
    for precision in PRECISIONS:
        for threads in THREADS:
            for net, shape in points:
                note(f"{time.perf_counter() - begin:4.0f} s  {net} {shape} {precision}, {threads} thread(s)")
                found["points"].append(point(net, shape, precision, threads, seconds))
    for net, shape in [p for p in points if np.prod(p[1]) <= SCALAR_LIMIT]:
        note(f"{time.perf_counter() - begin:4.0f} s  {net} {shape}: instruction sets")
        found["instruction_sets"].append(instruction_sets(net, shape, seconds / 2))
    note(f"{time.perf_counter() - begin:4.0f} s  profiles")
    found["profiles"] = profiles(seconds, quick)
    for precision in PRECISIONS:
        for net, shape in [p for p in NETWORKS if p[1][0] >= 32]:
            if not quick:
                note(f"{time.perf_counter() - begin:4.0f} s  {net} {shape} {precision}: threads")
                found["scaling"].append(scaling(net, shape, precision, seconds / 2))
    return found
