"""Production: metrics from the log, one alert per change of level, channels that are tested, files for other tools."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from claude_flow import registry, requests
from claude_flow.watch import alerts, levels, production

pytest.importorskip("prometheus_client", reason="monitoring needs the extra: pip install 'claude-flow[notify]'")
SWARM = {"current-agents": [{"id": "a", "type": "coder"}], "pending-tasks": [{"id": "t", "type": "implementation"}]}


def log(count: int, seconds: float = 0.05) -> None:
    answer = {"model": "coordination-v3", "assignments": [{"confidence": 0.9}]}
    for _ in range(count):
        requests.keep("coordination", SWARM, None, seconds, answer)


def outcomes(*scores: bool) -> None:
    for line, score in enumerate(scores, 1):
        alerts.append_line(registry.workspace() / "outcomes" / "a.jsonl", {"id": f"000001-{line}", "correct": score})


@pytest.fixture
def heard() -> Iterator[tuple[str, list[str]]]:
    """The address of a local server that takes notifications, and what it was told."""
    told: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["message"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"json://secret-user:secret-word@127.0.0.1:{server.server_port}/", told
    server.shutdown()


def test_alerts_rise_once_recover_once_and_reach_the_channel(run, heard, monkeypatch):
    pytest.importorskip("apprise", reason="notifications need the extra: pip install 'claude-flow[notify]'")
    address, told = heard
    monkeypatch.setenv("CLAUDE_FLOW_NOTIFY_OPS", address)
    log(30)
    outcomes(*[True] * 15, *[False] * 10)
    command = ["monitor", "production", "--models", "coordination-v3", "--metrics", "accuracy,latency,confidence",
               "--alert-thresholds", '{"accuracy": {"warning": 0.85, "critical": 0.5}}', "--once", "--format", "json",
               "--notification-channels", "ops", "--html", "page.html"]  # fmt: skip
    code, out, err = run(*command)
    answer = json.loads(out)
    values = answer["models"][0]["metrics"]
    assert (code, values["accuracy"]["value"], values["accuracy"]["note"]) == (0, 0.6, "17% of the outcomes are open")
    assert values["latency"]["value"] == pytest.approx(50)
    assert [alert["level"] for alert in answer["alerts"]] == ["warning"]
    assert "<td class=number>0.6<td>warning" in Path("page.html").read_text()
    assert json.loads(run(*command)[1])["alerts"] == []  # the same level again is no news
    outcomes(*[True] * 25)
    assert [alert["level"] for alert in json.loads(run(*command)[1])["alerts"]] == ["recovered"]
    works = "claude-flow: this channel works"
    assert [told[i] for i in (0, 2, 3)] == [works] * 3
    assert "accuracy is 0.6: warning" in told[1]
    assert "recovered" in told[4]
    written = [out, err, alerts.path().read_text(), *(f.read_text() for f in registry.workspace().glob("*/*.json*"))]
    assert not any("secret" in text for text in written)


def test_a_value_that_wavers_at_its_threshold_is_one_alert():
    limit = levels.Threshold(100, 200, higher=False)
    raised = [
        levels.changes({"m latency": (value, limit)}, "production") for value in (99, 101, 95, 101, None, 89, 250)
    ]
    assert [[alert["level"] for alert in one] for one in raised] == [
        [], ["warning"], [], [], [], ["recovered"], ["critical"],
    ]  # fmt: skip


def test_prometheus_rules_and_dashboard_are_what_those_tools_read(run, tmp_path):
    log(2)
    folder = registry.workspace() / "monitor"
    limits = '{"latency": {"warning": 100, "critical": 200}}'
    assert run("monitor", "production", "--models", "coordination-v3", "--alert-thresholds", limits, "--once")[0] == 0
    assert 'claude_flow_latency_seconds{model="coordination-v3"' in (folder / "metrics.prom").read_text()
    rules = json.loads((folder / "alert-rules.yml").read_text())["groups"][0]["rules"]
    assert [rule["expr"] for rule in rules] == [f"claude_flow_latency_seconds >= {n}" for n in (0.1, 0.2)]
    assert {panel["title"] for panel in json.loads((folder / "dashboard.json").read_text())["panels"]} == {
        "accuracy", "latency", "throughput", "drift",
    }  # fmt: skip


def test_promtool_takes_the_metrics_and_the_rules_and_the_rules_fire(run, tmp_path):
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    log(2)
    limits = '{"latency": {"warning": 10, "critical": 200}, "accuracy": {"warning": 0.85, "critical": 0.8}}'
    assert run("monitor", "production", "--models", "coordination-v3", "--alert-thresholds", limits, "--once")[0] == 0
    folder = registry.workspace() / "monitor"
    metrics = subprocess.run(
        [promtool, "check", "metrics"], input=(folder / "metrics.prom").read_bytes(), capture_output=True
    )
    assert (metrics.returncode, metrics.stderr) == (0, b"")
    series = [{"series": "claude_flow_latency_seconds{model='m',network='n'}", "values": "0.05x10"}]
    labels = {"severity": "warning", "model": "m", "network": "n"}
    words = {"summary": "m: 95th percentile of the time of an answer is 0.05"}
    fires = {"eval_time": "5m", "alertname": "ClaudeFlowLatencyWarning",
             "exp_alerts": [{"exp_labels": labels, "exp_annotations": words}]}  # fmt: skip
    silent = {"eval_time": "5m", "alertname": "ClaudeFlowLatencyCritical", "exp_alerts": []}
    case = {"interval": "1m", "input_series": series, "alert_rule_test": [fires, silent]}
    (tmp_path / "case.yml").write_text(
        json.dumps({"rule_files": [str((folder / "alert-rules.yml").resolve())], "tests": [case]})
    )
    for words_ in (("check", "rules", folder / "alert-rules.yml"), ("test", "rules", tmp_path / "case.yml")):
        done = subprocess.run([promtool, *words_], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_fetches_the_metrics():
    server = production.Server(0)
    server.show({"models": [{"model": "m", "network": "n", "requests": 3, "metrics": {"drift": {"value": 0.5}}}]})
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
        assert 'claude_flow_drift_distance{model="m",network="n"} 0.5' in answer.read().decode()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--models", "gone"], "there is no model 'gone'"),
        (["--metrics", "acuracy"], "did you mean accuracy?"),
        (["--alert-thresholds", '{"latency": {"warning": 200, "critical": 100}}'], "critical must lie above warning"),
        (["--alert-thresholds", '{"accuracy": {"warning": 0.8, "critical": 0.9}}'], "critical must lie below warning"),
        (["--alert-thresholds", '{"accuracy": {"warning": 0.8}}'], "write {"),
        (["--alert-thresholds", '{"speed": {}}'], "there is no such metric"),
        (["--notification-channels", "slak"], "did you mean slack?"),
        (["--notification-channels", "slack://a/b/c"], "set CLAUDE_FLOW_NOTIFY_OPS to it"),
    ],
)
def test_wrong_input_is_one_line(run, words, told):
    code, out, err = run("monitor", "production", "--models", "coordination-v3", "--once", *words)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.strip().splitlines()) == 1
