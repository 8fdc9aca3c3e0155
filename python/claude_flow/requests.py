"""Requests as lines: files of them, and the workspace's log of what was asked and answered.

One JSON object a line; ``id`` is by default the line's number, ``model`` by default the newest of the network::

    {"id": "r1", "network": "coordination", "input": {"current-agents": [...], ...}, "model": "coordination-v3"}

``input`` is what ``infer NETWORK`` takes: for coordination the swarm, for the others their options by name. A line of
the log, ``requests/*.jsonl`` in the workspace, also has the ``time`` (UTC), the ``seconds`` that it took, and the
``answer`` as ``infer --format json`` prints it. So the log is a file of requests too.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from claude_flow import networks, registry, schema
from claude_flow.errors import InputError
from claude_flow.files import decoded, locked, printable
from claude_flow.values import parse_json, plain, quick_json

__all__ = [
    "Request",
    "answered",
    "append",
    "command",
    "example",
    "is_kept",
    "is_logged",
    "keep",
    "keep_all",
    "keywords",
    "log_files",
    "logged",
    "parse",
    "parse_many",
    "read",
    "split",
]

#: the log: a new file begins when one is full, and the oldest goes when there are this many
_FILE_BYTES, _FILES = 32 << 20, 8


@dataclass(frozen=True)
class Request:
    """One request, and what the log knows of it."""

    id: str
    network: str
    input: Any
    model: str | None = None
    time: str | None = None
    seconds: float | None = None
    answer: dict[str, Any] | None = None

    def asks(self, name: str) -> bool:
        """Whether it is a request of the network of that name."""
        return name == self.network

    def line(self) -> dict[str, Any]:
        """The object of its line: what is known."""
        return {name: value for name, value in vars(self).items() if value is not None and value != ""}


def parse(line: str, number: int, where: str) -> Request:
    """The request of a line; ``where`` (a file) and the line's ``number`` lead every message.

    Raises:
        InputError: it is no request.

    >>> parse('{"network": "prediction", "input": {"task-description": "fix it"}}', 3, "asked.jsonl").id
    '3'
    >>> parse('{"network": "predictoin", "input": {}}', 3, "asked.jsonl")
    Traceback (most recent call last):
    claude_flow.errors.InputError: asked.jsonl:3: network must be ... did you mean prediction?
    """
    place = f"{where}:{number}:"
    found = schema.check(parse_json(line, place[:-1]), _line(), place)
    return Request(**{**found, "id": str(found.get("id", number))})


def parse_many(lines: Sequence[tuple[int, str | InputError]], where: str) -> list[Request | InputError]:
    """:func:`parse` of numbered lines, or the error that it raises; what is an error already stays."""
    told: list[Any] = []
    for _, line in lines:
        try:
            told.append(None if isinstance(line, InputError) else quick_json(line))
        except ValueError:
            told.append(None)
    found: list[Request | InputError] = []
    for (number, line), checked in zip(lines, schema.check_many(told, _line()), strict=True):
        if isinstance(line, InputError):
            found.append(line)
        elif not isinstance(checked, InputError):
            found.append(Request(**{**checked, "id": str(checked.get("id", number))}))
        else:
            try:
                found.append(parse(line, number, where))
            except InputError as error:  # which says the place
                found.append(error)
    return found


def _line() -> schema.Record:
    """What a line may say."""
    return schema.Record(
        {
            "id": schema.Either(schema.Text(), schema.Whole()),
            "network": schema.Choice(*networks.NETWORKS),
            "input": schema.Table(schema.Anything()),
            "model": schema.Text(),
            "time": schema.Text(),
            "seconds": schema.Number(0),
            "answer": schema.Table(schema.Anything()),
        },
        required=("network", "input"),
    )


def read(path: Path) -> Iterator[tuple[int, Request | InputError]]:
    """The number and the request of every line that is not empty, or what is wrong with it.

    Raises:
        InputError: the file cannot be read.
    """
    where = printable(path)
    try:
        with path.open("rb") as file:
            for number, data in enumerate(file, 1):
                if data := data.strip():
                    try:
                        yield number, parse(decoded(data, f"{where}:{number}"), number, where)
                    except InputError as error:
                        yield number, error
    except OSError as error:
        raise InputError(f"{where}: {error.strerror or error}") from None


def append(path: Path, *requests: Request) -> None:
    """Add lines to a file, made if need be; other processes may do so at the same time.

    What a process that was killed left of a line keeps to itself: the next line begins on a new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock")):
        _append(path, requests)


def _append(path: Path, requests: Sequence[Request]) -> None:
    text = "".join(json.dumps(plain(request.line()), allow_nan=False) + "\n" for request in requests)
    with path.open("ab+", buffering=0) as file:
        end = file.tell()
        if end and (file.seek(-1, 2), file.read(1))[1] != b"\n":
            text = "\n" + text
        data = memoryview(text.encode("utf-8"))
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:  # a full disk may have taken a part
            with contextlib.suppress(OSError):
                file.truncate(end)
            raise


# Requests as options by name ------------------------------------------------------------------------------

_KEYWORDS: dict[str, schema.Kind] = {
    "share": schema.Number(0, 1),
    "count": schema.Whole(),
    "switch": schema.Flag(),
    "text": schema.Text(),
    "object": schema.Record({}, free=True),
}


def keywords(row: networks.Network, arguments: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """What of ``arguments`` is the request proper, and the keywords of the network's ``answer``.

    Raises:
        InputError: a keyword that cannot be.
    """
    known = {option.name: option for option in row.answer.OPTIONS if option.part == "keyword"}
    if known.keys().isdisjoint(arguments):
        return arguments, {}
    found = {
        option.key: schema.check(arguments[name], _KEYWORDS[option.kind], name)
        for name, option in known.items()
        if name in arguments
    }
    return {name: value for name, value in arguments.items() if name not in known}, found


def split(
    row: networks.Network, arguments: Mapping[str, Any], besides: Sequence[str] = ()
) -> tuple[Any, dict[str, Any]]:
    """The request that ``arguments``, a network's options by name, make, and the keywords of its ``answer``.

    Raises:
        InputError: an argument that cannot be, or that is not there; ``besides`` are others that the asker may give.
    """
    proper, found = keywords(row, arguments)
    rest = dict(proper)
    whole = next((option.name for option in row.answer.OPTIONS if option.part == "request"), None)
    if whole is None:
        return rest, found
    request = rest.pop(whole, None)
    if request is None or rest:
        wrong = next(iter(rest), whole)
        names = [option.name for option in row.answer.OPTIONS]
        raise InputError(f"{wrong}: the arguments are {', '.join([*names, *besides])}")
    return request, found


def example(row: networks.Network) -> dict[str, Any]:
    """The arguments of the network's first example of a command line."""
    words = shlex.split(row.answer.EXAMPLES[0].replace("\\\n", " "))[4:]
    kinds = {option.name: option.kind for option in row.answer.OPTIONS}
    found: dict[str, Any] = {}
    for word, value in zip(words[::2], words[1::2], strict=True):
        name = word.removeprefix("--")
        if kinds.get(name) in ("object", "targets", "switch", "share", "number", "count"):
            found[name] = json.loads(value)
        elif kinds.get(name) == "shares":
            found[name] = [float(part.rstrip("%")) / 100 for part in value.split(",")]
        elif name in kinds:
            found[name] = value
    return found


def command(row: networks.Network, arguments: Mapping[str, Any], model: str, explain: bool = False) -> str:
    """The line for a shell that asks ``model`` the same.

    >>> command(networks.get("prediction"), {"task-description": "fix it", "confidence-intervals": [0.8]}, "mine")
    "claude-flow neural infer prediction --task-description 'fix it' --confidence-intervals 0.8 --model mine"
    """
    words = ["claude-flow", "neural", "infer", row.name]
    kinds = {option.name: option.kind for option in row.answer.OPTIONS}
    for name, value in arguments.items():
        if isinstance(value, str):
            text = value
        elif kinds.get(name) == "shares":
            text = ",".join(str(share) for share in value)
        else:
            text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        words += [f"--{name}", text]
    words += ["--model", model, *(["--explain-decision", "true"] if explain else [])]
    return shlex.join(words)


# The log of the workspace ---------------------------------------------------------------------------------


def is_kept(asked: bool | None) -> bool:
    """Whether a request goes to the log: as ``asked``, else where there is a workspace. To ask makes none."""
    return registry.workspace().is_dir() if asked is None else asked


def answered(
    network: str, request: Any, model: str | None, seconds: float, answer: dict[str, Any], id: str = ""
) -> Request:
    """A request that was answered now, as the log has it."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Request(id, network, request, model, now, round(seconds, 6), answer)


def keep(network: str, request: Any, model: str | None, seconds: float, answer: dict[str, Any]) -> None:
    """Add a request and its answer to the log; about the last 256 MiB of it stay."""
    keep_all([answered(network, request, model, seconds, answer)])


def keep_all(entries: Sequence[Request]) -> None:
    """Add requests that were answered to the log: all, or where that fails (``OSError``) none."""
    folder = registry.workspace() / "requests"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        files = log_files() or [folder / f"{1:06}.jsonl"]
        if files[-1].exists() and files[-1].stat().st_size >= _FILE_BYTES:
            files.append(folder / f"{int(files[-1].stem) + 1:06}.jsonl")
        _append(files[-1], entries)
        for old in files[:-_FILES]:
            old.unlink()


def is_logged(id: str) -> bool:
    """Whether the log has a request of that id: its own, or its place, such as ``000001-17``."""
    stem, _, number = id.rpartition("-")
    for file in log_files():
        for line, request in read(file):
            if isinstance(request, Request) and (request.id == id or (file.stem, str(line)) == (stem, number)):
                return True
    return False


def log_files() -> list[Path]:
    """The files of the log, oldest first."""
    found = (registry.workspace() / "requests").glob("*.jsonl")
    return sorted(file for file in found if file.stem.isdecimal() and len(file.stem) == 6)


def logged(of: str | None = None) -> Iterator[Request]:
    """The requests of the log, oldest first; those ``of`` one network, or all. Lines that were cut off are left out.

    Their ids are unique in the log: the file's number and the line's.
    """
    for file in log_files():
        for number, request in read(file):
            if isinstance(request, Request) and of in (None, request.network):
                yield replace(request, id=f"{file.stem}-{number}")
