"""Claude Code swarms in all the forms in which they run and in which their logs are passed on."""

from __future__ import annotations

import json
import shutil

import pytest

from claude_flow.data.collect import collect
from claude_flow.data.events import MAIN_THREAD
from claude_flow.data.tables import read_table


def only_run(gather, path):
    found, log = gather(path)
    runs = [run for run in found["Run"] if run.agent_type != MAIN_THREAD]
    assert len(runs) == 1, runs
    return runs[0], [step for step in found["Step"] if step.run_id == runs[0].run_id], log


def tables(folder, source, **options):
    collect([source], folder, quality_filter="none", **options)
    return [read_table(folder, name).to_pylist() for name in ("runs", "steps") if (folder / f"{name}.parquet").exists()]


@pytest.fixture
def tree(tmp_path, transcript):
    """Two projects, three sessions, one of them resumed as another; agents with files of their own."""
    root = tmp_path / "projects"
    for number, folder in enumerate(("/home/mira/shop", "/home/mira/shop", "/home/mira/bank")):
        session = f"5e55-{number}"
        t = transcript(session, cwd=folder)
        t.asks(1000 * number, "go")
        for n in range(3):
            at, agent = 1000 * number + 100 * n + 10, f"a{number}{n}"
            t.spawns(at, f"toolu_{number}{n}", message=f"m{n}")
            t.completes(at + 60, f"toolu_{number}{n}", agent, ms=58_000)
            a = transcript(session, agent=agent, cwd=f"{folder}/deeper")
            a.works(at + 5, at + 20)
            a.write(root / folder.replace("/", "-") / session / "subagents" / f"agent-{agent}.jsonl")
        t.write(root / folder.replace("/", "-") / f"{session}.jsonl")
    return root


def test_identity_is_in_the_lines_not_in_names_or_folders(tmp_path, tree):
    expected = tables(tmp_path / "a", tree)
    assert {row["project"] for row in expected[0]} == {"shop", "bank"}
    assert len({row["group"] for row in expected[0]}) == 3
    assert {row["tokens"] for row in expected[0]} == {20}
    renamed, checkpoints, flat = tmp_path / "renamed", tmp_path / "checkpoints", tmp_path / "flat"
    for number, file in enumerate(sorted(tree.rglob("*.jsonl"), reverse=True)):
        for target in (
            renamed / "logs" / ("helpers" if "agent-" in file.name else ".") / f"{number:02}.ndjson",
            checkpoints / f"{number:02}" / "0123456789" / "0" / "full.jsonl",
            flat / f"session-{number:02}.log",
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    one = tmp_path / "all.jsonl"
    one.write_text("".join(file.read_text() for file in sorted(flat.iterdir())))
    for number, source in enumerate((renamed, checkpoints, flat, one)):
        assert tables(tmp_path / f"b{number}", source) == expected, source


def test_growing_snapshots_of_one_session_are_one_session(tmp_path, transcript):
    t = transcript()
    for n in range(3):
        t.spawns(100 * n, f"toolu_{n}", message=f"m{n}")
        t.completes(100 * n + 50, f"toolu_{n}", f"a{n}", ms=49_000)
    for size in (2, 3, 6):  # the second ends before the result of its last spawn
        lines = "".join(json.dumps(line) + "\n" for line in t.lines[:size])
        path = tmp_path / "in" / f"{size:02}" / "full.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text(lines)
    runs, *_ = tables(tmp_path / "d", tmp_path / "in")
    assert [(run["run_id"], run["status"], run["group"]) for run in runs] == [
        (f"toolu_{n}", "completed", "5e55-1") for n in range(3)
    ]


def test_a_teammate_is_a_session_of_its_own(tmp_path, transcript, gather, after):
    lead = transcript("5e55-1", teamName="crew")
    lead.asks(0, "go")
    lead.spawns(10, "toolu_1", name="Agent", subagent_type="builder", team_name="crew")
    lead.lines[-1]["message"]["content"][0]["input"] |= {"name": "cart"}
    told = {"status": "teammate_spawned", "teammate_id": "cart@crew", "name": "cart", "team_name": "crew"}
    lead.answers(11, "toolu_1", told)
    lead.asks(700, '<teammate-message teammate_id="cart">{"type":"idle_notification"}</teammate-message>')
    mate = transcript("5e55-0", teamName="crew", agentName="cart")
    mate.asks(12, '<teammate-message teammate_id="team-lead">Build it</teammate-message>')
    mate.works(20, 100)
    mate.line("system", 640, subtype="turn_duration", durationMs=628_000)
    other = transcript("5e55-2", teamName="crew", agentName="other")  # whose leader's log is not here
    other.works(5, 6)
    for t in (lead, mate, other):
        t.write(tmp_path / "p" / f"{t.session}.jsonl")
    found, _ = gather(tmp_path)
    run, stray = (run for run in found["Run"] if run.agent_type != MAIN_THREAD)
    assert (run.run_id, run.agent, run.agent_type, run.parent) == ("toolu_1", "cart@crew", "builder", "5e55-1")
    assert (run.status, run.start, run.end, run.duration_s) == ("completed", after(12), after(640), 628.0)
    assert (run.steps, run.tokens, run.model, run.queue_s) == (1, 20, "claude-haiku-9", 2.0)
    assert (stray.run_id, stray.agent, stray.agent_type, stray.steps) == ("5e55-2", "other@crew", "other", 1)


def test_teammates_of_one_name_belong_to_the_spawn_before_them(tmp_path, transcript, gather):
    lead = transcript("5e55-0")
    for n in range(2):
        lead.spawns(1000 * n, f"toolu_{n}", message=f"m{n}", team_name="crew")
        lead.lines[-1]["message"]["content"][0]["input"]["name"] = "cart"
        told = {"status": "teammate_spawned", "agent_id": "cart@crew", "name": "cart", "team_name": "crew"}
        lead.answers(1000 * n + 1, f"toolu_{n}", told)
        mate = transcript(f"5e55-{2 - n}", teamName="crew", agentName="cart")
        mate.works(1000 * n + 5, 1000 * n + 10 + n)
        mate.write(tmp_path / f"{mate.session}.jsonl")
    lead.write(tmp_path / "5e55-0.jsonl")
    found, _ = gather(tmp_path)
    assert [(run.run_id, run.duration_s) for run in found["Run"]] == [("toolu_0", 6.0), ("toolu_1", 7.0)]


@pytest.mark.parametrize("how", ["meta", "name", "prompt"])
def test_a_teammate_within_the_leaders_process(tmp_path, transcript, gather, how):
    t = transcript()
    t.spawns(0, "toolu_1", prompt="Build the cart", team_name="t")
    t.lines[-1]["message"]["content"][0]["input"]["name"] = "cart"
    t.answers(
        1, "toolu_1", {"status": "teammate_spawned", "agent_id": "cart@s-1", "teammate_id": "cart@s-1", "name": "cart"}
    )
    a = transcript(agent="a77", **({"agentName": "cart"} if how == "name" else {}))
    if how == "prompt":
        a.asks(2, '<teammate-message teammate_id="team-lead">\nBuild the cart\n</teammate-message>')
    a.works(2, 300)
    folder = tmp_path / "5e55-1" / "subagents"
    a.write(folder / "agent-a77.jsonl")
    if how == "meta":
        (folder / "agent-a77.meta.json").write_text('{\n "agentType": "Explore",\n "name": "cart"\n}\n')
    run, steps, log = only_run(gather, t.write(tmp_path / "5e55-1.jsonl"))
    assert (run.run_id, run.status, run.duration_s, run.tokens, len(steps)) == ("toolu_1", "completed", 299.0, 20, 1)
    assert not log.notes


def test_agents_of_a_workflow(tmp_path, transcript, gather):
    t = transcript()
    t.says(0, "m", {"type": "tool_use", "id": "toolu_w", "name": "Workflow", "input": {"script": "x"}})
    t.answers(1, "toolu_w", {"status": "async_launched", "taskId": "w1", "runId": "wf_1"})
    folder = tmp_path / "5e55-1" / "subagents" / "workflows" / "wf_1"
    for n, agent in enumerate(("b1", "b2", "b3")):
        a = transcript(agent=agent)
        a.works(5, 30 + n)
        if agent != "b1":  # killed while its last call ran
            a.says(50, "last", {"type": "tool_use", "id": f"call-{agent}", "name": "Bash", "input": {}})
        a.write(folder / f"agent-{agent}.jsonl")
    (folder / "agent-b1.meta.json").write_text('{"agentType": "auditor", "description": "Audit the cart"}')
    (folder / "journal.jsonl").write_text(
        '{"type": "started", "key": "v1", "agentId": "b2"}\n{"type": "result", "key": "v1", "agentId": "b2"}\n'
    )
    found, log = gather(t.write(tmp_path / "5e55-1.jsonl").parent)
    told = [(run.run_id, run.agent_type, run.status, run.parent, run.batch, run.steps) for run in found["Run"]]
    assert told == [
        ("b1", "auditor", "completed", "5e55-1", "toolu_w", 1),
        ("b2", "workflow-subagent", "completed", "5e55-1", "toolu_w", 2),
        ("b3", "workflow-subagent", "censored", "5e55-1", "toolu_w", 2),
    ]
    assert found["Run"][0].description == "Audit the cart"
    assert (dict(log.notes), log.rejected_total) == ({}, 0)


@pytest.mark.parametrize("name", ["proxy_Task", "mcp__relay__Agent", "Delegate"])
def test_the_tool_may_have_another_name(tmp_path, transcript, gather, name):
    t = transcript()
    t.spawns(0, "toolu_1", name=name)
    t.says(1, "m2", {"type": "tool_use", "id": "toolu_2", "name": "ask_model", "input": {"prompt": "hi"}})
    t.answers(2, "toolu_2", {"text": "hello"})
    t.completes(62, "toolu_1", "a1", ms=60_000)
    run, _, _ = only_run(gather, t.write(tmp_path / "5e55-1.jsonl"))
    assert (run.run_id, run.duration_s) == ("toolu_1", 60.0)


def test_a_call_is_a_spawn_if_its_result_names_an_agent(tmp_path, transcript, gather):
    for order in (1, -1):
        t = transcript()
        t.says(1, "m", {"type": "tool_use", "id": "toolu_1", "name": "Crew", "input": {"prompt": "hi"}})
        t.completes(62, "toolu_1", "a1", ms=60_000)
        t.lines = t.lines[::order]
        run, _, _ = only_run(gather, t.write(tmp_path / f"{order}.jsonl"))
        assert (run.agent, run.duration_s, run.agent_type) == ("a1", 60.0, "general-purpose")


def test_a_remote_agent_ends_with_its_notification(tmp_path, transcript, gather, after):
    t = transcript()
    t.spawns(0, "toolu_1")
    t.answers(1, "toolu_1", {"status": "remote_launched", "taskId": "r1", "sessionUrl": "u"})
    t.notifies(130, "r1")
    run, _, _ = only_run(gather, t.write(tmp_path / "5e55-1.jsonl"))
    assert (run.status, run.agent, run.end, run.duration_s) == ("completed", "r1", after(130), 45.0)
    assert (run.background, run.start) == (True, after(1))


CANCELLED = "<tool_use_error>Sibling tool call errored</tool_use_error>"
OVERLOADED = 'API Error: 529 {"type":"error","error":{"type":"overloaded_error"}}'


@pytest.mark.parametrize(
    ("said", "worked", "status"),
    [
        (CANCELLED, False, "launch_error"),
        ("Cancelled: parallel tool call Bash(ls) errored", False, "launch_error"),
        (OVERLOADED, False, "launch_error"),
        ("Error: claude-x is temporarily unavailable, so it cannot be decided", False, "launch_error"),
        (OVERLOADED, True, "interrupted"),
        ("You've hit your session limit · resets 7pm", True, "interrupted"),
    ],
)
def test_what_is_nobodys_failure_is_no_outcome(tmp_path, transcript, gather, said, worked, status):
    t = transcript()
    t.spawns(0, "toolu_1")
    t.answers(9, "toolu_1", said, said=said, error=True)
    if worked:
        data = {"type": "agent_progress", "agentId": "a1", "message": transcript(agent="a1").says(3, "i")}
        t.line("progress", 3, data=data, parentToolUseID="toolu_1")
    run, _, _ = only_run(gather, t.write(tmp_path / "5e55-1.jsonl"))
    assert (run.status, run.success) == (status, None)


@pytest.mark.parametrize("background", [False, True])
def test_an_answer_that_is_the_apis_error_is_no_outcome(tmp_path, transcript, gather, background):
    t = transcript()
    t.spawns(0, "toolu_1")
    if background:
        t.launches(1, "toolu_1", "a1")
        t.notifies(99, "a1", status="failed")
        for line in t.lines[-2:]:
            text = json.dumps(line).replace("Agent finished", "Agent failed: API Error: Connection error")
            line.clear(), line.update(json.loads(text))
    else:
        t.completes(99, "toolu_1", "a1", ms=90_000)
        t.lines[-1]["message"]["content"][0]["content"] = [{"type": "text", "text": OVERLOADED}]
    a = transcript(agent="a1")
    a.works(5, 30, model="claude-haiku-9")
    broken = a.says(40, "x", {"type": "text", "text": OVERLOADED}, usage={"input_tokens": 0})
    broken["message"]["model"], broken["isApiErrorMessage"] = "<synthetic>", True
    a.answers(41, "nothing", said=CANCELLED, error=True)
    a.write(tmp_path / "5e55-1" / "subagents" / "agent-a1.jsonl")
    run, _, _ = only_run(gather, t.write(tmp_path / "5e55-1.jsonl"))
    assert (run.status, run.success, run.model, run.errors) == ("interrupted", None, "claude-haiku-9", 0)


def test_a_fork_keeps_the_steps_that_its_origin_has(tmp_path, transcript, gather):
    for order in (("5e55-1", "5e55-2"), ("5e55-2", "5e55-1")):
        folder = tmp_path / order[0]
        for name, session in zip("ab", order, strict=True):
            t = transcript(session)
            t.spawns(0, "toolu_1")
            t.completes(62, "toolu_1", "a1", ms=60_000)
            t.write(folder / f"{name}.jsonl")
        a = transcript("5e55-1", agent="a1")
        a.works(5, 30)
        a.write(folder / "x" / "c.jsonl")
        run, steps, _ = only_run(gather, folder)
        assert (run.group, run.tokens, len(steps)) == ("5e55-1", 20, 1)


def test_an_agent_whose_result_was_cut_off_is_known_by_its_prompt(tmp_path, transcript, gather):
    t = transcript()
    t.spawns(0, "toolu_1", prompt="Look at the cart")
    a = transcript(agent="a1")
    a.asks(1, "Look at the cart")
    a.works(5, 30)
    a.write(tmp_path / "5e55-1" / "subagents" / "agent-a1.jsonl")
    run, steps, log = only_run(gather, t.write(tmp_path / "5e55-1.jsonl"))
    assert (run.status, run.agent, run.tokens, len(steps), dict(log.notes)) == ("censored", "a1", 20, 1, {})


# A session's own runs -----------------------------------------------------------------------------------


@pytest.fixture
def alone(transcript):
    """A session without subagents: two requests, a command that reaches no model, a stop, a failure of the API."""
    t = transcript()
    t.asks(0, "Build the cart")
    t.works(5, 60)
    t.line("system", 65, subtype="turn_duration", durationMs=65_000)
    t.asks(100, "<command-name>/model</command-name>")
    t.asks(200, "Now test it")
    t.says(205, "m205", {"type": "tool_use", "id": "c205", "name": "Bash", "input": {}}, usage={"input_tokens": 7})
    t.asks(230, "[Request interrupted by user]")
    t.asks(300, "Go on")
    t.says(310, "m310", {"type": "text", "text": OVERLOADED})["isApiErrorMessage"] = True
    return t


def test_each_request_to_the_main_thread_is_a_run(tmp_path, alone, gather, after):
    found, _ = gather(alone.write(tmp_path / "x.jsonl"))
    told = [(run.description, run.status, run.duration_s, run.steps, run.tokens) for run in found["Run"]]
    assert told == [
        ("Build the cart", "completed", 65.0, 1, 20),
        ("Now test it", "interrupted", 30.0, 1, 7),
        ("Go on", "interrupted", 10.0, 0, 0),
    ]
    run = found["Run"][0]
    assert (run.agent, run.agent_type, run.group, run.project) == ("5e55-1", MAIN_THREAD, "5e55-1", "shop")
    assert (run.start, run.end, run.success, run.prompt_chars) == (after(0), after(65), None, 14)
    assert [step.run_id for step in found["Step"]] == [run.run_id, found["Run"][1].run_id]


def test_they_count_by_option_or_where_nothing_else_ran(tmp_path, alone, transcript):
    alone.write(tmp_path / "in" / "x.jsonl")
    runs, steps = tables(tmp_path / "a", tmp_path / "in")
    assert (len(runs), len(steps)) == (3, 2)
    t = transcript("5e55-2")
    t.asks(0, "go")
    t.spawns(1, "toolu_1")
    t.completes(9, "toolu_1", "a1", ms=7_000)
    t.write(tmp_path / "in" / "y.jsonl")
    manifest = collect([tmp_path / "in"], tmp_path / "b", quality_filter="none")
    assert manifest["tables"]["runs"]["rows"] == manifest["filters"]["runs_read"] == 1
    assert list(manifest["notes"].values()) == [4]
    assert len(tables(tmp_path / "c", tmp_path / "in", main_thread=True)[0]) == 5
    (tmp_path / "in" / "y.jsonl").unlink()
    with pytest.raises(ValueError, match=r"no subagent ran.*--main-thread true"):
        collect([tmp_path / "in"], tmp_path / "d", main_thread=False)
