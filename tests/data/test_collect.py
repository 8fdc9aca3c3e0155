"""The whole way from logs to a dataset on disk, its filters, and what happens when something goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest

from claude_flow.data.collect import Timeframe, collect, swarm_logs
from claude_flow.data.events import Run
from claude_flow.data.quality import QualityFilter
from claude_flow.data.tables import read_manifest, read_table
from claude_flow.errors import ClaudeFlowError, InputError

NOW = datetime(2026, 3, 10, tzinfo=timezone.utc)


@pytest.fixture
def log(tmp_path, transcript):
    t = transcript()
    t.spawns(0, "toolu_1")
    t.completes(62, "toolu_1", "a1", ms=60_000)
    t.spawns(86_400, "toolu_2", message="m2")
    t.answers(86_401, "toolu_2", "User rejected tool use", error=True)
    t.spawns(2 * 86_400, "toolu_3", message="m3")
    return t.write(tmp_path / "logs" / "5e55-1.jsonl")


def test_writes_tables_and_manifest(tmp_path, log):
    seen = []
    out = tmp_path / "data" / "mine"
    manifest = collect([log], out, quality_filter="none", now=NOW, progress=lambda done, what: seen.append(done))
    assert manifest == read_manifest(out)
    assert manifest["tables"]["runs"]["rows"] == 3
    assert manifest["time_range"] == ["2026-03-02T09:00:02+00:00", "2026-03-04T09:00:00+00:00"]
    assert (manifest["lines_total"], manifest["rejected_total"]) == (5, 0)
    source = manifest["sources"][0]
    assert (source["kind"], source["bytes"]) == ("claude-code", log.stat().st_size)
    runs = read_table(out, "runs")
    assert runs.column_names == manifest["tables"]["runs"]["columns"]
    assert runs.column("duration_s").to_pylist() == [60.0, None, None]
    assert read_table(out, "folds") is None
    assert seen[-1] == 1.0
    assert sorted(p.name for p in out.parent.iterdir()) == ["mine"]


def test_the_hash_is_of_the_content(tmp_path, log):
    first = collect([log], tmp_path / "a", now=NOW)["sources"][0]["sha256"]
    assert first == collect([log], tmp_path / "b", now=NOW)["sources"][0]["sha256"]
    assert len(first) == 64
    log.write_text(log.read_text() + "\n")
    assert first != collect([log], tmp_path / "a", now=NOW)["sources"][0]["sha256"]


@pytest.mark.parametrize(
    ("level", "kept", "dropped"),
    [
        ("none", 3, {}),
        ("low", 3, {}),
        ("medium", 1, {"never ran": 1, "censored": 1}),
        ("high", 1, {"never ran": 1, "censored": 1}),
    ],
)
def test_quality_levels(tmp_path, log, level, kept, dropped):
    manifest = collect([log], tmp_path / "d", quality_filter=level, now=NOW)
    assert manifest["tables"]["runs"]["rows"] == kept
    assert manifest["filters"]["dropped"] == dropped
    assert manifest["filters"]["runs_read"] == 3


@pytest.mark.parametrize(
    ("fields", "level", "rule"),
    [
        ({"start": NOW, "end": NOW - timedelta(1)}, "low", "impossible times"),
        ({"start": NOW + timedelta(2)}, "low", "impossible times"),
        ({"agent": None}, "medium", "unnamed"),
        ({"status": "launch_error"}, "medium", "never ran"),
        ({"status": "censored"}, "medium", "censored"),
        ({"status": "killed", "duration_s": 3.0}, "high", "stopped early"),
        ({"duration_s": 0.0}, "high", "no outcome"),
        ({"duration_s": 900.0, "active_s": 100.0}, "high", "mostly idle"),
    ],
)
def test_each_quality_rule_at_its_level(fields, level, rule):
    run = Run(**{"run_id": "r", "source": "jsonl", "agent": "a", "task": "t", "status": "completed"} | fields)
    levels = ("none", "low", "medium", "high")
    for tried in levels:
        quality = QualityFilter(tried, NOW)
        assert quality.keeps(run) == (levels.index(tried) < levels.index(level))
        assert dict(quality.dropped) == ({} if levels.index(tried) < levels.index(level) else {rule: 1})


def test_the_same_source_twice_gives_each_run_once(tmp_path, log):
    manifest = collect([log, log.parent], tmp_path / "d", quality_filter="none", now=NOW)
    assert manifest["tables"]["runs"]["rows"] == 3
    assert manifest["filters"]["dropped"] == {"duplicate": 3}


@pytest.mark.parametrize(
    ("timeframe", "kept"),
    [
        ("30d", 3),
        ("1w", 2),
        ("168h", 2),
        ("1y", 3),
        ("all", 3),
        ("2026-03-02..2026-03-03", 1),
        ("2026-03-03..", 2),
        ("..2026-03-03T09:00:01Z", 2),
    ],
)
def test_timeframes(tmp_path, log, timeframe, kept):
    manifest = collect([log], tmp_path / "d", quality_filter="none", timeframe=timeframe, now=NOW)
    assert manifest["tables"]["runs"]["rows"] == kept
    assert manifest["filters"]["outside_timeframe"] == 3 - kept


@pytest.mark.parametrize("spelled", ["", "30", "d", "..", "2026-13-01..", "2026-02-02..2026-01-01", "soon"])
def test_malformed_timeframes(spelled):
    with pytest.raises(InputError, match="timeframe"):
        Timeframe.parse(spelled, NOW)


def test_everything_outside_the_timeframe_is_one_clear_line(tmp_path, log):
    with pytest.raises(InputError, match=r"none of the 3 runs lies in the timeframe 1h.*2026-03-02.*longer") as caught:
        collect([log], tmp_path / "d", timeframe="1h", now=NOW)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "d").exists()


def test_bad_lines_below_the_share_are_reported_and_above_it_fatal(tmp_path, log):
    good = log.read_text()
    log.write_text(good * 100 + "{oops\n" * 5)
    manifest = collect([log], tmp_path / "d", now=NOW)
    assert manifest["rejected_total"] == 5
    assert manifest["rejected"][0] == {
        "file": str(log),
        "line": 501,
        "reason": "column 2: not JSON: Expecting property name enclosed in double quotes",
    }
    log.write_text(good * 100 + "{oops\n" * 6)
    with pytest.raises(
        InputError, match=r"6 of 506 lines cannot be used .*jsonl:501: column 2: not JSON.*--bad-line-share"
    ):
        collect([log], tmp_path / "d", now=NOW)
    assert read_manifest(tmp_path / "d")["rejected_total"] == 5  # the old dataset is untouched
    assert collect([log], tmp_path / "d", now=NOW, bad_line_share=0.5)["rejected_total"] == 6


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 50, b"hello\nworld\n", b"[1, 2]\n", b"\x1f\x8b\x08broken"])
def test_unknown_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="holds no log of a known format"):
        collect([path], tmp_path / "d", now=NOW)


def test_missing_sources_and_foreign_folders_are_refused(tmp_path, log):
    with pytest.raises(InputError, match="does not exist"):
        collect([tmp_path / "nowhere"], tmp_path / "d", now=NOW)
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(InputError, match="is a pipe"):
        collect([tmp_path / "pipe.jsonl"], tmp_path / "d", now=NOW)
    with pytest.raises(InputError, match="no source"):
        collect([], tmp_path / "d", now=NOW)
    with pytest.raises(InputError, match="not a dataset of tables"):
        collect([log], log.parent, now=NOW)
    assert log.exists()


def test_folders_that_are_named_like_logs(tmp_path, log):
    (log.parent / "odd.jsonl").mkdir()
    (log.parent / "odd.jsonl" / "deep.jsonl").write_text('{"type": "summary"}\n')
    manifest = collect([log.parent], tmp_path / "d", quality_filter="none", now=NOW)
    assert manifest["sources"][0]["files"] == 2


def test_a_cut_gzip_stream_is_one_rejected_line(tmp_path, transcript):
    t = transcript()
    for n in range(200):
        t.spawns(n, f"toolu_{n}", message=f"m{n}")
    path = t.write(tmp_path / "5e55-1.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-200])
    manifest = collect([path], tmp_path / "d", quality_filter="none", now=NOW)
    assert manifest["rejected_total"] == 1
    assert "gzip" in manifest["rejected"][0]["reason"]


def test_a_full_disk_leaves_nothing(tmp_path, log):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    script = (
        "import resource, signal, sys\n"
        "from claude_flow.data.collect import collect\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "from claude_flow.errors import ClaudeFlowError\n"
        "try:\n    collect([sys.argv[1]], sys.argv[2])\n"
        "except ClaudeFlowError as e:\n    print(e); sys.exit(1)\n"
    )
    out = tmp_path / "out" / "d"
    done = subprocess.run([sys.executable, "-c", script, log, out], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "cannot be written" in done.stdout
    assert list(out.parent.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path, log):
    def stop(done: float, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect([log], tmp_path / "out" / "d", now=NOW, progress=stop)
    assert list((tmp_path / "out").iterdir()) == []


def test_unwritable_place(tmp_path, log):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ClaudeFlowError, match="cannot be written"):
        collect([log], tmp_path / "file" / "d", now=NOW)


def test_steps_of_dropped_runs_go_too(tmp_path):
    events = [
        {"event": "start", "run_id": "a", "time": "2026-03-01T00:00:00Z", "agent": "x", "task": "t"},
        {"event": "step", "run_id": "a", "action": "look"},
        {"event": "start", "run_id": "b", "time": "2026-03-01T00:00:00Z", "agent": "x", "task": "u"},
        {"event": "step", "run_id": "b", "action": "edit", "seconds": 2},
        {"event": "end", "run_id": "b", "time": "2026-03-01T00:01:00Z", "status": "completed"},
    ]
    path = tmp_path / "swarm.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    collect([path], tmp_path / "d", now=NOW)
    assert read_table(tmp_path / "d", "steps").column("run_id").to_pylist() == ["b"]


def test_swarm_logs_are_found_or_explained(tmp_path, monkeypatch, log):
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    with pytest.raises(InputError, match=r"no swarm logs: neither .* nor .* --source"):
        swarm_logs(tmp_path / "workspace")
    target = tmp_path / "claude" / "projects" / "shop" / log.name
    target.parent.mkdir(parents=True)
    target.write_bytes(log.read_bytes())
    assert collect(swarm_logs(tmp_path / "workspace"), tmp_path / "d", now=NOW)["tables"]["runs"]["rows"] == 1
