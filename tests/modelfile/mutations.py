"""A corpus of mutated model files, the same on every machine: what a disk, a network, another writer or malice make of
a good one. The Python loader and the JavaScript loader must judge each alike (tests/wasm/test_mutations.py)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load as load_tensors

__all__ = ["bases", "corpus"]

_VALUES: tuple[Any, ...] = (None, True, -1, 0, 1.5, 1e300, "", "x", "é\u0000", [], [[]], [1], {}, {"a": 1})
_WORDS = (-(2**31), -2, -1, 0, 1, 2, 3, 7, 10, 255, 65535, 65536, 2**31 - 1, 2**31, 1.0, 1.5, True, None, "1")
_LENGTHS = (0, 1, 7, 2**16, 2**31, 2**32, 2**53, 2**63, 2**64 - 1)


class Parts(NamedTuple):
    """A model file taken apart: ``entries`` of the container, the ``fields`` of our metadata, the bytes behind."""

    entries: dict[str, Any]
    fields: dict[str, Any]
    body: bytes

    @classmethod
    def of(cls, content: bytes) -> Parts:
        start = 8 + int.from_bytes(content[:8], "little")
        entries = json.loads(content[8:start])
        return cls(entries, json.loads(entries.pop("__metadata__")["claude_flow"]), content[start:])

    def whole(self, **changes: Any) -> bytes:
        """The file with other ``entries``, ``fields`` (or their text), ``metadata`` or ``body``."""
        parts = {"entries": self.entries, "fields": self.fields, "body": self.body} | changes
        fields = parts["fields"]
        text = fields if isinstance(fields, str) else json.dumps(fields, separators=(",", ":"))
        metadata = parts.get("metadata", {"claude_flow": text})
        return container(json.dumps({"__metadata__": metadata, **parts["entries"]}).encode(), parts["body"])


def container(header: bytes, body: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + body


def bases(folder: Path) -> dict[str, bytes]:
    """Small good files: a coordination network, one of 8 bits, of 4 bits, and with prepacked weights."""
    import torch

    from claude_flow import export, modelfile, nets
    from claude_flow.modelfile import layout
    from claude_flow.modelfile.quantize import products, quantize

    torch.manual_seed(0)
    sizes = {"width": 16, "heads": 2, "feed_forward": [16], "output_width": 16}
    tiny = {"coordination": sizes, "prediction": {"width": 6, "layers": 2}, "optimization": {"hidden": [6]}}
    for network, config in tiny.items():
        export.save(nets.create(network, config).eval(), folder / network)
    modelfile.write(folder / "int8", quantize(modelfile.read(folder / "prediction")))
    plain = modelfile.read(folder / "prediction")
    modelfile.write(folder / "int4", quantize(plain, four=products(plain)))
    # In the order of WebAssembly's modules.
    order = layout.Layout("relaxed", 16, 4)
    modelfile.write(folder / "packed", layout.pack(modelfile.read(folder / "int8"), order))
    return {name: (folder / name).read_bytes() for name in ("coordination", "optimization", "int8", "int4", "packed")}


def corpus(files: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """``(name, content)`` of every mutation, after the good files themselves."""
    yield from files.items()
    one = next(iter(files.values()))
    size = 8 + int.from_bytes(one[:8], "little")
    yield "a header of 9 MB", container(one[8:size].rstrip() + b" " * (9 << 20), one[size:])
    for name, content in files.items():
        for kind in (_containers, _entries, _metadata, _fields, _programs, _tensors, _layouts, _bits):
            for what, mutated in kind(content, random.Random(f"{name} {kind.__name__}")):
                yield f"{name}, {what}", mutated


def _containers(content: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    size = int.from_bytes(content[:8], "little")
    header, body = content[8 : 8 + size], content[8 + size :]
    for length in (*_LENGTHS, size - 1, size + 1, len(content) - 8, len(content) - 7):
        yield f"header of {length} bytes", length.to_bytes(8, "little") + content[8:]
    for end in (0, 3, 8, 9, 8 + size - 1, 8 + size, 8 + size + 1, len(content) - 1, chance.randrange(len(content))):
        yield f"cut at {end}", content[:end]
    yield "more behind", content + b"\0"
    first = b'"dtype":"'
    for what, text in {
        "a tensor twice": header.rstrip()[:-1] + b"," + _last_entry(header) + b"}",
        "a key of an entry twice": header.replace(first, b'"dtype":"F64",' + first, 1),
        "the metadata twice": header.replace(b"{", b'{"__metadata__":{},', 1),
        "our metadata twice": header.replace(b'"claude_flow":', b'"claude_flow":"{}","claude_flow":', 1),
        "an offset of -0": header.replace(b'"data_offsets":[0,', b'"data_offsets":[-0,', 1),
        "an offset of 0e0": header.replace(b'"data_offsets":[0,', b'"data_offsets":[0e0,', 1),
        "a mark of bytes": b"\xef\xbb\xbf" + header,
        "spaces before": b"  " + header,
        "NUL behind": header + b"\0",
        "a list": b"[" + header + b"]",
        "null": b"null",
        "twice": header + header,
        "UTF-16": header.decode().encode("utf-16-le"),
        "Latin-1": header.replace(b"float", b"fl\xf6at").replace(b"claude-flow", b"cl\xe4ude", 1),
        "a comma too many": header.rstrip()[:-1] + b",}",
        "single quotes": header.replace(b'"', b"'"),
        "deep": b"[" * 100_000,
        "a page": b"<!doctype html><title>404</title>",
    }.items():
        yield f"header: {what}", container(text, body)


def _last_entry(header: bytes) -> bytes:
    name, entry = list(json.loads(header).items())[-1]
    return json.dumps({name: entry}).encode()[1:-1]


def _entries(content: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    parts = Parts.of(content)
    names = list(parts.entries)
    first = parts.entries[names[0]]
    begin, end = first["data_offsets"]
    changes: list[Any] = [
        {**first, "dtype": d} for d in ("F64", "F16", "BF16", "I8", "I32", "U8", "BOOL", "f32", "", 1)
    ]
    changes += [{**first, "shape": s} for s in ([], [0], [1], [-1], [1.5], [2**62], [2**62, 2**62], "1", None, [True])]
    changes += [{**first, "shape": [*first["shape"], 1]}, {**first, "shape": [*first["shape"]] + [1] * 70}]
    changes += [{**first, "shape": first["shape"][::-1]}, {**first, "shape": [float(n) for n in first["shape"]]}]
    offsets = (
        [],
        [0],
        [end, begin],
        [begin, end + 1],
        [begin, end - 1],
        [begin + 4, end + 4],
        [-4, end],
        [begin, 2**63],
    )
    changes += [{**first, "data_offsets": o} for o in (*offsets, [begin, 1e30], [begin, end, end], None)]
    changes += [{k: v for k, v in first.items() if k != gone} for gone in first]
    changes += [{**first, "more": [1, {"a": None}]}, None, [], "tensor", 5]
    for i, entry in enumerate(changes):
        yield f"entry {i}", parts.whole(entries={**parts.entries, names[0]: entry})
    for name in chance.sample(names, min(3, len(names))):
        rest = {n: e for n, e in parts.entries.items() if n != name}
        yield f"without {name}", parts.whole(entries=rest)
        yield f"{name} renamed", parts.whole(entries={**rest, name + "\u00e9": parts.entries[name]})
        at = parts.entries[name]["data_offsets"]
        yield f"{name} without its bytes", parts.whole(entries={**parts.entries, name: {**first, "data_offsets": at}})
    yield (
        "a tensor of nothing",
        parts.whole(
            entries={**parts.entries, "none": {"dtype": "F32", "shape": [0, 3], "data_offsets": [len(parts.body)] * 2}}
        ),
    )
    yield "half a pair of UTF-16", parts.whole(entries={**parts.entries, "\ud800": first})
    yield "no entries", parts.whole(entries={})


def _metadata(content: bytes, _: random.Random) -> Iterator[tuple[str, bytes]]:
    parts = Parts.of(content)
    text = json.dumps(parts.fields)
    for value in (*_VALUES, {"claude_flow": 1}, {"claude_flow": None}, {"claude_flow": parts.fields}, {"other": text}):
        yield f"metadata {value!r:.20}", parts.whole(metadata=value)
    for more in (1, None, "text", {}):
        yield f"metadata and {more!r}", parts.whole(metadata={"claude_flow": text, "more": more})
    for what in ("", "{", "[]", "null", "NaN", text + "x", text.replace("{", "{,", 1), "[" * 100_000, "\ufeff" + text):
        yield f"fields {what[:5]!r}", parts.whole(fields=what)
    yield "a field twice", parts.whole(fields=text.replace("{", '{"format": 2, ', 1))
    for constant in (
        "9" * 5000,
        "-" + "9" * 400,
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "01",
        "+1",
        "0x1",
        "1.",
        "'a'",
        "undefined",
    ):
        changed = json.dumps({**parts.fields, "config": {"x": "here"}}).replace('"here"', constant)
        yield f"a number {constant:.20}", parts.whole(fields=changed)


def _fields(content: bytes, _: random.Random) -> Iterator[tuple[str, bytes]]:
    parts = Parts.of(content)
    for name in (*parts.fields, "more"):
        for value in _VALUES:
            yield f"{name} is {value!r:.20}", parts.whole(fields={**parts.fields, name: value})
        yield f"no {name}", parts.whole(fields={n: v for n, v in parts.fields.items() if n != name})
    for network in ("Coordination", "coordination ", "prediction", "action", "toString"):
        yield f"network {network}", parts.whole(fields={**parts.fields, "network": network})
    for precision in ("fp32", "int8", "mixed"):
        yield f"precision {precision}", parts.whole(fields={**parts.fields, "precision": precision})
    for version in (0, 2, 1.0, "1", 1e300):
        yield f"format {version!r}", parts.whole(fields={**parts.fields, "format": version})
    for temperature in (*_VALUES, 1e-7, 2e6, 1, 0.5):
        yield (
            f"temperature {temperature!r:.20}",
            parts.whole(fields={**parts.fields, "calibration": {"temperature": temperature}}),
        )
    for commands in (["a"], [1, 2], ["a", "a"], "ab"):
        config = {**parts.fields["config"], "commands": commands}
        yield f"commands {commands}", parts.whole(fields={**parts.fields, "config": config})


def _programs(content: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    parts = Parts.of(content)
    program = parts.fields["program"]
    tensors = parts.fields["program_tensors"]

    def changed(words: list[Any], names: list[Any] = tensors) -> bytes:
        return parts.whole(fields={**parts.fields, "program": words, "program_tensors": names})

    for i in range(8):
        for word in chance.sample(_WORDS, 6):
            yield f"word {i} is {word!r}", changed([*program[:i], word, *program[i + 1 :]])
    for _ in range(80):
        i, word = chance.randrange(len(program)), chance.choice(_WORDS)
        yield f"word {i} is {word!r} (any)", changed([*program[:i], word, *program[i + 1 :]])
    for i in sorted({0, 1, 5, 6, 7, len(program) - 1}):
        yield f"without word {i}", changed(program[:i] + program[i + 1 :])
        yield f"word {i} twice", changed([*program[: i + 1], *program[i:]])
        yield f"cut at word {i}", changed(program[:i])
    yield "tensors turned round", changed(program, tensors[::-1])
    yield "one tensor less", changed(program, tensors[:-1])
    yield "one tensor for all", changed(program, tensors[:1] * len(tensors))
    yield "a tensor that is not there", changed(program, [*tensors, "nobody"])
    yield "a tensor that is no name", changed(program, [*tensors, 1])


def _tensors(content: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    parts = Parts.of(content)
    arrays = load_tensors(content)
    for name in chance.sample(sorted(arrays), min(5, len(arrays))):
        begin, end = parts.entries[name]["data_offsets"]
        for value in (np.nan, np.inf, -np.inf, 3e38):
            dtype = arrays[name].dtype
            bad = np.array(value, np.float32).astype(dtype) if dtype == np.float32 else np.array(-128, dtype)
            body = parts.body[: end - bad.nbytes] + bad.tobytes() + parts.body[end:]
            yield f"{name} ends in {value}", parts.whole(body=body)
        body = parts.body[:begin] + bytes(end - begin) + parts.body[end:]
        yield f"{name} is 0", parts.whole(body=body)


def _layouts(content: bytes, _: random.Random) -> Iterator[tuple[str, bytes]]:
    parts = Parts.of(content)
    layout = parts.fields.get("layout")
    if layout is None:
        name = next(n for n, e in parts.entries.items() if len(e["shape"]) == 2)
        layout = {"isa": "relaxed", "tile_columns": 16, "lstm_units": 4}
        layout["matrices"] = {name: parts.entries[name]["shape"]}
        yield "a layout where nothing is packed", parts.whole(fields={**parts.fields, "layout": layout})
        return
    changes = [{**layout, name: value} for name in layout for value in _VALUES]
    changes += [{n: v for n, v in layout.items() if n != gone} for gone in layout]
    changes += [{**layout, "more": 1}, {**layout, "tile_columns": 8.0}, {**layout, "lstm_units": 4}]
    matrices = layout["matrices"]
    name, (rows, columns) = next(iter(matrices.items()))
    shapes = ([rows, columns + 1], [rows + 4, columns], [rows - 4, columns], [columns, rows], [rows], [0, columns])
    for shape in (*shapes, [rows, columns, 1], [rows, 2**20], [float(rows), columns], [rows, True], None, "x"):
        changes.append({**layout, "matrices": {**matrices, name: shape}})
    changes += [{**layout, "matrices": m} for m in ({}, {"nobody": [4, 4]}, {**matrices, "nobody": [4, 4]})]
    changes += [{**layout, "matrices": {n: s for n, s in matrices.items() if n != name}}]
    for i, change in enumerate(changes):
        yield f"layout {i}", parts.whole(fields={**parts.fields, "layout": change})
    for packed in matrices:
        begin, end = parts.entries[packed]["data_offsets"]
        for at in (begin, end - 1):
            body = parts.body[:at] + b"\x05" + parts.body[at + 1 :]
            yield f"{packed} has another byte at {at - begin}", parts.whole(body=body)


def _bits(content: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    start = 8 + int.from_bytes(content[:8], "little")
    for where, first, last, count in (("the header", 8, start, 60), ("the body", start, len(content), 20)):
        for _ in range(count):
            at, bit = chance.randrange(first, last), chance.randrange(8)
            changed = bytearray(content)
            changed[at] ^= 1 << bit
            yield f"bit {bit} of byte {at}, in {where}", bytes(changed)
