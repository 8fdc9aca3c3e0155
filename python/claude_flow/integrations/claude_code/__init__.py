"""Claude Code is told of the MCP server, of a hook that keeps subagents' outcomes, and of a skill; and forgets them.

Everything here is a change of a file: :func:`changes` says what would become of each, :func:`make` makes it so. What
else the files say is kept, and a file that somebody else wrote under our name is left alone.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claude_flow import files, values
from claude_flow.errors import InputError

__all__ = ["EVENTS", "Change", "changes", "hook_command", "make"]

_NAME = "claude-flow"
_HERE = Path(__file__).parent
#: SubagentStop fires early, but not for agents in the background; the others catch up.
EVENTS = ("SubagentStop", "Stop", "SessionEnd")
_HOOK_S = 5  # after which Claude Code ends the hook, which takes milliseconds
_HOOK = "claude_flow/integrations/claude_code/hook.py"  # how ours is known, wherever it was installed
_TEXTS = {
    "skill": (Path(".claude/skills/claude-flow/SKILL.md"), "skill.md"),
    "agent": (Path(".claude/agents/claude-flow-dispatcher.md"), "agents/dispatcher.md"),
}


@dataclass(frozen=True)
class Change:
    """What becomes of a file: ``change`` is added, changed, removed, none, or kept (it is not ours)."""

    what: str
    path: Path
    change: str
    before: Any
    after: Any
    text: str | None = None  # the file's new text; None: there is no such file any more


def server() -> dict[str, Any]:
    """How Claude Code starts the MCP server."""
    return {"type": "stdio", "command": sys.executable, "args": ["-m", "claude_flow", "neural", "mcp"]}


def hook_command() -> str:
    """The shell's line of the hook: isolated, without site packages, silent, and never a failure."""
    words = [Path(sys.executable).as_posix(), "-I", "-S", (_HERE / "hook.py").as_posix()]
    return f"{shlex.join(words)} > /dev/null 2>&1 || true"


def changes(project: Path, *, remove: bool = False) -> list[Change]:
    """What connecting (or, with ``remove``, disconnecting) would do to the files of ``project``.

    Raises:
        InputError: a file of settings that cannot be understood.
    """
    return [
        _server(project / ".mcp.json", remove),
        _hooks(project / ".claude" / "settings.local.json", remove),
        *(
            _text(what, project / path, (_HERE / own).read_text("utf-8"), remove)
            for what, (path, own) in _TEXTS.items()
        ),
    ]


def make(change: Change) -> None:
    """Write the file, or take it away."""
    if change.change in ("none", "kept"):
        return
    if change.text is None:
        change.path.unlink()
        return
    change.path.parent.mkdir(parents=True, exist_ok=True)
    files.atomic_write(change.path, change.text)


def _server(path: Path, remove: bool) -> Change:
    settings = _settings(path, "mcpServers", {})
    servers = dict(settings.get("mcpServers", {}))
    had = servers.pop(_NAME, None)
    if not remove:
        servers[_NAME] = server()
    return _changed("MCP server", path, settings, "mcpServers", servers, had, servers.get(_NAME))


def _hooks(path: Path, remove: bool) -> Change:
    settings = _settings(path, "hooks", {})
    hooks = dict(settings.get("hooks", {}))
    had: dict[str, Any] = {}
    for event, groups in list(hooks.items()):
        if not isinstance(groups, list):
            raise InputError(f"{path}: hooks.{event} is no list: mend it, or move the file away")
        others = []
        for group in groups:
            own = [hook for hook in _commands(group) if _is_ours(hook)]
            rest = [hook for hook in _commands(group) if not _is_ours(hook)]
            if own:
                had[event] = own[0]
                others += [{**group, "hooks": rest}] if rest else []
            else:
                others.append(group)
        hooks[event] = others
        if not others:
            del hooks[event]
    ours = (
        {} if remove else {name: {"type": "command", "command": hook_command(), "timeout": _HOOK_S} for name in EVENTS}
    )
    for event, hook in ours.items():
        hooks[event] = [*hooks.get(event, []), {"hooks": [hook]}]
    return _changed("hooks", path, settings, "hooks", hooks, had or None, ours or None)


def _commands(group: Any) -> list[Any]:
    inner = group.get("hooks") if isinstance(group, dict) else None
    return inner if isinstance(inner, list) else []


def _is_ours(hook: Any) -> bool:
    return isinstance(hook, dict) and _HOOK in str(hook.get("command", "")).replace("\\", "/")


def _changed(
    what: str, path: Path, settings: dict[str, Any], key: str, value: dict[str, Any], had: Any, has: Any
) -> Change:
    after = {**settings, key: value}
    if not value and had is not None:
        del after[key]
    change = "none" if had == has else "removed" if has is None else "added" if had is None else "changed"
    text = json.dumps(after, indent=2, ensure_ascii=False) + "\n" if after else None
    return Change(what, path, change, had, has, text)


def _settings(path: Path, key: str, empty: dict[str, Any]) -> dict[str, Any]:
    """A file of settings, in which ``key`` is an object if it is there."""
    if not path.exists():
        return empty
    found = values.read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get(key, {}), dict):
        raise InputError(f'{path}: it is no object with "{key}": mend it, or move it away')
    return found


def _text(what: str, path: Path, ours: str, remove: bool) -> Change:
    had = path.read_text("utf-8", "replace") if path.is_file() else None
    if had not in (None, ours):  # somebody's own, or edited
        return Change(what, path, "kept", had, had, had)
    has = None if remove else ours
    change = "none" if had == has else "removed" if has is None else "added"
    return Change(what, path, change, had, has, has)
