"""From logs to a dataset of tables: read, cut to a timeframe, filter, anonymize, write."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from claude_flow.data.anonymize import Anonymizer
from claude_flow.data.events import Run, Step, moment
from claude_flow.data.lines import Log
from claude_flow.data.people import People
from claude_flow.data.quality import QualityFilter
from claude_flow.data.sources import Source, detect
from claude_flow.data.tables import writing
from claude_flow.errors import InputError
from claude_flow.values import duration

__all__ = ["Timeframe", "collect", "swarm_logs"]


@dataclass(slots=True)
class Timeframe:
    """Which runs count by when they start: ``since <= start < until``; counts what it leaves out."""

    spelled: str
    since: datetime | None = None
    until: datetime | None = None
    outside: int = 0
    undated: int = 0
    earliest: datetime | None = field(default=None)
    latest: datetime | None = field(default=None)

    @classmethod
    def parse(cls, spelled: str, now: datetime) -> Timeframe:
        """``30d`` (any duration) before ``now``, ``2026-01-01..2026-02-01`` (UTC, end excluded), or ``all``.

        >>> Timeframe.parse("30d", datetime(2026, 1, 31)).since
        datetime.datetime(2026, 1, 1, 0, 0)
        """
        wanted = spelled.strip()
        if wanted == "all":
            return cls(wanted)
        first, dots, last = wanted.partition("..")
        if not dots:
            try:
                return cls(wanted, since=now - timedelta(seconds=duration(wanted)))
            except OverflowError:
                return cls(wanted)  # reaches back beyond the first year: everything
            except InputError as error:
                raise InputError(f"timeframe: {error}, a range 2026-01-01..2026-02-01, or all") from None
        bounds = [moment(f"{end}T00:00:00" if len(end) == 10 else end) if end else None for end in (first, last)]
        if not any(bounds) or [b is None for b in bounds] != [not first, not last]:
            raise InputError(f"timeframe {spelled!r}: write a range as 2026-01-01..2026-02-01")
        since, until = bounds
        if since is not None and until is not None and since >= until:
            raise InputError(f"timeframe {spelled!r} ends before it begins")
        return cls(wanted, since, until)

    def keeps(self, run: Run) -> bool:
        """Whether the run starts inside; the time of submission or the end stands in for an unknown start."""
        at = run.start or run.submitted or run.end
        if at is not None:
            self.earliest = at if self.earliest is None else min(self.earliest, at)
            self.latest = at if self.latest is None else max(self.latest, at)
        if self.since is None and self.until is None:
            return True
        if at is None:
            self.undated += 1
            return False
        inside = (self.since is None or at >= self.since) and (self.until is None or at < self.until)
        self.outside += not inside
        return inside


def collect(
    sources: Iterable[str | Path],
    out: str | Path,
    *,
    timeframe: str = "all",
    quality_filter: str = "medium",
    anonymize: bool = False,
    names_model: str | None = None,
    bad_line_share: float = 0.01,
    progress: Callable[[int, int], None] | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Read logs of any known format and write one dataset of tables; return its manifest.

    Streams: memory grows with the number of ids, not with the size of the logs. ``out`` is replaced when it
    is a dataset already and complete only when this returns.

    :param sources: log files or folders, each of one format, recognised by
        :func:`claude_flow.data.sources.detect`.
    :param names_model: a spaCy model with which :class:`claude_flow.data.people.People` finds names in prose
        beside the rules of anonymization.
    :param bad_line_share: a source is refused when more than this share of its lines, and more than one line,
        cannot be used.
    :param progress: called with (bytes read, bytes in all) as the files, compressed or not, are read.
    :raises InputError: a source is missing, unknown or too corrupt; nothing is left after the filters.
    :raises ClaudeFlowError: the dataset cannot be written.
    """
    now = now or datetime.now(timezone.utc)
    window = Timeframe.parse(timeframe, now)
    quality = QualityFilter(quality_filter, now)
    if names_model and not anonymize:
        raise InputError("a names model is used while anonymizing only: give --anonymize-sensitive true too")
    names = Anonymizer(people=People(names_model) if names_model else None) if anonymize else None
    if not 0 <= bad_line_share <= 1:
        raise InputError(f"bad-line share {bad_line_share}: a number between 0 and 1 is wanted")
    paths = dict.fromkeys(Path(path).expanduser() for path in sources)
    found = [(path, *detect(path)) for path in paths]
    if not found:
        raise InputError("no source is named: give at least one log file or folder")
    total = sum(_size(file) for _, _, files in found for file in files)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(min(done, total), total)

    described: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    rejected_total = lines_total = runs_read = 0
    notes: Counter[str] = Counter()
    first: datetime | None = None
    last: datetime | None = None
    with writing(Path(out)) as writer:
        for path, source, files in found:
            log = Log(advance)
            kept_run = None
            for record in source.read(path, files, log):
                if isinstance(record, Run):
                    runs_read += 1
                    kept_run = record.run_id if window.keeps(record) and quality.keeps(record) else None
                    if kept_run is None:
                        continue
                    if (at := record.start or record.submitted or record.end) is not None:
                        first = at if first is None else min(first, at)
                        last = at if last is None else max(last, at)
                elif isinstance(record, Step) and record.run_id != kept_run:
                    continue
                if names is not None:
                    names.record(record)
                writer.write(record)
            _refuse_if_corrupt(path, log, bad_line_share)
            described.append(_described(path, source, files, log))
            rejected += log.rejected[: 100 - len(rejected)]
            rejected_total += log.rejected_total
            lines_total += log.lines_total
            notes += log.notes
        rows = writer.rows()
        if not rows.get("runs") and (runs_read or not rows):
            raise InputError(_nothing_left(found, runs_read, window, quality))
        manifest = {
            "format": 1,
            "kind": "tables",
            "name": Path(out).name,
            "created": now.isoformat(timespec="seconds"),
            "sources": described,
            "time_range": [None if at is None else at.isoformat() for at in (first, last)],
            "rejected": rejected,
            "rejected_total": rejected_total,
            "lines_total": lines_total,
            "notes": dict(sorted(notes.items())),
            "filters": {
                "timeframe": window.spelled,
                "outside_timeframe": window.outside,
                "without_time": window.undated,
                "quality": quality_filter,
                "dropped": dict(quality.dropped),
                "runs_read": runs_read,
                "anonymized": None if names is None else dict(names.replaced),
                "names_model": None if names_model is None else Path(names_model).name,
            },
        }
        if names is not None:
            manifest = {**manifest, **{k: names.tree(manifest[k]) for k in ("sources", "rejected", "notes")}}
        if progress is not None:
            progress(total, total)
        return writer.finish(manifest)


def swarm_logs(workspace: Path) -> list[Path]:
    """What ``--source swarm-logs`` means: Claude Code's projects and the workspace's own ``events/*.jsonl``.

    :raises InputError: neither exists on this machine.
    """
    home = Path(os.environ.get("CLAUDE_CONFIG_DIR") or "~/.claude").expanduser()
    found = [path for path in (home / "projects", workspace / "events") if path.is_dir() and any(path.iterdir())]
    if not found:
        raise InputError(
            f"no swarm logs: neither {home / 'projects'} nor {workspace / 'events'} holds any: name a log with --source"
        )
    return found


def _refuse_if_corrupt(path: Path, log: Log, bad_line_share: float) -> None:
    if log.rejected_total > max(1.0, bad_line_share * log.lines_total):
        worst = log.rejected[0]
        raise InputError(
            f"{path}: {log.rejected_total} of {log.lines_total} lines cannot be used "
            f"({worst['file']}:{worst['line']}: {worst['reason']}): repair it or raise --bad-line-share "
            f"above {bad_line_share:g}"
        )


def _described(path: Path, source: Source, files: list[Path], log: Log) -> dict[str, Any]:
    """A source's place in the manifest; its hash covers every file that was read, names included."""
    base = path if path.is_dir() else path.parent
    if len(files) == 1 and not path.is_dir():
        digest = log.hashes.get(str(files[0]), "")
    else:
        lines = sorted(f"{log.hashes.get(str(file), '-')}  {os.path.relpath(file, base)}" for file in files)
        digest = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    described: dict[str, Any] = {
        "path": str(path),
        "kind": source.KIND,
        "files": len(files),
        "bytes": sum(_size(file) for file in files),
        "sha256": digest,
        "lines": log.lines_total,
        "rejected": log.rejected_total,
    }
    return {**described, "header": log.header} if log.header else described


def _nothing_left(
    found: list[tuple[Path, Source, list[Path]]], runs_read: int, window: Timeframe, quality: QualityFilter
) -> str:
    where = ", ".join(str(path) for path, _, _ in found)
    if not runs_read:
        return f"{where}: the logs hold no run of any agent"
    if window.undated == runs_read:
        return f"{where}: the {runs_read} runs carry no time of day: use --timeframe all"
    if window.outside + window.undated == runs_read and window.earliest and window.latest:
        span = f"{window.earliest:%Y-%m-%d} and {window.latest:%Y-%m-%d}"
        return (
            f"{where}: none of the {runs_read} runs lies in the timeframe {window.spelled}, "
            f"they start between {span}: choose a longer --timeframe, or all"
        )
    rules = ", ".join(f"{name} {count}" for name, count in quality.dropped.items())
    return f"{where}: the filters leave none of the {runs_read} runs ({rules}): choose a lower --quality-filter"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error
