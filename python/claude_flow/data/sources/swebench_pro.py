"""Published outcomes of coding agents on SWE-bench Pro: which agent resolved which task.

Reads a folder with any of ``swebench_pro_{agent_runs_data.csv, eval_results/*.json, run_metrics.json,
trajectory_sequences.json, instance_info.jsonl}`` (each plain or .gz), or one of them alone. Runs come from
``agent_runs_data``; without it from ``eval_results``. The two are different evaluations and disagree on some
runs, so they are never mixed: where both are present the disagreements are counted. ``group`` tells the
agents of the paper (about 50 turns at most) from those with 250 turns: their ``steps`` are cut off at
different lengths. There are no times of day: ``created_at`` is an upload.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from claude_flow.data.events import Record, Run, Step, Task, count, number, text
from claude_flow.data.lines import Head, Log
from claude_flow.errors import InputError

KIND = "swebench-pro"

_PREFIX = "swebench_pro_"
_PARTS = ("instance_info.jsonl", "run_metrics.json", "trajectory_sequences.json", "agent_runs_data.csv")
_AGENTS = {  # eval_results file -> the agent's name in agent_runs_data
    "claude-45sonnet-10132025": "Claude 4.5 Sonnet - 10132025",
    "claude-4sonnet-10132025": "Claude 4 Sonnet - 10132025",
    "claude-opus-4-1-paper": "Claude Opus 4.1 - paper",
    "claude-sonnet-4-paper": "Claude Sonnet 4 - paper",
    "gemini-2-5-pro-preview-paper": "Gemini 2.5 Pro Preview - paper",
    "gpt-4o-paper": "GPT-4o - paper",
    "gpt-5-250-turns-10132025": "GPT-5 - 10132025",
    "gptoss-paper": "GPT OSS - paper",
    "kimi-k2-instruct-10132025": "Kimi - paper",
}
_METRICS = {"gpt5": "GPT-5 - 10132025", "claude": "Claude 4.5 Sonnet - 10132025"}
_TRAJECTORIES = {"gpt5": "GPT-5 - 10132025", "claude45": "Claude 4.5 Sonnet - 10132025"}
_CODE = re.compile(r"`[^`\n]+`|\b\w+\(\)|\b\w+(?:\.\w+)*\.[a-z]{1,4}\b")
_TIMEOUTS = ("exit_command_timeout", "exit_total_execution_time")
_COLUMNS = (
    "agent_run_id",
    "metadata.instance_id",
    "metadata.model_name",
    "metadata.resolved",
    "metadata.turns",
)

_Key = tuple[str, str]  # agent, task
_Names = tuple[dict[str, str], dict[str, str]]  # letter -> action, letter -> detail


def claims(head: Head) -> bool:
    """One of the published files, or an agent's outcomes in ``eval_results``."""
    return bool(_part(head.path)) or _is_evaluation(head.path)


def read(path: Path, files: list[Path], log: Log) -> Iterator[Record]:
    """Yield the runs with what is known of each, steps where trajectories are published, and the tasks."""
    by_part = {_part(file): file for file in files if _part(file)}
    metrics = _metrics(by_part["run_metrics.json"], log) if "run_metrics.json" in by_part else {}
    walks: dict[_Key, dict[str, Any]] = {}
    names: _Names = ({}, {})
    if "trajectory_sequences.json" in by_part:
        walks, names = _trajectories(by_part["trajectory_sequences.json"], log)
    evaluations = [file for file in files if _is_evaluation(file)]
    if "agent_runs_data.csv" in by_part:
        resolved: dict[_Key, bool | None] = {}
        for run in _agent_runs(by_part["agent_runs_data.csv"], log):
            key = (str(run.agent), str(run.task))
            _add_metrics(run, metrics.get(key, {}))
            steps = _add_walk(run, walks.get(key, {}), names)
            resolved[key] = run.success
            yield run
            yield from steps
        for agent, task in (key for key in walks if key not in resolved):  # walked, outcome unpublished
            run = _run(f"{agent}/{task}", agent, task, None, count(walks[agent, task].get("steps")))
            _add_metrics(run, metrics.get((agent, task), {}))
            steps = _add_walk(run, walks[agent, task], names)
            yield run
            yield from steps
        for run in _evaluated(evaluations, log):
            key = (str(run.agent), str(run.task))
            if key not in resolved:
                log.notes["runs of eval_results that agent_runs_data lacks (left out)"] += 1
            elif resolved[key] != run.success:
                log.notes["runs that eval_results judges differently"] += 1
    else:
        yield from _evaluated(evaluations, log)
    if "instance_info.jsonl" in by_part:
        yield from _tasks(by_part["instance_info.jsonl"], log)


def _agent_runs(file: Path, log: Log) -> Iterator[Run]:
    header: list[str] | None = None
    for line, content in log.lines(file):
        try:
            cells = next(csv.reader([content], strict=True))
        except csv.Error as error:
            log.reject(file, line, f"not CSV: {error}")
            continue
        if header is None:
            header = cells
            if missing := [name for name in _COLUMNS if name not in header]:
                raise InputError(f"{file}:{line}: the column {missing[0]} is missing")
            continue
        row = dict(zip(header, cells, strict=False))
        run_id, task, agent, outcome, turns = (row.get(name) or "" for name in _COLUMNS)
        if len(cells) != len(header) or not (run_id and task and agent):
            log.reject(file, line, "a run id, a task and an agent are wanted")
        elif outcome not in ("true", "false", "", "null"):
            log.reject(file, line, "metadata.resolved is neither true nor false")
        elif turns and not (turns.isascii() and turns.isdigit() and len(turns) < 10):
            log.reject(file, line, "metadata.turns is not a whole number")
        else:
            success = {"true": True, "false": False}.get(outcome)
            yield _run(run_id, agent, task, success, int(turns) if turns else None)


def _evaluated(files: list[Path], log: Log) -> Iterator[Run]:
    for file in files:
        stem = _plain_name(file).removesuffix(".json")
        agent = _AGENTS.get(stem, stem)
        outcomes = log.document(file)
        if not isinstance(outcomes, dict):
            raise InputError(f"{file}: an object of task: true or false is wanted")
        for task, success in outcomes.items():
            if isinstance(success, bool) or success is None:
                yield _run(f"{stem}/{task}", agent, task, success, None)
            else:
                log.reject(file, 1, "an outcome is neither true, false nor null")


def _run(run_id: str, agent: str, task: str, success: bool | None, turns: int | None) -> Run:
    return Run(
        run_id=run_id,
        source=KIND,
        group=f"{KIND}/{'paper' if agent.endswith('paper') else '250-turns'}",
        agent=text(agent),
        agent_type=text(agent.split(" - ")[0].split(" -- ")[0]),
        task=text(task),
        task_type=_repository(task),
        status="completed",
        success=success,
        utility=None if success is None else float(success),
        steps=turns,
        model=text(agent.split(" - ")[0].split(" -- ")[0]),
    )


def _metrics(file: Path, log: Log) -> dict[_Key, dict[str, Any]]:
    rows = log.document(file)
    if not isinstance(rows, list):
        raise InputError(f"{file}: a list of tasks is wanted")
    found = {}
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("instance_id"), str):
            log.reject(file, 1, "a task without instance_id")
            continue
        for name, agent in _METRICS.items():
            if isinstance(row.get(name), dict):
                found[agent, row["instance_id"]] = row[name]
    return found


def _add_metrics(run: Run, metrics: dict[str, Any]) -> None:
    stats = metrics.get("model_stats")
    stats = stats if isinstance(stats, dict) else {}
    tool_time = metrics.get("tool_time")
    tool_time = tool_time if isinstance(tool_time, dict) else {}
    run.cost = number(stats.get("instance_cost"))
    sent, received = count(stats.get("tokens_sent")), count(stats.get("tokens_received"))
    run.tokens = None if sent is None or received is None else sent + received
    run.tool_calls = count(metrics.get("steps"))
    run.tool_s = number(tool_time.get("total_seconds"))


def _trajectories(file: Path, log: Log) -> tuple[dict[_Key, dict[str, Any]], tuple[dict[str, str], dict[str, str]]]:
    content = log.document(file)
    rows = content.get("rows") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise InputError(f"{file}: an object with rows is wanted")
    high = {str(v): str(k) for k, v in _object(content.get("high_level_letter")).items()}
    low = {str(k): str(v) for k, v in _object(content.get("char_to_low_level_intent")).items()}
    found = {}
    for row in rows:
        agent = _TRAJECTORIES.get(str(row.get("model"))) if isinstance(row, dict) else None
        if agent is not None and isinstance(row.get("task"), str):
            found[agent, row["task"]] = row
        else:
            log.reject(file, 1, "a trajectory without a known model or a task")
    return found, (high, low)


def _add_walk(run: Run, walk: dict[str, Any], names: _Names) -> list[Step]:
    left = walk.get("exit_status")
    if isinstance(left, str) and not left.startswith("submitted"):
        run.status = "timeout" if left in _TIMEOUTS else "failed"
    actions, details = walk.get("high_seq"), walk.get("low_seq")
    if not isinstance(actions, str):
        return []
    details = details if isinstance(details, str) and len(details) == len(actions) else None
    return [
        Step(
            run_id=run.run_id,
            index=index,
            action=names[0].get(letter, letter),
            detail=names[1].get(details[index], details[index]) if details else None,
        )
        for index, letter in enumerate(actions)
    ]


def _tasks(file: Path, log: Log) -> Iterator[Task]:
    for line, row in log.objects(file):
        task = text(row.get("instance_id"))
        if task is None:
            log.reject(file, line, "a task without instance_id")
            continue
        # The issue's text is what is known before a run. The tests that judge it are hidden, and so is their number.
        yield Task(
            task=task,
            group=KIND,
            description=text(row.get("problem_statement")),
            task_type=text(row.get("repo")) or _repository(task),
            features=_of_text(text(row.get("problem_statement")) or ""),
        )


def _of_text(issue: str) -> dict[str, float | None]:
    """What an issue's text shows at a glance; nothing where there is none.

    >>> _of_text("The cart loses items. See `cart.js`:")
    {'words': 6.0, 'lines': 1.0, 'code_words': 1.0}
    """
    if not issue:
        return {}
    lines = [line for line in issue.splitlines() if line.strip()]
    code = _CODE.findall(issue)
    return {"words": float(len(issue.split())), "lines": float(len(lines)), "code_words": float(len(code))}


def _repository(task: str) -> str | None:
    """The repository in an instance's name.

    >>> _repository("instance_NodeBB__NodeBB-00c70ce7b0541cfc94afe567921d7668cdc8f4ac-vnan")
    'NodeBB/NodeBB'
    """
    owner, separator, rest = task.removeprefix("instance_").partition("__")
    words = rest.split("-")
    commit = next((i for i, word in enumerate(words) if len(word) == 40), len(words))
    return text(f"{owner}/{'-'.join(words[:commit])}") if separator else None


def _object(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _plain_name(path: Path) -> str:
    return path.name.removesuffix(".gz")


def _part(path: Path) -> str:
    name = _plain_name(path).removeprefix(_PREFIX)
    return name if name in _PARTS and path.name.startswith(_PREFIX) else ""


def _is_evaluation(path: Path) -> bool:
    return path.parent.name == f"{_PREFIX}eval_results" and _plain_name(path).endswith(".json")
