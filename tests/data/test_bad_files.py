"""One bad file spoils nothing: it is left out, counted and named, and the others are read."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.test_fuzz import FUZZ, complaint

from claude_flow.data.collect import collect, swarm_logs
from claude_flow.data.lines import Log
from claude_flow.data.sources import detect
from claude_flow.data.tables import read_table
from claude_flow.errors import InputError


@pytest.fixture
def logs(tmp_path, transcript):
    """A folder with one good session, which sorts last."""
    t = transcript()
    t.spawns(0, "toolu_1")
    t.completes(62, "toolu_1", "a1", ms=60_000)
    return t.write(tmp_path / "logs" / "-z" / "session.jsonl").parents[1]


def read(logs, **options):
    manifest = collect([logs], logs.parent / "d", quality_filter="none", **options)
    assert "toolu_1" in read_table(logs.parent / "d", "runs").column("run_id").to_pylist()
    left_out = {str(os.path.relpath(found["file"], logs)): found["reason"] for found in manifest["left_out"]}
    assert len(left_out) == manifest["left_out_total"]
    return left_out, manifest


SESSION = '{"type": "summary", "summary": "x"}\n'
UTF16 = "UTF-16 text: save it as UTF-8"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (gzip.compress(b"", mtime=0), "of no known format"),
        (b"\x00\xff" * 50, "of no known format"),
        (b"hello\n", "of no known format"),
        (b'{"mood": "good"}\n', "of no known format"),
        (SESSION.encode("utf-16"), UTF16),
        (SESSION.encode("utf-16-be"), "of no known format"),
        (b"\xfe\xff" + SESSION.encode("utf-16-be"), UTF16),
    ],
)
def test_files_that_are_no_logs_are_named(logs, content, reason):
    for number in range(30):
        (logs / f"{number:02}.jsonl").write_bytes(content)
    left_out, _ = read(logs)
    assert left_out == {f"{number:02}.jsonl": reason for number in range(30)}


def test_packed_rubbish_and_utf16_are_named(logs):
    (logs / "a.jsonl.gz").write_bytes(gzip.compress(SESSION.encode("utf-16")))
    (logs / "b.jsonl.gz").write_bytes(b"\x1f\x8b\x08broken")
    (logs / "c.jsonl.gz").write_bytes(SESSION.encode())
    left_out, _ = read(logs)
    assert left_out["a.jsonl.gz"] == UTF16
    assert set(left_out) == {"a.jsonl.gz", "b.jsonl.gz", "c.jsonl.gz"}


def test_a_byte_order_mark_hides_nothing(logs, transcript):
    t = transcript("5e55-2")
    t.spawns(0, "toolu_2")
    path = t.write(logs / "marked.jsonl")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    left_out, manifest = read(logs)
    assert (left_out, manifest["tables"]["runs"]["rows"], manifest["rejected_total"]) == ({}, 2, 0)


def test_links_are_followed_once_and_never_in_a_circle(logs, transcript):
    outside = logs.parent / "outside"
    t = transcript("5e55-2")
    t.spawns(0, "toolu_2")
    t.write(outside / "session.jsonl")
    (logs / "-a").symlink_to(outside, target_is_directory=True)
    (logs / "-b").symlink_to(logs / "-z", target_is_directory=True)
    (logs / "-z" / "loop").symlink_to(logs, target_is_directory=True)
    (logs / "copy.jsonl").symlink_to(logs / "-z" / "session.jsonl")
    (logs / "gone.jsonl").symlink_to(logs / "nowhere.jsonl")
    (logs / "self.jsonl").symlink_to(logs / "self.jsonl")
    os.mkfifo(logs / "pipe.jsonl")
    left_out, manifest = read(logs)
    assert (manifest["sources"][0]["files"], manifest["tables"]["runs"]["rows"]) == (2, 2)
    again = "a link to what is read already"
    assert {name: reason.partition(":")[0] for name, reason in left_out.items()} == {
        "-b": again,
        "-z/loop": again,
        "copy.jsonl": again,
        "gone.jsonl": "cannot be read",
        "self.jsonl": "cannot be read",
        "pipe.jsonl": "a pipe or a device",
    }


def test_what_may_not_be_read_is_named(logs):
    (logs / "secret.jsonl").write_text(SESSION)
    (logs / "closed").mkdir()
    for path in (logs / "secret.jsonl", logs / "closed"):
        path.chmod(0)
    if os.access(logs / "closed", os.R_OK) and os.geteuid() != 0:
        pytest.skip("this file system knows no permissions")
    for path in (logs, *logs.parents[:-2]):
        path.chmod(0o755)
    code = (
        "import sys, os, json, encodings.utf_8_sig\n"
        "from pathlib import Path\n"
        "from claude_flow.data import sources\n"
        "os.geteuid() or (os.setgid(65534), os.setuid(65534))\n"
        "print(json.dumps({p.name: why for p, why in sources.detect(Path(sys.argv[1])).left_out}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, logs], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    denied = "cannot be read: Permission denied"
    assert json.loads(done.stdout) == {"secret.jsonl": denied, "closed": denied}


def test_a_cut_last_line_is_noted_and_refuses_nothing(logs):
    for number in range(20):
        (logs / f"{number}.jsonl").write_text(SESSION + '{"type": "user", "mess')
    left_out, manifest = read(logs)
    assert (left_out, manifest["rejected_total"], manifest["lines_total"]) == ({}, 20, 42)


def test_one_corrupt_file_is_named_and_the_rest_kept(logs):
    (logs / "bad.jsonl").write_text(SESSION * 10 + "{oops\n" * 50)
    left_out, manifest = read(logs)
    assert left_out == {"bad.jsonl": "50 of its 60 lines are unusable"}
    assert manifest["rejected_total"] == 50
    for number in range(3):  # here no file is much worse than the others: the log as a whole is in a bad state
        (logs / f"{number}.jsonl").write_text(SESSION + "{oops\n")
    with pytest.raises(InputError, match=r"3 of 8 lines cannot be used .*0\.jsonl:2.*--bad-line-share"):
        read(logs)


def test_a_file_that_vanishes_is_named(logs):
    (logs / "a.jsonl").write_text(SESSION)
    ((source, files),) = detect(logs).parts
    (logs / "a.jsonl").unlink()
    log = Log()
    assert len(list(source.read(logs, files, log))) == 1
    assert [(found["file"], found["reason"]) for found in log.left_out] == [
        (str(logs / "a.jsonl"), "cannot be read: No such file or directory")
    ]


def test_formats_may_lie_side_by_side(logs):
    (logs / "events.ndjson").write_text('{"event": "run", "run_id": "r", "agent": "x", "task": "t"}\n')
    (logs / "cluster.swf").write_text("; UnixStartTime: 1000000000\n1 10 5 60 4 50 20 4 100 40 1 7 2 9 1 3 -1 -1\n")
    (logs / "bad" / "algorithm_runs.arff").parent.mkdir()
    (logs / "bad" / "algorithm_runs.arff").write_text("@relation x\n@attribute instance_id string\n@data\ni\n")
    left_out, manifest = read(logs)
    assert [source["kind"] for source in manifest["sources"]] == ["aslib", "swf", "claude-code", "jsonl"]
    assert manifest["tables"]["runs"]["rows"] == 3
    assert "the attribute repetition is missing" in left_out["."]


def test_a_folder_of_rubbish_says_what_it_is(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jsonl").write_bytes(b"" if number else b"hello")
    with pytest.raises(InputError, match=r"holds no log of a known format .*; 2 files: empty: see"):
        collect([tmp_path], tmp_path / "d")
    for nothing in ("", "  "):
        with pytest.raises(InputError, match="a source without a name"):
            collect([nothing], tmp_path / "d")


def test_swarm_logs_are_where_claude_code_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    old, new = tmp_path / ".claude" / "projects", tmp_path / ".config" / "claude" / "projects"
    for place in (old, new):
        place.mkdir(parents=True)
        (place / "x.jsonl").write_text(SESSION)
    assert swarm_logs(tmp_path / "workspace") == [old, new]
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", f"{tmp_path / '.config' / 'claude'},{tmp_path / 'nowhere'}")
    assert swarm_logs(tmp_path / "workspace") == [new]
    monkeypatch.delenv("CLAUDE_CONFIG_DIR")
    (new / "x.jsonl").unlink()
    new.rmdir()
    new.symlink_to(old)
    assert swarm_logs(tmp_path / "workspace") == [old]


@given(st.lists(st.tuples(st.binary(max_size=60), st.sampled_from(["x.jsonl", "x.swf", "x.jsonl.gz", "x.csv", "x"]))))
@FUZZ
def test_any_neighbours(logs, files):
    for number, (content, name) in enumerate(files):
        (logs / f"{number}{name}").write_bytes(content)
    try:
        said = complaint(lambda: read(logs, bad_line_share=1.0))
        assert "\n" not in said
    finally:
        for file in logs.iterdir():
            if file.is_file():
                file.unlink()
