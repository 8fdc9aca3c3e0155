"""JupyterLab as a child process: on this machine alone, behind a token, with a kernel that was tried before.

What it is told lies in ``.jupyter`` of its folder: the kernel ``python3``, which is the Python that runs here, and the
plugins of the page that are off. Nothing of it asks an address outside: announcements, and installing of plugins, are
off.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from claude_flow import files, registry
from claude_flow.errors import ClaudeFlowError, InputError, MissingExtra
from claude_flow.notebooks import server
from claude_flow.notebooks.server import Server

__all__ = ["check", "configure", "launch"]

_ANNOUNCEMENTS, _DEBUGGER = "@jupyterlab/apputils-extension:announcements", "@jupyterlab/debugger-extension"
# What the kernel's Python says of itself; torch last, since it is imported only to be asked for a GPU.
_ASK = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        found[name] = {"version": str(getattr(module, "__version__", "")), "error": None}
    except Exception as error:
        found[name] = {"version": None, "error": f"{type(error).__name__}: {error}"}
gpu = None
if found.get("torch", {}).get("version"):
    torch = sys.modules["torch"]
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_name(0)
    elif torch.backends.mps.is_available():
        gpu = "Apple GPU (mps)"
print(json.dumps({"modules": found, "gpu": gpu}))
"""


def configure(folder: Path, debugger: bool) -> dict[str, str]:
    """Write what JupyterLab and its kernel are told into ``folder``.

    Args:
        folder: where the notebooks are.
        debugger: whether the kernel offers a debugger, and the page shows it.

    Returns:
        The environment in which they run: this process's, with that configuration, this workspace, and the
        ``claude-flow`` of this Python first on the path.

    Raises:
        MissingExtra: JupyterLab is not installed; nothing is written.
    """
    if find_spec("jupyterlab") is None:
        raise MissingExtra("jupyterlab", "notebooks")
    told = folder.resolve() / ".jupyter"
    frozen = ["-Xfrozen_modules=off"] if debugger and sys.version_info >= (3, 11) else []  # else it misses breakpoints
    kernel = {
        "argv": [sys.executable, *frozen, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Claude Flow (Python 3)",
        "language": "python",
        "metadata": {"debugger": debugger},
    }
    page = {"disabledExtensions": {_ANNOUNCEMENTS: True, _DEBUGGER: not debugger}}
    files.atomic_write(told / "kernels" / "python3" / "kernel.json", json.dumps(kernel, indent=1))
    files.atomic_write(told / "labconfig" / "page_config.json", json.dumps(page, indent=1))
    return {
        **os.environ,
        "CLAUDE_FLOW_HOME": str(registry.workspace().resolve()),
        "JUPYTER_PATH": os.pathsep.join(filter(None, [str(told), os.environ.get("JUPYTER_PATH")])),
        "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, [str(told), os.environ.get("JUPYTER_CONFIG_PATH")])),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }


def check(
    folder: Path,
    environment: dict[str, str],
    gpu: bool,
    plots: bool,
    debugger: bool,
    needed: Sequence[str] = ("claude_flow", "ipykernel"),
) -> dict[str, Any]:
    """What the kernel's Python has, asked in a process of it that runs in the notebooks' ``folder``.

    Returns:
        ``python``, ``modules`` (name to version), ``gpu``: its name and None, or None and why there is none; None
        as a whole where it was not asked for.

    Raises:
        MissingExtra: something that was asked for is not installed.
        InputError: the kernel would not find this package, or something is broken.
    """
    if shutil.which("bash", path=environment["PATH"]) is None:  # Windows
        raise InputError("the notebooks' commands run in bash, which is not on the PATH: Git for Windows brings it")
    wanted = [*needed, *["matplotlib"] * plots, *["debugpy"] * debugger]
    names = [*wanted, *["torch"] * gpu]
    command = [sys.executable, "-c", _ASK, *names]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise ClaudeFlowError(f"the kernel's Python does not run: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    for name in wanted:
        error = found["modules"][name]["error"]
        if error and name != "claude_flow" and find_spec(name) is None:
            raise MissingExtra(name, "notebooks")
        if error:
            raise InputError(f"the kernel, {sys.executable}, cannot import {name}: {error}")
    reason = "torch is not installed: run  pip install 'claude-flow[train]'" if find_spec("torch") is None else None
    reason = reason or found["modules"].get("torch", {}).get("error") or "torch sees none on this machine"
    return {
        "python": sys.executable,
        "modules": {name: about["version"] for name, about in found["modules"].items() if about["version"] is not None},
        "gpu": {"name": found["gpu"], "reason": None if found["gpu"] else reason} if gpu else None,
    }


@contextlib.contextmanager
def launch(folder: Path, environment: dict[str, str], port: int | None) -> Iterator[Server]:
    """Start JupyterLab on ``folder``, wait until it answers, and end it and its kernels with the body.

    Args:
        folder: the notebooks, as :func:`configure` prepared them.
        environment: what that returned.
        port: where it listens; None takes a free one.

    Raises:
        InputError: the port is in use, or may not be used.
        ClaudeFlowError: it ended, or did not answer within four minutes; the message says where its log is.
    """
    port, token = server.free(port), secrets.token_urlsafe(24)
    options = {
        "ServerApp.ip": server.HOST,
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": folder.resolve(),
        "ServerApp.allow_root": getattr(os, "geteuid", lambda: 1)() == 0,
        "LabApp.extension_manager": "readonly",
    }
    command = [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]
    address = f"http://{server.HOST}:{port}"
    asked = urllib.request.Request(f"{address}/api/status", headers={"Authorization": f"token {token}"})
    # The token is in its environment and not among its arguments, which every user of the machine can list.
    started = server.started(
        "JupyterLab",
        command,
        folder,
        {**environment, "JUPYTER_TOKEN": token},
        folder / ".jupyter" / "jupyter.log",
        asked,
        f"{address}/lab?token={token}",
    )
    with started as lab:
        yield lab
