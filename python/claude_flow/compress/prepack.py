"""Models made ready for one target: weights in the order of its kernels, a plan of products, nothing that no one reads.

Behind ``claude-flow neural wasm optimize-simd`` and ``optimize-memory``. Every figure of the reports is measured, or
marked unavailable with the reason.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from claude_flow import engine, modelfile, registry
from claude_flow.errors import InputError
from claude_flow.files import temporary_folder
from claude_flow.measure import workload
from claude_flow.measure.graph import Graph
from claude_flow.model import Model, load_as
from claude_flow.modelfile import fuse, layout
from claude_flow.report.progress import Progress, nothing
from claude_flow.runtime import Settings
from claude_flow.wasm.modules import module_path

__all__ = ["ARCHITECTURES", "SCHEDULING", "optimize_memory", "optimize_simd"]


class Architecture(NamedTuple):
    """What runs it, the bits of its vectors, and other kernels that every such machine has, worst first."""

    backend: str
    bits: int
    also: tuple[str, ...] = ()


ARCHITECTURES = {
    "sse41": Architecture("native", 128),
    "avx2": Architecture("native", 256, ("sse41",)),
    "avxvnni": Architecture("native", 256, ("sse41", "avx2")),
    "avx512": Architecture("native", 512, ("sse41", "avx2")),
    "avx512vnni": Architecture("native", 512, ("sse41", "avx2", "avx512")),
    "simd128": Architecture("wasm", 128),
    "relaxed": Architecture("wasm", 128, ("simd128",)),
}
SCHEDULING = ("standard", "aggressive")
_LOADS = 5
_SECONDS = 0.3  # of measuring each set of kernels


@dataclass(frozen=True)
class _Target:
    isa: str
    backend: str
    layout: layout.Layout


def optimize_simd(
    path: Path,
    output: str,
    architecture: str = "auto",
    vector_width: int | None = None,
    alignment: int | None = None,
    scheduling: str = "standard",
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Pack a model for ``architecture`` into the workspace's model ``output``; returns the report.

    ``vector_width``, in bits, picks the target's kernels of that width (default: its widest). ``scheduling``: the order
    of instructions is fixed when kernels are compiled; ``"aggressive"`` chooses among the compiled ones by measuring
    the model on each that the target can run, up to ``vector_width``; ``"standard"`` takes the best of that width.
    ``alignment``, in bytes: where weights begin in the file (default: a row of a panel, at most a cache line's 64).

    The folder of a model for WebAssembly holds the module too, for JavaScript's ``load(..., {wasm: folder})``.

    Raises :class:`InputError` for what the target has not, and for an aggressive choice that cannot be measured here.
    """
    if scheduling not in SCHEDULING:
        raise InputError(f"unknown scheduling {scheduling!r}: it is one of {', '.join(SCHEDULING)}")
    if architecture != "auto" and architecture not in ARCHITECTURES:
        raise InputError(f"unknown architecture {architecture!r}: it is one of {', '.join(ARCHITECTURES)}")
    word = _best_here() if architecture == "auto" else architecture
    backend, widest, also = ARCHITECTURES[word]
    runs = [*also, word]
    width = widest if vector_width is None else vector_width
    widths = sorted({ARCHITECTURES[isa].bits for isa in runs})
    if width not in widths:
        raise InputError(f"{word} has kernels for vectors of {' or '.join(map(str, widths))} bits, not {width}")
    fitting = [isa for isa in runs if ARCHITECTURES[isa].bits <= width]
    chosen, measured = fitting[-1], dict[str, float]()
    if scheduling == "aggressive":
        missing = [isa for isa in fitting if isa not in _available(backend)]
        if missing:
            raise InputError(
                f"aggressive scheduling measures each set of kernels, and {missing[0]} cannot run here: use standard"
            )
        for isa in fitting:
            progress(len(measured) / (len(fitting) + 1), f"measure {isa}")
            measured[isa] = 1e3 * _answer_seconds(path, Settings(backend=backend), isa)
        chosen = min(measured, key=lambda isa: measured[isa])
    target = _target(chosen)
    row_bytes = 4 * target.layout.tile_columns
    step = min(64, row_bytes) if alignment is None else alignment
    if step < 8 or step & (step - 1) or step > row_bytes:
        raise InputError(
            f"a memory alignment of {step} bytes: it is a power of two from 8 to {row_bytes}, the bytes of a row of "
            f"{chosen}'s panels"
        )
    progress(len(measured) / (len(fitting) + 1), "pack and load")
    file = layout.pack(modelfile.read(path), target.layout)
    report = {
        "architecture": word,
        "vector_width": ARCHITECTURES[chosen].bits,
        "instruction_scheduling": scheduling,
        "measured_ms": measured,
    }
    return _finish(path, output, file, target, step, report)


def optimize_memory(
    path: Path,
    output: str,
    memory_layout: str = "cache-friendly",
    fusion: bool = True,
    pooling: bool = True,
    collection: str = "generational",
) -> dict[str, Any]:
    """Rewrite a model so that it takes less memory, into the workspace's model ``output``; returns the report.

    ``memory_layout``: ``"cache-friendly"`` packs the weights for this machine, which then reads them in the mapped file
    without a copy; ``"row-major"`` keeps them as trained. ``fusion``: products that read the same rows become one, or
    attention's q, k and v three. ``collection``: the engine has no garbage collector and allocates nothing while it
    runs. ``"generational"`` sorts by lifetime once, ahead: tensors that nothing reads leave the file, weights stay in
    mapped pages that the system may drop and read again, and what one run makes lives in the arena, where a value
    takes the place of those that were read for the last time. ``"none"`` leaves unread tensors in the file.

    Raises :class:`InputError` for other words, and for ``pooling=False``: the engine knows no other way.
    """
    if memory_layout not in ("cache-friendly", "row-major"):
        raise InputError(f"unknown memory layout {memory_layout!r}: it is cache-friendly or row-major")
    if collection not in ("generational", "none"):
        raise InputError(f"unknown garbage collection {collection!r}: it is generational or none")
    if not pooling:
        raise InputError(
            "the engine always pools its working memory, so --memory-pooling false has nothing to do; "
            "the report of --memory-pooling true tells what it saves"
        )
    source = modelfile.read(path)
    file = fuse.fuse(source) if fusion else fuse.split(source)
    read = {*file.program_tensors, "commands"}  # the pointer head reads the commands
    unread = [name for name in file.tensors if name not in read]
    if collection == "generational":
        file = replace(file, tensors={name: t for name, t in file.tensors.items() if name in read})
    target = _target(_best_here())
    if memory_layout == "cache-friendly":
        file = layout.pack(file, target.layout)
    report = {
        "memory_layout": memory_layout,
        "tensor_fusion": fusion,
        "ops": {"before": _ops(source), "after": _ops(file)},
        "garbage_collection": collection,
        "unread_tensors": {
            "names": unread,
            "bytes": sum(source.tensors[name].nbytes for name in unread if name in source.tensors),
            "removed": collection == "generational",
        },
    }
    return _finish(path, output, file, target, min(64, 4 * target.layout.tile_columns), report)


def _best_here() -> str:
    isa = engine.isa()
    if isa not in ARCHITECTURES:
        raise InputError(f"this machine runs the {isa} kernels, which have no vectors: name a --target-architecture")
    return isa


def _available(backend: str) -> list[str]:
    found: list[str] = import_module("claude_flow.wasm" if backend == "wasm" else "claude_flow._core").available()
    return found


def _target(isa: str) -> _Target:
    backend = ARCHITECTURES[isa].backend
    kernels = import_module("claude_flow.wasm" if backend == "wasm" else "claude_flow._core")
    try:
        return _Target(isa, backend, layout.Layout(isa, *kernels.layout(isa)))
    except ValueError:
        raise InputError(f"this build has no {isa} kernels: build it on a machine of that kind") from None


def _ops(file: modelfile.ModelFile) -> int:
    return len(file.parse().ops)


def _answer_seconds(path: Path, settings: Settings, isa: str) -> float:
    """Best time of the typical workload's inputs, one after the other."""
    model = load_as(path, settings, isa=isa)
    inputs = [x for _, several in workload.variation(_graph(path), "typical-workload") for x in several]
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end or best == float("inf"):
        begin = time.perf_counter()
        for x in inputs:
            model.run(x)
        best = min(best, (time.perf_counter() - begin) / len(inputs))
    return best


def _graph(path: Path) -> Graph:
    return Graph(modelfile.read(path))


def _loaded(path: Path, target: _Target) -> tuple[Model, float]:
    """The model, and the median time from the file to the first answer, both warm."""
    graph = _graph(path)
    *tokens, width = graph.input_shape
    x = np.zeros((1, *(min(8, count) for count in tokens), width), np.float32)
    times = []
    for _ in range(_LOADS):
        begin = time.perf_counter()
        model = load_as(path, Settings(backend=target.backend), isa=target.isa)
        model.run(x)
        times.append(time.perf_counter() - begin)
    return model, float(np.median(times))


def _finish(
    path: Path, output: str, file: modelfile.ModelFile, target: _Target, alignment: int, report: dict[str, Any]
) -> dict[str, Any]:
    """Write the model with its card, and measure the old one beside it."""
    file = replace(file, provenance=file.provenance | {"optimized_from": registry.model_name(path)})
    with temporary_folder() as folder:
        written = folder / "model.safetensors"
        modelfile.write(written, file, alignment)
        report = report | {"kernels": target.isa, "backend": target.backend}
        report |= {"tile_columns": target.layout.tile_columns, "lstm_units": target.layout.lstm_units}
        report |= {"memory_alignment": alignment, "precision": file.precision}
        report["file_bytes"] = {"before": path.stat().st_size, "after": written.stat().st_size}
        if target.isa in _available(target.backend):
            (old, before), (new, after) = _loaded(path, target), _loaded(written, target)
            report["first_answer_ms"] = {"before": 1e3 * before, "after": 1e3 * after}
            report["packed_at_load_bytes"] = {"before": old.packed_bytes, "after": new.packed_bytes}
            report["arena_bytes"] = {"pooled": new.arena_bytes, "apart": new.apart_bytes}
        else:
            reason = f"unavailable: this CPU has no {target.isa}"
            report |= dict.fromkeys(("first_answer_ms", "packed_at_load_bytes", "arena_bytes"), reason)
        card = {**file.provenance, "network": file.network, "optimization": report}
        modules = [module_path(target.isa)] if target.backend == "wasm" else []
        stored = registry.add_model(output, None, written, card, modules)
    report |= {"module": str(stored.with_name(modules[0].name))} if modules else {}
    return {"source": str(path), "model": registry.model_name(stored), "path": str(stored), **report}
