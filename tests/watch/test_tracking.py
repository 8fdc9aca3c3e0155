"""Experiments: runs are kept first, delivered then, and wait where the store cannot be reached."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from claude_flow.watch import store, tracking


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
    assert set(store.probe(str(tmp_path / "new"))) == {"write", "read", "delete"}
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


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A local S3 server with one bucket, "runs"; its address and credentials are in the environment."""
    server = pytest.importorskip("moto.server", reason="needs moto[s3], flask and flask-cors, as the extra test has")
    boto3 = pytest.importorskip("boto3", reason="experiments need the extra: pip install 'claude-flow[experiments]'")
    local = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    local.start()
    host, port = local.get_host_and_port()
    for name, value in (("AWS_ENDPOINT_URL", f"http://{host}:{port}"), ("AWS_ACCESS_KEY_ID", "a-key"),
                        ("AWS_SECRET_ACCESS_KEY", "a-secret"), ("AWS_EC2_METADATA_DISABLED", "true"),
                        ("AWS_CONFIG_FILE", "none"), ("AWS_SHARED_CREDENTIALS_FILE", "none")):  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="runs")
    yield client
    local.stop()


def checks_from(requests: str) -> None:
    """Let the server check who asks, after so many requests."""
    address = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    headers = {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(address, requests.encode(), headers)).close()


@pytest.mark.parametrize(
    ("bucket", "environment", "told"),
    [
        ("none-such", {}, "there is no such bucket"),
        ("runs", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "there are no credentials"),
        ("runs", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9 cannot be reached"),
        ("runs", {"REFUSED": "yes"}, "the access key is unknown: check AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_store_that_cannot_be_used_says_why_and_nothing_is_set_up(run, s3, monkeypatch, bucket, environment, told):
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    if "REFUSED" in environment:  # from now on the server checks who asks
        checks_from("0")
    try:
        code, out, err = run("experiments", "setup", "--artifact-storage", "s3", "--artifact-uri", f"s3://{bucket}/a")
    finally:
        if "REFUSED" in environment:
            checks_from("inf")
    assert (code, out) == (2, "")
    assert told in err
    assert len([line for line in err.splitlines() if not line.startswith("... ")]) == 1  # beside progress
    assert tracking.settings() is None


def test_every_kind_of_run_is_kept_with_its_files_on_s3_caught_up_and_compared(run, tmp_path, s3, monkeypatch):
    pytest.importorskip("mlflow", reason="experiments need the extra: pip install 'claude-flow[experiments]'")
    setup = ("experiments", "setup", "--tracking-backend", "mlflow", "--metrics-logging", "comprehensive",
             "--artifact-storage", "s3", "--artifact-uri", "s3://runs/ours",
             "--collaboration-features", "true")  # fmt: skip
    tracking._folder().mkdir(parents=True)
    (tracking._folder() / ".mlflow.db.part").write_bytes(b"half a migration")  # of a set-up that was killed
    code, out, err = run(*setup, "--format", "json")
    assert code == 0, err
    assert not list(tracking._folder().glob(".mlflow.db.part*"))
    assert set(json.loads(out)["artifacts"]["probe"]) == {"write", "read", "delete"}
    assert "Contents" not in s3.list_objects_v2(Bucket="runs")  # the probe is gone
    there = tracking.settings()
    path = tracking._folder() / "settings.json"
    path.write_text(json.dumps({**there, "tracking_uri": "http://127.0.0.1:9"}))  # offline
    commands = (("train", "coordination", "--config", "gone"), ("optimize", "quantize", "--model", "gone"),
                ("nas", "search", "--task", "gone"), ("validate", "cross-fold", "--model", "gone"))  # fmt: skip
    for words in commands:
        code, _, err = run(*words)
        assert code == 2, err  # as without tracking: there is no such thing
        assert "this run is not tracked yet" in err
    assert len(tracking.pending()) == 4
    path.write_text(json.dumps(there))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.txt").write_text("a")
    for rate, loss in ((0.1, 2.0), (0.2, 1.0)):
        (tmp_path / "config.json").write_text(json.dumps({"training": {"rate": rate}}))
        (tmp_path / "results.json").write_text(json.dumps({"loss": loss}))
        command = ["experiments", "log", "--experiment-name", "e", "--parameters", "config.json", "--metrics",
                   "results.json", "--artifacts", "kept", "--tags", '["a"]', "--format", "json"]  # fmt: skip
        code, out, _ = run(*command)
        assert (code, json.loads(out)["delivered"]) == (0, True)
    assert tracking.pending() == []
    runs = json.loads(run("experiments", "list", "--format", "json")[1])["runs"]
    assert {r["experiment"] for r in runs} == {
        "e",
        "train-coordination",
        "optimize-quantize",
        "nas-search",
        "validate-cross-fold",
    }
    assert {r["status"] for r in runs if r["experiment"] != "e"} == {"FAILED"}
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="runs")["Contents"]]
    assert len([key for key in keys if key.startswith("ours/e/") and key.endswith("kept/a.txt")]) == 2
    compare = ("experiments", "compare", "--experiment-name", "e", "--html", "compared.html", "--format", "json")
    code, out, _ = run(*compare)
    found = json.loads(out)
    assert (code, found["metrics"], found["differ"]) == (0, {"loss": [1.0, 2.0]}, {"training.rate": ["0.2", "0.1"]})
    assert "<rect class=newer" in (tmp_path / "compared.html").read_text()
    assert "a-secret" not in "".join(f.read_text() for f in tracking._folder().rglob("*.json"))
