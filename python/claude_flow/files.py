"""Files and folders that appear whole or not at all, locks between processes, and temporary folders that never pile up.

A temporary folder has a lock beside it, which the system lets go of when the process ends, however it ends. So what a
killed process left behind can be told from what is in use, and the next one that needs such a folder removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from claude_flow.errors import ClaudeFlowError, InputError

__all__ = ["atomic_folder", "atomic_write", "decoded", "locked", "printable", "read_text", "temporary_folder"]

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.(?P<kind>tmp|lock)", re.DOTALL)
_STALE_SECONDS = 3600.0  # a single file is written within this, or by no one
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


def read_text(path: Path) -> str:
    """The text of a file: UTF-8, with or without a byte order mark, or UTF-16 with one, as some shells write it.

    Raises:
        InputError: it cannot be read, or is no text.
    """
    try:
        return decoded(path.read_bytes(), printable(path))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if isinstance(error, InputError):
            raise
        raise InputError(f"{printable(path)}: {getattr(error, 'strerror', None) or error}") from None


def decoded(data: bytes, where: str) -> str:
    """What :func:`read_text` makes of the content of a file; ``where`` leads the message.

    >>> decoded("naïve".encode("utf-16"), "-"), decoded(b"\\xef\\xbb\\xbf{}", "-")
    ('naïve', '{}')
    """
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: byte {error.start}: not UTF-8 text") from None


def printable(path: Path | str) -> str:
    """A path as a message shows it."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write ``path`` (text as UTF-8) so that a reader, or a crash, sees the old file or the new one, whole.

    >>> with temporary_folder() as folder:
    ...     atomic_write(folder / "a" / "card.json", "{}")
    ...     (folder / "a" / "card.json").read_text()
    '{}'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        _rename(temporary, path)
    except OSError as error:
        error.filename = str(path)  # a failed write names no file, and the temporary one means nothing to a reader
        raise
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


@contextlib.contextmanager
def atomic_folder(target: Path, replace: bool = False) -> Iterator[Path]:
    """A new folder to fill, which becomes ``target`` if the body ends well and vanishes if it does not.

    With ``replace`` an existing ``target`` gives way, at the end; without, it is an InputError.
    """
    if target.exists() and not replace:
        raise InputError(f"{target} exists already")
    with temporary_folder(target) as temporary:
        folder = temporary / _NEW
        try:
            folder.mkdir()
            yield folder
            for file in [*folder.rglob("*"), folder]:
                _sync(file)
        except OSError as error:
            if error.errno in _FULL:  # a failed write names no file, or one that means nothing to a reader
                error.filename = str(target)
            raise
        if target.exists():
            _rename(target, temporary / _OLD)
        _rename(folder, target)
        _sync(target.parent)


_NEW, _OLD = "new", "old"
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


@contextlib.contextmanager
def temporary_folder(target: Path | None = None) -> Iterator[Path]:
    """A folder that is removed at the end: beside ``target`` (so on its disk, and a rename is atomic), by default where
    the system keeps such folders. What killed processes left in the same place is removed first."""
    import tempfile  # with what it imports, a tenth of the time of `--help`

    parent = Path(tempfile.gettempdir()) if target is None else target.parent
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    folder = _beside(parent / "claude-flow" if target is None else target)
    lock = folder.with_suffix(".lock")
    with locked(lock):
        try:
            folder.mkdir(0o700 if target is None else 0o777)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if os.name != "nt":  # there an open file cannot be removed: the next sweep does it
                lock.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, timeout: float = 10.0, message: str = "") -> Iterator[None]:
    """Hold the lock file ``path``, which one process at a time can; the file itself stays.

    Raises:
        ClaudeFlowError: another process held it for ``timeout`` seconds; with ``message``, that is said.
    """
    from filelock import FileLock, Timeout  # takes as long to load as all else: only where something is written

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout, poll_interval=0.02)
    except Timeout:
        held = f"{path}: another process holds this lock since {timeout:g} s: wait for it, or end it"
        raise ClaudeFlowError(message or held) from None
    try:
        yield
    finally:
        lock.release()


def _sweep(parent: Path) -> None:
    """Remove the temporary files and folders in ``parent`` that no process uses any more."""
    for entry in parent.iterdir():
        found = _TEMPORARY.fullmatch(entry.name)
        with contextlib.suppress(OSError, ClaudeFlowError):  # in use, or not ours
            if found is None:
                continue
            about = entry.lstat()
            if found["kind"] == "lock":
                with locked(entry, timeout=0):
                    _remove(entry.with_suffix(".tmp"), parent / found["name"])
                    entry.unlink(missing_ok=True)
            elif stat.S_ISREG(about.st_mode) and about.st_mtime < time.time() - _STALE_SECONDS:
                entry.unlink()


def _remove(folder: Path, target: Path) -> None:
    """Remove what :func:`atomic_folder` left; killed between its two renames, it left no target: the new one is it."""
    if (folder / _OLD).exists() and (folder / _NEW).exists() and not target.exists():
        _rename(folder / _NEW, target)
    shutil.rmtree(folder, ignore_errors=True)


def _rename(path: Path, target: Path) -> None:
    """Give ``path`` the name ``target``. Windows refuses while another process has either open: a reader, or a scanner
    of viruses, soon lets go."""
    end = time.monotonic() + 2.0
    while True:
        try:
            return os.replace(path, target)
        except PermissionError:
            if os.name != "nt" or time.monotonic() > end:
                raise
        time.sleep(0.01)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # there a folder cannot be opened
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)  # there what is only read cannot be synced
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _beside(path: Path) -> Path:
    """A hidden name in the folder of ``path`` that no one else uses."""
    return path.with_name(f".{path.name[:80]}.{os.urandom(6).hex()}.tmp")
