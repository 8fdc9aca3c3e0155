"""Requests on nodes: real Ray processes, one of which lies, dies, or meets a request that ends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from claude_flow import cli
from claude_flow.errors import ClaudeFlowError
from claude_flow.run import balance, batch, distributed
from claude_flow.run.cluster import Cluster
from claude_flow.run.worker import Worker

NAMES = ["node-1", "node-2"]
MODELS = ["optimization-v2"]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A Ray that all tests of the module use; each starts its own workers."""
    if find_spec("ray") is None:  # not imported: it reads its environment as it is
        pytest.skip("nodes need the extra: pip install 'claude-flow[distributed]'")
    try:
        cluster = Cluster(NAMES).__enter__()
    except ClaudeFlowError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    yield cluster
    cluster.__exit__()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "requests.jsonl"
    with path.open("w") as file:
        for i in range(24):  # six shards of four
            request = {"network": "optimization", "input": {"current-performance": {"latency": 100 + i}, "top": 1}}
            file.write(json.dumps({"id": f"r{i}", **request}) + "\n" if i != 9 else "no request\n")
    return path


def _run(source: Path, cluster: Cluster, **options: Any) -> tuple[distributed.Progress, list[dict[str, Any]]]:
    target = source.with_name("answers.jsonl")
    *_, last = distributed.answer_file(source, target, cluster, MODELS, batch_size=4, **options)
    return last, [json.loads(line) for line in target.read_text().splitlines()]


class Changed(Cluster):
    """The same nodes, one of which runs another worker."""

    changed: dict[str, type[Worker]]

    def worker(self, name: str) -> type[Worker]:
        return self.changed.get(name, Worker)


def test_a_node_that_lies_is_outvoted_and_named(nodes: Cluster, source: Path) -> None:
    class Liar(Worker):
        def answer(self, where: str, items: Any) -> tuple[list[bytes], float]:
            lines, seconds = super().answer(where, items)
            return [line.replace(b'"confidence": 0', b'"confidence": 1') for line in lines], seconds

    batch.answer_file(source, source.with_name("alone.jsonl"), batch.Ensemble(MODELS))
    alone = [json.loads(line) for line in source.with_name("alone.jsonl").read_text().splitlines()]
    cluster = Changed(NAMES)
    cluster.changed = {"node-2": Liar}
    last, answers = _run(source, cluster, load_balancing="round-robin")
    assert answers == alone
    assert [node["state"] for node in last.nodes] == ["answering", "outvoted"]
    assert last.nodes[0]["outvoted"] == 0 < last.nodes[1]["outvoted"]
    assert (last.summary.answered, last.summary.errors) == (23, 1)

    last, answers = _run(source, cluster, aggregation="first", load_balancing="least-loaded")
    assert [answer["id"] for answer in answers] == [answer["id"] for answer in alone]
    assert {node["disagreed"] for node in last.nodes} == {6}  # each of the shards


def test_a_node_that_is_killed_loses_and_repeats_nothing(nodes: Cluster, source: Path) -> None:
    class Slow(Worker):  # so that it is in the middle of a shard when it is killed
        def answer(self, where: str, items: Any) -> tuple[list[bytes], float]:
            import time

            time.sleep(0.3)
            return super().answer(where, items)

    target = source.with_name("answers.jsonl")
    cluster = Changed(NAMES)
    cluster.changed = {"node-2": Slow}
    is_killed = False
    for last in distributed.answer_file(
        source, target, cluster, MODELS, batch_size=2, fault_tolerance="retry", load_balancing="round-robin"
    ):
        if not is_killed:
            os.kill(last.nodes[1]["pid"], signal.SIGKILL)
            is_killed = True
    ids = [json.loads(line)["id"] for line in target.read_text().splitlines()]
    assert ids == [f"r{i}" if i != 9 else "10" for i in range(24)]
    assert [node["restarts"] for node in last.nodes] == [0, 1]
    assert sum(node["requests"] for node in last.nodes) >= 24


def test_a_request_that_ends_its_node_gets_an_error_record(nodes: Cluster, source: Path) -> None:
    class Fragile(Worker):
        def answer(self, where: str, items: Any) -> tuple[list[bytes], float]:
            if any("r13" in str(line) for _, line in items):
                os._exit(1)
            return super().answer(where, items)

    cluster = Changed(NAMES)
    cluster.changed = dict.fromkeys(NAMES, Fragile)
    last, answers = _run(source, cluster, fault_tolerance="retry", load_balancing="least-loaded")
    assert [i for i, answer in enumerate(answers) if "error" in answer] == [9, 13]
    assert "nodes ended" in answers[13]["error"]
    assert len(answers) == 24
    assert sum(node["restarts"] for node in last.nodes) >= 4  # two for the shard, two for the request


def test_the_prediction_network_learns_which_node_is_slow() -> None:
    seconds = {"a": 0.1, "b": 0.4}
    strategy = balance.NeuralWeighted(list(seconds))
    for size in (64, 32, 64, 64, 32, 64):
        for name, each in seconds.items():
            strategy.learn(name, size, each * size / 64)
    expected = strategy.expected(64)
    assert 2 < expected["b"] / expected["a"] < 8
    queues: dict[str, list[int]] = {"a": [], "b": []}
    for _ in range(8):
        name = strategy.choose(["a", "b"], queues, 64)
        assert name is not None
        queues[name].append(64)
    assert len(queues["a"]) > 2 * len(queues["b"]) > 0


def test_the_other_strategies_go_in_turn_or_by_load() -> None:
    names = ["a", "b", "c"]
    turn = balance.RoundRobin(names)
    empty: dict[str, list[int]] = {name: [] for name in names}
    assert [turn.choose(names, empty, 8) for _ in range(6)] == names * 2
    assert turn.choose(["b", "c"], empty, 8) is None  # it is a's turn, and a is busy
    least = balance.LeastLoaded(names)
    assert least.choose(names, {"a": [8, 8], "b": [8], "c": [4, 8]}, 8) == "b"
    assert Counter(least.choose(names, empty, 8) for _ in range(9)) == dict.fromkeys(names, 3)


@pytest.mark.skipif("CLAUDE_FLOW_LONG" not in os.environ, reason="a minute: CLAUDE_FLOW_LONG=1, or make scale")
def test_a_running_cluster_answers_by_the_names_of_its_nodes(source: Path, tmp_path: Path) -> None:
    if find_spec("ray") is None:
        pytest.skip("nodes need the extra: pip install 'claude-flow[distributed]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    start += ["--num-cpus", "2", "--object-store-memory", "100000000"]
    short = tempfile.mkdtemp(dir="/tmp")  # sockets lie in it, whose paths have 107 bytes at most
    places = {
        "node-1": ["--head", "--port", str(port), "--include-dashboard", "false", "--temp-dir", short],
        "node-2": ["--address", address],
    }
    infer = ["infer", "distributed", "--input-data", str(source), "--address", address, "--batch-size", "4"]
    infer += ["--model-ensemble", json.dumps(MODELS), "--format", "json"]

    def ask(nodes: list[str]) -> subprocess.CompletedProcess[str]:
        words = [*infer, "--nodes", json.dumps(nodes), "--output-file", str(tmp_path / "answers.jsonl")]
        return subprocess.run(
            [sys.executable, "-m", "claude_flow", "neural", *words], capture_output=True, text=True, timeout=200
        )

    processes = []
    try:
        for name, place in places.items():
            log = (tmp_path / name).open("w+")
            processes.append(subprocess.Popen([*start, "--node-name", name, *place], stdout=log, stderr=log))
            until = time.monotonic() + 120
            while "Ray runtime started" not in (tmp_path / name).read_text():
                assert processes[-1].poll() is None, (tmp_path / name).read_text()
                assert time.monotonic() < until
                time.sleep(0.2)
        done = ask(NAMES)
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
        assert [answer["id"] for answer in answers if "error" not in answer] == [f"r{i}" for i in range(24) if i != 9]
        other = ask(["node-1", "node-7"])
        assert (other.returncode, "node-7" in other.stderr) == (2, True), other.stderr
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(60)
        shutil.rmtree(short, ignore_errors=True)


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("--nodes", "[]"), "the list is empty"),
        (("--nodes", "a,a"), "twice"),
        (("--nodes", "a"), "two nodes"),
        (("--nodes", "a,b", "--address", "127.0.0.1:9"), "nothing answers"),
        (("--nodes", "a,b", "--address", "somewhere"), "HOST:PORT"),
        (("--nodes", "a,b", "--input-data", "large-inference-datset"), "did you mean large-inference-dataset"),
        (("--nodes", "a,b", "--input-data", "large-inference-dataset"), "logged no request"),
        (("--nodes", "a,b", "--model-ensemble", "coordination-v9"), "did you mean"),
        (("--nodes", "a,b", "--output-file", "requests.jsonl"), "overwrite"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...],
    word: str,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(source.parent)
    assert cli.main(["neural", "infer", "distributed", "--input-data", source.name, *words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("... ")]  # of progress
    assert len(lines) == 1
    assert word in lines[0]
