"""Claude Code transcripts: one run per subagent that a session spawned, and per request to the session itself.

Reads ``~/.claude/projects`` trees, folders of sessions, single files and exports that moved or renamed them; versions
2.0.60 to 2.1.250. A spawn is a call of the tool Task or Agent, also under a longer name, or any call whose result
names an agent. What the numbers mean where the log misleads:

* Whose line it is, is in the line (``sessionId``, ``agentId``, ``cwd``, ``teamName``): no name of a file or folder
  counts, but for the ``.meta.json`` beside an agent's transcript.
* One API message is several lines that repeat ``usage``: the maximum per ``message.id`` counts, once.
* ``totalTokens`` is the last request's context (``context_tokens``), not the sum over requests (``tokens``).
* Durations include idle time; ``active_s`` leaves out gaps above 300 s between inner steps.
* A background or remote spawn returns at once; its end is the first ``<task-notification>``. ``TaskOutput`` gives only
  an upper bound, so it sets ``end`` but no duration.
* A teammate's run is its own transcript, be it a session or an agent's file: from its first line to its last. An agent
  that a workflow started has no call at all: its run is its transcript too.
* "completed" says that the agent returned, not that it succeeded: ``success`` stays None. A failure of the API, or a
  call that was cancelled because one beside it failed, is no outcome either.
* Resumed and forked sessions repeat history: spawns are told apart by ``tool_use.id`` over the whole tree.
* Lines are not in time order: nothing here depends on the order of a file's lines except ties.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from claude_flow.data.events import Record
from claude_flow.data.lines import Head, Log, head
from claude_flow.data.sources.claude_code.index import Index, Transcript
from claude_flow.data.sources.claude_code.runs import KIND, Meta, runs
from claude_flow.data.sources.claude_code.thread import TYPES, Threads
from claude_flow.errors import InputError

__all__ = ["KIND", "claims", "read"]

_META = ".meta.json"


def claims(head: Head) -> bool:
    """A transcript, what lies beside an agent's (``.meta.json``), or the journal of a workflow."""
    if head.path.name.removesuffix(".gz").endswith(_META):
        return True
    return any(_is_journal(line) or _is_transcript(line) for line in head.objects)


def read(path: Path, files: list[Path], log: Log) -> Iterator[Record]:
    """Yield every run once, each followed by its inner steps."""
    about, ended, transcripts = _beside(files, log)
    index = Index(transcripts)
    meta: Meta = {
        (found.session, found.agent): said
        for found in index.transcripts
        if found.agent and (said := about.get(_bare(found.path)))
    }
    seen: set[str] = set()
    unfinished: dict[str, list[Record]] = {}  # a copy of the session elsewhere may hold the end
    for first in index.transcripts:
        threads = _together(first, index, log)
        for run, steps in runs(threads, meta, ended, index.projects, log):
            if run.run_id in seen:
                continue
            if run.status == "censored":
                unfinished.setdefault(run.run_id, [run, *steps])
            else:
                seen.add(run.run_id)
                unfinished.pop(run.run_id, None)
                yield run
                yield from steps
    for records in unfinished.values():
        yield from records


def _together(first: Transcript, index: Index, log: Log) -> Threads:
    """Read a transcript and all that its lines, and theirs, refer to, unless it was read before."""
    threads = Threads(log)
    waiting = [] if first.is_read else [first]
    while waiting:
        for transcript in waiting:
            transcript.is_read = True
            threads.read(transcript)
        found = dict.fromkeys(index.naming(sorted(threads.mentions)))
        waiting = [transcript for transcript in found if not transcript.is_read]
        threads.mentions.clear()
    return threads


def _beside(files: list[Path], log: Log) -> tuple[dict[str, dict[str, Any]], set[str], list[Path]]:
    """What ``.meta.json`` files say, by the transcript's path; agents whose result a journal has; the transcripts."""
    about: dict[str, dict[str, Any]] = {}
    ended: set[str] = set()
    transcripts = []
    for file in files:
        if file.name.removesuffix(".gz").endswith(_META):
            try:
                said = log.document(file)
            except InputError as error:
                log.leave_out(file, str(error).removeprefix(f"{file}: "))
                continue
            if isinstance(said, dict):
                about[_bare(file)] = said
        elif any(map(_is_journal, head(file).objects)):
            ended |= {str(line.get("agentId")) for _, line in log.objects(file) if line.get("type") == "result"}
        else:
            transcripts.append(file)
    return about, ended, transcripts


def _bare(file: Path) -> str:
    return str(file).removesuffix(".gz").removesuffix(_META).removesuffix(".jsonl").removesuffix(".ndjson")


def _is_journal(line: dict[str, Any]) -> bool:
    return line.get("type") in ("started", "result") and "agentId" in line and "key" in line


def _is_transcript(line: dict[str, Any]) -> bool:
    if "event" in line or "session_id" in line or not isinstance(line.get("type"), str):
        return False
    return line["type"] in TYPES or isinstance(line.get("sessionId"), str)
