"""What Claude Code runs at SubagentStop, Stop and SessionEnd: it keeps what a session's transcript says of subagents.

Started as a file (``python -I -S hook.py``) with the hook's JSON on standard input, it imports nothing of this package:
a start costs some 20 ms, the package's own would be several times the 50 ms that a hook may take.

The call is a hint, the transcript is the truth: some versions fire no SubagentStop for agents in the background, and a
result may be written after it. So every call reads what the session's transcript has grown by since the last one, and
copies the lines that tell of subagents (the call, its result, notifications), with long texts cut, to
``events/claude-code-SESSION.jsonl`` of the workspace. ``data collect`` reads that as any transcript; a run that it has
seen in Claude Code's own folder too counts once.

It prints nothing, since words of a hook would wake the subagent up again; and it ends with 0 whatever happens.
"""

from __future__ import annotations

import json
import os
import sys

_MOST = 16 << 20  # bytes of a transcript that one call reads; the next call goes on
_LONG = 300  # characters of a text that are kept
_OPEN = 500  # calls that wait for a result
_WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"


def workspace(cwd: str) -> str:
    """The workspace, as ``claude_flow.registry.workspace`` finds it (a test holds the two together)."""
    if home := os.environ.get("CLAUDE_FLOW_HOME"):
        return home
    own = os.path.join(".claude-flow", "neural")
    if project := os.environ.get("CLAUDE_PROJECT_DIR"):
        return os.path.join(project, own)
    folder = here = os.path.abspath(cwd or ".")
    while not os.path.isdir(os.path.join(folder, own)):
        above = os.path.dirname(folder)
        if above == folder:
            return os.path.join(here, own)
        folder = above
    return os.path.join(folder, own)


def catch_up(told: dict[str, object], home: str) -> None:
    """Copy what the transcript of ``told``, a hook's input, has to say since the last call."""
    session, transcript = str(told.get("session_id") or ""), told.get("transcript_path")
    if session.strip(_WORD) or not 0 < len(session) <= 100 or not isinstance(transcript, str):
        return  # its name becomes a file's
    kept = os.path.join(home, "hooks")
    events = os.path.join(home, "events")
    os.makedirs(kept, exist_ok=True)
    os.makedirs(events, exist_ok=True)
    lock = _locked(os.path.join(kept, ".lock"))
    if lock is None:
        return  # another call is at work: the next one catches up
    try:
        _copy(os.path.expanduser(transcript), os.path.join(kept, session + ".json"),
              os.path.join(events, "claude-code-" + session + ".jsonl"))  # fmt: skip
    finally:
        os.close(lock)


def _copy(transcript: str, kept: str, target: str) -> None:
    begin, waiting = _state(kept)
    with open(transcript, "rb") as file:
        if begin > os.fstat(file.fileno()).st_size:  # it was written anew
            begin = 0
        file.seek(begin)
        data = file.read(_MOST)
    end = data.rfind(b"\n") + 1
    if not end:
        if len(data) < _MOST:
            return  # a line is being written
        end = len(data)  # one that no transcript has
    lines = [line for raw in data[:end].split(b"\n") if (line := _outcome(raw, waiting))]
    if lines:
        with open(target, "ab+") as file:
            torn = file.tell() and (file.seek(-1, 2), file.read(1))[1] != b"\n"
            file.write((b"\n" if torn else b"") + b"\n".join(lines) + b"\n")
    # A call that dies here copies these lines again: a run counts once, however often its lines are there.
    scratch = f"{kept}.{os.getpid()}"
    with open(scratch, "w", encoding="utf-8") as file:
        json.dump({"read": begin + end, "open": list(waiting)[-_OPEN:]}, file)
    os.replace(scratch, kept)


def _state(kept: str) -> tuple[int, dict[str, None]]:
    """How far the transcript was read, and the calls without a result."""
    try:
        with open(kept, encoding="utf-8") as file:
            found = json.load(file)
        return int(found["read"]), dict.fromkeys(found["open"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, {}


def _outcome(raw: bytes, waiting: dict[str, None]) -> bytes | None:
    """A line that tells of a subagent, with its long texts cut; None for any other."""
    is_call = b'"tool_use"' in raw and (b'"Task"' in raw or b'"Agent"' in raw or b'"subagent_type"' in raw)
    is_result = b'"tool_result"' in raw and (b'"agentId"' in raw or any(name.encode() in raw for name in waiting))
    if not (is_call or is_result or b"-notification>" in raw):
        return None
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(line, dict):
        return None
    message = line.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, dict):
            continue
        asked = block.get("input")
        if block.get("type") == "tool_use" and isinstance(asked, dict) and isinstance(asked.get("prompt"), str):
            waiting[str(block.get("id"))] = None
        elif block.get("type") == "tool_result":
            waiting.pop(str(block.get("tool_use_id")), None)
    return json.dumps(_cut(line), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _cut(value: object) -> object:
    if isinstance(value, str) and len(value) > _LONG:
        if "-notification>" in value:  # its numbers stand at the end
            return value if len(value) <= 4 * _LONG else value[: 2 * _LONG] + "…" + value[-2 * _LONG :]
        return f"{value[:_LONG]}…[{len(value)} chars]"
    if isinstance(value, dict):
        return {key: _cut(item) for key, item in value.items()}
    return [_cut(item) for item in value[:20]] if isinstance(value, list) else value


def _locked(path: str) -> int | None:
    """A descriptor that holds the lock until it is closed; None where another process holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def main() -> None:
    """Do it, in silence."""
    try:
        told = json.loads(sys.stdin.buffer.read(1 << 20))
        catch_up(told, workspace(str(told.get("cwd") or ".")))
    except BaseException:
        if os.environ.get("CLAUDE_FLOW_HOOK_DEBUG"):
            raise


if __name__ == "__main__":
    main()
    os._exit(0)
