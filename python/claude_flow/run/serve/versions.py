"""The models that answer, switched to another version while requests run.

A name means its current version (``version create``, ``version rollback``). A thread looks at the folders of the
workspace's models fifty times a second; where one changed, names are looked up again, the new version is loaded beside
the old one, and from then on it answers. A request runs to its end with the version that it began with. The version
that a rollback would take is loaded in advance. A canary (``maintain``) answers its share of the requests, and no more.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from claude_flow import networks, registry, runtime
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.model import Model, load_as
from claude_flow.values import did_you_mean

__all__ = ["Versions"]

_PAUSE = 0.02  # seconds between two looks
_FRESH_NS = 1_000_000_000  # a folder that changed so lately may have changed twice within one tick of the file's clock
_KEPT_BYTES = 512 << 20  # of model files whose models stay loaded


@dataclass
class _Canary:
    """A version on trial, its share of the requests, how many were asked since this server knows it, and how many of
    them it answered."""

    model: Model
    share: float
    asked: int = 0
    answered: int = 0


class Versions:
    """Names of models, and of networks for the newest model of each, to loaded models.

    Args:
        names: the models that may be asked; the first of a network is the one that answers where a request names none.
            None: the newest of every network, and whatever else the registry has.
        told: hears in words of every switch (``True``), and of what could not be loaded (``False``).
        options: ``backend`` and ``threads``, by default the workspace's.

    Raises:
        InputError: there is no such model.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        told: Callable[[bool, str], None] = lambda switched, words: None,
        **options: Any,
    ) -> None:
        chosen = {name: value for name, value in options.items() if value is not None}
        self._settings = replace(runtime.read(), **chosen)
        self._told = told
        self._cache: runtime.Cache[Model] = runtime.Cache(_KEPT_BYTES)
        #: network -> the name that its default model was chosen by (None: the newest), and name -> model
        self._defaults: dict[str, str | None] = {}
        self._models: dict[tuple[str, str | None], Model] = {}
        self._canaries: dict[tuple[str, str | None], _Canary] = {}
        self._only = tuple(names)
        self._wrong: dict[tuple[str, str | None], str] = {}
        for name in names or networks.NETWORKS:
            newest = name in networks.NETWORKS and name not in registry.models()
            model = self._load(registry.newest_model(name) if newest else registry.model_path(name))
            self._defaults.setdefault(model.network, None if newest else name)
            self._models[model.network, None if newest else name] = model
        self._ended = threading.Event()
        self._state = _state()
        for key in self._models:
            self._try(key)
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)
        self._thread.start()

    def get(self, network: str, name: str | None = None, count: int = 1) -> Model:
        """The model that answers ``count`` requests of ``network`` that ask for ``name``, which may be a canary's turn:
        it never gets more than its share. One thread asks. Raises :class:`InputError`."""
        if canary := self._canaries.get((network, self._defaults.get(network) if name is None else name)):
            canary.asked += count
            if canary.answered + count <= canary.share * canary.asked:
                canary.answered += count
                return canary.model
        return self.meant(network, name)

    def meant(self, network: str, name: str | None = None) -> Model:
        """The model that a name means, whoever's turn it is. Raises :class:`InputError`."""
        if network not in self._defaults:
            raise InputError(f"{network} is not served here: {', '.join(self._defaults)} are")
        model = self._models.get((network, self._defaults[network] if name is None else name))
        if model is None:
            if self._only:
                raise InputError(f"model: {name!r} is not served here: {', '.join(self._only)} are")
            model = self._load(_registered(str(name)))
            networks.get(network).check(model)
        return model

    def current(self) -> dict[str, str]:
        """Network -> the model that answers where a request names none."""
        return {name: registry.model_name(self.meant(name).path) for name in self._defaults}

    def wrong(self) -> list[str]:
        """What could not be switched to, in words; the older versions answer."""
        return list(self._wrong.values())

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _load(self, path: Path) -> Model:
        return self._cache.get(path, None, lambda: load_as(path, self._settings))

    def _watch(self) -> None:
        self._before()
        while not self._ended.wait(_PAUSE):
            state = _state()
            if state != self._state or max(state.values(), default=0) > time.time_ns() - _FRESH_NS:
                self._state = state
                self._switch()
                self._before()

    def _switch(self) -> None:
        """Look every name up again; what cannot be loaded leaves the old version in its place."""
        for key, model in list(self._models.items()):
            network, name = key
            try:
                path = registry.newest_model(network) if name is None else registry.model_path(name)
                new = self._load(path)
                networks.get(network).check(new)
                self._wrong.pop(key, None)
            except (ClaudeFlowError, OSError) as error:
                words = f"{name or network}: {error}: {registry.model_name(model.path)} goes on answering"
                if self._wrong.get(key) != words:
                    self._wrong[key] = words
                    self._told(False, words)
                continue
            if new is not model:
                self._canaries.pop(key, None)  # it ended with what it was tried beside
                self._models[key] = new  # one assignment: a reader sees the old one or the new one
                self._told(True, f"{registry.model_name(new.path)} answers {network} now")
            self._try(key)

    def _try(self, key: tuple[str, str | None]) -> None:
        """Take up the canary of a name without a version, or end it."""
        network, name = key
        base, _, version = registry.model_name(self._models[key].path).partition("/")
        trial = registry.canary(base) if version and "/" not in (name or "") else None
        known = self._canaries.get(key)
        if trial is None:
            self._canaries.pop(key, None)
            return
        try:
            model = self._load(registry.model_path(f"{base}/{trial['version']}"))
            networks.get(network).check(model)
        except (ClaudeFlowError, OSError) as error:
            self._canaries.pop(key, None)
            self._told(False, f"{base}/{trial['version']}: {error}: it answers no share of the requests")
            return
        if known is None or known.model is not model or known.share != trial["share"]:
            self._canaries[key] = _Canary(model, float(trial["share"]))
            self._told(True, f"{registry.model_name(model.path)} answers {trial['share']:.0%} of {network} now")

    def _before(self) -> None:
        """Load what a rollback would take: the version that a name meant before, else the next lower one."""
        for model in list(self._models.values()):
            name, _, version = registry.model_name(model.path).partition("/")
            if not version:
                continue
            try:
                known = registry.versions(name)
                meant = [entry["version"] for entry in registry.history(name)[:-1] if entry.get("version") in known]
                lower = known[: known.index(version)] if version in known else []
                for other in (meant or lower)[-1:]:
                    self._load(registry.model_path(f"{name}/{other}"))
            except (ClaudeFlowError, OSError):  # it is told when it is asked for
                continue


def _registered(name: str) -> Path:
    """The file of a model of the registry: a request's name is no path, or whoever may ask could look for files."""
    base, _, version = name.partition("/")
    known = registry.models()
    if base not in known or (version and version not in registry.versions(base)):
        raise InputError(f"there is no model {name!r}{did_you_mean(name, known)}")
    return registry.model_path(name)


def _state() -> dict[str, int]:
    """When each folder of the workspace's models last changed: a new version and a new pointer change it."""
    folder = registry.workspace() / "models"
    found = {}
    try:
        found["."] = folder.stat().st_mtime_ns
        with os.scandir(folder) as entries:
            for entry in entries:
                found[entry.name] = entry.stat().st_mtime_ns
    except OSError:  # no workspace yet, or a folder that went away
        pass
    return found
