"""One module per log format, and the single list of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from claude_flow.data.events import Record
from claude_flow.data.lines import Log
from claude_flow.data.sources import aslib, claude_code, jsonl, swebench_pro, swf
from claude_flow.errors import InputError

__all__ = ["SOURCES", "Source", "detect"]


class Source(Protocol):
    """What a module in this folder offers."""

    KIND: str

    def files(self, path: Path) -> list[Path]:
        """The files to read when the user names ``path``, in reading order; [] when it is not this format."""

    def read(self, path: Path, files: list[Path], log: Log) -> Iterator[Record]:
        """Yield the records, streaming, a run's steps right after it; unusable lines go to ``log.reject``."""


# Asked in this order: the formats with unmistakable names first, line-by-line JSON last.
SOURCES: tuple[Source, ...] = (aslib, swf, swebench_pro, claude_code, jsonl)


def detect(path: Path) -> tuple[Source, list[Path]]:
    """Find the format of a file or folder; return its module and the files to read.

    :raises InputError: the path does not exist, cannot be read, or no format recognises it.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist: name a log file or folder")
    if not path.is_file() and not path.is_dir():
        raise InputError(f"{path} is a pipe or a device: save it to a file first, a log is looked at before it is read")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read: you lack the permission")
    for source in SOURCES:
        if files := source.files(path):
            return source, files
    kinds = ", ".join(source.KIND for source in SOURCES)
    raise InputError(f"{path} holds no log of a known format ({kinds}): see docs/events.md for our own")
