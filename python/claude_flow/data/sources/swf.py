"""Standard Workload Format: one job per line, 18 numbers, header comments that start with ``;``.

Source: https://www.cs.huji.ac.il/labs/parallel/workload/swf.html (version 2.2). -1 means unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from claude_flow.data.events import Record, Run
from claude_flow.data.lines import Log, peek

KIND = "swf"

_FOREVER_S = 1e10  # 317 years: sums of three stay inside what a datetime holds
_HEADER = re.compile(r";\s*(\w+):\s*(.*)")
# 2 is a partial execution that will be continued, 3 and 4 are the last part of such a job.
_STATUS = {0: "failed", 1: "completed", 2: "censored", 3: "completed", 4: "failed", 5: "killed"}


def files(path: Path) -> list[Path]:
    """A file named ``*.swf`` or ``*.swf.gz``, a folder of them, or a file that begins like one."""
    if path.is_dir():
        return sorted(p for p in path.iterdir() if _is_named_swf(p))
    if _is_named_swf(path):
        return [path]
    content = [line for line in peek(path) if line.strip() and not line.lstrip().startswith(";")]
    return [path] if content and all(map(_numbers, content)) else []


def read(path: Path, files: list[Path], log: Log) -> Iterator[Record]:
    """Yield one run per job; the header goes to ``log.header``.

    Times are UTC from ``UnixStartTime`` (absent: unknown). Where the log has no waiting time (-1), as in
    LLNL-Atlas, ``queue_s`` is None and ``start`` is the time of submission.
    """
    for file in files:
        name = file.name.removesuffix(".gz").removesuffix(".swf")
        header: dict[str, str] = {}
        log.header[name] = header
        for line, content in log.lines(file):
            if content.lstrip().startswith(";"):
                if match := _HEADER.match(content.lstrip()):
                    key, value = match.groups()
                    header[key] = f"{header[key]}; {value.strip()}" if key in header else value.strip()
                continue
            fields = _numbers(content)
            if fields is None:
                log.reject(file, line, "18 numbers are wanted")
            elif fields[0] < 0 or not 0 <= fields[1] < _FOREVER_S or max(fields[2:4]) > _FOREVER_S:
                log.reject(file, line, "the job number, submit, wait or run time is out of range")
            else:
                yield _run(name, fields, _epoch(header))


def _run(log_name: str, fields: list[float], epoch: datetime | None) -> Run:
    known = [None if value < 0 else value for value in fields]
    job, submit, wait, duration, processors, cpu, memory_kb, asked_processors, asked_s, asked_kb = known[:10]
    status, user, group, executable, queue, partition = known[10:16]
    submitted = start = end = None
    if epoch is not None and submit is not None:
        submitted = epoch + timedelta(seconds=submit)
        start = submitted + timedelta(seconds=wait or 0.0)
        end = None if duration is None else start + timedelta(seconds=duration)
    state = None if status is None else _STATUS.get(int(status))
    return Run(
        run_id=f"{log_name}/{_label(job)}",
        source=KIND,
        group=log_name,
        agent=_label(user),
        task=_label(job),
        task_type=_label(executable),
        submitted=submitted,
        start=start,
        end=end,
        duration_s=duration,
        queue_s=wait,
        status=state,
        success=None if state in (None, "censored") else state == "completed",
        cpu_s=None if cpu is None or processors is None else cpu * processors,
        memory_mb=None if memory_kb is None or processors is None else memory_kb * processors / 1024,
        processors=processors,
        requested_s=asked_s,
        requested_processors=asked_processors,
        requested_memory_mb=(
            None if asked_kb is None or asked_processors is None else asked_kb * asked_processors / 1024
        ),
        user=_label(user),
        user_group=_label(group),
        executable=_label(executable),
        queue=_label(queue),
        partition=_label(partition),
    )


def _numbers(line: str) -> list[float] | None:
    parts = line.split()
    if len(parts) != 18:
        return None
    try:
        values = [float(part) for part in parts]
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None


def _label(value: float | None) -> str | None:
    return None if value is None else str(int(value))


def _epoch(header: dict[str, str]) -> datetime | None:
    seconds = header.get("UnixStartTime", "")
    if not re.fullmatch(r"\d{1,10}", seconds, re.ASCII):
        return None
    return datetime.fromtimestamp(int(seconds), timezone.utc)


def _is_named_swf(path: Path) -> bool:
    return path.is_file() and path.name.removesuffix(".gz").endswith(".swf")
