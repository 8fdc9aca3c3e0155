"""Experiments: runs are kept first, delivered then, and wait where the store cannot be reached."""

from __future__ import annotations

import json

import pytest

from claude_flow.watch import tracking


def test_a_run_waits_where_the_server_is_gone_and_the_command_ends_as_it_would(run, tmp_path):
    settings = {**tracking.own_settings(), "tracking_uri": "http://127.0.0.1:9"}
    path = tracking._folder() / "settings.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(settings))
    code, _, err = run("validate", "cross-fold", "--model", "gone")
    assert code == 2  # as without tracking: there is no such model
    assert "this run is not tracked yet" in err
    (waiting,) = tracking.pending()
    record = json.loads(waiting.read_text())
    assert (record["experiment"], record["status"]) == ("validate-cross-fold", "FAILED")


def test_secrets_are_not_kept():
    record = json.loads(tracking.keep("e", parameters={"api-key": "x", "epochs": 3}, metrics={}).read_text())
    assert record["parameters"] == {"api-key": "***", "epochs": 3}


def test_a_folder_is_probed_by_writing_reading_and_deleting(tmp_path):
    assert set(tracking.probe(str(tmp_path / "new"))) == {"write", "read", "delete"}
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--tracking-uri", "http://me:hidden@127.0.0.1:9"], "the tracking address holds a password"),
        (["--artifact-uri", "/dev/null/x"], "artifacts cannot be kept there"),
        (["--artifact-storage", "s3", "--artifact-uri", "bucket"], "begins with s3://"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_kept(run, words, told):
    code, out, err = run("experiments", "setup", *words)
    assert (code, out) == (2, "")
    assert told in err
    assert "hidden" not in err
    assert len(err.strip().splitlines()) == 1
    assert tracking.settings() is None


def test_runs_are_delivered_listed_and_compared(run, tmp_path):
    pytest.importorskip("mlflow", reason="experiments need the extra: pip install 'claude-flow[experiments]'")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.txt").write_text("a")
    for rate, loss in ((0.1, 2.0), (0.2, 1.0)):
        (tmp_path / "config.json").write_text(json.dumps({"training": {"rate": rate}}))
        (tmp_path / "results.json").write_text(json.dumps({"loss": loss}))
        command = ["experiments", "log", "--experiment-name", "e", "--parameters", "config.json", "--metrics",
                   "results.json", "--artifacts", "kept", "--tags", '["a"]', "--format", "json"]  # fmt: skip
        code, out, _ = run(*command)
        assert (code, json.loads(out)["delivered"]) == (0, True)
    code, out, _ = run("experiments", "compare", "--experiment-name", "e", "--format", "json")
    found = json.loads(out)
    assert (code, found["metrics"], found["differ"]) == (0, {"loss": [1.0, 2.0]}, {"training.rate": ["0.2", "0.1"]})
    assert list((tracking._folder() / "artifacts").rglob("a.txt"))
    assert tracking.pending() == []
