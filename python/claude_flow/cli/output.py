"""The one sink of the command line: results, notes, progress, and errors as messages with exit codes.

Standard output carries the result alone, standard error everything else. On a terminal a result is a rich
table; piped, it is plain aligned text without colour; ``--format json`` writes the result's own dictionary.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import click

from claude_flow.errors import ClaudeFlowError, Interrupted, MissingExtra
from claude_flow.values import plain

if TYPE_CHECKING:
    from rich.console import RenderableType

    from claude_flow.report import Progress

__all__ = ["FORMATS", "Bar", "Output", "Table", "explain"]

FORMATS = ("table", "json", "quiet")
# Title, column names (all empty: no line for them), rows.
Table = tuple[str, Sequence[str], Sequence[Sequence[Any]]]


def explain(error: BaseException) -> tuple[str, int]:
    """The one-line message and the exit code of an error: the only such map in the program.

    >>> explain(MemoryError())
    ('out of memory', 1)
    """
    match error:
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "claude-flow"
            message, code = f"{error.format_message()} (see {path} --help)", 2
        case click.ClickException():
            message, code = error.format_message(), error.exit_code
        case ClaudeFlowError():
            message, code = str(error), error.exit_code
        case Interrupted():
            message, code = str(error) or "interrupted", 128 + error.number
        case KeyboardInterrupt() | click.Abort():
            message, code = "interrupted", 130
        case BrokenPipeError():
            message, code = "", 141
        case MemoryError():
            message, code = "out of memory", 1
        case ModuleNotFoundError(name=str(name)) if name.partition(".")[0] == "torch":  # some files import it plainly
            message, code = str(MissingExtra("torch", "train")), 1
        case OSError(strerror=str(reason)):
            where = f"{os.fspath(error.filename)}: " if error.filename else ""
            message, code = where + ("disk full" if error.errno == errno.ENOSPC else reason), 1
        case OSError() if str(error):  # of a library that knows the reason in words only
            message, code = str(error), 1
        case _:
            kind, detail = type(error).__name__, str(error)
            message, code = (
                f"internal error: {kind}{': ' if detail else ''}{detail} (run again with --debug)",
                1,
            )
    return _clean(" ".join(message.split())), code


class Bar(Protocol):
    """A running progress bar; ``update`` may be called from any thread, as often as one likes."""

    def update(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say that ``done`` of ``total`` (default: as given at the start) is done."""


class Output:
    """Where a command writes. ``--format`` and ``--debug`` set the fields; commands call the methods.

    >>> Output().result({"answer": 1}, [("Answer", ["name", "value"], [["answer", 1]])])
    Answer
    name    value
    answer      1
    """

    def __init__(self) -> None:
        self.format = FORMATS[0]
        self.debug = False
        self.exit_code = 0
        self.value: Any = None  # of the last result

    def result(self, value: Any, tables: Sequence[Table]) -> None:
        """Write the result once: ``value`` as JSON, or ``tables``, as ``--format`` says.

        In ``value`` numpy scalars and arrays, tuples and paths become plain JSON; a float that is not finite
        becomes null.
        """
        self.value = value
        if self.format == "json":
            escaped = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "") != "utf8"
            print(json.dumps(plain(value), indent=2, ensure_ascii=escaped))  # \U0001f680 of backslashreplace is no JSON
        elif self.is_interactive:
            _print_rich(tables)
        elif self.format == "table":
            print("\n\n".join(_plain_table(table) for table in tables))

    @property
    def is_interactive(self) -> bool:
        """Whether a result goes to a person's terminal, which a live picture may redraw."""
        return self.format == "table" and _is_terminal(sys.stdout)

    def live(self, pictures: Iterable[RenderableType]) -> None:
        """Show each picture in the place of the one before, the last one for good; Ctrl-C leaves."""
        from rich.live import Live

        with contextlib.suppress(KeyboardInterrupt), Live(auto_refresh=False, vertical_overflow="crop") as shown:
            for picture in pictures:
                shown.update(picture, refresh=True)

    def note(self, text: str) -> None:
        """Write a line about the work to standard error, unless quiet."""
        if self.format != "quiet":
            click.echo(_clean(text), err=True)

    def warn(self, text: str) -> None:
        """Write a line that the user should not miss to standard error."""
        click.echo(f"warning: {_clean(text)}", err=True)

    @contextlib.contextmanager
    def progress(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        """A progress bar on standard error, or a line now and then if that is no terminal; ``unit`` "bytes" prints
        sizes."""
        if self.format == "quiet" or sys.stderr is None:
            yield _NoBar()
            return
        if not _is_terminal(sys.stderr):
            lines = _Lines(_clean(label), total, unit)
            try:
                yield lines
            finally:
                lines.end()
            return
        from rich import progress
        from rich.console import Console

        amount: progress.ProgressColumn = (
            progress.DownloadColumn()
            if unit == "bytes"
            else progress.TextColumn("{task.completed:.0f}/{task.fields[of]} {task.fields[unit]}")
        )
        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            amount,
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[note]}", markup=False),
        )
        with progress.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task(_clean(label), total=total, note="", unit=unit, of=_count(total))
            yield _RichBar(shown, task)

    @contextlib.contextmanager
    def share(self, label: str) -> Iterator[Progress]:
        """The same for work that tells its share: what it yields is the work's ``progress``."""
        with self.progress(label, 100, "%") as bar:
            yield lambda done, what: bar.update(100 * done, note=what)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Turn every exception of the body into a message on standard error and ``exit_code``."""
        for name in ("SIGTERM", "SIGHUP"):  # end as Ctrl-C does: what is open is closed, what is half written removed
            number = getattr(signal, name, None)
            if number and _is_main() and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _end)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # an agent's name need not fit the terminal's encoding
                stream.reconfigure(encoding=_encoding(stream), errors="backslashreplace")
        try:
            try:
                yield
            except click.exceptions.Exit as done:
                self.exit_code = done.exit_code
            if sys.stdout is not None:
                sys.stdout.flush()
        except BaseException as error:
            if self.debug:
                traceback.print_exc()
            message, self.exit_code = explain(error)
            with contextlib.suppress(OSError):
                if message:
                    click.echo(f"error: {message}", err=True)
        _discard_unwritable(sys.stdout)


def _encoding(stream: TextIO) -> str:
    """UTF-8 in place of a code page, as of Windows' pipes and files, unless the user asked for it by its name."""
    is_code_page = stream.encoding.lower().startswith("cp") and "PYTHONIOENCODING" not in os.environ
    return "utf-8" if is_code_page else stream.encoding


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _end(number: int, frame: Any) -> None:
    raise Interrupted(number)


class _NoBar:
    def update(self, done: float, total: float | None = None, note: str = "") -> None:
        """Nothing to show."""


class _Lines:
    """Progress where no bar can be drawn: a line after a second and a half, then ever more seldom, told by a thread,
    so that also work which tells nothing is heard of."""

    def __init__(self, label: str, total: float | None, unit: str) -> None:
        self._label, self._unit = label, unit
        self._done, self._total, self._note = 0.0, total, ""
        self._ended = threading.Event()
        self._begin = time.monotonic()
        threading.Thread(target=self._run, daemon=True).start()

    def update(self, done: float, total: float | None = None, note: str = "") -> None:
        """Remember it for the next line."""
        self._done, self._note = done, note
        if total is not None:
            self._total = total

    def end(self) -> None:
        """Say no more."""
        self._ended.set()

    def _run(self) -> None:
        pause = 1.5
        while not self._ended.wait(pause):
            seconds = time.monotonic() - self._begin
            bits = self._unit == "bytes"
            done, total = (f"{n / 1e6:.0f} MB" if bits else f"{n:g}" for n in (round(self._done, 1), self._total or 0))
            part = f" {done} of {total if self._total else '?'} {'' if bits else self._unit}".rstrip()
            with contextlib.suppress(OSError, ValueError):  # a reader that went away is the main thread's to notice
                click.echo(f"... {self._label}:{part}, {seconds:.0f} s  {_clean(self._note)}".rstrip(), err=True)
            pause = min(60.0, 2 * seconds)


class _RichBar:
    def __init__(self, shown: Any, task: Any) -> None:
        self._shown, self._task = shown, task

    def update(self, done: float, total: float | None = None, note: str = "") -> None:
        fields: dict[str, Any] = {} if total is None else {"total": total, "of": _count(total)}
        self._shown.update(self._task, completed=done, note=_clean(note), **fields)


def _count(total: float | None) -> str:
    return "?" if total is None else f"{total:.0f}"


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _discard_unwritable(stream: TextIO | None) -> None:
    """Point a stream that cannot be flushed at nothing, or the interpreter complains about it at its exit."""
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno() if stream else 1)


# Cells --------------------------------------------------------------------------------------------------


def _clean(text: str) -> str:
    """``text`` without control characters, so that a hostile log cannot drive the terminal."""
    return "".join(char if char.isprintable() or char == " " else ascii(char)[1:-1] for char in text)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value)
    return _clean(str(value))


def _columns(table: Table) -> list[tuple[str, list[str], bool]]:
    """Per column: its name, its cells as text, whether it is numeric (then aligned to the right)."""
    _, names, rows = table
    found = []
    for index, name in enumerate(names):
        values = [row[index] for row in rows]
        numeric = bool(values) and all(
            value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in values
        )
        found.append((name, [_cell(value) for value in values], numeric))
    return found


def _plain_table(table: Table) -> str:
    lines = [""] * (len(table[2]) + 1)
    for name, cells, numeric in _columns(table):
        width = max(map(len, [name, *cells]))
        for index, text in enumerate([name, *cells]):
            lines[index] += (text.rjust(width) if numeric else text.ljust(width)) + "  "
    return "\n".join([_clean(table[0]), *(line.rstrip() for line in lines[not any(table[1]) :])])


def _print_rich(tables: Sequence[Table]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    for table in tables:
        shown = RichTable(title=Text(_clean(table[0])), title_justify="left", box=box.ROUNDED, header_style="bold")
        shown.show_header = any(table[1])
        columns = _columns(table)
        for name, _, numeric in columns:
            shown.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
        for cells in zip(*(cells for _, cells, _ in columns), strict=True):
            shown.add_row(*map(Text, cells))
        console.print(shown)
