"""What became of answers: joined by id, and by the work that they were about, whoever tells of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from datetime import datetime, timedelta, timezone

from tests.transcript import Transcript

from claude_flow import registry, requests
from claude_flow.integrations import claude_code
from claude_flow.run.tools import Tools
from claude_flow.watch import outcomes

AGENTS = [{"id": "ann", "type": "tester"}, {"id": "bob", "type": "coder"}]


def swarm(task: str, **about: str) -> dict[str, object]:
    return {"current-agents": AGENTS, "pending-tasks": [{"id": task, "type": "testing", **about}]}


def scores() -> list[float | None]:
    return outcomes.scores(outcomes.logged(0.0))


def test_every_door_tells_what_became_of_an_answer(run):
    registry.workspace().mkdir(parents=True)
    tools = Tools()
    chosen = [tools.call("coordinate", {"input": swarm(f"t{i}")})["assignments"][0]["agent"] for i in range(4)]
    other = "bob" if chosen[0] == "ann" else "ann"
    assert scores() == [None] * 4
    tools.call("record_outcome", {"agent": chosen[0], "task": "t0", "success": True})
    assert run("record-outcome", "--agent", chosen[1], "--task", "t1", "--success", "false")[0] == 0
    tools.call("record_outcome", {"agent": other, "task": "t2", "success": False})  # who was chosen did not do it
    assert scores() == [1.0, 0.0, None, None]
    words = ["record-outcome", "--agent", other, "--task", "t2", "--success", "true", "--request"]
    assert run(*words, "000001-3")[0] == 0  # by id it counts whoever did it
    code, out, err = run(*words, "000001-9")
    assert (code, out) == (2, "")
    assert "the log has no answer '000001-9'" in err
    assert scores() == [1.0, 0.0, 1.0, None]
    tools.call("record_outcome", {"agent": chosen[0], "task": "t0", "success": False})  # two runs: their mean
    found = run("monitor", "production", "--models", "coordination-v3", "--metrics", "accuracy", "--once",
                "--format", "json")  # fmt: skip
    metric = json.loads(found[1])["models"][0]["metrics"]["accuracy"]
    assert (metric["value"], metric["count"], metric["note"]) == (0.5, 3, "25% of the outcomes are open")


def test_a_forecast_is_judged_by_how_long_it_took():
    registry.workspace().mkdir(parents=True)
    tools = Tools()
    told = tools.call("predict", {"task-description": "fix a flaky test"})["predictions"]["duration"]["intervals"]
    low, high = told["0.95"]
    tools.call("record_outcome", {"agent": "a", "task": "x", "description": "fix a flaky test", "success": True,
                                  "duration_s": (low + high) / 2})  # fmt: skip
    assert scores() == [1.0]
    tools.call("predict", {"task-description": "fix a flaky test"})
    tools.call("record_outcome", {"agent": "a", "task": "y", "description": "fix a flaky test", "success": True,
                                  "duration_s": 2 * high})  # fmt: skip
    assert scores() == [1.0, 0.0]  # a run belongs to the last answer before it ended


def test_what_a_hook_keeps_judges_the_answer_before_it(tmp_path, monkeypatch):
    project, transcript = tmp_path / "project", tmp_path / "5e55-1.jsonl"
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(project))
    monkeypatch.delenv("CLAUDE_FLOW_HOME", raising=False)
    session = Transcript()
    session.spawns(1, "toolu_1")
    session.completes(60, "toolu_1", "a1", 58_000)
    session.write(transcript)
    call = session.lines[0]["message"]["content"][0]["input"]
    asked = swarm("t", description=call["description"])
    asked["current-agents"] = [{"id": "scout", "type": call["subagent_type"]}, *AGENTS]
    ended = datetime.fromisoformat(session.lines[-1]["timestamp"].replace("Z", "+00:00"))
    for minutes, agent in ((-30, "ann"), (-20, "scout"), (1, "scout")):  # another agent's; its own; after it ended
        moment = (ended + timedelta(minutes=minutes)).astimezone(timezone.utc).isoformat()
        answer = {"assignments": [{"task": "t", "agent": agent}]}
        requests.keep_all([requests.Request("", "coordination", asked, None, moment, 0.1, answer)])
    payload = {"session_id": "5e55-1", "transcript_path": str(transcript), "hook_event_name": "Stop"}
    command = claude_code.hook_command()
    subprocess.run(command, shell=True, input=json.dumps(payload), text=True, check=True, env=os.environ)
    assert scores() == [None, 1.0, None]


def test_a_canary_gets_its_share_of_a_file_and_the_log_says_who_answered(run, tmp_path):
    for version in ("1.0.0", "1.1.0"):
        registry.add_model("coordination", version, registry.model_path("coordination-v3"), {"network": "coordination"})
    registry.point("coordination", "1.0.0", "a start")
    registry.try_out("coordination", "1.1.0", 0.2, "a test")
    lines = [{"id": f"r{i}", "network": "coordination", "input": swarm(f"t{i}")} for i in range(1000, 1050)]
    lines += [{**line, "id": f"{line['id']}-fixed", "model": "coordination/1.0.0"} for line in lines[:10]]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, _, err = run("infer", "batch", "--input-file", "asked.jsonl", "--parallel-processing", "true")
    assert code == 0, err
    answers = [json.loads(line) for line in (tmp_path / "asked.answers.jsonl").read_text().splitlines()]
    assert [a["id"] for a in answers] == [line["id"] for line in lines]
    assert Counter(a["answer"]["model"] for a in answers) == {"coordination/1.0.0": 50, "coordination/1.1.0": 10}
    assert all(a["model"] == a["answer"]["model"] for a in answers)
    assert all(a["model"].endswith("1.0.0") for a in answers[50:])
    kept = outcomes.logged(0.0)
    assert [(e.request.id, e.request.answer["model"]) for e in kept] == [(a["id"], a["model"]) for a in answers]
    assert run("infer", "batch", "--input-file", "asked.jsonl", "--log-request", "false")[0] == 0
    assert len(outcomes.logged(0.0)) == 60


def test_what_a_drift_costs_is_confirmed_by_outcomes(run):
    registry.workspace().mkdir(parents=True)
    answer = Tools().call("coordinate", {"input": swarm("t")})
    entries = [requests.answered("coordination", swarm("t"), None, 0.1, answer, f"r{i}-x") for i in range(25)]
    requests.keep_all(entries)
    folder = registry.workspace() / "outcomes"
    folder.mkdir()
    (folder / "a.jsonl").write_text("".join(json.dumps({"id": f"r{i}-x", "correct": False}) + "\n" for i in range(25)))
    code, out, err = run("monitor", "drift", "--streaming-data", "production-inputs", "--format", "json")
    assert code == 0, err
    found = json.loads(out)["groups"]["coordination"]["outputs"]["confirmed"]
    assert (found["kind"], found["now"]) == ("25 outcomes", 1.0)
    assert found["rise"] > found["low"] > 0
