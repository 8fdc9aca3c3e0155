"""The C ABI of `cpp/include/claude_flow.h` across wasmtime: one instance, with a memory of its own, per model."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import forks
from claude_flow.wasm.instance import Instance

__all__ = ["Model", "layout"]

_NO_MEMORY = 3
_DTYPES = {np.dtype(np.float32): 0, np.dtype(np.int8): 1, np.dtype(np.int32): 2}
_ERROR = 240  # sizeof cf_error
_INFO_WORDS = 11  # of cf_info: seven integers, three sizes, isa
_MAX_INPUTS = 16
_OP_TIME = np.dtype({"names": ["code", "seconds"], "formats": ["<i4", "<f8"], "offsets": [0, 8], "itemsize": 16})
_Arrays = NDArray[np.float32] | Sequence[NDArray[np.float32]]
_Lengths = NDArray[np.int32] | Sequence[NDArray[np.int32] | None] | None
#: Floats that cross into the module or out of it at once, if an item is not larger; longer batches cross in parts.
_STAGED = 1 << 20


def layout(isa: str) -> tuple[int, int]:
    """The order in which a module's kernels read weights: columns of a panel, units of a block of an LSTM."""
    wasm = Instance(isa)
    word, order, error = wasm.place(np.frombuffer(b"auto\0", np.uint8)), wasm.allocate(8), wasm.allocate(_ERROR)
    if wasm.call("cf_layout", word, order, error):
        raise ValueError(wasm.text(error))
    columns, units = wasm.view(order, 2, np.int32).tolist()
    return columns, units


class Model:
    """A program and its tensors in a WebAssembly instance: the same interface as the native engine's `Model`.

    ``program``: int32 words of docs/model_format.md; ``tensors``: C-contiguous float32, int8 or int32 arrays of one or
    two dimensions, or ``(elements, rows, columns)`` of a prepacked matrix; ``isa``: ``"simd128"``, ``"relaxed"`` or
    ``"auto"``; ``threads``: 1. Everything is checked, copied and packed here: a run allocates nothing inside the
    module. Threads may share it; they run one at a time.

    Raises ``ValueError`` for a program that the engine refuses, ``MemoryError`` when it does not fit into the module's
    2 GiB, and what :func:`claude_flow.wasm.modules.compiled` raises.
    """

    def __init__(self, program: NDArray[np.int32], tensors: Sequence[Any], isa: str = "auto", threads: int = 1) -> None:
        self._running = threading.Lock()
        self._started = False
        self._made_of = program, tensors, isa, threads
        self._start()
        forks.follow(self)

    def forked(self) -> None:
        """In a child: an instance in the middle of a call is of no use, so the next call starts another."""
        self._started = self._started and not self._running.locked()
        self._running = threading.Lock()

    def _start(self) -> None:
        program, tensors, isa, threads = self._made_of
        self._wasm = wasm = self._instance(isa)
        self._error = wasm.allocate(_ERROR)
        self._model = self._create(program, tensors, threads)

        info = wasm.allocate(4 * _INFO_WORDS)
        wasm.call("cf_model_info", self._model, info)
        words = wasm.view(info, _INFO_WORDS, np.uint32).tolist()
        self.per_token_input, self.per_token_output = bool(words[0]), bool(words[1])
        self.input_width, self.output_width, self.max_tokens, self.threads, ops = words[2:7]
        self.arena_bytes, self.apart_bytes, self.packed_bytes = words[7:10]
        self.isa: str = wasm.text(words[10])
        self._output_axis: int = words[1]
        about = wasm.allocate(12 * _MAX_INPUTS)
        count = wasm.call("cf_model_inputs", self._model, about, _MAX_INPUTS)
        #: axis (0 where it has no tokens), width, most tokens of each input
        self.inputs = [tuple(row) for row in wasm.view(about, 3 * count, np.int32).reshape(count, 3).tolist()]

        # Room for whole items of the longest kind, allocated now, so that the memory never grows while running.
        # The result of as many rows crosses too, so the wider of the two decides.
        widest = [max(width, self.output_width) for _, width, _ in self.inputs]
        self._rows = [
            max(most, _STAGED // count // wide // most * most)
            for wide, (_, _, most) in zip(widest, self.inputs, strict=True)
        ]
        out = next((n for n, (axis, *_) in zip(self._rows, self.inputs, strict=True) if axis == words[1] != 0), None)
        self._x = [self._stage(n * row[1], np.float32) for n, row in zip(self._rows, self.inputs, strict=True)]
        self._lengths = [self._stage(n, np.int32) for n in self._rows]
        self._y, y_at = self._stage((out or min(self._rows)) * self.output_width, np.float32)
        self._times, times_at = self._stage(ops, _OP_TIME)
        self._views, views_at = self._stage(3 * count, np.uint32)  # a cf_input each
        self._call, self._call_at = self._stage(6, np.uint32)  # cf_call
        self._call[:] = views_at, count, 0, y_at, 0, times_at
        self._run_one, self._run_one_at = self._stage(7, np.uint32)  # cf_run
        self._run_one[:] = self._model, self._x[0][1], 0, 0, 0, y_at, self._error
        self._clock = 0
        self._started = True

    @property
    def memory_bytes(self) -> int:
        """Size of the instance's memory: weights, working memory, staged batches; it never shrinks."""
        return self._wasm.memory_bytes

    def run(self, x: _Arrays, lengths: _Lengths = None) -> NDArray[np.float32]:
        """Run the program on a batch: float32 ``[B, T, W]`` or ``[B, W]`` in, a new float32 array out.

        ``lengths``: int32 ``[B]``, the real tokens of each item. A program of several inputs takes a list of arrays,
        and of lengths or None. Raises ``ValueError`` for anything else.
        """
        xs, real, y, parts = self._check(x, lengths)
        with self._running:
            if not self._started:
                self._start()
            for first, last in parts:
                self._run(xs, real, y, first, last)
        return y

    def profile(self, x: _Arrays, lengths: _Lengths = None) -> list[tuple[int, int, float]]:
        """Run once with a clock around every op: ``(op, opcode, seconds)`` in the program's order."""
        xs, real, y, parts = self._check(x, lengths)
        seconds = np.zeros(len(self._times))
        with self._running:
            if not self._started:
                self._start()
            self._clock = self._clock or self._wasm.callback(time.perf_counter)
            for first, last in parts:
                self._run(xs, real, y, first, last, self._clock)
                seconds += self._times["seconds"]
            codes = self._times["code"].tolist()
        return [(op, code, float(seconds[op])) for op, code in enumerate(codes)]

    def _instance(self, isa: str) -> Instance:
        """The instance that it lives in; tests plant faults in another."""
        return Instance(isa)

    def _create(self, program: NDArray[np.int32], tensors: Sequence[Any], threads: int) -> int:
        wasm = self._wasm
        if not _dense(program, np.int32) or program.ndim != 1:
            raise ValueError("program is not a C-contiguous int32 array of one dimension")
        table = np.zeros((len(tensors), 6), np.uint32)  # cf_tensor: data, dtype, rank, shape, packed_bytes
        placed = [wasm.place(program)]
        for i, tensor in enumerate(tensors):
            if isinstance(tensor, tuple):  # prepacked; the model reads it where it is placed, as long as it lives
                elements, *shape = tensor
                table[i] = wasm.place(elements), _DTYPES[elements.dtype], 2, *shape, elements.nbytes
                continue
            if not isinstance(tensor, np.ndarray) or tensor.dtype not in _DTYPES or not tensor.flags.c_contiguous:
                raise ValueError(f"tensor {i} is not C-contiguous float32, int8 or int32")
            if tensor.ndim not in (1, 2):
                raise ValueError(f"tensor {i} has {tensor.ndim} dimensions, not 1 or 2")
            placed.append(wasm.place(tensor))
            table[i, :3] = placed[-1], _DTYPES[tensor.dtype], tensor.ndim
            table[i, 3 : 3 + tensor.ndim] = tensor.shape
        auto, table_at, handle = wasm.place(np.frombuffer(b"auto\0", np.uint8)), wasm.place(table), wasm.allocate(4)
        placed += [auto, table_at, handle]
        status = wasm.call(
            "cf_model_create", placed[0], len(program), table_at, len(tensors), auto, threads, handle, self._error
        )
        self._raise(status)
        model = int(wasm.view(handle, 1, np.uint32)[0])
        for address in placed:
            wasm.call("free", address)
        return model

    def _stage(self, count: int, dtype: Any) -> tuple[NDArray[Any], int]:
        address = self._wasm.allocate(count * np.dtype(dtype).itemsize)
        return self._wasm.view(address, count, dtype), address

    def _each(self, given: Any, what: str) -> list[Any]:
        """One object per input: as it is for one input, else out of a list or tuple."""
        if len(self.inputs) == 1 or given is None:
            return [given] * len(self.inputs)
        if not isinstance(given, list | tuple) or len(given) != len(self.inputs):
            raise ValueError(f"{what} must be a list or tuple of {len(self.inputs)}, one for each input")
        return list(given)

    def _check(
        self, x: _Arrays, lengths: _Lengths
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int32] | None], NDArray[np.float32], list[tuple[int, int]]]:
        """The arrays and lengths of the inputs, the empty result, and the ranges of items that cross at once."""
        xs, real = self._each(x, "x"), self._each(lengths, "lengths")
        at_once, output_tokens = min(self._rows), 1
        for i, ((axis, width, most), part, n) in enumerate(zip(self.inputs, xs, real, strict=True)):
            which = "" if len(self.inputs) == 1 else f"[{i}]"
            if not _dense(part, np.float32) or part.ndim != (3 if axis else 2) or part.shape[-1] != width:
                wanted = f"[{'items, tokens' if axis else 'items'}, {width}]"
                raise ValueError(
                    f"x{which} must be a C-contiguous float32 array of shape {wanted}, not {_described(part)}"
                )
            if len(part) != len(xs[0]):
                raise ValueError(f"x{which} has {len(part)} items, x[0] {len(xs[0])}")
            tokens = part.shape[1] if axis else 1
            if n is not None and (not _dense(n, np.int32) or n.shape != (len(part),)):
                raise ValueError(f"lengths{which} must be a C-contiguous int32 array with one entry per item")
            if not 1 <= tokens <= most:
                raise ValueError(f"{which and f'x{which}: '}{tokens} tokens per item; the model takes 1..{most}")
            at_once = min(at_once, self._rows[i] // tokens)
            if axis and axis == self._output_axis:
                output_tokens = tokens
        items = len(xs[0])
        shape = (items, output_tokens, self.output_width) if self._output_axis else (items, self.output_width)
        return xs, real, np.empty(shape, np.float32), [(i, min(i + at_once, items)) for i in range(0, items, at_once)]

    def _run(
        self,
        xs: list[NDArray[np.float32]],
        lengths: list[NDArray[np.int32] | None],
        y: NDArray[np.float32],
        first: int,
        last: int,
        clock: int = 0,
    ) -> None:
        result, views = y[first:last], list[int]()
        for i, (x, real) in enumerate(zip(xs, lengths, strict=True)):
            part = x[first:last]
            (stage, x_at), (room, lengths_at) = self._x[i], self._lengths[i]
            stage[: part.size] = part.reshape(-1)
            if real is not None:
                room[: last - first] = real[first:last]
            views += x_at, x.shape[1] if x.ndim == 3 else 1, 0 if real is None else lengths_at
        if len(xs) == 1 and not clock:
            self._run_one[2:5] = last - first, *views[1:]
            status = self._wasm.call("cf_model_run_packed", self._run_one_at)
        else:
            self._views[:] = views
            self._call[2], self._call[4] = last - first, clock
            status = self._wasm.call("cf_model_call", self._model, self._call_at, self._error)
        self._raise(status)
        result.reshape(-1)[:] = self._y[: result.size]

    def _raise(self, status: int) -> None:
        if status == 0:
            return
        text = self._wasm.text(self._error)
        raise MemoryError(text) if status == _NO_MEMORY else ValueError(text)


def _dense(array: Any, dtype: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == dtype and array.flags.c_contiguous


def _described(x: Any) -> str:
    if not isinstance(x, np.ndarray):
        return type(x).__name__
    return f"{'' if x.flags.c_contiguous else 'strided '}{x.dtype} {x.shape}"
