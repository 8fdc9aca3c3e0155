"""What docs/insight.md says of its methods, measured on the models that ship and written into it.

python -m bench.insight

Simulated requests; the first ones of a fixed seed. ``--requests`` is their number, ``--models`` takes some of them.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import registry
from claude_flow.insight import boundaries, features
from claude_flow.insight.asked import Asked

PAGE = Path(__file__).parents[1] / "docs" / "insight.md"
SEED, TOKENS, ROUNDS = 1303, 32, 15
MODELS = ("coordination-v3", "coordination-v2", "coordination-v2-general", "optimization-v2", "prediction-v2")
DECIDING = ("coordination-v3", "optimization-v2")
ABLATED = "coordination-v3"


def asked(model: str, count: int) -> Asked:
    """The model with so many simulated requests."""
    found = Asked(registry.model_path(model), "typical-" + registry.model_path(model).stem.partition("-")[0] + "-tasks")
    found.groups = {"simulated": [found.item(r) for r in found.row.prepare.requests(count, SEED)]}
    return found


def explained(names: list[str], count: int) -> list[list[str]]:
    """Integrated gradients of every model: completeness, and deletion curves beside random orders."""
    rows = []
    for name in names:
        begin = time.process_time()
        found = features.features(asked(name, count), "integrated-gradients")
        curve, about = found["curves"]["deletion"], found["completeness"]
        error = f"{about['median_error']:.2%}, {about['largest_error']:.2%}"
        areas = f"{curve['area']:.3f}, {curve['random_area']:.3f}"
        rows.append([name, str(count), error, areas, f"{curve['p_corrected']:.2g}"])
        print(*rows[-1], f"{time.process_time() - begin:.0f} s of CPU", file=sys.stderr, flush=True)
    return rows


def turned(names: list[str], count: int) -> list[list[str]]:
    """Counterfactuals: how many are verified, and their fields beside two greedy searches'."""
    rows = []
    for name in names:
        begin = time.process_time()
        found = boundaries.boundaries(asked(name, count), "adversarial", samples=100)
        about = found["verified"]
        row = [name, str(found["requests"]["looked_at"]), f"{found['turned']['decisions']} of {found['turned']['of']}"]
        row.append(f"{about['share']:.1%} of {about['counterfactuals']}")
        for rival in found["sparsity"].values():
            p = "-" if rival["p"] is None else f"{rival['p']:.2g}"
            said = f"fewer in {rival['fewer_in']}, more in {rival['more_in']} of {rival['decisions']}"
            row.append(f"{rival['own']:.2f} and {rival['fields']:.2f}; {said}; p {p}")
        rows.append(row)
        print(*row, f"{time.process_time() - begin:.0f} s of CPU", file=sys.stderr, flush=True)
    return rows


def ablated() -> list[list[str]]:
    """Milliseconds of CPU of `ablation` on one request of 32 tokens: its values alone, and with the curves."""
    from claude_flow.networks.coordination.prepare import requests

    several = list(requests(12, SEED))
    agents = [agent for r in several for agent in r["current-agents"]][: TOKENS // 3]
    tasks = [task for r in several for task in r["pending-tasks"]][: TOKENS - 1 - len(agents)]
    request = {
        "current-agents": [{**agent, "id": f"agent-{i}"} for i, agent in enumerate(agents)],
        "pending-tasks": [{**task, "id": f"task-{i}"} for i, task in enumerate(tasks)],
        "system-state": several[0].get("system-state", {}),
    }
    one = asked(ABLATED, 1)
    one.groups = {"one": [one.item(request)]}
    (item,) = one.items
    choice, base = one.choice(item), np.zeros_like(item.x)

    def lead(rows: Any) -> Any:
        return one.lead(one.scores(item, rows), choice)

    def milliseconds(run: Any) -> str:
        times = []
        for _ in range(ROUNDS):
            begin = time.process_time()
            run()
            times.append(time.process_time() - begin)
        return f"{1e3 * statistics.median(times[1:]):.0f} ms"

    values = milliseconds(lambda: features.ENGINE["ablation"](item, base, lead, None, np.random.default_rng(0)))
    whole = milliseconds(lambda: features.features(one, "ablation"))
    return [[ABLATED, str(len(item.tokens)), str(len(item.parts)), values, whole]]


def write(name: str, columns: list[str], rows: list[list[str]], page: Path = PAGE) -> None:
    """Put a table between the marks of that name of a page."""
    lines = ["| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows)]
    text = page.read_text("utf-8")
    mark = re.compile(rf"(<!-- bench.insight {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not mark.search(text):
        raise SystemExit(f"{page} has no marks for {name}")
    page.write_text(mark.sub(lambda m: m[1] + "\n".join(lines) + "\n" + m[2], text), "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.insight", description=__doc__)
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--only", choices=["features", "boundaries", "ablation"])
    options = parser.parse_args()
    names = options.models.split(",")
    if options.only in (None, "ablation"):
        columns = ["model", "tokens", "inputs", "its values", "with the curves"]
        write("ablation", columns, ablated())
    if options.only in (None, "features"):
        columns = ["model", "requests", "completeness error, median and largest"]
        columns += ["deletion, area by value and at random", "p"]
        write("features", columns, explained(names, options.requests))
    if options.only in (None, "boundaries"):
        columns = ["model", "requests", "decisions turned", "verified"]
        columns += ["fields, own and stepwise greedy", "fields, own and greedy by order"]
        write("boundaries", columns, turned([n for n in names if n in DECIDING], options.requests))
    return 0


if __name__ == "__main__":
    sys.exit(main())
