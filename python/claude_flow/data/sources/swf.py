"""Standard Workload Format: one job per line, 18 numbers, header comments that start with ``;``.

Source: https://www.cs.huji.ac.il/labs/parallel/workload/swf.html (version 2.2). -1 means unknown. Some archives write
more columns behind the 18: they are not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from claude_flow.data.events import Record, Run
from claude_flow.data.lines import Head, Log, stem

KIND = "swf"

_FOREVER_S = 1e10  # 317 years: sums of three stay inside what a datetime holds
_COLUMNS = 18
_HEADER = re.compile(r";\s*(\w+):\s*(.*)")
# 2 is a partial execution that will be continued, 3 and 4 are the last part of such a job.
_STATUS = {0: "failed", 1: "completed", 2: "censored", 3: "completed", 4: "failed", 5: "killed"}


def claims(head: Head) -> bool:
    """A file named ``*.swf`` or ``*.swf.gz``, or one that begins like one."""
    if head.path.name.removesuffix(".gz").endswith(".swf"):
        return True
    content = [line for line in head.lines if line.strip() and not line.lstrip().startswith(";")]
    return bool(content) and all(map(_numbers, content))


def read(path: Path, files: list[Path], log: Log) -> Iterator[Record]:
    """Yield one run per job; the header goes to ``log.header``.

    Times are UTC from ``UnixStartTime``. Without it, or where it is unknown, they count from 1970: the order of the
    jobs, their waits and what came before what are right, the date and the time of day are not. Where the log has no
    waiting time (-1), as in LLNL-Atlas, ``queue_s`` is None and ``start`` is the time of submission.
    """
    for file in files:
        name = stem(file)
        header: dict[str, str] = {}
        log.header[name] = header
        more = False
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
                more = more or len(content.split(None, _COLUMNS)) > _COLUMNS
                yield _run(name, fields, _epoch(header))
        if more:
            log.notes["logs with more than 18 columns (the others are not read)"] += 1
        if not _start_time(header):
            log.notes["logs without a start time (their times count from 1970)"] += 1


def _run(log_name: str, fields: list[float], epoch: datetime) -> Run:
    known = [None if value < 0 else value for value in fields]
    job, submit, wait, duration, processors, cpu, memory_kb, asked_processors, asked_s, asked_kb = known[:10]
    status, user, group, executable, queue, partition = known[10:16]
    submitted = epoch + timedelta(seconds=submit or 0.0)
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
    parts = line.split(None, _COLUMNS)[:_COLUMNS]
    try:
        values = [float(part) for part in parts]
    except ValueError:
        return None
    return values if len(values) == _COLUMNS and all(map(math.isfinite, values)) else None


def _label(value: float | None) -> str | None:
    return None if value is None else str(int(value))


def _epoch(header: dict[str, str]) -> datetime:
    return datetime.fromtimestamp(_start_time(header), timezone.utc)


def _start_time(header: dict[str, str]) -> int:
    """Seconds since 1970; 0 where nobody knows."""
    match = re.match(r"(\d{1,10})(?![\d.])", header.get("UnixStartTime", ""), re.ASCII)
    return int(match.group(1)) if match else 0
