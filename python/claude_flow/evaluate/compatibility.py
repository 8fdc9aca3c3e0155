"""Whether one model may take another's place: what a caller would notice is compared, answers included."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow.errors import InputError
from claude_flow.model import load

__all__ = ["Check", "compare"]

_ITEMS, _TOKENS = 64, 12


@dataclass(frozen=True)
class Check:
    """One thing compared: ``ok``, and what was found, in words. ``breaks``: failing it breaks callers."""

    name: str
    ok: bool
    finding: str
    breaks: bool = True


def compare(new: Path, old: Path | None) -> list[Check]:
    """Check ``new`` by itself and, if given, as a successor of ``old``.

    By itself: the engine loads and runs it. Against ``old``: the same network, the same request schema and sizes of
    input and output, and how far golden answers to fixed random inputs differ (their root mean square difference over
    that of the old outputs, and how often the largest output is the same). Differing answers are the purpose of a new
    version: they are told and break nothing.
    """
    try:
        model = load(new, threads=1)
        y = model.run(_inputs(model))
        found = [Check("runs on the engine", bool(np.isfinite(y).all()), f"{model.precision}, {model.isa}")]
    except InputError as error:
        return [Check("runs on the engine", False, str(error))]
    if old is None:
        return found
    before = load(old, threads=1)
    names = before.network, model.network
    found.append(Check("same network", len(set(names)) == 1, " to ".join(names)))
    if not found[-1].ok:
        return found
    found.append(_same("request schema", before.features, model.features))
    sizes = ("input_width", "output_width", "max_tokens", "targets", "quantiles", "commands")
    known = [name for name in sizes if name in before.config or name in model.config]
    found += [_same(name.replace("_", " "), before.config.get(name), model.config.get(name)) for name in known]
    found.append(Check("precision", True, f"{before.precision} to {model.precision}", breaks=False))
    if all(check.ok for check in found):
        x = _inputs(before)
        a, b = before.run(x), model.run(x)
        noise = float(np.sqrt(np.mean(np.square(a - b))) / max(float(np.sqrt(np.mean(np.square(a)))), 1e-12))
        agree = float(np.mean(a.reshape(-1, a.shape[-1]).argmax(-1) == b.reshape(-1, b.shape[-1]).argmax(-1)))
        words = f"outputs differ by {noise:.1%} (root mean square), the largest one is the same in {agree:.0%}"
        found.append(Check("golden answers", True, words, breaks=False))
    return found


def _same(name: str, old: Any, new: Any) -> Check:
    if old == new:
        return Check(name, True, "the same")
    if isinstance(old, dict) and isinstance(new, dict):
        changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        return Check(name, False, f"differs in {', '.join(changed[:5])}")
    return Check(name, False, f"{old} to {new}")


def _inputs(model: Any) -> Any:
    generator = np.random.default_rng(20)
    width, most = model.config["input_width"], model.config.get("max_tokens", 1)
    shape = (_ITEMS, width) if most == 1 or "max_tokens" not in model.config else (_ITEMS, min(_TOKENS, most), width)
    return generator.standard_normal(shape).astype(np.float32)
