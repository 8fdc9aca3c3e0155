"""Which files hold which session, told by their lines: names and folders may have been changed by an export."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claude_flow.data.events import moment, text
from claude_flow.data.lines import head, stem

__all__ = ["Index", "Transcript", "project_names"]

_WORKTREE = re.compile(r"/(?:\.claude/worktrees|\.worktrees)/[^/]+.*|(?<=[^/])[-.]worktrees?/[^/]+.*")
_WORKSPACE = re.compile(r"^.*/conductor/workspaces/([^/]+)/[^/]+.*")
_HOME = re.compile(r"^(?:[A-Za-z]:|/mnt/[a-z])?/(?:Users|home)/[^/]+")


@dataclass(slots=True, eq=False)
class Transcript:
    """One file: the session that its first lines name, the agent where it is an agent's, the member of a team."""

    path: Path
    session: str
    agent: str | None = None
    member: tuple[str, str] | None = None  # (team, name)
    start: float = 0.0
    cwd: str = ""
    is_read: bool = False

    @classmethod
    def look(cls, path: Path) -> Transcript:
        """What the first lines of a file tell."""
        found = cls(path, "")
        for line in head(path).objects:
            found.session = found.session or text(line.get("sessionId")) or ""
            found.cwd = found.cwd or text(line.get("cwd")) or ""
            if not found.start and (at := moment(line.get("timestamp"))) is not None:
                found.start = at.timestamp()
            found.agent = found.agent or agent_of(line)
            found.member = found.member or member_of(line)
        found.session = found.session or stem(path)
        return found


def agent_of(line: dict[str, Any]) -> str | None:
    """The agent whose line this is; None for the session's own."""
    return text(line.get("agentId")) if line.get("isSidechain") is not False else None


def member_of(line: dict[str, Any]) -> tuple[str, str] | None:
    """Team and name of the teammate whose session this line is of."""
    team, name = text(line.get("teamName")), text(line.get("agentName"))
    return (team, name) if team and name and name != "team-lead" else None


class Index:
    """The transcripts among ``files``, in the order of their beginning, found by what their lines name.

    ``projects`` names the folders in which their sessions began.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        looked = [Transcript.look(file) for file in files]
        # Teammates last: who leads them says when and for what they were called.
        self.transcripts = sorted(looked, key=lambda t: (t.member is not None, t.start, t.session, t.agent or ""))
        self._by: dict[tuple[str, ...], list[Transcript]] = defaultdict(list)
        cwds: dict[str, str] = {}
        for found in sorted(self.transcripts, key=lambda t: (t.agent is not None, t.start)):
            self._by["session", found.session].append(found)
            if found.agent:
                self._by["agent", found.agent].append(found)
            if found.member:
                team, name = found.member
                self._by["member", team, name].append(found)
            if found.cwd:
                cwds.setdefault(found.session, found.cwd)
        self.projects = project_names(cwds.values())

    def naming(self, mentions: Iterable[tuple[str, ...]]) -> list[Transcript]:
        """The transcripts of a ``("session", id)``, ``("agent", id)`` or ``("member", team, name)``."""
        return [found for mention in mentions for found in self._by.get(mention, ())]


def project_names(cwds: Iterable[str]) -> dict[str, str]:
    """Each working folder's project: the last part of its path, or as many as tell it from others of the same home.

    So the clones of one repository on several people's machines are one project, and two folders ``app`` of one
    person are two. A worktree is its repository.

    >>> list(project_names(["/home/ann/shop", "/home/bob/code/shop", "/home/bob/code/shop/.worktrees/2"]).values())
    ['shop', 'shop', 'shop']
    >>> list(project_names(["/home/ann/web/app", "/home/ann/tv/app"]).values())
    ['web/app', 'tv/app']
    """
    roots = {cwd: _root(cwd) for cwd in cwds}
    by_home: dict[str, set[str]] = defaultdict(set)
    for root in roots.values():
        found = _HOME.match(root)
        by_home[found.group() if found else ""].add(root)
    names = {}
    for folders in by_home.values():
        for folder in folders:
            parts = folder.split("/")
            size = 1
            while size < len(parts) and any(
                other != folder and other.split("/")[-size:] == parts[-size:] for other in folders
            ):
                size += 1
            names[folder] = "/".join(parts[-size:]) or folder
    return {cwd: names[root] for cwd, root in roots.items()}


def _root(cwd: str) -> str:
    """The folder of the repository whose worktree this is, with forward slashes."""
    path = cwd.replace("\\", "/").rstrip("/") or "/"
    path = _WORKSPACE.sub(r"/\1", path)
    return _WORKTREE.sub("", path) or path
