"""``neural train`` as a user runs it: a small network, a small simulated dataset, real processes and interrupts."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from claude_flow import registry
from claude_flow.networks.coordination.prepare import preprocess

pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")

CONFIG = {
    "coordination-training": {
        "epochs": 4,
        "batch-size": 8,
        "learning-rate": {"initial": 0.001, "schedule": "cosine-annealing", "warmup-steps": 5},
        "early-stopping": {"patience": 10, "monitor": "validation-coordination-accuracy"},
        "attention-config": {"num-heads": 2},
        "network": {"width": 32, "feed_forward": [32]},
    }
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "tables").mkdir()
    preprocess(folder / "tables", folder / "tensors", {"simulate": 16, "seed": 1})
    return folder / "tensors"


@pytest.fixture
def words(dataset: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return ["neural", "train", "coordination", "--config", "config.json", "--data", str(dataset), "--output", "tiny"]


def epochs(folder: Path, count: int) -> None:
    """Set the number of epochs, and never stop early."""
    settings = {**CONFIG["coordination-training"], "epochs": count}
    settings["early-stopping"] = {**settings["early-stopping"], "patience": count}
    (folder / "config.json").write_text(json.dumps({"coordination-training": settings}))


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if not line.startswith("... training tiny: ")]
    assert len(said) == 1, done.stderr
    return said[0]


def test_training_makes_a_model_with_a_card(run, words):
    done = run(*words, "--tensorboard-logging", "true", "--checkpoint-interval", "2", "--format", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["model"], result["version"]) == ("tiny", "1.0.0")
    model = registry.model_path("tiny")
    assert registry.model_card(model) == result["card"]
    assert result["card"]["network"] == "coordination"
    assert set(result["card"]["baselines"]) >= {"random", "rule-based", "best-single-agent"}
    assert registry.newest_model("coordination") == model
    assert list((registry.runs_dir() / "tiny" / "tensorboard").iterdir())


def test_the_table_shows_the_scores_beside_the_baselines(here, words):
    done = here(*words)
    assert done.returncode == 0, done.stderr
    title, columns = done.stdout.splitlines()[:2]
    assert title.startswith("tiny 1.0.0: scores on the ")
    assert columns.split() == ["metric", "model", "random", "rule-based", "best-single-agent"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_interrupted_run_resumes_to_the_same_weights(run, here, words, environment, tmp_path, number):
    epochs(tmp_path, 10)
    words += ["--checkpoint-interval", "1"]
    command = [sys.executable, "-m", "claude_flow", *words]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (registry.runs_dir() / "tiny" / "checkpoint.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read().splitlines()
        assert said[-1] == "error: interrupted; its checkpoint is kept: go on with --resume"
        assert all(line.startswith("... training tiny: ") for line in said[:-1])
        assert process.wait(timeout=20) == 128 + number
    assert not (registry.workspace() / "models").exists()
    if number != signal.SIGINT:  # the others end it by the same way, and a process that trains takes seconds
        return
    seen = json.loads(here("neural", "monitor", "training", "--model", "tiny", "--format", "json").stdout)
    assert (seen["state"], seen["reason"]) == ("interrupted", "continue it with --resume")
    resumed = run(*words, "--resume", "--format", "json")
    whole = run(*words, "--output", "whole", "--format", "json")
    cards = [json.loads(done.stdout)["card"] for done in (resumed, whole)]
    assert cards[0]["epochs"] == cards[1]["epochs"]
    assert cards[0]["held_out"] == cards[1]["held_out"]
    tensors, expected = (load_file(registry.model_path(name)) for name in ("tiny", "whole"))
    assert all((tensors[name] == expected[name]).all() for name in expected)


def test_an_ignored_hangup_stays_ignored(run, words):
    done = run(*words, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert done.returncode == 0, done.stderr


def test_two_runs_of_one_name_do_not_mix(here, words):
    from claude_flow import files

    with files.locked(registry.runs_dir() / "tiny" / ".lock"):
        assert "another process is training tiny: wait for it" in one_line(here(*words), 1)


def test_a_budget_that_ends_in_the_first_epoch_keeps_what_was_learned(here, words, tmp_path):
    epochs(tmp_path, 3)
    done = here(*words, "--time-budget", "1ms", "--format", "json")
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)["card"]
    assert card["stopped"] == "time budget used up in the first epoch"
    assert (card["epochs"], card["best_epoch"]) == (1, 1)
    resumed, whole = (here(*words, *more, "--format", "json") for more in (["--resume"], ["--output", "whole"]))
    assert json.loads(resumed.stdout)["card"]["held_out"] == json.loads(whole.stdout)["card"]["held_out"]


def test_the_search_of_a_learning_rate_keeps_to_its_budget(here, words):
    done = here(*words, "--find-learning-rate", "--time-budget", "1s", "--format", "json")
    if done.returncode:  # so few steps may teach nothing, which is said
        assert "no learning rate" in one_line(done, 1)
    else:
        rates = json.loads(done.stdout)["rates"]
        assert rates[-1] <= 1.0
        assert len(rates) < 100


def test_a_new_run_begins_an_empty_log_for_tensorboard(here, words):
    words += ["--tensorboard-logging", "true"]
    for _ in range(2):
        assert here(*words).returncode == 0
        assert len(list((registry.runs_dir() / "tiny" / "tensorboard").iterdir())) == 1


def test_a_monitor_that_these_data_lack_is_refused_before_any_epoch(here, words, tmp_path):
    section = {**CONFIG["coordination-training"], "early-stopping": {"monitor": "validation-logged-regret"}}
    (tmp_path / "config.json").write_text(json.dumps({"coordination-training": section}))
    assert "is not measured on these data" in one_line(here(*words), 2)
    assert not (registry.runs_dir() / "tiny" / "metrics.jsonl").exists()


def test_a_time_budget_ends_a_run_at_its_best_epoch(here, words, tmp_path):
    epochs(tmp_path, 100_000)
    done = here(*words, "--time-budget", "2s", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["card"]["stopped"] == "time budget used up"


def test_a_disk_that_is_too_small_is_one_line_and_leaves_no_model(run, words):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    message = one_line(run(*words, preexec_fn=limit), 1)
    assert "tiny" in message
    assert "File too large" in message
    assert not (registry.workspace() / "models").exists()
    hidden = {file.name for file in (registry.runs_dir() / "tiny").iterdir() if file.name.startswith(".")}
    assert hidden <= {".lock"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"coordination-training": {"epochs": 3,}}', "config.json"),
        ('{"coordination-training": {"epoch": 3}}', "did you mean epochs"),
        ('{"coordination-training": {"epochs": "many"}}', "epochs"),
        ('{"coordination-training": {"learning-rate": {"initial": NaN}}}', "config.json"),
        ('{"prediction-training": {}}', "coordination-training"),
        ("\x00\xff", "config.json"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_line(here, words, tmp_path, content, message):
    (tmp_path / "config.json").write_text(content, "latin-1")
    assert message in one_line(here(*words), 2)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--data", "no-such-data", "there is no dataset"),
        ("--config", "no-such-config.json", "there is no configuration"),
        ("--validation-split", "NaN", "not a share"),
        ("--checkpoint-interval", "0", "--checkpoint-interval"),
        ("--time-budget", "soon", "not a duration"),
        ("--output", "../escape", "not a name"),
        ("--device", "cuda:7", "--device"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line(here, words, option, value, message):
    assert message in one_line(here(*words, option, value), 2)


def test_there_must_be_something_to_resume(here, words):
    assert "nothing to resume" in one_line(here(*words, "--resume"), 2)


def test_the_range_test_suggests_a_rate_and_draws_it(here, words):
    done = here(*words, "--find-learning-rate", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["rates"]) == len(found["losses"]) > 50
    assert 1e-6 < found["suggested"] < 1
    assert not (registry.workspace() / "models").exists()
    drawn = here(*words, "--find-learning-rate").stdout
    assert f'"initial": {found["suggested"]:g}' in drawn
    assert any("\u2801" <= char <= "\u28ff" for char in drawn)
