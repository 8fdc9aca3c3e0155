"""Dynamic quantization, decided by measuring: candidates are judged, timed and weighed on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import modelfile
from claude_flow.compress import calibration, sensitivity
from claude_flow.compress.evidence import trial
from claude_flow.compress.quantize import check_threshold, float_model
from claude_flow.compress.release import Release, release
from claude_flow.errors import InputError
from claude_flow.files import temporary_folder
from claude_flow.measure.race import race
from claude_flow.model import Model, assemble
from claude_flow.modelfile import ModelFile, Op
from claude_flow.modelfile.quantize import products, quantize
from claude_flow.report.progress import Progress, nothing
from claude_flow.runtime import Settings
from claude_flow.wasm import modules

__all__ = ["DEVICES", "MODES", "dynamic"]

#: --target-device -> backend
DEVICES = {"cpu": "native", "wasm": "wasm"}
#: --performance-mode -> what is wanted of those that keep enough, and the share that is enough
MODES = {"balanced": ("fastest", 0.99), "speed": ("fastest", 0.97), "size": ("smallest", 0.97)}
_SECONDS = 1.5  # of the race
_ITEMS = 128  # to rank layers by


@dataclass
class _Candidate:
    name: str
    file: ModelFile
    kept: list[str]
    ratio: float = 1.0
    milliseconds: float = np.nan
    file_bytes: int = 0
    memory_bytes: int = 0


def dynamic(
    path: Path,
    output: str,
    *,
    device: str = "cpu",
    mode: str = "balanced",
    memory: int | None = None,
    data: str | None = None,
    threshold: float | None = None,
    measure: str | None = None,
    allow_slower: bool = False,
    progress: Progress = nothing,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Quantize ``path`` row by row as its mode wants, within ``memory`` bytes, into the model ``output``.

    Candidates: 8 bits, or 4, everywhere; the most sensitive layer, or a quarter of the layers, in float; and float
    where a layer's own product is faster so. Each is measured: share kept on the validation part, time on ``device``,
    bytes of file and of weights and working memory. Of those that keep enough and fit, ``mode`` picks one
    (:data:`MODES`), which the test part then judges once.

    Returns:
        The report, with all candidates.

    Raises:
        InputError: unusable options or model, or a memory that holds no candidate.
        Refused: the one picked does not keep enough on the test part, or is not faster than its parent.
    """
    wanted, usual = MODES[mode]
    threshold = usual if threshold is None else threshold
    check_threshold(threshold)
    backend = DEVICES[device]
    if backend == "wasm" and not modules.available():
        modules.module_path("auto")  # says why not
    file = float_model(path)
    progress(0.0, "reading")
    parent = assemble(path, file)
    with trial(parent, data, measure, threshold, say) as (test, folder):
        choice = test.like("validation")
        progress(0.2, "making candidates")
        batches = calibration.asked(path, file, folder, _ITEMS)
        candidates = _candidates(file, [name for name, _ in sensitivity.ranked(file, {}, batches)], batches)
        for index, one in enumerate(candidates):
            progress(0.4 + 0.2 * index / len(candidates), f"judging {one.name}")
            one.ratio = choice.kept(assemble(path, one.file))
        progress(0.6, "measuring")
        _measure(path, file, candidates, backend)
        fitting = [one for one in candidates if memory is None or one.memory_bytes <= memory]
        if not fitting:
            least = min(one.memory_bytes for one in candidates)
            raise InputError(f"no candidate fits into {memory} bytes: the smallest takes {least} (weights and arena)")
        # Half of the allowed loss is left to the interval of the test part.
        enough = [one for one in fitting if one.ratio >= 1 - (1 - threshold) / 2] or fitting
        key = {"fastest": lambda one: one.milliseconds, "smallest": lambda one: (one.file_bytes, one.milliseconds)}
        picked = min(enough, key=key[wanted])
        method = {
            "name": "dynamic quantization",
            "precision": picked.file.precision,
            "target_device": device,
            "performance_mode": mode,
            "memory_constraint": memory,
            "picked": picked.name,
            "float_layers": picked.kept,
        }
        report = release(
            Release(path, picked.file, method, output),
            test,
            allow_slower=allow_slower,
            note=lambda what: progress(0.8, what),
        )
    shown = ("name", "kept", "ratio", "milliseconds", "file_bytes", "memory_bytes")
    report["candidates"] = [{key: getattr(one, key) for key in shown} for one in candidates]
    return report


def _candidates(file: ModelFile, ranked: list[str], batches: list[Any]) -> list[_Candidate]:
    slow = _slower_in_8_bits(file, batches)
    plans = {
        "8 bits everywhere": [],
        "most sensitive layer in float": ranked[:1],
        "a quarter of the layers in float": ranked[: max(1, len(ranked) // 4)],
        "float where a layer is faster so": slow,
    }
    found: dict[tuple[str, ...], _Candidate] = {}
    for name, kept in plans.items():
        if len(kept) < len(ranked):
            found.setdefault(tuple(sorted(kept)), _Candidate(name, quantize(file, keep=kept), kept))
    return [*found.values(), _Candidate("4 bits everywhere", quantize(file, four=products(file)), [])]


def _slower_in_8_bits(file: ModelFile, batches: list[Any]) -> list[str]:
    """Weights of the layers whose op takes longer in 8 bits, by the best of several runs."""
    program = file.parse()
    best: list[list[float]] = []
    for made in (file, quantize(file)):
        model = assemble(Path("candidate"), made)
        runs = [[seconds for _, _, seconds in model.profile(*batches[0])] for _ in range(7)]
        best.append(np.min(runs, axis=0).tolist())
    pairs = zip(program.ops, *best, strict=True)
    slow = [program.tensors[o["weight"]] for (code, o), a, b in pairs if code in (Op.LINEAR, Op.LSTM) and b > a]
    return list(dict.fromkeys(slow))


def _measure(path: Path, file: ModelFile, candidates: list[_Candidate], backend: str) -> None:
    settings = Settings(backend=backend)
    models: list[Model] = [assemble(path, file, settings)]
    with temporary_folder() as scratch:
        for index, one in enumerate(candidates):
            written = scratch / f"{index}.safetensors"
            modelfile.write(written, one.file)
            model = assemble(written, one.file, settings)
            one.file_bytes = written.stat().st_size
            one.memory_bytes = model.packed_bytes + model.arena_bytes
            models.append(model)
        for one, lap in zip(candidates, race(models, _SECONDS)[1:], strict=True):
            one.milliseconds = lap.milliseconds
