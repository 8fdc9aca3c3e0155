"""Two commits in one run: what is raced, on what it is judged, and that a slower one is seen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench import compare, points

import claude_flow as cf

HERE = Path(cf.__file__).parents[1]
GELU = {"group": "kernels", "name": "gelu, 64 KiB", "op": "gelu", "bytes": 64 << 10}


def package(folder: Path, ops: str) -> Path:
    """Another commit's package, in a few lines."""
    (folder / "claude_flow").mkdir(parents=True)
    (folder / "claude_flow" / "__init__.py").write_text("from claude_flow import ops\n")
    (folder / "claude_flow" / "ops.py").write_text(ops)
    return folder


def test_every_point_of_the_networks_is_raced():
    wanted = compare.points()
    for precision in points.PRECISIONS:
        raced = [(p["net"], p["shape"]) for p in wanted if p["group"] == f"networks {precision}"]
        assert raced == points.NETWORKS
    assert {p["op"] for p in wanted if "op" in p} == set(points.ELEMENTWISE)
    assert {p["load"] for p in wanted if "load" in p} == {net for net, _ in points.NETWORKS}


def row(name: str, ratio: float, group: str = "networks fp32") -> dict:
    return {"group": group, "name": name, "ratio": ratio}


def test_the_verdict_names_what_is_below_its_limit():
    assert (
        compare.verdict(
            [row("a", 1.0), row("b", 0.985), {"group": "networks fp32", "name": "c", "left_out": "base: x"}]
        )
        == []
    )
    assert compare.verdict([row("a", 1.1), row("b", 0.96)]) == ["networks fp32, b: 0.960 < 0.97"]
    assert compare.verdict([row("a", 0.98), row("b", 0.98)]) == ["networks fp32, geometric mean: 0.980 < 0.99"]
    assert compare.verdict([row("a", 0.96, "start"), row("b", 1.0, "start")]) == []
    assert compare.verdict([row("a", 0.9)], limit=0.5, least_mean=0.5) == []


def test_the_same_package_on_both_sides():
    pytest.importorskip("torch", reason="the networks come from torch: run  pip install 'claude-flow[train]'")
    wanted = [
        GELU,
        {"group": "networks int8", "name": "o", "net": "optimization", "shape": (1, 256), "precision": "int8"},
        {"group": "loading", "name": "optimization", "load": "optimization"},
        {"group": "start", "name": "python", "command": [sys.executable, "-c", "import claude_flow"]},
    ]
    notes: list[str] = []
    rows = compare.compare({"base": HERE, "ours": HERE}, wanted, 0.01, 0.0, notes.append)
    assert [r["name"] for r in rows] == [p["name"] for p in wanted]
    for r in rows:
        assert r["ratio"] == r["times"]["base"]["min"] / r["times"]["ours"]["min"] > 0
        assert min(r["times"][side]["calls"] for side in ("base", "ours")) >= 5
    assert len(notes) == len(rows)
    text = compare.page(rows)
    assert all(f"## {p['group']}" in text for p in wanted)


def test_a_slower_package_is_seen_and_one_without_the_point_is_left_out(tmp_path):
    busy = package(tmp_path / "busy", "def gelu(x, out):\n    return [i * i for i in range(500_000)]\n")
    (found,) = compare.compare({"base": HERE, "ours": busy}, [GELU], 0.01, compare.LIMIT, lambda _: None)
    assert found["ratio"] < 0.5
    assert compare.verdict([found])[0].startswith("kernels, gelu, 64 KiB: ")
    older = package(tmp_path / "older", "")
    (found,) = compare.compare({"base": older, "ours": HERE}, [GELU], 0.01, compare.LIMIT, lambda _: None)
    assert found["left_out"].startswith("base: AttributeError")
    assert compare.verdict([found]) == []
    assert found["left_out"] in compare.page([found])


def test_what_cannot_be_compared_is_said_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare", "no-such-branch"])
    with pytest.raises(SystemExit, match="git knows no commit 'no-such-branch'"):
        compare.main()
    monkeypatch.setattr(sys, "argv", ["compare", "HEAD", "--only", "no such point"])
    with pytest.raises(SystemExit, match="2"):
        compare.main()
    assert "no point's name has" in capsys.readouterr().err
