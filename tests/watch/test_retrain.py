"""Retraining: what is wrong is refused, the audit log is the memory, a killed cycle goes on, worse versions go back."""

from __future__ import annotations

import json

import pytest

from claude_flow import registry, requests
from claude_flow.errors import InputError
from claude_flow.watch import alerts, retrain

POLICY = retrain.Policy("coordination-v3", "coordination", {"new-data-volume": 5.0})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--models", "gone"], "there is no model 'gone'"),
        (["--trigger-conditions", "{}"], "--trigger-conditions names none"),
        (["--trigger-conditions", '{"data-drif": 0.1}'], "did you mean data-drift?"),
        (["--trigger-conditions", '{"data-drift": -1}'], "a number above 0 is wanted"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_scheduled(run, words, told):
    code, out, err = run("maintain", "retrain-schedule", "--models", "coordination-v3", "--only-set", *words)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.strip().splitlines()) == 1
    assert retrain.schedules() == {}


def test_a_schedule_is_set_shown_and_stopped(run):
    code, out, _ = run("maintain", "retrain-schedule", "--models", "coordination-v3", "--only-set", "--format", "json")
    assert code == 0
    assert "maintain run-once" in json.loads(out)["cron"]
    shown = json.loads(run("maintain", "status", "--format", "json")[1])
    assert shown["schedules"]["coordination-v3"]["strategy"] == "incremental"
    assert run("maintain", "approve", "--model", "coordination-v3")[0] == 2  # nothing waits
    assert run("maintain", "stop", "--model", "coordination-v3")[0] == 0
    assert run("maintain", "stop", "--model", "coordination-v3")[0] == 2


def test_a_failed_step_ends_the_cycle_and_says_why():
    retrain.schedule([POLICY])
    found = retrain.check(POLICY)
    assert found["did"] == "nothing: no trigger is met"
    found = retrain.check(POLICY, force=True)  # there is no log to collect
    assert found["did"].startswith("failed: data collect")
    assert found["state"]["ended"] == "failed"
    assert [entry["source"] for entry in alerts.entries()] == ["maintain"]


def test_a_cycle_that_was_killed_goes_on_where_it_was_and_deploys():
    retrain.schedule([POLICY])
    path = registry.add_model(
        "coordination-candidate", None, registry.model_path("coordination-v3"), {"network": "coordination"}
    )
    retrain.note("coordination-v3", "cycle", "begun", {"because": ["new-data-volume"]}, "c1")
    for step, detail in (("collect", {}), ("validate", {}), ("preprocess", {"dataset": "d"}),
                         ("train", {"candidate": registry.model_name(path), "volume": 3}),
                         ("test regression", {})):  # fmt: skip
        retrain.note("coordination-v3", step, "done", detail, "c1")
    retrain.note("coordination-v3", "shadow", "begun", None, "c1")
    with (registry.workspace() / "maintain" / "audit.jsonl").open("a") as file:
        file.write('{"time": "2026')  # where it was killed
    found = retrain.check(POLICY)
    assert found["did"] == "deployed coordination 1.1.0"
    assert (registry.versions("coordination"), registry.current("coordination")) == (["1.0.0", "1.1.0"], "1.1.0")
    done = found["state"]["done"]["deploy"]
    assert retrain._deploy(POLICY, found["state"]["done"])["version"] == done["version"]  # once more changes nothing
    assert registry.versions("coordination") == ["1.0.0", "1.1.0"]
    swarm = {"current-agents": [{"id": "a"}], "pending-tasks": [{"id": "t"}]}
    for line in range(60):
        model = f"coordination/1.{int(line >= 30)}.0"
        requests.keep("coordination", swarm, None, 0.1, {"model": model})
        good = line < 30 or line % 3 == 0
        alerts.append_line(registry.workspace() / "outcomes" / "a.jsonl", {"id": f"000001-{line + 1}", "correct": good})
    assert retrain.check(POLICY)["did"].startswith("rolled back: 1.1.0")
    assert registry.current("coordination") == "1.0.0"
    assert [entry["state"] for entry in retrain.audit() if entry["step"] == "cycle"] == [
        "begun",
        "deployed",
        "rolled back",
    ]


def test_manual_approval_waits():
    policy = retrain.Policy("coordination-v3", "coordination", {"new-data-volume": 5.0}, approval="manual")
    retrain.schedule([policy])
    retrain.note("coordination-v3", "cycle", "begun", {"because": ["x"]}, "c1")
    for step in retrain.STEPS[: retrain.STEPS.index("approval")]:
        retrain.note("coordination-v3", step, "done", {}, "c1")
    assert retrain.check(policy)["did"] == "waits for approval"
    assert retrain.approve("coordination-v3", yes=False)["ended"] == "rejected"
    with pytest.raises(InputError, match="waits"):
        retrain.approve("coordination-v3")
