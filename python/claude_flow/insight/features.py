"""Which inputs a model's choices rest on, by six methods, and whether the order that they give means something.

What is explained is the *lead*: by how much the chosen option is ahead of its rival, the mean over the decisions of a
request. Inputs are told in parts (the load of an agent, the priority of a task), each blanked by a baseline; what only
says which kind of token it is stays. Three methods need the engine alone:

=============== ====================================================================================================
ablation        the lead lost when the part alone is blanked
permutation     the lead lost when the part is another request's, mean over draws
shapley         the mean over orders of blanking (Strumbelj and Kononenko 2010), drawn in antithetic pairs
=============== ====================================================================================================

``integrated-gradients``, ``gradient-x-input`` and ``expected-gradients`` are Captum's, on the torch module in double
precision. Values of shapley and of integrated and expected gradients add up to the whole change of the lead; how far
they miss it is the *completeness error*.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import modelfile, statistics
from claude_flow.errors import InputError, require
from claude_flow.insight.asked import Asked
from claude_flow.networks.inputs import Item
from claude_flow.report.progress import Progress, counted, nothing
from claude_flow.values import did_you_mean

__all__ = ["BASELINES", "COMPLETE", "ENGINE", "METHODS", "features"]

Array = NDArray[np.float64]
METHODS = ("integrated-gradients", "shapley", "permutation", "ablation", "gradient-x-input", "expected-gradients")
BASELINES = ("average-input", "zero")
#: the largest completeness error that is not explained
COMPLETE = 0.01
_ADD_UP = {"integrated-gradients", "shapley", "expected-gradients"}
_STEPS = (32, 128, 512, 4096)  # of the path, until the error is at most COMPLETE
_DRAWS = 16  # other requests for permutation, orders for shapley, baselines for expected gradients
_POINTS, _ORDERS = 12, 8  # of a deletion curve, random orders beside it
_LEAST = 6  # requests below which no significance is told
_NO_CHANGE = 1e-9


def features(
    asked: Asked,
    method: str = "integrated-gradients",
    baseline: str = "average-input",
    groups: Sequence[str] | None = None,
    alpha: float = 0.05,
    seed: int = 0,
    budget: float = math.inf,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """The importance of every part and group of inputs over the requests of ``asked``.

    Args:
        groups: those of the network's groups to look at; None for all.
        alpha: what counts as significant, after Holm's correction over the features (and over the groups).
        budget: seconds; the requests that it leaves no time for are not looked at, and the answer says so.

    Raises:
        InputError: there is no such method, baseline or group.
        MissingExtra: the method needs Captum.
    """
    names = list(asked.explain.GROUPS)
    for group in groups or ():
        if group not in names:
            raise InputError(
                f"{asked.row.name} has no group {group!r}{did_you_mean(group, names) or ': ' + ', '.join(names)}"
            )
    attribute = _method(asked, method)
    generator, end = np.random.default_rng(seed), time.monotonic() + budget
    items, means = asked.items, _means(asked.items) if baseline == "average-input" else {}
    donors = _donors(items)
    rows: list[dict[str, Any]] = []
    for done, item in enumerate(items):
        if rows and time.monotonic() > end:
            break
        counted(progress, len(items), "requests")(done)
        rows.append(_explained(asked, item, attribute, means, donors, groups, generator))
    told = _importance(rows, groups or names, alpha)
    errors = [row["error"] for row in rows if row["error"] is not None]
    worst = max(errors, default=None)
    return {
        "model": asked.name,
        "data": asked.label,
        "method": method,
        "baseline": baseline,
        "requests": {"looked_at": len(rows), "of": len(items)},
        "explained": "by how much the choice is ahead of its rival, mean over a request's decisions",
        **told,
        "curves": _curves(rows),
        "completeness": {
            "adds_up": method in _ADD_UP,
            "median_error": float(np.median(errors)) if errors else None,
            "largest_error": worst,
            "limit": COMPLETE,
            "note": _note(method, worst),
        },
    }


def _note(method: str, worst: float | None) -> str:
    if method not in _ADD_UP:
        return f"{method} does not promise to add up: parts that act together count twice or not at all"
    if method == "expected-gradients":
        return f"its integral is drawn, over {_DRAWS} baselines: the error falls with the root of their number"
    if worst is not None and worst > COMPLETE:
        return "the lead bends sharply on the way from the baseline: see the median, or use shapley, which is exact"
    return "the values add up to the change of the lead"


# One request ----------------------------------------------------------------------------------------------

#: item, baseline [tokens, width], donors -> value of each part, and what they should add up to (None: f(x) - f(b))
Attribute = Callable[[Item, NDArray[np.float32], Any, Any, np.random.Generator], tuple[Array, "float | None"]]


def _explained(
    asked: Asked,
    item: Item,
    attribute: Attribute,
    means: dict[str, Any],
    donors: dict[str, Any],
    groups: Sequence[str] | None,
    generator: np.random.Generator,
) -> dict[str, Any]:
    base = item.x.copy()
    for part in item.parts:
        base[part.token, part.slots] = means[item.kinds[part.token]][part.slots] if means else 0
    choice = asked.choice(item)

    def lead(inputs: NDArray[np.float32]) -> Array:
        found: Array = asked.lead(asked.scores(item, inputs), choice)
        return found

    values, total = attribute(item, base, lead, donors, generator)
    whole, blank = lead(np.stack([item.x, base]))
    total = float(whole - blank) if total is None else total
    error = abs(float(values.sum()) - total) / abs(total) if abs(total) > _NO_CHANGE else None
    chosen = [i for i, part in enumerate(item.parts) if groups is None or part.group in groups]
    return {
        "parts": [item.parts[i] for i in chosen],
        "values": values[chosen],
        "error": error,
        "curves": _orders(item, base, lead, values, generator),
    }


def _blanked(item: Item, base: NDArray[np.float32], gone: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Inputs ``[B, tokens, width]`` in which the parts of each row of ``gone [B, parts]`` are the baseline's."""
    rows = np.repeat(item.x[None], len(gone), 0)
    for i, part in enumerate(item.parts):
        index = np.flatnonzero(gone[:, i])
        rows[index[:, None], part.token, part.slots] = base[part.token, part.slots]
    return rows


def _orders(item: Item, base: NDArray[np.float32], lead: Any, values: Array, generator: np.random.Generator) -> Array:
    """Leads ``[2, orders, points]`` while parts are blanked (0) and shown (1), first by value, then at random."""
    count = len(item.parts)
    at = np.unique(np.linspace(0, count, min(_POINTS, count) + 1).round().astype(int))
    orders = [np.argsort(-values, kind="stable"), *(generator.permutation(count) for _ in range(_ORDERS))]
    place = np.stack([np.argsort(order) for order in orders])
    gone = place[:, None, :] < at[:, None]
    found = lead(_blanked(item, base, np.concatenate([gone, ~gone]).reshape(-1, count)))
    shape = found.reshape(2, len(orders), len(at))
    steps = np.linspace(0, 1, _POINTS + 1)
    return np.stack([[np.interp(steps, at / count, line) for line in side] for side in shape])


# The methods ----------------------------------------------------------------------------------------------


def _method(asked: Asked, method: str) -> Attribute:
    if method not in METHODS:
        raise InputError(f"no method {method!r}{did_you_mean(method, METHODS) or ': ' + ', '.join(METHODS)}")
    if method in ENGINE:
        return ENGINE[method]
    if asked.model.precision != "fp32":
        raise InputError(
            f"{asked.name} has {asked.model.precision} weights, which have no gradient: use {', '.join(ENGINE)}, "
            "or the model that it was made from"
        )
    require("torch", "train")
    require("captum.attr", "explain")
    return _Gradients(asked, method)


def _ablation(item: Item, base: Any, lead: Any, donors: Any, generator: Any) -> tuple[Array, None]:
    gone = np.concatenate([np.zeros((1, len(item.parts)), bool), np.eye(len(item.parts), dtype=bool)])
    found = lead(_blanked(item, base, gone))
    return found[0] - found[1:], None


def _permutation(item: Item, base: Any, lead: Any, donors: Any, generator: np.random.Generator) -> tuple[Array, None]:
    rows = [item.x[None]]
    for part in item.parts:
        pool = donors[item.kinds[part.token]]
        changed = np.repeat(item.x[None], _DRAWS, 0)
        changed[:, part.token, part.slots] = pool[generator.integers(len(pool), size=_DRAWS)][:, part.slots]
        rows.append(changed)
    found = lead(np.concatenate(rows))
    return found[0] - found[1:].reshape(len(item.parts), _DRAWS).mean(1), None


def _shapley(item: Item, base: Any, lead: Any, donors: Any, generator: np.random.Generator) -> tuple[Array, None]:
    count = len(item.parts)
    half = [generator.permutation(count) for _ in range(_DRAWS // 2)]
    orders = np.array([order for one in half for order in (one, one[::-1])])
    place = np.argsort(orders, axis=1)
    gone = place[:, None, :] < np.arange(count + 1)[:, None]
    found = lead(_blanked(item, base, gone.reshape(-1, count))).reshape(len(orders), count + 1)
    lost = found[:, :-1] - found[:, 1:]
    return np.take_along_axis(lost, place, 1).mean(0), None


#: those that need the engine alone
ENGINE: dict[str, Attribute] = {"ablation": _ablation, "permutation": _permutation, "shapley": _shapley}


class _Gradients:
    """Captum's methods, on the module in double precision."""

    def __init__(self, asked: Asked, method: str) -> None:
        from claude_flow import export

        self._asked, self._method = asked, method
        self._module: Any = export.from_file(modelfile.read(asked.model.path)).double()

    def __call__(
        self, item: Item, base: Any, lead: Any, donors: Any, generator: np.random.Generator
    ) -> tuple[Array, float | None]:
        import torch

        captum = require("captum.attr", "explain")
        choice = self._asked.choice(item)

        def forward(rows: Any) -> Any:
            return self._asked.lead(item.scores(self._module(item.batch(rows)), torch), choice)

        x, b = (torch.from_numpy(a).double()[None] for a in (item.x, base))
        total = None
        if self._method == "gradient-x-input":
            slots = captum.InputXGradient(lambda shift: forward(b + shift)).attribute((x - b).requires_grad_())
        elif self._method == "expected-gradients":
            others = _others(item, donors, generator)
            torch.manual_seed(int(generator.integers(2**31)))
            drawn = torch.from_numpy(others).double()
            slots = captum.GradientShap(forward).attribute(x, baselines=drawn, n_samples=4 * _DRAWS, stdevs=0.0)
            with torch.no_grad():
                total = float(forward(x)[0] - forward(drawn).mean())
        else:
            with torch.no_grad():
                whole = float(forward(x)[0] - forward(b)[0])
            for steps in _STEPS:
                way = "gausslegendre" if steps <= 512 else "riemann_middle"  # finding more of its nodes takes seconds
                given = {"n_steps": steps, "method": way, "internal_batch_size": 256}
                slots = captum.IntegratedGradients(forward).attribute(x, b, **given)
                if abs(float(slots.sum()) - whole) <= COMPLETE * abs(whole):
                    break
        found = slots.detach()[0].numpy()
        return np.array([found[part.token, part.slots].sum() for part in item.parts]), total


def _others(item: Item, donors: dict[str, Any], generator: np.random.Generator) -> NDArray[np.float32]:
    rows = np.repeat(item.x[None], _DRAWS, 0)
    for token, kind in enumerate(item.kinds):
        drawn = donors[kind][generator.integers(len(donors[kind]), size=_DRAWS)]
        for part in item.parts:
            if part.token == token:
                rows[:, token, part.slots] = drawn[:, part.slots]
    return rows


def _donors(items: Sequence[Item]) -> dict[str, NDArray[np.float32]]:
    """Tokens of every kind ``[n, width]`` of all requests."""
    rows: dict[str, list[Any]] = {}
    for item in items:
        for kind, token in zip(item.kinds, item.x, strict=True):
            rows.setdefault(kind, []).append(token)
    return {kind: np.stack(tokens) for kind, tokens in rows.items()}


def _means(items: Sequence[Item]) -> dict[str, NDArray[np.float32]]:
    return {kind: tokens.mean(0) for kind, tokens in _donors(items).items()}


# Over all requests ----------------------------------------------------------------------------------------


def _importance(rows: list[dict[str, Any]], groups: Sequence[str], alpha: float) -> dict[str, Any]:
    """Features and groups, the most important first, each tested by flipping the signs of its requests' values."""
    by_name: dict[tuple[str, str], Array] = {}
    for i, row in enumerate(rows):
        for part, value in zip(row["parts"], row["values"], strict=True):
            by_name.setdefault((part.group, part.name), np.zeros(len(rows)))[i] += value
    by_group = {group: [v for (own, _), v in by_name.items() if own == group] for group in groups}
    grouped = {(group, group): np.sum(values, axis=0) for group, values in by_group.items() if values}
    return {"groups": _tested(grouped, alpha), "features": _tested(by_name, alpha)}


def _tested(values: dict[tuple[str, str], Array], alpha: float) -> list[dict[str, Any]]:
    enough = [len(v) >= _LEAST for v in values.values()]
    p = [statistics.permutation(v) if ok else math.nan for v, ok in zip(values.values(), enough, strict=True)]
    corrected = statistics.holm(p)
    total = sum(float(np.abs(v).mean()) for v in values.values()) or 1.0
    found = [
        {
            "group": group,
            "name": name,
            "effect": float(v.mean()),
            "size": float(np.abs(v).mean()),
            "share": float(np.abs(v).mean()) / total,
            "p": None if math.isnan(own) else float(own),
            "p_corrected": None if math.isnan(both) else float(both),
            "significant": None if math.isnan(both) else bool(both <= alpha),
        }
        for ((group, name), v), own, both in zip(values.items(), p, corrected, strict=True)
    ]
    return sorted(found, key=lambda row: -float(str(row["size"])))


def _curves(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean curves by value and in random order, and whether the areas between them are more than chance."""
    all_curves = np.stack([row["curves"] for row in rows])  # requests, sides, orders, points
    own, chance = all_curves[:, :, 0], all_curves[:, :, 1:].mean(2)
    better = (chance - own).mean(2) * np.array([1, -1])  # blanked: lower is better; shown: higher
    p = [statistics.permutation(b) if len(b) >= _LEAST else math.nan for b in better.T]
    result: dict[str, Any] = {}
    for i, (side, corrected) in enumerate(zip(("deletion", "insertion"), statistics.holm(p), strict=True)):
        gain = float(better[:, i].mean())
        result[side] = {
            "by_value": own[:, i].mean(0).round(5).tolist(),
            "random": chance[:, i].mean(0).round(5).tolist(),
            "area": float(own[:, i].mean()),
            "random_area": float(chance[:, i].mean()),
            "p_corrected": None if math.isnan(corrected) else float(corrected),
            "better_than_random": None if math.isnan(corrected) else bool(corrected <= 0.05 and gain > 0),
        }
    return result
