"""Quantization with a floor: 8 bits wherever the accuracy threshold allows, float where it does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import modelfile, networks, registry
from claude_flow.compress import calibration, sensitivity
from claude_flow.compress.evidence import Trial, trial
from claude_flow.compress.release import Release, release
from claude_flow.errors import InputError
from claude_flow.model import assemble
from claude_flow.modelfile import ABSENT, ModelFile, Op, layout
from claude_flow.modelfile import ranges as static_ranges
from claude_flow.modelfile.quantize import quantize, rounded
from claude_flow.modelfile.ranges import Batch, Rows, fake
from claude_flow.report.progress import Progress, nothing
from claude_flow.wasm import modules

__all__ = ["FORMATS", "PRECISIONS", "corrected", "static"]

PRECISIONS = ("int8",)
FORMATS = ("optimized-wasm", "native", "safetensors", "onnx")
_RATE = 0.1  # of the parent's learning rate, for fine-tuning


def static(
    path: Path,
    output: str,
    *,
    data: str | None = None,
    calibration_data: str = calibration.REPRESENTATIVE,
    calibration_items: int = 512,
    threshold: float = 0.99,
    measure: str | None = None,
    observer: str = "auto",
    output_format: str = "optimized-wasm",
    fine_tune_epochs: int = 0,
    allow_slower: bool = False,
    seed: int = 0,
    time_budget: float | None = None,
    progress: Progress = nothing,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Quantize the float model ``path`` with calibration into the workspace's model ``output``.

    Args:
        data: dataset to judge on; see :func:`claude_flow.compress.evidence.trial`.
        calibration_data: what ranges are learned from; see :func:`claude_flow.compress.calibration.read`.
        threshold: share of the parent's ``measure`` (default: the first of its network) that must be kept.
        observer: one of :data:`claude_flow.modelfile.ranges.OBSERVERS`, or "auto".
        output_format: one of :data:`FORMATS`.
        fine_tune_epochs: of training as what will run, in the torch simulation; see
            :mod:`claude_flow.compress.simulate`.
        time_budget: seconds after which fine-tuning ends at its best epoch.

    Returns:
        The report.

    Raises:
        InputError: the model is quantized or prepacked already, or the data cannot be used.
        Refused: the threshold is not shown, or the result is not faster than its parent.
    """
    check_threshold(threshold)
    end = None if time_budget is None else time.monotonic() + time_budget
    file = float_model(path)
    target = _format(output_format)
    progress(0.0, "reading")
    with trial(assemble(path, file), data, measure, threshold, say) as (test, folder):
        batches = calibration.read(calibration_data, path, file, folder, calibration_items)
        progress(0.15, "observing ranges")
        ranges = static_ranges.static(file, batches, observer)
        base = corrected(file, ranges, batches)
        progress(0.4, "looking for layers to keep")
        choice = test.like("validation")
        found = _search(path, base, ranges, batches, choice, lambda done, what: progress(0.4 + 0.2 * done, what))
        made = found.file
        if fine_tune_epochs:
            from claude_flow.compress import simulate, tuning  # torch takes seconds to load

            progress(0.6, "fine-tuning")
            made = tuning.improved(
                path,
                base,
                tuning.configuration(
                    file, networks.get(file.network).config(file.config), fine_tune_epochs, rate=_RATE
                ),
                folder,
                choice,
                name=output,
                hooks=[simulate.Quantized(ranges, found.kept)],
                finish=lambda tuned: quantize(tuned, ranges, found.kept),
                seed=seed,
                end=end,
                progress=lambda done, what: progress(0.6 + 0.2 * done, what),
                say=say,
            )
        method = {
            "name": "static quantization",
            "precision": "int8",
            "observer": observer,
            "calibration": {"data": calibration_data, "items": sum(len(x) for x, _ in batches)},
            "static_ranges": len(ranges),
            "float_layers": found.kept,
            "sensitivity": dict(found.ranked),
            "fine_tune_epochs": fine_tune_epochs,
        }
        candidate = Release(path, target.pack(made), method, output, beside=lambda folder: target.beside(made, folder))
        return release(candidate, test, allow_slower=allow_slower, note=lambda what: progress(0.85, what))


def float_model(path: Path) -> ModelFile:
    """The model to compress; :class:`InputError` unless it is in float and not prepacked."""
    file = modelfile.read(path, packed=True)
    name = registry.model_name(path)
    if file.precision != "fp32":
        raise InputError(f"{name} is quantized already ({file.precision}): name the float model that it was made from")
    if any(isinstance(tensor, layout.Packed) for tensor in file.tensors.values()):
        raise InputError(f"{name} is prepacked for one instruction set: name the model that it was made from")
    return file


def check_threshold(threshold: float) -> None:
    """Refuse what no model can keep: :class:`InputError`."""
    if not 0 < threshold <= 1:
        raise InputError(
            f"an accuracy threshold of {threshold:g}: it is a share of the parent's, above 0 and at most 1"
        )


# Which layers keep float --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    file: ModelFile
    kept: list[str]
    ranked: list[tuple[str, float]]


def _search(
    path: Path, file: ModelFile, ranges: dict[int, Rows], batches: Sequence[Batch], choice: Trial, progress: Progress
) -> _Found:
    """The fewest layers in float, the most sensitive first, with which the validation part loses at most half of what
    the threshold allows: the other half is for the test part's interval."""
    floor = 1 - (1 - (choice.threshold or 0)) / 2

    def fits(keep: list[str]) -> ModelFile | None:
        made = quantize(file, ranges, keep)
        return made if choice.kept(assemble(path, made)) >= floor else None

    progress(0.0, "trying 8 bits everywhere")
    if (made := fits([])) is not None:
        return _Found(made, [], [])
    ranked = sensitivity.ranked(file, ranges, batches, lambda done, _: progress(0.5 * done, "ranking layers"))
    names = [name for name, _ in ranked]
    best = quantize(file, ranges, names[:-1])
    fails, enough = 0, len(names) - 1
    while enough - fails > 1:
        middle = (enough + fails) // 2
        progress(0.5 + 0.5 * (1 - (enough - fails) / len(names)), f"keeping {middle} layers in float")
        if (made := fits(names[:middle])) is not None:
            enough, best = middle, made
        else:
            fails = middle
    return _Found(best, names[:enough], ranked)


# Bias correction ----------------------------------------------------------------------------------------------------


def corrected(file: ModelFile, ranges: dict[int, Rows], batches: Sequence[Batch]) -> ModelFile:
    """The float model with biases that take out what rounding shifts on average: the mean over calibration rows of
    W x - W' x', where W' and x' are what 8 and 7 bits make of W and x (Nagel et al., "Data-free quantization")."""
    program = file.parse()
    linear = [o for code, o in program.ops if code is Op.LINEAR and o["bias"] != ABSENT]
    seen = static_ranges.values(file, {o["source"] for o in linear}, batches)
    tensors = dict(file.tensors)
    for o in linear:
        weight = np.asarray(tensors[program.tensors[o["weight"]]], np.float32)
        q, scale = rounded(weight)
        x = np.concatenate(seen[o["source"]])
        bounds = ranges.get(o["source"])
        seven = static_ranges.by_row(x) if bounds is None else fake(x, bounds[0], bounds[1])
        shift = weight @ x.mean(0) - (q * scale[:, None]) @ seven.mean(0)
        name = program.tensors[o["bias"]]
        tensors[name] = (tensors[name] + shift).astype(np.float32)
    return replace(file, tensors=tensors)


# Formats ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Target:
    pack: Callable[[ModelFile], ModelFile]
    beside: Callable[[ModelFile, Path], Sequence[Path]] = lambda file, folder: ()  # further files of the version


def _format(name: str) -> _Target:
    if name not in FORMATS:
        raise InputError(f"unknown output format {name!r}: it is one of {', '.join(FORMATS)}")
    if name == "native":
        from claude_flow import _core, engine

        return _Target(lambda file: layout.pack(file, layout.Layout(engine.isa(), *_core.layout(engine.isa()))))
    if name == "optimized-wasm":
        if not modules.available():
            raise InputError(
                "this package was built without WebAssembly: build it with  make wasm, or give --output-format native"
            )
        from claude_flow import wasm

        isa = modules.available()[-1]
        return _Target(
            lambda file: layout.pack(file, layout.Layout(isa, *wasm.layout(isa))),
            lambda file, folder: [modules.module_path(isa)],
        )
    if name == "onnx":
        from claude_flow.compress import onnx

        return _Target(lambda file: file, lambda file, folder: [onnx.save(file, folder / "model.onnx")])
    return _Target(lambda file: file)
