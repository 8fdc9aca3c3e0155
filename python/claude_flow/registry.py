"""Names to things: models, datasets and configurations of the workspace, and what ships with the package.

The workspace is ``$CLAUDE_FLOW_HOME``, else ``.claude-flow/neural/`` under ``$CLAUDE_PROJECT_DIR``, else under the
nearest parent of the current folder that has one, else under the current folder::

    models/NAME/VERSION/model.safetensors, card.json
    models/NAME/current.json                              which version NAME means, and what it meant before;
                                                          without it the highest. Maybe a canary: another version
                                                          that answers a share of the requests
    datasets/NAME/manifest.json, ...
    configs/NAME.json
    runs/
    turns/NAME.json                                       how many requests a canary was tried on

A name is looked up as an existing path, then in the workspace, then among the built-ins.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from claude_flow import files, schema
from claude_flow.errors import InputError
from claude_flow.files import atomic_folder
from claude_flow.values import did_you_mean, read_json, valid_name

__all__ = [
    "CANDIDATE",
    "add_model",
    "asked",
    "built_in",
    "built_in_configs",
    "canary",
    "config_path",
    "current",
    "dataset_path",
    "datasets",
    "history",
    "locked",
    "model_card",
    "model_name",
    "model_path",
    "models",
    "newest_model",
    "passed_over",
    "point",
    "runs_dir",
    "takes",
    "try_out",
    "turns",
    "versions",
    "workspace",
]

_BUILT_IN = Path(__file__).parent
_MODEL, _CARD, _POINTER = "model.safetensors", "card.json", "current.json"
#: a model whose name ends so is on trial: nothing takes it unless it is named
CANDIDATE = "-candidate"
_CARD_FIELDS = schema.Record({"network": schema.Text()}, free=True)


def workspace() -> Path:
    """The workspace folder, as this module's description says. It need not exist."""
    if home := os.environ.get("CLAUDE_FLOW_HOME"):
        return Path(home)
    own = Path(".claude-flow", "neural")
    if project := os.environ.get("CLAUDE_PROJECT_DIR"):
        return Path(project) / own
    here = Path.cwd()
    above = next((folder / own for folder in here.parents if (folder / own).is_dir()), own)
    return own if own.is_dir() else above


def runs_dir() -> Path:
    """The folder of training runs, made if need be."""
    path = workspace() / "runs"
    path.mkdir(parents=True, exist_ok=True)
    return path


# Look-up ------------------------------------------------------------------------------------------------


def model_path(name: str) -> Path:
    """The model file that ``name`` stands for: a path, ``NAME`` (its latest version), or ``NAME/VERSION``.

    Raises:
        InputError: no such model; the message names near matches and how to make one.
    """
    path = Path(name)
    if path.is_dir() and (path / _MODEL).is_file():
        return path / _MODEL
    if path.is_file():
        return path
    base, _, version = name.partition("/")
    if _is_name(base) and (not version or _is_version(version)):
        known_versions = _versions(base)
        if version in known_versions or (known_versions and not version):
            return workspace() / "models" / base / (version or current(base)) / _MODEL
        shipped = built_in(base)
        if not version and shipped:
            return shipped
        if known_versions:
            known = ", ".join(known_versions)
            raise InputError(f"the model {base!r} has no version {version!r}: it has {known}")
    recipe = _BUILT_IN / "configs" / f"{base}.json"
    if _is_name(base) and recipe.is_file():  # its model is too large to ship
        (about,) = json.loads(recipe.read_text("utf-8"))
        make = f"claude-flow neural train {about.removesuffix('-training')} --config {base} --output {base}"
        raise InputError(f"the model {name!r} is not made yet (to make it: {make})")
    known_names = [*_folders("models"), *_built_ins("models", ".safetensors")]
    raise _unknown("model", name, known_names, "claude-flow neural train coordination --output NAME")


def newest_model(network: str) -> Path:
    """The model of a command that is told none: the workspace's newest of ``network``, else a built-in.

    Newest is by the time its card was written, or its name was pointed at it. Candidates are left out. Raises
    InputError if there is none.
    """
    found: list[tuple[int, Path]] = []
    for name in _folders("models"):
        for version in [current(name)] if _versions(name) and not name.endswith(CANDIDATE) else []:
            folder = workspace() / "models" / name / version
            if _is_for(folder, network):
                times = [
                    file.stat().st_mtime_ns for file in (folder / _CARD, folder.parent / _POINTER) if file.exists()
                ]
                found.append((max(times), folder / _MODEL))
    if found:
        return max(found)[1]
    shipped = [name for name in _built_ins("models", ".safetensors") if name.startswith(network)]
    if shipped:
        return _BUILT_IN / "models" / f"{max(shipped)}.safetensors"
    raise InputError(f"there is no {network} model: train one with  claude-flow neural train {network}")


def passed_over(network: str) -> list[str]:
    """What a user should know who expects a newer model than :func:`newest_model` takes: versions without their file,
    cards that cannot be read."""
    notes = []
    for name in _folders("models"):
        complete = _versions(name)
        if (workspace() / "models" / name / _POINTER).is_file():  # its owner says which version it is
            continue
        for folder in sorted((workspace() / "models" / name).iterdir()):
            if not _is_version(folder.name) or (complete and _order(folder.name) < _order(complete[-1])):
                continue
            try:
                of = model_card(folder / _MODEL).get("network")
            except InputError as error:
                notes.append(f"{name}/{folder.name} is passed over: its card cannot be read ({error})")
                continue
            if of == network and folder.name not in complete:
                instead = f"{name}/{complete[-1]}" if complete else "another one"
                notes.append(f"{name}/{folder.name} has no {_MODEL}: {instead} answers")
    return notes


def _is_for(folder: Path, network: str) -> bool:
    try:
        return bool(model_card(folder / _MODEL).get("network") == network)
    except InputError:  # passed_over says so
        return False


def current(name: str) -> str:
    """The version that the workspace model ``name`` means: the one it points to, else the highest.

    Raises:
        InputError: the workspace has no such model, or what it points to is gone.
    """
    found = _versions(name)
    if not found:
        raise _unknown("model", name, _folders("models"), "claude-flow neural version create")
    pointed = history(name)
    if not pointed:
        return found[-1]
    version = str(pointed[-1].get("version"))
    if version not in found:
        raise InputError(f"the model {name} points to version {version}, which is gone: it has {', '.join(found)}")
    return version


def history(name: str) -> list[dict[str, Any]]:
    """What the workspace model ``name`` has pointed to, the current one last: version, time (UTC), who, why."""
    path = workspace() / "models" / name / _POINTER
    if not path.is_file():
        return []
    found = read_json(path)
    entries = found.get("history") if isinstance(found, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: it holds no history: delete it, and the name means its highest version again")
    return entries


def versions(name: str) -> list[str]:
    """The versions of a workspace model, lowest first; none where there is no such model."""
    return _versions(name)


def point(name: str, version: str, why: str) -> list[dict[str, Any]]:
    """Make the workspace model ``name`` mean ``version``; returns its history.

    Raises:
        InputError: there is no such version.
    """
    with locked():
        if version not in _versions(name):
            known = ", ".join(_versions(name)) or "none"
            raise InputError(f"the model {name!r} has no version {version!r}: it has {known}")
        return _point(name, version, why)


def _point(name: str, version: str, why: str) -> list[dict[str, Any]]:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    entries = [*history(name), {"version": version, "time": now, "who": getpass.getuser(), "why": why}]
    _write_pointer(name, {"history": entries})  # a canary ends with what it was tried beside
    return entries


def _write_pointer(name: str, value: dict[str, Any]) -> None:
    files.atomic_write(workspace() / "models" / name / _POINTER, json.dumps(value, indent=1) + "\n")


# A version on trial ---------------------------------------------------------------------------------------


def canary(name: str) -> dict[str, Any] | None:
    """The version of the workspace model ``name`` that answers a share of its requests, or None: ``version``,
    ``share``, ``time`` (UTC), ``why``."""
    path = workspace() / "models" / name / _POINTER
    found = read_json(path) if path.is_file() else None
    trial = found.get("canary") if isinstance(found, dict) else None
    if not isinstance(trial, dict) or trial.get("version") not in _versions(name):
        return None
    share = trial.get("share")
    return trial if isinstance(share, (int, float)) and 0 < share < 1 else None


def try_out(name: str, version: str | None, share: float, why: str) -> None:
    """Let ``version`` of a workspace model answer a ``share`` of the requests that ask for ``name``; None ends that.

    Raises:
        InputError: there is no such version, it is the current one, or the share is not between 0 and 1.
    """
    with locked():
        entries = history(name)
        if version is None:
            if canary(name):
                _write_pointer(name, {"history": entries})
            return
        if version not in _versions(name) or version == current(name):
            raise InputError(f"the model {name!r} has no other version {version!r} to try")
        if not 0 < share < 1:
            raise InputError(f"a canary's share lies between 0 and 1, not {share:g}")
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        trial = {"version": version, "share": share, "time": now, "why": why}
        # Without a history the highest version would be meant, which may be the one on trial.
        started = {"version": current(name), "time": now, "who": getpass.getuser(), "why": "a canary is tried"}
        _write_pointer(name, {"history": entries or [started], "canary": trial})


def takes(number: int, share: float) -> bool:
    """Whether the canary answers request ``number`` (from 1): of any first n requests it gets ``floor(n * share)``.

    >>> [number for number in range(1, 11) if takes(number, 0.3)]
    [4, 7, 10]
    """
    return int(number * share + 1e-9) > int((number - 1) * share + 1e-9)


def asked(path: Path) -> Path:
    """The file that answers one request for ``path``; see :func:`turns`."""
    return turns(path, 1)[0]


def turns(path: Path, count: int) -> list[Path]:
    """The files that answer ``count`` requests for ``path``, what a name without a version stands for: the canary's
    where it is its turn. Turns are counted across processes, so that the canary never gets more than its share."""
    name = path.parent.parent.name
    if path.name != _MODEL or path.parent.parent.parent != workspace() / "models" or (trial := canary(name)) is None:
        return [path] * count
    counter, version = workspace() / "turns" / f"{name}.json", trial["version"]  # servers watch the models' folders
    with files.locked(counter.with_name(f".{name}.lock")):
        try:
            found = json.loads(counter.read_bytes())
            before = int(found["number"]) if found["of"] == version else 0
        except (OSError, ValueError, KeyError, TypeError):  # the first, or one that was cut off: the count begins anew
            before = 0
        counter.write_text(json.dumps({"of": version, "number": before + count}), "utf-8")  # not synced: it is no loss
    other = path.parent.parent / version / _MODEL
    return [other if takes(before + 1 + i, float(trial["share"])) else path for i in range(count)]


def built_in(name: str) -> Path | None:
    """The model file that ships under ``name``, or None."""
    path = _BUILT_IN / "models" / f"{name}.safetensors"
    return path if path.is_file() else None


def model_name(path: Path) -> str:
    """What a model file is called: ``NAME/VERSION`` in the workspace, else its file's name.

    >>> model_name(Path("models/coordination/1.0.0/model.safetensors")), model_name(Path("coordination-v3.safetensors"))
    ('coordination/1.0.0', 'coordination-v3')
    """
    return "/".join(path.parts[-3:-1]) if path.name == _MODEL else path.stem


def model_card(model: Path) -> dict[str, Any]:
    """The card beside a model file, or an empty one; :class:`InputError` for a damaged one."""
    card = model.parent / _CARD
    if model.name != _MODEL or not card.is_file():
        return {}
    found: dict[str, Any] = schema.check(read_json(card), _CARD_FIELDS, f"{files.printable(card)}:")
    return found


def dataset_path(name: str) -> Path:
    """The folder of the dataset ``name``: a path of a folder with a ``manifest.json``, or a name.

    Raises:
        InputError: no such dataset; the message names near matches and how to make one.
    """
    for folder in (Path(name), *([workspace() / "datasets" / name] if _is_name(name) else [])):
        if (folder / "manifest.json").is_file():
            return folder
    if Path(name).exists():
        raise InputError(f"{name} is not a dataset: it has no manifest.json (claude-flow neural data collect)")
    make = "claude-flow neural data collect, then data preprocess"
    raise _unknown("dataset", name, [folder.name for folder in datasets()], make)


def datasets() -> list[Path]:
    """The folders of all datasets of the workspace, by name."""
    folders = [workspace() / "datasets" / name for name in _folders("datasets")]
    return [folder for folder in folders if (folder / "manifest.json").is_file()]


def models() -> dict[str, list[Path]]:
    """The files of all models by name: a workspace model's versions, the highest last, or the one built in."""
    found = {name: [_BUILT_IN / "models" / f"{name}.safetensors"] for name in _built_ins("models", ".safetensors")}
    for name in _folders("models"):
        if known := versions(name):
            found[name] = [workspace() / "models" / name / version / _MODEL for version in known]
    return dict(sorted(found.items()))


def config_path(name: str) -> Path:
    """The configuration file ``name``: a path, or a name (``.json`` or not) in the workspace or built in.

    Raises:
        InputError: no such configuration; the message names near matches.
    """
    if Path(name).is_file():
        return Path(name)
    base = name.removesuffix(".json")
    places = [workspace() / "configs", _BUILT_IN / "configs"]
    for place in places if _is_name(base) else []:
        if (place / f"{base}.json").is_file():
            return place / f"{base}.json"
    known = [file.stem for place in places for file in place.glob("*.json")]
    raise _unknown("configuration", name, known, f"write it to {places[0]}/NAME.json, or give a path")


def built_in_configs(network: str) -> list[Path]:
    """The configurations that ship with the package for a network, the newest last."""
    return sorted((_BUILT_IN / "configs").glob(f"{network}-v*.json"))


def _unknown(kind: str, name: str, known: list[str], make: str) -> InputError:
    near = did_you_mean(name.rpartition("/")[2], known)
    return InputError(f"there is no {kind} {name!r}{near} (to make one: {make})")


def _is_name(text: str) -> bool:
    try:
        return bool(valid_name(text))
    except InputError:
        return False


def _is_version(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 3 and all(part.isascii() and part.isdigit() and len(part) < 7 for part in parts)


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _versions(name: str) -> list[str]:
    """The versions of a workspace model, lowest first."""
    folder = workspace() / "models" / name
    found = [child.parent.name for child in folder.glob(f"*/{_MODEL}")]
    return sorted(filter(_is_version, found), key=_order)


def _folders(kind: str) -> list[str]:
    folder = workspace() / kind
    return sorted(child.name for child in folder.iterdir() if _is_name(child.name)) if folder.is_dir() else []


def _built_ins(kind: str, suffix: str) -> list[str]:
    return sorted(file.name.removesuffix(suffix) for file in (_BUILT_IN / kind).glob(f"*{suffix}"))


# Writing ------------------------------------------------------------------------------------------------


def add_model(
    name: str,
    version: str | None,
    model_file: Path,
    card: dict[str, Any],
    beside: Sequence[Path] = (),
    *,
    points: bool | None = None,
    why: str = "added",
) -> Path:
    """Copy ``model_file`` and its ``card`` into the workspace as NAME/VERSION; return the new model's path.

    Args:
        version: three numbers such as "3.2.1"; None = the next minor one after the latest, at first 1.0.0.
        beside: files that are copied into its folder.
        points: whether the name is to point to the new version; None: if it points somewhere now.
        why: for the history of what the name means.

    Raises:
        InputError: a malformed name or version, or one that exists.
    """
    valid_name(name, "model name")
    if version is not None and not _is_version(version):
        raise InputError(f"{version!r} is not a version: write three numbers such as 3.2.1")
    with locked():
        had = _versions(name)
        if version is None:
            major, minor, _ = _order(had[-1]) if had else (1, -1, 0)
            version = f"{major}.{minor + 1}.0"
        target = workspace() / "models" / name / version
        if target.exists():
            raise InputError(f"the model {name} has a version {version} already")
        with atomic_folder(target) as folder:
            shutil.copyfile(model_file, folder / _MODEL)
            for file in beside:
                shutil.copyfile(file, folder / file.name)
            (folder / _CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", "utf-8")
        if history(name) if points is None else points:
            _point(name, version, why)
    return target / _MODEL


def locked(timeout: float = 10.0) -> contextlib.AbstractContextManager[None]:
    """Hold the workspace's lock: one process at a time changes the registry.

    Raises:
        ClaudeFlowError: another process held it for ``timeout`` seconds.
    """
    return files.locked(workspace() / ".lock", timeout)
