"""What was measured, drawn onto matplotlib's axes: the roofline, load, latency."""

from __future__ import annotations

from typing import Any

from claude_flow.report.charts import Draw

__all__ = ["latency", "load", "roofline"]


def roofline(answer: dict[str, Any]) -> Draw:
    """The ops of a ``profile.computation`` under the machine's ceilings."""

    def draw(axes: Any) -> None:
        ceilings = answer["ceilings"]
        tops = {"fp32": ceilings["operations_per_second"]}
        if answer["precision"] != "fp32":
            tops["int8"] = ceilings["int8_operations_per_second"]
        top = max(tops.values())
        ops = [op for op in answer["ops"] if op["operations"] and op["operations_per_second"]]
        intensities = [op["operations"] / op["bytes"] for op in ops]
        lowest, highest = min([0.1, *intensities]), max([100.0, *intensities])
        steps = [lowest * (highest / lowest) ** (i / 100) for i in range(101)]
        for rate in ceilings["bytes_per_second"]:
            line = [min(top, step * rate["rate"]) / 1e9 for step in steps]
            axes.plot(steps, line, color="0.6", linewidth=0.8)
            axes.annotate(f"{rate['working_set'] >> 10} KiB", (steps[0], line[0]), fontsize=7, color="0.4")
        for precision, limit in tops.items():
            axes.axhline(limit / 1e9, color="0.3", linewidth=0.8, linestyle="--")
            axes.annotate(f"{precision} limit", (steps[-1], limit / 1e9), fontsize=7, ha="right", va="bottom")
        for kind in dict.fromkeys(op["kind"] for op in ops):
            points = [(i, op) for i, op in zip(intensities, ops, strict=True) if op["kind"] == kind]
            sizes = [20 + 400 * op["seconds"] / answer["seconds"] for _, op in points]
            axes.scatter(
                [i for i, _ in points],
                [op["operations_per_second"] / 1e9 for _, op in points],
                sizes,
                label=kind,
                alpha=0.6,
            )
        axes.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="10⁹ operations per second")
        axes.legend(title="area = time")

    return draw


def load(answer: dict[str, Any]) -> Draw:
    """Latency over the number of clients, of a ``workload.benchmark``."""

    def draw(axes: Any) -> None:
        for kind in dict.fromkeys(row["workload"] for row in answer["rows"]):
            rows = sorted((row for row in answer["rows"] if row["workload"] == kind), key=lambda row: row["clients"])
            clients = [row["clients"] for row in rows]
            (line,) = axes.plot(clients, [row["p50_ms"] for row in rows], marker="o", label=f"{kind}, p50")
            axes.plot(
                clients,
                [row["p99_ms"] for row in rows],
                marker="^",
                linestyle=":",
                color=line.get_color(),
                label=f"{kind}, p99",
            )
        axes.set(yscale="log", xlabel="clients", ylabel="milliseconds")
        axes.legend()

    return draw


def latency(answer: dict[str, Any]) -> Draw:
    """The percentiles of a ``profile.latency``."""

    def draw(axes: Any) -> None:
        shares = answer["percentiles"]
        for row in answer["rows"]:
            label = f"{row['variation']}: {row['input']}"
            axes.plot([str(p) for p in shares], [row[f"p{p}_ms"] for p in shares], marker="o", label=label)
        axes.set(yscale="log", xlabel="percentile", ylabel="milliseconds")
        axes.legend()

    return draw
