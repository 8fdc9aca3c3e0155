"""The tools that agents see, asked by the SDK's own client over standard input and output, and over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from claude_flow import cli
from claude_flow.errors import InputError
from claude_flow.run.mcp import Tools

SWARM = {
    "current-agents": [{"id": "ann", "type": "tester"}, {"id": "bob", "type": "coder"}],
    "pending-tasks": [{"id": "t1", "type": "testing"}],
}
SERVER = [sys.executable, "-m", "claude_flow", "neural", "mcp"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a workspace, which is not the folder in which the server starts."""
    (tmp_path / "project" / ".claude-flow" / "neural").mkdir(parents=True)
    return tmp_path / "project"


def _environment(project: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLAUDE_")}
    return {**kept, "CLAUDE_PROJECT_DIR": str(project), "OMP_NUM_THREADS": "1"}


async def _calls(read: Any, write: Any) -> tuple[list[Any], dict[str, Any]]:
    """The tools that a client sees, and what it gets of them."""
    from mcp.client.session import ClientSession

    async with ClientSession(read, write) as session:
        await session.initialize()
        tools = (await session.list_tools()).tools
        asked = {
            "coordinate": {"input": SWARM, "explain": True},
            "optimize": {"current-performance": {"latency": 120, "throughput": 45}, "top": 1},
            "predict": {"task-description": "fix a flaky test", "confidence-intervals": [0.8]},
            "act": {"input": SWARM},
            "record_outcome": {"agent": "ann", "task": "t1", "success": True, "duration_s": 90},
            "wrong": {},
        }
        found = {name: await session.call_tool(name, arguments) for name, arguments in asked.items()}
        found["no agents"] = await session.call_tool("coordinate", {"input": {"current-agents": []}})
        return tools, found


def test_a_client_calls_every_tool_over_standard_input_and_output(project: Path, tmp_path: Path) -> None:
    anyio = pytest.importorskip("anyio")
    stdio = pytest.importorskip("mcp.client.stdio", reason="needs the extra: pip install 'claude-flow[mcp]'")

    async def run() -> tuple[list[Any], dict[str, Any]]:
        server = stdio.StdioServerParameters(
            command=SERVER[0], args=SERVER[1:], env=_environment(project), cwd=str(tmp_path)
        )
        async with stdio.stdio_client(server) as (read, write):
            return await _calls(read, write)

    tools, found = anyio.run(run)
    names = ["coordinate", "optimize", "predict", "act", "record_outcome"]
    assert [tool.name for tool in tools] == names
    assert [found[name].is_error for name in names] == [False] * 5
    assert found["coordinate"].structured_content["assignments"][0]["agent"] == "ann"
    assert json.loads(found["optimize"].content[0].text) == found["optimize"].structured_content
    assert list(found["predict"].structured_content["predictions"]["duration"]["intervals"]) == ["0.8"]
    assert found["wrong"].is_error
    assert "there is no tool" in found["wrong"].content[0].text
    assert "current-agents is empty" in found["no agents"].content[0].text
    workspace = project / ".claude-flow" / "neural"
    event = json.loads((workspace / "events" / "mcp.jsonl").read_text())
    assert (event["agent"], event["success"], event["status"]) == ("ann", True, "completed")
    assert len((workspace / "requests" / "000001.jsonl").read_text().splitlines()) == 4

    from claude_flow.data.collect import collect

    collect([workspace / "events"], tmp_path / "tables")  # what was recorded is what is learned from
    assert json.loads((tmp_path / "tables" / "manifest.json").read_text())["tables"]["runs"]["rows"] == 1


def test_http_answers_those_who_have_the_token(project: Path) -> None:
    pytest.importorskip("mcp", reason="needs the extra: pip install 'claude-flow[mcp]'")
    httpx = pytest.importorskip("httpx2")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**_environment(project), "CLAUDE_FLOW_TOKEN": "secret"}
    words = [*SERVER, "--transport", "http", "--port", str(port)]
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"accept": "application/json, text/event-stream", "authorization": "Bearer secret"}
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert "listening" in server.stderr.readline()
            for _ in range(100):
                try:
                    answer = httpx.post(f"http://127.0.0.1:{port}/mcp", json=call, headers=headers, timeout=60)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            refused = httpx.post(f"http://127.0.0.1:{port}/mcp", json=call, timeout=60)
        finally:
            server.terminate()
    assert len(answer.json()["result"]["tools"]) == 5
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")


def test_the_list_of_tools_is_short() -> None:
    text = json.dumps(Tools().list(), separators=(",", ":"))
    assert len(text) < 8000  # about four characters a token: 2,000 tokens


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        ("coordinat", {}, "did you mean coordinate"),
        ("coordinate", {}, "input"),
        ("coordinate", {"input": SWARM, "agents": []}, "agents"),
        ("coordinate", {"input": SWARM, "model": "optimization-v2"}, "is a optimization model"),
        ("optimize", {"current-performance": {"latency": 1}, "top": "x"}, "top"),
        ("predict", {"task-description": 3}, "task-description"),
        ("record_outcome", {"agent": "a"}, "task"),
        ("record_outcome", {"agent": "a", "task": "t", "success": "yes"}, "success"),
    ],
)
def test_wrong_arguments_are_one_line(name: str, arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        Tools().call(name, arguments)
    assert "\n" not in str(caught.value)


def test_others_are_let_in_with_a_token_only(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.delenv("CLAUDE_FLOW_TOKEN", raising=False)
    assert cli.main(["neural", "mcp", "--transport", "http", "--host", "0.0.0.0"]) == 2
    assert "CLAUDE_FLOW_TOKEN" in capsys.readouterr().err
