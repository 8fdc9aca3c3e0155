"""``neural monitor training`` on the log of a real run, on logs cut short or damaged, and on models without a run."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_flow import registry
from claude_flow.errors import InputError
from claude_flow.train import monitor
from claude_flow.train.runlog import FILE, RunLog, read


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three epochs of a small coordination network."""
    torch = pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")
    torch.set_num_threads(1)
    from claude_flow.networks.coordination.prepare import preprocess
    from claude_flow.train import config, loop

    folder = tmp_path_factory.mktemp("run")
    preprocess(folder, folder / "data", {"simulate": 30, "seed": 1})
    body = {"epochs": 3, "batch-size": 8, "network": {"width": 16, "heads": 2, "feed-forward": [16, 16]}}
    loop.fit("coordination", config.parse({"coordination-training": body}, "coordination"), folder / "data", folder)
    return folder


@pytest.fixture
def here(trained: Path) -> str:
    """The same run in this test's workspace, as ``tiny``."""
    registry.runs_dir()
    folder = registry.workspace() / "runs" / "tiny"
    folder.mkdir()
    (folder / FILE).write_text((trained / FILE).read_text())
    return "tiny"


def log(name: str, lines: list[dict[str, object]], **about: object) -> Path:
    """A log by hand: a start by this process, then ``lines``."""
    folder = registry.runs_dir() / name
    folder.mkdir(parents=True)
    start = {"event": "start", "time": 100.0, "epoch": 0, "network": "optimization", "epochs": 10, "patience": 4}
    start |= {"monitor": "validation-loss", "host": socket.gethostname(), "pid": os.getpid(), **about}
    (folder / FILE).write_text("".join(json.dumps(line) + "\n" for line in [start, *lines]))
    return folder


def epochs(*losses: tuple[float, float]) -> list[dict[str, object]]:
    return [
        {"event": "epoch", "time": 100.0 + i, "epoch": i, "loss": a, "validation-loss": b, "seconds": 2.0 * i}
        for i, (a, b) in enumerate(losses, 1)
    ]


def test_the_guides_line_on_a_finished_run(run, here):
    words = ["--metrics", '["loss","accuracy","coordination-efficiency","attention-weights"]']
    words += ["--visualization", "real-time", "--early-stopping-alerts", "true", "--format", "json"]
    done = run("neural", "monitor", "training", "--model", here, *words)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["state"], answer["epoch"], answer["epochs"], answer["reason"]) == (
        "finished",
        3,
        3,
        "all epochs done",
    )
    assert answer["learning_rate"] > 0
    by_name = {metric["name"]: metric for metric in answer["metrics"]}
    assert list(by_name) == list(monitor.METRICS)
    assert all(metric["unavailable"] is None for metric in by_name.values())
    assert [epoch for epoch, _ in by_name["loss"]["series"]["validation-loss"]] == [1, 2, 3]
    assert list(by_name["attention-weights"]["series"]) == ["attention-entropy-1", "attention-entropy-2"]
    spread = [value for series in by_name["attention-weights"]["series"].values() for _, value in series]
    assert all(0 < value <= 1 for value in spread)
    efficiency = by_name["coordination-efficiency"]["series"]["validation-coordination-efficiency"]
    assert all(0 < value <= 1 for _, value in efficiency)


def test_a_pipe_gets_tables_and_a_terminal_the_picture(run, here, environment, tmp_path):
    done = run("neural", "monitor", "training", "--model", here)
    assert done.stdout.startswith("run tiny\n")
    assert "attention-entropy-2" in done.stdout
    lines = run("neural", "monitor", "training", "--model", here, "--metrics", "loss,fun").stdout.splitlines()
    assert lines[lines.index("unavailable") + 2].startswith("fun     coordination logs none: logged are ")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "claude_flow", "neural", "monitor", "training", "--model", here]
    with subprocess.Popen(words, cwd=tmp_path, env={**environment, "TERM": "xterm"}, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux's way of saying that the other side is closed
                break
            shown += part
        assert process.wait(30) == 0
    os.close(ours)
    text = shown.decode()
    assert "tiny (coordination)" in text
    assert "alerts" in text
    assert any("\u2801" <= char <= "\u28ff" for char in text), "the curves are drawn in braille"


def test_unknown_runs_and_models_without_one(run):
    log("coordination-mine", [])
    done = run("neural", "monitor", "training", "--model", "coordination-mime")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean coordination-mine?" in done.stderr
    done = run("neural", "monitor", "training", "--model", "coordination-v3", "--format", "json")
    answer = json.loads(done.stdout)
    assert answer["state"] == "shipped"
    assert "came without its training run" in answer["reason"]
    assert all(metric["unavailable"] for metric in answer["metrics"] if not metric["series"])
    for words in (["--refresh", "0s"], ["--metrics", "[]"], ["--visualization", "film"]):
        done = run("neural", "monitor", "training", "--model", "coordination-mine", *words)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


def test_a_metric_that_was_not_logged_says_why():
    log("o", epochs((3, 3), (2, 2)))
    answer = monitor.watch("o", ["accuracy", "attention-weights", "loss", "validation-loss", "learning-rate"])
    accuracy, attention, loss, _, rate = answer["metrics"]
    assert "only coordination picks" in accuracy["unavailable"]
    assert "without attention" in attention["unavailable"]
    assert list(loss["series"]) == ["loss", "validation-loss"]
    assert "logged are loss, validation-loss" in rate["unavailable"]
    log("new", [])
    assert monitor.watch("new")["metrics"][0]["unavailable"] == "no epoch is done yet"


def test_states():
    running = epochs((3, 3), (2, 2))
    log("running", [*running, {"event": "progress", "time": 102.0, "epoch": 3, "share": 0.5, "loss": 1.5}])
    answer = monitor.watch("running", now=102.0)
    assert (answer["state"], answer["share"], answer["loss"], answer["epoch"]) == ("running", 0.5, 1.5, 2)
    assert answer["eta_s"] == pytest.approx((10 - 2.5) * 2.0)
    assert answer["best"] == {"epoch": 2, "value": 2.0}
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    log("gone", running, pid=ended.pid)
    assert monitor.watch("gone")["state"] == "gone"
    log("elsewhere", running, pid=ended.pid, host="another-machine")
    assert monitor.watch("elsewhere")["state"] == "running"
    log("failed", [*running, {"event": "end", "time": 103.0, "error": "the loss became nan"}])
    answer = monitor.watch("failed")
    assert (answer["state"], answer["alerts"][0]["name"]) == ("failed", "failed")


@pytest.mark.parametrize(
    ("losses", "end", "now", "alert"),
    [
        ([(3, 3), (2, 2), (2, 3), (2, 3)], None, 104, "early-stopping"),
        ([(9 - i, 2 + i / 10) for i in range(8)], None, 108, "overfitting"),
        ([(3, 3), (2, 2), (7, 1)], None, 103, "diverging"),
        ([(3, 3), (2, 2)], None, 1000, "silent"),
        ([(3, 3), (2, 4)], "no better validation-loss for 4 epochs", 103, "stopped-early"),
    ],
)
def test_alerts(losses, end, now, alert):
    lines = epochs(*losses) + ([{"event": "end", "time": 103.0, "stopped": end}] if end else [])
    log("run", lines)
    assert alert in [found["name"] for found in monitor.watch("run", now=now)["alerts"]]
    log("calm", epochs((3, 3), (2, 2), (1, 1)))
    assert monitor.watch("calm", now=103.0)["alerts"] == []


def test_a_resumed_run_takes_back_what_its_checkpoint_did_not_hold():
    folder = registry.runs_dir() / "r"
    folder.mkdir()
    about = {"network": "optimization", "epochs": 9, "monitor": "validation-loss", "patience": None}
    first = RunLog(folder, 0, **about)
    for epoch in (1, 2, 3):
        first.epoch({"epoch": epoch, "loss": float("nan"), "validation-loss": float(epoch)}, 1.0)
    first.progress(4, 0.5, 1.0)
    first.progress(4, 0.6, 1.0)  # within the same second: dropped
    first.end(error="interrupted")
    assert monitor.watch("r")["state"] == "interrupted"
    assert sum('"progress"' in line for line in (folder / FILE).read_text().splitlines()) == 1
    RunLog(folder, 2, **about).epoch({"epoch": 3, "loss": 1.0, "validation-loss": 9.0}, 2.0)
    seen = read(folder)
    assert seen.series("validation-loss") == [(1, 1.0), (2, 2.0), (3, 9.0)]
    assert seen.series("loss") == [(3, 1.0)]
    assert monitor.watch("r")["state"] == "running"
    RunLog(folder, 0, **about)
    assert read(folder).epochs == []


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cut=st.integers(0, 4000), at=st.integers(0, 4000), byte=st.integers(0, 255))
def test_any_cut_or_damage_is_an_answer_or_one_clear_line(here, cut, at, byte):
    content = bytearray((registry.runs_dir() / here / FILE).read_bytes()[:cut])
    if at < len(content):
        content[at] = byte
    folder = registry.runs_dir() / "cut"
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(content)
    try:
        answer = monitor.watch("cut")
    except InputError as error:
        lines = str(error).splitlines()
    else:
        lines = [answer["state"]]
    assert len(lines) == 1


def test_a_model_that_came_without_its_run_shows_the_history_of_its_card(trained):
    card = json.loads((trained / "card.json").read_text())
    registry.add_model("moved", None, trained / "model.safetensors", card)
    answer = monitor.watch("moved", ["loss", "attention-weights"])
    assert (answer["state"], answer["epoch"], answer["learning_rate"]) == ("shipped", 3, 0.001)
    assert "its card holds the history" in answer["reason"]
    loss, attention = answer["metrics"]
    assert [value for _, value in loss["series"]["validation-loss"]] == card["history"]["validation-loss"]
    assert attention["unavailable"]
