"""Samples for drift: named columns of files of rows, tables of runs, requests; with times where there are some."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import networks, registry
from claude_flow import requests as lines
from claude_flow.data import views
from claude_flow.data.manifest import glance
from claude_flow.errors import InputError, require
from claude_flow.requests import Request
from claude_flow.values import did_you_mean

__all__ = ["Column", "Sample", "aligned", "before", "flatten", "of_requests", "pair", "rows"]

Array = NDArray[np.float64]
_TIMES = ("time", "timestamp", "submitted", "start", "end", "date")
_IDS = ("id", "run_id", "task", "parent", "batch", "session")  # they name a thing, and say nothing of it
_MOST_WORDS = 50  # distinct values; a column of more names things
_SIMULATED, _SEED = 500, 1303
_FILES = (".csv", ".parquet", ".gz")


@dataclass(frozen=True)
class Column:
    """Values [rows], NaN where unknown; of a category they are places in ``words``."""

    values: Array
    words: tuple[str, ...] = ()


@dataclass
class Sample:
    """Rows in order of time. ``times``: seconds since 1970 or NaN; ``what`` says in words what they are; ``skipped``:
    column -> why it is not compared."""

    columns: dict[str, Column]
    times: Array
    what: str
    skipped: dict[str, str] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.times)


def rows(path: Path, time_column: str | None = None) -> Sample:
    """The columns of a file ``.csv``, ``.csv.gz`` or ``.parquet``, or of the runs of a dataset of tables.

    Rows are sorted by ``time_column`` (default: one named like a time), else taken to be in order of time.

    Raises:
        InputError: it cannot be read, or has no such column.
    """
    arrow = require("pyarrow", "data")
    try:
        if path.is_dir():
            table = require("pyarrow.parquet", "data").read_table(path / "runs.parquet")
        elif path.suffix == ".parquet":
            table = require("pyarrow.parquet", "data").read_table(path)
        else:
            table = require("pyarrow.csv", "data").read_csv(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise InputError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]})") from None
    if time_column is not None and time_column not in table.column_names:
        near = did_you_mean(time_column, table.column_names)
        raise InputError(f"{path}: it has no column {time_column!r}{near}: it has {', '.join(table.column_names[:12])}")
    names = [time_column] if time_column else [name for name in _TIMES if name in table.column_names]
    times = np.full(table.num_rows, np.nan)
    for name in names:
        found = np.array([_seconds(value) for value in table.column(name).to_pylist()])
        times = np.where(np.isnan(times), found, times)
    raw: dict[str, list[Any]] = {}
    for name in dict.fromkeys(table.column_names):
        kind = table.schema.field(table.schema.get_all_field_indices(name)[0]).type
        if name not in names and not arrow.types.is_temporal(kind) and not arrow.types.is_nested(kind):
            raw[name] = table.column(table.schema.get_all_field_indices(name)[0]).to_pylist()
    return _sample(raw, times, f"{table.num_rows} rows of {path.name}")


def of_requests(found: Sequence[Request], what: str, part: Callable[[Request], Any]) -> Sample:
    """The numbers and categories of a ``part`` of each request (its input, its answer), flattened."""
    flat = [flatten(part(request)) for request in found]
    names = sorted({name for one in flat for name in one})
    times = np.array([_seconds(request.time) for request in found])
    raw = {name: [one.get(name) for one in flat] for name in names}
    return _sample(raw, times, what, list(found))


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Numbers and short texts of a JSON value by their paths; of a list its length, and of its items the mean of every
    number and the most frequent text. Long texts count as their number of words; ids are left out.

    >>> flatten({"tasks": [{"id": "a", "size": 1}, {"id": "b", "size": 3}], "note": "fix it now"})
    {'tasks.count': 2.0, 'tasks.size': 2.0, 'note.words': 3.0}
    """
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for key, item in value.items():
            if str(key).lower() not in _IDS:
                found.update(flatten(item, f"{path}.{key}" if path else str(key)))
        return found
    if isinstance(value, (list, tuple)):
        return {f"{path}.count": float(len(value)), **_gathered([flatten(item, path) for item in value])}
    if isinstance(value, (bool, int, float)):
        return {path: float(value)} if math.isfinite(value) else {}
    if isinstance(value, str):
        return {f"{path}.words": float(len(value.split()))} if " " in value.strip() else {path: value}
    return {}


def _gathered(items: Iterable[dict[str, Any]]) -> dict[str, Any]:
    lists: dict[str, list[Any]] = {}
    for item in items:
        for name, value in item.items():
            lists.setdefault(name, []).append(value)
    return {
        name: float(np.mean(values))
        if all(isinstance(value, float) for value in values)
        else Counter(map(str, values)).most_common(1)[0][0]
        for name, values in lists.items()
    }


# What a name stands for -----------------------------------------------------------------------------------


def pair(
    reference: str, stream: str, network: str | None = None, time_column: str | None = None
) -> dict[str, tuple[Sample, Sample]]:
    """The samples to compare, by what is compared: ``rows``, or each network that was asked.

    A dataset's or a file's rows are compared with rows; logged requests, or a file of requests, with the requests that
    the reference's runs stand for, else (where a network learns from simulated swarms) with simulated ones.

    Raises:
        InputError: an unknown name, nothing logged, or two samples of different kinds.
    """
    asked = _asked(stream, network)
    if asked is None:
        other = _asked(reference, network)
        if other is not None:
            raise InputError(f"{reference} are requests, {stream} is a table of rows: compare like with like")
        one, two = rows(_place(reference), time_column), rows(_place(stream), time_column)
        return {"rows": (one, two)}
    groups: dict[str, list[Request]] = {}
    for request in asked:
        groups.setdefault(request.network, []).append(request)
    if not groups:
        raise InputError(f"{stream} holds no request{f' to {network}' if network else ''}")
    found = {}
    for name in sorted(groups):
        earlier, what = before_requests(reference, name)
        own = groups[name]
        found[name] = (
            of_requests(earlier, what, lambda request: request.input),
            of_requests(own, f"{len(own)} requests of {stream}", lambda request: request.input),
        )
    return found


def _asked(name: str, network: str | None) -> list[Request] | None:
    """The requests of a view or a file of lines; None if it is neither."""
    path = Path(name)
    if path.suffix in (".jsonl", ".ndjson"):
        found = []
        for _, request in lines.read(path):
            if isinstance(request, InputError):
                raise request
            found.append(request)
    else:
        groups = None if path.exists() else views.requests(name, network)
        if groups is None:
            return None
        found = [request for group in groups.values() for request in group]
    return [request for request in found if not network or request.asks(network)]


def _place(name: str) -> Path:
    """A file of rows, or the folder of a dataset of tables."""
    path = Path(name)
    if path.is_file():
        if path.suffix not in _FILES:
            raise InputError(f"{name}: rows are read from .csv, .csv.gz or .parquet, requests from .jsonl")
        return path
    folder = views.find(name).folder
    if not (folder / "runs.parquet").is_file():
        raise InputError(f"{name} holds tensors, not rows: compare it with requests, such as production-inputs")
    return folder


def before(reference: str, network: str) -> Sample:
    """What a network's requests are compared with: those that the reference stands for."""
    found, what = before_requests(reference, network)
    return of_requests(found, what, lambda request: request.input)


def before_requests(reference: str, network: str) -> tuple[list[Request], str]:
    """The requests that a reference stands for, and what they are in words."""
    given = _asked(reference, network)
    if given is not None:
        return given, f"{len(given)} requests of {reference}"
    row = networks.get(network)
    try:
        found = views.find(reference, network)
    except InputError:
        if reference != "training-distribution":
            raise
        found = None  # nothing was preprocessed here: the models that ship learned from simulated swarms
    tables, newest = _tables(found, reference)
    if tables is not None:
        logged = views.runs_as_requests(network, tables, newest=newest)
        if logged:
            return logged, f"{len(logged)} requests that runs of {tables.name} stand for"
    simulated = [Request(str(i), network, asked) for i, asked in enumerate(row.prepare.requests(_SIMULATED, _SEED))]
    return simulated, f"{len(simulated)} requests of simulated swarms"


def _tables(found: views.Found | None, reference: str) -> tuple[Path | None, bool | None]:
    """The tables behind a dataset; which of their runs: the newest, the others, or (None) all."""
    if found is None:
        return None, None
    if glance(found.folder).get("kind") == "tables":
        return found.folder, None
    about = glance(found.folder)
    if about.get("source") == "simulator" or about.get("real_pools") == 0:
        return None, None
    try:
        return registry.dataset_path(views.TABLES_NAME), {"train": False, "test": True}.get(found.part or "")
    except InputError:
        raise InputError(
            f"{reference}: what {found.folder.name} was made from is gone: name a dataset of tables, or collect again"
        ) from None


# Columns --------------------------------------------------------------------------------------------------


def _sample(raw: Mapping[str, Sequence[Any]], times: Array, what: str, own: list[Request] | None = None) -> Sample:
    order = np.argsort(times, kind="stable") if np.isfinite(times).any() else np.arange(len(times))
    columns: dict[str, Column] = {}
    skipped: dict[str, str] = {}
    for name, values in raw.items():
        if name.rpartition(".")[2].lower() in _IDS:
            skipped[name] = "it names a thing"
            continue
        known = [value for value in values if value is not None]
        if all(isinstance(value, (bool, int, float)) for value in known):
            numbers = np.array([math.nan if value is None else float(value) for value in values])
            numbers[~np.isfinite(numbers)] = math.nan
            columns[name] = Column(numbers[order])
            continue
        words = tuple(dict.fromkeys(map(str, known)))
        if len(words) > _MOST_WORDS:
            skipped[name] = f"{len(words)} distinct texts"
            continue
        at = {word: float(i) for i, word in enumerate(words)}
        columns[name] = Column(np.array([math.nan if v is None else at[str(v)] for v in values])[order], words)
    requests = [own[i] for i in order] if own else []
    return Sample(columns, times[order], what, skipped, requests)


def aligned(one: Sample, other: Sample, features: Sequence[str] | None = None) -> dict[str, tuple[Column, Column]]:
    """The columns of both by name, categories in the same words; a column that one lacks is unknown there.

    Raises:
        InputError: an unknown feature, or no column in common.
    """
    common = [name for name in one.columns if name in other.columns]
    if not common:
        ours, theirs = (", ".join(list(sample.columns)[:6]) or "none" for sample in (one, other))
        raise InputError(f"the reference data has other columns ({ours}) than the streaming data ({theirs})")
    names = list(dict.fromkeys([*one.columns, *other.columns]))
    names = [name for name in names if name not in one.skipped and name not in other.skipped]
    for name in features or ():
        if name not in names:
            raise InputError(
                f"there is no feature {name!r}{did_you_mean(name, names)}: there are {', '.join(names[:12])}"
            )
    found = {}
    for name in features or names:
        pair = [sample.columns.get(name) or Column(np.full(len(sample), math.nan)) for sample in (one, other)]
        if any(column.words for column in pair):
            words = tuple(dict.fromkeys(word for column in pair for word in (column.words or _texts(column.values))))
            pair = [Column(_placed(column, words), words) for column in pair]
        found[name] = (pair[0], pair[1])
    return found


def _texts(values: Array) -> tuple[str, ...]:
    return tuple(f"{value:g}" for value in np.unique(values[~np.isnan(values)])[:_MOST_WORDS])


def _placed(column: Column, words: tuple[str, ...]) -> Array:
    at = {word: float(i) for i, word in enumerate(words)}
    own = column.words
    named = [at.get(own[int(v)] if own else f"{v:g}", math.nan) if v == v else math.nan for v in column.values]
    return np.array(named, np.float64)


def _seconds(value: Any) -> float:
    """Seconds since 1970 of a time in any form, or NaN."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day).timestamp()
    if isinstance(value, (int, float)):
        return float(value)
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return math.nan
