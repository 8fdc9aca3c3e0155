"""Run tables to tensors for the prediction network: every run with its history as of its submission.

A run is stored once; a sequence is a row of indices into the runs. So 43 000 jobs with 127 past records each take
45 MB instead of 2.8 GB.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from claude_flow import schema
from claude_flow.data import manifest as manifests
from claude_flow.data.collect import collect
from claude_flow.data.tables import read_manifest, read_table, table_shape
from claude_flow.data.tensors import read
from claude_flow.errors import InputError, require
from claude_flow.networks.coded import Coded, latest
from claude_flow.networks.prediction import simulator
from claude_flow.networks.prediction.features import Encoder
from claude_flow.networks.prediction.history import (
    CHUNK,
    KEYS,
    NO_TIME,
    TARGETS,
    History,
    Runs,
    as_of_parts,
    source_names,
)
from claude_flow.networks.scale import NORMALIZATIONS

__all__ = ["asked", "load", "preprocess", "read_runs", "requests", "split_rows", "suite"]

Array = NDArray[Any]

_SHARD_ROWS = 16_384
_MOST_SAMPLES = 131_072  # sequences to learn from; more would take longer to make than anyone trains
_TIMES = ("submitted", "start", "end")
_COLUMNS = (
    *("source", "group", "agent", "agent_type", "task", "task_type", "description", "status", "user", "project"),
    *("executable", "queue", "partition", "model", "duration_s", "active_s", "queue_s", "success", "cost", "tokens"),
    *("tool_calls", "steps", "retries", "cpu_s", "memory_mb", "requested_s", "requested_processors"),
    *("prompt_chars", "batch_size"),
)


def read_runs(tables: Path) -> tuple[Runs, dict[str, str]]:
    """The runs of a dataset of tables as arrays, in order of submission, and the names of their sources by key.

    Raises :class:`InputError` when the folder is no such dataset or has no runs.
    """
    columns = _Columns(tables)
    if not columns.rows:
        raise InputError(f"{tables} has no runs: collect logs that record runs of tasks")
    return Runs.from_columns(columns), source_names(columns)


class _Columns(Mapping[str, Any]):
    """The columns of a runs table, each read when it is asked for: all of a large log's take a gigabyte."""

    def __init__(self, tables: Path) -> None:
        self._tables = tables
        self.rows, names = table_shape(tables, "runs")
        self._names = [name for name in (*_TIMES, *_COLUMNS) if name in names]

    def __getitem__(self, name: str) -> Any:
        table = read_table(self._tables, "runs", (name,)) if name in self._names else None
        if table is None:
            raise KeyError(name)
        column = _column(table.column(name), name in _TIMES)
        del table
        require("pyarrow", "data").default_memory_pool().release_unused()
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _column(column: Any, is_time: bool) -> Any:
    """A column of the parquet file as :meth:`Runs.from_columns` wants it."""
    if is_time:
        return column.cast("int64").fill_null(int(NO_TIME)).to_numpy()
    if str(column.type) not in ("string", "large_string"):
        return column.cast("double", safe=False).to_numpy()
    return Coded.of_arrow(column)


def preprocess(tables_dir: Path, out_dir: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Write the tensors of ``tables_dir`` into the folder ``out_dir`` and return its manifest.

    Options: ``normalization`` (z-score, robust, quantile, log, none; default z-score), ``feature_extraction``
    (``"basic"`` leaves descriptions out), ``history`` (records before the open one, 1 to 127, default 127),
    ``test_split`` (default 0.2: the latest share of each source, which no choice ever sees), ``validation_split``
    (default 0.2; training fits scales and priors again, on its own training part).

    Of more than 131,072 runs the latest of each source become sequences to learn from; the earlier ones (counted in
    ``rows``) are in their histories only. Raises :class:`InputError` when fewer than 20 runs have anything to predict.
    """
    length = int(options.get("history", 127))
    test_split = float(options.get("test_split", 0.2))
    if not 1 <= length <= 127 or not 0 <= test_split < 0.9:
        raise InputError("history must lie between 1 and 127, test_split between 0 and 0.9")
    if not options.get("sequence_alignment", True):
        raise InputError("prediction needs --sequence-alignment true: else a history would show what had not ended yet")
    encoder = Encoder(
        str(options.get("normalization", "z-score")), options.get("feature_extraction", "automated") != "basic"
    )
    runs, names = read_runs(tables_dir)
    runs = encoder.view(runs)
    samples = np.flatnonzero(~np.isnan(runs.numbers[:, : TARGETS.index("queue")]).all(1))
    told = len(samples)
    samples = samples[latest(runs.keys[samples, KEYS.index("source")], _MOST_SAMPLES)]
    if len(samples) < 20:
        raise InputError(
            f"{tables_dir}: {len(samples)} runs with a known duration, steps or cost; at least 20 are needed"
        )
    tasks = runs.take(samples)
    out_dir.mkdir(parents=True, exist_ok=True)
    shards: list[str] = []

    def write(name: str, number: int, arrays: Mapping[str, Array]) -> None:
        shards.append(f"{name}-{number:05d}.safetensors")
        part = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        (out_dir / shards[-1]).write_bytes(save(part))  # a full disk is an OSError

    for number, first in enumerate(range(0, len(runs), _SHARD_ROWS)):
        rows = slice(first, first + _SHARD_ROWS)
        write("runs", number, {key: value[rows] for key, value in _arrays(runs).items()})
    # Written as it is made; what the encoder learns from is a third of it, and stays.
    kept: list[History] = []
    parts = as_of_parts(runs, tasks, length)
    for number, first in enumerate(range(0, len(samples), _SHARD_ROWS)):
        rows = slice(first, first + _SHARD_ROWS)
        history = _joined_histories(list(islice(parts, _SHARD_ROWS // CHUNK)))
        write("history", number, {"task": samples[rows].astype(np.int32), **_arrays(history)})
        kept.append(history.means())
    split = split_rows(tasks, float(options.get("validation_split", 0.2)), test_split)
    means = _joined_histories(kept)
    kept.clear()
    encoder.fit(tasks, means, np.flatnonzero(split == 0))
    manifest = {
        "format": 1,
        "kind": "tensors",
        "network": "prediction",
        "shards": shards,
        "rows": {"runs": len(runs), "samples": len(samples), "earlier": told - len(samples)},
        "split": {"test": test_split, "train-rows": int((split == 0).sum())},
        "source-names": names,
        "sources": read_manifest(tables_dir).get("sources", []),
        "schema": encoder.schema(),
    }
    (out_dir / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


_MANIFEST: dict[str, schema.Kind] = {
    "schema": schema.Record(
        {"normalization": schema.Choice(*NORMALIZATIONS), "describe": schema.Flag()},
        required=("normalization", "describe"),
        free=True,
    ),
    "shards": schema.List(schema.Text(), "name", least=1),
    "split": schema.Record(  # a share at the end of every source, or a window in time
        {"test": schema.Number(0, 1), "from": schema.Whole(-(2**62), 2**62), "to": schema.Whole(-(2**62), 2**62)},
        free=True,
    ),
    "source-names": schema.Table(schema.Text(blank=True)),
}


def load(folder: Path) -> tuple[dict[str, Any], Runs, Array, History]:
    """A preprocessed folder: its manifest, the runs, the rows that are samples, and their history."""
    manifest = manifests.read(folder, "tensors", _MANIFEST, "prediction")
    try:
        parts: dict[str, list[dict[str, Array]]] = {"runs": [], "history": []}
        for shard in manifest["shards"]:
            parts[Path(shard).name.partition("-")[0]].append(read(folder / shard))
        whole = {k: {n: _joined([p[n] for p in v]) for n in v[0]} for k, v in parts.items()}
        samples = whole["history"].pop("task")
        return manifest, Runs(**whole["runs"]), samples, History(**whole["history"])
    except (KeyError, IndexError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{folder}: its shards do not fit together ({type(error).__name__}): "
            "make the data again with  claude-flow neural data preprocess"
        ) from error


def _joined(parts: list[Array]) -> Array:
    """The shards of one array as one: a single one stays in its file, several are copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def split_rows(tasks: Runs, validation: float, test: float, window: tuple[int, int] | None = None) -> Array:
    """Which part each task belongs to: 0 train, 1 validation, 2 test, -1 none.

    With a ``window`` (microseconds UTC, its end excluded) the test part is the tasks decided within it instead, and
    what had not ended before it or has no time is in no part.

    Per source, in order of submission: the latest share ``test``, before it the share ``validation``. A run that
    ended only after the next part began is in no part: its outcome was not known then. Tasks without a time
    cannot be ordered; they are split by the hash of their task's name, so that attempts of one task stay together.

    >>> tasks = Runs.from_columns({"start": [0, 10**6, 2 * 10**6, 3 * 10**6], "duration_s": [0.5, 9.0, 0.5, 0.5]})
    >>> split_rows(tasks, 0.25, 0.25).tolist()
    [0, -1, 1, 2]
    """
    part = np.zeros(len(tasks), np.int64)
    if window is not None:
        before = np.flatnonzero((tasks.decision != NO_TIME) & (tasks.decision < window[0]) & (tasks.end < window[0]))
        part[:] = -1
        part[before] = split_rows(tasks.take(before), validation, 0.0)
        part[(tasks.decision >= window[0]) & (tasks.decision < window[1])] = 2
        return part
    sources = tasks.keys[:, KEYS.index("source")]
    timed = tasks.decision != NO_TIME
    for source in np.unique(sources[timed]):
        rows = np.flatnonzero(timed & (sources == source))
        cuts = [int(round((1 - test - validation) * len(rows), 6)), int(round((1 - test) * len(rows), 6))]
        for label, cut in zip((1, 2), cuts, strict=True):
            if cut < len(rows):
                before = rows[:cut]
                late = before[tasks.end[before] > tasks.decision[rows[cut]]]
                part[late] = -1
                part[rows[cut:]] = label
    rows = np.flatnonzero(~timed)
    if len(rows):
        place = tasks.keys[rows, KEYS.index("task")] % 2**20 / 2**20
        part[rows] = np.where(place >= 1 - test, 2, np.where(place >= 1 - test - validation, 1, 0))
    return part


def _joined_histories(parts: list[History]) -> History:
    return History(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(History)})


def _arrays(record: Runs | History) -> dict[str, Array]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def requests(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Requests for the tasks of a simulated log."""
    return (_request(event) for event in simulator.log(count, seed))


def asked(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[list[int], dict[str, Any], int]]:
    """The requests that the runs of a log stand for, one each in order of time: rows, request, words of the task."""
    timed = [i for i, run in enumerate(runs) if run["description"] and (run["submitted"] or run["start"])]
    for i in sorted(timed, key=lambda i: (runs[i]["submitted"] or runs[i]["start"]).timestamp()):
        moment = (runs[i]["submitted"] or runs[i]["start"]).isoformat()
        yield [i], {**_request(runs[i]), "decision-time": moment}, len(str(runs[i]["description"]).split())


def _request(run: Mapping[str, Any]) -> dict[str, Any]:
    fields = {"task-description": "description", "task-type": "task_type", "agent": "agent"}
    return {field: run[column] for field, column in fields.items() if run.get(column)}


def suite(folder: Path, seed: int, share: float) -> tuple[Path | None, dict[str, Any]]:
    """Tables and options of the standard suite's data: a simulated log of 3000 runs, or a ``share`` of them."""
    lines = folder / "runs.jsonl"
    events = simulator.log(max(200, round(3000 * share)), seed)
    lines.write_text("".join(json.dumps(event) + "\n" for event in events), "utf-8")
    collect([lines], folder / "tables")
    return folder / "tables", {"seed": seed}
