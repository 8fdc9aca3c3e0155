"""The commands as a user runs them, in a process of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone

import pytest


@pytest.fixture
def cli(tmp_path):
    environment = os.environ | {"CLAUDE_FLOW_HOME": str(tmp_path / "home"), "CLAUDE_CONFIG_DIR": str(tmp_path / "cc")}

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "claude_flow", "neural", "data", *map(str, words)]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture
def recent(tmp_path, transcript):
    """A session that ran an hour ago, in Claude Code's own folder; its seventh line is cut."""
    t = transcript()
    shift = datetime.now(timezone.utc).timestamp() - datetime(2026, 3, 2, 10, tzinfo=timezone.utc).timestamp()
    for n in range(3):
        t.spawns(shift + 100 * n, f"toolu_{n}", message=f"m{n}", description="Mail eve@example.com")
        t.completes(shift + 100 * n + 30, f"toolu_{n}", f"a{n}", ms=30_000)
    path = t.write(tmp_path / "cc" / "projects" / "-home-mira-shop" / "5e55-1.jsonl")
    path.write_text(path.read_text() + '{"type": "user", "mess')
    return path


def test_the_guides_own_line(cli, recent, tmp_path):
    line = ["--source", "swarm-logs", "--timeframe", "30d", "--quality-filter", "high", "--anonymize-sensitive", "true"]
    done = cli("collect", *line)
    assert done.returncode == 0, done.stderr
    assert "runs kept" in done.stdout
    assert ":7  column 18: not JSON" in done.stdout
    assert "1 of 7 lines could not be used" in done.stderr
    folder = tmp_path / "home" / "datasets" / "swarm-training-data"
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "runs.parquet"]
    assert "eve@example" not in (folder / "manifest.json").read_text()
    assert "mira" not in (folder / "manifest.json").read_text()


def test_json_is_the_manifest_and_quiet_is_quiet(cli, recent):
    done = cli("collect", "--source", recent, "--output", "mine", "--format", "json")
    answer = json.loads(done.stdout)
    assert (answer["name"], answer["tables"]["runs"]["rows"], answer["rejected_total"]) == ("mine", 3, 1)
    assert cli("collect", "--source", recent, "--format", "quiet").stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["collect"], "no swarm logs"),
        (["collect", "--source", "nowhere.jsonl"], "does not exist"),
        (["collect", "--timeframe", "soon"], "timeframe"),
        (["collect", "--quality-filter", "best"], "--quality-filter"),
        (["collect", "--output", "../x"], "name"),
        (["preprocess", "--dataset", "nothing"], "there is no dataset 'nothing'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(cli, tmp_path, words, said):
    if words == ["collect", "--timeframe", "soon"]:
        (tmp_path / "cc" / "projects").mkdir(parents=True)
        (tmp_path / "cc" / "projects" / "x.jsonl").write_text('{"type": "summary"}\n')
    done = cli(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_preprocess_makes_what_the_tables_support_and_says_what_not(cli, tmp_path, transcript):
    t = transcript()
    for n in range(40):
        kind = ("coder", "tester")[n % 2]
        t.spawns(1000 * n, f"toolu_{n}", message=f"m{n}", subagent_type=kind, description=f"Part {n}")
        t.completes(1000 * n + 30 + n, f"toolu_{n}", f"a{n}", ms=(25 + n) * 1000)
    assert cli("collect", "--source", t.write(tmp_path / "shop" / "5e55-1.jsonl")).returncode == 0
    done = cli("preprocess", "--format", "json", "--normalization", "robust")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert sorted(answer["made"]) == ["coordination", "optimization", "prediction"]
    assert sorted(answer["skipped"]) == ["action"]
    for made in answer["made"].values():
        manifest = json.loads((tmp_path / made["path"] / "manifest.json").read_text())
        assert (manifest["kind"], manifest["schema"] != {}) == ("tensors", True)
        assert not list((tmp_path / made["path"]).parent.glob(".*"))
    simulated = cli("preprocess", "--dataset", "simulator", "--simulate", 200, "--format", "json")
    assert list(json.loads(simulated.stdout)["made"]) == ["optimization"]


def test_preprocess_of_tables_that_teach_nothing(cli, recent, tmp_path):
    assert cli("collect", "--source", recent).returncode == 0
    done = cli("preprocess")
    said = [line for line in done.stderr.splitlines() if not line.startswith("...")]  # a slow machine's progress
    assert (done.returncode, done.stdout, len(said)) == (2, "", 1)
    assert "can teach no network (coordination: " in said[0]
    assert sorted(p.name for p in (tmp_path / "home" / "datasets").iterdir()) == ["swarm-training-data"]


def test_ctrl_c_leaves_nothing_half_written(tmp_path, cli, recent):
    log = tmp_path / "slow.jsonl"
    log.write_text(recent.read_text() + "\n" + '{"type": "summary", "summary": "x"}\n' * 2_000_000)
    line = [sys.executable, "-m", "claude_flow", "neural", "data", "collect", "--source", str(log)]
    home = tmp_path / "home"
    environment = os.environ | {"CLAUDE_FLOW_HOME": str(home)}
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(home.glob("datasets/.*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "error: interrupted\n")
    assert list((home / "datasets").iterdir()) == []


def test_list_shows_models_datasets_and_views(cli):
    shown = cli("list")
    assert shown.returncode == 0, shown.stderr
    assert "coordination-v3" in shown.stdout
    assert "production-inputs" in shown.stdout
    found = json.loads(cli("list", "--format", "json").stdout)
    assert list(found) == ["workspace", "models", "datasets", "views"]
    assert found["datasets"] == []
