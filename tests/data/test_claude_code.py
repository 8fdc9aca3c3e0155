"""Every known way in which a Claude Code transcript misleads, on transcripts made here."""

from __future__ import annotations

import json

from claude_flow.data.events import SIGNALS


def only_run(gather, path):
    found, log = gather(path)
    assert len(found["Run"]) == 1
    return found["Run"][0], found["Step"], log


def test_foreground_run(tmp_path, transcript, gather, after):
    t = transcript()
    t.spawns(0, "toolu_1", prompt="x" * 321, model="haiku")
    t.completes(62, "toolu_1", "a1b2c3d", ms=60_000, tokens=5_000, tools=7)
    run, steps, log = only_run(gather, t.write(tmp_path / "shop" / "5e55-1.jsonl"))
    assert (run.run_id, run.agent, run.agent_type, run.task_type) == (
        "toolu_1",
        "a1b2c3d",
        "Explore",
        "Explore",
    )
    assert (run.group, run.parent, run.project) == ("5e55-1", "5e55-1", "shop")
    assert (run.status, run.success, run.duration_s) == ("completed", None, 60.0)
    assert (run.submitted, run.start, run.end, run.queue_s) == (after(0), after(2), after(62), 2.0)
    assert (run.context_tokens, run.tool_calls, run.prompt_chars, run.model) == (5_000, 7, 321, "haiku")
    # No inner steps were logged: these are unknown, not 0.
    assert (run.tokens, run.errors, run.steps, run.active_s, run.retries) == (None,) * 5
    assert steps == []
    assert log.rejected_total == 0


def test_usage_counts_once_per_message_at_its_maximum(tmp_path, transcript, gather):
    t = transcript()
    t.spawns(0, "toolu_1")
    t.completes(100, "toolu_1", "a1", ms=100_000, tokens=999)
    a = transcript(agent="a1")
    usage = {"input_tokens": 10, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 30}
    a.says(1, "msg_x", {"type": "text", "text": "hm"}, usage=usage | {"output_tokens": 1})
    a.says(
        2,
        "msg_x",
        {"type": "tool_use", "id": "t1", "name": "Read", "input": {}},
        usage=usage | {"output_tokens": 9},
    )
    a.answers(5, "t1", said="no such file", error=True)
    a.says(6, "msg_y", {"type": "tool_use", "id": "t2", "name": "Bash", "input": {}}, usage={"input_tokens": 5})
    a.answers(8, "t2")
    path = t.write(tmp_path / "5e55-1.jsonl")
    a.write(tmp_path / "5e55-1" / "subagents" / "agent-a1.jsonl.gz")
    transcript(agent="acompact-9").write(tmp_path / "5e55-1" / "subagents" / "agent-acompact-9.jsonl")
    run, steps, _ = only_run(gather, path)
    assert run.tokens == 10 + 200 + 30 + 9 + 5
    assert run.context_tokens == 999
    assert (run.steps, run.errors, run.retries, run.tool_s) == (2, 1, 0, 5.0)
    assert [(s.index, s.action, s.seconds) for s in steps] == [(0, "Read", 3.0), (1, "Bash", 2.0)]


def test_progress_lines_and_agent_file_are_one_history(tmp_path, transcript, gather):
    t = transcript()
    t.spawns(0, "toolu_1")
    a = transcript(agent="a1")
    inner = a.says(1, "m", {"type": "tool_use", "id": "t1", "name": "Grep", "input": {}}, usage={"input_tokens": 8})
    a.answers(400, "t1")
    data = {"type": "agent_progress", "agentId": "a1", "message": inner}
    t.line("progress", 1, data=data, parentToolUseID="toolu_1")
    t.completes(410, "toolu_1", "a1", ms=410_000)
    a.write(tmp_path / "5e55-1" / "subagents" / "agent-a1.jsonl")
    run, steps, _ = only_run(gather, t.write(tmp_path / "5e55-1.jsonl"))
    assert (run.tokens, run.steps, len(steps)) == (8, 1, 1)
    assert run.active_s == 410 - 399  # the gap of 399 s between the two inner lines is idle


def test_background_ends_at_its_first_notification(tmp_path, transcript, gather, after):
    t = transcript()
    t.spawns(0, "toolu_1", run_in_background=True)
    t.launches(1, "toolu_1", "b77")
    t.notifies(50, "b77")
    run, _, _ = only_run(gather, t.write(tmp_path / "5e55-1.jsonl"))
    assert (run.status, run.background, run.duration_s) == ("completed", True, 45.0)
    assert (run.start, run.end, run.queue_s) == (after(1), after(50), 1.0)
    assert (run.context_tokens, run.tool_calls) == (700, 3)


def test_notification_without_usage_falls_back_to_times(tmp_path, transcript, gather):
    t = transcript()
    t.spawns(0, "toolu_1")
    t.launches(1, "toolu_1", "b77")
    t.notifies(30, "b77", status="failed", usage="<note>none</note>")
    run, _, _ = only_run(gather, t.write(tmp_path / "5e55-1.jsonl"))
    assert (run.status, run.success, run.duration_s) == ("failed", False, 30.0)


def test_quoted_notification_in_a_tool_result_ends_nothing(tmp_path, transcript, gather):
    t = transcript()
    t.spawns(0, "toolu_1")
    t.launches(1, "toolu_1", "b77")
    quoted = "<task-notification><task-id>b77</task-id><status>completed</status></task-notification>"
    t.says(2, "m2", {"type": "tool_use", "id": "toolu_r", "name": "Read", "input": {}})
    t.answers(3, "toolu_r", said=quoted)
    run, _, _ = only_run(gather, t.write(tmp_path / "5e55-1.jsonl"))
    assert run.status == "censored"


def test_task_output_gives_an_end_but_no_duration(tmp_path, transcript, gather, after):
    t = transcript()
    t.spawns(0, "toolu_1")
    t.launches(1, "toolu_1", "b77")
    t.says(2, "m2", {"type": "tool_use", "id": "toolu_o", "name": "TaskOutput", "input": {}})
    task = {"task_id": "b77", "task_type": "local_agent", "status": "completed"}
    t.answers(90, "toolu_o", {"retrieval_status": "success", "task": task})
    run, _, _ = only_run(gather, t.write(tmp_path / "5e55-1.jsonl"))
    assert (run.status, run.end, run.duration_s) == ("completed", after(90), None)


def test_resumed_agent_shares_its_id(tmp_path, transcript, gather):
    t = transcript()
    t.spawns(0, "toolu_1")
    t.launches(1, "toolu_1", "b77")
    t.notifies(40, "b77")
    t.spawns(100, "toolu_2", message="msg_2", resume="b77")
    t.launches(101, "toolu_2", "b77")
    t.notifies(160, "b77", status="killed")
    a = transcript(agent="b77")
    a.says(5, "i1", usage={"input_tokens": 3})
    a.says(110, "i2", usage={"input_tokens": 4})
    a.write(tmp_path / "5e55-1" / "subagents" / "agent-b77.jsonl")
    found, _ = gather(t.write(tmp_path / "5e55-1.jsonl"))
    assert [(r.status, r.tokens) for r in found["Run"]] == [("completed", 3), ("killed", 4)]


def test_statuses_of_errors_and_cut_logs(tmp_path, transcript, gather):
    t = transcript()
    said = {
        "toolu_i": "Error: [Request interrupted by user for tool use]",
        "toolu_r": "User rejected tool use",
        "toolu_l": "Error: Agent type 'nope' not found. Available agents: Explore",
        "toolu_v": "InputValidationError: missing prompt",
        "toolu_x": "Error: the disk melted",
    }
    for at, (tool_id, words) in enumerate(said.items()):
        t.spawns(at, tool_id, message=f"m{at}")
        t.answers(at + 0.5, tool_id, words, said=words, error=True)
    t.spawns(50, "toolu_team", message="mt")
    t.answers(51, "toolu_team", {"status": "teammate_spawned", "teammate_id": "dev@shop", "name": "dev"})
    t.spawns(60, "toolu_cut", message="mc")
    found, _ = gather(t.write(tmp_path / "5e55-1.jsonl"))
    assert {r.run_id: (r.status, r.success) for r in found["Run"]} == {
        "toolu_i": ("interrupted", None),
        "toolu_r": ("rejected", None),
        "toolu_l": ("launch_error", False),
        "toolu_v": ("launch_error", False),
        "toolu_x": ("failed", False),
        "toolu_team": ("censored", None),
        "toolu_cut": ("censored", None),
    }
    assert all(r.duration_s is None for r in found["Run"])


def test_forked_session_does_not_double_a_run_and_the_fuller_copy_wins(tmp_path, transcript, gather):
    whole, cut = transcript("5e55-2"), transcript("5e55-1")
    for t in (whole, cut):
        t.spawns(0, "toolu_1")
    whole.completes(9, "toolu_1", "a1", ms=8_000)
    cut.write(tmp_path / "p" / "5e55-1.jsonl")
    whole.write(tmp_path / "p" / "5e55-2.jsonl")
    run, _, _ = only_run(gather, tmp_path)
    assert (run.status, run.duration_s) == ("completed", 8.0)


def test_lines_in_any_order_and_parallel_spawns(tmp_path, transcript, gather):
    t = transcript()
    t.completes(9, "toolu_1", "a1", ms=8_000)
    t.spawns(0, "toolu_1", message="same")
    t.spawns(0.1, "toolu_2", message="same", name="Task", subagent_type=None)
    t.completes(5, "toolu_2", "a2", ms=4_000)
    found, _ = gather(t.write(tmp_path / "5e55-1.jsonl.gz"))
    assert [(r.run_id, r.duration_s, r.batch_size) for r in found["Run"]] == [
        ("toolu_1", 8.0, 2),
        ("toolu_2", 4.0, 2),
    ]
    assert found["Run"][1].agent_type == "general-purpose"


def test_nested_spawn_names_the_agent_as_its_parent(tmp_path, transcript, gather):
    t = transcript()
    t.spawns(0, "toolu_1")
    t.completes(90, "toolu_1", "a1", ms=90_000)
    outer = transcript(agent="a1")
    outer.spawns(5, "toolu_n", message="mn")
    outer.completes(20, "toolu_n", "z9", ms=14_000)
    inner = transcript(agent="z9")
    inner.says(7, "iz", usage={"input_tokens": 2})
    outer.write(tmp_path / "5e55-1" / "subagents" / "agent-a1.jsonl")
    inner.write(tmp_path / "5e55-1" / "subagents" / "agent-z9.jsonl")
    found, log = gather(t.write(tmp_path / "5e55-1.jsonl"))
    nested = next(r for r in found["Run"] if r.run_id == "toolu_n")
    assert (nested.parent, nested.group, nested.tokens) == ("a1", "5e55-1", 2)
    assert not log.notes


def test_old_trees_keep_agent_files_beside_the_session(tmp_path, transcript, gather):
    t = transcript()
    t.spawns(0, "toolu_1")
    t.completes(9, "toolu_1", "a1", ms=8_000)
    a = transcript(agent="a1")
    a.says(1, "i", usage={"input_tokens": 6})
    t.write(tmp_path / "5e55-1.jsonl")
    a.write(tmp_path / "agent-a1.jsonl")
    run, _, _ = only_run(gather, tmp_path)
    assert run.tokens == 6


def test_drift_and_broken_lines_are_counted_not_fatal(tmp_path, transcript, gather):
    t = transcript()
    t.spawns(0, "toolu_1")
    t.line("hologram", 1)
    t.completes(9, "toolu_1", "a1", ms=8_000)
    path = t.write(tmp_path / "5e55-1.jsonl")
    with path.open("a") as file:
        file.write('{"type": "user", "mess\n[1]\n{"type": "assistant", "timestamp": "soon"}\n{"type": NaN}\n')
    run, _, log = only_run(gather, path)
    assert run.status == "completed"
    assert log.notes == {"type hologram": 1}
    assert [(r["line"], r["reason"]) for r in log.rejected] == [
        (4, "column 18: not JSON: Unterminated string starting at"),
        (5, "a JSON object is wanted, this is a list"),
        (6, "a line of type assistant without a valid timestamp"),
        (7, "column 10: NaN is not JSON: give a number or null"),
    ]
    assert log.lines_total == 7


def test_shortened_prompts_keep_their_length(tmp_path, transcript, gather):
    t = transcript()
    t.spawns(0, "toolu_1", prompt="Look at…[2236 chars]")
    path = t.write(tmp_path / "5e55-1.jsonl")
    assert json.loads(path.read_text().splitlines()[0])["type"] == "assistant"
    run, _, _ = only_run(gather, path)
    assert run.prompt_chars == 2236


def test_what_followed_a_run_that_wrote_files(tmp_path, transcript, gather):
    def bash(t, at, identity, command, said, error=False):
        t.says(at, f"m{at}", {"type": "tool_use", "id": identity, "name": "Bash", "input": {"command": command}})
        t.answers(at + 1, identity, said=said, error=error)

    def edit(t, at, path):
        call = {"type": "tool_use", "id": f"e{at}", "name": "Edit", "input": {"file_path": path}}
        t.says(at, f"m{at}", call)
        t.answers(at + 1, f"e{at}")

    t = transcript()
    t.spawns(0, "toolu_1")
    t.answers(
        60,
        "toolu_1",
        {"status": "completed", "agentId": "a1", "totalDurationMs": 60_000},
        said="I was unable to run it",
    )
    t.says(61, "m61", {"type": "text", "text": "The agent missed one caller."})
    bash(t, 62, "b1", "cd api && pytest -q", "1 failed, 3 passed", error=True)
    edit(t, 64, "/home/mira/shop/a.py")
    edit(t, 66, "/home/mira/shop/other.py")
    bash(t, 68, "b2", "pytest -q | tail -1", "4 passed in 1 s")
    bash(t, 70, "b3", "ruff check . | head", "")  # a pipe hides how it ended
    bash(t, 72, "b4", "git status", "error: no")  # no check
    t.spawns(80, "toolu_2", message="msg_2")
    t.completes(90, "toolu_2", "a2", ms=9_000)
    bash(t, 91, "b5", "npm run lint", "0 problems")  # after the next task: not about the first run
    a = transcript(agent="a1")
    edit(a, 10, "/home/mira/shop/a.py")
    edit(a, 20, "/home/mira/shop/b.py")
    reader = transcript(agent="a2")
    reader.works(81, 85)
    folder = tmp_path / "5e55-1" / "subagents"
    t.write(tmp_path / "5e55-1.jsonl"), a.write(folder / "agent-a1.jsonl"), reader.write(folder / "agent-a2.jsonl")
    found, _ = gather(tmp_path)
    first, second = sorted(found["Run"], key=lambda run: run.run_id)
    assert (first.checks_passed, first.checks_failed, first.fault_named) == (1, 1, True)
    assert (first.edited_again, first.admits_failure, first.success) == (1, True, None)
    assert all(getattr(second, name) is None for name in SIGNALS)  # it wrote nothing
