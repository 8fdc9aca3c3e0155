"""Importance: values add up where a method promises it, an order means something, and what is not there is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("captum", reason="gradient methods need the extra: pip install 'claude-flow[explain]'")

from claude_flow import modelfile, registry
from claude_flow.cli import main
from claude_flow.insight import features
from claude_flow.insight.asked import Asked
from claude_flow.modelfile.quantize import quantize
from claude_flow.networks.inputs import Item, Part

LINE = ["neural", "explain", "features"]


@pytest.fixture(scope="module")
def asked() -> Asked:
    """A coordination model that ships, with six simulated requests."""
    found = Asked(registry.model_path("coordination-v2"))
    found.groups = {"simulated": found.items[:6]}
    return found


@pytest.mark.parametrize("method", features.METHODS)
def test_values_add_up_and_the_order_beats_chance(asked: Asked, method: str) -> None:
    found = features.features(asked, method)
    error = found["completeness"]["largest_error"]
    if method == "integrated-gradients":
        assert error <= features.COMPLETE
    if method == "shapley":
        assert error <= 1e-9
    curve = found["curves"]["deletion"]
    assert curve["area"] < curve["random_area"]
    assert found["curves"]["insertion"]["area"] > found["curves"]["insertion"]["random_area"]
    assert {row["name"] for row in found["groups"]} == {"agent-properties", "task-attributes", "system-state"}
    assert abs(sum(row["share"] for row in found["features"]) - 1) < 1e-9
    if method != "gradient-x-input":  # a slope at one point names no cause of a whole difference
        assert found["features"][0]["name"].startswith("type and ")
    unused = next(row for row in found["features"] if row["name"] == "past tasks' texts")  # no request brings any
    assert unused["size"] == 0
    assert unused["significant"] is False


def test_four_requests_are_too_few_to_tell() -> None:
    few = Asked(registry.model_path("coordination-v2"))
    few.groups = {"simulated": few.items[:4]}
    assert {row["significant"] for row in features.features(few, "ablation")["features"]} == {None}


def test_shapley_is_exact_where_parts_do_not_act_together() -> None:
    x = np.array([[1.0, 2.0, 3.0]], np.float32)
    parts = tuple(Part("g", f"p{i}", "it", 0, np.array([i])) for i in range(3))
    item = Item({}, x, ("it",), ("it",), parts, ("d",), ("a", "b"), lambda y, xp: y, (3,))
    weights = np.array([2.0, -1.0, 0.5])

    def lead(rows: Any) -> Any:
        return rows[:, 0] @ weights

    generator = np.random.default_rng(0)
    for method in ("shapley", "ablation"):
        values, _ = features.ENGINE[method](item, np.zeros_like(x), lead, {}, generator)
        np.testing.assert_allclose(values, [2.0, -2.0, 1.5])
    values, _ = features.ENGINE["permutation"](item, x, lead, {"it": np.zeros_like(x)}, generator)
    np.testing.assert_allclose(values, [2.0, -2.0, 1.5])


@pytest.mark.parametrize("network", ["coordination", "optimization", "prediction"])
def test_every_network_is_explained_on_a_page(
    network: str, small_models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html = tmp_path / "features.html"
    line = [*LINE, "--model", str(small_models[network]), "--html", str(html), "--time-budget", "1s"]
    assert main([*line, "--method", "ablation", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["requests"]["looked_at"] >= 1
    assert found["page"] == str(html)
    text = html.read_text("utf-8")
    assert "http" not in text
    assert "</svg>" in text


def test_one_line_for_what_is_not_there(
    small_models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(small_models["coordination"]), "--method", "ablation"]
    other = tmp_path / "other.jsonl"
    other.write_text('{"network": "prediction", "input": {"task-description": "fix it"}}\n')
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{\n")
    eight = tmp_path / "eight.safetensors"
    modelfile.write(eight, quantize(modelfile.read(small_models["coordination"])))
    for extra, told in (
        (
            ["--model", str(eight), "--method", "integrated-gradients"],
            "which have no gradient: use ablation",
        ),
        (["--feature-groups", "agent-propertys"], "did you mean agent-properties?"),
        (["--input", "no-such-view"], "is no view of requests"),
        (["--input", str(other)], "no request to coordination"),
        (["--input", str(broken)], "broken.jsonl:1"),
        (["--html", "page.txt"], "the page is a file .html"),
        (["--statistical-significance", "7"], "7"),
        (["--method", "lime"], "lime"),
    ):
        assert main([*LINE, *model, *extra]) == 2
        error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("...")]  # progress
        assert len(error) == 1, error
        assert told in error[0]
