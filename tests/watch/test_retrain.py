"""Retraining: what is wrong is refused, the audit log is the memory, a killed cycle goes on, worse versions go back."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable

import pytest

from claude_flow import registry, requests
from claude_flow.errors import InputError
from claude_flow.watch import alerts, audit, policies, retrain

POLICY = policies.Policy("coordination-v3", "coordination", {"new-data-volume": 5.0})


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
    assert policies.schedules() == {}


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
    policies.schedule([POLICY])
    found = retrain.check(POLICY)
    assert found["did"] == "nothing: no trigger is met"
    found = retrain.check(POLICY, force=True)  # there is no log to collect
    assert found["did"].startswith("failed: data collect")
    assert found["state"]["ended"] == "failed"
    assert [entry["source"] for entry in alerts.entries()] == ["maintain"]


SWARM = {"current-agents": [{"id": "a"}], "pending-tasks": [{"id": "t"}]}


def until_canary(policy: policies.Policy) -> None:
    """A cycle whose steps before the canary are done, and one of them was killed."""
    policies.schedule([policy])
    path = registry.add_model(
        "coordination-candidate", None, registry.model_path("coordination-v3"), {"network": "coordination"}
    )
    audit.note(policy.model, "cycle", "begun", {"because": ["new-data-volume"], "volume": 0}, "c1")
    for step, detail in (("collect", {}), ("validate", {}), ("preprocess", {"dataset": "d"}),
                         ("train", {"candidate": registry.model_name(path), "volume": 3}),
                         ("test regression", {})):  # fmt: skip
        audit.note(policy.model, step, "done", detail, "c1")
    audit.note(policy.model, "shadow", "begun", None, "c1")
    with (registry.workspace() / "maintain" / "audit.jsonl").open("a") as file:
        file.write('{"time": "2026')  # where it was killed


def ask(count: int, good: Callable[[str, int], bool]) -> Counter[str]:
    """So many requests by name, each answered by whose turn it is, and their outcomes; how many each version got."""
    answered: Counter[str] = Counter()
    first = sum(1 for _ in requests.logged())
    for line in range(first + 1, first + count + 1):
        model = registry.model_name(registry.asked(registry.model_path("coordination")))
        answered[model] += 1
        requests.keep("coordination", SWARM, None, 0.1, {"model": model})
        outcome = {"id": f"000001-{line}", "correct": good(model, line)}
        with (registry.workspace() / "outcomes.part").open("a") as file:
            file.write(json.dumps(outcome) + "\n")
    folder = registry.workspace() / "outcomes"
    folder.mkdir(exist_ok=True)
    (registry.workspace() / "outcomes.part").rename(folder / f"{first}.jsonl")
    return answered


def test_a_killed_cycle_goes_on_tries_a_canary_deploys_and_goes_back():
    policy = dataclasses.replace(POLICY, canary_share=0.25, canary_outcomes=20)
    until_canary(policy)
    assert retrain.check(policy)["did"] == "1.1.0 answers 25% of the requests"
    assert (registry.versions("coordination"), registry.current("coordination")) == (["1.0.0", "1.1.0"], "1.0.0")
    assert registry.newest_model("coordination").parent.name == "1.0.0"  # neither the canary nor the candidate
    assert "0 of 20 outcomes" in retrain.check(policy)["did"]
    assert ask(81, lambda model, line: line % 3 > 0) == {"coordination/1.0.0": 61, "coordination/1.1.0": 20}
    found = retrain.check(policy)
    assert found["did"] == "deployed coordination 1.1.0"
    assert (registry.current("coordination"), registry.canary("coordination")) == ("1.1.0", None)
    done = found["state"]["done"]
    assert (done["canary"]["answers"], done["canary"]["of"]) == (20, 81)
    assert retrain._version(policy, done) == ("1.1.0", "1.0.0")  # once more changes nothing
    assert registry.versions("coordination") == ["1.0.0", "1.1.0"]
    ask(40, lambda model, line: line % 8 == 0)
    assert retrain.check(policy)["did"].startswith("rolled back: 1.1.0")
    assert registry.current("coordination") == "1.0.0"
    assert [entry["state"] for entry in audit.entries() if entry["step"] == "cycle"] == [
        "begun",
        "deployed",
        "rolled back",
    ]


def test_a_bad_canary_never_reaches_more_than_its_share():
    policy = dataclasses.replace(POLICY, canary_share=0.1)
    until_canary(policy)
    retrain.check(policy)
    answered: Counter[str] = Counter()
    for _ in range(10):
        answered += ask(50, lambda model, line: model.endswith("1.0.0"))
        if "rolled back" in (did := retrain.check(policy)["did"]):
            break
    assert "as a canary 1.1.0 had 0.000 good outcomes" in did
    assert (registry.current("coordination"), registry.canary("coordination")) == ("1.0.0", None)
    assert 20 <= answered["coordination/1.1.0"] <= 0.1 * sum(answered.values())


def test_a_canary_that_a_person_ended_stays_ended():
    until_canary(POLICY)
    retrain.check(POLICY)
    registry.point("coordination", "1.0.0", "I do not like it")
    assert retrain.check(POLICY)["did"] == "rejected: the canary 1.1.0 was ended by hand"


def test_the_schedule_is_followed_and_its_times_outlive_the_process(run):
    pytest.importorskip("apscheduler", reason="schedules need the extra: pip install 'claude-flow[maintain]'")
    command = ("maintain", "retrain-schedule", "--models", "coordination-v3", "--time-budget", "1s", "--format", "json")
    code, out, err = run(*command)
    assert (code, json.loads(out)["looks"]["coordination-v3"]["did"]) == (0, "nothing: no trigger is met"), err
    assert json.loads(run(*command)[1])["looks"] == {}  # it is not time yet
    assert json.loads(run(*command, "--cron", "* * * * *")[1])["looks"] != {}
    code, _, err = run("maintain", "retrain-schedule", "--models", "coordination-v3", "--cron", "at noon")
    assert (code, len(err.strip().splitlines())) == (2, 1)


def test_manual_approval_waits():
    policy = policies.Policy("coordination-v3", "coordination", {"new-data-volume": 5.0}, approval="manual")
    policies.schedule([policy])
    audit.note("coordination-v3", "cycle", "begun", {"because": ["x"]}, "c1")
    for step in retrain.STEPS[: retrain.STEPS.index("approval")]:
        audit.note("coordination-v3", step, "done", {}, "c1")
    assert retrain.check(policy)["did"] == "waits for approval"
    assert retrain.approve("coordination-v3", yes=False)["ended"] == "rejected"
    with pytest.raises(InputError, match="waits"):
        retrain.approve("coordination-v3")


def test_a_step_gets_the_time_that_is_left(monkeypatch):
    monkeypatch.setenv("CLAUDE_FLOW_TIME_BUDGET", "1h")
    given = [retrain._environment(deadline)["CLAUDE_FLOW_TIME_BUDGET"] for deadline in (None, 0.0)]
    assert given == ["1h", "1.0s"]  # what a cycle was given; a second, where nothing is left
