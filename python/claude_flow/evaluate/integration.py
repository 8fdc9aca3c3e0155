"""Do models work together as a program uses them? ``claude-flow neural test integration``.

Each model answers its network's own example request: natively, as WebAssembly and by torch, again, from a copy of its
file, and from several threads at once; nonsense is refused. Then all answer in turn in one process, and each must say
what it said alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import modelfile, registry
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.files import temporary_folder
from claude_flow.model import Model, load
from claude_flow.networks import Network
from claude_flow.report.progress import Progress, nothing
from claude_flow.values import did_you_mean
from claude_flow.wasm import modules

__all__ = ["SCENARIOS", "Part", "check", "integration"]

SCENARIOS = {"end-to-end-coordination": "every model by itself, then all in turn"}
_THREADS, _ROUNDS = 8, 30
_TOLERANCE = 2e-3  # answers are rounded to four places, and backends differ in the last bits before
_TIME = re.compile(r"\d{4}-\d\d-\d\dT")  # an answer may say when it was given


@dataclass(frozen=True)
class Part:
    """A model to test, and what to ask it: the request and the keywords of its network's ``answer``."""

    row: Network
    path: Path
    request: Any
    keywords: dict[str, Any]

    def answer(self, model: Model) -> Any:
        """What the model says."""
        return self.row.answer.answer(model, self.request, **self.keywords)


def check(scenarios: str) -> None:
    """:class:`InputError` for scenarios that there are not."""
    if scenarios not in SCENARIOS:
        near = did_you_mean(scenarios, SCENARIOS) or f": it is one of {', '.join(SCENARIOS)}"
        raise InputError(f"there are no test scenarios {scenarios!r}{near}")


def integration(parts: Sequence[Part], benchmarks: bool = False, *, progress: Progress = nothing) -> dict[str, Any]:
    """Run every check on every part, then all parts together; with ``benchmarks`` also their latencies."""
    rows, alone, loaded = [], [], []
    for place, part in enumerate(parts):
        name = registry.model_name(part.path)
        progress(place / (len(parts) + 1), name)
        model = load(part.path, backend="native", threads=1)
        first = part.answer(model)
        for what, test in _checks(part, model, first).items():
            rows.append({"model": name, "check": what, **_run(test)})
        alone.append(first)
        loaded.append(model)

    def together() -> str:
        for _ in range(3):
            for part, model, first in zip(parts, loaded, alone, strict=True):
                if off := _differs(first, part.answer(model)):
                    return f"{part.row.name}: {off}"
        return ""

    rows.append({"model": "all", "check": "in turn, as alone", **_run(together)})
    answer: dict[str, Any] = {"checks": rows, "failed": sum(not row["passed"] for row in rows)}
    if benchmarks:
        progress(len(parts) / (len(parts) + 1), "latency")
        answer["latencies"] = _latencies(parts, loaded)
    return {**answer, "passed": not answer["failed"]}


def _checks(part: Part, model: Model, first: Any) -> dict[str, Callable[[], str]]:
    def on(backend: str) -> Callable[[], str]:
        return lambda: _differs(first, part.answer(load(part.path, backend=backend, threads=1)))

    def copied() -> str:
        with temporary_folder() as folder:
            modelfile.write(folder / "copy.safetensors", modelfile.read(part.path))
            return _differs(first, part.answer(load(folder / "copy.safetensors", backend="native", threads=1)))

    def at_once() -> str:
        with ThreadPoolExecutor(_THREADS) as pool:
            answers = list(pool.map(lambda _: part.answer(model), range(2 * _THREADS)))
        return next((off for other in answers if (off := _differs(first, other))), "")

    def nonsense() -> str:
        try:
            part.row.answer.answer(model, {"no-such-field": 1})
        except InputError:
            return ""
        return "a request of nonsense was answered"

    found = {"answers the same again": lambda: _differs(first, part.answer(model)), "a copy of its file": copied}
    found |= {f"{_THREADS} threads at once": at_once, "refuses nonsense": nonsense}
    if find_spec("wasmtime") and modules.available():
        found["as WebAssembly"] = on("wasm")
    if find_spec("torch"):
        found["by torch"] = on("torch")
    return found


def _run(test: Callable[[], str]) -> dict[str, Any]:
    begin = time.perf_counter()
    try:
        why = test()
    except ClaudeFlowError as error:
        why = str(error)
    return {"passed": not why, "why": why, "seconds": time.perf_counter() - begin}


def _differs(one: Any, other: Any, where: str = "") -> str:
    """The first place where two answers differ, or nothing; times and the model's name may."""
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"{where or 'answer'}: other fields"
        pairs = ((key, one[key], other[key]) for key in one if key != "model")
        return next((off for key, a, b in pairs if (off := _differs(a, b, f"{where}.{key}".lstrip(".")))), "")
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return f"{where}: {len(one)} and {len(other)} entries"
        pairs = ((str(i), a, b) for i, (a, b) in enumerate(zip(one, other, strict=True)))
        return next((off for key, a, b in pairs if (off := _differs(a, b, f"{where}.{key}"))), "")
    if isinstance(one, float) and isinstance(other, float):
        alike = abs(one - other) <= _TOLERANCE * max(1.0, abs(one))
    else:
        alike = one == other or (isinstance(one, str) and bool(_TIME.match(one)))
    return "" if alike else f"{where}: {one!r} and {other!r}"


def _latencies(parts: Sequence[Part], loaded: Sequence[Model]) -> list[dict[str, Any]]:
    """Milliseconds of an answer, from the request on, per model and of all in turn."""
    times = np.zeros((_ROUNDS, len(parts)))
    for turn in range(_ROUNDS):
        for place, (part, model) in enumerate(zip(parts, loaded, strict=True)):
            begin = time.perf_counter()
            part.answer(model)
            times[turn, place] = 1e3 * (time.perf_counter() - begin)
    named = [(registry.model_name(part.path), times[:, place]) for place, part in enumerate(parts)]
    return [
        {"model": name, "p50_ms": float(np.median(column)), "p95_ms": float(np.quantile(column, 0.95))}
        for name, column in (*named, ("all in turn", times.sum(1)))
    ]
