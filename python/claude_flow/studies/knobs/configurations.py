"""Measured configurations of a database: a folder with one ``*.res`` or ``*.csv`` file (plain or .gz) per workload.

A line is ``{knobs}|tps_1234.5|lat_…|…|[65 internal metrics]|65d``, as the tuning benchmark of Zhang et al. writes it
("Facilitating Database Tuning with Hyper-Parameter Optimization", VLDB 2022). The knobs are a Python dictionary of
numbers and words.

A CSV file has a header: ``tps`` or ``throughput``, internal metrics as ``metric:NAME`` if there are any, and every
other column is a knob; a column without a name is a row number.
"""

from __future__ import annotations

import ast
import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from claude_flow.data.lines import Log, head
from claude_flow.errors import InputError

__all__ = ["Configuration", "Knobs", "files", "parse", "read"]

#: a knob's name: its setting
Knobs = dict[str, int | float | str]

_LEAST_THROUGHPUT = 1.0  # transactions per second; a configuration at or below it did not work
_RATES = ("tps", "throughput")
_METRIC = "metric:"
_LARGEST = 1e30  # beyond it a setting or metric is a mistake, and its square is no longer a float32


@dataclass(frozen=True)
class Configuration:
    """One measured configuration: its knobs, throughput in transactions per second, internal metrics (may be ())."""

    knobs: Knobs
    throughput: float
    metrics: tuple[float, ...]
    has_metrics: bool = field(default=True, repr=False)  # whether its format tells any

    @property
    def valid(self) -> bool:
        """Whether the database ran under it: throughput above 1, and metrics recorded where they would be."""
        return self.throughput > _LEAST_THROUGHPUT and (bool(self.metrics) or not self.has_metrics)


def files(path: Path) -> list[Path]:
    """The workloads of a folder, by name; [] when it is not this format."""
    if not path.is_dir():
        return []
    names = (".res", ".csv")
    found = sorted(entry for entry in path.iterdir() if entry.is_file() and _plain_name(entry).endswith(names))
    # One table alone is no folder of workloads: what lies beside it may be.
    alone = len(found) == 1 and _plain_name(found[0]).endswith(".csv")
    return found if found and not alone and all(_looks_right(file) for file in found) else []


def read(path: Path, log: Log) -> dict[str, list[Configuration]]:
    """The configurations of each workload in ``path``; unusable lines go to ``log.reject``.

    :raises InputError: the folder holds no such files, or a file no usable line.
    """
    found = {}
    for file in files(path):
        rows = list(_table(file, log) if _plain_name(file).endswith(".csv") else _lines(file, log))
        if not rows:
            raise InputError(f"{file}: no line holds a configuration; a line is {{knobs}}|tps_NUMBER|…|[metrics]|65d")
        name = _plain_name(file).removesuffix(".res").removesuffix(".csv").removesuffix("_lhs")
        if name in found:
            raise InputError(f"{file}: a second file of the workload {name!r}; keep one of them")
        found[name] = rows
    if not found:
        raise InputError(
            f"{path}: no folder of *.res files, one per workload, with lines {{knobs}}|tps_NUMBER|…, and none of *.csv "
            "files with a column tps"
        )
    return found


def _lines(file: Path, log: Log) -> Iterator[Configuration]:
    for number, line in log.lines(file):
        try:
            yield parse(line)
        except InputError as error:
            log.reject(file, number, str(error))


def _table(file: Path, log: Log) -> Iterator[Configuration]:
    """The rows of a CSV file."""
    rows = csv.reader(line for _, line in log.lines(file))
    header = [name.strip() for name in next(rows, [])]
    rate = next((i for i, name in enumerate(header) if name.lower() in _RATES), -1)
    known = [name for name in header if name]
    if rate < 0 or len(set(known)) != len(known):
        raise InputError(f"{file}: its first line must name every column once, one of them {' or '.join(_RATES)}")
    metrics = [i for i, name in enumerate(header) if name.startswith(_METRIC)]
    knobs = [i for i, name in enumerate(header) if name and i != rate and i not in metrics]
    for number, row in enumerate(rows, 2):
        try:
            if len(row) != len(header):
                raise InputError(f"{len(row)} values where the first line names {len(header)}")
            settings: Knobs = {header[i]: _setting(row[i]) for i in knobs}
            found = tuple(_number(row[i], header[i]) for i in metrics)
            yield Configuration(settings, _number(row[rate], header[rate]), found, bool(metrics))
        except InputError as error:
            log.reject(file, number, str(error))


def _setting(text: str) -> int | float | str:
    try:
        value = float(text)
    except ValueError:
        return text.strip()
    if not abs(value) < _LARGEST:
        raise InputError(f"a knob is not a finite number: {text.strip()[:20]!r}")
    return value


def parse(line: str) -> Configuration:
    """One line.

    >>> parse("{'io_threads': 4, 'log': 'ON'}|tps_81.5|lat_3.0|[1.0, 2.0]|2d")
    Configuration(knobs={'io_threads': 4, 'log': 'ON'}, throughput=81.5, metrics=(1.0, 2.0))

    :raises InputError: it is none; the message says which part is wrong.
    """
    parts = line.strip().split("|")
    rates = [part.removeprefix("tps_") for part in parts[1:] if part.startswith("tps_")]
    lists = [part for part in parts[1:] if part.startswith("[")]
    if len(rates) != 1 or len(lists) != 1:
        raise InputError("a line is {knobs}|tps_NUMBER|…|[metrics]|65d: one tps_ and one list are wanted")
    return Configuration(_knobs(parts[0]), _number(rates[0], "tps"), _metrics(lists[0]))


def _knobs(text: str) -> Knobs:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        raise InputError("the knobs are not a dictionary of numbers and words") from None
    if not isinstance(value, dict) or not value:
        raise InputError("the knobs are not a dictionary of numbers and words")
    for name, setting in value.items():
        plain = isinstance(setting, str) or (isinstance(setting, int | float) and not isinstance(setting, bool))
        if not isinstance(name, str) or not plain:
            raise InputError(f"the knob {name!r} is set to neither a number nor a word")
        if not isinstance(setting, str) and not abs(setting) < _LARGEST:
            raise InputError(f"the knob {name!r} is not a finite number")
    return value


def _metrics(text: str) -> tuple[float, ...]:
    if not re.fullmatch(r"\[.*\]", text.strip()):
        raise InputError("the list of metrics has no end")
    inside = text.strip()[1:-1].strip()
    return tuple(_number(part, "a metric") for part in inside.split(",")) if inside else ()


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{what} is not a number: {text.strip()[:20]!r}") from None
    if not math.isfinite(value) or abs(value) >= _LARGEST:
        raise InputError(f"{what} is not a finite number: {text.strip()[:20]!r}")
    return value


def _plain_name(path: Path) -> str:
    return path.name.removesuffix(".gz")


def _looks_right(file: Path) -> bool:
    lines = head(file, lines=5).lines
    if _plain_name(file).endswith(".csv"):
        return bool(lines) and any(name.strip().lower() in _RATES for name in lines[0].split(","))
    return any(line.startswith("{") and "|tps_" in line for line in lines)
