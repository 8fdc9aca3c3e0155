"""Outcomes from the user's own check."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def _record(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "claude_flow", "neural", "record-outcome", "--agent", "a", "--task", "t", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("check", "holds"), [("echo fine", True), ("exit 3", False)])
def test_the_users_own_check_says_whether_the_result_is_good(check, holds):
    done = _record("--verify", check, "--format", "json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["success"] is holds
    with open(answer["recorded_in"]) as file:
        event = json.loads(file.readlines()[-1])
    assert (event["success"], event["status"]) == (holds, "completed" if holds else "failed")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "the one or the other"),
        (("--success", "true", "--verify", "true"), "the one or the other"),
        (("--verify", "no-such-check"), "the shell cannot run it, so nothing is recorded"),
    ],
)
def test_a_check_that_cannot_be_run_records_nothing(words, told):
    done = _record(*words)
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
    assert not done.stdout
