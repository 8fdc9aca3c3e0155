"""Load a model and run it: the one door to inference for the library, the command line and the benchmarks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from claude_flow import modelfile, networks, registry, runtime
from claude_flow.errors import InputError
from claude_flow.modelfile import layout
from claude_flow.modelfile.quantize import products, quantize

__all__ = ["Decision", "Model", "assemble", "load", "load_as", "load_for", "load_to_answer"]

#: A batch, or one for each input of a model of several.
Arrays = NDArray[np.float32] | Sequence[NDArray[np.float32]]
Lengths = NDArray[np.int32] | Sequence[NDArray[np.int32] | None] | None

BACKENDS = ("native", "wasm", "torch")


@dataclass(frozen=True)
class Decision:
    """Scores of a batch of swarms: which agent or command takes which task.

    ``scores`` and ``probabilities`` are float32 ``[B, tasks, agents + commands]``; columns of agents that an item
    does not have are ``-inf`` and 0, rows of tasks that it does not have are 0 in ``probabilities``. ``commands``
    names the last columns.
    """

    scores: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    commands: tuple[str, ...]


class Model:
    """A loaded model. Make one with :func:`load`; it is safe to run from many threads at once, and in a
    child that is forked meanwhile.

    Attributes: ``network``, ``precision``, ``backend``, ``isa``, ``threads``, ``config``, ``features`` (the schema
    of its inputs), ``calibration``, ``provenance``, ``path``, ``arena_bytes`` (working memory of a run),
    ``apart_bytes`` (what it would be if no two values shared a place), ``packed_bytes`` (weights that were packed at
    load: those of a file prepacked for this ``isa`` are not among them).
    """

    def __init__(self, path: Path, file: modelfile.ModelFile, runner: Any, backend: str) -> None:
        self.path = path
        self.network = file.network
        self.precision = file.precision
        self.config = file.config
        self.features = file.features
        self.calibration = file.calibration
        self.provenance = file.provenance
        self.backend = backend
        self.isa: str = runner.isa
        self.threads: int = runner.threads
        self.arena_bytes: int = getattr(runner, "arena_bytes", 0)
        self.apart_bytes: int = getattr(runner, "apart_bytes", 0)
        self.packed_bytes: int = getattr(runner, "packed_bytes", 0)
        self._runner = runner
        self._head = networks.get(file.network).head(path, file)

    def run(self, x: Arrays, lengths: Lengths = None, *, batch: int | None = None) -> NDArray[np.float32]:
        """Run the network on a batch; one crossing into the engine, which releases the GIL, or one for every ``batch``
        items: what a large batch works on outgrows the cache.

        ``x``: float32, C-contiguous: coordination ``[B, T, 512] -> [B, T, 256]``, optimization
        ``[B, 256] -> [B, 128]``, prediction ``[B, T, 128] -> [B, 64]`` (at the spec's sizes), ``1 <= T <= 128``.
        ``lengths``: int32 ``[B]``, real tokens per item (default: all T); outputs of padded tokens are 0.
        A program of several inputs takes a list of such arrays, each with a T of its own, and of lengths or None.
        Raises ``ValueError`` for any other shape, type or length.
        """
        several = isinstance(x, list | tuple)
        size = len(x[0] if several else x)
        if batch is None or size <= batch:
            y: NDArray[np.float32] = self._runner.run(x, lengths)
            return y

        def part(value: Any, rows: slice) -> Any:
            return None if value is None else [v if v is None else v[rows] for v in value] if several else value[rows]

        rows = [slice(first, first + batch) for first in range(0, size, batch)]
        return np.concatenate([self._runner.run(part(x, r), part(lengths, r)) for r in rows])

    def profile(self, x: Arrays, lengths: Lengths = None) -> list[tuple[int, int, float]]:
        """Run once with a clock around every op of the program: ``(op, opcode, seconds)`` in the program's order.

        Arguments as for :meth:`run`. The opcode is the one that ran (docs/model_format.md). Raises
        :class:`InputError` for a backend whose ops cannot be timed one by one.
        """
        if self.backend == "torch":
            raise InputError(f"{self.path}: the torch backend has no clock between ops; use native or wasm")
        times: list[tuple[int, int, float]] = self._runner.profile(x, lengths)
        return times

    def constant(self, name: str) -> Any:
        """One of the file's calibration constants; :class:`InputError` where the file lacks it."""
        if name not in self.calibration:
            raise InputError(f"{self.path}: it has no calibration constant {name!r}: train the model again")
        return self.calibration[name]

    def decide(
        self, x: NDArray[np.float32], agents: ArrayLike, tasks: ArrayLike, *, batch: int | None = None
    ) -> Decision:
        """Assign tasks: run a coordination network and apply its pointer head, masks and softmax.

        ``x``: float32 ``[B, T, 512]``, per item one state token, then the agents, then the tasks, then padding.
        ``agents``, ``tasks``: integers, one for all items or ``[B]``. The softmax runs over the item's agents and
        the commands, at the model's calibrated ``temperature``. Raises :class:`InputError` for another network or
        counts that do not fit ``T``. ``batch``: as for :meth:`run`.
        """
        if self._head is None:
            raise InputError(
                f"{self.path}: decide() needs a model that chooses, such as coordination's; this is {self.network}"
            )
        decision: Decision = self._head.decide(partial(self.run, batch=batch), x, agents, tasks)
        return decision


class _TorchRunner:
    """The reference backend: the same file, run by torch."""

    isa = "torch"

    def __init__(self, file: modelfile.ModelFile, threads: int) -> None:
        from claude_flow import export

        self.threads = threads
        self._module = export.from_file(file)

    def run(self, x: NDArray[np.float32], lengths: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            inputs = [torch.from_numpy(np.array(x))]
            if lengths is not None:
                inputs.append(torch.from_numpy(np.array(lengths, np.int64)))
            y: NDArray[np.float32] = self._module(*inputs).numpy()
        return y


# Bytes of model files whose models stay in the process with caching "intelligent".
_cache: runtime.Cache[Model] = runtime.Cache(512 << 20)


def load(
    name: str | Path,
    backend: str | None = None,
    precision: str = "auto",
    threads: int | None = None,
    isa: str = "auto",
) -> Model:
    """Load a model by path, workspace name (``NAME`` or ``NAME/VERSION``) or built-in name.

    ``backend``: ``"native"`` (the C++ engine), ``"wasm"`` (the same engine under wasmtime, needs ``claude-flow[wasm]``)
    or ``"torch"`` (the reference, needs ``claude-flow[train]``).
    ``precision``: ``"auto"`` takes what the file holds; ``"int8"`` and ``"int4"`` quantize a float file as it is
    loaded, activations row by row. ``"fp32"`` of a quantized file is refused.
    ``threads``: for each request; a wasm model runs that many requests at once.
    ``isa``: one of ``claude_flow.engine.available()`` or, for wasm, ``"simd128"`` or ``"relaxed"``; ``"auto"`` is what
    the file is prepacked for, if this machine has it, else the best.
    ``backend`` and ``threads`` default to what ``claude-flow neural runtime setup-acceleration`` chose for the
    workspace, else native and 1; its choices of batching, caching and memory mapping hold too. Nothing falls back
    silently: what cannot be done raises :class:`InputError`, or what is not installed :class:`ClaudeFlowError`, with
    the reason.
    """
    settings = runtime.read()
    if backend is not None:
        settings = replace(settings, backend=backend)
    if threads is not None:
        settings = replace(settings, threads=threads)
    return load_as(registry.model_path(str(name)), settings, precision, isa)


def load_for(network: str, name: str | Path | None = None, **options: Any) -> Model:
    """As :func:`load`, a model of ``network``: ``name``, or by default the workspace's newest, else the built-in one.

    Raises :class:`InputError` if ``name`` is a model of another network.
    """
    path = registry.newest_model(network) if name is None else registry.model_path(str(name))
    model = load(path, **options)
    networks.get(network).check(model)
    return model


def load_to_answer(network: str, name: str | Path | None = None, **options: Any) -> Model:
    """As :func:`load_for`, to answer one request: where a canary of the named model is tried, it may be its turn."""
    path = registry.newest_model(network) if name is None else registry.model_path(str(name))
    if name is None or "/" not in str(name):
        path = registry.asked(path)
    return load_for(network, path, **options)


def load_as(path: Path, settings: runtime.Settings, precision: str = "auto", isa: str = "auto") -> Model:
    """As :func:`load`, with all choices of the runtime given."""
    if settings.caching == "off":
        return _load(path, settings, precision, isa)
    return _cache.get(path, (settings, precision, isa), lambda: _load(path, settings, precision, isa))


def _load(path: Path, settings: runtime.Settings, precision: str, isa: str) -> Model:
    rounds = precision in ("int8", "int4")
    file = modelfile.read(path, settings.memory_mapping, packed=settings.backend != "torch" and not rounds)
    if rounds and file.precision == "fp32":
        file = quantize(file, four=products(file) if precision == "int4" else ())
    elif precision not in ("auto", file.precision):
        raise InputError(f"{path} holds {file.precision} weights, not {precision!r}; use precision='auto'")
    return assemble(path, file, settings, isa)


def assemble(
    path: Path, file: modelfile.ModelFile, settings: runtime.Settings | None = None, isa: str = "auto"
) -> Model:
    """The model of a ``file`` in memory, which need not be what ``path``, its name in messages, holds."""
    settings = settings or runtime.Settings()
    backend, threads = settings.backend, settings.threads
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}: it is one of {', '.join(BACKENDS)}")
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    if backend == "torch":
        return Model(path, file, _TorchRunner(file, threads), backend)
    engine = import_module("claude_flow.wasm" if backend == "wasm" else "claude_flow._core")
    program = np.asarray(file.program, np.int32)
    try:
        tensors, isa = _in_place(file, engine, isa)
        runner = (
            engine.Model(program, tensors, isa, threads)
            if backend == "native"
            else runtime.Pool(lambda: engine.Model(program, tensors, isa), threads)
        )
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    return Model(path, file, runtime.Batcher(runner) if settings.batching else runner, backend)


def _in_place(file: modelfile.ModelFile, engine: Any, isa: str) -> tuple[list[Any], str]:
    """The program's tensors as the engine takes them, and the instruction set: of a prepacked file its own, if the
    caller leaves the choice and the engine has it. Weights packed in another order than that become matrices again, and
    the engine packs them as it loads."""
    packed = next((tensor for tensor in file.tensors.values() if isinstance(tensor, layout.Packed)), None)
    if packed:
        if isa == "auto" and "CLAUDE_FLOW_ISA" not in os.environ and packed.layout.isa in engine.available():
            isa = packed.layout.isa
        if not packed.layout.same_order(engine.layout(isa)):
            file = layout.unpack(file)
    tensors = [file.tensors[name] for name in file.program_tensors]
    return [(t.data.reshape(-1), t.rows, t.columns) if isinstance(t, layout.Packed) else t for t in tensors], isa
