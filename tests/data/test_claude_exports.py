"""Claude Code's other logs: stream-json of ``claude -p``, and OpenTelemetry as OTLP JSON."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.test_fuzz import FUZZ, JSON, complaint, drain, mutate
from tests.transcript import T0

from claude_flow.data.collect import collect
from claude_flow.data.events import MAIN_THREAD
from claude_flow.data.sources import claude_otel, claude_stream
from claude_flow.data.tables import read_table

# stream-json --------------------------------------------------------------------------------------------

SESSION = {"session_id": "s-1"}


def call(identity, name="Task", parent=None, message="m1", **asked):
    block = {"type": "tool_use", "id": identity, "name": name, "input": asked}
    body = {"id": message, "role": "assistant", "model": "claude-x", "content": [block], "usage": {"input_tokens": 5}}
    return {"type": "assistant", "message": body, "parent_tool_use_id": parent, "uuid": f"u-{identity}", **SESSION}


def answer(identity, result=None, parent=None, said="ok", error=False):
    block = {"type": "tool_result", "tool_use_id": identity, "content": said, "is_error": error}
    line = {"type": "user", "message": {"role": "user", "content": [block]}, "parent_tool_use_id": parent, **SESSION}
    return line | {"uuid": f"a-{identity}"} | ({} if result is None else {"tool_use_result": result})


def streamed():
    """A run of ``claude -p`` with three subagents, one of them in the background."""
    asked = {"description": "Look", "prompt": "look", "subagent_type": "Explore"}
    return [
        {"type": "system", "subtype": "init", "cwd": "/home/mira/shop", "model": "claude-x", **SESSION},
        call("t1", **asked),
        call("i1", "Read", parent="t1", message="i", file_path="x"),
        {"type": "stream_event", "event": {}, "parent_tool_use_id": "t1", **SESSION},
        answer("i1", parent="t1", error=True),
        answer("t1", {"status": "completed", "agentId": "a1", "totalDurationMs": 5000, "totalTokens": 70}),
        call("t2", message="m2", **asked),
        answer("t2", {"status": "async_launched", "agentId": "b2"}),
        call("t3", message="m3", **asked),
        answer("t3", "Sibling tool call errored", said="Sibling tool call errored", error=True),
        {"type": "system", "subtype": "task_started", "task_id": "b2", "tool_use_id": "t2", **SESSION},
        {
            "type": "system",
            "subtype": "task_notification",
            "task_id": "b2",
            "tool_use_id": "t2",
            "status": "completed",
            "summary": "done",
            "usage": {"total_tokens": 9, "tool_uses": 2, "duration_ms": 7000},
            **SESSION,
        },
        {
            "type": "result",
            "subtype": "success",
            "is_error": False,
            "duration_ms": 20000,
            "total_cost_usd": 0.5,
            "usage": {"input_tokens": 100, "output_tokens": 11},
            "result": "All good",
            "uuid": "r1",
            **SESSION,
        },
    ]


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("form", ["lines", "list"])
def test_stream_json(tmp_path, gather, form):
    path = tmp_path / "out.log"
    if form == "list":
        path.write_text(json.dumps(streamed()))
    else:
        write(path, streamed())
    found, log = gather(path)
    told = [(run.run_id, run.agent, run.status, run.success, run.duration_s, run.parent) for run in found["Run"]]
    assert told == [
        ("t1", "a1", "completed", None, 5.0, "s-1"),
        ("t2", "b2", "completed", None, 7.0, "s-1"),
        ("t3", "t3", "launch_error", None, None, "s-1"),
        ("r1", "s-1", "completed", None, 20.0, None),
    ]
    first, second, _, main = found["Run"]
    assert (first.steps, first.errors, first.tokens, first.context_tokens, first.model) == (1, 1, 5, 70, "claude-x")
    assert (second.background, second.tool_calls, second.context_tokens) == (True, 2, 9)
    assert (main.agent_type, main.cost, main.tokens, main.steps) == (MAIN_THREAD, 0.5, 111, 3)
    assert {(run.source, run.group, run.project) for run in found["Run"]} == {("claude-stream", "s-1", "shop")}
    # There are no times, and none are made up.
    assert {(run.submitted, run.start, run.end, run.queue_s, run.tool_s, run.active_s) for run in found["Run"]} == {
        (None,) * 6
    }
    assert {step.seconds for step in found["Step"]} == {None}
    assert (log.rejected_total, dict(log.notes)) == (0, {})


def test_stream_json_with_times(tmp_path, gather):
    lines = streamed()
    for number, line in enumerate(lines):
        line["timestamp"] = (T0 + timedelta(seconds=10 * number)).isoformat()
    found, _ = gather(write(tmp_path / "x.jsonl", lines))
    first, second, _, main = found["Run"]
    assert (first.submitted, first.end) == (T0 + timedelta(seconds=10), T0 + timedelta(seconds=50))
    assert (first.tool_s, second.end) == (20.0, T0 + timedelta(seconds=110))
    assert (main.end, main.start) == (T0 + timedelta(seconds=120), T0 + timedelta(seconds=100))


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ({"subtype": "error_max_turns"}, "timeout"),
        ({"subtype": "error_during_execution", "is_error": True}, "failed"),
        ({"is_error": True, "result": "API Error: 529 Overloaded"}, "interrupted"),
    ],
)
def test_how_a_headless_run_ended(tmp_path, gather, end, status):
    lines = streamed()
    again = lines[-1] | {"uuid": "r2", "total_cost_usd": 0.7} | end
    found, _ = gather(write(tmp_path / "x.ndjson", [*lines, again]))
    runs = [run for run in found["Run"] if run.agent_type == MAIN_THREAD]
    assert [(run.status, run.cost, run.steps) for run in runs] == [("completed", 0.5, 3), (status, 0.2, 0)]


def test_a_single_result_is_a_run(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(streamed()[-1]))
    collect([tmp_path], tmp_path / "d")
    (run,) = read_table(tmp_path / "d", "runs").to_pylist()
    assert (run["duration_s"], run["cost"], run["agent_type"]) == (20.0, 0.5, MAIN_THREAD)


# OpenTelemetry ------------------------------------------------------------------------------------------


def attributes(**told):
    kinds = {str: "stringValue", int: "intValue", float: "doubleValue", bool: "boolValue"}
    return [
        {"key": key.replace("__", "."), "value": {kinds[type(v)]: str(v) if type(v) is int else v}}
        for key, v in told.items()
    ]


def nano(at):
    return str(int((T0 + timedelta(seconds=at)).timestamp()) * 10**9)


def event(at, name, **told):
    body = {"event__name": name, "session__id": "s-1", "prompt__id": "p-1", "user__id": "u9"} | told
    record = {
        "timeUnixNano": nano(at),
        "body": {"stringValue": f"claude_code.{name}"},
        "attributes": attributes(**body),
    }
    scope = {"scope": {"name": "com.anthropic.claude_code.events"}, "logRecords": [record]}
    return {
        "resourceLogs": [{"resource": {"attributes": attributes(service__name="claude-code")}, "scopeLogs": [scope]}]
    }


def metric(at, name, value, session="s-9", delta=False, since=0, **told):
    point = {"attributes": attributes(session__id=session, **told), "timeUnixNano": nano(at), "asDouble": value}
    counter = {"aggregationTemporality": 1 if delta else 2, "isMonotonic": True}
    counter["dataPoints"] = [point | {"startTimeUnixNano": nano(since)}]
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": f"claude_code.{name}", "sum": counter}]}]}]}


def exported():
    """A prompt with one foreground and one background subagent, and a prompt at which the API gave out."""
    request = {
        "model": "claude-x",
        "cost_usd": "0.25",
        "input_tokens": "100",
        "output_tokens": 10,
        "duration_ms": "900",
    }
    inner = request | {"model": "claude-small", "query_source": "agent:Explore", "cost_usd": 0.01}
    return [
        event(0, "user_prompt", prompt_length="12", prompt="<REDACTED>"),
        event(5, "api_request", query_source="repl_main_thread", **request),
        event(10, "tool_result", tool_name="Read", success="true", duration_ms="1500"),
        event(11, "tool_result", tool_name="Bash", success="false", duration_ms=500),
        event(30, "api_request", **inner),
        event(40, "subagent_completed", agent_type="Explore", duration_ms="20000", total_tokens=900, total_tool_uses=7),
        event(41, "tool_result", tool_name="Agent", success="true", duration_ms=20500),
        event(50, "api_error", status_code="529"),
        event(60, "api_request", query_source="repl_main_thread", **request),
        event(90, "subagent_completed", agent_type="Plan", duration_ms=30000, is_async=True, model="claude-y"),
        event(100, "user_prompt", prompt__id="p-2", prompt_length=3, prompt="go on"),
        event(120, "api_error", prompt__id="p-2", status_code="529"),
        event(200, "user_prompt", prompt__id="p-3", prompt_length=7, prompt="/model"),
    ]


def test_otel_events(tmp_path, gather):
    lines = exported()
    random.Random(3).shuffle(lines)
    found, log = gather(write(tmp_path / "logs.json", [*lines, exported()[0]]))  # one was exported twice
    explore, plan, first, second = found["Run"]
    assert (explore.agent_type, explore.duration_s, explore.status, explore.success) == (
        "Explore",
        20.0,
        "completed",
        None,
    )
    assert (explore.start, explore.end) == (T0 + timedelta(seconds=20), T0 + timedelta(seconds=40))
    assert (explore.context_tokens, explore.tool_calls, explore.tokens, explore.cost) == (900, 7, 110, 0.01)
    assert (plan.agent_type, plan.background, plan.model, plan.tokens) == ("Plan", True, "claude-y", None)
    assert (first.agent_type, first.task, first.start, first.duration_s) == (MAIN_THREAD, "p-1", T0, 60.0)
    assert (first.tokens, first.cost, first.model, first.steps, first.errors) == (220, 0.5, "claude-x", 3, 1)
    assert (first.retries, first.tool_s, first.status, first.prompt_chars) == (1, 22.5, "completed", 12)
    assert (second.status, second.description, second.success) == ("interrupted", "go on", None)
    assert {(run.group, run.user, run.source) for run in found["Run"]} == {("s-1", "u9", "claude-otel")}
    assert sorted(step.action for step in found["Step"]) == ["Agent", "Bash", "Read"]
    assert (log.rejected_total, dict(log.notes)) == (0, {})


def test_otel_of_older_versions_has_only_the_tools_result(tmp_path, gather):
    asked = '{"subagent_type": "Explore", "description": "Look"}'
    lines = [
        event(0, "user_prompt"),
        event(30, "tool_result", tool_name="Task", success="true", duration_ms=20000, tool_parameters=asked),
        event(60, "tool_result", tool_name="Task", success="false", duration_ms=5000, tool_parameters=asked),
    ]
    found, _ = gather(write(tmp_path / "logs.json", lines))
    told = [(run.agent_type, run.description, run.duration_s, run.status) for run in found["Run"][:2]]
    assert told == [("Explore", "Look", 20.0, "completed"), ("Explore", "Look", 5.0, "failed")]


def test_parallel_subagents_of_one_type_share_no_tokens(tmp_path, gather):
    lines = [e for e in exported() if "Plan" not in str(e)]
    lines.append(event(45, "subagent_completed", agent_type="Explore", duration_ms=20000))
    found, _ = gather(write(tmp_path / "logs.json", lines))
    assert [run.tokens for run in found["Run"] if run.agent_type == "Explore"] == [None, None]


def test_one_document_over_several_lines(tmp_path, gather):
    (tmp_path / "one.json").write_text(json.dumps(exported()[1], indent=2))
    found, log = gather(tmp_path)
    assert (found["Run"][0].tokens, log.rejected_total) == (110, 0)


def test_otel_metrics_stand_in_for_events(tmp_path, gather):
    lines = [
        metric(60, "token.usage", 100.0, type="input", model="claude-x"),
        metric(120, "token.usage", 150.0, type="input", model="claude-x"),
        metric(120, "token.usage", 20.0, type="output", model="claude-x"),
        metric(180, "token.usage", 30.0, type="input", model="claude-x", since=150),  # a new start: it counts anew
        metric(120, "cost.usage", 0.5, model="claude-x"),
        metric(60, "cost.usage", 0.25, model="claude-small", delta=True),
        metric(180, "cost.usage", 0.75, model="claude-small", delta=True),
        metric(180, "active_time.total", 40.0, type="cli"),
        metric(60, "token.usage", 999.0, session="s-1"),  # of which events are known
        *exported(),
    ]
    found, _ = gather(write(tmp_path / "all.json", lines))
    (run,) = (run for run in found["Run"] if run.group == "s-9")
    assert (run.tokens, run.cost, run.active_s, run.duration_s) == (200, 1.5, 40.0, 180.0)
    assert (run.model, run.start, run.status, run.agent_type) == ("claude-small", T0, None, MAIN_THREAD)
    assert len([run for run in found["Run"] if run.group == "s-1"]) == 4


def test_telemetry_without_sessions_is_noted(tmp_path, gather):
    lines = [event(0, "user_prompt", session__id=""), metric(1, "token.usage", 1.0, session=""), {"resourceSpans": []}]
    found, log = gather(write(tmp_path / "x.json", lines))
    assert found["Run"] == []
    assert len(log.notes) == 3


@given(st.randoms(use_true_random=False), JSON)
@FUZZ
@pytest.mark.parametrize("kind", ["stream", "otel"])
def test_mutated_exports_reach_the_tables(tmp_path, kind, chance, strange):
    lines = streamed() if kind == "stream" else [*exported(), metric(9, "cost.usage", 1.0)]
    lines = [mutate(line, chance, strange) for line in lines]
    chance.shuffle(lines)
    path = write(tmp_path / "log.json", lines)
    said = complaint(
        lambda: collect([path], tmp_path / "d", quality_filter="none", bad_line_share=1.0, main_thread=True)
    )
    assert "\n" not in said
    for source in (claude_stream, claude_otel):
        drain(source, path, [path])


def test_mixed_folder_keeps_them_apart(tmp_path):
    write(tmp_path / "a.json", exported())
    write(tmp_path / "b.json", streamed())
    manifest = collect([tmp_path], tmp_path / "d", quality_filter="none")
    assert [source["kind"] for source in manifest["sources"]] == ["claude-otel", "claude-stream"]
