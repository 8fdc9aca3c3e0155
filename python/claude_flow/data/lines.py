"""Reading logs line by line, gzip or plain, with progress, hashes and an account of what was unreadable."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from claude_flow.errors import InputError
from claude_flow.values import parse_json

__all__ = ["LONGEST_LINE", "Log", "peek"]

LONGEST_LINE = 64 << 20  # bytes; a longer line is counted as unreadable and skipped without being held
_LISTED = 100  # rejected lines that the manifest names one by one


class Log:
    """The account of one source while it is read: bytes, hashes, lines, rejected lines, notes.

    ``on_bytes(n)`` is called as file bytes are consumed. Lines that cannot be used are recorded by
    :meth:`reject`, what this version does not know or expects otherwise by counting it in ``notes``: neither
    stops the reading.
    """

    def __init__(self, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        self._on_bytes = on_bytes
        self.lines_total = 0
        self.rejected_total = 0
        self.rejected: list[dict[str, Any]] = []
        self.notes: Counter[str] = Counter()
        self.header: dict[str, Any] = {}
        self.hashes: dict[str, str] = {}

    def reject(self, path: Path, line: int, reason: str) -> None:
        """Count one unusable line; the first 100 are listed with file, line number and reason."""
        self.rejected_total += 1
        if len(self.rejected) < _LISTED:
            self.rejected.append({"file": str(path), "line": line, "reason": reason})

    def lines(self, path: Path) -> Iterator[tuple[int, str]]:
        """Yield ``(line number from 1, text without newline)`` for every non-empty line that is UTF-8."""
        with _open(path) as file:
            raw = _Counted(file, self._on_bytes)
            stream: Any = gzip.GzipFile(fileobj=cast(BinaryIO, raw)) if path.name.endswith(".gz") else raw
            number = 0
            try:
                while line := _read_line(stream):
                    number += 1
                    if len(line) > LONGEST_LINE:
                        while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                            line = _read_line(stream)
                        self.lines_total += 1
                        self.reject(path, number, f"the line is longer than {LONGEST_LINE >> 20} MiB")
                        continue
                    try:
                        content = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                    except UnicodeDecodeError as error:
                        self.lines_total += 1
                        self.reject(path, number, f"not UTF-8 at byte {error.start}")
                        continue
                    if content.strip():
                        self.lines_total += 1
                        yield number, content
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                self.lines_total += 1
                self.reject(path, number + 1, f"the gzip stream is broken: {error}")
            except OSError as error:
                raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
            while raw.read(1 << 20):
                pass
            self.hashes[str(path)] = raw.hexdigest()

    def objects(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield ``(line number, object)`` for every line that holds one JSON object; reject the others."""
        for number, line in self.lines(path):
            try:
                value = parse_json(line)
            except InputError as error:
                self.reject(path, number, str(error).removeprefix("line 1 "))
                continue
            if isinstance(value, dict):
                yield number, value
            else:
                self.reject(path, number, f"a JSON object is wanted, this is a {type(value).__name__}")

    def document(self, path: Path) -> Any:
        """Read a file that is one JSON value. :raises InputError: it is not."""
        return parse_json("\n".join(line for _, line in self.lines(path)), str(path))


def peek(path: Path, lines: int = 20, limit: int = 1 << 20) -> list[str]:
    """Return a file's first lines, plain or gzip, to recognise its format; [] when it is no text."""
    found = []
    try:
        with _open(path) as file:
            stream: Any = gzip.GzipFile(fileobj=file) if path.name.endswith(".gz") else file
            for _ in range(lines):
                line = stream.readline(limit)
                if not line:
                    break
                found.append(line.decode("utf-8-sig"))
    except (EOFError, OSError, UnicodeDecodeError, zlib.error, InputError):
        pass
    return found


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror or error}") from error


def _read_line(stream: Any) -> bytes:
    line: bytes = stream.readline(LONGEST_LINE + 1)
    return line


class _Counted:
    """A binary file that hashes and reports what is read from it."""

    def __init__(self, file: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        self._file, self._on_bytes, self._hash = file, on_bytes, hashlib.sha256()

    def _seen(self, data: bytes) -> bytes:
        self._hash.update(data)
        self._on_bytes(len(data))
        return data

    def read(self, size: int = -1) -> bytes:
        return self._seen(self._file.read(size))

    def readline(self, size: int = -1) -> bytes:
        return self._seen(self._file.readline(size))

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
