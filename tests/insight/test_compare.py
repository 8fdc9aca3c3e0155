"""Two groups of requests and timelines: a planted difference is found, chance is not, wrong input is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="debugging needs the extra: pip install 'claude-flow[train]'")

from claude_flow.cli import main
from claude_flow.insight.asked import Asked
from claude_flow.insight.compare import compare
from claude_flow.insight.evolution import evolution
from claude_flow.networks.coordination.prepare import requests as simulated

LINE = ["neural", "debug", "activation-comparison"]


def _write(path: Path, rows: list[dict[str, Any]], change: Any = lambda request: request) -> Path:
    lines = [json.dumps({"network": "coordination", "input": change(row)}) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def _busy(request: dict[str, Any]) -> dict[str, Any]:
    return {**request, "current-agents": [{**agent, "load": 1.0} for agent in request["current-agents"]]}


def test_a_planted_difference_is_found_and_chance_is_not(
    small_models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, rows = small_models["coordination"], list(simulated(24, 5))
    one, other = (_write(tmp_path / f"{i}.jsonl", rows[i::2]) for i in range(2))
    assert compare(Asked(model, f"{one},{other}"))["differing"] == []
    busy = _write(tmp_path / "busy.jsonl", rows[1::2], _busy)
    found = compare(Asked(model, f"{one},{busy}"))
    assert found["differing"]
    html = tmp_path / "compared.html"
    line = [*LINE, "--model", str(model), "--input-pairs", f"{one},{busy}", "--html", str(html)]
    assert main([*line, "--statistical-tests", "false", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][0]["p_corrected"] is None
    assert "http" not in html.read_text("utf-8")
    few = _write(tmp_path / "few.jsonl", rows[:1])
    for pairs, told in (
        (f"{one},{few}", "two groups of at least 3"),
        (f"{one}", "two groups"),
        ("good-vs-bad", "no view"),
    ):
        assert main([*line[:-4], "--input-pairs", pairs]) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert len(error) == 1
        assert told in error[0]


def test_a_timeline_that_breaks_is_seen(
    small_models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, row = small_models["coordination"], next(iter(simulated(1, 5)))
    same = _write(tmp_path / "same.jsonl", [row] * 8)
    found = evolution(Asked(model, str(same)))
    assert found["changes"] == []
    assert not any(trend["significant"] for trend in found["trends"])
    assert sum(len(cluster) for cluster in found["clusters"]) == len(found["heads"]) == 2
    html = tmp_path / "evolution.html"
    line = ["neural", "explain", "attention-evolution", "--model", str(model), "--html", str(html)]
    assert main([*line, "--sequence", str(same), "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["heads"][0]["entropy"]) == 8
    assert "http" not in html.read_text("utf-8")
    short = _write(tmp_path / "short.jsonl", [row] * 2)
    assert main([*line, "--sequence", str(short)]) == 2
    assert main([*line[:3], "--model", str(small_models["prediction"]), "--sequence", "typical-prediction-tasks"]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert "at least 3 requests" in told[0]
    assert "has no self-attention layer" in told[1]
