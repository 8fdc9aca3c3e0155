"""A local MLflow server, started and stopped. It takes half a minute, so it is asked for: make operate."""

from __future__ import annotations

import json
import os
import socket
import urllib.request

import pytest

from claude_flow.watch import server, tracking


@pytest.mark.skipif("CLAUDE_FLOW_LONG" not in os.environ, reason="half a minute: CLAUDE_FLOW_LONG=1, or make operate")
def test_a_server_shows_the_runs_of_the_workspace(run, tmp_path):
    for module in ("mlflow", "flask", "graphene"):
        pytest.importorskip(module, reason="the server needs the extra: pip install 'claude-flow[experiments-server]'")
    code, out, err = run("experiments", "setup", "--tracking-uri", "local", "--format", "json")
    assert code == 0, err
    address = json.loads(out)["server"]["address"]
    try:
        (tmp_path / "results.json").write_text('{"loss": 1.5}')
        assert run("experiments", "log", "--experiment-name", "e", "--metrics", "results.json")[0] == 0
        found = json.loads(run("experiments", "server", "status", "--format", "json")[1])
        assert (found["running"], found["server"]["address"]) == (True, address)
        assert json.loads(run("experiments", "server", "start", "--format", "json")[1])["server"]["address"] == address
        asked = urllib.request.Request(
            f"{address}/api/2.0/mlflow/experiments/search", b'{"max_results": 5}', {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked) as reply:
            assert "e" in {experiment["name"] for experiment in json.load(reply)["experiments"]}
    finally:
        assert json.loads(run("experiments", "server", "stop", "--format", "json")[1])["state"] == "stopped"
    assert server.running() is None
    assert server.knock(address)
    assert tracking.runs(tracking.own_settings(), "e")[0]["metrics"] == {"loss": 1.5}  # they are the workspace's


def test_a_port_that_is_taken_is_one_line(run):
    pytest.importorskip("mlflow", reason="experiments need the extra: pip install 'claude-flow[experiments]'")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, out, err = run("experiments", "server", "start", "--port", str(taken.getsockname()[1]))
    assert (code, out) == (2, "")
    assert "name another" in err
    assert json.loads(run("experiments", "server", "--format", "json")[1]) == {
        "server": None, "running": False, "state": "none runs",
    }  # fmt: skip
