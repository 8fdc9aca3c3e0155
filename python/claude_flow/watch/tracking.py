"""The record of experiments: runs in MLflow, each kept in the workspace first, so that none is lost.

``experiments/settings.json`` says where runs go. A run is written to ``experiments/pending/`` and then delivered; what
cannot be delivered waits there, and the next delivery catches up. Delivering twice is harmless: a run carries its id.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from claude_flow import files, registry
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.values import plain, read_json
from claude_flow.watch import server, store

__all__ = [
    "BUCKET",
    "LOCAL",
    "client",
    "deliver",
    "flat",
    "history",
    "keep",
    "numbers",
    "own_settings",
    "pending",
    "runs",
    "set_up",
    "settings",
]

EXTRA = "experiments"
#: what `--tracking-uri` says for a server that we start
LOCAL = "local"
#: where artifacts go if `--artifact-uri` does not say it
BUCKET = "CLAUDE_FLOW_ARTIFACT_URI"
_MOST_METRICS = 400
_SECRET = re.compile(r"(^|[^a-z])key$|apikey|token(?!s)|secret|passw|credential", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_ID = "claude-flow.id"
_TIMEOUT_S = 5


def _folder() -> Path:
    return registry.workspace() / "experiments"


def settings() -> dict[str, Any] | None:
    """What ``experiments setup`` kept, or None. Raises :class:`InputError` for a damaged file."""
    path = _folder() / "settings.json"
    if not path.is_file():
        return None
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("tracking_uri"), str):
        raise InputError(f"{path}: damaged: run  claude-flow neural experiments setup  again")
    return found


def own_settings() -> dict[str, Any]:
    """The settings where nothing was set up: a store and artifacts in the workspace."""
    folder = _folder().resolve()
    return {
        "tracking_backend": "mlflow",
        "tracking_uri": f"sqlite:///{folder / 'mlflow.db'}",
        "metrics_logging": "comprehensive",
        "artifacts": {"storage": "local", "uri": str(folder / "artifacts"), "waiting_for": None},
        "collaboration": False,
    }


def set_up(
    *, tracking_uri: str | None, metrics_logging: str, storage: str, artifact_uri: str | None, collaboration: bool
) -> dict[str, Any]:
    """Check that runs and artifacts can be kept, and remember where. Nothing is kept if one cannot.

    ``storage`` s3 without an address (neither ``artifact_uri`` nor :data:`BUCKET`): artifacts go to the workspace, and
    ``artifacts.waiting_for`` names what gives the address. ``tracking_uri`` "local" starts a server over the
    workspace's own database.

    Raises:
        InputError: the server or the store cannot be reached; the message has the reason.
    """
    found = {**own_settings(), "metrics_logging": metrics_logging, "collaboration": collaboration}
    if tracking_uri and tracking_uri != LOCAL:
        if urlsplit(tracking_uri).password:
            raise InputError(
                "the tracking address holds a password: give MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        found["tracking_uri"] = tracking_uri
    address = artifact_uri or (os.environ.get(BUCKET) if storage == "s3" else None)
    if storage == "s3":
        if address and not address.startswith("s3://"):
            raise InputError(f"{address}: an address of S3 begins with s3://, such as s3://bucket/runs")
        waiting = None if address else f"{BUCKET} or --artifact-uri, such as s3://bucket/runs"
        found["artifacts"] = {
            "storage": "s3" if address else "local",
            "uri": address or found["artifacts"]["uri"],
            "waiting_for": waiting,
        }
    elif address:
        found["artifacts"]["uri"] = str(Path(address).resolve())
    started, elsewhere = None, tracking_uri not in (None, LOCAL)
    if elsewhere:
        _reach(found)  # before the probe, which makes the folder of artifacts
    found["artifacts"]["probe"] = store.probe(found["artifacts"]["uri"])
    if tracking_uri == LOCAL:
        client(found)  # which makes the database
        started = server.start(found["tracking_uri"], found["artifacts"]["uri"])
    elif not elsewhere:
        _reach(found)
    files.atomic_write(_folder() / "settings.json", json.dumps(found, indent=1) + "\n")
    return {**found, "server": started}


# MLflow ---------------------------------------------------------------------------------------------------


def client(found: Mapping[str, Any]) -> Any:
    """MLflow's client of the settings. A server that does not answer fails within seconds."""
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
    }
    limits = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(_TIMEOUT_S), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    for name, value in {**quiet, **limits}.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    address = str(found["tracking_uri"])
    if address.startswith("sqlite:///"):
        require("sqlalchemy", EXTRA)
        _make(Path(address.removeprefix("sqlite:///")))
    return require("mlflow", EXTRA).MlflowClient(tracking_uri=address)


def _make(database: Path) -> None:
    """Have MLflow's SQLite database, whole: its some fifty migrations take seconds, and one that is killed between them
    leaves a file that MLflow never opens again. So they run beside it."""
    if database.exists():
        return
    with files.locked(database.with_name(f".{database.name}.lock"), timeout=600):
        if database.exists():
            return
        part, copy = (database.with_name(f".{database.name}.{end}") for end in ("part", "copy"))
        for left in database.parent.glob(f"{part.name}*"):
            left.unlink()
        require("mlflow", EXTRA).MlflowClient(tracking_uri=f"sqlite:///{part}").search_experiments(max_results=1)
        shutil.copyfile(part, copy)
        os.replace(copy, database)
        with contextlib.suppress(OSError):  # MLflow holds it open, which Windows minds
            part.unlink()


def _reach(found: Mapping[str, Any]) -> Any:
    """A client that was heard; :class:`InputError` where the server cannot be reached or refuses."""
    address = str(found["tracking_uri"])
    # To import MLflow takes seconds, so that is done only where somebody answers.
    if address.startswith(("http://", "https://")) and (wrong := server.knock(address)):
        raise InputError(f"{address}: the tracking server cannot be reached ({wrong}): check the address")
    try:
        mlflow = client(found)
        mlflow.search_experiments(max_results=1)
    except ClaudeFlowError:
        raise
    except Exception as error:  # MLflow raises kinds of its own, and those of requests and sqlalchemy
        raise InputError(f"{address}: {_why(error)}") from None
    return mlflow


def _why(error: BaseException) -> str:
    text = str(error)
    if "401" in text or "403" in text:
        return "the tracking server refuses the credentials: check MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN"
    if "Max retries" in text or "Connection" in text or "timed out" in text:
        return "the tracking server cannot be reached: check the address, or leave it out to keep runs here"
    return f"the tracking store cannot be used ({type(error).__name__}: {text.splitlines()[0][:200] if text else ''})"


# Runs -----------------------------------------------------------------------------------------------------


def numbers(value: Any, path: str = "") -> dict[str, float]:
    """The numbers of a JSON value by their paths; of lists the first twenty items.

    >>> numbers({"card": {"seconds": 1.5, "name": "x"}, "rows": [1, 2], "done": True})
    {'card.seconds': 1.5, 'rows.0': 1.0, 'rows.1': 2.0}
    """
    if isinstance(value, bool) or value is None:
        return {}
    if isinstance(value, (int, float)):
        return {path or "value": float(value)}
    if isinstance(value, Mapping):
        items: Sequence[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, (list, tuple)):
        items = list(enumerate(value[:20]))
    else:
        return {}
    return {name: n for key, item in items for name, n in numbers(item, f"{path}.{key}" if path else str(key)).items()}


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested objects by their paths; lists as they are.

    >>> flat({"training": {"epochs": 3, "sizes": [1, 2]}})
    {'training.epochs': 3, 'training.sizes': [1, 2]}
    """
    if not isinstance(value, Mapping):
        return {path: value}
    return {
        name: leaf
        for key, item in value.items()
        for name, leaf in flat(item, f"{path}.{key}" if path else str(key)).items()
    }


def keep(
    experiment: str,
    *,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    name: str = "",
    status: str = "FINISHED",
    series: Mapping[str, Sequence[tuple[int, float]]] | None = None,
    artifacts: Sequence[Path] = (),
    tags: Mapping[str, str] | None = None,
    began: float | None = None,
) -> Path:
    """Write a run to the pending ones. What looks like a secret is replaced by ``***``."""
    now = time.time()
    shown = {
        str(key): "***" if _SECRET.search(str(key)) else _LOGIN.sub("***", value) if isinstance(value, str) else value
        for key, value in parameters.items()
    }
    record = {
        "id": secrets.token_hex(8),
        "experiment": experiment,
        "name": name,
        "status": status,
        "start": began or now,
        "end": now,
        "parameters": {key: value for key, value in shown.items() if value is not None},
        "metrics": dict(list(metrics.items())[:_MOST_METRICS]),
        "series": {key: list(values) for key, values in (series or {}).items()},
        "artifacts": [str(path.resolve()) for path in artifacts],
        "tags": dict(tags or {}),
    }
    path = _folder() / "pending" / f"{now:017.6f}-{record['id']}.json"
    files.atomic_write(path, json.dumps(plain(record)) + "\n")
    return path


def pending() -> list[Path]:
    """The runs that wait to be delivered, oldest first."""
    return sorted((_folder() / "pending").glob("*.json"))


def deliver(found: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Deliver what is pending; returns each run's experiment, name, id of the run and of the record.

    Raises:
        ClaudeFlowError: one could not be delivered; it and those after it wait on.
    """
    found = found or settings() or own_settings()
    delivered = []
    waiting = pending()
    if not waiting:
        return []
    with files.locked(_folder() / ".deliver.lock", timeout=60):
        mlflow = _reach(found)
        for path in waiting:
            if not path.is_file():  # another process delivered it
                continue
            record = read_json(path)
            try:
                delivered.append(_log(mlflow, record, found))
            except ClaudeFlowError:
                raise
            except Exception as error:
                raise ClaudeFlowError(f"{found['tracking_uri']}: {_why(error)}") from None
            path.unlink()
    return delivered


def _log(mlflow: Any, record: dict[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    entities = require("mlflow.entities", EXTRA)
    experiment = mlflow.get_experiment_by_name(record["experiment"])
    if experiment is None:
        place = f"{str(found['artifacts']['uri']).rstrip('/')}/{re.sub(r'[^A-Za-z0-9._-]+', '-', record['experiment'])}"
        number = mlflow.create_experiment(record["experiment"], artifact_location=place)
    else:
        number = experiment.experiment_id
    for earlier in mlflow.search_runs([number], filter_string=f"tags.`{_ID}` = '{record['id']}'"):
        mlflow.delete_run(earlier.info.run_id)  # a delivery that was cut off
    tags = {**record["tags"], _ID: record["id"]}
    if found.get("collaboration"):
        tags |= {"mlflow.user": getpass.getuser(), "host": socket.gethostname()}
    begin, end = int(1000 * record["start"]), int(1000 * record["end"])
    run = mlflow.create_run(number, start_time=begin, tags=tags, run_name=record["name"] or None)
    identity = run.info.run_id
    parameters = [entities.Param(_key(k), str(v)[:6000]) for k, v in record["parameters"].items()]
    metrics = [entities.Metric(_key(k), v, end, 0) for k, v in record["metrics"].items()]
    for name, values in record["series"].items():
        metrics += [entities.Metric(_key(name), value, end, int(step)) for step, value in values if value is not None]
    for first in range(0, len(parameters), 100):
        mlflow.log_batch(identity, params=parameters[first : first + 100])
    for first in range(0, len(metrics), 1000):
        mlflow.log_batch(identity, metrics=metrics[first : first + 1000])
    for file in map(Path, record["artifacts"]):
        if file.is_dir():
            mlflow.log_artifacts(identity, str(file), artifact_path=file.name)
        elif file.is_file():
            mlflow.log_artifact(identity, str(file))
    mlflow.set_terminated(identity, status=record["status"], end_time=end)
    return {"experiment": record["experiment"], "name": run.info.run_name, "run": identity, "id": record["id"]}


def _key(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^\w\-./ :]", "_", name)[:250]


def runs(found: Mapping[str, Any], experiment: str | None = None, most: int = 50) -> list[dict[str, Any]]:
    """The newest runs: experiment, name, run, status, time, parameters, metrics, tags.

    Raises:
        InputError: there is no such experiment, or the store cannot be reached.
    """
    mlflow = _reach(found)
    known = {e.experiment_id: e.name for e in mlflow.search_experiments()}
    wanted = [number for number, name in known.items() if experiment in (None, name)]
    if experiment is not None and not wanted:
        names = ", ".join(sorted(name for name in known.values() if name != "Default")) or "none"
        raise InputError(f"there is no experiment {experiment!r}: there are {names}")
    return [
        {
            "experiment": known[run.info.experiment_id],
            "name": run.info.run_name,
            "run": run.info.run_id,
            "status": run.info.status,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.info.start_time / 1000)),
            "artifacts": run.info.artifact_uri,
            "parameters": dict(run.data.params),
            "metrics": dict(run.data.metrics),
            "tags": {k: v for k, v in run.data.tags.items() if not k.startswith(("mlflow.", "claude-flow."))},
        }
        for run in mlflow.search_runs(wanted, order_by=["attributes.start_time DESC"], max_results=most)
    ]


def history(found: Mapping[str, Any], run: str, metric: str) -> list[float]:
    """All values of a run's metric, by step."""
    values = client(found).get_metric_history(run, _key(metric))
    return [value.value for value in sorted(values, key=lambda value: (value.step, value.timestamp))]
