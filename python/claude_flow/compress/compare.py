"""All versions of a model side by side: accuracy against latency, and which of them no other beats in both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from claude_flow import modelfile, registry
from claude_flow.compress.evidence import trial
from claude_flow.errors import InputError
from claude_flow.measure.race import race
from claude_flow.model import assemble, load
from claude_flow.report.charts import Draw
from claude_flow.report.progress import Progress, nothing

__all__ = ["compare", "family", "front", "plot"]


def family(name: str) -> list[Path]:
    """The model files of all versions of ``name``, and of all models whose cards lead back to it; its own first.

    Raises :class:`InputError` for an unknown model.
    """
    root = registry.model_path(name)
    base = registry.model_name(root).partition("/")[0]
    members, found = {base}, [root]
    everything = [path for paths in registry.models().values() for path in paths]
    while True:
        born = [path for path in everything if path not in found and _of(path) & members]
        if not born:
            break
        found += born
        members |= {registry.model_name(path).partition("/")[0] for path in born}
    shipped = registry.built_in(base)
    return found if shipped is None or shipped in found else [*found, shipped]


def _of(path: Path) -> set[str]:
    """The names that a model file belongs to: its own, and its parent's."""
    parent = str(registry.model_card(path).get("parent", ""))
    return {name.partition("/")[0] for name in (registry.model_name(path), parent)}


def compare(
    name: str,
    *,
    data: str | None = None,
    measure: str | None = None,
    seconds: float = 2.0,
    progress: Progress = nothing,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Judge all versions of ``name`` on the same held-out data, time them by turns, and find the Pareto front."""
    paths = family(name)
    files = [modelfile.read(path, packed=True) for path in paths]
    network = files[0].network
    if len({file.network for file in files}) > 1:
        raise InputError(f"the versions of {name} are of several networks: versions of one can be compared")
    models = [load(path) for path in paths]
    rows: list[dict[str, Any]] = []
    with trial(models[0], data, measure, None, say) as (test, _):
        for index, (path, model) in enumerate(zip(paths, models, strict=True)):
            progress(0.7 * index / len(paths), registry.model_name(path))
            evidence = test.of(model)
            c, card = evidence.guarded, registry.model_card(path)
            rows.append(
                {
                    "model": registry.model_name(path),
                    "parent": card.get("parent"),
                    "method": card.get("method", {}).get("name") if isinstance(card.get("method"), dict) else None,
                    "precision": model.precision,
                    "bytes": path.stat().st_size,
                    "value": c.after,
                    "kept": c.ratio,
                    "low": c.low,
                    "agreement": evidence.agreement,
                }
            )
        higher = test.higher
    progress(0.7, "measuring")
    laps = race([assemble(p, f) for p, f in zip(paths, files, strict=True)], seconds)
    for row, lap in zip(rows, laps, strict=True):
        row |= {"milliseconds": lap.milliseconds, "speedup": lap.speedup}
    best = front([(row["milliseconds"], row["value"] if higher else -row["value"]) for row in rows])
    for index, row in enumerate(rows):
        row["pareto"] = index in best
    answer = {"model": rows[0]["model"], "network": network, "data": test.data, "measure": test.measure}
    return {**answer, "better": "higher" if higher else "lower", "versions": rows}


def front(points: Sequence[tuple[float, float]]) -> set[int]:
    """Of (cost, value): those that no other beats in one without losing in the other.

    >>> sorted(front([(1.0, 0.5), (2.0, 0.9), (3.0, 0.8)]))
    [0, 1]
    """
    return {
        i
        for i, (cost, value) in enumerate(points)
        if not any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)
    }


def plot(answer: dict[str, Any]) -> Draw:
    """The versions over their latency, the front as a line."""

    def draw(axes: Any) -> None:
        rows = answer["versions"]
        line = sorted((row["milliseconds"], row["value"]) for row in rows if row["pareto"])
        axes.plot(*zip(*line, strict=True), color="0.6", linewidth=1, zorder=1)
        for row in rows:
            size = 30 + 200 * row["bytes"] / max(other["bytes"] for other in rows)
            axes.scatter(row["milliseconds"], row["value"], size, alpha=0.6, zorder=2)
            axes.annotate(
                row["model"], (row["milliseconds"], row["value"]), fontsize=8, xytext=(6, 6), textcoords="offset points"
            )
        axes.set(xlabel="milliseconds per answer", ylabel=f"{answer['measure']} ({answer['better']} is better)")
        axes.set_title(f"Versions of {answer['model']} on {answer['data']}; area = file size", fontsize=9)

    return draw
