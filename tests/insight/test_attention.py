"""Attention: rows add up, the page needs nothing else, and what is not there is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="explaining needs the extra: pip install 'claude-flow[train]'")

from claude_flow.cli import main


def test_attention_of_the_longest_request(
    small_models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, html = small_models["coordination"], tmp_path / "attention.html"
    data = str(path.parent.parent / "coordination-data")
    line = ["neural", "explain", "attention", "--model", str(path), "--input", data, "--html", str(html)]
    assert main([*line, "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    tokens = len(answer["tokens"])
    assert answer["tokens"][:2] == ["state", "agent 1"]
    for row in answer["attention"]:
        weights = np.array(row["weights"])
        assert weights.shape == (tokens, tokens)
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-3 * tokens)
        assert 0 <= row["entropy"] <= 1
    np.testing.assert_allclose(np.sum(answer["rollout"], axis=1), 1, atol=1e-3 * tokens)
    assert min(answer["ablation"]) >= 0
    text = html.read_text("utf-8")
    assert "http" not in text
    assert len(text) < 2e6
    assert main([*line, "--layer-range", "2-4"]) == 0
    told = capsys.readouterr().err.strip().splitlines()
    assert "has 1 layer(s) of attention, --layer-range asks beyond" in told[0]
    assert main([*line, "--head-selection", "9"]) == 2
    assert main([*line[:3], "--model", str(small_models["optimization"])]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert "has no head 9: its heads are 1 to 2" in told[-2]
    assert "has no self-attention layer to show" in told[-1]
