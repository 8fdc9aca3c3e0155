"""From a candidate to a version: what it keeps is shown, what it saves is measured, and only then is it written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import modelfile, registry
from claude_flow.compress.evidence import Evidence, Trial
from claude_flow.errors import ClaudeFlowError
from claude_flow.export import half
from claude_flow.files import temporary_folder
from claude_flow.measure.graph import Graph
from claude_flow.measure.race import Lap, race
from claude_flow.model import Model, assemble
from claude_flow.runtime import Settings
from claude_flow.wasm import modules

__all__ = ["Refused", "Release", "release"]

_SECONDS = 1.0  # of a race


class Refused(ClaudeFlowError):
    """The candidate misses what was asked; nothing is written. ``report`` is what was measured."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message, report)
        self.report = report

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Release:
    """A candidate that may become a version.

    ``beside(folder)`` writes further files of the version (its ONNX file, WebAssembly modules) and returns them.
    """

    parent: Path
    file: modelfile.ModelFile
    method: dict[str, Any]  # its name under "name", and its settings
    output: str
    alignment: int = 64
    beside: Callable[[Path], Sequence[Path]] = lambda folder: ()


def release(
    candidate: Release,
    trial: Trial,
    *,
    allow_slower: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Judge and time a candidate beside its parent, write it as a new version with a card, and return the report.

    Raises:
        Refused: the trial's threshold is not held, or it is not faster here than its parent.
    """
    parent_name = registry.model_name(candidate.parent)
    file = replace(
        candidate.file, provenance=candidate.file.provenance | {"parent": parent_name, "method": candidate.method}
    )
    if file.precision == "fp32" and _is_half(candidate.parent):
        file = replace(file, tensors={name: half(name, tensor) for name, tensor in file.tensors.items()})
    with temporary_folder() as scratch:
        written = scratch / "model.safetensors"
        modelfile.write(written, file, candidate.alignment)
        note("judging")
        model = assemble(written, modelfile.read(written, packed=True))
        evidence = trial.of(model)
        report: dict[str, Any] = {"parent": parent_name, "method": candidate.method, "evidence": evidence.as_json()}
        report["size"] = {
            "bytes": {"before": candidate.parent.stat().st_size, "after": written.stat().st_size},
            "weights": {"before": _weights(candidate.parent), "after": _weights(written)},
        }
        if evidence.verdict not in ("held", "not asked"):
            raise Refused(f"{evidence.why()}; nothing is written", report)
        note("measuring")
        laps = _race(candidate.parent, written)
        report["latency"] = laps
        native = laps["native"]
        if native["speedup"] <= 1 and not allow_slower:
            raise Refused(
                f"it takes {native['after_ms']:.3g} ms an answer and its parent {native['before_ms']:.3g} ms on this "
                "machine: not faster, so nothing is written (--allow-slower true writes it all the same)",
                report,
            )
        card = {**file.provenance, "network": file.network, **_card(evidence, report)}
        stored = registry.add_model(candidate.output, None, written, card, candidate.beside(scratch))
    return {"model": registry.model_name(stored), "path": str(stored), **report}


def _is_half(path: Path) -> bool:
    """Whether a file stores its weights in half precision; what is made of it does so too."""
    return any(tensor.dtype == np.float16 for tensor in modelfile.mapped(path).values())


def _card(evidence: Evidence, report: dict[str, Any]) -> dict[str, Any]:
    metrics = {c.measure: asdict(c) for c in evidence.comparisons}
    guarantee = {
        key: getattr(evidence, key)
        for key in ("data", "measure", "threshold", "groups", "rows", "verdict", "agreement")
    }
    return {"metrics": metrics, "guarantee": guarantee, "size": report["size"], "latency": report["latency"]}


def _weights(path: Path) -> int:
    """Numbers that the program reads from tensors."""
    nodes = Graph(modelfile.read(path)).nodes
    return sum(
        weight.size * (2 if node.code.bits == 4 and key in node.code.scales else 1)  # two share a byte
        for node in nodes
        for key, weight in node.weights.items()
        if "scale" not in key and key != "range"
    )


def _race(parent: Path, child: Path) -> dict[str, Any]:
    """Milliseconds of both, native and as WebAssembly; where that cannot run here, why."""
    laps: dict[str, Any] = {"native": _laps(parent, child, "native")}
    reason = "unavailable: this package was built without Emscripten"
    laps["wasm"] = _laps(parent, child, "wasm") if modules.available() else reason
    return laps


def _laps(parent: Path, child: Path, backend: str) -> dict[str, float]:
    pair = [_loaded(path, backend) for path in (parent, child)]
    before, after = race(pair, _SECONDS)
    return _pair(before, after)


def _pair(before: Lap, after: Lap) -> dict[str, float]:
    return {
        "before_ms": before.milliseconds,
        "after_ms": after.milliseconds,
        "speedup": after.speedup,
        "low": after.low,
        "high": after.high,
    }


def _loaded(path: Path, backend: str) -> Model:
    return assemble(path, modelfile.read(path, packed=True), Settings(backend=backend))
