"""Files of requests, and the workspace's log: whole lines whoever writes, and bad ones told apart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_flow import registry, requests
from claude_flow.errors import InputError
from claude_flow.requests import Request

SWARM = {"current-agents": [{"id": "a"}], "pending-tasks": [{"id": "t"}]}


def test_lines_come_back_as_they_were(tmp_path):
    file = tmp_path / "deep" / "asked.jsonl"
    asked = [
        Request("", "coordination", SWARM),
        Request("r1", "prediction", {"task-description": "é\ud800"}, "mine/1.0.0"),
    ]
    requests.append(file, *asked)
    assert json.loads(file.read_text().splitlines()[0]) == {"network": "coordination", "input": SWARM}
    assert [request for _, request in requests.read(file)] == [Request("1", "coordination", SWARM), asked[1]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "asked.jsonl:1: line 1 column 2: not JSON"),
        ("[]", "asked.jsonl:1: must be an object"),
        ('{"input": {}}', "asked.jsonl:1: network is missing"),
        ('{"network": "coordination"}', "asked.jsonl:1: input is missing"),
        ('{"network": "coordinaton", "input": {}}', "did you mean coordination?"),
        ('{"network": "coordination", "input": []}', "asked.jsonl:1: input must be an object, not []"),
        ('{"network": "coordination", "input": {}, "modle": "m"}', "modle: no such field: did you mean model?"),
        ('{"network": "coordination", "input": {"a": NaN}}', "NaN is not JSON"),
        ("\xff", "not UTF-8"),
    ],
)
def test_a_bad_line_says_what_and_where_and_the_others_go_on(tmp_path, monkeypatch, line, message):
    monkeypatch.chdir(tmp_path)
    good = b'{"network": "coordination", "input": {}}\n'
    Path("asked.jsonl").write_bytes(line.encode("latin-1") + b"\n\n" + good)
    (number, bad), (third, request) = requests.read(Path("asked.jsonl"))
    assert (number, third, request) == (1, 3, Request("3", "coordination", {}))
    assert isinstance(bad, InputError)
    assert message in str(bad)


@given(st.binary(max_size=200))
def test_any_bytes_are_requests_or_told(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("any") / "asked.jsonl"
    file.write_bytes(data)
    assert all(isinstance(found, Request | InputError) for _, found in requests.read(file))


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"none\.jsonl: No such file"):
        list(requests.read(tmp_path / "none.jsonl"))


def test_the_log_has_what_was_asked_and_answered(tmp_path):
    requests.keep("coordination", SWARM, None, 0.0123456789, {"model": tmp_path, "share": np.float32(0.5)})
    requests.keep("prediction", {"task-description": "x"}, "mine", 1.0, {"median": float("nan")})
    first, second = requests.logged()
    assert (first.id, first.input, first.seconds) == ("000001-1", SWARM, 0.012346)
    assert first.answer == {"model": str(tmp_path), "share": 0.5}
    assert first.time.endswith("Z")
    assert (second.model, second.answer) == ("mine", {"median": None})
    assert [request.network for request in requests.logged("prediction")] == ["prediction"]
    (file,) = requests.log_files()
    assert all(isinstance(request, Request) for _, request in requests.read(file))  # so it can be asked again


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path):
    requests.keep("coordination", SWARM, None, 1.0, {})
    (file,) = requests.log_files()
    with file.open("ab") as log:
        log.write(b'{"network": "coord')
    requests.keep("coordination", SWARM, None, 2.0, {})
    assert [request.seconds for request in requests.logged()] == [1.0, 2.0]


def test_the_log_takes_a_limited_place(monkeypatch):
    monkeypatch.setattr(requests, "_FILE_BYTES", 200)
    monkeypatch.setattr(requests, "_FILES", 3)
    for number in range(20):
        requests.keep("coordination", {}, None, float(number), {})
    kept = [request.seconds for request in requests.logged()]
    assert len(requests.log_files()) == 3
    assert kept == [float(number) for number in range(20 - len(kept), 20)]


def test_a_question_makes_no_workspace():
    assert [requests.is_kept(asked) for asked in (None, True, False)] == [False, True, False]
    registry.workspace().mkdir(parents=True)
    assert [requests.is_kept(asked) for asked in (None, True, False)] == [True, True, False]


WRITER = """
import sys
from claude_flow import requests
for number in range(25):
    requests.keep("coordination", {"writer": sys.argv[1], "text": "x" * 3000}, None, float(number), {})
"""


def test_writers_at_the_same_time_write_whole_lines():
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, name]) for name in "abc"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    found = list(requests.logged())
    for name in "abc":
        assert [request.seconds for request in found if request.input["writer"] == name] == list(range(25))
