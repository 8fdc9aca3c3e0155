"""Datasets of tables on disk: a folder with ``manifest.json`` and one parquet file per kind of record.

A dataset appears whole or not at all. pyarrow is needed here and is imported on first use.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_flow import files
from claude_flow.data import manifest
from claude_flow.data.events import Fold, Record, Run, Step, Task, column_types
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.schema import Anything, Table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "DatasetWriter",
    "read_manifest",
    "read_parquet",
    "read_table",
    "schema",
    "table_shape",
    "write_table",
    "writing",
]

TABLES: dict[type[Record], str] = {Run: "runs", Task: "tasks", Step: "steps", Fold: "folds"}
_ROW_GROUP = 16_384


def schema(kind: type[Record], features: tuple[str, ...] = ()) -> pa.Schema:
    """The parquet schema of a kind of record; ``features`` are the ``x:<name>`` columns of a task table.

    >>> schema(Task, ("size",)).names
    ['task', 'group', 'description', 'task_type', 'feature_cost_s', 'x:size']
    """
    arrow = _arrow()
    types_of = {
        str: arrow.string(),
        int: arrow.int64(),
        float: arrow.float64(),
        bool: arrow.bool_(),
        datetime: arrow.timestamp("us", tz="UTC"),
    }
    columns = [arrow.field(name, types_of[plain]) for name, plain in column_types(kind).items()]
    return arrow.schema(columns + [arrow.field(f"x:{name}", arrow.float64()) for name in features])


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[DatasetWriter]:
    """Fill a dataset folder: it appears, or replaces the dataset of its name, when the body ends well.

    :raises InputError: the folder exists and is no dataset of tables (it is not replaced).
    :raises ClaudeFlowError: the disk refused a write; the message carries the system's reason.
    """
    if folder.exists() and not _is_replaceable(folder):
        raise InputError(f"{folder} exists and is not a dataset of tables: choose another --output")
    try:
        with files.atomic_folder(folder, replace=True) as temporary:
            writer = DatasetWriter(temporary)
            try:
                yield writer
            finally:
                writer.abandon()
    except OSError as error:
        raise ClaudeFlowError(f"{folder}: cannot be written: {error.strerror or error}") from error


class DatasetWriter:
    """Writes the files of one dataset into a folder, streaming; see :func:`writing`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tables: dict[str, _Table] = {}

    def write(self, record: Record) -> None:
        """Append one record to its table."""
        name = TABLES[type(record)]
        if name not in self._tables:
            self._tables[name] = _Table(self._folder / f"{name}.parquet", type(record))
        self._tables[name].append(record)

    def rows(self) -> dict[str, int]:
        """Rows written so far, per table."""
        return {name: table.rows for name, table in self._tables.items()}

    def finish(self, about: dict[str, Any]) -> dict[str, Any]:
        """Close the tables, describe them as ``tables`` in the manifest ``about``, write and return it."""
        described = {name: {"rows": t.rows, "columns": t.close()} for name, t in self._tables.items()}
        about = {**about, "tables": described}
        content = json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        (self._folder / manifest.FILE).write_text(content, encoding="utf-8")
        return about

    def abandon(self) -> None:
        """Close what is open; the folder is about to be deleted, or is finished and this does nothing."""
        for table in self._tables.values():
            table.abandon()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a dataset of tables. :raises InputError: the folder holds none."""
    return manifest.read(folder, "tables", {"tables": Table(Anything())})


def read_table(folder: Path, name: str, columns: tuple[str, ...] | None = None) -> pa.Table | None:
    """Return a dataset's table ``runs``, ``tasks``, ``steps`` or ``folds``, or columns of it; None where it has none.

    :raises InputError: not a dataset of tables, or the parquet file cannot be read.
    """
    if name not in read_manifest(folder)["tables"]:
        return None
    return read_parquet(folder / f"{name}.parquet", columns)


def table_shape(folder: Path, name: str) -> tuple[int, list[str]]:
    """The rows and the columns of a dataset's table, which is not read; (0, []) where it has none.

    :raises InputError: not a dataset of tables, or the parquet file cannot be read.
    """
    if name not in read_manifest(folder)["tables"]:
        return 0, []
    with _readable(folder / f"{name}.parquet") as path, _parquet().ParquetFile(path) as file:
        return file.metadata.num_rows, file.schema_arrow.names


def read_parquet(path: Path, columns: tuple[str, ...] | None = None) -> pa.Table:
    """Return a parquet file, or some columns of it, as far as it has them. :raises InputError: it cannot be read."""
    with _readable(path):
        if columns is None:
            return _parquet().read_table(path)
        with _parquet().ParquetFile(path) as file:
            return file.read([name for name in columns if name in file.schema_arrow.names])


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """Turn what goes wrong while a parquet file is read into an error of one line."""
    try:
        yield path
    except (OSError, _arrow().ArrowException) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read: {first_line}") from error


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table of a dataset as its parquet file."""
    _parquet().write_table(table, path, compression="zstd")


class _Table:
    """One parquet file in row groups; when a feature column appears late, the rows so far are copied."""

    def __init__(self, path: Path, kind: type[Record]) -> None:
        self._path, self._kind = path, kind
        self._names = list(column_types(kind))
        self._features: dict[str, None] = {}
        self._buffer: list[Record] = []
        self._writer: Any = None
        self.rows = 0

    def append(self, record: Record) -> None:
        self._buffer.append(record)
        self.rows += 1
        if isinstance(record, Task):
            self._features.update(dict.fromkeys(record.features))
        if len(self._buffer) >= _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        target = schema(self._kind, tuple(self._features))
        if self._writer is not None and self._writer.schema != target:
            self._widen(target)
        if self._writer is None:
            self._writer = _parquet().ParquetWriter(self._path, target, compression="zstd")
        columns = [[getattr(record, name) for record in self._buffer] for name in self._names]
        tasks = [record for record in self._buffer if isinstance(record, Task)]
        columns += [[task.features.get(feature) for task in tasks] for feature in self._features]
        self._writer.write_table(_arrow().table(columns, schema=target))
        self._buffer.clear()

    def _widen(self, target: pa.Schema) -> None:
        self._writer.close()
        narrow = self._path.with_suffix(".narrow")
        self._path.replace(narrow)
        self._writer = _parquet().ParquetWriter(self._path, target, compression="zstd")
        for batch in _parquet().ParquetFile(narrow).iter_batches(_ROW_GROUP):
            columns = [
                batch.column(f.name) if f.name in batch.schema.names else _arrow().nulls(len(batch), f.type)
                for f in target
            ]
            self._writer.write_table(_arrow().table(columns, schema=target))
        narrow.unlink()

    def close(self) -> list[str]:
        if self._buffer or self._writer is None:
            self._flush()
        names = list(self._writer.schema.names)
        self._writer.close()
        self._writer = None
        return names

    def abandon(self) -> None:
        if self._writer is not None:
            # A second failure of the disk adds nothing: the first is on its way to the user.
            with contextlib.suppress(OSError, _arrow().ArrowException):
                self._writer.close()
            self._writer = None


def _is_replaceable(folder: Path) -> bool:
    try:
        if not any(folder.iterdir()):
            return True
        read_manifest(folder)
    except (OSError, InputError):
        return False
    return True


def _arrow() -> Any:
    return require("pyarrow", "data")


def _parquet() -> Any:
    return require("pyarrow.parquet", "data")
