"""The container: an ordinary ``.safetensors`` whose metadata key ``claude_flow`` holds everything else as JSON.

This module is its only reader and writer in Python; docs/model_format.md describes it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError
from claude_flow.modelfile.file import ModelFile
from claude_flow.modelfile.layout import Layout, Packed, kinds
from claude_flow.modelfile.ops import Kind
from claude_flow.modelfile.program import Program

__all__ = ["FORMAT", "encoded", "mapped", "read", "write"]

FORMAT = 1
_MAX_HEADER_BYTES = 8 << 20  # ours have some 30 KB; in JavaScript JSON of hostile content takes 40 times its length
_KEY = "claude_flow"


def write(path: str | Path, model: ModelFile, alignment: int = 64) -> None:
    """Write a model file atomically: ``path`` holds the old content or the new, never a part."""
    from claude_flow.files import atomic_write

    atomic_write(Path(path), encoded(model, alignment))


def encoded(model: ModelFile, alignment: int = 64) -> bytes:
    """The bytes of a model file.

    Prepacked weights begin at multiples of ``alignment`` bytes in the file, if their sizes are multiples of it: the
    library's own writer knows 8 bytes only, and a vector that straddles two cache lines costs two reads.
    """
    header = {"format": FORMAT} | {name: getattr(model, name) for name in _FIELDS}
    packed = {name: tensor for name, tensor in model.tensors.items() if isinstance(tensor, Packed)}
    if packed:
        layout = next(iter(packed.values())).layout
        matrices = {name: [tensor.rows, tensor.columns] for name, tensor in packed.items()}
        header["layout"] = asdict(layout) | {"matrices": matrices}
    text = json.dumps(header, separators=(",", ":"), allow_nan=False)
    arrays = {n: np.ascontiguousarray(t.data if isinstance(t, Packed) else t) for n, t in model.tensors.items()}
    if model.precision == "int4":  # its scales are numbers of half precision: 1/4 instead of 1/2 bit per weight
        program = model.parse()
        scales = [program.tensors[o[key]] for code, o in program.ops if code.bits == 4 for key in code.scales.values()]
        arrays |= {name: arrays[name].astype(np.float16) for name in scales}
    # Packed ones first, then by the size of an element, so that all of them are aligned to that.
    names = sorted(arrays, key=lambda n: (n not in packed, -arrays[n].itemsize, n))
    entries: dict[str, Any] = {"__metadata__": {"format": "claude-flow", _KEY: text}}
    end = 0
    for name in names:
        begin, end = end, end + arrays[name].nbytes
        dtype = next(word for word, kind in _DTYPES.items() if arrays[name].dtype == kind)
        entries[name] = {"dtype": dtype, "shape": arrays[name].shape, "data_offsets": [begin, end]}
    head = json.dumps(entries, separators=(",", ":")).encode()
    head += b" " * (-(8 + len(head)) % alignment)
    return b"".join([len(head).to_bytes(8, "little"), head, *(arrays[name].tobytes() for name in names)])


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


def read(path: str | Path, memory_mapping: bool = True, packed: bool = False) -> ModelFile:
    """Read a model file; half-precision tensors come back as float32.

    ``memory_mapping``: the tensors are views of the mapped file, which must then keep its content (this package
    replaces files, it never rewrites them); else the file is read into memory.
    ``packed``: prepacked weights come as they are, :class:`claude_flow.modelfile.layout.Packed`; else as the matrices
    that they were.

    Raises :class:`InputError` naming the file and the fault for anything that is not a model file of this format:
    truncated, wrong JSON, tensors that are missing, of another type or not finite, a layout that does not hold.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb") as start:
            size = int.from_bytes(start.read(8), "little")
        if _MAX_HEADER_BYTES < size <= os.stat(path).st_size:
            raise InputError(f"{path}: its safetensors header has more than {_MAX_HEADER_BYTES} bytes")
        with safe_open(path, framework="numpy") as container:
            metadata = container.metadata() or {}
            if _KEY not in metadata:
                raise InputError(f"{path}: no claude_flow metadata, so this is not one of our model files")
            header = _header(path, metadata[_KEY])
            names = list(container.keys())
            views = mapped(path) if memory_mapping else {}
            tensors: dict[str, Any] = {
                n: _tensor(path, n, views[n] if n in views else container.get_tensor(n)) for n in names
            }
    except SafetensorError as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); restore it or train it again") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such model file") from None
    except (OSError, MemoryError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except (TypeError, AttributeError, ValueError) as error:  # what safetensors' NumPy side makes of BF16, F8, rank 65
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: a tensor that NumPy cannot hold ({error}); model files hold F32, F16, I8 and I32"
        ) from None
    missing = [name for name in header["program_tensors"] if name not in tensors]
    if missing:
        raise InputError(f"{path}: tensor {missing[0]!r} is missing; the file is damaged")
    _check_precision(path, header)
    layout = header.pop("layout")
    for name, tensor in _packed(path, header, tensors, layout).items():
        tensors[name] = tensor if packed else tensor.matrix()
    return ModelFile(tensors=tensors, **header)


def _check_precision(path: str | Path, header: dict[str, Any]) -> None:
    """The precision must be what the program's ops are of."""
    try:
        ops = Program.parse(header["program"], header["program_tensors"]).ops
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    least = min((code.bits for code, _ in ops), default=32)
    found = "fp32" if least == 32 else f"int{least}"
    if header["precision"] != found:
        raise InputError(
            f"{path}: its precision is {header['precision']!r}, its program's {found!r}; the file is damaged"
        )


def _packed(
    path: str | Path, header: dict[str, Any], tensors: dict[str, NDArray[Any]], stored: Any
) -> dict[str, Packed]:
    """The prepacked tensors that a file's layout names, checked."""
    if stored is None:
        return {}

    def damaged(what: str) -> InputError:
        return InputError(f"{path}: its layout {what}; the file is damaged, pack the model again")

    if not isinstance(stored, dict) or set(stored) != {"isa", "tile_columns", "lstm_units", "matrices"}:
        raise damaged("is not isa, tile_columns, lstm_units and matrices")
    sizes, matrices = (stored["tile_columns"], stored["lstm_units"]), stored["matrices"]
    if not all(type(size) is int and 1 <= size <= 1024 for size in sizes):
        raise damaged(f"has panels of {sizes[0]!r} columns and blocks of {sizes[1]!r} units")
    if not isinstance(matrices, dict) or not isinstance(stored["isa"], str):
        raise damaged("names no instruction set, or lists no matrices")
    layout, found = Layout(stored["isa"], *sizes), {}
    try:
        readers = kinds(Program.parse(header["program"], header["program_tensors"]))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    for name, shape in matrices.items():
        if name not in readers or name not in tensors:
            raise damaged(f"names {name!r}, which is no weight of the program")
        whole = isinstance(shape, list) and len(shape) == 2 and all(type(n) is int and 1 <= n < 2**20 for n in shape)
        if not whole or (readers[name] is not Kind.PRODUCT and shape[0] % 4):
            raise damaged(f"gives {name!r} the shape {shape!r}")
        tensor = tensors[name]
        wanted = layout.shape(readers[name], tensor.dtype, *shape)
        if tensor.dtype not in (np.float32, np.int8) or tensor.shape != wanted:
            raise damaged(f"wants {name!r} as {list(wanted)}, not {tensor.dtype} {list(tensor.shape)}")
        found[name] = Packed(tensor, readers[name], layout, *shape)
        if not found[name].padding_is_zero():
            raise damaged(f"pads {name!r} with something else than 0")
    return found


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


def _integer(text: str) -> int | float:
    return int(text) if len(text) < 400 else float(text)  # infinity, as for any reader of JSON with floats alone


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _header(path: str | Path, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text, parse_constant=_refused, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its claude_flow metadata is not JSON ({error})") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT or header["format"] is True:
        found = header.get("format") if isinstance(header, dict) else None
        raise InputError(f"{path}: model format {found!r}, but this version reads {FORMAT}; export the model again")
    for name, kind in _FIELDS.items():
        if not isinstance(header.get(name), kind):
            raise InputError(f"{path}: metadata field {name!r} is not a {kind.__name__}; the file is damaged")
    header["program"] = _whole(header["program"])
    int32 = range(-(2**31), 2**31)
    if not all(type(word) is int and word in int32 for word in header["program"]):
        raise InputError(f"{path}: the program holds a word that is not a 32-bit integer; the file is damaged")
    if not all(isinstance(name, str) for name in header["program_tensors"]):
        raise InputError(f"{path}: program_tensors is not a list of names; the file is damaged")
    return {name: header[name] for name in _FIELDS} | {"layout": _whole(header.get("layout"))}


def _whole(value: Any) -> Any:
    """With 1 for 1.0, which JavaScript cannot tell apart: both must read a file alike."""
    if isinstance(value, list):
        return [_whole(part) for part in value]
    if isinstance(value, dict):
        return {name: _whole(part) for name, part in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
