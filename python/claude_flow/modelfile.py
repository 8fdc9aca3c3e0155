"""The model file: an ordinary ``.safetensors`` whose metadata key ``claude_flow`` holds everything else as JSON.

This module is the only reader and writer of the container in Python; docs/model_format.md describes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError

__all__ = ["FORMAT", "ModelFile", "read", "write"]

FORMAT = 1
_KEY = "claude_flow"


@dataclass
class ModelFile:
    """What a model file holds.

    ``program`` is the flat op list (int32 words, docs/model_format.md) that the engine runs; its operands name
    tensors by their place in ``program_tensors``. ``features`` is the schema that turns a request into inputs,
    ``calibration`` the constants that turn outputs into probabilities and intervals, ``provenance`` the card.
    """

    network: str
    config: dict[str, Any]
    program: list[int]
    program_tensors: list[str]
    tensors: dict[str, NDArray[Any]]
    precision: str = "fp32"
    features: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def write(path: str | Path, model: ModelFile) -> None:
    """Write a model file atomically: ``path`` holds the old content or the new, never a part."""
    from safetensors.numpy import save

    from claude_flow.registry import atomic_write

    header = {"format": FORMAT} | {name: getattr(model, name) for name in _FIELDS}
    text = json.dumps(header, separators=(",", ":"), allow_nan=False)
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in model.tensors.items()}
    atomic_write(Path(path), save(tensors, metadata={_KEY: text, "format": "claude-flow"}))


_FIELDS: dict[str, type] = {
    "network": str,
    "config": dict,
    "precision": str,
    "program": list,
    "program_tensors": list,
    "features": dict,
    "calibration": dict,
    "provenance": dict,
}


def read(path: str | Path, memory_mapping: bool = True) -> ModelFile:
    """Read a model file; half-precision tensors come back as float32.

    ``memory_mapping``: the tensors are views of the mapped file, which must then keep its content (this package
    replaces files, it never rewrites them); else the file is read into memory.

    Raises :class:`InputError` naming the file and the fault for anything that is not a model file of this format:
    truncated, wrong JSON, tensors that are missing, of another type or not finite.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as container:
            metadata = container.metadata() or {}
            if _KEY not in metadata:
                raise InputError(f"{path}: no claude_flow metadata, so this is not one of our model files")
            header = _header(path, metadata[_KEY])
            names = list(container.keys())
            views = mapped(path) if memory_mapping else {}
            tensors = {n: _tensor(path, n, views[n] if n in views else container.get_tensor(n)) for n in names}
    except SafetensorError as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); restore it or train it again") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such model file") from None
    except (OSError, MemoryError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    missing = [name for name in header["program_tensors"] if name not in tensors]
    if missing:
        raise InputError(f"{path}: tensor {missing[0]!r} is missing; the file is damaged")
    return ModelFile(tensors=tensors, **header)


def mapped(path: str | Path) -> dict[str, NDArray[Any]]:
    """The tensors of a container that safetensors has checked, as views of the file, which halves the time of a load;
    without those that lie askew in it."""
    content = np.memmap(path, np.uint8, "r")
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    views = {}
    for name, entry in json.loads(content[8:start].tobytes()).items():
        dtype = _DTYPES.get(entry.get("dtype", ""))
        if name != "__metadata__" and dtype:
            begin, end = entry["data_offsets"]
            view = np.asarray(content[start + begin : start + end]).view(dtype).reshape(entry["shape"])
            if view.flags.aligned:
                views[name] = view
    return views


_FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
_DTYPES: dict[str, type] = {**_FLOATS, "I64": np.int64, "I32": np.int32, "I8": np.int8, "BOOL": np.bool_}


def _header(path: str | Path, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its claude_flow metadata is not JSON ({error})") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else None
        raise InputError(f"{path}: model format {found!r}, but this version reads {FORMAT}; export the model again")
    for name, kind in _FIELDS.items():
        if not isinstance(header.get(name), kind):
            raise InputError(f"{path}: metadata field {name!r} is not a {kind.__name__}; the file is damaged")
    int32 = range(-(2**31), 2**31)
    if not all(type(word) is int and word in int32 for word in header["program"]):
        raise InputError(f"{path}: the program holds a word that is not a 32-bit integer; the file is damaged")
    if not all(isinstance(name, str) for name in header["program_tensors"]):
        raise InputError(f"{path}: program_tensors is not a list of names; the file is damaged")
    return {name: header[name] for name in _FIELDS}


def _tensor(path: str | Path, name: str, tensor: NDArray[Any]) -> NDArray[Any]:
    if tensor.dtype == np.float16:
        tensor = tensor.astype(np.float32)
    if tensor.dtype == np.float32:
        # A sum is finite only if every term is; overflow of honest values is settled by the slow check.
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(tensor.sum()) or np.isfinite(tensor).all()
        if not finite:
            raise InputError(f"{path}: tensor {name!r} holds NaN or infinity; the training that wrote it diverged")
    elif tensor.dtype not in (np.int8, np.int32):
        raise InputError(f"{path}: tensor {name!r} has type {tensor.dtype}; model files hold F32, F16, I8 and I32")
    return tensor
