"""Learn from the workspace's own log: collect, validate, preprocess, train, judge walk-forward, keep or refuse."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import claude_flow
from claude_flow import files, networks, registry
from claude_flow.data import collect, preprocess, validate, views
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.evaluate import walk
from claude_flow.evaluate.walk import Verdict
from claude_flow.report.progress import Progress, nothing
from claude_flow.train import config
from claude_flow.train.config import TrainingConfig

__all__ = ["Learned", "improve", "keep", "learn"]

_CHECKS = ("completeness", "consistency")  # what takes no further library
#: tensors as `data preprocess` makes them
_OPTIONS = {"normalization": "z-score", "feature_extraction": "automated", "history": 127}


@dataclass
class Learned:
    """What came of it: ``verdicts`` and ``kept`` (model and version) by network, ``skipped``: network -> why not."""

    dataset: Path
    runs: int
    collected: bool
    warnings: list[str] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON-ready dictionary."""
        return {
            "dataset": str(self.dataset),
            "runs": self.runs,
            "collected": self.collected,
            "warnings": self.warnings,
            "verdicts": {network: verdict.to_json() for network, verdict in self.verdicts.items()},
            "kept": self.kept,
            "skipped": self.skipped,
        }


def learn(
    *,
    sources: Sequence[str | Path] | None = None,
    dataset: str | None = None,
    only: Sequence[str] | None = None,
    seed: int = 0,
    time_budget: float | None = None,
    progress: Progress = nothing,
) -> Learned:
    """Everything that the log supports, in one go; the report is kept as ``runs/learn/report.json`` too.

    Args:
        sources: logs to collect into ``swarm-training-data``; None = Claude Code's and the workspace's own.
        dataset: a dataset of tables to learn from instead of collecting one.
        only: networks; None = all that the log can teach and that can be judged on it.
        time_budget: seconds for all trainings together.

    Raises:
        InputError: there is no log, or it can teach nothing.
        ClaudeFlowError: its data has errors.
    """
    wanted = [networks.get(name).name for name in only or networks.NETWORKS]
    begin = time.monotonic()
    if dataset is None:
        progress(0.0, "collecting")
        folder = registry.workspace() / "datasets" / views.TABLES_NAME
        collect.collect(list(sources or collect.swarm_logs(registry.workspace())), folder)
    else:
        folder = views.find(dataset).folder
    progress(0.05, "validating")
    checked = validate.validate(folder, _CHECKS, seed=seed)
    errors = [finding["message"] for finding in checked["findings"] if finding["severity"] == "error"]
    if errors:
        raise ClaudeFlowError(
            f"{folder} has {len(errors)} errors, the first: {errors[0]} (claude-flow neural data validate)"
        )
    warnings = [finding["message"] for finding in checked["findings"] if finding["severity"] == "warning"]
    found = Learned(folder, int(checked["rows"].get("runs", 0)), dataset is None, warnings)
    progress(0.1, "preprocessing")
    made = preprocess.preprocess(folder, {**_OPTIONS, "seed": seed})
    for name in wanted:
        if name in made.skipped:
            found.skipped[name] = made.skipped[name]
        elif not hasattr(networks.get(name).judge, "blocks"):
            found.skipped[name] = "a log has no answers to judge it by"
    ready = [name for name in wanted if name not in found.skipped]
    for place, name in enumerate(ready):
        left = (
            None if time_budget is None else max(time_budget - (time.monotonic() - begin), 0.1) / (len(ready) - place)
        )

        def shown(done: float, what: str, place: int = place, name: str = name) -> None:
            progress(0.1 + 0.9 * (place + done) / len(ready), f"{name}: {what}")

        try:
            verdict, version = improve(
                name, folder, Path(made.made[name]["path"]), seed=seed, time_budget=left, progress=shown
            )
        except InputError as error:
            found.skipped[name] = str(error)
            continue
        found.verdicts[name] = verdict
        if version:
            found.kept[name] = version
    moment = datetime.now(timezone.utc).isoformat(timespec="seconds")
    report = json.dumps({"time": moment, **found.to_json()}, indent=1) + "\n"
    files.atomic_write(registry.runs_dir() / "learn" / "report.json", report)
    return found


def improve(
    network: str,
    tables: Path,
    data: Path,
    *,
    settings: TrainingConfig | None = None,
    name: str | None = None,
    seed: int = 0,
    time_budget: float | None = None,
    progress: Progress = nothing,
) -> tuple[Verdict, str | None]:
    """Train a network on the log and keep it as a new version of ``name`` if it wins there; the verdict, the version.

    What is kept is the model of the last block, so what was judged is what is used. ``settings``: by default those
    that the model in use was trained with.
    """
    current = registry.newest_model(network)
    if settings is None:
        document = claude_flow.load(current).provenance.get("config") or {f"{network}-training": {}}
        settings = config.parse(document, network, f"the configuration in {current}")
    with files.temporary_folder() as scratch:
        verdict, model, card = walk.walk(
            network, settings, tables, data, current, scratch, seed=seed, time_budget=time_budget, progress=progress
        )
        return verdict, keep(verdict, name or network, model, card)


def keep(verdict: Verdict, name: str, model: Path, card: dict[str, Any]) -> str | None:
    """Store a model that won as a new version of ``name``, the verdict in its card; None for one that did not."""
    if not verdict.kept:
        return None
    return registry.model_name(registry.add_model(name, None, model, {**card, "walk_forward": verdict.to_json()}))
