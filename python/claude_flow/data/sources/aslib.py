"""ASlib algorithm selection scenarios: run times of several algorithms on the same instances.

Source: Bischl et al., "ASlib: A Benchmark Library for Algorithm Selection", 2016; https://www.aslib.net. A
scenario is a folder with ``algorithm_runs.arff``, ``feature_values.arff``, ``cv.arff`` and optionally
``feature_costs.arff`` (each plain or .gz) and ``description.txt``. A run is solved (``success``) when its
status is ok and its time is below the cutoff. An unsolved run's ``duration_s`` is what it took, at most the
cutoff, which is in ``requested_s``; PAR10 is ``duration_s`` where solved and ``10 * requested_s`` elsewhere,
and ``utility = 1 - PAR10 / (10 * cutoff)``. Where solutions are measured by quality (``performance_type:
solution_quality``) the utility is the measure itself, negative where less is better; there is no duration then, and
no success. Of several measures the first counts.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from claude_flow.data.events import Fold, Record, Run, Task, text
from claude_flow.data.lines import Head, Log
from claude_flow.errors import InputError

KIND = "aslib"

_PARTS = ("algorithm_runs", "feature_values", "feature_costs", "cv")
_ATTRIBUTE = re.compile(r"@attribute\s+(?:'([^']*)'|\"([^\"]*)\"|(\S+))\s+\S", re.IGNORECASE)
_TIME_COLUMNS = ("runtime", "par10")
_WANTED = {
    "algorithm_runs": ("instance_id", "repetition", "algorithm", "runstatus"),
    "feature_values": ("instance_id",),
    "feature_costs": ("instance_id",),
    "cv": ("instance_id", "repetition", "fold"),
}


def claims(head: Head) -> bool:
    """The ARFF files of a scenario that are read, and its description."""
    if head.path.name != "description.txt" and head.path not in (_find(head.path.parent, part) for part in _PARTS):
        return False
    return _find(head.path.parent, "algorithm_runs") is not None


def read(path: Path, files: list[Path], log: Log) -> Iterator[Record]:
    """Yield runs, tasks with their features, and folds of each scenario; one that cannot be used is left out.

    :raises InputError: no scenario can be used.
    """
    folders = list(dict.fromkeys(file.parent for file in files))
    refused: list[InputError] = []
    for folder in folders:
        parts = {part: file for part in _PARTS if (file := _find(folder, part)) in files and file is not None}
        description = folder / "description.txt"
        header = _description(description, log) if description in files else {}
        scenario = header.get("scenario_id") or folder.name
        try:
            names = {part: _attributes(part, file) for part, file in parts.items()}
            measure = _Measure.of(header, names.get("algorithm_runs", []), folder)
        except InputError as error:
            refused.append(error)
            log.leave_out(folder, str(error))
            continue
        log.header[scenario] = header
        yield from _runs(scenario, measure, parts["algorithm_runs"], log)
        if "feature_values" in parts:
            costs = _costs(parts["feature_costs"], log) if "feature_costs" in parts else {}
            yield from _tasks(scenario, costs, parts["feature_values"], log)
        if "cv" in parts:
            for line, row in _rows(parts["cv"], log):
                repetition, fold = _number(row["repetition"]), _number(row["fold"])
                if repetition is None or fold is None or max(repetition, fold) > 1e9:
                    log.reject(parts["cv"], line, "the repetition or the fold is no number")
                else:
                    yield Fold(group=scenario, task=row["instance_id"], repetition=int(repetition), fold=int(fold))
    if len(refused) == len(folders):
        raise refused[0]


@dataclass(frozen=True)
class _Measure:
    """What the runs of a scenario are measured by: a time up to a cutoff, or a quality."""

    column: str
    cutoff: float | None
    is_time: bool
    is_gain: bool  # more is better

    @classmethod
    def of(cls, header: dict[str, str], names: list[str], folder: Path) -> _Measure:
        """:raises InputError: the runs have no column for it."""
        is_time = header.get("performance_type", "runtime").lower() != "solution_quality"
        asked = header.get("performance_measures", "")
        known = dict.fromkeys((*((asked.lower(),) if asked else ()), *(_TIME_COLUMNS if is_time else ())))
        column = next((name for name in names if name.lower() in known), None)
        if column is None and not is_time:  # the measure may go by a longer name than its column
            column = next((name for name in names if name not in (*_WANTED["algorithm_runs"], "ID")), None)
        if column is None:
            raise InputError(f"{folder}: the runs have no column {' or '.join(known)}")
        cutoff = _number(header.get("algorithm_cutoff_time", ""))
        return cls(column, cutoff if is_time else None, is_time, header.get("maximize", "").lower() == "true")


def _runs(scenario: str, measure: _Measure, file: Path, log: Log) -> Iterator[Run]:
    for line, row in _rows(file, log):
        value, how = _number(row[measure.column]), row["runstatus"].lower()
        if how == "ok" and (value is None or (measure.is_time and value < 0)):
            log.reject(file, line, f"a run that ended well has no {measure.column}")
            continue
        task, agent = row["instance_id"], row["algorithm"]
        run = Run(
            run_id=f"{scenario}/{task}/{agent}/{row['repetition']}",
            source=KIND,
            group=scenario,
            agent=text(agent),
            agent_type="algorithm",
            task=text(task),
            task_type=scenario,
            requested_s=measure.cutoff,
        )
        if measure.is_time:
            _timed(run, value, how, measure.cutoff)
        else:
            run.status = "completed" if how == "ok" else "timeout" if how == "timeout" else "failed"
            run.success = None if how == "ok" else False
            run.utility = None if value is None else value if measure.is_gain else -value
        yield run


def _timed(run: Run, seconds: float | None, how: str, cutoff: float | None) -> None:
    """Fill in what a run time says."""
    solved = how == "ok" and seconds is not None and (cutoff is None or seconds < cutoff)
    if solved:
        run.status = "completed"
    else:
        run.status = "timeout" if how in ("ok", "timeout") else "failed"
    par10 = seconds if solved else None if cutoff is None else 10 * cutoff
    if not solved and cutoff is not None:
        seconds = cutoff if seconds is None else min(seconds, cutoff)
    run.duration_s, run.success = seconds, solved
    run.utility = None if par10 is None or not cutoff else 1 - par10 / (10 * cutoff)


def _costs(file: Path, log: Log) -> dict[str, float]:
    """Summed feature cost per instance; a missing cost counts 0, as the scenarios' protocol has it."""
    found: dict[str, float] = {}
    for _, row in _rows(file, log):
        values = (_number(row[name]) for name in row if name not in ("instance_id", "repetition"))
        found.setdefault(row["instance_id"], sum(value for value in values if value is not None))
    return found


def _tasks(scenario: str, costs: dict[str, float], file: Path, log: Log) -> Iterator[Task]:
    previous = None
    for _, row in _rows(file, log):
        task = row["instance_id"]
        if task == previous:  # repetitions of one instance are neighbours; the first stands for all
            log.notes["repeated feature rows (first one used)"] += 1
            continue
        previous = task
        features = {k: _number(v) for k, v in row.items() if k not in ("instance_id", "repetition")}
        yield Task(
            task=task,
            group=scenario,
            task_type=scenario,
            feature_cost_s=costs.get(task, 0.0),
            features=features,
        )


def _rows(file: Path, log: Log) -> Iterator[tuple[int, dict[str, str]]]:
    """Stream an ARFF file: ``(line, {attribute: cell})``, cells as text, ``?`` as it stands."""
    names: list[str] = []
    in_data = False
    for line, content in log.lines(file):
        content = content.strip()
        if content.startswith("%"):
            continue
        if not in_data:
            if match := _ATTRIBUTE.match(content):
                names.append(next(name for name in match.groups() if name is not None))
            elif content.lower().startswith("@data"):
                in_data = True
            elif not content.lower().startswith("@relation"):
                log.reject(file, line, "neither @relation, @attribute nor @data")
            continue
        try:
            cells = next(csv.reader([content], quotechar="'" if "'" in content else '"', skipinitialspace=True))
        except csv.Error as error:
            log.reject(file, line, f"not comma-separated: {error}")
            continue
        if len(cells) != len(names):
            log.reject(file, line, f"{len(names)} cells are wanted, here are {len(cells)}")
        elif not cells[names.index("instance_id")].strip():
            log.reject(file, line, "the instance has no name")
        else:
            yield line, dict(zip(names, (cell.strip() for cell in cells), strict=True))


def _attributes(part: str, file: Path) -> list[str]:
    """The attributes that an ARFF file declares.

    :raises InputError: the header lacks one that is read, or no data section follows.
    """
    names: list[str] = []
    for line, content in Log().lines(file):
        if content.lower().startswith("@data"):
            if missing := [name for name in _WANTED[part] if name not in names]:
                raise InputError(f"{file}:{line}: the attribute {missing[0]} is missing")
            return names
        if match := _ATTRIBUTE.match(content.strip()):
            names.append(next(name for name in match.groups() if name is not None))
    raise InputError(f"{file}: no @data section: this is not ARFF, or it is cut short")


def _description(file: Path, log: Log) -> dict[str, str]:
    """The ``key: value`` lines of description.txt; of a list, ``[a, b]`` or ``- a`` lines below the key, the first."""
    found: dict[str, str] = {}
    key = ""
    for _, content in log.lines(file):
        item = re.match(r"\s*-\s+(.*)", content)
        pair = re.match(r"(\w+):\s*(.*)", content)
        if pair:
            key = pair.group(1)
            found[key] = _first(pair.group(2))
        elif item and key and not found[key]:
            found[key] = _first(item.group(1))
    wanted = (
        "scenario_id",
        "algorithm_cutoff_time",
        "performance_measures",
        "performance_type",
        "maximize",
        "features_cutoff_time",
    )
    return {name: found[name] for name in wanted if name in found}


def _first(value: str) -> str:
    """The first item of an inline list, or the value itself, without quotes."""
    value = value.strip()
    return (value[1:-1].split(",")[0] if value.startswith("[") else value).strip().strip("'\"")


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _find(folder: Path, part: str) -> Path | None:
    for name in (f"{part}.arff", f"{part}.arff.gz"):
        if (folder / name).is_file():
            return folder / name
    return None
