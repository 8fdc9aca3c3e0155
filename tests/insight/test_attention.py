"""Attention: rows add up, the page needs nothing else, and what is not there is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="explaining needs the extra: pip install 'claude-flow[train]'")

import torch
from torch.nn import functional

from claude_flow import nets
from claude_flow.cli import main
from claude_flow.insight.attention import Shown, attention, parts_of, weights_of


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
    assert main([*line, "--layer-range", "5"]) == 2  # the guide's network has four
    assert main([*line, "--head-selection", "9"]) == 2
    assert main([*line[:3], "--model", str(small_models["optimization"])]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert "asks beyond: name layers from 1 to 1" in told[-3]
    assert "has no head 9: its heads are 1 to 2" in told[-2]
    assert "has no self-attention layer to show" in told[-1]


def test_tokens_have_the_ids_of_a_request_and_pictures_are_drawn(
    small_models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra: pip install 'claude-flow[bench]'")
    swarm, picture = Path(__file__).parents[2] / "docs" / "examples" / "swarm.json", tmp_path / "attention.svg"
    line = ["neural", "explain", "attention", "--model", str(small_models["coordination"]), "--format", "json"]
    line += ["--input", str(swarm), "--html", str(tmp_path / "attention.html")]
    assert main([*line, "--chart", str(picture)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["tokens"] == ["state", "agent arch-001", "agent code-001", "task task-001", "task task-002"]
    assert set(answer["agreement"]) == {"raw", "rollout", "gradient_weighted"}
    assert np.min(answer["gradient_weighted"]) >= 0
    assert "</svg>" in picture.read_text("utf-8")
    assert main([*line, "--chart", str(tmp_path / "attention.jpg")]) == 2
    assert "attention.jpg: a chart is a file .html, .png or .svg" in capsys.readouterr().err


def test_gradient_weighted_attention_is_the_papers_on_a_network_known_by_hand() -> None:
    """One head, one layer: R is the positive part of attention times the numerical gradient by attention."""
    torch.manual_seed(3)
    module = nets.create("coordination", {"width": 8, "heads": 1, "feed_forward": [8], "output_width": 8})
    module, x = module.double().eval(), torch.randn(1, 4, 512, dtype=torch.float64)
    shown = Shown("toy", "coordination", "noise", module, x, list("abcd"))
    (part,) = parts_of(module, "toy")
    weights = torch.from_numpy(weights_of(module, [part], x)[0])

    def output(by: torch.Tensor) -> torch.Tensor:
        """Half the square of the outputs where the attention is ``by`` [1, 4, 4]."""
        h = module.embedding(x)
        v = part.qkv(part.norm1(h))[0, :, 16:]
        h = h + part.projection(by[0] @ v)
        h = h + part.down(functional.gelu(part.up(part.norm2(h))))
        return module.head(module.norm(h)).square().sum() / 2

    slope = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            moved = torch.zeros(1, 4, 4, dtype=torch.float64)
            moved[0, i, j] = 1e-5
            with torch.no_grad():
                slope[i, j] = float(output(weights + moved) - output(weights - moved)) / 2e-5
    want = np.maximum(weights[0].numpy() * slope, 0)
    np.testing.assert_allclose(attention(shown)["gradient_weighted"], want, rtol=1e-4, atol=1e-9)
