"""Files of requests answered in constant memory, in their order, one answer a line."""

from __future__ import annotations

import contextlib
import functools
import gzip
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from claude_flow import networks, registry
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.files import decoded, printable
from claude_flow.model import Model, load, load_for
from claude_flow.requests import Request, parse_many
from claude_flow.requests import answered as answered_now
from claude_flow.requests import keywords as separated
from claude_flow.values import plain, quick_line

__all__ = ["Ensemble", "Item", "Summary", "answer_file", "answered", "lines", "records", "text", "written"]

STANDARD = Path("-")
_FIRST, _WINDOW = 64, 1024  # lines that are read before their answers are written: few at first, for a sign of life
_CHARACTERS = 8 << 20  # ... or so many characters
_PART = 256  # requests that a thread answers together
_LINE = 16 << 20  # bytes of a line
_MOMENT = "decision-time"  # the option of networks whose answers depend on when they are asked
#: the number and the text of a line, or what is wrong with it
Item = tuple[int, "str | InputError"]
#: hears of requests that were answered
Log = Callable[[Sequence[Request]], None]


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
            for number, data in enumerate(iter(functools.partial(file.readline, _LINE), b""), 1):
                if len(data) == _LINE and not data.endswith(b"\n"):
                    while data and not data.endswith(b"\n"):
                        data = file.readline(_LINE)
                    yield number, _too_long(path, number)
                elif data := data.strip():
                    yield number, _text(data, path, number)
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

    Several models of one network all answer its requests. A canary of a model that was named without a version, or by
    nobody, answers its share of them. ``moment`` (ISO 8601) is the decision time of requests that
    have one and do not say it; by default each is decided when it is answered. Raises :class:`InputError` for an
    unknown model.
    """

    def __init__(self, models: Sequence[str] = (), *, moment: str | None = None, **options: Any) -> None:
        self._options = options
        self._moment = moment
        #: by network, those that answer where a request names none: the name that was given, if any, and the model
        self._models: dict[str, list[tuple[str | None, Model]]] = {}
        self._others: dict[str, Model] = {}
        self._canaries: dict[Path, Model] = {}
        for name in dict.fromkeys(models):
            model = load(name, **options)
            self._models.setdefault(model.network, []).append((name, model))

    def answers(self, requests: Sequence[Request], batch: int | None = None) -> list[dict[str, Any] | ClaudeFlowError]:
        """The records of requests: ``id``, ``network``, ``model``, ``answer``, or ``answers`` by model of several; for
        one that cannot be answered the reason. ``batch`` requests go through the engine together.
        """
        found: list[Any] = [None] * len(requests)
        together: dict[tuple[str, str | None], list[int]] = {}
        for i, request in enumerate(requests):
            together.setdefault((request.network, request.model), []).append(i)
        for (network, model), places in together.items():
            row = networks.get(network)
            try:
                models = self._of(row, model)
            except ClaudeFlowError as error:
                for i in places:
                    found[i] = error
                continue
            asked: list[tuple[Any, dict[str, Any]]] = []
            good: list[int] = []
            for i in places:
                try:
                    asked.append(self._proper(row, requests[i].input))
                    good.append(i)
                except InputError as error:
                    found[i] = error
            answers = [self._answers(row, name, model, asked, batch) for name, model in models]
            for place, each in zip(good, zip(*answers, strict=True), strict=True):
                found[place] = _record(requests[place], dict(each))
        return found

    def _answers(
        self, row: networks.Network, name: str | None, model: Model, asked: Sequence[Any], batch: int | None
    ) -> list[tuple[str, Any]]:
        """What answered each, and its answer: the model, or its canary where it is its turn."""
        files = [model.path] * len(asked) if "/" in (name or "") else registry.turns(model.path, len(asked))
        if not any(file != model.path for file in files):
            called = name or registry.model_name(model.path)
            return [(called, answer) for answer in _many(row, model, asked, batch)]
        found: list[Any] = [None] * len(asked)
        for file in dict.fromkeys(files):
            places = [i for i, turn in enumerate(files) if turn == file]
            taken = model if file == model.path else self._canary(row, file)
            for i, answer in zip(places, _many(row, taken, [asked[i] for i in places], batch), strict=True):
                found[i] = (name or registry.model_name(file), answer)
        return found

    def _canary(self, row: networks.Network, file: Path) -> Model:
        if file not in self._canaries:
            self._canaries[file] = load_for(row.name, file, **self._options)
        return self._canaries[file]

    def load(self, requests: Sequence[Request]) -> None:
        """Load the models that requests ask for, as far as there are such; threads then share them."""
        for network, model in {(request.network, request.model) for request in requests}:
            with contextlib.suppress(ClaudeFlowError):
                self._of(networks.get(network), model)

    def _proper(self, row: networks.Network, given: Any) -> tuple[Any, dict[str, Any]]:
        """The request proper, and the arguments of its answer, such as ``top``."""
        proper, keywords = separated(row, given)
        if self._moment and any(option.name == _MOMENT for option in row.answer.OPTIONS):
            proper = {_MOMENT: self._moment, **proper}
        return proper, keywords

    def _of(self, row: networks.Network, asked: str | None) -> list[tuple[str | None, Model]]:
        if asked is not None:
            if asked not in self._others:
                self._others[asked] = load_for(row.name, asked, **self._options)
            row.check(self._others[asked])
            return [(asked, self._others[asked])]
        if row.name not in self._models:
            model = load_for(row.name, None, **self._options)
            self._models[row.name] = [(None, model)]
        return self._models[row.name]


def _many(
    row: networks.Network, model: Model, asked: Sequence[tuple[Any, dict[str, Any]]], batch: int | None
) -> list[Any]:
    """A model's answer to each, or why there is none; together where the network can."""
    many = getattr(row.answer, "answers", None)
    if many is not None:
        with contextlib.suppress(ClaudeFlowError):  # whose it is, they say one by one
            found: list[Any] = many(model, asked, batch=batch)
            return found
    found = []
    for request, keywords in asked:
        try:
            found.append(row.answer.answer(model, request, **keywords))
        except ClaudeFlowError as error:
            found.append(error)
    return found


def _record(request: Request, answers: dict[str, Any]) -> dict[str, Any] | ClaudeFlowError:
    wrong = next((answer for answer in answers.values() if isinstance(answer, ClaudeFlowError)), None)
    if wrong is not None:
        return wrong
    head = {"id": request.id, "network": request.network}
    if len(answers) == 1:
        ((name, answer),) = answers.items()
        return {**head, "model": name, "answer": answer}
    return {**head, "models": list(answers), "answers": answers}


def answer_file(
    source: Path,
    target: Path,
    ensemble: Ensemble,
    *,
    batch_size: int = 16,
    parallel: bool = True,
    resume: bool = False,
    log: Log | None = None,
    progress: Callable[[int, int], None] = lambda done, bytes_read: None,
) -> Summary:
    """Answer every request of ``source`` into ``target``, a line each, in their order; ``-`` is standard in or out.

    A line that is no request, or that its network cannot answer, gets ``{"id", "line", "error"}`` and the rest goes
    on. Some hundred lines are read, sorted by network and length, answered (side by side with ``parallel``) and written
    at a time, so memory does not depend on the file; ``batch_size`` requests go through the engine together. Every line
    is written whole: with ``resume`` a file that a killed run left is gone on with, and no request is lost or answered
    twice. ``log`` hears of the requests that were answered, as the workspace's log has them. Raises
    :class:`InputError` for a file that cannot be read or resumed.
    """
    summary = Summary()
    done = answered(target) if resume else 0
    summary.resumed = done
    workers = (os.cpu_count() or 1) if parallel else 1
    with written(target, resume) as out, ThreadPoolExecutor(workers) as pool:
        for window in _windows(source, done):
            found = records(ensemble, printable(source), window, batch_size, pool if workers > 1 else None, log)
            for record in found:
                summary.count(record)
            out.write(b"".join(map(quick_line, found)))
            out.flush()
            progress(summary.requests, 0)
    return summary


def _windows(source: Path, done: int) -> Iterator[list[Item]]:
    """The lines behind the first ``done``, some at a time: of standard input what has come, of a file few at first."""
    if source == STANDARD:
        yield from _come(done)
        return
    numbered, size = itertools.islice(lines(source), done, None), _FIRST
    window: list[Item] = []
    length = 0
    for number, line in numbered:
        window.append((number, line))
        length += len(line) if isinstance(line, str) else 0
        if len(window) >= size or length >= _CHARACTERS:
            yield window
            window, length, size = [], 0, min(2 * size, _WINDOW)
    if window:
        yield window


def _come(done: int) -> Iterator[list[Item]]:
    """The lines of standard input as they come: who writes one and waits gets its answer."""
    stream: Any = sys.stdin.buffer
    rest, number, is_long = b"", 0, False
    while True:
        chunk: bytes = stream.read1(1 << 20)
        *whole, rest = (rest + (chunk or b"\n")).split(b"\n")
        window: list[Item] = []
        for data in whole:
            number += 1
            if is_long:
                window.append((number, _too_long(STANDARD, number)))
            elif data := data.strip():
                window.append((number, _text(data, STANDARD, number)))
            is_long = False
        if len(rest) >= _LINE:
            rest, is_long = b"", True
        skipped, done = min(done, len(window)), max(0, done - len(window))
        for first in range(skipped, len(window), _WINDOW):
            yield window[first : first + _WINDOW]
        if not chunk:
            return


def _text(data: bytes, path: Path, number: int) -> str | InputError:
    try:
        return decoded(data, f"{printable(path)}:{number}")
    except InputError as error:
        return error


def _too_long(path: Path, number: int) -> InputError:
    return InputError(f"{printable(path)}:{number}: a line of over {_LINE >> 20} MiB is no request")


def records(
    ensemble: Ensemble,
    where: str,
    window: Sequence[Item],
    batch: int | None = None,
    pool: Any = None,
    log: Log | None = None,
) -> list[dict[str, Any]]:
    """The answers to lines in their order, or ``{"id", "line", "error"}``; ``where`` is their file."""
    begin = time.perf_counter()
    parsed = parse_many(window, where)
    found: list[Any] = [*parsed]
    together: dict[tuple[str, str | None], list[int]] = {}
    for i, request in enumerate(parsed):
        if isinstance(request, Request):
            together.setdefault((request.network, request.model), []).append(i)
    parts = [places[i : i + _PART] for places in together.values() for i in range(0, len(places), _PART)]
    asked = [[request for i in part if isinstance(request := parsed[i], Request)] for part in parts]
    if pool is not None:
        ensemble.load([requests[0] for requests in asked])
    answer = functools.partial(ensemble.answers, batch=batch)
    for part, answers in zip(parts, (pool.map if pool is not None else map)(answer, asked), strict=True):
        for i, record in zip(part, answers, strict=True):
            found[i] = record
    for i, record in enumerate(found):
        if isinstance(record, ClaudeFlowError):
            request, number = parsed[i], window[i][0]
            identity = request.id if isinstance(request, Request) else str(number)
            found[i] = {"id": identity, "line": number, "error": str(record)}
    if log is not None:
        seconds = (time.perf_counter() - begin) / len(window)
        log(list(_entries([number for number, _ in window], parsed, found, seconds)))
    return found


def _entries(
    numbers: Sequence[int], parsed: Sequence[Any], found: Sequence[dict[str, Any]], seconds: float
) -> Iterator[Request]:
    """What the log keeps of a window: each answer took its share of the ``seconds``. An id that is the line's number in
    this file names nothing in the log."""
    for number, request, record in zip(numbers, parsed, found, strict=True):
        several = record.get("answers") or ({request.model: record["answer"]} if "answer" in record else {})
        identity = "" if isinstance(request, InputError) or request.id == str(number) else request.id
        for model, answer in several.items():
            yield answered_now(request.network, request.input, model, seconds, answer, identity)


def text(found: Mapping[str, Any]) -> bytes:
    """A record as its line, the same bytes on every machine."""
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
