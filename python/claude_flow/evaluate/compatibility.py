"""Whether one model may take another's place: what a caller would notice is compared, answers included."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import __version__, modelfile, networks, requests
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.model import Model, load
from claude_flow.values import read_json

__all__ = ["GOLDEN", "Check", "compare", "golden"]

_ITEMS, _TOKENS, _SEED = 64, 12, 20
_ASKED = 8  # simulated requests, beside the network's own example
#: the file beside a version that holds its golden answers, and how far this engine's may lie from them (root mean
#: square over that of the recorded ones): another order of sums moves a float model by about 1e-6
GOLDEN, _SAME = "golden.json", 1e-3


@dataclass(frozen=True)
class Check:
    """One thing compared: ``ok``, and what was found, in words. ``breaks``: failing it breaks callers."""

    name: str
    ok: bool
    finding: str
    breaks: bool = True


def compare(new: Path, old: Path | None, tolerance: float | None = None) -> list[Check]:
    """Check ``new`` by itself and, if given, as a successor of ``old``.

    By itself: the engine loads and runs it, was made no earlier than the file, has all its ops, and still gives the
    golden answers that were recorded when the version was made. Against ``old``: the same network, request schema,
    sizes of input and output, and fields of the answers to real requests; ops that the old one did without (an older
    engine elsewhere may lack them); and how far the outputs for fixed random inputs differ: root mean square over that
    of the old ones. Other answers are the purpose of a new version, so that is told, and breaks callers only beyond
    ``tolerance``.
    """
    try:
        model = load(new, threads=1)
        y = model.run(_inputs(model))
        found = [Check("runs on the engine", bool(np.isfinite(y).all()), f"{model.precision}, {model.isa}")]
        ops = _ops(new)
    except InputError as error:
        return [Check("runs on the engine", False, str(error))]
    found += [_engine(model), *_recorded(new, y)]
    if old is None:
        return [*found, Check("op list", True, ", ".join(sorted(ops)))]
    before = load(old, threads=1)
    more = sorted(ops - _ops(old))
    words = f"adds {', '.join(more)}: an engine older than {__version__} may lack it" if more else "none is new"
    found.append(Check("op list", not more, words, breaks=False))
    names = before.network, model.network
    found.append(Check("same network", len(set(names)) == 1, " to ".join(names)))
    if not found[-1].ok:
        return found
    found.append(_same("request schema", before.features, model.features))
    sizes = ("input_width", "output_width", "max_tokens", "targets", "quantiles", "commands")
    known = [name for name in sizes if name in before.config or name in model.config]
    found += [_same(name.replace("_", " "), before.config.get(name), model.config.get(name)) for name in known]
    found.append(Check("precision", True, f"{before.precision} to {model.precision}", breaks=False))
    if all(check.ok for check in found if check.breaks):
        found += [_answers(before, model), _outputs(before, model, tolerance)]
    return found


def golden(model: Path) -> str:
    """The golden answers of a model as the text of :data:`GOLDEN`: what this engine answers to fixed random inputs."""
    loaded = load(model, threads=1)
    values = _sampled(loaded.run(_inputs(loaded)))
    return json.dumps({"claude_flow": __version__, "values": [float(f"{v:.9g}") for v in values]}) + "\n"


def _sampled(y: NDArray[np.float32]) -> NDArray[np.float64]:
    """256 of the outputs, spread evenly."""
    flat = y.reshape(-1).astype(np.float64)
    sampled: NDArray[np.float64] = flat[np.linspace(0, len(flat) - 1, min(256, len(flat))).astype(int)]
    return sampled


def _recorded(path: Path, y: NDArray[np.float32]) -> Iterator[Check]:
    file = path.parent / GOLDEN
    if not file.is_file():
        return
    found = read_json(file)
    values = np.array(found.get("values", ()), np.float64) if isinstance(found, Mapping) else np.zeros(0)
    own = _sampled(y)
    if values.shape != own.shape:
        yield Check("golden answers", False, f"{file} is damaged")
        return
    apart = _distance(values, own)
    words = f"{apart:.1e} from what claude-flow {found.get('claude_flow')} answered, {_SAME:g} may be"
    yield Check("golden answers", apart <= _SAME, words)


def _engine(model: Model) -> Check:
    versions = model.provenance.get("versions")
    made = str((versions or {}).get("claude-flow") or "") if isinstance(versions, Mapping) else ""
    if not made:
        return Check("engine version", True, f"the file does not say, this is {__version__}", breaks=False)
    return Check("engine version", _order(made) <= _order(__version__), f"made by {made}, this is {__version__}")


def _order(version: str) -> list[int]:
    return [int(part) if part.isdecimal() else 0 for part in version.split(".")[:3]]


def _ops(path: Path) -> set[str]:
    return {code.name.lower() for code, _ in modelfile.read(path).parse().ops}


def _answers(before: Model, model: Model) -> Check:
    """Both answer the network's example and simulated requests with the same fields."""
    row = networks.get(model.network)
    asked = [requests.split(row, requests.example(row))[0], *islice(row.prepare.requests(_ASKED, _SEED), _ASKED)]
    for request in asked:
        try:
            was = _fields(row.answer.answer(before, request))
        except ClaudeFlowError:  # what the old one refuses, nobody relies on
            continue
        try:
            gone = sorted(was - _fields(row.answer.answer(model, request)))
        except ClaudeFlowError as error:
            return Check("answers", False, f"a request that was answered is refused: {error}")
        if gone:
            return Check("answers", False, f"without {', '.join(gone[:5])}")
    return Check("answers", True, f"the same fields for {len(asked)} requests")


def _fields(value: Any, path: str = "") -> set[str]:
    """The fields of an answer with the kinds of their values; an item of a list counts as any other."""
    if isinstance(value, Mapping):
        return {name for key, item in value.items() for name in _fields(item, f"{path}.{key}".lstrip("."))}
    if isinstance(value, (list, tuple)):
        return {name for item in value for name in _fields(item, f"{path}[]")}
    if value is None:
        return set()
    return {f"{path} ({'number' if isinstance(value, (int, float)) else 'text'})"}


def _outputs(before: Model, model: Model, tolerance: float | None) -> Check:
    x = _inputs(before)
    a, b = before.run(x), model.run(x)
    apart = _distance(a, b)
    agree = float(np.mean(a.reshape(-1, a.shape[-1]).argmax(-1) == b.reshape(-1, b.shape[-1]).argmax(-1)))
    words = f"differ by {apart:.1%} (root mean square), the largest one is the same in {agree:.0%}"
    if tolerance is not None:
        words += f"; {tolerance:.1%} may be"
    return Check("outputs", tolerance is None or apart <= tolerance, words, breaks=tolerance is not None)


def _distance(a: Any, b: Any) -> float:
    return float(np.sqrt(np.mean(np.square(a - b))) / max(float(np.sqrt(np.mean(np.square(a)))), 1e-12))


def _same(name: str, old: Any, new: Any) -> Check:
    if old == new:
        return Check(name, True, "the same")
    if isinstance(old, dict) and isinstance(new, dict):
        changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        return Check(name, False, f"differs in {', '.join(changed[:5])}")
    return Check(name, False, f"{old} to {new}")


def _inputs(model: Any) -> Any:
    generator = np.random.default_rng(_SEED)
    width, most = model.config["input_width"], model.config.get("max_tokens", 1)
    shape = (_ITEMS, width) if most == 1 or "max_tokens" not in model.config else (_ITEMS, min(_TOKENS, most), width)
    return generator.standard_normal(shape).astype(np.float32)
