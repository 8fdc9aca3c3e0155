"""What a network of given sizes takes on the engine: milliseconds, MiB, operations. None of it depends on the weights.

So it is measured before any training and kept: a search that is repeated with its seed decides alike, however busy the
machine is then, and no training that runs meanwhile disturbs it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import __version__, engine, export, modelfile, networks
from claude_flow.files import atomic_write, temporary_folder
from claude_flow.measure.graph import Graph
from claude_flow.measure.machine import cpu_name
from claude_flow.model import load
from claude_flow.search.candidate import Setting
from claude_flow.values import read_json
from claude_flow.wasm import modules

__all__ = ["Gauge", "latency"]

_TOKENS = 8
_CALLS = 60
Taken = dict[str, float | None]  # latency, memory, flops, wasm


class Gauge:
    """Measures untrained networks of a setting, each once.

    Args:
        setting: whose data say how wide inputs are; they are loaded once.
        path: where the figures are kept for another search, if they are. They count for one CPU, engine and instruction
            set.
    """

    def __init__(self, setting: Setting, path: Path | None = None) -> None:
        self._setting, self._path = setting, path
        self._data: Any = None
        self._here = {"cpu": cpu_name(), "engine": __version__, "isa": engine.isa()}
        kept = read_json(path) if path is not None and path.is_file() else {}
        self._kept: dict[str, Taken] = kept["taken"] if kept.get("machine") == self._here else {}

    def latency(self, sizes: Mapping[str, Any]) -> float:
        """Median milliseconds of a call, native.

        Raises:
            InputError: sizes that do not fit together.
        """
        found = self._of(sizes, wasm=False)["latency"]
        assert found is not None
        return found

    def taken(self, sizes: Mapping[str, Any]) -> dict[str, Any]:
        """``latency``, ``memory``, ``flops`` and ``wasm``, as a candidate's measures have them."""
        return dict(self._of(sizes, wasm=True))

    def _of(self, sizes: Mapping[str, Any], wasm: bool) -> Taken:
        key = f"{self._setting.network} {json.dumps(sizes, sort_keys=True)}"
        known = self._kept.get(key, {})
        if not known or (wasm and "wasm" not in known):
            self._kept[key] = self._measured(sizes, wasm) | known
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                kept = {"machine": self._here, "taken": self._kept}
                atomic_write(self._path, json.dumps(kept, indent=1) + "\n")
        return self._kept[key]

    def _measured(self, sizes: Mapping[str, Any], wasm: bool) -> Taken:
        config = self._setting.config(sizes)
        if self._data is None:
            learn: Any = networks.get(self._setting.network).learn
            self._data = learn.Data.load(self._setting.data, self._setting.validation_split, 0, asdict(config))
        with temporary_folder() as folder:
            file = folder / "model.safetensors"
            export.save(self._data.module(config.network).eval(), file)
            model = load(file, threads=1)
            graph = Graph(modelfile.read(file))
            x = _example(model, graph)
            found: Taken = {"latency": latency(model, x)}
            found["memory"] = (file.stat().st_size + model.arena_bytes) / (1 << 20)
            tokens = [x.shape[1] if x.ndim == 3 else 1]
            found["flops"] = float(sum(graph.cost(node, tokens).operations for node in graph.nodes))
            if wasm:
                has = find_spec("wasmtime") is not None and bool(modules.available())
                found["wasm"] = latency(load(file, backend="wasm", threads=1), x) if has else None
        return found


def _example(model: Any, graph: Graph) -> NDArray[np.float32]:
    """An input of eight tokens, or of one row where the network takes rows."""
    width = model.config["input_width"]
    shape = (1, min(_TOKENS, graph.max_tokens), width) if len(graph.input_shape) > 1 else (1, width)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def latency(model: Any, x: NDArray[np.float32], calls: int = _CALLS) -> float:
    """The median milliseconds of a call."""
    times = []
    for _ in range(calls):
        begin = time.perf_counter()
        model.run(x)
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))
