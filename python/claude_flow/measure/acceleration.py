"""What each choice of ``runtime setup-acceleration`` brings on this machine, tried out on a model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import modelfile, runtime
from claude_flow.measure.graph import Graph
from claude_flow.model import Model, load_as

__all__ = ["try_out"]

_CLIENTS = 8
_BATCH = 32


def try_out(path: Path, chosen: runtime.Settings) -> list[dict[str, Any]]:
    """Run the model with the chosen settings, and with each of them as it is by default.

    Returns rows ``setting, value, measure, without, with``. Raises as :func:`claude_flow.load` when a choice cannot be
    carried out, such as a backend that is not installed.
    """
    model = load_as(path, chosen)
    graph = Graph(modelfile.read(path))
    *tokens, width = graph.input_shape
    shape = (*(min(16, t) for t in tokens), width)
    one, many = (np.random.default_rng(0).standard_normal((n, *shape), np.float32) for n in (1, _BATCH))
    plain = runtime.Settings()
    rows: list[dict[str, Any]] = []

    def compare(setting: str, measure: str, value: Callable[[runtime.Settings], float]) -> None:
        before = replace(chosen, **{setting: getattr(plain, setting)})
        if before != chosen:
            rows.append(
                {
                    "setting": setting,
                    "value": getattr(chosen, setting),
                    "measure": measure,
                    "without": value(before),
                    "with": value(chosen),
                }
            )

    def load_seconds(settings: runtime.Settings) -> float:
        return 1e3 * _best(lambda: load_as(path, settings))

    model.run(one)
    compare("backend", "ms for one item", lambda s: 1e3 * _timed(load_as(path, s), one))
    if chosen.backend == "wasm":
        compare("threads", f"items/s, {_CLIENTS} clients", lambda s: _throughput(load_as(path, s), one))
    else:
        compare("threads", f"ms for {_BATCH} items", lambda s: 1e3 * _timed(load_as(path, s), many))
    compare("batching", f"items/s, {_CLIENTS} clients", lambda s: _throughput(load_as(path, s), one))
    compare("caching", "ms to load again", load_seconds)
    compare("memory_mapping", "ms to load", lambda s: load_seconds(replace(s, caching="off")))
    return rows


def _best(call: Callable[[], object], times: int = 5) -> float:
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return min(found)


def _timed(model: Model, x: NDArray[np.float32]) -> float:
    return _best(lambda: model.run(x))


def _throughput(model: Model, x: NDArray[np.float32], seconds: float = 0.3) -> float:
    """Items per second of clients that each send one item and wait."""
    deadline = time.perf_counter() + seconds
    counts = [0] * _CLIENTS

    def client(number: int) -> None:
        while time.perf_counter() < deadline:
            model.run(x)
            counts[number] += 1

    begin = time.perf_counter()
    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begin)
