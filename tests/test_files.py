"""Writes that are whole or nothing, locks, and what killed processes leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_flow import files
from claude_flow.errors import ClaudeFlowError, InputError, MissingExtra, require


def names(folder: Path) -> list[str]:
    return sorted(child.name for child in folder.iterdir())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "card.json"
    files.atomic_write(file, "old")
    with pytest.raises(UnicodeEncodeError):
        files.atomic_write(file, "\ud800")

    def interrupted():
        with files.atomic_folder(tmp_path / "model") as folder:
            (folder / "half").write_text("written")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert file.read_text() == "old"
    assert names(tmp_path) == ["card.json"]


def test_a_folder_gives_way_only_when_asked(tmp_path):
    for text in ("old", "new"):
        with files.atomic_folder(tmp_path / "data", replace=True) as folder:
            (folder / text).write_text(text)
    assert names(tmp_path / "data") == ["new"]
    with pytest.raises(InputError, match="exists already"), files.atomic_folder(tmp_path / "data"):
        pass
    assert names(tmp_path) == ["data"]


def test_a_write_that_does_not_fit_leaves_the_old_file(tmp_path):
    files.atomic_write(tmp_path / "card.json", "old")
    code = (
        "import pathlib, resource, sys; from claude_flow import files;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "files.atomic_write(pathlib.Path(sys.argv[1]), 'x' * 10_000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "card.json")], capture_output=True, text=True, check=False
    )
    assert "File too large" in done.stderr
    assert {child.name: child.read_text() for child in tmp_path.iterdir()} == {"card.json": "old"}


def test_a_folder_that_does_not_fit_is_named_and_leaves_the_old_one(tmp_path):
    with files.atomic_folder(tmp_path / "data") as folder:
        (folder / "table").write_text("old")
    code = (
        "import pathlib, resource, sys; from claude_flow import files;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with files.atomic_folder(pathlib.Path(sys.argv[1]), replace=True) as folder:\n"
        "    (folder / 'table').write_bytes(b'x' * 10_000)"
    )
    target = tmp_path / "data"
    done = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=False)
    assert f"File too large: '{target}'" in done.stderr
    assert {child.name: child.read_text() for child in target.iterdir()} == {"table": "old"}
    assert names(tmp_path) == ["data"]


def killed(body: str, *arguments: object) -> None:
    """Run ``body`` up to the word that it prints, and kill it there as nothing can be caught."""
    code = f"import os, pathlib, sys, time\nfrom claude_flow import files\n{body}"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()


FILL = """
with files.atomic_folder(pathlib.Path(sys.argv[1]), replace=True) as folder:
    (folder / "half").write_text("written")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    killed(FILL, tmp_path / "data")
    assert len(names(tmp_path)) == 2
    with files.atomic_folder(tmp_path / "other") as folder:
        (folder / "whole").write_text("written")
    assert names(tmp_path) == ["other"]


def test_what_is_in_use_is_left(tmp_path):
    with files.atomic_folder(tmp_path / "data") as folder:
        (folder / "half").write_text("written")
        with files.temporary_folder(tmp_path / "scratch"):
            pass
        assert (folder / "half").exists()
    assert names(tmp_path) == ["data"]


def test_a_folder_killed_between_its_renames_is_whole(tmp_path):
    """The old folder is out of the way, and the new one not in its place yet."""
    with files.atomic_folder(tmp_path / "data") as folder:
        (folder / "old").write_text("old")
    body = """
rename = os.replace
def first_only(a, b):
    rename(a, b)
    print("ready", flush=True)
    time.sleep(60)
os.replace = first_only
with files.atomic_folder(pathlib.Path(sys.argv[1]), replace=True) as folder:
    (folder / "new").write_text("new")
"""
    killed(body, tmp_path / "data")
    with files.temporary_folder(tmp_path / "scratch"):
        pass
    assert names(tmp_path) == ["data"]
    assert names(tmp_path / "data") == ["new"]


def test_scratch_folders_do_not_pile_up(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    killed("with files.temporary_folder() as folder:\n    print('ready', flush=True)\n    time.sleep(60)")
    assert len(names(tmp_path)) == 2
    code = "from claude_flow import files\nwith files.temporary_folder() as folder: print(folder.stat().st_mode & 0o77)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "0\n"  # no one else may look
    assert names(tmp_path) == []


def test_an_old_half_of_a_file_is_removed_and_a_strange_one_left(tmp_path):
    (tmp_path / ".card.json.0123456789ab.tmp").write_text("half")
    (tmp_path / ".card.json.tmp").write_text("the user's")
    (tmp_path / ".data.0123456789ab.tmp").mkdir()  # without its lock no one knows whose it is
    with files.temporary_folder(tmp_path / "scratch"):
        assert len([name for name in names(tmp_path) if "scratch" not in name]) == 3
    os.utime(tmp_path / ".card.json.0123456789ab.tmp", (0, time.time() - 7200))
    with files.temporary_folder(tmp_path / "scratch"):
        pass
    assert names(tmp_path) == [".card.json.tmp", ".data.0123456789ab.tmp"]


def test_a_lock_says_what_the_caller_wants(tmp_path):
    with (
        files.locked(tmp_path / "run.lock"),
        pytest.raises(ClaudeFlowError, match=r"^one at a time$"),
        files.locked(tmp_path / "run.lock", timeout=0, message="one at a time"),
    ):
        pass


# Text ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda t: t[0] != "\ufeff"))
def test_text_is_read_whatever_wrote_it(encoding, text):
    assert files.decoded(text.encode(encoding), "-") == text


def test_what_is_no_text_is_one_line(tmp_path):
    (tmp_path / "a.json").write_bytes(b"ab\xff")
    with pytest.raises(InputError, match=r"a\.json: byte 2: not UTF-8 text$"):
        files.read_text(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"b\.json: No such file or directory$"):
        files.read_text(tmp_path / "b.json")


# Optional libraries -------------------------------------------------------------------------------------------------


def test_a_missing_library_names_its_extra(monkeypatch):
    for module in ("sklearn", "sklearn.tree"):  # that another test may have loaded
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"^scikit-learn is not installed: run  pip install 'claude-flow\[base"):
        require("sklearn.tree", "baselines")
    with pytest.raises(MissingExtra, match="there_is_none is not installed"):
        require("there_is_none", "train")
