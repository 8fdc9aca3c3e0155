"""A federation over Flower: a SuperLink and two SuperNodes, each a process of its own with its own data."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from claude_flow import cli, registry
from claude_flow.errors import InputError
from claude_flow.train.recipes import flower


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["flower://127.0.0.1:8000/a", "october"], "name one kind"),
        (["flower://127.0.0.1:8000/a", "flower://127.0.0.1/b"], "flower://HOST:PORT/NAME"),
        (["flower://127.0.0.1:8000/a", "flower://127.0.0.1:8001/b"], "two SuperLinks"),
    ],
)
def test_addresses_that_make_no_federation_are_refused(names: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        flower.addressed(names)
    assert flower.addressed(["october", "november"]) is None


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def link(workspace: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a SuperLink with the SuperNodes site-a and site-b."""
    pytest.importorskip("flwr", reason="needs the extra: pip install 'claude-flow[flower]'")
    scripts = {f.name: Path(str(f.locate())).resolve() for f in metadata.distribution("flwr").files or ()}
    folder = scripts["flower-superlink"].parent
    paths = [str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]
    setting = {**os.environ, "PATH": os.pathsep.join(paths), "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    port = _port()
    commands = {
        "link": ["flower-superlink", "--insecure", "--port", str(port), "--disable-runtime-dependency-installation"],
        **{
            name: [
                *("flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}", "--port", str(_port())),
                *("--node-config", f'name="{name}" data="{data}"'),
            ]
            for name, data in {"site-a": "october", "site-b": "preprocessed-optimization-data"}.items()
        },
    }
    processes = []
    for name, (command, *words) in commands.items():
        log = (tmp_path / f"{name}.log").open("wb")
        own = {**setting, "FLWR_HOME": str(tmp_path / f"{name}-home")}
        processes.append(
            subprocess.Popen([str(folder / command), *words], env=own, stdout=log, stderr=log, start_new_session=True)
        )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def test_flower_clients_train_on_their_own_data(link: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = f"flower://{link}/site-a,flower://{link}/site-b"
    words = ["neural", "train", "federated", "--network", "optimization", "--model", "base", "--participants", nodes]
    code = cli.main([*words, "--rounds", "2", "--local-epochs", "1", "--output", "joined", "--format", "json"])
    out, error = capsys.readouterr()
    logs = "".join(path.read_text(errors="replace")[-1500:] for path in tmp_path.glob("*.log"))
    assert code == 0, error + logs
    answer = json.loads(out)
    assert [entry["round"] for entry in answer["rounds"]] == [1, 2]
    assert set(answer["participants"]) == set(answer["losses"]) == {"site-a", "site-b"}
    assert answer["rounds"][-1]["absent"] == {}
    assert np.isfinite(answer["held_out"]["loss"])
    before, after = (load_file(registry.model_path(name)) for name in ("base", "joined"))
    assert any(not np.array_equal(t, after[name]) for name, t in before.items())
