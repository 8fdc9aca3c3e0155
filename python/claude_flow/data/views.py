"""Views: names for parts of what the workspace holds, so that the guide's names mean something on every machine.

:data:`VIEWS` is the list. A view of *runs* is a dataset of tables, made of another's when it is asked for; a *part* is
a named part of a preprocessed dataset; a view of *requests* comes from the workspace's log, from the newest runs, or
else is simulated. ``DATASET:VIEW`` is the view of a given dataset.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import networks, registry
from claude_flow.data import manifest as manifests
from claude_flow.data.tables import TABLES, read_manifest, read_table, write_table
from claude_flow.errors import InputError
from claude_flow.files import atomic_folder
from claude_flow.networks.text import hash_text, words
from claude_flow.requests import Request, log_files, logged
from claude_flow.values import did_you_mean, duration

__all__ = ["VIEWS", "Found", "View", "find", "is_requests", "missing", "requests", "runs_as_requests"]

TABLES_NAME = "swarm-training-data"
NEWEST_SHARE = 0.2  # of every project: what coordination sets apart as the test part of a log
_TYPICAL = 64  # requests
_SEED = 1303  # as the standard suite's
_SIMILAR = 256  # width of the hashed words

Mask = NDArray[np.bool_]
Runs = list[dict[str, Any]]


@dataclass(frozen=True)
class View:
    """A row of :data:`VIEWS`: ``name`` as people write it, ``pattern`` what it matches, ``choose`` what it takes.

    ``choose`` of runs: (rows of the table, match) -> which, and what to say of them. Of a part: its name. Of requests:
    (the network, the folder of tables or None) -> groups of requests by name.
    """

    name: str
    kind: str
    what: str
    choose: Any
    pattern: str = ""

    def match(self, name: str) -> re.Match[str] | None:
        """What ``name`` says, if it is this view's."""
        return re.fullmatch(self.pattern or re.escape(self.name), name)


@dataclass(frozen=True)
class Found:
    """What a name stands for. ``part``: train or test, if only that part is meant; ``says``: what a view is."""

    folder: Path
    part: str | None = None
    says: str = ""


# Runs -----------------------------------------------------------------------------------------------------


def _moment(run: dict[str, Any]) -> datetime | None:
    moment: datetime | None = run["start"] or run["submitted"] or run["end"]
    return moment


def _project(run: dict[str, Any]) -> str:
    return str(run["project"] or run["group"] or run["source"])


def _since(runs: Runs, match: re.Match[str]) -> tuple[Mask, str]:
    begin = datetime.now(timezone.utc).timestamp() - duration(match["span"].replace("-", " "))
    day = datetime.fromtimestamp(begin, timezone.utc).date() if begin > 0 else "the beginning"
    moments = [_moment(run) for run in runs]
    return np.array([m is not None and m.timestamp() >= begin for m in moments]), f"runs since {day}"


def _newest(runs: Runs, match: re.Match[str] | None = None) -> tuple[Mask, str]:
    by_project: dict[str, list[tuple[datetime, int]]] = {}
    for i, run in enumerate(runs):
        if moment := _moment(run):
            by_project.setdefault(_project(run), []).append((moment, i))
    kept = np.zeros(len(runs), bool)
    for own in by_project.values():
        kept[[i for _, i in sorted(own)[math.floor(len(own) * (1 - NEWEST_SHARE)) :]]] = True
    return kept, f"the newest {NEWEST_SHARE:.0%} of each project's"


def _largest(runs: Runs, match: re.Match[str]) -> tuple[Mask, str]:
    counts = sorted(Counter(map(_project, runs)).items(), key=lambda item: (-item[1], item[0]))
    place = int(match["place"])
    if place > len(counts):
        raise InputError(f"there are {len(counts)} projects in the log, so there is no swarm-{place}")
    name = counts[place - 1][0]
    return np.array([_project(run) == name for run in runs]), f"the runs of the project {name}"


def _domain(runs: Runs, match: re.Match[str]) -> tuple[Mask, str]:
    wanted = match["domain"]
    fields = ("project", "group", "task_type", "agent_type", "description")
    texts = [" ".join(str(run[field]) for field in fields if run[field]) for run in runs]
    stems = [word.rstrip("s") for word in words(wanted)]
    named = np.array([all(any(w.startswith(stem) for w in words(text)) for stem in stems) for text in texts])
    if named.any():
        return named, f"runs that name {wanted} in project, type or words"
    likeness = np.array([hash_text(text, _SIMILAR) for text in texts]) @ hash_text(wanted, _SIMILAR)
    nearest = np.argsort(-likeness, kind="stable")[: max(20, len(runs) // 10)]
    nearest = nearest[likeness[nearest] > 0]
    if not len(nearest):
        raise InputError(f"no run names {wanted}, and none shares a word with it: name a dataset")
    near = f"{likeness[nearest].min():.2f} to {likeness[nearest].max():.2f}"
    kept = np.zeros(len(runs), bool)
    kept[nearest] = True
    return kept, f"no run names {wanted}: those nearest to it in words, similarity {near}"


# Requests -------------------------------------------------------------------------------------------------

Groups = dict[str, list[Request]]
_OUTCOMES = {"successful": True, "failed": False}


def _logged(network: str | None, tables: Path | None) -> Groups:
    found = list(logged(network))
    if not found:
        of = f" of {network}" if network else ""
        raise InputError(f"the workspace has logged no request{of}: ask with  claude-flow neural infer")
    return {"logged": found}


def _typical(network: str | None, tables: Path | None) -> Groups:
    if found := list(logged(network))[-_TYPICAL:]:
        return {"logged": found}
    rows = [networks.get(network)] if network else list(networks.NETWORKS.values())
    simulated = [(row.name, asked) for row in rows for asked in row.prepare.requests(_TYPICAL // len(rows), _SEED)]
    return {"simulated": [Request(f"simulated-{i}", name, asked) for i, (name, asked) in enumerate(simulated, 1)]}


@dataclass(frozen=True)
class _Asked:
    """What a network would have been asked when tasks were handed out, and whether all went well."""

    request: Request
    group: str
    size: int
    succeeded: bool


def _went_well(run: dict[str, Any]) -> bool:
    return bool(run["status"] == "completed" if run["success"] is None else run["success"])


def _held_out(network: str, tables: Path | None) -> list[_Asked]:
    """The requests that the newest runs stand for, in order of time."""
    if tables is None:
        raise InputError(f"there is no dataset {TABLES_NAME} (to make one: claude-flow neural data collect)")
    runs = _runs(tables)
    newest, _ = _newest(runs)
    found = []
    for number, (rows, asked, size) in enumerate(networks.get(network).prepare.asked(runs), 1):
        if newest[rows].all():
            first, well = runs[rows[0]], all(_went_well(runs[row]) for row in rows)
            group = str(first["group"] or _project(first))
            found.append(_Asked(Request(f"held-out-{number}", network, asked), group, size, well))
    if not found:
        raise InputError(f"{tables}: its newest runs hold no request to {network}: collect more logs")
    return found


def runs_as_requests(network: str, tables: Path, newest: bool | None = None) -> list[Request]:
    """What a network would have been asked when the runs of a dataset of tables were handed out, in order of time.

    ``newest``: only of the newest fifth of each project's runs, or only of the others; None = of all. Raises
    :class:`InputError` for a dataset without runs.
    """
    runs = _runs(tables)
    late, _ = _newest(runs)
    found = []
    for number, (rows, asked, _) in enumerate(networks.get(network).prepare.asked(runs), 1):
        if newest is None or (late[rows].all() if newest else not late[rows].any()):
            moment = _moment(runs[rows[0]])
            found.append(Request(f"run-{number}", network, asked, None, moment.isoformat() if moment else None))
    return found


def _largest_request(network: str, tables: Path | None) -> Groups:
    return {"largest": [max(_held_out(network, tables), key=lambda asked: asked.size).request]}


def _timeline(network: str, tables: Path | None) -> Groups:
    found = _held_out(network, tables)
    group = Counter(asked.group for asked in found).most_common(1)[0][0]
    return {group: [asked.request for asked in found if asked.group == group]}


def _by_outcome(network: str, tables: Path | None) -> Groups:
    found = _held_out(network, tables)
    groups = {name: [a.request for a in found if a.succeeded == well] for name, well in _OUTCOMES.items()}
    if not all(groups.values()):
        raise InputError(f"{tables}: its newest runs went all the same way: there is nothing to compare")
    return groups


_NETWORK = f"(?P<network>{'|'.join(networks.NETWORKS)})"

VIEWS: tuple[View, ...] = (
    View("similar-tasks-last-6-months", "runs", "runs of that time; any other works as well, such as last-30-days",
         _since, r"similar-tasks-last-(?P<span>\d+-[a-z]+)"),
    View("recent-NETWORK-patterns", "runs", "the newest fifth of each project's runs",
         _newest, rf"recent-{_NETWORK}-patterns"),
    View("swarm-N", "runs", "the runs of one project; swarm-1 is the largest", _largest,
         r"swarm-(?P<place>[1-9]\d{0,5})"),
    View("DOMAIN-development", "runs", "the runs that name DOMAIN, or those nearest to it in words", _domain,
         r"(?P<domain>[A-Za-z0-9][A-Za-z0-9-]*)-development"),
    View("training-distribution", "part", "the training part", "train"),
    View("representative-dataset", "part", "the training part, of which a command takes a sample", "train"),
    View("holdout-dataset", "part", "the test part", "test"),
    View("regression-test-suite", "part", "the test part", "test"),
    View("NETWORK-variants", "part", "all of it, by project, session or simulated swarm", None,
         rf"{_NETWORK}-variants"),
    View("production-inputs", "requests", "the requests that the workspace logged", _logged),
    View("large-inference-dataset", "requests", "the requests that the workspace logged", _logged),
    View("typical-workload", "requests", "the newest logged requests, else simulated ones", _typical),
    View("typical-NETWORK-tasks", "requests", "the same, of one network", _typical, rf"typical-{_NETWORK}-tasks"),
    View("NETWORK-decisions", "requests", "the same: what the network decides on", _typical, rf"{_NETWORK}-decisions"),
    View("complex-NETWORK-scenario", "requests", "the largest request among the newest runs", _largest_request,
         rf"complex-{_NETWORK}-scenario"),
    View("task-NETWORK-timeline", "requests", "the newest runs of one session as requests, in order of time", _timeline,
         rf"task-{_NETWORK}-timeline"),
    View("successful-vs-failed-NETWORK", "requests", "the newest runs as requests, in two groups", _by_outcome,
         rf"successful-vs-failed-{_NETWORK}"),
)  # fmt: skip


# Finding --------------------------------------------------------------------------------------------------


def find(name: str, network: str | None = None, use: str | None = None) -> Found:
    """The dataset that ``name`` stands for: a folder, a name of the workspace, a view, or ``DATASET:VIEW``.

    Args:
        network: whose preprocessed dataset a part belongs to, where the view's name does not say it.
        use: the part that will be read, train or test; None for all.

    Raises:
        InputError: there is no such dataset or view, the view is empty, or it is another part than ``use``; the message
            has near matches.
    """
    base, colon, rest = name.rpartition(":")
    try:
        return Found(registry.dataset_path(name))
    except InputError as error:
        if Path(name).exists():
            raise
        view = _view(rest if colon else name, ("runs", "part"))
        if view is None:
            near = did_you_mean(rest, [view.name for view in VIEWS if view.kind != "requests"])
            raise InputError(f"{error}{near and f'; of the views{near}'}") from None
    row, match = view
    if row.kind == "runs":
        return _of_runs(rest, row, match, registry.dataset_path(base) if base else _tables())
    network = match.groupdict().get("network") or network or next(iter(networks.NETWORKS))
    folder = registry.dataset_path(base) if base else _preprocessed(network)
    if row.choose and use and row.choose != use:
        raise InputError(f"{name} is the {row.choose} part of {folder.name}; here its {use} part would be read")
    return Found(folder, row.choose, f"{rest}: {row.what} of {folder.name}")


def requests(name: str, network: str | None = None) -> Groups | None:
    """The requests of a view, by group; None if ``name`` is none of them.

    Raises:
        InputError: the view is empty.
    """
    view = _view(name, ("requests",))
    if view is None:
        return None
    row, match = view
    try:
        tables = _tables()
    except InputError:
        tables = None
    groups: Groups = row.choose(match.groupdict().get("network") or network, tables)
    return groups


def is_requests(name: str) -> bool:
    """Whether ``name`` is a view of requests, empty or not."""
    return _view(name, ("requests",)) is not None


def missing(view: View) -> str:
    """Why a view is empty in this workspace, as far as can be told at once; or nothing."""
    try:
        if view.kind == "runs" or view.choose in (_largest_request, _timeline, _by_outcome):
            _tables()
        elif view.kind == "part" and not any(folder.name.startswith("preprocessed-") for folder in registry.datasets()):
            return "there is no preprocessed dataset (to make one: claude-flow neural data preprocess)"
        elif view.choose is _logged and not log_files():
            return "no request is logged"
    except InputError as error:
        return str(error)
    return ""


def _view(name: str, kinds: Sequence[str]) -> tuple[View, re.Match[str]] | None:
    rows = ((view, view.match(name)) for view in VIEWS if view.kind in kinds)
    return next(((view, match) for view, match in rows if match), None)


def _tables() -> Path:
    return registry.dataset_path(TABLES_NAME)


def _preprocessed(network: str) -> Path:
    return registry.dataset_path(f"preprocessed-{network}-data")


def _runs(tables: Path) -> Runs:
    table = read_table(tables, "runs")
    rows: Runs = [] if table is None else table.to_pylist()
    if not rows:
        raise InputError(f"{tables} has no runs: collect logs that record runs of tasks")
    return rows


def _of_runs(name: str, view: View, match: re.Match[str], source: Path) -> Found:
    """Write the view's tables beside the datasets, in place of those of an earlier time."""
    choose: Callable[[Runs, re.Match[str]], tuple[Mask, str]] = view.choose
    runs = _runs(source)
    kept, what = choose(runs, match)
    says = f"{name}: {int(kept.sum())} of the {len(runs)} runs of {source.name}, {what}"
    if not kept.any():
        raise InputError(f"{says}: there is none")
    ids = {runs[i]["run_id"] for i in np.flatnonzero(kept)}
    tasks = {runs[i]["task"] for i in np.flatnonzero(kept)}
    about = read_manifest(source)
    moments = sorted(m.isoformat() for i in np.flatnonzero(kept) if (m := _moment(runs[i])))
    target = registry.workspace() / "datasets" / ".views" / source.name / name
    with atomic_folder(target, replace=True) as folder:
        described = {}
        for table_name in TABLES.values():
            table = read_table(source, table_name)
            if table is None:
                continue
            if table_name == "runs":
                rows = kept
            else:
                column, wanted = ("run_id", ids) if table_name == "steps" else ("task", tasks)
                rows = np.array([value in wanted for value in table.column(column).to_pylist()], bool)
            write_table(table.filter(rows), folder / f"{table_name}.parquet")
            described[table_name] = {"rows": int(rows.sum()), "columns": table.column_names}
        about |= {"name": name, "tables": described, "view": {"of": source.name, "says": says}}
        about["time_range"] = [moments[0], moments[-1]] if moments else [None, None]
        (folder / manifests.FILE).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return Found(target, None, says)
