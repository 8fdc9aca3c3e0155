"""What a training run's log says to somebody who watches: its state, metrics by name, time left, alerts."""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from claude_flow import registry
from claude_flow.errors import InputError
from claude_flow.train.config import lower_is_better
from claude_flow.train.runlog import FILE, Seen, read
from claude_flow.values import did_you_mean

__all__ = ["METRICS", "locate", "watch"]

METRICS = ("loss", "accuracy", "coordination-efficiency", "attention-weights")

#: metric -> the logged values that it stands for, as a pattern
_MEANT = {
    "loss": r"(validation-)?loss",
    "accuracy": r"validation-(.*-)?accuracy",
    "attention-weights": r"attention-entropy-\d+",
}
_WHY_NOT = {
    "accuracy": "only coordination picks a right answer; ",
    "coordination-efficiency": "only coordination has agents whose best use is known; ",
    "attention-weights": "a network without attention; ",
}
_SILENT_SECONDS = 120.0
_RISING_EPOCHS = 5


def locate(name: str) -> Path | None:
    """The folder of the run of a model or a run name (``NAME`` or ``NAME/VERSION``); None for a model that came
    without its run.

    Raises:
        InputError: neither a run nor a model has this name; the message names near matches.
    """
    base = name.partition("/")[0]
    runs = registry.workspace() / "runs"
    if (runs / base / FILE).is_file():
        return runs / base
    try:
        registry.model_path(name)
    except InputError:
        known = sorted(folder.parent.name for folder in runs.glob(f"*/{FILE}"))
        near = did_you_mean(base, known)
        start = "claude-flow neural train coordination --output NAME"
        raise InputError(f"there is no training run {name!r}{near} (to start one: {start})") from None
    return None


def watch(name: str, metrics: Sequence[str] = METRICS, now: float | None = None) -> dict[str, Any]:
    """The latest state of the run ``name``, as JSON values.

    Keys: ``run``, ``network``, ``state`` (``running``, ``finished``, ``interrupted``, ``failed``, ``gone`` = its
    process ended without a word, ``shipped`` = a model without its run), ``reason`` for the state or None, ``epoch``
    and ``epochs``, ``share`` of the current epoch done, ``loss`` so far in it, ``learning_rate``, ``seconds`` of
    training, ``eta_s`` (None when not running), ``monitor``, ``best`` (``epoch``, ``value``) or None, ``stale``
    epochs since and ``patience``, ``metrics`` and ``alerts``. A metric has ``name``, ``series`` (logged name ->
    [[epoch, value], ...]) and ``unavailable``, the reason why there is none, or None. An alert has ``name`` and
    ``message``.
    """
    folder = locate(name)
    if folder is None:
        return _shipped(name, metrics)
    seen = read(folder)
    now = time.time() if now is None else now
    about, progress = seen.about, seen.progress
    state, reason = _state(seen, (folder / "checkpoint.pt").is_file())
    done = len(seen.epochs)
    last: dict[str, Any] = dict(seen.epochs[-1]) if seen.epochs else {}
    best = _best(seen)
    answer: dict[str, Any] = {
        "run": folder.name,
        "network": about["network"],
        "state": state,
        "reason": reason,
        "epoch": done,
        "epochs": about["epochs"],
        "share": progress.get("share", 0.0),
        "loss": progress.get("loss"),
        "learning_rate": last.get("learning-rate"),
        "seconds": last.get("seconds", 0.0),
        "eta_s": _eta(seen, now) if state == "running" else None,
        "monitor": about["monitor"],
        "best": best,
        "stale": done - best["epoch"] if best else 0,
        "patience": about["patience"],
    }
    names = sorted({key for entry in seen.epochs for key in entry})
    series = {key: seen.series(key) for key in names}
    answer["metrics"] = [_metric(metric, series, about["network"], done > 0) for metric in metrics]
    answer["alerts"] = _alerts(seen, answer, now)
    return answer


def _state(seen: Seen, kept: bool = True) -> tuple[str, str | None]:
    """The state and its reason; ``kept``: there is a checkpoint to go on from."""
    advice = "continue it with --resume" if kept else "it left no checkpoint: train it again"
    if "stopped" in seen.end:
        return "finished", str(seen.end["stopped"])
    if seen.end.get("error") == "interrupted":
        return "interrupted", advice
    if seen.end:
        return "failed", str(seen.end.get("error"))
    if not seen.alive:
        return "gone", f"its process {seen.about.get('pid')} has ended without a word; {advice}"
    return "running", None


def _best(seen: Seen) -> dict[str, Any] | None:
    monitor = str(seen.about["monitor"])
    series = seen.series(monitor)
    if not series:
        return None
    sign = 1 if lower_is_better(monitor) else -1
    epoch, value = min(series, key=lambda pair: (sign * pair[1], pair[0]))
    return {"epoch": epoch, "value": value}


def _eta(seen: Seen, now: float) -> float | None:
    """Seconds to the last epoch, at the pace of the epochs so far; None before the first."""
    if not seen.epochs:
        return None
    pace = seen.epochs[-1]["seconds"] / len(seen.epochs)
    left = seen.about["epochs"] - len(seen.epochs) - seen.progress.get("share", 0.0)
    return float(max(0.0, left * pace - max(0.0, min(now - seen.time, pace))))


def _metric(name: str, series: dict[str, list[tuple[int, float]]], network: str, begun: bool) -> dict[str, Any]:
    """One metric by name: the logged series that it stands for, or why there is none."""
    if name == "coordination-efficiency":
        found = _efficiency(series)
    else:
        pattern = _MEANT.get(name, rf"(validation-)?{re.escape(name)}")
        found = {key: values for key, values in series.items() if re.fullmatch(pattern, key) and values}
    reason = None
    if not found and not begun:
        reason = "no epoch is done yet"
    elif not found:
        logged = ", ".join(key for key in series if key not in ("epoch", "seconds"))
        reason = f"{network} logs none: {_WHY_NOT.get(name, '')}logged are {logged}"
    return {"name": name, "series": {k: [list(p) for p in v] for k, v in found.items()}, "unavailable": reason}


def _efficiency(series: dict[str, list[tuple[int, float]]]) -> dict[str, list[tuple[int, float]]]:
    """Utility reached by the chosen agents as a share of what the best agents would have reached:
    utility / (utility + regret) on the validation split."""
    utility, regret = (dict(series.get(f"validation-{part}", [])) for part in ("utility", "regret"))
    shares = [(e, u / (u + regret[e])) for e, u in utility.items() if e in regret and u + regret[e] > 0]
    return {"validation-coordination-efficiency": shares} if shares else {}


def _alerts(seen: Seen, answer: dict[str, Any], now: float) -> list[dict[str, str]]:
    """What the owner of the run should hear of: the rules, most urgent first."""
    alerts: list[dict[str, str]] = []

    def alert(name: str, message: str) -> None:
        alerts.append({"name": name, "message": message})

    if answer["state"] in ("failed", "gone"):
        alert(answer["state"], answer["reason"])
    if answer["state"] == "running" and now - seen.time > _SILENT_SECONDS:
        alert("silent", f"no word for {now - seen.time:.0f} s: the process may hang, or its epoch is long")
    if answer["state"] == "finished" and str(answer["reason"]).startswith("no better"):
        alert("stopped-early", f"{answer['reason']}: epoch {answer['best']['epoch']} was kept")
    elif answer["patience"] and answer["stale"] * 2 >= answer["patience"] and answer["state"] == "running":
        left = answer["patience"] - answer["stale"]
        told = f"no better {answer['monitor']} for {answer['stale']} epochs"
        alert("early-stopping", f"{told}: the run ends after {max(left, 0)} more like these")
    train, validation = seen.series("loss"), seen.series("validation-loss")
    ends = [[value for _, value in part[-_RISING_EPOCHS - 1 :]] for part in (train, validation)]
    if all(len(part) > _RISING_EPOCHS for part in ends) and _falls(ends[0]) and _falls(ends[1][::-1]):
        message = f"over the last {_RISING_EPOCHS} epochs the training loss fell and the validation loss rose"
        alert("overfitting", message)
    losses = [value for _, value in train]
    if len(losses) > 2 and losses[-1] > 2 * min(losses) + 1e-12 and losses[-1] > losses[0]:
        alert("diverging", f"the training loss is {losses[-1]:.4g} after {min(losses):.4g}: lower the learning rate")
    return alerts


def _falls(values: list[float]) -> bool:
    """Whether no value is above the one before, and the last is below the first."""
    return all(b <= a for a, b in itertools.pairwise(values)) and values[-1] < values[0]


def _shipped(name: str, metrics: Sequence[str]) -> dict[str, Any]:
    """A model whose run is elsewhere: what its card tells of it."""
    from claude_flow import modelfile

    card = modelfile.read(registry.model_path(name)).provenance
    history = card.get("history")
    series: dict[str, list[tuple[int, float]]] = {}
    if isinstance(history, dict):
        for key, values in history.items():
            series[key] = [(i, float(v)) for i, v in enumerate(values, 1) if math.isfinite(v)]
    network = str(card.get("network", "unknown"))
    told = "its card holds the history below" if series else "its card holds no history either"
    shown = [_metric(metric, series, network, True) for metric in metrics]
    for metric in shown:
        if metric["unavailable"]:
            metric["unavailable"] = f"the model came without its run, and {told.replace(' below', '')}"
    return {
        "run": name,
        "network": network,
        "state": "shipped",
        "reason": f"the model came without its training run; {told}",
        "epoch": card.get("epochs", 0),
        "epochs": card.get("epochs", 0),
        "share": 0.0,
        "loss": None,
        "learning_rate": card.get("learning_rate"),
        "seconds": card.get("seconds", 0.0),
        "eta_s": None,
        "monitor": None,
        "best": {"epoch": card["best_epoch"], "value": None} if "best_epoch" in card else None,
        "stale": 0,
        "patience": None,
        "metrics": shown,
        "alerts": [],
    }
