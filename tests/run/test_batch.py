"""Files of requests: mixed kinds, bad lines, formats, and a run that was killed."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from claude_flow import cli
from claude_flow.run import batch

SWARM = {
    "current-agents": [{"id": "ann", "type": "tester"}, {"id": "bob", "type": "coder"}],
    "pending-tasks": [{"id": "t1", "type": "testing"}],
}
GOOD = [
    {"id": "a", "network": "coordination", "input": SWARM},
    {"network": "optimization", "input": {"current-performance": {"latency": 120, "throughput": 45}, "top": 2}},
    {"id": 7, "network": "prediction", "input": {"task-description": "fix a flaky test"}},
    {"id": "old", "network": "coordination", "input": SWARM, "model": "coordination-v2"},
]


def _file(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def _answers(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_mixed_requests_keep_their_order_and_bad_lines_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = ["{", '{"network": "coordination"}', '{"network": "coordination", "input": {"current-agents": []}}']
    source = _file(tmp_path / "inference-requests.jsonl", [GOOD[0], bad[0], *GOOD[1:3], *bad[1:], GOOD[3]])
    ensemble = '["coordination-v3","optimization-v2","prediction-v2"]'
    words = ["neural", "infer", "batch", "--input-file", str(source), "--model-ensemble", ensemble, "--batch-size", "3"]
    code = cli.main([*words, "--parallel-processing", "true", "--output-format", "structured-json", "--format", "json"])
    out, error = capsys.readouterr()
    assert code == 0, error
    summary = json.loads(out)
    assert (summary["answered"], summary["errors"]) == (4, 3)
    answers = _answers(tmp_path / "inference-requests.answers.jsonl")
    assert [a["id"] for a in answers] == ["a", "2", "3", "7", "5", "6", "old"]
    assert ["error" in a for a in answers] == [False, True, False, False, True, True, False]
    assert answers[0]["answer"]["assignments"][0]["agent"] == "ann"
    assert len(answers[2]["answer"]["recommendations"]) <= 2
    assert answers[-1]["model"] == "coordination-v2"
    assert all(a["error"].count("\n") == 0 for a in answers if "error" in a)


def test_several_models_of_one_network_all_answer(tmp_path: Path) -> None:
    source = _file(tmp_path / "r.jsonl", [GOOD[0]])
    batch.answer_file(source, tmp_path / "out", batch.Ensemble(["coordination-v3", "coordination-v2"]))
    (answer,) = _answers(tmp_path / "out")
    assert answer["models"] == ["coordination-v3", "coordination-v2"]
    assert set(answer["answers"]) == set(answer["models"])


def test_every_format_gives_the_same_answers(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    plain = _file(tmp_path / "r.jsonl", GOOD)
    zipped = tmp_path / "r.jsonl.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "r.parquet"
    columns = {
        "id": [str(r["id"]) if "id" in r else None for r in GOOD],
        "network": [r["network"] for r in GOOD],
        "input": [json.dumps(r["input"]) for r in GOOD],
        "model": [r.get("model") for r in GOOD],
    }
    parquet.write_table(pyarrow.table(columns), table)
    found = []
    for source in (plain, zipped, table):
        batch.answer_file(source, tmp_path / "out", batch.Ensemble())
        found.append([{k: v for k, v in a.items() if k != "answer"} for a in _answers(tmp_path / "out")])
    assert found[0] == found[1] == found[2]


def test_a_killed_run_is_gone_on_with(tmp_path: Path) -> None:
    source = _file(tmp_path / "r.jsonl", GOOD * 5)
    whole, part = tmp_path / "whole", tmp_path / "part"
    ensemble = batch.Ensemble()
    batch.answer_file(source, whole, ensemble)
    lines = whole.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:7]) + lines[7][:20])  # the eighth was being written
    summary = batch.answer_file(source, part, ensemble, resume=True)
    assert (summary.resumed, summary.requests) == (7, 13)
    assert [a["id"] for a in _answers(part)] == [a["id"] for a in _answers(whole)]


def test_standard_input_and_output(tmp_path: Path) -> None:
    lines = "".join(json.dumps(r) + "\n" for r in GOOD[:2])
    command = [sys.executable, "-m", "claude_flow", "neural", "infer", "batch", "--input-file", "-"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert [json.loads(line)["network"] for line in io.StringIO(done.stdout)] == ["coordination", "optimization"]


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("--input-file", "nothing.jsonl"), "no such file"),
        (("--input-file", "r.jsonl", "--output-file", "r.jsonl"), "overwrite"),
        (("--input-file", "r.jsonl", "--model-ensemble", "coordination-v9"), "did you mean"),
        (("--input-file", "broken.parquet"), "no parquet file"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...],
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    _file(tmp_path / "r.jsonl", GOOD)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    assert cli.main(["neural", "infer", "batch", *words]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert error.count("\n") == 1
