"""One module per log format, the single list of them, and which files of a folder belong to which."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from claude_flow.data.events import Record
from claude_flow.data.lines import Head, Log, head, stem
from claude_flow.data.sources import (
    aslib,
    claude_code,
    claude_otel,
    claude_stream,
    jsonl,
    swebench_pro,
    swf,
)
from claude_flow.errors import InputError

__all__ = ["SOURCES", "UNKNOWN", "Detected", "Source", "detect"]

UNKNOWN = "of no known format"

_NOT_LOGS = (".git", "node_modules", "__pycache__")  # folders that nobody's log is in


class Source(Protocol):
    """What a module in this folder offers."""

    KIND: str

    def claims(self, head: Head) -> bool:
        """Whether the file that begins so is of this format, or belongs to a log of this format."""

    def read(self, path: Path, files: list[Path], log: Log) -> Iterator[Record]:
        """Yield the records of the claimed ``files`` below ``path``, streaming, a run's steps right after it.

        Unusable lines go to ``log.reject``, files that cannot be used to ``log.leave_out``.
        """


# Asked in this order: the formats with unmistakable names first, line-by-line JSON last.
SOURCES: tuple[Source, ...] = (
    aslib,
    swf,
    swebench_pro,
    claude_otel,
    claude_stream,
    claude_code,
    jsonl,
)


@dataclass
class Detected:
    """``parts``: the formats found, each with its files in reading order; ``left_out``: (file or folder, why)."""

    parts: list[tuple[Source, list[Path]]] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)

    def files(self, source: Source) -> list[Path]:
        """The files of one format, [] where there are none."""
        return next((files for found, files in self.parts if found is source), [])


def detect(path: Path) -> Detected:
    """Find out what a file, or every file below a folder, is.

    With a file come the files of its kind in the folder of its name beside it. Links are followed; what they lead to
    is read once.

    :raises InputError: the path does not exist or cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist: name a log file or folder")
    if not path.is_file() and not path.is_dir():
        raise InputError(f"{path} is a pipe or a device: save it to a file first, a log is looked at before it is read")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read: you lack the permission")
    found = Detected()
    files: dict[str, list[Path]] = {}
    by_kind = {source.KIND: source for source in SOURCES}
    for file in _walk(path, found) if path.is_dir() else [path]:
        begins = head(file)
        if begins.trouble:
            found.left_out.append((file, begins.trouble))
        elif source := next((source for source in SOURCES if source.claims(begins)), None):
            files.setdefault(source.KIND, []).append(file)
        else:
            found.left_out.append((file, UNKNOWN))
    if not path.is_dir() and files and (beside := path.with_name(stem(path))).is_dir():
        kind = next(iter(files))
        files[kind] += [file for file in _walk(beside, Detected()) if by_kind[kind].claims(head(file))]
    found.parts = [(source, files[source.KIND]) for source in SOURCES if source.KIND in files]
    return found


def _walk(folder: Path, found: Detected) -> list[Path]:
    """Every regular file below a folder, in the order of their names, each once however many links lead to it."""
    files: list[Path] = []
    seen: set[tuple[int, int]] = set()
    links: list[Path] = []  # last, so that a file is read under its own name
    waiting = [folder]
    while waiting or links:
        path = waiting.pop() if waiting else links.pop(0)
        try:
            about = path.stat()
            if (about.st_dev, about.st_ino) in seen:
                found.left_out.append((path, "a link to what is read already"))
                continue
            seen.add((about.st_dev, about.st_ino))
            if stat.S_ISREG(about.st_mode):
                files.append(path)
            elif stat.S_ISDIR(about.st_mode):
                for entry in path.iterdir():
                    if entry.name not in _NOT_LOGS:
                        (links if entry.is_symlink() else waiting).append(entry)
                links.sort()
            else:
                found.left_out.append((path, "a pipe or a device"))
        except OSError as error:  # a permission, a link that leads nowhere or in a circle
            found.left_out.append((path, f"cannot be read: {error.strerror or error}"))
    return sorted(files)
