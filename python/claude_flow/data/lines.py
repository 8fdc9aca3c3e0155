"""Reading logs line by line, gzip or plain, with progress, hashes and an account of what could not be read."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from claude_flow.errors import InputError
from claude_flow.values import parse_json

__all__ = ["LONGEST_LINE", "Head", "Log", "head", "stem"]

LONGEST_LINE = 64 << 20  # bytes; a longer line is counted as unreadable and skipped without being held
_LISTED = 100  # rejected lines, and files left out, that the manifest names one by one
_HEAD_LINES, _HEAD_BYTES = 20, 1 << 20  # what a format is told by
_CHUNK = 1 << 18
_REJECTED = ()  # no JSON value
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Log:
    """The account of one source while it is read: bytes, hashes, lines, rejected lines, files left out, notes.

    ``on_bytes(n)`` is called as file bytes are consumed. Lines that cannot be used are recorded by
    :meth:`reject`, files by :meth:`leave_out`, what this version does not know or expects otherwise by counting it
    in ``notes``: none stops the reading.
    """

    def __init__(self, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        self._on_bytes = on_bytes
        self._ends_cut = False  # the line at hand is the file's last and has no newline
        self._lines: Counter[str] = Counter()
        self._bad: dict[str, dict[str, Any]] = {}  # file -> its first bad line
        self._bad_lines: Counter[str] = Counter()  # but for cut ends, which any killed process leaves
        self.rejected_total = 0
        self.rejected: list[dict[str, Any]] = []
        self.left_out_total = 0
        self.left_out: list[dict[str, str]] = []
        self.notes: Counter[str] = Counter()
        self.header: dict[str, Any] = {}
        self.hashes: dict[str, str] = {}

    @property
    def lines_total(self) -> int:
        """Lines seen that are not empty."""
        return sum(self._lines.values())

    def reject(self, path: Path, line: int, reason: str, *, cut: bool = False) -> None:
        """Count one unusable line; the first 100 are listed with file, line number and reason.

        ``cut``: it is the end of a file whose writer was stopped, which says nothing against the file.
        """
        self.rejected_total += 1
        about = {"file": str(path), "line": line, "reason": reason}
        if len(self.rejected) < _LISTED:
            self.rejected.append(about)
        if not cut:
            self._bad_lines[str(path)] += 1
            self._bad.setdefault(str(path), about)

    def leave_out(self, path: Path, reason: str) -> None:
        """Count one file or folder that is not read; the first 100 are listed with the reason."""
        self.left_out_total += 1
        if len(self.left_out) < _LISTED:
            self.left_out.append({"file": str(path), "reason": reason})

    def add(self, other: Log) -> None:
        """Take the account of another source into this one."""
        self._lines += other._lines
        self.rejected += other.rejected[: _LISTED - len(self.rejected)]
        self.rejected_total += other.rejected_total
        self.left_out += other.left_out[: _LISTED - len(self.left_out)]
        self.left_out_total += other.left_out_total
        self.notes += other.notes

    def refusal(self, share: float) -> str:
        """Why the source is too corrupt to be used, "" where it is not.

        A file in which more than ``share`` of the lines, and more than one, is bad, is named and no more, as long as
        another file is good. The lines of all the others together are held to the same measure.
        """
        corrupt = [file for file, bad in self._bad_lines.items() if bad > max(1.0, share * self._lines[file])]
        judged = [file for file in self._lines if file not in corrupt] or list(self._lines)
        bad = sum(self._bad_lines[file] for file in judged)
        total = sum(self._lines[file] for file in judged)
        if bad <= max(1.0, share * total):
            for file in corrupt:
                self.leave_out(Path(file), f"{self._bad_lines[file]} of its {self._lines[file]} lines are unusable")
            return ""
        worst = next(self._bad[file] for file in judged if file in self._bad)
        where = f"{worst['file']}:{worst['line']}: {worst['reason']}"
        return f"{bad} of {total} lines cannot be used ({where})"

    def lines(self, path: Path) -> Iterator[tuple[int, str]]:
        """Yield ``(line number from 1, text without newline)`` for every non-empty line that is UTF-8.

        A file that cannot be opened or read on is left out, with what was read of it kept.
        """
        try:
            file = path.open("rb", buffering=0)
        except OSError as error:
            self.leave_out(path, f"cannot be read: {error.strerror or error}")
            return
        name = str(path)
        with file:
            raw = _Counted(file, self._on_bytes)
            buffered = io.BufferedReader(raw, _CHUNK)
            stream: Any = gzip.GzipFile(fileobj=buffered) if path.name.endswith(".gz") else buffered
            number = 0
            try:
                while line := stream.readline(LONGEST_LINE + 1):
                    number += 1
                    if number == 1 and line.startswith(_UTF16):
                        self.leave_out(path, _SAYS_UTF16)
                        break
                    if len(line) > LONGEST_LINE:
                        while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                            line = stream.readline(LONGEST_LINE + 1)
                        self._lines[name] += 1
                        self.reject(path, number, f"the line is longer than {LONGEST_LINE >> 20} MiB")
                        continue
                    self._ends_cut = not line.endswith(b"\n")
                    try:
                        content = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                    except UnicodeDecodeError as error:
                        self._lines[name] += 1
                        self.reject(path, number, f"not UTF-8 at byte {error.start}", cut=self._ends_cut)
                        continue
                    if content and not content.isspace():
                        self._lines[name] += 1
                        yield number, content
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                self._lines[name] += 1
                self.reject(path, number + 1, f"the gzip stream is broken: {error}", cut=isinstance(error, EOFError))
            except OSError as error:
                self.leave_out(path, f"cannot be read beyond line {number}: {error.strerror or error}")
                return
            while buffered.read(_CHUNK):
                pass
            self.hashes[name] = raw.hexdigest()

    def objects(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield ``(line number, object)`` for every line that holds one JSON object; reject the others."""
        for number, line in self.lines(path):
            value = self.parsed(path, number, line)
            if isinstance(value, dict):
                yield number, value
            elif value is not _REJECTED:
                self.reject(path, number, f"a JSON object is wanted, this is a {type(value).__name__}")

    def parsed(self, path: Path, number: int, line: str) -> Any:
        """The JSON value of a line that :meth:`lines` just gave; () for one that is none, and is rejected."""
        try:
            return parse_json(line)
        except InputError as error:
            self.reject(path, number, str(error).removeprefix("line 1 "), cut=self._ends_cut)
            return _REJECTED

    def document(self, path: Path) -> Any:
        """Read a file that is one JSON value. :raises InputError: it is not."""
        return parse_json("\n".join(line for _, line in self.lines(path)), str(path))


_SAYS_UTF16 = "UTF-16 text: save it as UTF-8"


@dataclass(slots=True)
class Head:
    """The beginning of a file: its first lines, what of them is a JSON object, or why it cannot be read."""

    path: Path
    lines: list[str] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    trouble: str = ""


def head(path: Path, lines: int = _HEAD_LINES) -> Head:
    """The first ``lines`` lines of a file, plain or gzip, at most 1 MiB of them: enough to recognise its format."""
    found, start = Head(path), b""
    try:
        with path.open("rb") as file:
            stream: Any = gzip.GzipFile(fileobj=file) if path.name.endswith(".gz") else file
            left = _HEAD_BYTES
            start = data = stream.readline(left)
            while data and left > 0 and len(found.lines) < lines:
                found.lines.append(data.decode("utf-8-sig", "strict" if data.endswith(b"\n") else "ignore"))
                left -= len(data)
                data = stream.readline(left)
        if start.startswith(_UTF16):
            found.trouble = _SAYS_UTF16
        elif not any(line.strip() for line in found.lines):
            found.trouble = "empty"
    except OSError as error:
        found.trouble = f"cannot be read: {error.strerror or error}"
    except (EOFError, UnicodeDecodeError, zlib.error):
        if start.startswith(_UTF16):
            found.trouble = _SAYS_UTF16
    for line in found.lines:
        if line.lstrip().startswith("{"):
            try:
                found.objects.append(parse_json(line))
            except InputError:
                continue
    return found


def stem(path: Path) -> str:
    """A log's name without what says how it is written.

    >>> stem(Path("logs/monday.jsonl.gz"))
    'monday'
    """
    name = path.name.removesuffix(".gz")
    for suffix in (".jsonl", ".ndjson", ".json", ".swf"):
        name = name.removesuffix(suffix)
    return name


class _Counted(io.RawIOBase):
    """A binary file that hashes and reports what is read from it."""

    def __init__(self, file: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        self._file, self._on_bytes, self._hash = file, on_bytes, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = cast(Any, self._file).readinto(buffer) or 0
        self._hash.update(memoryview(buffer)[:size])
        self._on_bytes(size)
        return int(size)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
