"""The playground in a terminal, by its keys: what changes, what is answered, and where there is no terminal."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("textual", reason="the terminal needs the extra: pip install 'claude-flow[terminal]'")

from claude_flow.cli import main
from claude_flow.cli.terminal import app
from claude_flow.run.playground import Models


def test_keys_change_a_request_and_it_is_answered_anew() -> None:
    models = Models(["coordination-v2", "optimization"])
    program = app(models)
    shown: dict[str, Any] = {}

    async def use() -> None:
        async with program.run_test(size=(120, 40)) as pilot:
            shown["first"] = str(program.query_one("#answer-coordination").content)
            before = program.requests["coordination"]["input"]["current-agents"][0]["load"]
            await pilot.press("right", "right", "c")
            shown["load"] = before, program.requests["coordination"]["input"]["current-agents"][0]["load"]
            shown["then"] = str(program.query_one("#answer-coordination").content)
            await pilot.press("n")
            shown["network"] = program.network
            await pilot.press("r", "c")
            shown["reset"] = str(program.query_one("#answer-coordination").content)
            await pilot.press("q")

    asyncio.run(use())
    before, after = shown["load"]
    assert after == pytest.approx(min(1.0, before + 0.1))
    assert shown["network"] == "optimization"
    assert shown["first"].startswith("coordination-v2, ")
    assert "claude-flow neural infer coordination" in shown["then"]
    assert f'"load":{after}' in shown["then"]
    asked = models.ask({"model": "coordination-v2", "arguments": models.setup()["examples"]["coordination"]})
    for task in (row["task"] for row in asked["answer"]["assignments"]):
        assert task in shown["first"]
        assert task in shown["reset"]


def test_without_a_terminal_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["neural", "playground", "--models", "optimization", "--terminal", "true"]) == 2
    assert capsys.readouterr().err == "error: --terminal needs a terminal: leave it out for the page\n"
