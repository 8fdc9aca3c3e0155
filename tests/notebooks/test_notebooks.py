"""``neural dev-env launch`` as a user runs it, and the example notebooks run by Jupyter's own client."""

from __future__ import annotations

import ast
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from claude_flow import cli, notebooks
from claude_flow.notebooks import jupyter, marimo

LAUNCH = ["neural", "dev-env", "launch"]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This process's, in which nothing that Jupyter and IPython keep is the developer's."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.delenv("CLAUDE_FLOW_TIME_BUDGET", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return dict(os.environ)


def _status(port: int, token: str) -> int:
    """What the server says to who shows it this token."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/api/status", headers={"Authorization": f"token {token}"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=60) as reply:
            assert json.load(reply)["kernels"] == 0
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def _told(process):
    """The JSON that a launcher prints before it goes on."""
    text = ""
    for line in process.stdout:
        text += line
        if line == "}\n":
            break
    return json.loads(text)


def test_jupyterlab_answers_to_its_token_alone_until_it_is_told_to_end(environment, tmp_path):
    pytest.importorskip("jupyterlab", reason="needs the extra: pip install 'claude-flow[notebooks]'")
    kept = tmp_path / "workspace" / "notebooks" / "1_first_steps.ipynb"
    kept.parent.mkdir(parents=True)
    kept.write_text("edited by its user")
    command = [sys.executable, "-m", "claude_flow", *LAUNCH, "--debugging-enabled", "false", "--format", "json"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, stdout=subprocess.PIPE) as process:
        try:
            answer = _told(process)
            url = urlsplit(answer["url"])
            assert _status(url.port, parse_qs(url.query)["token"][0]) == 200
            assert _status(url.port, "a guess") == 403
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
        finally:
            process.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", url.port))
    assert answer["gpu"] is None
    assert {"claude_flow", "matplotlib"} <= set(answer["kernel"]["modules"])
    assert {file.name for file in kept.parent.glob("*.ipynb")} == set(answer["notebooks"])
    assert kept.read_text() == "edited by its user"
    assert url.query not in (kept.parent / ".jupyter" / "jupyter.log").read_text()
    told = json.loads((kept.parent / ".jupyter" / "labconfig" / "page_config.json").read_text())
    assert told["disabledExtensions"]["@jupyterlab/debugger-extension"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--environment", "vim-neural"], "'vim-neural' is not one of 'jupyter-neural', 'marimo-neural'"),
        (["--port", "70000"], "70000 is not in the range"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(words, said, capsys):
    assert cli.main([*LAUNCH, *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_a_port_in_use_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"--port {port}: Address already in use"):
            jupyter.launch(tmp_path, {}, port).__enter__()


def test_without_jupyterlab_the_line_that_installs_it_is_said(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jupyterlab", None)
    assert cli.main(LAUNCH) == 1
    assert capsys.readouterr().err == "error: jupyterlab is not installed: run pip install 'claude-flow[notebooks]'\n"
    assert not (tmp_path / "workspace").exists()


def test_without_marimo_the_line_that_installs_it_is_said(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "marimo", None)
    assert cli.main([*LAUNCH, "--environment", "marimo-neural"]) == 1
    assert capsys.readouterr().err == "error: marimo is not installed: run pip install 'claude-flow[marimo]'\n"
    assert not (tmp_path / "workspace").exists()


def test_marimos_examples_define_every_name_once(tmp_path):
    """It refuses notebooks in which two cells define a name that does not begin with an underscore."""
    made = marimo.copy(tmp_path)
    assert [file.stem for file in made] == ["1_first_steps", "2_own_data", "3_explain", "4_deploy"]
    for file in made:
        names: list[str] = []
        for cell in ast.parse(file.read_text()).body:
            if isinstance(cell, ast.FunctionDef):
                stored = {n.id for n in ast.walk(cell) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
                imports = [a for n in ast.walk(cell) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names]
                stored |= {(alias.asname or alias.name).partition(".")[0] for alias in imports}
                names += [name for name in stored if not name.startswith("_")]
        assert sorted(names) == sorted(set(names)), file.name


def test_marimo_answers_to_its_token_alone_until_its_time_ends(environment, tmp_path):
    pytest.importorskip("marimo", reason="needs the extra: pip install 'claude-flow[marimo]'")
    words = ["--environment", "marimo-neural", "--visualization-tools", "false", "--format", "json"]
    command = [sys.executable, "-m", "claude_flow", *LAUNCH, *words]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, stdout=subprocess.PIPE) as process:
        try:
            answer = _told(process)
            plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with plain.open(answer["url"], timeout=60) as reply:
                assert b"marimo" in reply.read()
            with plain.open(answer["url"].partition("?")[0], timeout=60) as reply:
                assert "/auth/login" in reply.url  # where it asks for the token
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
        finally:
            process.kill()
    assert answer["notebooks"][0] == "1_first_steps.py"


def test_the_examples_are_notebooks_that_jupyter_accepts(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="needs the extra: pip install 'claude-flow[notebooks]'")
    made = notebooks.copy(tmp_path)
    assert [file.stem for file in made] == ["1_first_steps", "2_own_data", "3_explain", "4_deploy"]
    for file in made:
        found = nbformat.read(file, as_version=4)
        nbformat.validate(found)
        for cell in found.cells:
            assert cell.cell_type == "markdown" or cell.source.startswith("%%bash") or compile(cell.source, "", "exec")


def test_the_examples_run_in_the_kernel_that_is_launched(environment, tmp_path, monkeypatch):
    pytest.importorskip("jupyterlab", reason="needs the extra: pip install 'claude-flow[notebooks]'")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra: pip install 'claude-flow[notebooks]'")
    nbformat = pytest.importorskip("nbformat")
    for name, value in jupyter.configure(tmp_path, debugger=True).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CLAUDE_FLOW_TIME_BUDGET", "0.2s")
    first, *_, deploy = notebooks.copy(tmp_path)
    outputs = {}
    for file in (first, deploy):
        client = nbclient.NotebookClient(
            nbformat.read(file, as_version=4), timeout=120, resources={"metadata": {"path": str(tmp_path)}}
        )
        with client.setup_kernel():

            async def info(client=client):
                return await client.kc.kernel_info(reply=True, timeout=60)

            assert "debugger" in nbclient.util.run_sync(info)()["content"]["supported_features"]
            for index, cell in enumerate(client.nb.cells):
                client.execute_cell(cell, index)
        outputs[file.stem] = [output for cell in client.nb.cells for output in cell.get("outputs", ())]
    said = "".join(output.get("text", "") for output in outputs["1_first_steps"])  # a stream comes in pieces
    assert "points of confidence" in said
    assert "image/png" in outputs["1_first_steps"][-1]["data"]
    assert (
        str(tmp_path / "deploy" / "models" / "coordination" / "3.0.0") in outputs["4_deploy"][-1]["data"]["text/plain"]
    )
