"""From logs to a dataset of tables: read, cut to a timeframe, filter, anonymize, write."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from claude_flow.data.anonymize import Anonymizer
from claude_flow.data.events import MAIN_THREAD, Record, Run, Step, moment
from claude_flow.data.lines import Log
from claude_flow.data.people import People
from claude_flow.data.quality import QualityFilter
from claude_flow.data.sources import SOURCES, UNKNOWN, Detected, Source, detect
from claude_flow.data.tables import DatasetWriter, writing
from claude_flow.errors import InputError
from claude_flow.report.progress import Progress, nothing
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
    main_thread: bool | None = None,
    anonymize: bool = False,
    names_model: str | None = None,
    bad_line_share: float = 0.01,
    progress: Progress = nothing,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Read logs of any known format and write one dataset of tables; return its manifest.

    Streams: memory grows with the number of ids, not with the size of the logs. ``out`` is replaced when it
    is a dataset already and complete only when this returns.

    :param sources: log files or folders, recognised file by file by :func:`claude_flow.data.sources.detect`.
    :param main_thread: whether a session's own runs count, one per request of its user; None: where its log holds no
        other run.
    :param names_model: a spaCy model with which :class:`claude_flow.data.people.People` finds names in prose
        beside the rules of anonymization.
    :param bad_line_share: a source is refused when more than this share of its lines, and more than one line,
        cannot be used; see :meth:`claude_flow.data.lines.Log.refusal`.
    :param progress: told the share of the bytes that is read, of files compressed or not.
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
    found = [_detected(path) for path in dict.fromkeys(map(_path, sources))]
    if not found:
        raise InputError("no source is named: give at least one log file or folder")
    total = sum(_size(file) for _, part in found for _, files in part.parts for file in files)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(min(1.0, done / max(total, 1)), f"{min(done, total) / 1e6:.0f} of {total / 1e6:.0f} MB")

    described: list[dict[str, Any]] = []
    whole = Log()  # the account of all sources
    with writing(Path(out)) as writer:
        sieve = _Sieve(window, quality, main_thread, names, writer)
        for path, detected in found:
            for file, reason in detected.left_out:
                whole.leave_out(file, reason)
            for source, files in detected.parts:
                log = Log(advance)
                try:
                    for record in source.read(path, files, log):
                        sieve.take(record)
                except InputError as error:
                    if len(detected.parts) == 1:
                        raise
                    log.leave_out(path, str(error))
                sieve.end_source(log)
                if refusal := log.refusal(bad_line_share):
                    raise InputError(f"{path}: {refusal}: repair it or raise --bad-line-share above {bad_line_share:g}")
                described.append(_described(path, source, files, log))
                whole.add(log)
        rows = writer.rows()
        if not rows.get("runs") and (sieve.runs_read or not rows):
            raise InputError(_nothing_left([path for path, _ in found], sieve))
        manifest = {
            "format": 1,
            "kind": "tables",
            "name": Path(out).name,
            "created": now.isoformat(timespec="seconds"),
            "sources": described,
            "time_range": [None if at is None else at.isoformat() for at in (sieve.first, sieve.last)],
            "rejected": whole.rejected,
            "rejected_total": whole.rejected_total,
            "left_out": whole.left_out,
            "left_out_total": whole.left_out_total,
            "lines_total": whole.lines_total,
            "notes": dict(sorted(whole.notes.items())),
            "filters": {
                "timeframe": window.spelled,
                "outside_timeframe": window.outside,
                "without_time": window.undated,
                "quality": quality_filter,
                "dropped": dict(quality.dropped),
                "runs_read": sieve.runs_read,
                "main_thread": main_thread,
                "anonymized": None if names is None else dict(names.replaced),
                "names_model": None if names_model is None else Path(names_model).name,
            },
        }
        if names is not None:
            told = ("sources", "rejected", "left_out", "notes")
            manifest = {**manifest, **{k: names.tree(manifest[k]) for k in told}}
        progress(1.0, "")
        return writer.finish(manifest)


@dataclass(slots=True)
class _Sieve:
    """Lets the records that stay through to the tables, and counts."""

    window: Timeframe
    quality: QualityFilter
    main_thread: bool | None
    names: Anonymizer | None
    writer: DatasetWriter
    runs_read: int = 0
    first: datetime | None = None
    last: datetime | None = None
    left_to_main: int = 0  # main threads' runs that were left out
    _kept: str | None = None  # the run at hand, where it stays
    _is_own: bool = False  # the run at hand is a main thread's
    _others: bool = False  # the source has other runs
    _held: list[Record] = field(default_factory=list)  # main threads' records, until it is known whether it has

    def take(self, record: Record) -> None:
        """Write the record, hold it back, or leave it out; a step shares the fate of the run before it."""
        if isinstance(record, Run):
            self._is_own = record.agent_type == MAIN_THREAD
            if not self._is_own and not self._others:
                self._others = True
                self.left_to_main += sum(isinstance(held, Run) for held in self._held)
                self._held.clear()
        if not self._is_own or self.main_thread or not isinstance(record, Run | Step):
            self._take(record)
        elif self.main_thread is None and not self._others:
            self._held.append(record)
        else:
            self.left_to_main += isinstance(record, Run)

    def end_source(self, log: Log) -> None:
        """Let through what was held back, where nothing else came, and forget about the source."""
        for record in self._held:
            self._take(record)
        if own := sum(isinstance(record, Run) for record in self._held):
            log.notes["requests to a main thread (they are the runs, as no subagent ran)"] += own
        if self.left_to_main and self.main_thread is None:
            log.notes["requests to a main thread (left out beside subagents; --main-thread true keeps them)"] += (
                self.left_to_main
            )
            self.left_to_main = 0
        self._is_own = self._others = False
        self._held.clear()

    def _take(self, record: Record) -> None:
        if isinstance(record, Run):
            self.runs_read += 1
            stays = self.window.keeps(record) and self.quality.keeps(record)
            self._kept = record.run_id if stays else None
            if not stays:
                return
            if (at := record.start or record.submitted or record.end) is not None:
                self.first = at if self.first is None else min(self.first, at)
                self.last = at if self.last is None else max(self.last, at)
        elif isinstance(record, Step) and record.run_id != self._kept:
            return
        if self.names is not None:
            self.names.record(record)
        self.writer.write(record)


def swarm_logs(workspace: Path) -> list[Path]:
    """What ``--source swarm-logs`` means: Claude Code's projects and the workspace's own ``events/*.jsonl``.

    Claude Code keeps its folder where ``$CLAUDE_CONFIG_DIR`` says, else in ``~/.claude`` or ``~/.config/claude``.

    :raises InputError: neither exists on this machine.
    """
    said = os.environ.get("CLAUDE_CONFIG_DIR") or ""
    homes = [home.strip() for home in said.split(",") if home.strip()]
    if not homes:
        homes = ["~/.claude", os.path.join(os.environ.get("XDG_CONFIG_HOME") or "~/.config", "claude")]
    places = [*(Path(home).expanduser() / "projects" for home in homes), workspace / "events"]
    found: dict[Path, Path] = {}  # by what a link leads to
    for place in places:
        with contextlib.suppress(OSError):
            if any(place.iterdir()):
                found.setdefault(place.resolve(), place)
    if not found:
        *most, last = map(str, places)
        raise InputError(f"no swarm logs: neither {', '.join(most)} nor {last} holds any: name a log with --source")
    return list(found.values())


def _path(source: str | Path) -> Path:
    if not str(source).strip():
        raise InputError("a source without a name: give a log file or folder, . for the current one")
    return Path(source).expanduser()


def _detected(path: Path) -> tuple[Path, Detected]:
    """What a source holds. :raises InputError: no log of any format."""
    found = detect(path)
    if found.parts:
        return path, found
    kinds = ", ".join(source.KIND for source in SOURCES)
    raise InputError(
        f"{path} holds no log of a known format ({kinds}){_summed(found.left_out)}: see docs/events.md for our own"
    )


def _summed(left_out: list[tuple[Path, str]]) -> str:
    """Why files were left out, where it is not that nobody knows them, as the end of a sentence."""
    reasons = Counter(reason for _, reason in left_out if reason != UNKNOWN)
    return "".join(f"; {count} {'files' if count > 1 else 'file'}: {reason}" for reason, count in reasons.items())


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


def _nothing_left(paths: list[Path], sieve: _Sieve) -> str:
    where, runs_read, window = ", ".join(map(str, paths)), sieve.runs_read, sieve.window
    if not runs_read and sieve.left_to_main:
        return f"{where}: no subagent ran, and the main thread's runs are left out: use --main-thread true"
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
    rules = ", ".join(f"{name} {count}" for name, count in sieve.quality.dropped.items())
    return f"{where}: the filters leave none of the {runs_read} runs ({rules}): choose a lower --quality-filter"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # gone, or never ours to see: reading it says so
        return 0
