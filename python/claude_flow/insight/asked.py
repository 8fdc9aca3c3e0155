"""The requests that a model is looked at with, read as it reads them, and what it makes of changed inputs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import model as models
from claude_flow import networks, registry, requests
from claude_flow.data import views
from claude_flow.errors import InputError
from claude_flow.networks.inputs import Item, Knob
from claude_flow.values import did_you_mean, json_argument

__all__ = ["Asked", "is_requests", "typical"]

Array = NDArray[np.float32]
_SIMULATED, _SEED = 48, 1303
_LOG = "historical_context"
_CAVEAT = "the model alone is looked at, as by --historical-context none: infer goes by this workspace's log too"
_ROWS = 256  # of a batch through the engine


def typical(network: str) -> str:
    """The view of requests that a network is looked at with where none is named."""
    return f"typical-{network}-tasks"


def is_requests(source: str) -> bool:
    """Whether ``source`` names requests (a view, a file, the text of one) rather than a dataset.

    >>> is_requests("typical-workload"), is_requests("swarm.json"), is_requests("preprocessed-coordination-data")
    (True, True, False)
    """
    return views.is_requests(source) or source.endswith((".json", ".jsonl")) or source.lstrip().startswith("{")


class Asked:
    """A model in the engine, and groups of requests to it.

    ``source`` is a view of requests, files of requests (``.jsonl``) with commas between, a file of one request
    (``.json``), or None: the logged ones, filled up with simulated ones to 48. ``label`` says in words what
    they are.
    """

    def __init__(self, path: Path, source: str | None = None, most: int = 64) -> None:
        self.model = models.load(path)
        self.name = registry.model_name(path)
        self.row = networks.get(self.model.network)
        if find_spec(f"{self.row.package}.explain") is None:
            raise InputError(f"{self.name} is a model of {self.row.name}, whose inputs have no names to explain it by")
        self.explain = self.row.part("explain")
        self._reader = self.explain.Reader(self.model)
        found = self._requests(source or typical(self.row.name), fill=source is None)
        self.groups = {name: [self._reader.item(r) for r in rows[:most]] for name, rows in found.items()}
        self.label = self._label(source, found)

    def _requests(self, source: str, fill: bool) -> dict[str, list[Any]]:
        name = self.row.name
        if (groups := views.requests(source, name)) is not None:
            found = {group: [r.input for r in rows if r.asks(name)] for group, rows in groups.items()}
        elif source.endswith(".jsonl"):
            found = {}
            for file in source.split(","):
                rows = [row for _, row in requests.read(Path(file))]
                wrong = next((row for row in rows if isinstance(row, InputError)), None)
                if wrong is not None:
                    raise wrong
                found[file] = [r.input for r in rows if isinstance(r, requests.Request) and r.asks(name)]
        elif source.endswith(".json") or source.lstrip().startswith("{"):
            found = {"given": [json_argument(source)]}
        else:
            known = [view.name.replace("NETWORK", name) for view in views.VIEWS if view.kind == "requests"]
            raise InputError(
                f"{source!r} is no view of requests and no file .json or .jsonl"
                f"{did_you_mean(source, known) or ': such as ' + ', '.join(known[-3:])}"
            )
        if not any(found.values()):
            raise InputError(f"{source}: it has no request to {name}, which {self.name} answers")
        if fill and (lacking := _SIMULATED - sum(map(len, found.values()))) > 0:
            found["simulated"] = [*found.get("simulated", []), *self.row.prepare.requests(lacking, _SEED)]
        return found

    def _label(self, source: str | None, found: dict[str, list[Any]]) -> str:
        counts = ", ".join(f"{name} ({len(self.groups[name])})" for name in found if self.groups[name])
        is_name = source and not source.lstrip().startswith("{")
        return f"requests to {self.row.name}" + (f" by {source}: " if is_name else ": ") + counts

    @property
    def alone(self) -> dict[str, str]:
        """Keywords of the network's ``answer`` with which the model alone counts, and no log of the workspace."""
        takes_log = any(option.key == _LOG and option.part == "keyword" for option in self.row.answer.OPTIONS)
        return {_LOG: "none"} if takes_log else {}

    @property
    def caveat(self) -> str | None:
        """What to say where ``infer`` goes by this workspace's log too, which what is shown of the model does not."""
        has_log = (registry.workspace() / "datasets" / views.TABLES_NAME).is_dir()
        return _CAVEAT if self.alone and has_log else None

    @property
    def items(self) -> list[Item]:
        """All of them."""
        return [item for items in self.groups.values() for item in items]

    def item(self, request: Any) -> Item:
        """A request as the model sees it; :class:`InputError` for one that it cannot answer."""
        item: Item = self._reader.item(request)
        return item

    def changed(self, item: Item, request: Any) -> Item:
        """The item of a request that differs from ``item``'s in the values of its knobs alone."""
        found: Item = self._reader.changed(item, request)
        return found

    def knobs(self, item: Item) -> list[Knob]:
        """The fields of a request that may be changed, with their ranges."""
        found: list[Knob] = self._reader.knobs(item)
        return found

    def scores(self, item: Item, rows: Array) -> NDArray[np.float64]:
        """Scores ``[B, decisions, options]`` of changed inputs ``rows [B, tokens, width]``, by the engine."""
        parts = [
            item.scores(self.model.run(np.ascontiguousarray(item.batch(rows[i : i + _ROWS]))), np)
            for i in range(0, len(rows), _ROWS)
        ]
        return np.concatenate(parts).astype(np.float64)

    def choice(self, item: Item) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Per decision the option chosen, and the one that it is compared with."""
        scores = self.scores(item, item.x[None])[0]
        order = np.argsort(-scores, axis=1, kind="stable")
        rival = order[:, 1] if item.rival is None else np.full(len(order), item.rival)
        return order[:, 0], np.where(rival == order[:, 0], order[:, 1], rival)

    def lead(self, scores: Any, choice: tuple[NDArray[np.intp], NDArray[np.intp]]) -> Any:
        """How far the choice is ahead, as the mean over the decisions ``[B]``; of numpy's or torch's ``scores``."""
        decisions, (best, rival) = range(scores.shape[1]), choice
        total: Any = sum(scores[:, d, int(best[d])] - scores[:, d, int(rival[d])] for d in decisions)
        return total / len(decisions)
