"""How models run in this workspace: the choices of ``runtime setup-acceleration``, and the parts that carry them out.

They are kept in ``runtime.json`` of the workspace; :func:`claude_flow.load` follows them wherever its caller leaves a
choice open.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from claude_flow import files, forks, registry, schema
from claude_flow.values import read_json

__all__ = ["CACHING", "Batcher", "Cache", "Pool", "Settings", "read", "write"]

CACHING = ("off", "intelligent")
_T = TypeVar("_T")
_Array = NDArray[np.float32]
_Lengths = NDArray[np.int32]


@dataclass(frozen=True)
class Settings:
    """``backend``: native, wasm or torch. ``threads``: of the native engine for each request; for wasm, whose
    instances have one each, how many requests run at once. ``batching``: requests that wait while another runs are run
    as one batch. ``caching``: "intelligent" keeps loaded models in the process until others need the room.
    ``memory_mapping``: map a model file instead of reading it whole."""

    backend: Annotated[str, schema.Choice("native", "wasm", "torch")] = "native"
    threads: Annotated[int, schema.Whole(1, 1024)] = 1
    batching: Annotated[bool, schema.Flag()] = False
    caching: Annotated[str, schema.Choice(*CACHING)] = "off"
    memory_mapping: Annotated[bool, schema.Flag()] = True


def path() -> Path:
    """Where the workspace keeps them."""
    return registry.workspace() / "runtime.json"


def read() -> Settings:
    """The workspace's settings, or the defaults where it has none. Raises :class:`InputError` for a damaged file."""
    file = path()
    if not file.exists():
        return Settings()
    return Settings(**schema.check(read_json(file), schema.record_of(Settings), f"{files.printable(file)}: settings"))


def write(settings: Settings) -> Path:
    """Keep ``settings`` for the workspace; returns the file."""
    with registry.locked():
        files.atomic_write(path(), json.dumps(asdict(settings), indent=2) + "\n")
    return path()


class Cache(Generic[_T]):
    """Things made from files, kept until their files change or ``limit`` bytes of files are in use; then those go that
    were used longest ago.

    >>> cache = Cache(1 << 20)
    >>> cache.get(Path(__file__), "a", lambda: object()) is cache.get(Path(__file__), "a", lambda: object())
    True
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[Any, tuple[_T, int]] = OrderedDict()
        self.forked()
        forks.follow(self)

    def forked(self) -> None:
        """In a child: what was being made is made again."""
        self._lock = threading.Lock()

    def get(self, file: Path, key: Any, make: Callable[[], _T]) -> _T:
        """What was made from this state of ``file`` under ``key``, or what ``make`` returns now."""
        state = os.stat(file)
        key = (os.path.realpath(file), state.st_mtime_ns, state.st_size, key)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            made = make()
            self._kept[key] = (made, state.st_size)
            while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > self.limit:
                self._kept.popitem(last=False)
            return made


class Pool:
    """Up to ``size`` equal runners that take one request each; made when first needed."""

    def __init__(self, make: Callable[[], Any], size: int) -> None:
        self._make, self.threads = make, size
        first = make()
        self._template = first
        self._free = [first]
        self._to_make = size - 1
        self._change = threading.Condition()
        forks.follow(self)

    def forked(self) -> None:
        """In a child: others are made for those that the parent's threads have."""
        self._to_make = self.threads - len(self._free)
        self._change = threading.Condition()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._template, name)

    def run(self, x: _Array, lengths: _Lengths | None = None) -> _Array:
        """Run on a free one, or wait for it."""
        with self._change:
            while not self._free and not self._to_make:
                self._change.wait()
            runner = self._free.pop() if self._free else None
            self._to_make -= runner is None
        try:
            if runner is None:
                runner = self._make()
            y: _Array = runner.run(x, lengths)
        finally:
            with self._change:
                if runner is None:
                    self._to_make += 1
                else:
                    self._free.append(runner)
                self._change.notify()
        return y


class _Request:
    def __init__(self, x: _Array, lengths: _Lengths | None) -> None:
        self.x, self.lengths = x, lengths
        self.woken = threading.Event()
        self.answer: _Array | None = None
        self.error: BaseException | None = None


class Batcher:
    """Runs what waits as one batch: while a request runs, others gather, and then go together.

    Nothing waits for company, so a lone client loses nothing. A batch reads the weights once for all its requests.
    Requests of different lengths are padded; the sums of a batch may differ in the last bits from a single run's.
    """

    def __init__(self, runner: Any, most_items: int = 256) -> None:
        self._runner, self._most = runner, most_items
        self.forked()
        forks.follow(self)

    def forked(self) -> None:
        """In a child: the requests that run and wait are the parent's."""
        self._lock = threading.Lock()
        self._waiting: list[_Request] = []
        self._busy = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def run(self, x: _Array, lengths: _Lengths | None = None) -> _Array:
        """As the runner's ``run``."""
        if not self._joins(x, lengths):  # the runner says what is wrong with it
            alone: _Array = self._runner.run(x, lengths)
            return alone
        request = _Request(x, lengths)
        with self._lock:
            lead = not self._busy
            self._busy = True
            if not lead:
                self._waiting.append(request)
        if not lead:
            request.woken.wait()
        if request.answer is None and request.error is None:  # first of the line: it leads the batch
            with self._lock:
                batch = [request, *self._take(len(request.x))]
            try:
                self._run(batch)
            finally:
                with self._lock:
                    following = self._waiting.pop(0) if self._waiting else None
                    self._busy = following is not None
                for done in batch[1:]:
                    done.woken.set()
                if following:
                    following.woken.set()
        if request.error is not None:
            raise request.error
        assert request.answer is not None
        return request.answer

    def _joins(self, x: Any, lengths: Any) -> bool:
        if not (isinstance(x, np.ndarray) and x.dtype == np.float32 and x.flags.c_contiguous and len(x)):
            return False
        rank = 3 if self._runner.per_token_input else 2
        if x.ndim != rank or x.shape[-1] != self._runner.input_width:
            return False
        if rank == 2 or not 1 <= x.shape[1] <= self._runner.max_tokens:
            return rank == 2 and lengths is None
        if lengths is None:
            return True
        good = isinstance(lengths, np.ndarray) and lengths.dtype == np.int32 and lengths.shape == x.shape[:1]
        return good and int(lengths.min()) >= 1 and int(lengths.max()) <= x.shape[1]

    def _take(self, items: int) -> list[_Request]:
        """Those in line that fit into a batch of ``most_items`` with ``items`` already there."""
        count = 0
        while count < len(self._waiting) and items + len(self._waiting[count].x) <= self._most:
            items += len(self._waiting[count].x)
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _run(self, batch: list[_Request]) -> None:
        try:
            if len(batch) == 1:
                batch[0].answer = self._runner.run(batch[0].x, batch[0].lengths)
                return
            tokens = max(r.x.shape[1] for r in batch) if self._runner.per_token_input else 0
            y = self._runner.run(*(_padded(batch, tokens) if tokens else (np.concatenate([r.x for r in batch]), None)))
            first = 0
            for r in batch:
                part = y[first : first + len(r.x)]
                r.answer = part[:, : r.x.shape[1]].copy() if self._runner.per_token_output else part.copy()
                first += len(r.x)
        except BaseException as error:
            for r in batch:
                r.error = error
            raise


def _padded(batch: list[_Request], tokens: int) -> tuple[_Array, _Lengths]:
    x = np.zeros((sum(len(r.x) for r in batch), tokens, batch[0].x.shape[2]), np.float32)
    lengths = np.empty(len(x), np.int32)
    first = 0
    for r in batch:
        here = slice(first, first + len(r.x))
        x[here, : r.x.shape[1]] = r.x
        lengths[here] = r.x.shape[1] if r.lengths is None else r.lengths
        first += len(r.x)
    return x, lengths
