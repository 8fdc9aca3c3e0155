"""What Windows, macOS and ARM ask of the code, as far as this machine can show it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench import arm, platforms

import claude_flow

ROOT = Path(__file__).parents[2]
SWARM = ROOT / "docs" / "examples" / "swarm.json"
POSIX = "curses fcntl grp posix pty pwd readline resource syslog termios tty"
# What `os` and `signal` lack on Windows and the package might be tempted by.
LACKING = "fork forkpty geteuid getpgid getuid kill killpg mkfifo nice sched_getaffinity setsid sysconf uname"

# A process without the POSIX modules and functions. Python's own modules, which ask for the system, are loaded before.
WINDOWS = f"""
import asyncio, json, os, pathlib, platform, shutil, signal, socket, subprocess, sys, tempfile, zipfile
import filelock, numpy, rich.console, safetensors.numpy
platform.uname()
for name in {POSIX.split()!r}:
    sys.modules[name] = None
for name in {LACKING.split()!r}:
    if hasattr(os, name):
        delattr(os, name)
del signal.SIGHUP, signal.SIGKILL
"""


def run(code: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONIOENCODING"} | settings
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, env=environment, timeout=120)


def test_nothing_needs_posix_when_it_is_imported() -> None:
    for file in Path(claude_flow.__file__).parent.rglob("*.py"):
        for node in ast.parse(file.read_text("utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not set(names) & set(POSIX.split()), f"{file}: imports {names} at the top, which Windows lacks"


def test_text_between_processes_and_in_files_is_utf8_whatever_the_code_page() -> None:
    for file in Path(claude_flow.__file__).parent.rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)):
            given = {word.arg for word in call.keywords} & {"capture_output", "encoding", "text"}
            assert not {"capture_output", "text"} <= given or "encoding" in given, (
                f"{file}:{call.lineno}: text in the system's encoding"
            )
    command = ["ruff", "check", "--isolated", "--preview", "--select", "PLW1514", Path(claude_flow.__file__).parent]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout


def test_a_request_is_answered_where_posix_is_missing() -> None:
    code = f"{WINDOWS}\nfrom claude_flow.cli import main\nsys.exit(main(sys.argv[1:]))"
    done = run(code, "neural", "infer", "coordination", "--input", f"@{SWARM}", "--format", "json")
    assert done.returncode == 0, done.stderr.decode()
    assert b"assignments" in done.stdout
    done = run(f"{WINDOWS}\nfrom claude_flow.measure import machine, profile\nfrom claude_flow.train import runlog")
    assert done.returncode == 0, done.stderr.decode()


def test_a_code_page_gets_utf8() -> None:
    """As Windows gives pipes and files, and unless PYTHONIOENCODING says otherwise."""
    code = """
import sys
sys.stdout.reconfigure(encoding="cp1252"), sys.stderr.reconfigure(encoding="cp1252")
from claude_flow.cli.output import Output
out = Output()
with out.guard():
    out.result(None, [("Agents", ["name"], [["Zoë \\u2192 \\U0001f680"]])])
    out.note("Zoë \\u2192")
"""
    done = run(code)
    assert done.stdout.decode() == "Agents\nname\nZoë → 🚀\n"
    assert done.stderr.decode() == "Zoë →\n"
    assert run(code, PYTHONIOENCODING="cp1252").stderr == b"Zo\xeb \\u2192\n"


def test_the_page_says_what_is_recorded() -> None:
    kept, modelled = (json.loads(path.read_text("utf-8")) for path in (platforms.KEPT, arm.RECORD))
    assert platforms.PAGE.read_text("utf-8") == platforms.page(kept, modelled), "run  python -m bench.platforms"
    assert not [name for record in kept.values() for name in record.get("failed", ())]


def test_the_models_of_arm_reach_their_marks() -> None:
    """Those recorded, and those of the objects that `make arm` has left here."""
    recorded = json.loads(arm.RECORD.read_text("utf-8"))
    assert {(row["kernel"], row["cpu"]) for row in recorded["modelled"]} == {
        (k, c) for k in arm.MARKS for c in arm.CPUS
    }
    tool = arm.mca()
    here = arm.modelled(tool) if tool and arm.objects_are_there() else []
    for row in [*recorded["modelled"], *here]:
        assert row["share"] >= arm.MARKS[row["kernel"]], row
    if not here:
        pytest.skip("the records alone: no llvm-mca of LLVM 17 or later, or no objects of  make arm")
