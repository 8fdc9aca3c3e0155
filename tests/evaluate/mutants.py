"""Mutation testing of `test unit`: a coefficient that is wrong by 1e-4, in a kernel or in a weight, must be found.

``python -m tests.evaluate.mutants`` plants every one of :func:`kernels` (the constants of the kernels' polynomials, as
they lie in the WebAssembly module) and numbers of every tensor of every op's own cases, one at a time, prints what
lived, and writes the count into docs/testing.md. ``make mutants`` calls it; what was tried is
kept in build/mutants. The short form is in test_components.py.

Left out are the arguments of ``min``, ``max``, ``less`` and ``bounded`` in cpp/simd/math-inl.h: where the functions are
flat, or bend from one piece to another, both of which say the same there.
"""

from __future__ import annotations

import argparse
import atexit
import dataclasses
import hashlib
import json
import re
import struct
import sys
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from claude_flow import engine, files
from claude_flow.evaluate import components
from claude_flow.evaluate.components import Case, Component, Engine
from claude_flow.wasm import modules
from claude_flow.wasm.host import Model
from claude_flow.wasm.instance import Instance

__all__ = ["HERE", "Constant", "Kernel", "Weight", "is_found", "kernels", "weights"]

HERE = Engine("native", engine.isa())
ISA = "simd128"
SOURCE = Path(__file__).parents[2] / "cpp" / "simd" / "math-inl.h"
PAGE = SOURCE.parents[2] / "docs" / "testing.md"
KEPT = PAGE.parents[1] / "build" / "mutants"  # what was tried, while what is tested stays the same
WRONG = np.float32(1 + 1e-4)
_NUMBER = re.compile(r"-?\d+\.\d*(?:e-?\d+)?(?=f)")
_FLAT = re.compile(r"(?:min|max|less|bounded)\(")


@dataclasses.dataclass(frozen=True)
class Constant:
    """A coefficient: its text in the source, and where its four bytes lie in the module."""

    text: str
    places: tuple[int, ...]


def kernels() -> list[Constant]:
    """The coefficients of cpp/simd/math-inl.h that the module holds as they are written, each once."""
    binary, found = modules.module_path(ISA).read_bytes(), {}
    for line in SOURCE.read_text("utf-8").splitlines():
        code = line.partition("//")[0]
        if _FLAT.search(code):
            continue
        for text in _NUMBER.findall(code):
            value = struct.pack("<f", float(text))
            digits = len(text.replace("-", "").replace(".", "").strip("0"))
            if digits < 5:  # 0.5, 1.0: too common to say where it lies
                continue
            places, at = [], binary.find(value)
            while at >= 0:
                places.append(at)
                at = binary.find(value, at + 1)
            if places:
                found[text] = Constant(text, tuple(places))
    return list(found.values())


@dataclasses.dataclass(frozen=True)
class Kernel(Engine):
    """The WebAssembly engine with one coefficient wrong wherever it lies."""

    backend: str = "wasm"
    isa: str = ISA
    constant: Constant = Constant("", ())

    def run(self, case: Case) -> np.ndarray:
        return _Planted(np.asarray(case.program.words(), np.int32), case.tensors, self.constant).run(
            case.x, case.lengths
        )


class _Planted(Model):
    def __init__(self, words: np.ndarray, tensors: list[np.ndarray], constant: Constant) -> None:
        self._constant = constant
        super().__init__(words, tensors, ISA)

    def _instance(self, isa: str) -> Instance:
        return Instance(isa, _module(self._constant))


@lru_cache(maxsize=1)
def _module(constant: Constant) -> tuple[object, object]:
    import wasmtime

    binary = bytearray(modules.module_path(ISA).read_bytes())
    for at in constant.places:
        (value,) = struct.unpack_from("<f", binary, at)
        struct.pack_into("<f", binary, at, float(np.float32(value) * WRONG))
    atexit.register(_module.cache_clear)  # before the interpreter clears wasmtime
    own = wasmtime.Engine()
    return own, wasmtime.Module(own, bytes(binary))


@dataclasses.dataclass(frozen=True)
class Weight(Engine):
    """The native engine with one number of a tensor of one case wrong: floats by 1e-4 of the largest, integers by 1."""

    case: str = ""
    tensor: int = 0
    at: int = 0

    def run(self, case: Case) -> np.ndarray:
        if case.name != self.case:
            return HERE.run(case)
        tensors = [np.array(tensor) for tensor in case.tensors]
        wrong = tensors[self.tensor].reshape(-1)
        if wrong.dtype == np.int8:
            wrong[self.at] += 1 if wrong[self.at] < 127 else -1
        else:
            wrong[self.at] += np.float32(1e-4) * np.abs(wrong).max()
        return HERE.run(dataclasses.replace(case, tensors=tensors))


def weights(component: Component, most: int | None = None) -> Iterator[Weight]:
    """Every number of every tensor of the component's first case that has all its tensors, or ``most`` of each.

    Of sequences one of three tokens or more: in the first step nothing has been remembered, and of one token softmax is
    1 whatever the weight, so a wrong weight there is no fault.
    """

    def key(case: Case) -> tuple[int, int]:
        return len(case.tensors), min(case.x.shape[1], 3) if case.x.ndim == 3 else 3

    case = max(component.cases(np.random.default_rng(0)), key=key)
    for tensor, data in enumerate(case.tensors):
        for at in np.unique(np.linspace(0, data.size - 1, min(most or data.size, data.size)).round().astype(int)):
            yield Weight("native", "mutant", case.name, tensor, int(at))


def is_found(mutant: Engine, chosen: list[Component], precision: float = 1e-6) -> bool:
    """Whether `test unit` fails on the mutant: the first component that does decides."""
    beside = [Engine("native", "scalar"), HERE, mutant]
    return any(not components.unit([one], precision, on=beside)["passed"] for one in chosen)


def planted(most: int) -> Iterator[tuple[str, Engine, list[Component]]]:
    """Every mutant: its name, the engine, and the components that may find it."""
    ops = [one for name, one in components.components().items() if not name.endswith("-network")]
    for constant in kernels():
        yield f"kernel constant {constant.text}", Kernel(constant=constant), ops
    for one in ops:
        for mutant in weights(one, most):
            yield f"{one.name}, {mutant.case}: tensor {mutant.tensor}, number {mutant.at}", mutant, [one]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.evaluate.mutants", description=__doc__)
    parser.add_argument("--weights", type=int, default=24, help="numbers of every tensor")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long; run again to go on")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    # What was tried counts as long as the modules and the sources of the engine and of the test are the same.
    sources = [modules.module_path(ISA), SOURCE, Path(components.__file__), Path(__file__)]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    kept = KEPT / f"{key}.json"
    found: dict[str, bool] = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    mutants = list(planted(options.weights))
    for name, mutant, chosen in mutants:
        if name in found:
            continue
        if time.monotonic() > end:
            print(f"{len(found)} of {len(mutants)} tried: run it again to go on")
            return 0
        found[name] = is_found(mutant, chosen)
        if not found[name]:
            print(f"lived: {name}", flush=True)
        files.atomic_write(kept, json.dumps(found))
    own = [name for name, _, _ in mutants]
    constants = sum(name.startswith("kernel constant") for name in own)
    count = f"{len(own)} planted ({constants} constants of kernels, {len(own) - constants} weights)"
    said = f"{count}, {sum(found[name] for name in own)} found"
    print(said)
    text = PAGE.read_text("utf-8")
    PAGE.write_text(
        re.sub(r"(<!-- mutants -->).*?(<!-- end -->)", rf"\g<1>{said}\g<2>", text, flags=re.DOTALL), "utf-8"
    )
    return 0 if all(found[name] for name in own) else 1


if __name__ == "__main__":
    sys.exit(main())
