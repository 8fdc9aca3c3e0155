"""Files of requests answered in constant memory, in their order, one answer a line."""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from claude_flow import networks, registry
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.files import decoded, printable
from claude_flow.model import Model, load, load_for
from claude_flow.requests import Request, parse
from claude_flow.values import plain

__all__ = ["Ensemble", "Item", "Summary", "answer_file", "answered", "lines", "record", "text", "written"]

STANDARD = Path("-")
_MOMENT = "decision-time"  # the option of networks whose answers depend on when they are asked
#: the number and the text of a line, or what is wrong with it
Item = tuple[int, "str | InputError"]


@dataclass
class Summary:
    """What became of a file: lines read, answered, with an error record; and those that an earlier run had answered."""

    requests: int = 0
    answered: int = 0
    errors: int = 0
    resumed: int = 0
    by_network: dict[str, int] = field(default_factory=dict)
    first_errors: list[dict[str, Any]] = field(default_factory=list)

    def count(self, found: Mapping[str, Any]) -> None:
        """Add a record that was written."""
        self.requests += 1
        if "error" in found:
            self.errors += 1
            self.first_errors += [dict(found)] if len(self.first_errors) < 5 else []
        else:
            self.answered += 1
            self.by_network[found["network"]] = self.by_network.get(found["network"], 0) + 1


def lines(path: Path) -> Iterator[Item]:
    """The number and the text of every request of ``.jsonl``, ``.ndjson`` (plain or ``.gz``), ``.parquet`` or ``-``.

    A parquet file has a column ``request`` of JSON text, or the columns ``network`` and ``input`` (JSON text), and
    maybe ``id`` and ``model``. Raises :class:`InputError` for a file that cannot be read.
    """
    where = printable(path)
    try:
        if path.suffix == ".parquet":
            yield from _parquet(path)
            return
        with _opened(path) as file:
            for number, data in enumerate(file, 1):
                if data := data.strip():
                    try:
                        yield number, decoded(data, f"{where}:{number}")
                    except InputError as error:
                        yield number, error
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{where}: {getattr(error, 'strerror', None) or error}") from None


def _opened(path: Path) -> Any:
    if path == STANDARD:
        stream: BinaryIO = sys.stdin.buffer
        return stream
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _parquet(path: Path) -> Iterator[Item]:
    parquet = require("pyarrow.parquet", "data")
    try:
        file = parquet.ParquetFile(path)
    except Exception as error:  # pyarrow raises kinds of its own
        raise InputError(f"{printable(path)}: no parquet file ({str(error).splitlines()[0]})") from None
    number = 0
    for batch in file.iter_batches(4096):
        for row in batch.to_pylist():
            number += 1
            if isinstance(row.get("request"), str):
                yield number, row["request"]
                continue
            try:
                body = {name: value for name, value in row.items() if value is not None}
                body["input"] = json.loads(body["input"]) if isinstance(body.get("input"), str) else body.get("input")
                yield number, json.dumps(body)
            except (ValueError, TypeError) as error:
                yield number, InputError(f"{printable(path)}:{number}: {error}")


class Ensemble:
    """The models that answer: those named, and for networks of which none is named the newest.

    Several models of one network all answer its requests. ``moment`` (ISO 8601) is the decision time of requests that
    have one and do not say it; by default each is decided when it is answered. Raises :class:`InputError` for an
    unknown model.
    """

    def __init__(self, models: Sequence[str] = (), *, moment: str | None = None, **options: Any) -> None:
        self._options = options
        self._moment = moment
        self._models: dict[str, list[tuple[str, Model]]] = {}
        self._others: dict[str, Model] = {}
        for name in dict.fromkeys(models):
            model = load(name, **options)
            self._models.setdefault(model.network, []).append((name, model))

    def answer(self, request: Request) -> dict[str, Any]:
        """The record of a request: ``id``, ``network``, ``model``, ``answer``, or ``answers`` by model of several.

        Raises what the networks' ``answer`` raises.
        """
        row = networks.get(request.network)
        head = {"id": request.id, "network": row.name}
        given, keywords = _split(row, request.input)
        if self._moment and any(option.name == _MOMENT for option in row.answer.OPTIONS):
            given = {_MOMENT: self._moment, **given}
        models = self._of(row, request.model)
        found = {name: row.answer.answer(model, given, **keywords) for name, model in models}
        if len(found) == 1:
            ((name, answer),) = found.items()
            return {**head, "model": name, "answer": answer}
        return {**head, "models": list(found), "answers": found}

    def _of(self, row: networks.Network, asked: str | None) -> list[tuple[str, Model]]:
        if asked is not None:
            if asked not in self._others:
                self._others[asked] = load_for(row.name, asked, **self._options)
            row.check(self._others[asked])
            return [(asked, self._others[asked])]
        if row.name not in self._models:
            model = load_for(row.name, None, **self._options)
            self._models[row.name] = [(registry.model_name(model.path), model)]
        return self._models[row.name]


def _split(row: networks.Network, given: Any) -> tuple[Any, dict[str, Any]]:
    """The request proper, and the arguments of its answer, such as ``top``."""
    if not isinstance(given, Mapping):
        return given, {}
    keys = {option.name: option.key for option in row.answer.OPTIONS if option.part == "keyword"}
    keywords = {keys[name]: value for name, value in given.items() if name in keys}
    return {name: value for name, value in given.items() if name not in keys}, keywords


def answer_file(
    source: Path,
    target: Path,
    ensemble: Ensemble,
    *,
    batch_size: int = 16,
    parallel: bool = True,
    resume: bool = False,
    progress: Callable[[int, int], None] = lambda done, bytes_read: None,
) -> Summary:
    """Answer every request of ``source`` into ``target``, a line each, in their order; ``-`` is standard in or out.

    A line that is no request, or that its network cannot answer, gets ``{"id", "line", "error"}`` and the rest goes
    on. ``batch_size`` lines are read, answered (side by side with ``parallel``) and written at a time, so memory does
    not depend on the file. Every line is written whole: with ``resume`` a file that a killed run left is gone on with,
    and no request is lost or answered twice. Raises :class:`InputError` for a file that cannot be read or resumed.
    """
    summary = Summary()
    done = answered(target) if resume else 0
    summary.resumed = done
    workers = min(batch_size, os.cpu_count() or 1) if parallel else 1
    with written(target, resume) as out, ThreadPoolExecutor(workers) as pool:
        numbered = itertools.islice(lines(source), done, None)
        answer = functools.partial(record, ensemble, printable(source))
        while chunk := list(itertools.islice(numbered, batch_size)):
            for found in (pool.map if workers > 1 else map)(answer, chunk):
                summary.count(found)
                out.write(text(found))
            out.flush()
            progress(summary.requests, 0)
    return summary


def record(ensemble: Ensemble, where: str, item: Item) -> dict[str, Any]:
    """The answer to a line, or ``{"id", "line", "error"}``; ``where`` is its file."""
    number, line = item
    identity: Any = str(number)
    try:
        if isinstance(line, InputError):
            raise line
        request = parse(line, number, where)
        identity = request.id
        return ensemble.answer(request)
    except ClaudeFlowError as error:
        return {"id": identity, "line": number, "error": str(error)}


def text(found: Mapping[str, Any]) -> bytes:
    """A record as its line."""
    return (json.dumps(plain(found), allow_nan=False, ensure_ascii=False) + "\n").encode("utf-8")


class written:
    """The target, opened for whole lines; standard output stays open."""

    def __init__(self, target: Path, resume: bool) -> None:
        self._target, self._resume = target, resume

    def __enter__(self) -> Any:
        if self._target == STANDARD:
            self._file: Any = sys.stdout.buffer
        else:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._target.open("ab" if self._resume else "wb")
        return self._file

    def __exit__(self, *error: object) -> None:
        if self._target != STANDARD:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def answered(target: Path) -> int:
    """The whole lines of an earlier run; what it left of another is cut off."""
    if target == STANDARD or not target.is_file():
        return 0
    count = end = 0
    with target.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                count, end = count + 1, end + len(line)
    os.truncate(target, end)
    return count
