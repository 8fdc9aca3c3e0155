"""From threads to runs: which thread is whose, how each run ended, what it took."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from claude_flow.data.events import MAIN_THREAD, Run, Step, count, number, text
from claude_flow.data.lines import Log
from claude_flow.data.sources.claude_code import signals
from claude_flow.data.sources.claude_code.index import project_names
from claude_flow.data.sources.claude_code.steps import InnerSteps, is_cancelled
from claude_flow.data.sources.claude_code.thread import LAUNCHED, Notice, Request, Spawn, Threads

__all__ = ["KIND", "Meta", "is_api_error", "runs"]

KIND = "claude-code"

#: (session, agent) -> what the file beside the agent's transcript says
Meta = dict[tuple[str, str], dict[str, Any]]

_STATUS = {
    "completed": "completed",
    "failed": "failed",
    "error": "failed",
    "killed": "killed",
    "cancelled": "killed",
    "stopped": "killed",
    "interrupted": "interrupted",
    "async_launched": None,
    "remote_launched": None,
    "teammate_spawned": None,
}
_ERROR_STATUS = (  # what an error says within its first words; exports may cut it after a dozen characters
    ("Request interrupted", "interrupted"),
    ("User reject", "rejected"),
    ("The user doesn't want", "rejected"),
    ("Agent type '", "launch_error"),
    ("InputVal", "launch_error"),
)
_API_ERROR = re.compile(
    r"API Error|is temporarily unavailable|you've (?:hit|reached) your [\w -]*limit|usage limit reached"
    r"|rate limit(?:ed|s)? |overloaded_error|Credit balance is too low|Invalid API key|Unable to connect to API",
    re.IGNORECASE,
)


def runs(
    threads: Threads, meta: Meta, ended: set[str], projects: dict[str, str], log: Log
) -> Iterator[tuple[Run, list[Step]]]:
    """Every run of the threads, in the order of time, each with its steps: subagents, then the sessions' own.

    ``ended``: agents whose workflow recorded their result; ``projects``: the names of folders.
    """

    def project(session: str) -> str | None:
        *_, cwd = threads.cwds.get(session, ("",))
        return projects.get(cwd) or project_names([cwd]).get(cwd) if cwd else None

    loose = _link(threads, meta)
    batches = Counter((spawn.session, str(spawn.batch)) for spawn in threads.spawns.values() if spawn.batch)
    by_agent: dict[str, list[Spawn]] = defaultdict(list)
    spawns = sorted(threads.spawns.values(), key=lambda spawn: (spawn.at, spawn.identity))
    handed: dict[tuple[str, str], list[float]] = defaultdict(list)
    for spawn in spawns:
        handed[spawn.session, spawn.parent].append(spawn.at.timestamp())
        if spawn.agent:
            by_agent[spawn.agent].append(spawn)
    for spawn in spawns:
        run = _spawned(spawn, threads, by_agent.get(spawn.agent or "", []), log)
        run.batch_size = batches.get((spawn.session, str(spawn.batch)), 1)
        run.project = project(spawn.session)
        _add_steps(run, spawn.inner)
        parent = threads.inner.get((spawn.session, spawn.parent)) or threads.main.get(spawn.session)
        stops = [*handed[spawn.session, spawn.parent]]
        stops += [asked.at.timestamp() for asked in threads.requests.get(spawn.session, {}).values()]
        answer = spawn.result.ends if spawn.result is not None else ""
        signals.add(run, answer, (path for _, path in spawn.inner.written), parent, stops)
        yield run, list(spawn.inner.steps(run.run_id))
    for thread in sorted(loose, key=lambda thread: (min(threads.inner[thread].times, default=0.0), thread)):
        about, inner = meta.get(thread, {}), threads.inner[thread]
        launches = [launch for launch in threads.workflows.get(thread[0], ()) if launch[0] <= _moment(inner, min)]
        if not inner.words:
            log.notes["agent transcript that no line of its session spawned"] += 1
        elif launches or thread[1] in ended or about.get("agentType"):
            run = _unspawned(thread, inner, about, launches, thread[1] in ended)
            run.project = project(thread[0])
            yield run, list(inner.steps(run.run_id))
        elif thread[0] in threads.main:
            log.notes["agent transcript that no line of its session spawned"] += 1
        else:
            log.notes["agent transcript without its session"] += 1
    taken = {id(spawn.inner) for spawn in spawns}
    for session, inner in sorted(threads.main.items()):
        if id(inner) in taken:
            continue
        if (member := threads.members.get(session)) is not None:  # a teammate whose leader's transcript is not here
            run = _unspawned((session, f"{member[1]}@{member[0]}"), inner, {"agentType": member[1]}, [], False)
            run.run_id = session
            made = [(run, inner)]
        else:
            made = list(_own(session, inner, threads))
        for run, part in made:
            run.project = project(session)
            yield run, list(part.steps(run.run_id))


def _link(threads: Threads, meta: Meta) -> list[tuple[str, str]]:
    """Give each spawn its result, its agent and its agent's thread; return the threads of agents without a spawn."""
    owners: dict[str, list[Spawn]] = defaultdict(list)
    by_call = {call: thread[1] for thread, about in meta.items() if (call := text(about.get("toolUseId")))}
    for identity, spawn in threads.spawns.items():
        spawn.result = threads.results.get(identity)
        body = spawn.result.body if spawn.result is not None and isinstance(spawn.result.body, dict) else {}
        told = (body.get(name) for name in ("agentId", "teammate_id", "agent_id", "taskId"))
        spawn.agent = next(filter(None, map(text, told)), None) or threads.agents.get(identity) or by_call.get(identity)
        if body.get("status") == "teammate_spawned":
            name, team = body.get("name") or spawn.asked["name"], body.get("team_name") or spawn.asked["team_name"]
            spawn.team = (text(team) or "", text(name) or "")
        else:
            spawn.team = None
        for agent in {spawn.agent, threads.agents.get(identity)} - {None}:
            owners[str(agent)].append(spawn)
    waiting = {thread for thread in threads.inner if thread[1] not in owners}
    _link_teammates(threads, meta, waiting)
    for thread, inner in threads.inner.items():
        own = sorted(owners.get(thread[1], ()), key=lambda spawn: spawn.at)
        # A fork repeats lines of its origin: a thread belongs to the spawns of its own session, if there are any.
        own = [spawn for spawn in own if spawn.session == thread[0]] or [
            spawn for spawn in own if not spawn.inner.times
        ]
        for spawn, part in zip(own, inner.split([spawn.at.timestamp() for spawn in own]), strict=False):
            spawn.inner = part
    by_opening = {
        spawn.asked["prompt"]: spawn
        for spawn in threads.spawns.values()
        if spawn.asked["prompt"] is not None and spawn.agent is None
    }
    for thread in sorted(waiting):  # a log that was cut before its result: the agent's first line is the prompt
        owner = by_opening.get(threads.openings.get(thread, 0))
        if owner is not None and not owner.inner.times:
            owner.agent, owner.inner = thread[1], threads.inner[thread]
            waiting.discard(thread)
    return list(waiting)


def _link_teammates(threads: Threads, meta: Meta, waiting: set[tuple[str, str]]) -> None:
    """Give each teammate's spawn the thread of its session, or of its agent within the leader's."""
    called = sorted(
        (s for s in threads.spawns.values() if s.team is not None), key=lambda spawn: spawn.at, reverse=True
    )
    for session, member in sorted(threads.members.items(), key=lambda item: _moment(threads.main[item[0]], min)):
        begin = _moment(threads.main[session], min)
        for spawn in called:  # the latest one before the session began; clocks of one machine differ by little
            same = spawn.team is not None and spawn.team[1] == member[1] and spawn.team[0] in (member[0], "")
            if same and not spawn.is_own_session and spawn.at <= begin + timedelta(seconds=60):
                spawn.inner, spawn.is_own_session = threads.main[session], True
                break
    for thread in sorted(waiting, key=lambda thread: (_moment(threads.inner[thread], min), thread)):
        name = text(meta.get(thread, {}).get("name")) or threads.names.get(thread)
        for spawn in called:
            same = spawn.session == thread[0] and (
                (name is not None and spawn.team is not None and spawn.team[1] == name)
                or (spawn.asked["prompt"] is not None and spawn.asked["prompt"] == threads.openings.get(thread))
            )
            if same and not spawn.is_own_session and spawn.at <= _moment(threads.inner[thread], min):
                spawn.inner, spawn.is_own_session = threads.inner[thread], True
                waiting.discard(thread)
                break


def _spawned(spawn: Spawn, threads: Threads, same_agent: list[Spawn], log: Log) -> Run:
    asked, inner, result = spawn.asked, spawn.inner, spawn.result
    body = result.body if result is not None and isinstance(result.body, dict) else {}
    kind = text(asked["subagent_type"]) or text(body.get("agentType")) or text(body.get("agent_type"))
    kind = kind or "general-purpose"
    is_launched = body.get("status") in LAUNCHED
    run = Run(
        run_id=spawn.identity,
        source=KIND,
        group=spawn.session,
        agent=spawn.agent or spawn.identity,
        agent_type=kind,
        task=spawn.identity,
        task_type=kind,
        description=text(asked["description"]),
        parent=spawn.parent,
        submitted=spawn.at,
        start=spawn.at,
        status="censored",
        model=text(body.get("resolvedModel")) or inner.model or text(asked["model"]),
        background=is_launched or asked["run_in_background"] is True,
        batch=spawn.batch,
        prompt_chars=asked["prompt_chars"],
    )
    if spawn.is_own_session:
        _thread_end(run, inner)
        run.queue_s = max(_moment(inner, min) - spawn.at, timedelta()).total_seconds()
    elif is_launched:
        _background_end(run, spawn, threads, same_agent)
    elif result is not None:
        _foreground_end(run, spawn, body, log)
    if run.status == "launch_error" and result is not None and is_cancelled(str(result.body)):
        return run  # it was never tried: no failure of anyone
    if run.status in ("failed", "launch_error") and not is_api_error(result.body if result is not None else None):
        run.success = False
    return run


def _foreground_end(run: Run, spawn: Spawn, body: dict[str, Any], log: Log) -> None:
    result = spawn.result
    assert result is not None
    if body:
        word = str(body.get("status"))
        if word not in _STATUS:
            log.notes[f"agent status {word[:40]}"] += 1
        run.status = _STATUS.get(word) or "censored"
        if run.status == "completed" and (spawn.inner.gave_out or is_api_error(result.said)):
            run.status = "interrupted"  # what it returned is the API's error
    elif not result.is_error and not str(result.body).startswith("Error"):
        run.status = "completed"
    else:
        run.status = _error_status(str(result.body)[:300], bool(spawn.inner.words))
    if run.status == "censored":
        return
    run.end = result.at
    milliseconds = number(body.get("totalDurationMs"))
    run.context_tokens = count(body.get("totalTokens"))
    run.tool_calls = count(body.get("totalToolUseCount"))
    if milliseconds is not None and milliseconds < 1e12:
        run.duration_s = milliseconds / 1000
        if run.end is not None and run.submitted is not None:
            # Permission prompts come before the start, so end - duration is the truer start.
            run.start = max(run.submitted, run.end - timedelta(seconds=run.duration_s))
            run.queue_s = (run.start - run.submitted).total_seconds()


def _error_status(said: str, has_run: bool) -> str:
    """What an error text means; a failure of the API, or of a call beside it, is none of the agent's."""
    if is_cancelled(said):
        return "launch_error"
    if is_api_error(said):
        return "interrupted" if has_run else "launch_error"
    return next((status for words, status in _ERROR_STATUS if words in said), "failed")


def _background_end(run: Run, spawn: Spawn, threads: Threads, same_agent: list[Spawn]) -> None:
    until = min((other.at for other in same_agent if other.at > spawn.at), default=None)
    launched = spawn.result.at if spawn.result is not None else None
    ends: list[Notice] = [
        notice
        for identity in (spawn.identity, spawn.agent or "")
        for notice in threads.notices.get(identity, ())
        if notice.at >= spawn.at and (until is None or notice.at < until) and _STATUS.get(notice.status)
    ]
    if launched is not None and launched >= spawn.at:
        run.start = launched
        run.queue_s = (launched - spawn.at).total_seconds()
    if ends:
        first = min(ends, key=lambda notice: notice.at)
        usage = first.usage
        run.status, run.end = _STATUS[first.status], first.at
        if run.status in ("completed", "failed") and (spawn.inner.gave_out or is_api_error(first.said)):
            run.status = "interrupted"
        run.context_tokens = usage.get("total_tokens", usage.get("subagent_tokens"))
        run.tool_calls = usage.get("tool_uses")
        run.duration_s = (
            usage["duration_ms"] / 1000 if "duration_ms" in usage else (first.at - spawn.at).total_seconds()
        )
    elif spawn.agent in threads.outputs and threads.outputs[spawn.agent] >= spawn.at:
        run.status, run.end = "completed", threads.outputs[spawn.agent]


def _thread_end(run: Run, inner: InnerSteps) -> None:
    """The end of a run that has a transcript and nobody who reports its end."""
    run.start, run.end = _moment(inner, min), _moment(inner, max)
    run.duration_s = (run.end - run.start).total_seconds()
    run.status = "interrupted" if inner.gave_out else "completed" if inner.is_done else "censored"
    run.context_tokens, run.tool_calls = inner.context_tokens, len(inner.called)


def _unspawned(
    thread: tuple[str, str], inner: InnerSteps, about: dict[str, Any], launches: list[Any], has_ended: bool
) -> Run:
    """The run of an agent that no call names: a workflow's script started it."""
    launch = max(launches, default=None)
    kind = text(about.get("agentType")) or "workflow-subagent"
    run = Run(
        run_id=thread[1],
        source=KIND,
        group=thread[0],
        agent=thread[1],
        agent_type=kind,
        task=thread[1],
        task_type=kind,
        description=text(about.get("description")),
        parent=thread[0],
        submitted=_moment(inner, min),
        model=inner.model or text(about.get("model")),
        background=True,
        batch=launch[1] if launch else None,
    )
    _thread_end(run, inner)
    if has_ended and run.status == "censored":
        run.status = "completed"
    _add_steps(run, inner)
    return run


def _own(session: str, inner: InnerSteps, threads: Threads) -> Iterator[tuple[Run, InnerSteps]]:
    """The session's own runs: what its main thread did after each request of its user."""
    asked: list[Request] = sorted(threads.requests.get(session, {}).values(), key=lambda request: request.at)
    stops = [at.timestamp() for at in threads.interrupts.get(session, ())]
    moments = [request.at.timestamp() for request in asked]
    for i, (request, part) in enumerate(zip(asked, inner.split(moments), strict=False)):
        if not part.words and not part.breaks:
            continue  # nothing came of it: a command of the program itself, or the next words of the same request
        run = Run(
            run_id=request.uuid,
            source=KIND,
            group=session,
            agent=session,
            agent_type=MAIN_THREAD,
            task=request.uuid,
            task_type="request",
            description=text(request.text),
            submitted=request.at,
            model=part.model,
            background=False,
            prompt_chars=len(request.text),
        )
        _thread_end(run, part)
        run.start = request.at
        run.duration_s = max((_moment(part, max) - request.at).total_seconds(), 0.0)
        until = moments[i + 1] if i + 1 < len(moments) else float("inf")
        if any(max(part.words, default=(0.0, ""))[0] <= stop < until for stop in stops):
            run.status = "interrupted"
        _add_steps(run, part)
        yield run, part


def _add_steps(run: Run, inner: InnerSteps) -> None:
    if inner.times:
        run.tokens = inner.tokens
        run.errors = inner.errors
        run.steps = len(inner.called)
        seconds = [step.seconds for step in inner.steps(run.run_id) if step.seconds is not None]
        run.tool_s = round(sum(seconds), 6) if seconds else None
        if run.duration_s is not None:
            run.active_s = max(round(run.duration_s - inner.gaps_s(), 6), 0.0)
    run.retries = len(inner.retries) if inner.has_own_file or inner.retries else None


def is_api_error(said: Any) -> bool:
    """Whether a text begins as the API's errors do."""
    return isinstance(said, str) and _API_ERROR.search(said[:300]) is not None


def _moment(inner: InnerSteps, which: Any) -> datetime:
    return datetime.fromtimestamp(which(inner.times, default=0.0), timezone.utc)
