"""The server as clients meet it: one process for most tests, asked over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from claude_flow import cli, networks, registry, requests
from claude_flow.model import load_for
from claude_flow.values import plain

pytest.importorskip("uvicorn", reason="needs the extra: pip install 'claude-flow[serve]'")
pytest.importorskip("prometheus_client", reason="needs the extra: pip install 'claude-flow[serve]'")

SWARM = {
    "current-agents": [{"id": "ann", "type": "tester"}, {"id": "bob", "type": "coder"}],
    "pending-tasks": [{"id": "t1", "type": "testing"}],
}
TOKEN = "secret"
COMMAND = [sys.executable, "-m", "claude_flow", "neural", "serve", "--port", "0", "--format", "json"]


class Running:
    """A server's process, and how to ask it."""

    def __init__(self, home: Path, *words: str, token: str | None = TOKEN) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLAUDE_")}
        environment = {**kept, "CLAUDE_FLOW_HOME": str(home), "OMP_NUM_THREADS": "1"}
        if token:
            environment["CLAUDE_FLOW_TOKEN"] = token
        self.errors = home.parent / f"{home.name}.stderr"
        self.home = home
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [*COMMAND, *words], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        text = ""
        for line in self.process.stdout:
            text += line
            if line == "}\n":
                break
        assert text, self.errors.read_text()
        self.about = json.loads(text)
        self.port = self.about["port"]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON (or text) and headers of an answer."""
        connection = self.connect()
        given = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, given)
        answer = connection.getresponse()
        text = answer.read().decode()
        found = json.loads(text) if answer.headers["content-type"] == "application/json" else text
        connection.close()
        return answer.status, found, {name.lower(): value for name, value in answer.headers.items()}

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two versions of a model, of which the lower one is current."""
    folder = tmp_path_factory.mktemp("serve") / "workspace"
    folder.mkdir()
    before = os.environ.get("CLAUDE_FLOW_HOME")
    os.environ["CLAUDE_FLOW_HOME"] = str(folder)
    try:
        for version in ("1.0.0", "1.1.0"):
            registry.add_model("mine", version, registry.built_in("coordination-v3"), {"network": "coordination"})
        registry.point("mine", "1.0.0", "test")
    finally:
        del os.environ["CLAUDE_FLOW_HOME"]
        if before:
            os.environ["CLAUDE_FLOW_HOME"] = before
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Running]:
    running = Running(home, "--body-limit", "64kb", "--waiting", "24", "--batch-size", "8", "--deadline", "2m")
    yield running
    assert running.end() == 0, running.errors.read_text()
    assert "Traceback" not in running.errors.read_text(), running.errors.read_text()


@pytest.fixture(autouse=True)
def _same_workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(home))


@pytest.mark.parametrize("network", list(networks.NETWORKS))
def test_every_network_answers_as_it_does_here(server: Running, network: str) -> None:
    row = networks.get(network)
    arguments = requests.example(row) | ({"decision-time": "2026-01-01T00:00:00Z"} if network == "prediction" else {})
    request, keywords = requests.split(row, arguments)
    expected = row.answer.answer(load_for(network), request, explain=True, **keywords)
    status, found, headers = server.ask("POST", f"/infer/{network}", {**arguments, "explain": True}, X_Request_Id="a7")
    assert (status, headers["x-request-id"]) == (200, "a7")
    assert found == json.loads(json.dumps(plain(expected)))


def test_an_answer_is_logged_as_monitor_reads_it(server: Running) -> None:
    assert server.ask("POST", "/infer/coordination", {"input": SWARM}, X_Request_Id="logged-1")[0] == 200
    for _ in range(100):
        found = [request for request in _logged(server.home) if request["id"] == "logged-1"]
        if found:
            break
        time.sleep(0.05)
    assert found[0]["input"] == SWARM
    assert found[0]["answer"]["model"] == "mine/1.0.0"
    assert found[0]["seconds"] > 0
    production = pytest.importorskip("claude_flow.watch.production")
    state = production.state(production.watched(["mine"]), ["latency"], 3600, "training-distribution", time.time())
    assert state["models"][0]["requests"] >= 1


def _logged(home: Path) -> list[dict[str, Any]]:
    files = sorted((home / "requests").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "word"),
    [
        ("POST", "/infer/coordination", {"input": SWARM}, {"Authorization": "Bearer wrong"}, 401, "token"),
        ("GET", "/metrics", None, {"Authorization": ""}, 401, "token"),
        ("POST", "/infer/coordination", {"input": SWARM}, {"Content-Type": "text/plain"}, 415, "application/json"),
        ("GET", "/infer/coordination", None, {}, 405, "POST"),
        ("POST", "/infer/coordinatoin", {}, {}, 404, "/docs"),
        ("POST", "/infer/coordination", b"{", {}, 400, "not JSON"),
        ("POST", "/infer/coordination", b"\xff\xfe\x00", {}, 400, "the body"),
        ("POST", "/infer/coordination", b"[]", {}, 400, "object"),
        ("POST", "/infer/coordination", {"input": SWARM, "x": 1}, {}, 400, "x"),
        ("POST", "/infer/coordination", {"input": SWARM, "model": "/etc/passwd"}, {}, 400, "no model"),
        ("POST", "/infer/coordination", {"input": SWARM, "model": "optimization-v2"}, {}, 400, "optimization model"),
        ("POST", "/infer/coordination", {"input": SWARM}, {"X-Deadline-Ms": "soon"}, 400, "milliseconds"),
        ("POST", "/infer/coordination", b" " * 70_000, {}, 413, "bytes"),
        ("POST", "/record_outcome", {"agent": "a"}, {}, 400, "task"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    server: Running, method: str, path: str, body: Any, headers: dict[str, str], status: int, word: str
) -> None:
    found, answer, _ = server.ask(method, path, body, **headers)
    assert found == status
    assert word in answer["error"]
    assert "\n" not in answer["error"]


def test_a_huge_body_is_refused_before_it_is_sent(server: Running) -> None:
    head = (
        f"POST /infer/action HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as told:
        told.sendall(f"{head}Content-Length: {10**9}\r\n\r\n".encode())
        assert told.makefile("rb").read().startswith(b"HTTP/1.1 413 ")  # and the connection is closed
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    chunks = [f"{head}Transfer-Encoding: chunked\r\n\r\n".encode(), *[chunk] * 10_000]
    heads = [b"GET / HTTP/1.1\r\nX-Long: ", *[b"x" * 65536] * 10_000]
    for parts in (chunks, heads):  # 655 MB, were they taken
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            _send(server.port, parts)
    assert server.ask("GET", "/health")[0] == 200


def _send(port: int, parts: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as endless:
        for part in parts:
            endless.sendall(part)


def test_clients_that_go_or_never_read_do_not_disturb_others(server: Running) -> None:
    body = json.dumps({"input": SWARM}).encode()
    request = (
        f"POST /infer/coordination HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    silent = socket.create_connection(("127.0.0.1", server.port), timeout=1)
    try:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.sendall(request * 20)  # and reads nothing
        for _ in range(12):
            with socket.create_connection(("127.0.0.1", server.port)) as gone:
                gone.sendall(request)
        answers = [server.ask("POST", "/infer/coordination", {"input": SWARM}) for _ in range(5)]
    finally:
        silent.close()
    assert [(status, found["assignments"][0]["agent"]) for status, found, _ in answers] == [(200, "ann")] * 5


def test_what_is_too_much_or_too_late_is_refused_and_the_rest_is_right(server: Running) -> None:
    """Three times as many at once as may wait, and some that have a millisecond only."""

    def ask(i: int) -> tuple[int, Any, dict[str, str]]:
        hurry = {"X_Deadline_Ms": "1"} if i % 8 == 0 else {}
        return server.ask("POST", "/infer/coordination", {"input": SWARM, "explain": True}, **hurry)

    with ThreadPoolExecutor(72) as pool:
        found = list(pool.map(ask, range(216)))
    codes = {status for status, _, _ in found}
    assert codes <= {200, 503, 504}
    assert {200, 503} <= codes
    assert all(answer["assignments"][0]["agent"] == "ann" for status, answer, _ in found if status == 200)
    assert all(int(headers["retry-after"]) >= 1 for status, _, headers in found if status == 503)
    assert server.ask("POST", "/infer/coordination", {"input": SWARM})[0] == 200  # and it goes on


def test_a_version_is_switched_without_a_lost_request(server: Running) -> None:
    seen: list[tuple[int, str]] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            status, answer, _ = server.ask("POST", "/infer/coordination", {"input": SWARM})
            seen.append((status, answer.get("model", "")))

    def until(model: str) -> None:
        first = len(seen)
        for _ in range(400):
            if any(name == model for _, name in seen[first:]):
                return
            time.sleep(0.02)
        pytest.fail(f"{model} never answered: {seen[-3:]}")

    broken = server.home / "models" / "mine" / "1.2.0"
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        until("mine/1.0.0")
        registry.point("mine", "1.1.0", "forward")
        until("mine/1.1.0")
        registry.point("mine", "1.0.0", "back")
        until("mine/1.0.0")
        broken.mkdir()
        (broken / "card.json").write_text('{"network": "coordination"}')
        (broken / "model.safetensors").write_bytes(b"broken")
        registry.point("mine", "1.2.0", "broken")
        for _ in range(400):
            wrong = server.ask("GET", "/ready")[1]["wrong"]
            if wrong:
                break
            time.sleep(0.02)
        until("mine/1.0.0")
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        registry.point("mine", "1.0.0", "test")
    assert "mine/1.0.0 goes on answering" in wrong[0]
    assert {status for status, _ in seen} == {200}


def test_it_describes_itself(server: Running) -> None:
    document = server.ask("GET", "/openapi.json")[1]
    assert {f"/infer/{name}" for name in networks.NETWORKS} <= set(document["paths"])
    assert "/infer/coordination" in server.ask("GET", "/docs")[1]
    state = server.ask("GET", "/ready")[1]
    assert state["ready"]
    assert set(state["models"]) == set(networks.NETWORKS)
    assert 'claude_flow_serve_requests_total{code="200",network="coordination"}' in server.ask("GET", "/metrics")[1]


def test_an_outcome_is_where_collect_finds_it(server: Running) -> None:
    told = {"agent": "ann", "task": "t1", "success": True, "duration_s": 90}
    status, found, _ = server.ask("POST", "/record_outcome", told)
    assert status == 200
    event = json.loads(Path(found["recorded_in"]).read_text().splitlines()[-1])
    assert (event["agent"], event["success"]) == ("ann", True)
    assert Path(found["recorded_in"]).parent == server.home / "events"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full: /dev/full")
def test_a_full_disk_is_told_and_stops_no_answer(tmp_path: Path) -> None:
    home = tmp_path / "workspace"
    (home / "requests").mkdir(parents=True)
    log = home / "requests" / "000001.jsonl"
    log.symlink_to("/dev/full")
    running = Running(home, "--models", "coordination", "--deadline", "2m", token=None)
    try:
        asked = json.dumps({"input": SWARM, "explain": True})
        connection = running.connect()
        connection.request("POST", "/infer/coordination", asked, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200
        for _ in range(100):
            if wrong := running.ask("GET", "/ready")[1]["wrong"]:
                break
            time.sleep(0.05)
        assert "No space left" in wrong[0]
        log.unlink()
        for _ in range(100):
            if not running.ask("GET", "/ready")[1]["wrong"]:
                break
            time.sleep(0.05)
        # What was begun is answered after SIGTERM, and what waited for the log is in it.
        begun = [running.connect() for _ in range(6)]
        for connection in begun:
            connection.request("POST", "/infer/coordination", asked, {"Content-Type": "application/json"})
        assert running.ask("GET", "/ready")[0] == 200
        running.process.send_signal(signal.SIGTERM)
        codes = [connection.getresponse().status for connection in begun]
        code = running.process.wait(60)
    finally:
        running.process.kill()
    assert code == 0
    assert codes == [200] * 6
    assert len(_logged(home)) == 7
    told = running.errors.read_text()
    assert "answers are not logged: No space left" in told
    assert "logged again; 0 were lost" in told


def test_over_tls(tmp_path: Path) -> None:
    import shutil

    import claude_flow as cf

    if not shutil.which("openssl"):
        pytest.skip("openssl is not here to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    with cf.serve(["optimization"], tls=(certificate, key), log=False) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection("localhost", server.port, timeout=60, context=context)
        connection.request("GET", "/ready")
        assert json.load(connection.getresponse())["models"] == {"optimization": "optimization-v2"}
    assert server.address.startswith("https://")
    with pytest.raises(cf.errors.InputError, match="no certificate in PEM"):
        cf.serve(["optimization"], tls=(key, key))


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["--models", "coordinatoin"], "there is no model"),
        (["--host", "0.0.0.0"], "CLAUDE_FLOW_TOKEN"),
        (["--host", "no.such.host.invalid"], "CLAUDE_FLOW_TOKEN"),
        (["--tls-key", "key.pem"], "go together"),
        (["--tls-key", "key.pem", "--tls-certificate", "cert.pem"], "there is no such file"),
        (["--deadline", "soon"], "soon"),
    ],
)
def test_wrong_options_are_one_line(
    words: list[str], word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLAUDE_FLOW_TOKEN", raising=False)
    assert cli.main(["neural", "serve", *words]) == 2
    assert word in (told := capsys.readouterr().err)
    assert told.count("\n") == 1


def test_a_port_in_use_is_told(server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["neural", "serve", "--port", str(server.port)]) == 2
    assert f"port {server.port}: Address already in use: name another" in capsys.readouterr().err
