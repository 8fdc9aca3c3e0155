"""docs/performance.md from bench/results.json, and the like of other machines: every figure is computed here.

python -m bench.report [--check]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench import ROOT
from bench.points import ENGINES, OURS, RIVALS
from claude_flow.measure.plots import roofline
from claude_flow.report import charts

DOCS = ROOT / "docs"
MISSING = "not measured"

Row = Sequence[Any]
Mark = tuple[str, str, str, bool | None]  # what, to reach, found, whether (None: not measured)


def table(columns: Row, rows: Iterable[Row]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 100
        else str(round(value) if isinstance(value, float) else value)
    )


def mean(ratios: Sequence[float]) -> float:
    """The geometric one."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def name(row: dict[str, Any]) -> str:
    return f"{row['network']} {'×'.join(map(str, row['shape']))}"


def ratio(times: dict[str, Any], rivals: Iterable[str], measure: str = "min") -> float | None:
    """Time of the fastest rival by ours."""
    found = [times[rival][measure] for rival in rivals if rival in times]
    return min(found) / times[OURS][measure] if found and OURS in times else None


# Marks ---------------------------------------------------------------------------------------------------------------


def marks(found: dict[str, Any]) -> list[Mark]:
    models, kernels, footprint = (found.get(part, {}) for part in ("models", "kernels", "footprint"))
    rows: list[Mark] = []
    for threads in (1, 2):
        for precision, wanted in (("fp32", 1.15), ("int8", 1.4)):
            points = [p for p in models.get("points", []) if (p["threads"], p["precision"]) == (threads, precision)]
            ratios = [r for p in points if (r := ratio(p["times"], RIVALS[precision])) is not None]
            what = f"{precision}, {threads} thread{'s' if threads > 1 else ''}, fastest rival / ours, nine points"
            if len(ratios) < 9:
                rows.append((what, f"mean ≥ {wanted}, each ≥ 1", f"{MISSING} ({len(ratios)} of 9 points)", None))
                continue
            text = f"mean {mean(ratios):.2f}, least {min(ratios):.2f}"
            rows.append((what, f"mean ≥ {wanted}, each ≥ 1", text, mean(ratios) >= wanted and min(ratios) >= 1))
    speedups = [_speedup(row) for row in models.get("scaling", []) if "times" in row]
    rows.append(_least("two threads against one, batches ≥ 32", speedups, 1.75, "×"))
    gemm = kernels.get("gemm", [])
    peak = [_share_of_peak(row, "avx512") for row in gemm if row["size"] == 1024 and "avx512" in row["peaks"]]
    rows.append(_least("avx512 product 1024³, share of the multiply-add peak", peak, 0.92))
    blas = [row["times"]["openblas"]["min"] / row["times"][f"{OURS} avx2"]["min"] for row in gemm]
    rows.append(_least("avx2 products 128…1024, OpenBLAS (AVX2) time / ours", blas if len(blas) == 4 else [], 0.97))
    sets = [row["times"] for row in models.get("instruction_sets", []) if {"sse41", "avx2"} <= set(row["times"])]
    slower = mean([t["sse41"]["min"] / t["avx2"]["min"] for t in sets]) if sets else None
    reached = None if slower is None else slower <= 2.6
    rows.append(("sse41 network time / avx2", "≤ 2.6", MISSING if slower is None else f"{slower:.2f}", reached))
    for kernel, wanted in [
        ("layer_norm", 1.3),
        ("softmax", 1.3),
        *((k, 1.5) for k in ("gelu", "tanh", "sigmoid", "exp")),
    ]:
        sizes = [r for r in kernels.get("elementwise", []) if r["kernel"] == kernel and OURS in r["times"]]
        ratios = [r for row in sizes if (r := ratio(row["times"], ("onnxruntime", "pytorch"))) is not None]
        rows.append(_least(f"{kernel}, best of PyTorch and ONNX Runtime / ours", ratios, wanted))
        if wanted == 1.3:
            copies = [row["times"]["copy"]["min"] / row["times"][OURS]["min"] for row in sizes]
            rows.append(_least(f"{kernel}, share of an in-cache copy's bandwidth", copies, 0.6))
    load = footprint.get("load", {}).get("first_answer", {}).get("min")
    rows.append(_most("coordination model, file to first answer", load, 0.040, 1e3, "ms"))
    rows.append(_most("a call of a tiny model", footprint.get("call", {}).get("min"), 3e-6, 1e6, "µs"))
    rows.append(_most("the extension module, stripped", footprint.get("stripped"), 3 << 20, 1 / (1 << 20), "MiB"))
    return rows


def _least(what: str, values: Sequence[float], wanted: float, unit: str = "") -> Mark:
    if not values:
        return what, f"≥ {wanted}{unit}", MISSING, None
    return what, f"≥ {wanted}{unit}", f"least {min(values):.2f}{unit}", min(values) >= wanted


def _most(what: str, value: float | None, wanted: float, scale: float, unit: str) -> Mark:
    limit = f"≤ {wanted * scale:g} {unit}"
    return (
        (what, limit, MISSING, None) if value is None else (what, limit, f"{value * scale:.2g} {unit}", value <= wanted)
    )


def _speedup(row: dict[str, Any]) -> float:
    return float(row["times"]["1"]["min"] / row["times"]["2"]["min"])


def _share_of_peak(row: dict[str, Any], isa: str) -> float:
    return 1e9 * _rate(row, f"{OURS} {isa}") / float(row["peaks"][isa])


def _rate(row: dict[str, Any], engine: str) -> float:
    """GFLOP/s."""
    return float(row["operations"] / row["times"][engine]["min"] / 1e9)


# The page ------------------------------------------------------------------------------------------------------------


def pages() -> dict[Path, Path]:
    """Results -> the page on them: one per kind of machine that was measured."""
    return {
        results: DOCS / f"{results.stem.replace('results', 'performance')}.md"
        for results in sorted((ROOT / "bench").glob("results*.json"))
    }


def page(found: dict[str, Any], results: str = "results.json") -> str:
    """The page on what `results` in bench/ holds."""
    folder = Path(results).stem.replace("results", "performance")
    environment = found["environment"]
    models, kernels = found.get("models", {}), found.get("kernels", {})
    versions = ", ".join(f"{package} {version}" for package, version in environment["versions"].items())
    caches = ", ".join(f"L{c['level']} {c['bytes'] >> 10} KiB" for c in environment["caches"])
    lines = [
        f"# Performance{' with AVX2, without AVX-512' if environment['isa'] == 'avx2' else ''}",
        "",
        f"Generated by `make bench` from [bench/{results}](../bench/{results}); no figure here is typed. A ratio",
        "compares contenders that took turns in one process on one input with as many threads, after their results",
        "agreed; it is the rival's time divided by ours, so above 1 we are faster. Times are the least of many calls,",
        "since other work on the machine only adds; ratios of medians stand beside them. With two threads, every turn",
        "waits until all threads of the process are idle: some engines' threads spin for up to 50 ms after a call.",
        "",
        table(
            ["measured on", ""],
            [
                ["CPU", f"{environment['cpu']}, {environment['cpus']} CPUs, {caches}"],
                ["instruction sets", f"{', '.join(environment['available'])}; auto takes {environment['isa']}"],
                ["versions", versions],
                ["OpenBLAS", f"{environment['blas']}, kernels {environment['blas_kernels']}"],
                ["system", f"{environment['system']}, Python {environment['python']}"],
                ["load average at the end", f"{environment['load']:.2f}"],
                [
                    "commit, time",
                    f"{environment['commit']}, {environment['time']}"
                    + (", a quick run" if environment["quick"] else ""),
                ],
            ],
        ),
        "",
        "## Marks",
        "",
        table(["mark", "to reach", "found", "reached"], [_mark_row(mark) for mark in marks(found)]),
        "",
        "## Networks",
        "",
        "Random weights at the full size. Milliseconds, and the fastest rival's time by ours.",
    ]
    for precision in ("fp32", "int8"):
        for threads in (1, 2):
            points = [p for p in models.get("points", []) if (p["precision"], p["threads"]) == (precision, threads)]
            if points:
                lines += [
                    "",
                    f"**{precision}, {threads} thread{'s' if threads > 1 else ''}**",
                    "",
                    _points(points, precision),
                ]
    left_out = {
        f"{name(p)}, {p['precision']}: {engine}: {why}"
        for p in models.get("points", [])
        for engine, why in p["left_out"].items()
    }
    if left_out:
        lines += ["", "Left out or run otherwise, with what they said:", ""] + [
            f"* {line}" for line in sorted(left_out)
        ]
    lines += ["", f"![Ratios at the nine points]({folder}/ratios.svg)"]
    if sets := models.get("instruction_sets"):
        isas = environment["available"]
        rows = [
            [name(row), *(1e3 * row["times"][isa]["min"] if isa in row["times"] else None for isa in isas)]
            for row in sets
        ]
        lines += ["", "### Instruction sets, fp32, one thread, milliseconds", "", table(["input", *isas], rows)]
    if scaling := models.get("scaling"):
        rows = [
            [
                name(row),
                row["precision"],
                *(
                    [1e3 * row["times"][n]["min"] for n in "12"] + [_speedup(row)]
                    if "times" in row
                    else [row["left_out"], None, None]
                ),
            ]
            for row in scaling
        ]
        lines += [
            "",
            "### Two threads",
            "",
            table(["input", "precision", "1 thread, ms", "2 threads, ms", "speed-up"], rows),
        ]
        lines += ["", f"![Scaling]({folder}/scaling.svg)"]
    lines += [
        "",
        "## Roofline",
        "",
        "Each op of the networks, one thread, against what this machine reads and multiplies at best; ops on 8-bit",
        "integers against what it multiplies of those.",
        "",
    ]
    if ceilings := kernels.get("ceilings"):
        lines += [_ceilings(ceilings), ""]
    lines += [f"![{_title(profile)}]({folder}/{_file(profile)})" for profile in models.get("profiles", [])]
    if profiles := models.get("profiles"):
        rows = [
            [_title(p), k["kind"], k["ops"], 1e3 * k["seconds"], f"{k['of_the_time']:.0%}", f"{k['share']:.0%}"]
            for p in profiles
            for k in p["kinds"]
            if k["of_the_time"] >= 0.01 and k["share"] is not None
        ]
        lines += ["", table(["network", "kind of op", "ops", "ms", "of the time", "of its limit"], rows)]
    lines += ["", "## Kernels", "", _kernels(kernels)]
    if footprint := found.get("footprint"):
        load, call = footprint["load"], footprint["call"]
        lines += ["", "## Around the arithmetic", ""]
        lines += [
            table(
                ["", "least", "median"],
                [
                    ["load the coordination model, ms", 1e3 * load["load"]["min"], 1e3 * load["load"]["median"]],
                    [
                        "file to first answer, ms",
                        1e3 * load["first_answer"]["min"],
                        1e3 * load["first_answer"]["median"],
                    ],
                    ["call of a tiny model, µs", 1e6 * call["min"], 1e6 * call["median"]],
                    ["extension module, KiB", footprint["module"] >> 10, None],
                ],
            )
        ]
    return "\n".join(lines) + "\n"


def _mark_row(mark: Mark) -> Row:
    what, wanted, found, reached = mark
    return [what, wanted, found, "–" if reached is None else "yes" if reached else "**no**"]


def _points(points: Sequence[dict[str, Any]], precision: str) -> str:
    engines = ENGINES[precision]
    rows = []
    for p in points:
        times = [1e3 * p["times"][engine]["min"] if engine in p["times"] else None for engine in engines]
        snr = [f"{p['snr'][OURS]:.0f}" if OURS in p["snr"] else None] if precision == "int8" else []
        rows.append([name(p), *times, *(ratio(p["times"], RIVALS[precision], m) for m in ("min", "median")), *snr])
    columns = ["input", *engines, "ratio", "of medians", *(["our signal to noise, dB"] if precision == "int8" else [])]
    return table(columns, rows)


def _ceilings(ceilings: Sequence[dict[str, Any]]) -> str:
    sizes = [f"{size >> 10} KiB, GB/s" for size, _ in ceilings[0]["bytes_per_second"]]
    rows = [
        [
            row["isa"],
            row["operations_per_second"] / 1e9,
            row["int8_operations_per_second"] / 1e9 if "int8_operations_per_second" in row else None,
            *(rate / 1e9 for _, rate in row["bytes_per_second"]),
        ]
        for row in ceilings
    ]
    return table(["limits of one thread", "fp32, GFLOP/s", "int8, Gop/s", *sizes], rows)


def _kernels(kernels: dict[str, Any]) -> str:
    parts = []
    if gemm := kernels.get("gemm"):
        isas = list(gemm[0]["peaks"])
        rows = [
            [
                f"{row['size']}³",
                *(f"{_rate(row, f'{OURS} {isa}'):.0f} ({_share_of_peak(row, isa):.0%})" for isa in isas),
                _rate(row, "openblas"),
            ]
            for row in gemm
        ]
        parts.append(
            "Matrix product, GFLOP/s and share of the multiply-add peak measured beside it; "
            "ours has its weight packed at load."
        )
        parts.append(table(["size", *isas, "OpenBLAS"], rows))
    if rows_ := kernels.get("elementwise"):
        rows = []
        for row in rows_:
            bandwidth = {engine: 2 * row["bytes"] / t["min"] / 1e9 for engine, t in row["times"].items()}
            engines = [bandwidth.get(engine) for engine in (OURS, "onnxruntime", "pytorch", "copy")]
            rows.append(
                [row["kernel"], f"{row['bytes'] >> 10} KiB", *engines, ratio(row["times"], ("onnxruntime", "pytorch"))]
            )
        parts.append("Others, GB/s read and written, one thread.")
        parts.append(table(["kernel", "input", OURS, "ONNX Runtime", "PyTorch", "copy", "ratio"], rows))
    return "\n\n".join(parts)


# Plots ---------------------------------------------------------------------------------------------------------------


def _title(profile: dict[str, Any]) -> str:
    tokens = f", {profile['tokens']} tokens" if profile["tokens"] > 1 else ""
    items = f"{profile['items']} item{'s' if profile['items'] > 1 else ''}"
    return f"{profile['network']} {profile['precision']}, {items}{tokens}"


def _file(profile: dict[str, Any]) -> str:
    return f"roofline-{profile['network']}-{profile['precision']}-{profile['items']}x{profile['tokens']}.svg"


def plots(found: dict[str, Any], folder: Path) -> None:
    models = found.get("models", {})
    for profile in models.get("profiles", []):
        charts.write(folder / _file(profile), _title(profile), [roofline(profile)], [])
    if models.get("points"):
        charts.write(folder / "ratios.svg", "Fastest rival's time by ours", [_ratios(models["points"])], [])
    if models.get("scaling"):
        charts.write(
            folder / "scaling.svg",
            "Two threads against one; instruction sets against avx2",
            [_scaling(models["scaling"]), _isas(models["instruction_sets"])],
            [],
        )


def _ratios(points: Sequence[dict[str, Any]]) -> charts.Draw:
    def draw(axes: Any) -> None:
        names = list(dict.fromkeys(map(name, points)))
        groups = [(precision, threads) for precision in ("fp32", "int8") for threads in (1, 2)]
        for index, (precision, threads) in enumerate(groups):
            chosen = {
                name(p): ratio(p["times"], RIVALS[precision])
                for p in points
                if (p["precision"], p["threads"]) == (precision, threads)
            }
            heights = [chosen.get(n) or 0.0 for n in names]
            axes.bar(
                [i + 0.2 * (index - 1.5) for i in range(len(names))],
                heights,
                0.2,
                label=f"{precision}, {threads} thread(s)",
            )
        axes.axhline(1.0, color="0.3", linewidth=0.8)
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=7)
        axes.legend(fontsize=7)

    return draw


def _scaling(rows: Sequence[dict[str, Any]]) -> charts.Draw:
    def draw(axes: Any) -> None:
        shown = [row for row in rows if "times" in row]
        axes.bar([f"{name(row)}\n{row['precision']}" for row in shown], [_speedup(row) for row in shown])
        axes.axhline(2.0, color="0.3", linewidth=0.8)
        axes.tick_params(axis="x", labelsize=6, rotation=30)
        axes.set_ylabel("speed-up of 2 threads")

    return draw


def _isas(rows: Sequence[dict[str, Any]]) -> charts.Draw:
    def draw(axes: Any) -> None:
        isas = list(rows[0]["times"])
        base = "avx2" if "avx2" in isas else isas[-1]
        for row in rows:
            heights = [row["times"][base]["min"] / row["times"][isa]["min"] for isa in isas]
            axes.plot(isas, heights, marker="o", label=name(row))
        axes.set(yscale="log", ylabel=f"speed against {base}")
        axes.legend(fontsize=6)

    return draw


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a page is not what it would be")
    options = parser.parse_args()
    for results, target in pages().items():
        found = json.loads(results.read_text("utf-8"))
        text = page(found, results.name)
        if options.check:
            if target.read_text("utf-8") != text:
                print(f"{target} differs from what {results} gives: run  python -m bench.report", file=sys.stderr)
                return 1
            continue
        target.write_text(text, "utf-8")
        plots(found, target.with_suffix(""))
        print(target)
        for what, wanted, value, reached in marks(found):
            print(f"{'?' if reached is None else 'yes' if reached else 'NO':4} {what}: {value} (to reach: {wanted})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
