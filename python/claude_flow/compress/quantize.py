"""Quantization with a floor: few bits wherever the accuracy threshold allows, more where it does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import modelfile, networks, registry
from claude_flow.compress import calibration, migrate, rounding, sensitivity
from claude_flow.compress.evidence import Trial, trial
from claude_flow.compress.release import Release, release
from claude_flow.errors import InputError
from claude_flow.model import assemble
from claude_flow.modelfile import ABSENT, ModelFile, Op, layout
from claude_flow.modelfile import ranges as static_ranges
from claude_flow.modelfile.quantize import on_grid, products, quantize
from claude_flow.modelfile.ranges import Batch, Rows, decibels, fake, outputs
from claude_flow.report.progress import Progress, nothing
from claude_flow.wasm import modules

__all__ = ["FORMATS", "PRECISIONS", "Plan", "corrected", "plan", "static"]

PRECISIONS = ("int8", "int4")
FORMATS = ("optimized-wasm", "native", "safetensors", "onnx")
_RATE = 0.1  # of the parent's learning rate, for fine-tuning
_GAIN = 0.1  # dB that migrated scales or learned rounding must bring on data that they were not made from


def static(
    path: Path,
    output: str,
    *,
    precision: str = "int8",
    data: str | None = None,
    calibration_data: str = calibration.REPRESENTATIVE,
    calibration_items: int = 512,
    threshold: float = 0.99,
    measure: str | None = None,
    observer: str = "auto",
    scale_migration: str = "auto",
    learned_rounding: str = "auto",
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
        precision: one of :data:`PRECISIONS`; of weights. Layers that the threshold wants larger stay in float, or for
            4 bits in 8.
        data: dataset to judge on; see :func:`claude_flow.compress.evidence.trial`.
        calibration_data: what ranges are learned from; see :func:`claude_flow.compress.calibration.read`.
        threshold: share of the parent's ``measure`` (default: the first of its network) that must be kept.
        observer: one of :data:`claude_flow.modelfile.ranges.OBSERVERS`, or "auto".
        scale_migration: "true", "false", or "auto": where measuring says that it helps; so learned_rounding.
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
    if precision == "int4" and output_format == "onnx":
        raise InputError("an ONNX file of 4-bit weights is not written: give --precision int8, or another format")
    file = float_model(path)
    target = _format(output_format)
    progress(0.0, "reading")
    with trial(assemble(path, file), data, measure, threshold, say) as (test, folder):
        batches = calibration.read(calibration_data, path, file, folder, calibration_items)
        chosen = plan(
            file,
            batches,
            precision,
            observer,
            scale_migration,
            learned_rounding,
            lambda done, what: progress(0.1 + 0.3 * done, what),
        )
        choice = test.like("validation")
        found = _search(path, chosen, batches, choice, lambda done, what: progress(0.4 + 0.2 * done, what))
        made = found.file
        if fine_tune_epochs:
            from claude_flow.compress import simulate, tuning  # torch takes seconds to load

            progress(0.6, "fine-tuning")
            keep, four = chosen.split(found.kept)
            made = tuning.improved(
                path,
                chosen.tensors_for(found.kept, batches),
                tuning.configuration(
                    file, networks.get(file.network).config(file.config), fine_tune_epochs, rate=_RATE
                ),
                folder,
                choice,
                name=output,
                hooks=[simulate.Quantized(chosen.ranges, keep, four)],
                finish=lambda tuned: quantize(tuned, chosen.ranges, keep, four),
                seed=seed,
                end=end,
                progress=lambda done, what: progress(0.6 + 0.2 * done, what),
                say=say,
            )
        method = {
            "name": "static quantization",
            "precision": precision,
            "observer": observer,
            "calibration": {"data": calibration_data, "items": sum(len(x) for x, _ in batches)},
            "static_ranges": len(chosen.ranges),
            "scale_migration": chosen.migrated,
            "learned_rounding": chosen.learned is not None,
            "signal_to_noise": chosen.scores,
            "float_layers" if precision == "int8" else "8_bit_layers": found.kept,
            "sensitivity": dict(found.ranked),
            "fine_tune_epochs": fine_tune_epochs,
        }
        candidate = Release(path, target.pack(made), method, output, beside=lambda folder: target.beside(made, folder))
        return release(candidate, test, allow_slower=allow_slower, note=lambda what: progress(0.85, what))


# How the weights are made ready -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """A float model made ready for integers. ``learned`` has weights on their grid; ``scores``: variant -> dB."""

    base: ModelFile
    ranges: dict[int, Rows]
    four: frozenset[str]
    migrated: bool
    learned: ModelFile | None
    scores: dict[str, float]

    def split(self, kept: Collection[str]) -> tuple[Collection[str], Collection[str]]:
        """Layers in float and layers of 4 bits, if ``kept`` have more bits than the others."""
        return ((), self.four - set(kept)) if self.four else (kept, ())

    def tensors_for(self, kept: Collection[str], batches: Sequence[Batch]) -> ModelFile:
        """The float model that is quantized: learned weights but in the ``kept`` layers, and corrected biases."""
        tensors = dict(self.base.tensors)
        program = self.base.parse()
        for code, o in program.ops if self.learned else ():
            names = program.tensor_names(o)
            for key in code.int8.scales if code.int8 and names["weight"] not in kept else ():
                tensors[names[key]] = self.learned.tensors[names[key]]  # type: ignore[union-attr]
        keep, four = self.split(kept)
        return corrected(replace(self.base, tensors=tensors), self.ranges, batches, keep, four, self.base)

    def quantized(self, kept: Collection[str], batches: Sequence[Batch]) -> ModelFile:
        """The model of integers."""
        return quantize(self.tensors_for(kept, batches), self.ranges, *self.split(kept))


def plan(
    file: ModelFile,
    batches: Sequence[Batch],
    precision: str = "int8",
    observer: str = "auto",
    scale_migration: str = "false",
    learned_rounding: str = "false",
    progress: Progress = nothing,
) -> Plan:
    """Static ranges, and of migrated scales and learned rounding what raises the signal to noise on calibration batches
    that they were not made from; "true" and "false" decide instead of measuring."""
    four = frozenset(products(file)) if precision == "int4" else frozenset()
    seen, unseen = (batches[::2], batches[1::2]) if len(batches) > 1 else (batches, batches)
    reference = [np.concatenate(outputs(file, unseen))]
    choices = {"true": (True,), "false": (False,), "auto": (False, True)}
    best: Plan | None = None
    most = -np.inf
    scores: dict[str, float] = {}
    for moved in choices[scale_migration]:
        progress(0.5 * moved, "observing ranges")
        base = migrate.migrated(file, seen) if moved else file
        if moved and base is file and best is not None:
            continue  # nowhere to move them
        ranges = static_ranges.static(base, batches, observer)
        for learn in choices[learned_rounding]:
            progress(0.5 * moved + 0.25, "learning to round" if learn else "measuring")
            learned = rounding.learned(base, seen, ranges, four) if learn else None
            made = Plan(base, ranges, four, moved and base is not file, learned, scores)
            score = decibels([np.concatenate(outputs(made.quantized((), seen), unseen))], reference)
            used = [what for what, on in (("migrated scales", moved), ("learned rounding", learn)) if on]
            scores[" and ".join(used) or "as it is"] = score
            if best is None or score > most + _GAIN:
                best, most = made, score
    assert best is not None
    return best


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


def _search(path: Path, plan: Plan, batches: Sequence[Batch], choice: Trial, progress: Progress) -> _Found:
    """The fewest layers of more bits, the most sensitive first, with which the validation part loses at most half of
    what the threshold allows: the other half is for the test part's interval."""
    floor = 1 - (1 - (choice.threshold or 0)) / 2
    bits = 4 if plan.four else 8

    def fits(keep: list[str]) -> ModelFile | None:
        made = plan.quantized(keep, batches)
        return made if choice.kept(assemble(path, made)) >= floor else None

    progress(0.0, f"trying {bits} bits everywhere")
    if (made := fits([])) is not None:
        return _Found(made, [], [])
    ranked = sensitivity.ranked(
        plan.base, plan.ranges, batches, lambda done, _: progress(0.5 * done, "ranking layers"), bits
    )
    names = [name for name, _ in ranked]
    best = plan.quantized(names[:-1], batches)
    fails, enough = 0, len(names) - 1
    while enough - fails > 1:
        middle = (enough + fails) // 2
        progress(0.5 + 0.5 * (1 - (enough - fails) / len(names)), f"keeping more than {bits} bits in {middle} layers")
        if (made := fits(names[:middle])) is not None:
            enough, best = middle, made
        else:
            fails = middle
    return _Found(best, names[:enough], ranked)


# Bias correction ----------------------------------------------------------------------------------------------------


def corrected(
    file: ModelFile,
    ranges: dict[int, Rows],
    batches: Sequence[Batch],
    keep: Collection[str] = (),
    four: Collection[str] = (),
    wanted: ModelFile | None = None,
) -> ModelFile:
    """The float model with biases that take out what rounding shifts on average: the mean over calibration rows of
    W x - W' x', where W' and x' are what 8 or 4 and 7 bits make of W and x (Nagel et al., "Data-free quantization").

    ``wanted`` has W, if the weights of ``file`` are rounded already.
    """
    program, wanted = file.parse(), wanted or file
    linear = [o for code, o in program.ops if code is Op.LINEAR and o["bias"] != ABSENT]
    linear = [o for o in linear if program.tensors[o["weight"]] not in keep]
    seen = static_ranges.values(wanted, {o["source"] for o in linear}, batches)
    tensors = dict(file.tensors)
    for o in linear:
        name = program.tensors[o["weight"]]
        x = np.concatenate(seen[o["source"]])
        bounds = ranges.get(o["source"])
        seven = static_ranges.by_row(x) if bounds is None else fake(x, bounds[0], bounds[1])
        small = on_grid(np.asarray(tensors[name], np.float32), 4 if name in four else 8)
        shift = np.asarray(wanted.tensors[name], np.float32) @ x.mean(0) - small @ seven.mean(0)
        bias = program.tensors[o["bias"]]
        tensors[bias] = (tensors[bias] + shift).astype(np.float32)
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
