"""python -m bench.scale [--requests N] [--distributed]: what a request costs, and what a billion a day would.

Files of requests of all networks, drawn at random from each network's simulated ones, are answered by `infer batch`'s
own function in a process that is held to one core. Times are CPU times of that process: a core's work, however busy the
machine is. Writes bench/scale.json and the tables of docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
FOUND = Path(__file__).with_name("scale.json")
DISTINCT = 1000  # requests of each network
BATCH = 16
KEPT = 24  # calls of the engine of each network that are done again by themselves
DAYS = (10**5, 10**6, 10**7, 10**8, 10**9)
LOAD = 0.7  # of a core, so that waiting stays short
MACHINE = 16  # cores


def lines(count: int, seed: int) -> Iterator[str]:
    from claude_flow import networks

    pool = [
        json.dumps({"network": row.name, "input": request}) + "\n"
        for row in networks.NETWORKS.values()
        for request in row.prepare.requests(DISTINCT, seed)
    ]
    choose = random.Random(seed)
    return (choose.choice(pool) for _ in range(count))


def _peak() -> int:
    """Bytes of memory that this process had at most. In getrusage the parent's count too: exec hands them on."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


class Clock:
    """CPU seconds inside the engine, by network, and some of its calls to repeat."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, list[tuple[Any, Any, Any, float]]] = {}

    def __enter__(self) -> Clock:
        from claude_flow.model import Model

        self._run = run = Model.run

        def timed(model: Any, x: Any, lengths: Any = None, *, batch: int | None = None) -> Any:
            begin = time.process_time()
            y = run(model, x, lengths, batch=batch)
            took = time.process_time() - begin
            self.seconds[model.network] = self.seconds.get(model.network, 0.0) + took
            calls = self.calls.setdefault(model.network, [])
            if len(calls) < KEPT:
                calls.append((model, x, lengths, took))
            return y

        Model.run = timed  # type: ignore[method-assign]
        return self

    def __exit__(self, *error: object) -> None:
        from claude_flow.model import Model

        Model.run = self._run  # type: ignore[method-assign]

    def raw(self) -> float:
        """How long the kept calls take by themselves, of how long they took: 1 is as fast."""
        took = again = 0.0
        for calls in self.calls.values():
            for model, x, lengths, seconds in calls[2:] or calls:  # the first ones warm up
                best = min(self._again(model, x, lengths) for _ in range(3))
                took, again = took + seconds, again + best
        return again / took

    def _again(self, model: Any, x: Any, lengths: Any) -> float:
        begin = time.process_time()
        self._run(model, x, lengths, batch=BATCH)
        return time.process_time() - begin


def answered(path: Path, target: Path) -> dict[str, Any]:
    """A file answered on one core: run in a process of its own."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from claude_flow.run import batch

    ensemble = batch.Ensemble()
    with Clock() as clock:
        begin = time.process_time()
        summary = batch.answer_file(path, target, ensemble, batch_size=BATCH, parallel=False)
        total = time.process_time() - begin
    assert summary.errors == 0, summary.first_errors
    engine = sum(clock.seconds.values())
    count = summary.answered
    return {
        "requests": count,
        "total_us": total / count * 1e6,
        "engine_us": engine / count * 1e6,
        "outside_us": (total - engine) / count * 1e6,
        "engine_share_of_raw": clock.raw(),
        "peak_mb": _peak() / 1e6,
        "bytes_in": path.stat().st_size / count,
        "bytes_out": target.stat().st_size / count,
    }


def single(path: Path) -> dict[str, Any]:
    """The same requests in a loop, one by one, as a program would that knows nothing of batches."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from claude_flow import networks, requests
    from claude_flow.model import load_for
    from claude_flow.values import plain

    models = {name: load_for(name) for name in networks.NETWORKS}
    told = path.read_text().splitlines()
    seconds = 0.0
    for i, line in enumerate(told):
        begin = time.process_time()
        asked = requests.parse(line, i + 1, "requests.jsonl")
        json.dumps(plain(networks.get(asked.network).answer.answer(models[asked.network], asked.input)))
        if i >= len(told) // 4:  # the first ones warm up
            seconds += time.process_time() - begin
    return {"single_us": seconds / (len(told) - len(told) // 4) * 1e6}


def hook() -> dict[str, Any]:
    """Milliseconds of Claude Code's hook, from its start to its end, over a transcript that grew by a megabyte."""
    from claude_flow.integrations import claude_code

    line = json.dumps(
        {"type": "assistant", "sessionId": "s", "message": {"content": [{"type": "text", "text": "a" * 900}]}}
    )
    taken, cpu = [], []
    with tempfile.TemporaryDirectory() as folder:
        transcript = Path(folder) / "s.jsonl"
        payload = {"session_id": "s", "transcript_path": str(transcript), "cwd": folder, "hook_event_name": "Stop"}
        for _ in range(20):
            with transcript.open("a") as file:
                file.write((line + "\n") * 1000)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            begin = time.perf_counter()
            subprocess.run(["sh", "-c", claude_code.hook_command()], input=json.dumps(payload), text=True, check=True,
                           env={**os.environ, "CLAUDE_FLOW_HOME": folder})  # fmt: skip
            taken.append((time.perf_counter() - begin) * 1e3)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3)
    return {"hook_ms": statistics.median(taken), "hook_cpu_ms": statistics.median(cpu)}


def nodes(path: Path, count: int) -> dict[str, Any]:
    """The file on so many local Ray workers: requests a second of wall time, and the driver's own work."""
    from claude_flow.run import distributed
    from claude_flow.run.cluster import Cluster

    names = [f"node-{i}" for i in range(count)]
    begin_all, cpu = time.perf_counter(), time.process_time()
    first = last = None
    target = path.with_suffix(f".{count}.answers")
    for progress in distributed.answer_file(path, target, Cluster(names), fault_tolerance="retry", batch_size=256):
        if first is None and progress.summary.requests:
            first = time.perf_counter(), progress.summary.requests
        last = time.perf_counter(), progress.summary.requests
    assert first is not None
    assert last is not None
    done = last[1] - first[1]
    return {
        "per_s": done / (last[0] - first[0]),
        "driver_us": (time.process_time() - cpu) / last[1] * 1e6,
        "seconds": time.perf_counter() - begin_all,
    }


def apart(what: str, *words: str) -> dict[str, Any]:
    """A part in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench.scale", "--part", what, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(what, found, file=sys.stderr, flush=True)
    return found


def measure(count: int, with_nodes: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"batch": BATCH, "cpu": _cpu(), "by_network": {}}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CLAUDE_FLOW_HOME"] = str(Path(folder) / "workspace")
        whole, part, few = (Path(folder) / name for name in ("whole.jsonl", "part.jsonl", "few.jsonl"))
        for path, size, seed in ((whole, count, 1), (part, max(count // 10, 100), 2), (few, 1200, 3)):
            path.write_text("".join(lines(size, seed)))
        found["mixed"] = apart("answered", str(whole), str(whole) + ".out")
        found["tenth"] = apart("answered", str(part), str(part) + ".out")
        found["mixed"] |= apart("single", str(few))
        everything = part.read_text().splitlines(keepends=True)
        for name in ("coordination", "optimization", "prediction", "action"):
            own = Path(folder) / f"{name}.jsonl"
            own.write_text("".join(line for line in everything if f'"network": "{name}"' in line))
            found["by_network"][name] = apart("answered", str(own), str(own) + ".out")
        found |= apart("hook")
        if with_nodes:
            found["nodes"] = {n: apart("nodes", str(part), n) for n in ("1", "2")}
    return found


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    return name.group(1) if name else "unknown"


# The page ----------------------------------------------------------------------------------------------------------


def page(found: dict[str, Any]) -> str:
    mixed, tenth = found["mixed"], found["tenth"]
    marks = [
        ("outside the engine, µs a request", mixed["outside_us"], "at most 40", mixed["outside_us"] <= 40),
        ("engine, µs a request", mixed["engine_us"], "", None),
        ("the engine's speed within, of its speed alone", mixed["engine_share_of_raw"], "at least 0.9",
         mixed["engine_share_of_raw"] >= 0.9),
        ("a loop of single answers takes so many times as long", mixed["single_us"] / mixed["total_us"], "at least 5",
         mixed["single_us"] / mixed["total_us"] >= 5),
        ("peak memory, MB", mixed["peak_mb"], "at most 300", mixed["peak_mb"] <= 300),
        ("... of a tenth of the file", tenth["peak_mb"], "", None),
        ("Claude Code's hook, ms from start to end", found["hook_ms"], "at most 50", found["hook_ms"] <= 50),
        ("... of which CPU", found["hook_cpu_ms"], "", None),
    ]  # fmt: skip
    if "nodes" in found:
        ratio = found["nodes"]["2"]["per_s"] / found["nodes"]["1"]["per_s"]
        marks.append(("two local workers, times as fast as one", ratio, "at least 1.7", ratio >= 1.7))
    rows = [
        [what, f"{value:.3g}", mark, {None: "", True: "yes", False: "**no**"}[is_met]]
        for what, value, mark, is_met in marks
    ]
    by = [
        [name, *(f"{one[key]:.3g}" for key in ("outside_us", "engine_us", "engine_share_of_raw")),
         f"{one['bytes_in']:.0f}", f"{one['bytes_out']:.0f}"]
        for name, one in found["by_network"].items()
    ]  # fmt: skip
    text = [
        f"`python -m bench.scale`: {mixed['requests']:,} requests of all networks in equal parts, simulated, on one "
        f"core ({found['cpu']}), batches of {found['batch']}. CPU time, so a busy machine adds what its caches lose.",
        "",
        *_table(["", "measured", "mark", "met"], rows),
        "",
        *_table(["network", "outside, µs", "engine, µs", "of its speed alone", "bytes in", "bytes out"], by),
        "",
        *_growth(found),
    ]
    return "\n".join(text)


def _growth(found: dict[str, Any]) -> list[str]:
    """Cores and bytes for so many requests a day, and what gives out first."""
    mixed = found["mixed"]
    driver = found["nodes"]["1"]["driver_us"] if "nodes" in found else None
    rows = []
    for day in DAYS:
        a_second = day / 86400
        one, many = (a_second * mixed[key] / 1e6 / LOAD for key in ("single_us", "total_us"))
        traffic = a_second * (mixed["bytes_in"] + mixed["bytes_out"]) / 1e6
        writers = a_second * driver / 1e6 / LOAD if driver else 0.0
        if one <= 1:
            limit = "nothing: one core answers them one by one"
        elif many <= 1:
            limit = "a core, one by one: batches keep it to one"
        elif many <= MACHINE:
            limit = "a core: one process per core, of one machine"
        elif writers <= 1:
            limit = "a machine: `infer distributed`"
        else:
            limit = f"the process that places and writes: {int(writers) + 1} of them, a file each"
        share = mixed["engine_us"] / mixed["total_us"]
        rows.append([f"{day:,}", f"{a_second:,.1f}", f"{one:,.2f}", f"{many:,.2f}", f"{share:.0%}", f"{traffic:,.2f}",
                     f"{day * mixed['bytes_out'] / 1e9:,.1f}", limit])  # fmt: skip
    title = "**What it takes as requests grow**, worked out from the figures above, at "
    title += f"{LOAD:.0%} of a core's time, spread evenly over the day" + (
        f"; the process that places shards and writes answers spends {driver:.0f} µs a request." if driver else "."
    )
    columns = ["requests a day", "a second", "cores, one by one", "cores, in batches", "of it the engine",
               "MB/s in and out", "GB of answers a day", "what gives out first"]  # fmt: skip
    return [title, "", *_table(columns, rows)]


def _table(columns: list[str], rows: list[list[str]]) -> list[str]:
    bar = ["|" + "---|" * len(columns)]
    return ["| " + " | ".join(columns) + " |", *bar, *("| " + " | ".join(row) + " |" for row in rows)]


def write(found: dict[str, Any]) -> None:
    FOUND.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    before, _, rest = PAGE.read_text("utf-8").partition("<!-- measured -->\n")
    _, _, after = rest.partition("<!-- end -->")
    PAGE.write_text(f"{before}<!-- measured -->\n\n{page(found)}\n\n<!-- end -->{after}", "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--distributed", action="store_true", help="two local Ray workers against one, too")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        what, *words = options.part
        parts: dict[str, Any] = {
            "answered": lambda: answered(Path(words[0]), Path(words[1])),
            "single": lambda: single(Path(words[0])),
            "hook": hook,
            "nodes": lambda: nodes(Path(words[0]), int(words[1])),
        }
        print(json.dumps(parts[what]()))
        return 0
    write(measure(options.requests, options.distributed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
