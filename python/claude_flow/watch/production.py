"""How models do in production, read from the workspace's log of requests. ``claude-flow neural monitor production``.

Accuracy comes from outcomes that arrive later (:mod:`claude_flow.watch.outcomes`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from claude_flow import modelfile, registry
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.report import document, table
from claude_flow.values import did_you_mean
from claude_flow.watch import alerts, drift, outcomes, samples
from claude_flow.watch.levels import Threshold

__all__ = [
    *(
        "COLUMNS",
        "METRICS",
        "Server",
        "Watched",
        "grafana",
        "judged",
        "metrics",
        "page",
        "prometheus",
        "rows",
        "rules",
        "state",
        "watched",
    ),
]

#: name: (higher is better, unit, what it is)
METRICS: dict[str, tuple[bool, str, str]] = {
    "accuracy": (True, "ratio", "share of answers whose outcome was good"),
    "latency": (False, "seconds", "95th percentile of the time of an answer"),
    "throughput": (True, "per_second", "answers per second over the window"),
    "drift": (False, "distance", "largest distance of a feature from the training data that is no chance"),
    "confidence": (True, "ratio", "mean confidence of the answers"),
}
#: what a value is multiplied by for Prometheus, whose times are seconds; ours are milliseconds
_SCALE = {"latency": 0.001}
#: how a table names what has a unit
_WITH_UNIT = {"latency": "latency, ms", "throughput": "throughput, 1/s"}
_FEWEST = 20  # requests, or outcomes, below which a value is shown and raises no alert
_RECENT_DRIFT = 2000  # requests


@dataclass(frozen=True)
class Watched:
    """A model that is watched: as it was named, what its answers call it, its network."""

    name: str
    called: str
    network: str


def watched(names: Sequence[str]) -> list[Watched]:
    """The models by name. :class:`InputError` for one that is not there, or for none."""
    if not names:
        raise InputError("--models names no model")
    found = []
    for name in dict.fromkeys(names):
        path = registry.model_path(name)
        found.append(Watched(name, registry.model_name(path), modelfile.read(path).network))
    return found


def metrics(names: Sequence[str]) -> list[str]:
    """The metrics, each known. :class:`InputError` with near matches."""
    for name in names:
        if name not in METRICS:
            raise InputError(
                f"there is no metric {name!r}{did_you_mean(name, METRICS)}: it is one of {', '.join(METRICS)}"
            )
    return list(dict.fromkeys(names))


def state(models: Sequence[Watched], names: Sequence[str], window: float, reference: str, now: float) -> dict[str, Any]:
    """Every model's metrics over the last ``window`` seconds.

    A metric is ``{"value", "enough", "count", "note"}``: ``value`` None where it cannot be told, ``enough`` whether it
    may raise an alert.
    """
    everything = outcomes.logged(now - window)
    rows = []
    for model in models:
        own = [
            entry
            for entry in everything
            if entry.request.asks(model.network)
            and (
                model.called == (entry.request.answer or {}).get("model")
                or entry.request.model in (model.name, model.called)
                or (entry.request.answer or {}).get("model", "").partition("/")[0] == model.name
            )
        ]
        values = {name: _metric(name, own, window, reference, model.network) for name in names}
        last = max((entry.time for entry in own), default=math.nan)
        rows.append(
            {
                "model": model.name,
                "called": model.called,
                "network": model.network,
                "requests": len(own),
                "last": None if math.isnan(last) else datetime.fromtimestamp(last, timezone.utc).isoformat(),
                "metrics": values,
            }
        )
    moment = datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds")
    return {"time": moment, "window_s": window, "logged": len(everything), "models": rows}


def _metric(name: str, own: Sequence[outcomes.Logged], window: float, reference: str, network: str) -> dict[str, Any]:
    count, note, value = len(own), "", None
    if not own:
        return {"value": None, "enough": False, "count": 0, "note": "no request in the window"}
    if name == "accuracy":
        scores = outcomes.known(own)
        count = len(scores)
        value = float(np.mean(scores)) if scores else None
        note = f"{1 - count / len(own):.0%} of the outcomes are open"
    elif name == "latency":
        seconds = [entry.request.seconds for entry in own if entry.request.seconds is not None]
        count = len(seconds)
        if seconds:
            value = 1000 * float(np.quantile(np.array(seconds, float), 0.95))
            note = f"median {1000 * float(np.median(np.array(seconds, float))):.3g} ms"
    elif name == "throughput":
        value = count / window
    elif name == "confidence":
        sure = [c for entry in own if (c := drift.confidence_of(entry.request.answer or {})) is not None]
        count, value = len(sure), float(np.mean(sure)) if sure else None
    else:
        if count < drift.FEWEST:
            note = f"{count} requests: {drift.FEWEST} are the fewest that are tested"
        else:
            asked = [entry.request for entry in own][-_RECENT_DRIFT:]
            before = samples.before(reference, network)
            now = samples.of_requests(asked, f"{len(asked)} requests", lambda request: request.input)
            found = drift.compare(before, now, "kolmogorov-smirnov", jointly=False)
            value, note = found["distance"], drift.verdict(found)
    return {"value": value, "enough": value is not None and count >= _FEWEST, "count": count, "note": note}


def judged(found: Mapping[str, Any], limits: Mapping[str, Threshold]) -> dict[str, tuple[float | None, Threshold]]:
    """The values that have a threshold, by ``MODEL METRIC``; None where there is too little to raise an alert."""
    return {
        f"{row['model']} {name}": (row["metrics"][name]["value"] if row["metrics"][name]["enough"] else None, limit)
        for row in found["models"]
        for name, limit in limits.items()
        if name in row["metrics"]
    }


# For other tools ------------------------------------------------------------------------------------------


def _series(name: str) -> str:
    return f"claude_flow_{name}_{METRICS[name][1]}"


def registry_of(found: Mapping[str, Any]) -> Any:
    """The values as a registry of prometheus_client."""
    prometheus_client = require("prometheus_client", "notify")
    collected = prometheus_client.CollectorRegistry()
    names = dict.fromkeys(name for row in found["models"] for name in row["metrics"])
    gauges = {
        name: prometheus_client.Gauge(_series(name), METRICS[name][2], ["model", "network"], registry=collected)
        for name in names
    }
    asked = prometheus_client.Gauge(
        "claude_flow_requests", "answers in the window", ["model", "network"], registry=collected
    )
    for row in found["models"]:
        asked.labels(row["model"], row["network"]).set(row["requests"])
        for name, metric in row["metrics"].items():
            if metric["value"] is not None:
                gauges[name].labels(row["model"], row["network"]).set(metric["value"] * _SCALE.get(name, 1.0))
    return collected


def prometheus(found: Mapping[str, Any]) -> str:
    """The values in Prometheus' text format."""
    text: bytes = require("prometheus_client", "notify").generate_latest(registry_of(found))
    return text.decode()


def rules(limits: Mapping[str, Threshold]) -> str:
    """Prometheus' alert rules (YAML, which JSON is) of the thresholds."""
    found = []
    for name, limit in limits.items():
        sign = "<=" if limit.higher else ">="
        for level, value in (("warning", limit.warning), ("critical", limit.critical)):
            found.append(
                {
                    "alert": f"ClaudeFlow{name.title()}{level.title()}",
                    "expr": f"{_series(name)} {sign} {value * _SCALE.get(name, 1.0):g}",
                    "for": "2m",
                    "labels": {"severity": level},
                    "annotations": {"summary": f"{{{{ $labels.model }}}}: {METRICS[name][2]} is {{{{ $value }}}}"},
                }
            )
    return json.dumps({"groups": [{"name": "claude-flow", "rules": found}]}, indent=2) + "\n"


def grafana(names: Sequence[str], limits: Mapping[str, Threshold]) -> str:
    """A dashboard for Grafana: a panel a metric, a line a model, its thresholds."""
    panels = []
    for index, name in enumerate(names):
        limit, scale = limits.get(name), _SCALE.get(name, 1.0)
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if limit:
            worse = [("orange", limit.warning * scale), ("red", limit.critical * scale)]
            colours = [("green", None), *worse]
            if limit.higher:
                colours = [("red", None), ("orange", worse[1][1]), ("green", worse[0][1])]
            steps = [{"color": colour, "value": value} for colour, value in colours]
        panels.append(
            {
                "id": index + 1,
                "type": "timeseries",
                "title": name,
                "description": METRICS[name][2],
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "gridPos": {"h": 8, "w": 12, "x": 12 * (index % 2), "y": 8 * (index // 2)},
                "targets": [{"refId": "A", "expr": _series(name), "legendFormat": "{{model}}"}],
                "fieldConfig": {
                    "defaults": {
                        **({"unit": "s"} if METRICS[name][1] == "seconds" else {}),
                        "thresholds": {"mode": "absolute", "steps": steps},
                        "custom": {"thresholdsStyle": {"mode": "line"}},
                    },
                    "overrides": [],
                },
            }
        )
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    return (
        json.dumps(
            {
                "title": "Claude Flow models",
                "uid": "claude-flow",
                "schemaVersion": 39,
                "refresh": "30s",
                "time": {"from": "now-24h", "to": "now"},
                "templating": {"list": [source]},
                "panels": panels,
            },
            indent=2,
        )
        + "\n"
    )


class Server:
    """The metrics over HTTP, for Prometheus to fetch.

    Raises:
        ClaudeFlowError: the port is taken.
    """

    def __init__(self, port: int) -> None:
        client = require("prometheus_client", "notify")
        self._registry: Any = client.CollectorRegistry()
        self._registry.register(self)
        try:
            self._server, _ = client.start_http_server(port, "127.0.0.1", registry=self._registry)
        except OSError as error:
            raise ClaudeFlowError(f"port {port}: {error.strerror or error}: name another with --port") from None
        self.port = int(self._server.server_port)
        self._found: Any = None

    def show(self, found: Mapping[str, Any]) -> None:
        """Serve these values from now on."""
        self._found = registry_of(found)

    def collect(self) -> Any:
        """What prometheus_client asks a collector."""
        return iter(()) if self._found is None else self._found.collect()


COLUMNS = ["model", "metric", "value", "level", "count", "note"]


def rows(found: Mapping[str, Any], limits: Mapping[str, Threshold]) -> list[list[Any]]:
    """Every metric of every model, with its level where one can be told, under :data:`COLUMNS`."""
    shown: list[list[Any]] = []
    for row in found["models"]:
        for name, metric in row["metrics"].items():
            limit = limits.get(name)
            level = limit.level(metric["value"], "ok") if limit and metric["enough"] else "-"
            shown.append(
                [row["model"], _WITH_UNIT.get(name, name), metric["value"], level, metric["count"], metric["note"]]
            )
    return shown


def page(found: Mapping[str, Any], limits: Mapping[str, Threshold]) -> str:
    """The state as a page of HTML."""
    bounds = [[_WITH_UNIT.get(name, name), limit.warning, limit.critical] for name, limit in limits.items()]
    told = [[alert["time"], alert["level"], alert["message"]] for alert in list(alerts.entries())[-50:][::-1]]
    parts = [
        f"<p>At {found['time']}, over the last {found['window_s'] / 3600:g} hours.</p>",
        table(COLUMNS, rows(found, limits)),
        *(["<h2>Thresholds</h2>", table(["metric", "warning", "critical"], bounds)] if bounds else []),
        "<h2>Alerts, newest first</h2>",
        table(["time", "level", "what"], told) if told else "<p>None.</p>",
    ]
    return document("Models in production", "".join(parts))
