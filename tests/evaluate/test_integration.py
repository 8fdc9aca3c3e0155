"""Models together: what works passes, and a model that says something else on another backend is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from claude_flow.cli import main
from claude_flow.evaluate import integration


def test_the_shipped_models_work_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "integration.xml"
    line = ["neural", "test", "integration", "--models", '["coordination","optimization-v2","prediction"]']
    assert main([*line, "--performance-benchmarks", "true", "--junit", str(file), "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["passed"]
    assert {row["check"] for row in answer["checks"]} >= {"refuses nonsense", "in turn, as alone", "8 threads at once"}
    assert [row["model"] for row in answer["latencies"]][-1] == "all in turn"
    assert ElementTree.parse(file).getroot().get("failures") == "0"


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ({"a": [1.0, {"b": "x"}]}, {"a": [1.0, {"b": "y"}]}, "a.1.b: 'x' and 'y'"),
        ({"a": 0.5}, {"a": 0.51}, "a: 0.5 and 0.51"),
        ({"a": [1]}, {"a": [1, 2]}, "a: 1 and 2 entries"),
        ({"a": 1}, {"b": 1}, "answer: other fields"),
    ],
)
def test_where_answers_differ_is_said(one: Any, other: Any, where: str) -> None:
    assert integration._differs(one, other) == where
    assert integration._differs(one, one) == ""


def test_names_that_are_not_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["neural", "test", "integration", "--test-scenarios", "end-to-end-cordination"]) == 2
    assert main(["neural", "test", "integration", "--models", "no-such-model"]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 2
    assert "did you mean end-to-end-coordination" in told[0]
