"""Run tables to coordination episodes: agents, tasks and a utility for every observed (task, agent) pair.

Runs fall into *pools*, within which agents compete for tasks:

* **measured**: several agents attempted the same tasks (benchmarks, algorithm portfolios). Utilities are outcomes.
  A fifth of the tasks, chosen by the hash of their id, is the test split.
* **logged**: each task went to one agent only (a swarm's log). Its agent types are the candidates; the one that got
  the task has the outcome's utility, the others 0: learning then imitates the log's dispatcher, weighted by outcome.
  The last fifth by start time is the test split.
* **simulated**: :mod:`claude_flow.networks.coordination.scenarios`, where asked for.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import schema
from claude_flow.data import events
from claude_flow.data import manifest as manifests
from claude_flow.data.tables import read_parquet
from claude_flow.data.tensors import read
from claude_flow.errors import InputError
from claude_flow.files import atomic_write
from claude_flow.networks.coded import Coded, combined, latest, numbered
from claude_flow.networks.coordination.features import WIDTH, Encoder
from claude_flow.networks.coordination.scenarios import COMMANDS, scenarios
from claude_flow.networks.scale import Scaler

__all__ = ["asked", "load", "preprocess", "requests", "suite"]

TEST_SHARE = 0.2
TRAIN, TEST = 0, 1
#: Success probability below which a task should rather be escalated to a person (measured pools).
ESCALATION_UTILITY = 0.15
_COLUMNS: tuple[str, ...] = ("source", "group", "project", "agent", "agent_type", "task", "task_type", "description")
_COLUMNS += ("start", "end", "status", "success", "utility")
_POOL_COLUMNS = ("source", "group", "project", "task", "agent")
_MOST_TASKS = 65_536  # of logs, to learn from


class _Pool:
    """One pool's tokens ``[N, 512]``, utilities ``[tasks, agents + commands]``, times in seconds and split."""

    def __init__(
        self,
        name: str,
        mode: str,
        state: NDArray[np.float32],
        agents: NDArray[np.float32],
        tasks: NDArray[np.float32],
        utility: NDArray[np.float32],
        times: NDArray[np.float64],
        split: NDArray[np.int32],
    ) -> None:
        self.name, self.mode = name, mode
        self.arrays: dict[str, NDArray[Any]] = {
            "agents": agents,
            "tasks": tasks,
            "utility": utility,
            "times": times,
            "split": split,
        }
        self.arrays["state"] = state[None]


def _rows(tables: Path | None, name: str, columns: tuple[str, ...] | None) -> list[dict[str, Any]]:
    path = None if tables is None else tables / f"{name}.parquet"
    if path is None or not path.exists():
        return []
    return [{**dict.fromkeys(columns or ()), **row} for row in read_parquet(path, columns).to_pylist()]


def _runs(tables: Path | None) -> list[dict[str, Any]]:
    """The runs of a dataset; of a log of more than :data:`_MOST_TASKS` the latest of each pool.

    A token is 2 kB. A source in which several agents attempted the same tasks is never cut.
    """
    path = None if tables is None else tables / "runs.parquet"
    if path is None or not path.exists():
        return []
    table = read_parquet(path, _COLUMNS)
    if table.num_rows > _MOST_TASKS and {*_POOL_COLUMNS, "start"} <= set(table.column_names):
        source, group, project, task, agent = (Coded.of_arrow(table.column(name)) for name in _POOL_COLUMNS)
        attempts = numbered([source, group, task])
        _, first = np.unique(attempts, return_index=True)
        takers = np.bincount(np.unique(attempts * len(agent.words) + agent.codes) // len(agent.words))
        tasks = np.bincount(source.codes[first], minlength=len(source.words))
        shared = np.bincount(source.codes[first], takers > 1, len(source.words))
        is_measured = (shared >= 0.5 * np.maximum(tasks, 1))[source.codes]
        start = table.column("start").cast("int64").fill_null(0).to_numpy()
        logged = np.flatnonzero(~is_measured)
        logged = logged[np.argsort(start[logged], kind="stable")]
        pools = combined([source, combined([project, group], lambda p, g: p or g)], "{}/{}".format)
        logged = logged[latest(pools.codes[logged], _MOST_TASKS)]
        table = table.take(np.sort(np.concatenate([np.flatnonzero(is_measured), logged])))
    return [{**dict.fromkeys(_COLUMNS), **row} for row in table.to_pylist()]


def _pools_of(runs: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """(mode, source, pool) -> runs."""
    by_source = defaultdict(list)
    for run in runs:
        if run["task"] and run["agent"]:
            by_source[run["source"]].append(run)
    pools = defaultdict(list)
    for source, members in by_source.items():
        takers = defaultdict(set)
        for run in members:
            takers[run["group"], run["task"]].add(run["agent"])
        measured = np.mean([len(agents) > 1 for agents in takers.values()]) >= 0.5
        for run in members:
            key = run["group"] if measured else (run["project"] or run["group"])
            pools["measured" if measured else "logged", source, str(key)].append(run)
    return pools


def _build(
    mode: str, name: str, runs: list[dict[str, Any]], known: Mapping[str, dict[str, Any]], encoder: Encoder
) -> _Pool | str:
    """The pool of ``runs``, or why it teaches nothing."""
    agent_of = "agent" if mode == "measured" else "agent_type"
    runs = [run for run in runs if run[agent_of]]
    agents = sorted({run[agent_of] for run in runs})
    first: dict[str, dict[str, Any]] = {}
    for run in sorted(runs, key=lambda r: r["start"].timestamp() if r["start"] else np.inf):
        first.setdefault(run["task"], run)
    tasks = list(first)
    if len(agents) < 2 or len(tasks) < 10:
        return "fewer than two agents or ten tasks"
    # In some logs the type of a task is the type of the agent that got it: known only after the assignment.
    leaked = mode == "logged" and np.mean([r["task_type"] == r["agent_type"] for r in runs]) > 0.9
    place = {task: i for i, task in enumerate(tasks)}
    utility = np.full((len(tasks), len(agents) + len(COMMANDS)), np.nan, np.float32)
    times = np.full((len(tasks), 2), np.nan)
    columns = {agent: i for i, agent in enumerate(agents)}
    for run in runs:
        value = events.utility(run)
        if np.isfinite(value):
            utility[place[run["task"]], columns[run[agent_of]]] = value
        if run["start"] is not None:
            times[place[run["task"]], 0] = run["start"].timestamp()
        if run["end"] is not None:
            times[place[run["task"]], 1] = run["end"].timestamp()
    if mode == "logged" and not (utility > 0).any():
        return "no run is known to have succeeded: there is no good choice to learn from"
    if mode == "logged" and len(np.unique(times[np.isfinite(times[:, 0]), 0])) < 2:
        return "no times that tell what came before what"
    if mode == "logged":
        seen = np.isfinite(utility[:, : len(agents)]).any(axis=1)
        utility[seen, : len(agents)] = np.nan_to_num(utility[seen, : len(agents)])
    else:
        utility[:, len(agents) + COMMANDS.index("escalate")] = ESCALATION_UTILITY
    held_back = _test_tasks(mode, runs)
    split = np.array([TEST if task in held_back else TRAIN for task in tasks])
    token_rows = []
    for task in tasks:
        run, own = first[task], known.get(task, {})
        features = {column[2:]: value for column, value in own.items() if column.startswith("x:")}
        kind = None if leaked else own.get("task_type") or run["task_type"]
        description = own.get("description") or run["description"]
        token_rows.append(encoder.task({"type": kind, "description": description, "features": features}))
    agent_rows = [encoder.agent({"type": agent}) for agent in agents]
    state = encoder.state({}, [], 0)
    token, agent_token = np.stack(token_rows), np.stack(agent_rows)
    return _Pool(name, mode, state, agent_token, token, utility, times, split.astype(np.int32))


def _simulated(count: int, seed: int, encoder: Encoder) -> list[_Pool]:
    pools = []
    for i, scenario in enumerate(scenarios(count, seed)):
        agents, tasks = scenario.request["current-agents"], scenario.request["pending-tasks"]
        state = encoder.state(scenario.request["system-state"], agents, len(tasks))
        split = np.full(len(tasks), TEST if i >= count * (1 - TEST_SHARE) else TRAIN, np.int32)
        rows = np.stack([encoder.agent(a) for a in agents]), np.stack([encoder.task(t) for t in tasks])
        times = np.full((len(tasks), 2), np.nan)
        pools.append(_Pool(f"simulated-{i}", "simulated", state, *rows, scenario.utility, times, split))
    return pools


def _test_tasks(mode: str, runs: list[dict[str, Any]]) -> set[str]:
    """The test part of a pool's tasks: of a log the latest fifth to start, else a fifth by the hash of their names."""
    starts: dict[str, float] = {}
    for run in sorted(runs, key=lambda run: run["start"].timestamp() if run["start"] else np.inf):
        starts[run["task"]] = run["start"].timestamp() if run["start"] else starts.get(run["task"], np.inf)
    if mode == "logged":
        return set(sorted(starts, key=starts.__getitem__)[int(len(starts) * (1 - TEST_SHARE)) :])
    return {task for task in starts if _drawn(task)}


def _drawn(task: str) -> bool:
    return zlib.crc32(f"test:{task}".encode()) < TEST_SHARE * 2**32


def _scalers(known: Mapping[str, dict[str, Any]], held_back: set[str], normalization: str) -> dict[str, Scaler]:
    """The normalization of each numeric task feature, fitted on tasks that no pool tests on."""
    train = [row for task, row in known.items() if task not in held_back and not _drawn(task)]
    names = sorted({column for row in train for column in row if column.startswith("x:")})
    values = {n[2:]: [row[n] if row.get(n) is not None else np.nan for row in train] for n in names}
    return {name: Scaler.fit(normalization, column) for name, column in values.items()}


def preprocess(tables: Path | None, out: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Write the coordination data set of the run tables in ``tables`` to the folder ``out``; returns its manifest.

    ``options``: ``normalization`` of numeric task features, ``feature_extraction`` (``"basic"`` leaves descriptions
    out), ``simulate`` (number of simulated swarms to add), ``seed``. Raises :class:`InputError` when no pool can teach
    anything: two agents, ten tasks, and in a log successes and times are needed.
    """
    describe = options.get("feature_extraction", "automated") != "basic"
    known = {row["task"]: row for row in _rows(tables, "tasks", None)}
    groups = sorted(_pools_of(_runs(tables)).items())
    held_back = set[str]().union(*(_test_tasks(mode, runs) for (mode, _, _), runs in groups))
    encoder = Encoder(_scalers(known, held_back, options.get("normalization", "z-score")), describe)
    pools: list[_Pool] = []
    left_out: Counter[str] = Counter()
    for (mode, source, key), runs in groups:
        pool = _build(mode, f"{source}/{key}" if not key.startswith(source) else key, runs, known, encoder)
        if isinstance(pool, str):
            left_out[pool] += 1
        else:
            pools.append(pool)
    real = len(pools)
    pools += _simulated(int(options.get("simulate", 0)), int(options.get("seed", 0)), encoder)
    if not pools:
        why = "; ".join(f"{count}: {reason}" for reason, count in left_out.most_common()) or "there are none"
        raise InputError(
            f"{tables}: no group of runs can teach coordination, which takes two agents and ten tasks with outcomes "
            f"(groups left out: {why}); collect more logs"
        )
    out.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, Any] = {
        "format": 1,
        "kind": "tensors",
        "network": "coordination",
        "schema": encoder.schema(),
        "token_width": WIDTH,
        "pools": [
            {"name": pool.name, "mode": pool.mode} | {part: len(pool.arrays[part]) for part in ("agents", "tasks")}
            for pool in pools
        ],
        "pools_by_mode": {m: sum(p.mode == m for p in pools) for m in ("measured", "logged", "simulated")},
        "pools_left_out": dict(left_out),
        "real_pools": real,
    }
    from safetensors.numpy import save

    tensors = {part: np.concatenate([p.arrays[part] for p in pools]) for part in ("state", "agents", "tasks", "times")}
    tensors["split"] = np.concatenate([p.arrays["split"] for p in pools])
    tensors["utility"] = np.concatenate([p.arrays["utility"].ravel() for p in pools])
    pools.clear()  # saving takes two more copies
    atomic_write(out / "pools.safetensors", save(tensors))
    atomic_write(out / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return manifest


_SIZE = schema.Whole(0, 2**31)
_MANIFEST: dict[str, schema.Kind] = {
    "schema": schema.Record({}, free=True),
    "pools": schema.List(
        schema.Record(
            {
                "name": schema.Text(blank=True),
                "mode": schema.Choice("measured", "logged", "simulated"),
                "agents": _SIZE,
                "tasks": _SIZE,
            },
            required=("name", "mode", "agents", "tasks"),
            free=True,
        ),
        "pool",
        least=1,
    ),
}


def load(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A preprocessed folder: its manifest, and its tensors as views of the file.

    Raises :class:`InputError` where it is damaged, or holds another network's data.
    """
    about, path = manifests.read(folder, "tensors", _MANIFEST, "coordination"), folder / "pools.safetensors"
    rows = {"state": (WIDTH,), "agents": (WIDTH,), "tasks": (WIDTH,), "times": (2,), "split": (), "utility": ()}
    tensors = read(path, rows)
    agents, tasks = (sum(pool[part] for pool in about["pools"]) for part in ("agents", "tasks"))
    cells = sum(pool["tasks"] * (pool["agents"] + len(COMMANDS)) for pool in about["pools"])
    sizes = {"state": len(about["pools"]), "agents": agents, "utility": cells}
    sizes |= dict.fromkeys(("tasks", "times", "split"), tasks)
    for name, size in sizes.items():
        if len(tensors[name]) != size:
            raise InputError(
                f"{path}: {name} has {len(tensors[name])} rows, but {manifests.FILE} counts {size}: "
                "make the data again with  claude-flow neural data preprocess"
            )
    return about, tensors


def requests(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Requests of simulated swarms."""
    return (scenario.request for scenario in scenarios(count, seed))


def asked(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[list[int], dict[str, Any], int]]:
    """The requests that the runs of a log stand for, project by project in order of time: rows, request, tokens.

    What was handed out in one batch was asked at once; the agents are the types that the project had seen by then. A
    type of task that only repeats the agent's is left out, as in training.
    """
    by_project: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        if run["agent_type"] and run["task"] and (run["submitted"] or run["start"]):
            by_project.setdefault(str(run["project"] or run["group"]), []).append(i)
    for rows in by_project.values():
        leaked = np.mean([runs[i]["task_type"] == runs[i]["agent_type"] for i in rows]) > 0.9
        rows.sort(key=lambda i: (runs[i]["submitted"] or runs[i]["start"]).timestamp())
        seen: dict[str, None] = {}
        batches: dict[str, list[int]] = {}
        for i in rows:
            batches.setdefault(str(runs[i]["batch"] or i), []).append(i)
        for batch in batches.values():
            tasks = {str(runs[i]["task"]): runs[i] for i in batch}
            if len(seen) >= 2:
                pending = [
                    {"id": name, "type": None if leaked else run["task_type"], "description": run["description"]}
                    for name, run in tasks.items()
                ]
                request = {
                    "current-agents": [{"id": kind, "type": kind} for kind in seen],
                    "pending-tasks": [{k: v for k, v in task.items() if v is not None} for task in pending],
                }
                yield batch, request, 1 + len(seen) + len(tasks)
            seen.update(dict.fromkeys(str(runs[i]["agent_type"]) for i in batch))


def suite(folder: Path, seed: int, share: float) -> tuple[Path | None, dict[str, Any]]:
    """Tables and options of the standard suite's data: 1500 simulated swarms, or a ``share`` of them."""
    return None, {"seed": seed, "simulate": max(200, round(1500 * share))}
