"""ASlib algorithm selection scenarios: run times of several algorithms on the same instances.

Source: Bischl et al., "ASlib: A Benchmark Library for Algorithm Selection", 2016; https://www.aslib.net. A
scenario is a folder with ``algorithm_runs.arff``, ``feature_values.arff``, ``cv.arff`` and optionally
``feature_costs.arff`` (each plain or .gz) and ``description.txt``. A run is solved (``success``) when its
status is ok and its time is below the cutoff. An unsolved run's ``duration_s`` is what it took, at most the
cutoff, which is in ``requested_s``; PAR10 is ``duration_s`` where solved and ``10 * requested_s`` elsewhere,
and ``utility = 1 - PAR10 / (10 * cutoff)``.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path

from claude_flow.data.events import Fold, Record, Run, Task, text
from claude_flow.data.lines import Log, peek
from claude_flow.errors import InputError

KIND = "aslib"

_PARTS = ("algorithm_runs", "feature_values", "feature_costs", "cv")
_ATTRIBUTE = re.compile(r"@attribute\s+(?:'([^']*)'|\"([^\"]*)\"|(\S+))\s+\S", re.IGNORECASE)
_TIME_COLUMNS = ("runtime", "par10")


def files(path: Path) -> list[Path]:
    """A scenario's ARFF files and its description, or those of every scenario in a folder of scenarios."""
    if not path.is_dir():
        return []
    if _find(path, "algorithm_runs") is None:
        return [file for folder in sorted(path.iterdir()) if _is_scenario(folder) for file in files(folder)]
    parts = (_find(path, part) for part in _PARTS)
    description = path / "description.txt"
    return [file for file in parts if file] + ([description] if description.is_file() else [])


def read(path: Path, files: list[Path], log: Log) -> Iterator[Record]:
    """Yield runs, tasks with their features, and folds of each scenario."""
    for folder in dict.fromkeys(file.parent for file in files):
        parts = {part: file for part in _PARTS if (file := _find(folder, part)) in files and file is not None}
        description = folder / "description.txt"
        header = _description(description, log) if description in files else {}
        cutoff = _number(header.get("algorithm_cutoff_time", ""))
        scenario = header.get("scenario_id") or folder.name
        log.header[scenario] = header
        yield from _runs(scenario, cutoff, parts["algorithm_runs"], log)
        if "feature_values" in parts:
            costs = _costs(parts["feature_costs"], log) if "feature_costs" in parts else {}
            yield from _tasks(scenario, costs, parts["feature_values"], log)
        if "cv" in parts:
            for line, row in _rows(parts["cv"], ("instance_id", "repetition", "fold"), log):
                repetition, fold = _number(row["repetition"]), _number(row["fold"])
                if repetition is None or fold is None or max(repetition, fold) > 1e9:
                    log.reject(parts["cv"], line, "the repetition or the fold is no number")
                else:
                    yield Fold(group=scenario, task=row["instance_id"], repetition=int(repetition), fold=int(fold))


def _runs(scenario: str, cutoff: float | None, file: Path, log: Log) -> Iterator[Run]:
    for line, row in _rows(file, ("instance_id", "repetition", "algorithm", "runstatus"), log):
        time_column = next((name for name in row if name.lower() in _TIME_COLUMNS), None)
        if time_column is None:
            raise InputError(f"{file}: no column {' or '.join(_TIME_COLUMNS)}")
        seconds = _number(row[time_column])
        ended_well = row["runstatus"].lower() == "ok"
        if ended_well and (seconds is None or seconds < 0):
            log.reject(file, line, "a run that ended well has no run time")
            continue
        solved = ended_well and seconds is not None and (cutoff is None or seconds < cutoff)
        if solved:
            status = "completed"
        else:
            status = "timeout" if ended_well or row["runstatus"].lower() == "timeout" else "failed"
        par10 = seconds if solved else None if cutoff is None else 10 * cutoff
        if not solved and cutoff is not None:
            seconds = cutoff if seconds is None else min(seconds, cutoff)
        task, agent = row["instance_id"], row["algorithm"]
        yield Run(
            run_id=f"{scenario}/{task}/{agent}/{row['repetition']}",
            source=KIND,
            group=scenario,
            agent=text(agent),
            agent_type="algorithm",
            task=text(task),
            task_type=scenario,
            duration_s=seconds,
            status=status,
            success=solved,
            utility=None if par10 is None or not cutoff else 1 - par10 / (10 * cutoff),
            requested_s=cutoff,
        )


def _costs(file: Path, log: Log) -> dict[str, float]:
    """Summed feature cost per instance; a missing cost counts 0, as the scenarios' protocol has it."""
    found: dict[str, float] = {}
    for _, row in _rows(file, ("instance_id",), log):
        values = (_number(row[name]) for name in row if name not in ("instance_id", "repetition"))
        found.setdefault(row["instance_id"], sum(value for value in values if value is not None))
    return found


def _tasks(scenario: str, costs: dict[str, float], file: Path, log: Log) -> Iterator[Task]:
    previous = None
    for _, row in _rows(file, ("instance_id",), log):
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


def _rows(file: Path, wanted: tuple[str, ...], log: Log) -> Iterator[tuple[int, dict[str, str]]]:
    """Stream an ARFF file: ``(line, {attribute: cell})``, cells as text, ``?`` as it stands.

    :raises InputError: the header lacks a wanted attribute, or no data section follows.
    """
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
                if missing := [name for name in wanted if name not in names]:
                    raise InputError(f"{file}:{line}: the attribute {missing[0]} is missing")
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
    if not in_data:
        raise InputError(f"{file}: no @data section: this is not ARFF, or it is cut short")


def _description(file: Path, log: Log) -> dict[str, str]:
    """The ``key: value`` lines of description.txt; a value alone on the next line as ``- value``."""
    found: dict[str, str] = {}
    key = ""
    for _, content in log.lines(file):
        item = re.match(r"\s*-\s+(.*)", content)
        pair = re.match(r"(\w+):\s*(.*)", content)
        if pair:
            key = pair.group(1)
            found[key] = pair.group(2).strip().strip("'\"")
        elif item and key and not found[key]:
            found[key] = item.group(1).strip().strip("'\"")
    wanted = (
        "scenario_id",
        "algorithm_cutoff_time",
        "performance_measures",
        "maximize",
        "features_cutoff_time",
    )
    return {name: found[name] for name in wanted if name in found}


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


def _is_scenario(folder: Path) -> bool:
    if not folder.is_dir() or (runs := _find(folder, "algorithm_runs")) is None:
        return False
    return any(line.lower().startswith("@") for line in peek(runs))
