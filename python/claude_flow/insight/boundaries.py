"""How far a model's decisions are from being others: the nearest changes of a request's own fields that turn them.

Positions of the fields lie between 0 and 1 in their allowed ranges; the distance of a change is the root of the summed
squares of the moves. Three searches, all through the engine, whatever the precision:

``line-search``   every field alone along its range, the crossing found by bisection: one field each
``random``        points around the request, from near to far; what turns a decision is made smaller
``adversarial``   from the request down the gradient of the lead by the fields, by finite differences

Beside them ``random`` and ``adversarial`` look for the fewest fields: one alone, then two together, else what a greedy
search changes. What turns a decision is made sparse (fields go back one by one as long as it stays turned), drawn back
to the boundary by bisection, written as values of the request, and *verified*: the changed request is answered anew, as
``infer`` does without a log.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import statistics
from claude_flow.errors import InputError
from claude_flow.insight.asked import Asked
from claude_flow.networks.inputs import Item, Knob
from claude_flow.report.progress import Progress, counted, nothing
from claude_flow.values import did_you_mean

__all__ = ["METHODS", "boundaries"]

Array = NDArray[np.float64]
METHODS = ("adversarial", "random", "line-search")
_GRID = 16  # positions of a field that a line search looks at, before it bisects
_HALVINGS = 9  # of a bisection: to 1/512 of the way
_STEP = 0.02  # of a finite difference
_WALK, _MOVES = 0.08, 30  # length and number of an adversarial search's steps
_FIELDS = 12  # that an adversarial and a greedy search look at: those that matter most at the request
_SHOWN = 3  # counterfactuals of a decision
_LEAST = 6  # requests below which sparsity is not tested
_BEYOND = 1.02  # how far past the crossing a change goes, so that rounding does not undo it


class _Space:
    """A request's fields as a cube: points ``[n, fields]``, NaN where the request leaves a field open."""

    def __init__(self, asked: Asked, item: Item) -> None:
        self.asked, self.item = asked, item
        self.knobs: list[Knob] = asked.knobs(item)
        self.origin = np.array([knob.position() for knob in self.knobs])
        self.choice, self.rival = asked.choice(item)
        self.lines: Array | None = None

    def request(self, point: Array) -> dict[str, Any]:
        """The request at a point, its changed fields rounded as they would be printed."""
        changed = self.item.request
        for knob, at, was in zip(self.knobs, point, self.origin, strict=True):
            if not math.isnan(at) and at != was:
                changed = knob.put(changed, knob.at(at))
        return changed

    def scores(self, points: Sequence[Array]) -> Array:
        """``[n, decisions, options]``; all points of a request have tokens of the same number."""
        items = [self.asked.changed(self.item, self.request(point)) for point in points]
        rows = np.stack([item.x for item in items])
        outputs = self.asked.model.run(np.ascontiguousarray(self.item.batch(rows)))
        # what is possible changes with the request, so each reads its own output
        return np.concatenate([item.scores(y[None], np) for item, y in zip(items, outputs, strict=True)]).astype(float)

    def lead(self, points: Sequence[Array], decision: int) -> Array:
        """How far the choice of a decision is ahead of the best other option ``[n]``; below 0 it has turned."""
        return self.ahead(self.scores(points), decision)

    def ahead(self, found: Array, decision: int) -> Array:
        """The same of scores ``[n, decisions, options]``."""
        scores, best = found[:, decision], self.choice[decision]
        others = np.delete(scores, best, axis=1)
        lead: Array = scores[:, best] - others.max(1)
        return lead

    def distance(self, point: Array) -> float:
        """How far a point is from the request; a field that the request left open counts as moved by half its range."""
        moved = np.where(np.isnan(self.origin), np.where(np.isnan(point), 0, 0.5), point - self.origin)
        return float(np.sqrt(np.nansum(np.square(moved))))

    def between(self, point: Array, share: float) -> Array:
        """The point so far on the way from the request; an open field is set or not."""
        start = np.where(np.isnan(self.origin), point, self.origin)
        found: Array = np.clip(start + share * (point - start), 0, 1)
        return found

    def changed(self, point: Array) -> list[int]:
        """The fields that differ from the request."""
        return [i for i in range(len(point)) if not math.isnan(point[i]) and point[i] != self.origin[i]]


def boundaries(
    asked: Asked,
    method: str = "adversarial",
    samples: int = 1000,
    seed: int = 0,
    budget: float = math.inf,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Counterfactuals of every decision of the requests of ``asked``, how robust each is, and a projection.

    Args:
        samples: points around each request: what robustness and projection rest on, and the random search.
        budget: seconds; the requests that it leaves no time for are not looked at, and the answer says so.

    Raises:
        InputError: no such method, or the network decides nothing.
    """
    if method not in METHODS:
        raise InputError(f"no method {method!r}{did_you_mean(method, METHODS) or ': ' + ', '.join(METHODS)}")
    if not hasattr(asked.explain, "decided"):
        raise InputError(
            f"{asked.name} forecasts numbers and decides nothing: name a coordination or optimization model"
        )
    generator, end, items = np.random.default_rng(seed), time.monotonic() + budget, asked.items
    decisions: list[dict[str, Any]] = []
    picture: dict[str, Any] = {}
    looked = 0
    for item in items:
        if looked and time.monotonic() > end:
            break
        counted(progress, len(items), "requests")(looked)
        space = _Space(asked, item)
        points, scores = _around(space, samples if looked == 0 else max(50, samples // 10), generator)
        for d, name in enumerate(item.decisions):
            decisions.append(_decision(space, d, name, method, points, scores, looked))
            if time.monotonic() > end:
                break
        picture = picture or _picture(space, points, scores, decisions)
        looked += 1
    found = [c for row in decisions for c in row["counterfactuals"]]
    verified = [c["verified"] for c in found]
    turned = [row for row in decisions if row["counterfactuals"]]
    return {
        "model": asked.name,
        "data": asked.label,
        "caveat": asked.caveat,
        "method": method,
        "requests": {"looked_at": looked, "of": len(items)},
        "decisions": decisions,
        "turned": {"decisions": len(turned), "of": len(decisions)},
        "verified": {"share": float(np.mean(verified)) if verified else None, "counterfactuals": len(found)},
        "sparsity": _sparsity(decisions),
        "projection": picture,
    }


def _sparsity(decisions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The fewest fields of each decision's changes beside two greedy searches', where both turn it.

    ``p`` flips the signs of the requests' mean differences, Holm over the two; None for fewer than six requests.

    >>> row = {"counterfactuals": [{"fields": 1}], "greedy_fields": 1, "ordered_fields": 3}
    >>> found = _sparsity([{"request": i, **row} for i in range(9)])
    >>> [(name, rival["own"], rival["fields"], rival["sparser"]) for name, rival in found.items()]
    [('greedy', 1.0, 1.0, False), ('ordered', 1.0, 3.0, True)]
    """
    found: dict[str, Any] = {}
    p: list[float] = []
    for rival in ("greedy", "ordered"):
        rows = [
            (row["request"], min(told["fields"] for told in row["counterfactuals"]), row[f"{rival}_fields"])
            for row in decisions
            if row["counterfactuals"] and row[f"{rival}_fields"] is not None
        ]
        by_request: dict[int, list[int]] = {}
        for request, own, other in rows:
            by_request.setdefault(request, []).append(other - own)
        fewer = [float(np.mean(differences)) for differences in by_request.values()]
        p.append(statistics.permutation(np.array(fewer)) if len(fewer) >= _LEAST else math.nan)
        found[rival] = {
            "decisions": len(rows),
            "requests": len(fewer),
            "own": float(np.mean([own for _, own, _ in rows])) if rows else None,
            "fields": float(np.mean([other for _, _, other in rows])) if rows else None,
            "fewer_in": sum(own < other for _, own, other in rows),
            "more_in": sum(own > other for _, own, other in rows),
        }
    for rival, corrected in zip(found.values(), statistics.holm(p), strict=True):
        tested = not math.isnan(corrected)
        rival["p"] = float(corrected) if tested else None
        rival["sparser"] = bool(corrected <= 0.05 and rival["own"] < rival["fields"]) if tested else None
    return found


def _around(space: _Space, samples: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """Points at all distances in random directions, and their scores; the first is the request itself."""
    points = np.repeat(space.origin[None], samples + 1, 0)
    known = np.flatnonzero(~np.isnan(space.origin))
    for row in points[1:]:
        if len(known):
            some = generator.permutation(known)[: int(generator.integers(1, len(known) + 1))]
            goal = generator.random(len(some))
            row[some] = space.origin[some] + generator.random() * (goal - space.origin[some])
        else:
            free = int(generator.integers(len(row)))
            row[free] = generator.random()
    return points, space.scores(list(points))


# One decision ---------------------------------------------------------------------------------------------


def _decision(
    space: _Space, d: int, name: str, method: str, points: Array, scores: Array, request: int
) -> dict[str, Any]:
    best = int(space.choice[d])
    turned = scores[:, d].argmax(1) != best
    distances = np.array([space.distance(point) for point in points])
    starts = {"line-search": _lines, "random": _random, "adversarial": _walk}[method](space, d, points[turned])
    greedy = _greedy(space, d)
    if method != "line-search":
        starts = [*starts, *_fewest(space, d, greedy)]
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for start in starts:
        told = _told(space, d, name, _nearest(space, d, start))
        if told is not None:
            key = tuple(told["labels"])
            if key not in found or told["distance"] < found[key]["distance"]:
                found[key] = told
    nearest = sorted(found.values(), key=lambda told: (told["distance"], told["fields"]))
    fewest = min(nearest, key=lambda told: told["fields"], default=None)
    if fewest is not None and fewest not in nearest[:_SHOWN]:
        nearest[_SHOWN - 1] = fewest
    nearest = nearest[:_SHOWN]
    radius = min([*distances[turned], *(told["distance"] for told in nearest)], default=None)
    return {
        "request": request,
        "decision": name,
        "choice": space.item.options[best],
        "lead": float(scores[0, d, best] - np.delete(scores[0, d], best).max()),
        "radius": None if radius is None else float(radius),
        "held": float(1 - turned[1:].mean()) if len(turned) > 1 else None,
        "counterfactuals": nearest,
        "greedy_fields": None if greedy is None else len(space.changed(greedy)),
        "ordered_fields": _ordered(space, d),
    }


def _lines(space: _Space, d: int, turned: Array) -> list[Array]:
    """Per field the first position on either side where the decision is another."""
    found = []
    grid = np.linspace(0, 1, _GRID + 1)
    tries = [(i, at) for i in range(len(space.knobs)) for at in grid]
    points = []
    for i, at in tries:
        point = space.origin.copy()
        point[i] = at
        points.append(point)
    if space.lines is None:  # the same for every decision of the request
        space.lines = space.scores(points)
    leads = space.ahead(space.lines, d).reshape(len(space.knobs), len(grid))
    for i, line in enumerate(leads):
        crossed = np.flatnonzero(line < 0)
        if len(crossed):
            was = 0.5 if math.isnan(space.origin[i]) else space.origin[i]
            point = space.origin.copy()
            point[i] = grid[crossed[np.abs(grid[crossed] - was).argmin()]]
            found.append(point)
    return found


def _random(space: _Space, d: int, turned: Array) -> list[Array]:
    return sorted(turned, key=space.distance)[: 2 * _SHOWN]


def _walk(space: _Space, d: int, turned: Array) -> list[Array]:
    """Steps against the gradient of the lead until the decision turns; a second time without the first one's field."""
    found = []
    banned: set[int] = set()
    narrowed = False
    for _ in range(_SHOWN):
        point = space.origin.copy()
        for _ in range(_MOVES):
            slopes, lead = _slopes(space, d, point, banned)
            if not narrowed:
                narrowed = True
                banned |= set(np.argsort(-np.abs(slopes), kind="stable")[_FIELDS:].tolist())
            if lead < 0:
                found.append(point)
                break
            if not slopes.any():
                break
            start = np.where(np.isnan(point), 0.5, point)
            step = np.where(slopes != 0, start - _WALK * slopes / np.abs(slopes).max(), point)
            point = np.clip(step, 0, 1)
        if not found:
            break
        end = found[-1]
        moved = np.abs(np.nan_to_num(end - space.origin, nan=0.5) * ~np.isnan(end))
        banned.add(int(moved.argmax()))
    return found


def _slopes(space: _Space, d: int, point: Array, banned: set[int]) -> tuple[Array, float]:
    """The gradient of the lead by the fields that can still move its way, and the lead."""
    free = [i for i in range(len(point)) if i not in banned]
    tries = [point]
    for i in free:
        for sign in (1, -1):
            moved = point.copy()
            moved[i] = np.clip((0.5 if math.isnan(point[i]) else point[i]) + sign * _STEP, 0, 1)
            tries.append(moved)
    leads = space.lead(tries, d)
    slopes = np.zeros(len(point))
    slopes[free] = (leads[1::2] - leads[2::2]) / (2 * _STEP)
    stuck = ((point <= 0) & (slopes > 0)) | ((point >= 1) & (slopes < 0))
    slopes[stuck] = 0
    if slopes.any():  # the few fields that matter most move, so that the change stays small
        slopes[np.abs(slopes) < np.abs(slopes).max() / 4] = 0
    return slopes, float(leads[0])


def _nearest(space: _Space, d: int, point: Array) -> Array:
    """The point, with as few fields changed as keep the decision turned, drawn back to the boundary."""
    fields = sorted(space.changed(point), key=lambda i: abs(np.nan_to_num(point[i] - space.origin[i], nan=0.5)))
    for i in fields:
        less = point.copy()
        less[i] = space.origin[i]
        if space.changed(less) and space.lead([less], d)[0] < 0:
            point = less
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if space.lead([space.between(point, middle)], d)[0] < 0:
            high = middle
        else:
            low = middle
    return point if high == 1 else space.between(point, min(1.0, high * _BEYOND))


def _told(space: _Space, d: int, name: str, point: Array) -> dict[str, Any] | None:
    """A counterfactual in words and as a request, verified by answering it; None if nothing of it is left."""
    changed = space.changed(point)
    if not changed:
        return None
    request = space.request(point)
    asked = space.asked
    told = asked.explain.decided(asked.row.answer.answer(asked.model, request, **asked.alone)).get(name)
    was = space.item.options[int(space.choice[d])]
    now = space.item.options[int(asked.scores(it := asked.item(request), it.x[None])[0, d].argmax())]
    changes = []
    for i in changed:
        knob, value = space.knobs[i], space.knobs[i].at(point[i])
        changes.append({"field": knob.label, "from": knob.value, "to": value})
    said = " and ".join(_words(c) for c in changes)
    return {
        "says": f"{said} turns {name} from {was} to {now}",
        "changes": changes,
        "labels": [c["field"] for c in changes],
        "fields": len(changes),
        "distance": space.distance(point),
        "becomes": now,
        "verified": told is not None and told != was and told == now,
        "request": request,
    }


def _words(change: dict[str, Any]) -> str:
    old, new = change["from"], change["to"]
    if isinstance(old, int | float) and isinstance(new, int | float):
        return f"{change['field']} {'above' if new > old else 'below'} {new:g} (now {old:.4g})"
    return f"{change['field']} {new} (now {'not given' if old is None else old})"


def _greedy(space: _Space, d: int) -> Array | None:
    """Where a greedy baseline ends: again and again the field whose end lowers the lead most; None beyond 8 fields."""
    point, fields = space.origin.copy(), list(range(len(space.origin)))
    for count in range(1, min(len(point), 8) + 1):
        tries = _ends(point, [(i,) for i in fields])
        leads = space.lead(tries, d)
        best = int(leads.argmin())
        point = tries[best]
        if leads[best] < 0:
            return point
        if count == 1:
            fields = [fields[i] for i in np.argsort(leads.reshape(-1, 2).min(1), kind="stable")[:_FIELDS]]
    return None


def _ordered(space: _Space, d: int) -> int | None:
    """How many fields a plainer greedy baseline changes: all to the ends that lower the lead, in the order of what each
    lowers alone, until the decision turns; None beyond 8."""
    ends = _ends(space.origin, [(i,) for i in range(len(space.origin))])
    leads = space.lead(ends, d).reshape(-1, 2)
    points = [space.origin.copy()]
    for i in np.argsort(leads.min(1), kind="stable")[:8]:
        points.append(points[-1].copy())
        points[-1][i] = float(leads[i].argmin())
    turned = np.flatnonzero(space.lead(points, d) < 0)
    return int(turned[0]) if len(turned) else None


def _ends(point: Array, groups: Sequence[tuple[int, ...]]) -> list[Array]:
    """The point with the fields of every group at the ends of their ranges, each field at either: 2^fields a group."""
    tries = []
    for group in groups:
        for ends in itertools.product((0.0, 1.0), repeat=len(group)):
            moved = point.copy()
            moved[list(group)] = ends
            tries.append(moved)
    return tries


def _fewest(space: _Space, d: int, greedy: Array | None) -> list[Array]:
    """Changes of the fewest fields: one alone, on its range; two at their ends, of those that matter most; greedy's."""
    single = _lines(space, d, space.origin[None])
    if single:
        return sorted(single, key=space.distance)[:_SHOWN]
    assert space.lines is not None
    leads = space.ahead(space.lines, d).reshape(len(space.knobs), -1).min(1)
    pairs = _ends(space.origin, list(itertools.combinations(np.argsort(leads, kind="stable")[:_FIELDS].tolist(), 2)))
    if pairs:
        turned = [pair for pair, lead in zip(pairs, space.lead(pairs, d), strict=True) if lead < 0]
        if turned:
            return sorted(turned, key=space.distance)[:_SHOWN]
    return [] if greedy is None else [greedy]


def _picture(space: _Space, points: Array, scores: Array, decisions: list[dict[str, Any]]) -> dict[str, Any]:
    """The first request's points on their first two principal components, by what its first decision becomes."""
    filled = np.where(np.isnan(points), 0.5, points)
    centred = filled - filled.mean(0)
    _, size, axes = np.linalg.svd(centred, full_matrices=False)
    flat = centred @ axes[:2].T if axes.shape[0] > 1 else np.pad(centred @ axes.T, ((0, 0), (0, 1)))
    total = float(np.square(size).sum()) or 1.0
    return {
        "decision": decisions[0]["decision"],
        "points": flat.round(4).tolist(),
        "becomes": [space.item.options[int(i)] for i in scores[:, 0].argmax(1)],
        "explained": (np.square(size[:2]) / total).round(4).tolist(),
        "axes": [
            [space.knobs[int(i)].label for i in np.argsort(-np.abs(axis), kind="stable")[:3]] for axis in axes[:2]
        ],
    }
