"""marimo as a child process: on this machine alone, behind a token; its notebooks are Python files.

The page is in marimo's own package, and the search for updates is off: nothing asks an address outside. marimo runs a
cell again when a variable that it reads has changed, so every name has one cell that defines it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from claude_flow import files, registry
from claude_flow.errors import MissingExtra
from claude_flow.notebooks import EXAMPLES, parts, server
from claude_flow.notebooks.server import Server

__all__ = ["configure", "copy", "launch", "notebook"]

_HEAD = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import subprocess

    import marimo as mo

    return mo, subprocess
"""
_SHELL = """\
said = subprocess.run(["bash", "-e", "-c", {text!r}], capture_output=True, text=True)
print(said.stdout)
if said.returncode:
    raise RuntimeError(said.stderr)
"""


def notebook(markdown: str) -> str:
    """The marimo notebook of a page: a Python file, whose cells marimo completes when it opens it.

    >>> print(notebook("# One\\n```sh\\nls\\n```\\n").split("return mo, subprocess")[1].strip())
    @app.cell(hide_code=True)
    def _(mo):
        mo.md('# One')
        return
    ...
    """
    cells = [_HEAD]
    for kind, text in parts(markdown):
        if kind == "text":
            cells.append(f"@app.cell(hide_code=True)\ndef _(mo):\n    mo.md({text!r})\n    return\n")
            continue
        # A name that begins with an underscore is the cell's own: the shell's answer is no one else's.
        code = _SHELL.format(text=text).replace("said", "_said") if kind == "sh" else text
        cells.append(f"@app.cell\ndef _():\n{textwrap.indent(code.rstrip(), '    ')}\n    return\n")
    return "\n\n".join(cells) + '\n\nif __name__ == "__main__":\n    app.run()\n'


def configure() -> dict[str, str]:
    """The environment in which marimo runs: this process's, with this workspace, and this Python first on the path.

    Raises:
        MissingExtra: marimo is not installed.
    """
    if find_spec("marimo") is None:
        raise MissingExtra("marimo", "marimo")
    return {
        **os.environ,
        "CLAUDE_FLOW_HOME": str(registry.workspace().resolve()),
        "MARIMO_SKIP_UPDATE_CHECK": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }


def copy(folder: Path) -> list[Path]:
    """Write every example that ``folder`` lacks into it, as :func:`claude_flow.notebooks.copy` does for Jupyter."""
    made = []
    for page in EXAMPLES:
        file = folder / f"{page.stem}.py"
        if not file.exists():
            files.atomic_write(file, notebook(page.read_text("utf-8")))
        made.append(file)
    return made


@contextlib.contextmanager
def launch(folder: Path, environment: dict[str, str], port: int | None) -> Iterator[Server]:
    """Start marimo on ``folder``, wait until it answers, and end it and its kernels with the body.

    Raises:
        InputError: the port is in use, or may not be used.
        ClaudeFlowError: it ended, or did not answer within four minutes; the message says where its log is.
    """
    port, token = server.free(port), secrets.token_urlsafe(24)
    own = folder / ".marimo"
    own.mkdir(parents=True, exist_ok=True)
    secret = own / "token"
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as written:
        written.write(token)  # not among its arguments, which every user of the machine can list
    options = ["--headless", "--host", server.HOST, "--port", str(port), "--token-password-file", str(secret)]
    command = [sys.executable, "-m", "marimo", "edit", str(folder), *options, "--skip-update-check", "--no-sandbox"]
    address = f"http://{server.HOST}:{port}"
    asked = urllib.request.Request(f"{address}/health")
    url = f"{address}/?access_token={token}"
    with server.started("marimo", command, folder, environment, own / "marimo.log", asked, url) as running:
        yield running
