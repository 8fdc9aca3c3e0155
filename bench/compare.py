"""Two commits in one run: is the working tree slower than BASE?

    python -m bench.compare BASE [--limit 0.97] [--mean 0.99] [--seconds 2] [--only PATTERN] [--out FILE]

Both are built by pip, BASE in a scratch worktree (build/compare/COMMIT, kept for the next time), each into a folder
of its own. For every point of bench/points.py each side sets up its call in a process of its own; the two processes
then work by turns of 20 ms, in a random order, and wait while it is the other's turn. What counts is processor time,
so another program on the machine costs little precision. A ratio is BASE's least time by ours: below 1 we are slower.
Below a limit a point is raced again, twice as long each time, up to three times, before it fails.

Exit code 1: a point is below ``--limit``, or the geometric mean of a group below ``--mean``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.points import BYTES, ELEMENTWISE, NETWORKS, PRECISIONS, ROOT, STARTS, label
from bench.report import mean, table

WORK = ROOT / "build" / "compare"
TURN = 0.02  # seconds
LIMIT, MEAN = 0.97, 0.99
TRIES = 3
#: Whole processes and loads do more than compute: the same build differs from itself by a few per cent.
SLACK = {"loading": 0.03, "start": 0.03}

Point = dict[str, Any]  # group, name, and what bench/worker.py needs


def points() -> list[Point]:
    """The points that a process of one commit can set up by public names alone."""
    networks = [
        {
            "group": f"networks {precision}",
            "name": label(net, shape),
            "net": net,
            "shape": shape,
            "precision": precision,
        }
        for precision in PRECISIONS
        for net, shape in NETWORKS
    ]
    kernels = [
        {"group": "kernels", "name": f"{op}, {BYTES[0] >> 10} KiB", "op": op, "bytes": BYTES[0]} for op in ELEMENTWISE
    ]
    loading = [{"group": "loading", "name": net, "load": net} for net in dict.fromkeys(net for net, _ in NETWORKS)]
    starts = [
        {"group": "start", "name": name, "command": command} for name, command in STARTS.items() if "pass" not in name
    ]
    return [*networks, *kernels, *loading, *starts]


class Side:
    """One commit's package, and the process that runs its calls."""

    def __init__(self, site: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["CLAUDE_FLOW_HOME"] = str(site / "workspace")
        command = [sys.executable, str(Path(__file__).with_name("worker.py"))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"bench.compare: a process ended with code {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def race(sides: dict[str, Side], point: Point, seconds: float, limit: float) -> dict[str, Any]:
    """Processor times of a point on both sides, by turns."""
    for name, side in sides.items():
        if problem := side.ask(prepare=point).get("error"):
            return {**_about(point), "left_out": f"{name}: {problem}"}
    samples: dict[str, list[float]] = {name: [] for name in sides}
    order, names = random.Random(0), list(sides)
    for attempt in range(TRIES + 1):
        spent = 0.0
        while spent < seconds * 2**attempt or min(map(len, samples.values())) < 5:
            order.shuffle(names)
            for name in names:
                times = [t for t in sides[name].ask(run=TURN) if t > 0]  # a virtual machine's clock may stand still
                samples[name] += times
                spent += sum(times)
        ratio = min(samples["base"]) / min(samples["ours"])
        if ratio >= limit:
            break
    return {
        **_about(point),
        "ratio": ratio,
        "of medians": statistics.median(samples["base"]) / statistics.median(samples["ours"]),
        "times": {
            name: {"min": min(t), "median": statistics.median(t), "calls": len(t)} for name, t in samples.items()
        },
    }


def _about(point: Point) -> dict[str, Any]:
    return {"group": point["group"], "name": point["name"]}


def verdict(rows: Iterable[dict[str, Any]], limit: float = LIMIT, least_mean: float = MEAN) -> list[str]:
    """What is below its limit, one line each; [] = BASE is not faster."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if "ratio" in row:
            groups.setdefault(row["group"], []).append(row)
    slow = []
    for group, members in groups.items():
        slack = SLACK.get(group, 0.0)
        slow += [
            f"{group}, {row['name']}: {row['ratio']:.3f} < {limit - slack:g}"
            for row in members
            if row["ratio"] < limit - slack
        ]
        average = mean([row["ratio"] for row in members])
        if average < least_mean - slack:
            slow.append(f"{group}, geometric mean: {average:.3f} < {least_mean - slack:g}")
    return slow


def compare(
    sites: dict[str, Path], wanted: list[Point], seconds: float, limit: float, note: Callable[[str], None]
) -> list[Any]:
    """A row per point; ``sites``: folders that hold the package, ``base`` and ``ours``."""
    sides = {name: Side(site) for name, site in sites.items()}
    rows = []
    try:
        for point in wanted:
            rows.append(race(sides, point, seconds, limit - SLACK.get(point["group"], 0.0)))
            note(f"{point['group']}, {point['name']}: {rows[-1].get('left_out') or format(rows[-1]['ratio'], '.3f')}")
    finally:
        for side in sides.values():
            side.close()
    return rows


def install(source: Path, site: Path) -> Path:
    """Build the package of a source tree into ``site``."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--upgrade",
        "--target",
        str(site),
        str(source),
    ]
    subprocess.run(command, check=True)
    return site


def checkout(revision: str) -> tuple[str, Path]:
    """The commit that ``revision`` names, and its package, built unless it was before."""
    named = subprocess.run(
        ["git", "rev-parse", "--verify", f"{revision}^{{commit}}"], cwd=ROOT, capture_output=True, text=True
    )
    if named.returncode:
        raise SystemExit(f"bench.compare: git knows no commit {revision!r}")
    commit = named.stdout.strip()[:12]
    site, tree = WORK / commit / "site", WORK / commit / "tree"
    if not (site / "claude_flow").exists():
        if not tree.exists():
            subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)
            subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], cwd=ROOT, check=True)
        install(tree, site)
        subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)
    return commit, site


def page(rows: list[dict[str, Any]]) -> str:
    """A table per group."""
    parts = []
    for group in dict.fromkeys(row["group"] for row in rows):
        members = [row for row in rows if row["group"] == group]
        cells = [
            [row["name"], None, None, None, row["left_out"]]
            if "left_out" in row
            else [
                row["name"],
                *(1e3 * row["times"][side]["min"] for side in ("base", "ours")),
                row["ratio"],
                row["of medians"],
            ]
            for row in members
        ]
        if ratios := [row["ratio"] for row in members if "ratio" in row]:
            cells.append(["geometric mean", None, None, mean(ratios), None])
        parts.append(f"## {group}\n\n" + table(["point", "base, ms", "ours, ms", "ratio", "of medians"], cells))
    return "\n\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__.splitlines()[0])
    parser.add_argument("base", help="a commit, branch or tag")
    parser.add_argument("--limit", type=float, default=LIMIT, help=f"least ratio of a point (default {LIMIT})")
    parser.add_argument("--mean", type=float, default=MEAN, help=f"least geometric mean of a group (default {MEAN})")
    parser.add_argument("--seconds", type=float, default=2.0, help="of processor time for each point (default 2)")
    parser.add_argument("--only", default="", help="a regular expression: points whose group and name it finds")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "compare.json")
    options = parser.parse_args()
    wanted = [point for point in points() if re.search(options.only, f"{point['group']}, {point['name']}")]
    if not wanted:
        parser.error(f"no point's name has {options.only!r}")
    commit, base = checkout(options.base)
    sites = {"base": base, "ours": install(ROOT, WORK / "ours")}
    rows = compare(sites, wanted, options.seconds, options.limit, lambda line: print(line, file=sys.stderr))
    slow = verdict(rows, options.limit, options.mean)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"base": commit, "rows": rows, "slow": slow}, indent=1) + "\n", "utf-8")
    limits = (
        f"limits: a point {options.limit:g}, a group's geometric mean {options.mean:g}; loading and start 0.03 less"
    )
    print(f"The working tree against {commit}: BASE's least processor time by ours; {limits}.\n\n{page(rows)}\n")
    print("\n".join(["slower than BASE:", *slow]) if slow else "no slower than BASE")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
