"""The playground as a user starts it: a process that answers over HTTP as the command line does, and ends in time."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from claude_flow import networks, requests
from claude_flow.cli import main

WORDS = [sys.executable, "-m", "claude_flow", "neural", "playground", "--format", "json"]


def ask(address: str, path: str = "", body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    at = urlsplit(address)
    link = HTTPConnection(at.hostname or "", at.port, timeout=60)
    link.request("GET" if body is None else "POST", at.path + path, body, headers)
    response = link.getresponse()
    text = response.read().decode()
    link.close()
    return response.status, json.loads(text) if response.headers["Content-Type"] == "application/json" else text


def test_it_answers_as_the_command_line_does(tmp_path, capsys):
    command = [*WORDS, "--models", '["coordination-v2","coordination","optimization","prediction"]']
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CLAUDE_FLOW_TIME_BUDGET": "100s"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=tmp_path) as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("\n}\n"):
            text += (line := process.stdout.readline())
            assert line, process.stderr and process.stderr.read()
        found = json.loads(text)
        address = found["address"]
        status, page = ask(address)
        assert status == 200
        assert "://" not in page  # it works offline
        _, setup = ask(address, "setup")
        assert setup["models"] == found["models"]
        assert [model["network"] for model in found["models"]].count("coordination") == 2
        for model in found["models"]:
            arguments = setup["examples"][model["network"]]
            if any(option.name == "decision-time" for option in networks.get(model["network"]).answer.OPTIONS):
                arguments["decision-time"] = "2026-03-01T09:30:00Z"
            body = {"model": model["name"], "arguments": arguments, "explain": True}
            status, reply = ask(address, "ask", json.dumps(body).encode())
            assert status == 200, reply
            assert reply["answer"]["model"] == model["name"]
            assert main([*shlex.split(reply["command"])[1:], "--format", "json", "--log-request", "false"]) == 0
            assert reply["answer"] == json.loads(capsys.readouterr().out)
        wrong = {"model": "prediction-v2", "arguments": {"task": "x"}}
        for body, why in (
            (json.dumps(wrong), "task"),
            ('{"model": "no", "arguments": {}}', "not on this page"),
            ("{", ""),
        ):
            status, reply = ask(address, "ask", body.encode())
            assert status == 400
            assert why in reply["error"]
            assert "\n" not in reply["error"]
        assert ask(address, "ask", b"", **{"Content-Length": str(1 << 30)})[0] == 413
        assert ask(address, "nothing")[0] == 404
        assert ask(address, Host="elsewhere.example")[0] == 403
        assert ask(f"http://127.0.0.1:{found['port']}/")[0] == 403
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "Ctrl-C ends it\n")


def test_its_time_ends_it(tmp_path):
    ended = subprocess.run(
        [*WORDS, "--models", "optimization", "--time-budget", "100ms"], capture_output=True, text=True, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["models"] == [{"name": "optimization-v2", "network": "optimization"}]


def test_wrong_input_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["neural", "playground", "--models", "optimization", "--port", str(port)]) == 2
    assert f"port {port}: Address already in use" in capsys.readouterr().err
    assert main(["neural", "playground", "--models", "coordinaton-v3"]) == 2
    error = capsys.readouterr().err
    assert "did you mean coordination-v3" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("row", networks.NETWORKS.values(), ids=lambda row: row.name)
def test_the_example_of_every_network_is_a_request(row):
    request, _ = requests.split(row, requests.example(row))
    assert request
