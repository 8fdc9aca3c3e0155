"""The list of protocols: which benchmark data there is a protocol for, and which of them reads a given path."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, cast

from claude_flow.errors import InputError
from claude_flow.evaluate.result import OURS, Result
from claude_flow.report.progress import Progress
from claude_flow.values import did_you_mean

__all__ = ["PROTOCOLS", "Module", "detect", "find", "load", "run"]

#: name: the module that is imported when the protocol is asked for. A path is offered to them in this order.
PROTOCOLS: dict[str, str] = {
    "selection": "claude_flow.studies.selection.protocol",
    "jobs": "claude_flow.studies.jobs",
    "routing": "claude_flow.studies.routing",
    "steps": "claude_flow.studies.steps.protocol",
    "knobs": "claude_flow.studies.knobs.protocol",
    "durations": "claude_flow.studies.durations",
    "assignment": "claude_flow.studies.assignment",
    "escalation": "claude_flow.studies.escalation",
    "shipped": "claude_flow.studies.shipped",
}

_DEPTH = 3  # folders below the one that is searched


class Module(Protocol):
    """What a protocol's module offers. ``detect`` looks at names and first lines only, and never raises."""

    DATA: str

    def detect(self, path: Path) -> bool:
        """Whether ``path`` is one data set of this protocol; a folder of several of them is not."""

    def run(self, path: Path, *, seeds: Sequence[int], quick: bool, progress: Progress) -> Result:
        """Score every contender on the data set's own splits.

        :raises InputError: the data cannot be used.
        """


def load(name: str) -> Module:
    """The module of a protocol.

    :raises InputError: there is none of this name; the message has near matches.
    """
    if name not in PROTOCOLS:
        raise InputError(f"there is no protocol {name!r}{did_you_mean(name, PROTOCOLS)}")
    return cast(Module, importlib.import_module(PROTOCOLS[name]))


def detect(path: Path) -> list[str]:
    """The protocols that read the file or folder ``path``; [] when none does."""
    return [name for name in PROTOCOLS if load(name).detect(path)] if path.exists() else []


def run(
    path: Path,
    contenders: Sequence[str] | None,
    measures: Sequence[str] | None,
    *,
    seeds: Sequence[int],
    quick: bool,
    progress: Progress,
) -> list[Result]:
    """Every protocol that reads ``path``; of its outcome ours and the ``contenders`` by the ``measures`` (None: all).

    :raises InputError: no protocol reads it, or none has such a contender or measure (the message has near matches).
    """
    names = detect(path)
    if not names:
        known = "; ".join(load(name).DATA for name in PROTOCOLS)
        raise InputError(f"{path}: no protocol reads this. There are protocols for: {known}")
    found, refused = [], []
    for place, name in enumerate(names):

        def shown(done: float, what: str) -> None:
            progress((place + done) / len(names), f"{name}: {what}")  # noqa: B023

        try:
            found.append(load(name).run(path, seeds=seeds, quick=quick, progress=shown))
        except InputError as error:  # what one protocol cannot use may do for another
            refused.append(error)
    if not found:
        raise refused[0]
    found[0].notes += [str(error) for error in refused]
    for asked, attribute, what in ((contenders, "contender", "baseline"), (measures, "measure", "metric")):
        known_names = {getattr(score, attribute) for result in found for score in result.scores}
        for name in asked or ():
            if name not in known_names:
                near = did_you_mean(name, known_names) or f": {', '.join(sorted(known_names))}"
                raise InputError(f"{path}: its protocol has no {what} {name!r}{near}")
    for result in found:
        result.scores = [
            score
            for score in result.scores
            if (contenders is None or score.contender in (OURS, *contenders))
            and (measures is None or score.measure in measures)
        ]
        result.curves = [c for c in result.curves if contenders is None or c.contender in (OURS, *contenders)]
    return found


def find(root: Path) -> Iterator[tuple[str, Path]]:
    """(protocol, data set) for ``root`` and everything below it, three folders deep, in the order of names.

    Nothing is sought inside of a data set.
    """
    stack = [(root, 0)]
    while stack:
        path, depth = stack.pop()
        if names := detect(path):
            yield from ((name, path) for name in names)
        elif path.is_dir() and depth < _DEPTH:
            inside = sorted(entry.path for entry in os.scandir(path) if not entry.name.startswith("."))
            stack += [(Path(entry), depth + 1) for entry in reversed(inside)]
