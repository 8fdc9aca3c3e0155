"""A table of a dataset as numpy columns, whatever a file of that name really holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.data.events import Record, column_types
from claude_flow.data.tables import TABLES, read_table, schema
from claude_flow.errors import InputError, require

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Column", "Frame", "load"]


@dataclass(slots=True)
class Column:
    """One column: ``values`` are float64, of text the index into ``words``, of times seconds since 1970.

    Where ``known`` is false the value means nothing. Numbers that are not finite are unknown too; they are
    counted in ``not_finite``.
    """

    name: str
    plain: type
    values: NDArray[np.float64]
    known: NDArray[np.bool_]
    words: list[str] = field(default_factory=list)
    not_finite: int = 0

    @property
    def is_text(self) -> bool:
        """Whether ``values`` are places in ``words``."""
        return self.plain is str

    @property
    def is_number(self) -> bool:
        """Whether sizes can be compared: no text, no time, no truth value."""
        return self.plain in (int, float)

    def codes(self) -> NDArray[np.int64]:
        """The values as whole numbers >= 0 for equal values, with -1 for unknown."""
        found = self.values.astype(np.int64) if self.is_text else np.unique(self.values, return_inverse=True)[1]
        return np.where(self.known, found, -1)


@dataclass(slots=True)
class Frame:
    """A table's columns, every one that its kind of record defines: absent or mistyped ones are unknown throughout."""

    name: str
    rows: int
    columns: dict[str, Column]
    missing: list[str]  # the schema's columns that the file lacks
    extra: list[str]  # the file's columns that the schema lacks
    mistyped: dict[str, str]  # column -> "double, not string"

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]


def load(folder: Path, kind: type[Record]) -> Frame:
    """The table of a kind of record; one without rows where the dataset has none.

    :raises InputError: not a dataset of tables, or the parquet file cannot be read.
    """
    name = TABLES[kind]
    table = read_table(folder, name)
    if table is None:
        table = schema(kind).empty_table()
    try:
        table.validate(full=True)
    except ValueError as error:  # pyarrow's ArrowInvalid is one
        raise InputError(f"{folder / name}.parquet: cannot be read: {str(error).splitlines()[0]}") from error
    features = tuple(n.removeprefix("x:") for n in table.column_names if n.startswith("x:")) if name == "tasks" else ()
    wanted = schema(kind, tuple(dict.fromkeys(features)))
    plain = {**dict.fromkeys(wanted.names, float), **column_types(kind)}
    frame = Frame(name, table.num_rows, {}, [], [n for n in table.column_names if n not in plain], {})
    for target in wanted:
        places = table.schema.get_all_field_indices(target.name)
        if not places:
            frame.missing.append(target.name)
        elif len(places) > 1:
            frame.mistyped[target.name] = f"{len(places)} columns of this name"
        elif not _same(table.schema.field(places[0]).type, target.type):
            frame.mistyped[target.name] = f"{table.schema.field(places[0]).type}, not {target.type}"
        else:
            frame.columns[target.name] = _column(target.name, plain[target.name], table.column(places[0]))
            continue
        unknown = np.zeros(frame.rows, dtype=np.bool_)
        frame.columns[target.name] = Column(target.name, plain[target.name], np.zeros(frame.rows), unknown)
    return frame


def _same(found: pa.DataType, wanted: pa.DataType) -> bool:
    arrow = require("pyarrow", "data")

    return bool(found == wanted or (arrow.types.is_large_string(found) and arrow.types.is_string(wanted)))


def _column(name: str, plain: type, column: pa.ChunkedArray) -> Column:
    arrow = require("pyarrow", "data")

    known = np.asarray(column.is_valid().to_numpy(), dtype=np.bool_)
    words: list[str] = []
    values: NDArray[np.float64]
    if plain is str:
        encoded = column.dictionary_encode().unify_dictionaries()
        words = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
        places = [chunk.indices.fill_null(0).to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
        values = np.concatenate([*places, np.empty(0)]).astype(np.float64)
    elif plain is datetime:
        values = _numbers(column.cast(arrow.int64())) / 1e6
    else:
        values = _numbers(column)
    finite = np.isfinite(values)
    values[~finite] = 0
    return Column(name, plain, values, known & finite, words, int((known & ~finite).sum()))


def _numbers(column: Any) -> NDArray[np.float64]:
    arrow = require("pyarrow", "data")

    return np.array(column.cast(arrow.float64(), safe=False).fill_null(0.0).to_numpy(), dtype=np.float64)
