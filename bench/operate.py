"""python -m bench.operate [loop] [kill] [rollback]: operation proved on simulated worlds, into docs/operate_proofs.md.

loop      half a year of a swarm whose world shifts three times, retrained by `maintain` without a person, beside the
          model that is never retrained; at the end a canary that is bad on purpose.
kill      100 times kill -9 of a process that logs events and retrains: some at a random moment of a cycle, the others
          at a random moment of a step, each in turn; then everything is counted.
rollback  `serve` at 70 % of its capacity, while `coordination` is pointed back to an earlier version.

Results are kept in build/operate.json, and the page is written from them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import files, modelfile, networks, registry, requests
from claude_flow.measure import machine
from claude_flow.model import load
from claude_flow.watch import alerts, audit, policies, retrain

ROOT = Path(__file__).parents[1]
PAGE, KEPT = ROOT / "docs" / "operate_proofs.md", ROOT / "build" / "operate.json"
#: where `loop` and `kill` are kept, and go on after an interruption
LOOPED, KILLED = ROOT / "build" / "operate-loop", ROOT / "build" / "operate-killed"
BEGIN = datetime(2026, 1, 5, tzinfo=timezone.utc)
DAYS, ASKED, BEFORE = 182, 12, 60  # days, requests a day, days of history
SHIFTS = (40, 90, 140)
AGENTS, KINDS = ("coder", "tester", "reviewer", "architect"), ("write", "test", "review", "design")
GOOD, BAD = 0.9, 0.25
POLICY = policies.Policy(
    "coordination-v3",
    "coordination",
    {"performance-degradation": 0.05},
    canary_share=0.25,
    canary_outcomes=20,
    window="10d",
)
SMALL = {"width": 32, "heads": 2, "feed_forward": [32]}


def best(day: int) -> list[int]:
    """Which agent is good at each kind of task: every shift moves all of them on by one."""
    return [(kind + sum(day >= shift for shift in SHIFTS)) % len(AGENTS) for kind in range(len(KINDS))]


def chance(day: int, kind: int, agent: int) -> float:
    return GOOD if best(day)[kind] == agent else BAD


def request(kind: int, number: int) -> dict[str, Any]:
    return {
        "current-agents": [{"id": f"{name}-1", "type": name} for name in AGENTS],
        "pending-tasks": [{"id": f"t{number}", "type": KINDS[kind], "description": f"{KINDS[kind]} part {number % 9}"}],
    }


def event(day: float, number: int, kind: int, agent: int, good: bool, by: str) -> dict[str, Any]:
    start = BEGIN + timedelta(days=day)
    return {
        "event": "run",
        "run_id": f"{by}-{number}",
        "group": "shop",
        "project": "shop",
        "agent": f"{AGENTS[agent]}-1",
        "agent_type": AGENTS[agent],
        "task": f"{by}-t{number}",
        "task_type": KINDS[kind],
        "description": f"{KINDS[kind]} part {number % 9}",
        "submitted": start.isoformat(),
        "start": start.isoformat(),
        "end": (start + timedelta(seconds=60)).isoformat(),
        "status": "completed" if good else "failed",
        "success": good,
    }


def use(folder: Path) -> None:
    """Have this process and its children use the workspace of a folder, and no logs but its own."""
    os.environ.update(CLAUDE_FLOW_HOME=f"{folder}/neural", HOME=str(folder), OMP_NUM_THREADS="1")
    for name in ("CLAUDE_PROJECT_DIR", "CLAUDE_FLOW_TIME_BUDGET"):
        os.environ.pop(name, None)


def neural(*words: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "claude_flow", "neural", *words, "--format", "json"],
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def start(generator: np.random.Generator) -> Path:
    """Sixty days of history, and the model that learned it; returns its file."""
    lines = []
    for number in range(BEFORE * ASKED):
        kind = int(generator.integers(len(KINDS)))
        agent = best(0)[kind] if generator.random() < 0.7 else int(generator.integers(len(AGENTS)))
        good = bool(generator.random() < chance(0, kind, agent))
        lines.append(event(number / ASKED - BEFORE, number, kind, agent, good, "history"))
    folder = registry.workspace() / "events"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = {"coordination-training": {"epochs": 8, "network": SMALL}}
    path = registry.workspace() / "configs" / "small.json"
    path.parent.mkdir()
    path.write_text(json.dumps(config))
    neural("data", "collect")
    neural("data", "preprocess")
    neural("train", "coordination", "--config", "small", "--data", "preprocessed-coordination-data", "--output",
           "coordination-v3")  # fmt: skip
    tables = registry.dataset_path("swarm-training-data")
    shutil.copytree(tables, tables.with_name("as-it-began"))
    return registry.model_path("coordination-v3")


def in_use() -> Path:
    """The model that answers the next request."""
    there = registry.versions("coordination")
    return registry.asked(registry.model_path("coordination" if there else "coordination-v3"))


def choose(path: Path, asked: dict[str, Any], history: str | None) -> tuple[int, dict[str, Any]]:
    """The agent that a model names (of commands, the first agent behind), and its answer."""
    answer = networks.get("coordination").answer.answer(load(path), asked, historical_context=history)
    names = [choice["choice"] for choice in answer["assignments"][0]["candidates"]]
    picked = next((name for name in names if name.endswith("-1")), f"{AGENTS[0]}-1")
    return AGENTS.index(picked.removesuffix("-1")), answer


def log_answer(number: int, day: float, asked: dict[str, Any], answer: dict[str, Any], good: bool) -> None:
    """What `infer` logs, with the simulated time, and its outcome."""
    folder = registry.workspace()
    moment = (BEGIN + timedelta(days=day)).isoformat()
    entry = requests.Request(f"r{number}", "coordination", asked, None, moment, 0.002, answer)
    requests.append(folder / "requests" / "000001.jsonl", entry)
    file = folder / "outcomes" / "a.jsonl"
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as out:
        out.write(json.dumps({"id": f"r{number}", "correct": good}) + "\n")


def loop(seconds: float) -> dict[str, Any] | None:
    """The half year; None if the time is up: after every day all is kept in :data:`LOOPED`, and gone on with."""
    begin, until, generator = time.perf_counter(), time.monotonic() + seconds, np.random.default_rng(16)
    file = LOOPED / "days.json"
    use(LOOPED)
    if not file.is_file():
        shutil.rmtree(LOOPED, ignore_errors=True)
        start(generator)
        policies.schedule([POLICY])
        kept: dict[str, Any] = {"day": 0, "number": 0, "did": [], "fixed": {}, "seconds": 0.0}
        kept["lost"] = {"retrained": [], "never": []}
    else:
        kept = json.loads(file.read_text())
        generator.bit_generator.state = kept["generator"]
    first, number, before = registry.model_path("coordination-v3"), kept["number"], kept["seconds"]
    lost, did, fixed = kept["lost"], kept["did"], kept["fixed"]  # fixed: what the never retrained says to each request
    for day in range(kept["day"], DAYS):
        if time.monotonic() > until:
            return None
        lines = []
        for i in range(ASKED):
            number += 1
            kind, moment = int(generator.integers(len(KINDS))), day + i / ASKED
            asked = request(kind, number)
            agent, answer = choose(in_use(), asked, None)
            same = f"{kind} {number % 9}"
            if same not in fixed:
                fixed[same], _ = choose(first, asked, "as-it-began")
            for name, chosen in (("retrained", agent), ("never", fixed[same])):
                lost[name].append(GOOD - chance(day, kind, chosen))
            others = [int(other) for other in generator.permutation(len(AGENTS)) if other != agent]
            for attempt, taken in enumerate([agent, *others]):  # a task that failed is given to somebody else
                good = bool(generator.random() < chance(day, kind, taken))
                if attempt == 0:
                    log_answer(number, moment, asked, answer, good)
                lines.append(event(moment, number, kind, taken, good, f"a{attempt}"))
                lines[-1]["task"] = f"t{number}"
                if good:
                    break
        with (registry.workspace() / "events" / "a.jsonl").open("a") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)
        look = retrain.check(POLICY)["did"]
        if not look.startswith(("nothing", "the canary")):
            did.append([day, look])
        took = before + time.perf_counter() - begin
        kept |= {"day": day + 1, "number": number, "seconds": took, "generator": generator.bit_generator.state}
        files.atomic_write(file, json.dumps(kept))
        print(f"day {day}, {took:.0f} s: {look}", file=sys.stderr, flush=True)
    regret = {name: float(np.mean(values)) for name, values in lost.items()}
    ended = [e["detail"] or {} for e in audit.entries() if (e["step"], e["state"]) == ("canary", "done")]
    return {
        "regret": regret,
        "ratio": regret["retrained"] / regret["never"],
        "did": did,
        "canaries": [[c["answers"], c["of"]] for c in ended if "answers" in c],
        "bad": bad_canary(generator, number),
        "seconds": before + time.perf_counter() - begin,
    }


def bad_canary(generator: np.random.Generator, number: int) -> dict[str, Any]:
    """A canary that is wrong on purpose answers until it is found: of how many requests it got how many."""
    if not registry.versions("coordination"):
        return {}
    now = audit.state(POLICY.model)
    if now["cycle"] and not now["ended"]:
        audit.note(POLICY.model, "cycle", "failed", "the loop is over", now["cycle"])
    worse = registry.add_model("coordination-candidate", None, registry.model_path("coordination"),
                               {"network": "coordination"})  # fmt: skip
    policy = replace(POLICY, canary_share=0.1)
    audit.note(POLICY.model, "cycle", "begun", {"because": ["a proof"], "volume": 0}, "bad")
    for step in retrain.STEPS[: retrain.STEPS.index("canary")]:
        audit.note(POLICY.model, step, "done", {"candidate": registry.model_name(worse)}, "bad")
    did, answered = retrain.check(policy)["did"], Counter[str]()
    bad = registry.canary("coordination")
    for _ in range(60):
        for _ in range(ASKED):
            number += 1
            kind = int(generator.integers(len(KINDS)))
            path, asked = in_use(), request(kind, number)
            name = registry.model_name(path)
            answered[name] += 1
            _, answer = choose(path, asked, None)
            good = bad is not None and not name.endswith(bad["version"]) and generator.random() < 0.7
            log_answer(number, DAYS, asked, {**answer, "model": name}, good)
        did = retrain.check(policy)["did"]
        if not did.startswith("the canary"):
            break
    reached = answered[f"coordination/{bad['version']}"] if bad else 0
    return {"did": did, "reached": reached, "of": sum(answered.values()), "share": policy.canary_share}


# kill -9 --------------------------------------------------------------------------------------------------

#: the steps, but for the approval, which is no work here; and in which order they are aimed at: the last, which change
#: what is deployed, take milliseconds once a cycle has come so far, and a killed cycle goes on there
TARGETS = tuple(step for step in retrain.STEPS if step != "approval")
AIMED = tuple(step for step in TARGETS for _ in range({"shadow": 2, "canary": 3, "deploy": 3}.get(step, 1)))
#: seconds between two events of the worker, and of a day of theirs: the window of ten days holds some 600 of them, and
#: they reach the present, beyond which no time is believed, after nearly three hours
PAUSE, DAY = 0.5, 30.0
#: of a training and of a race of both models: what is killed is the loop, and starting its commands takes longer
LEARNS = "1s"
KILLED_POLICY = replace(POLICY, conditions={"new-data-volume": 1.0}, canary_share=0.0)


def worker() -> None:
    """Log events and follow the schedule for ever; says on standard output what is safely logged."""
    generator = np.random.default_rng(os.getpid())
    folder = registry.workspace() / "events"
    file, began = folder / "b.jsonl", (folder / "a.jsonl").stat().st_mtime

    def write() -> None:
        while True:
            number = time.time_ns()
            kind = int(generator.integers(len(KINDS)))
            agent = best(0)[kind] if generator.random() < 0.7 else int(generator.integers(len(AGENTS)))
            good = bool(generator.random() < chance(0, kind, agent))
            alerts.append_line(file, event((time.time() - began) / DAY, number, kind, agent, good, "b"))
            print(f"b-{number}", flush=True)
            time.sleep(PAUSE)

    threading.Thread(target=write, daemon=True).start()
    while True:
        retrain.check(KILLED_POLICY, force=True)


def kill(times: int, seconds: float) -> dict[str, Any] | None:
    """Kill the worker until it was killed so often; None if the time is up: what was done is kept in :data:`KILLED`,
    and gone on with."""
    begin, until = time.perf_counter(), time.monotonic() + seconds
    use(KILLED)
    os.environ["CLAUDE_FLOW_TIME_BUDGET"] = LEARNS
    file = KILLED / "killed.json"
    if not file.is_file():
        shutil.rmtree(KILLED, ignore_errors=True)
        start(np.random.default_rng(16))
        policies.schedule([KILLED_POLICY])
        retrain.check(KILLED_POLICY, force=True)  # a cycle that nobody kills says how long its steps take
        files.atomic_write(file, json.dumps({"kills": 0, "stopped": {}, "aimed": {}, "told": [], "seconds": 0.0}))
    kept = json.loads(file.read_text())
    stopped, aimed, before = Counter[str](kept["stopped"]), Counter[str](kept["aimed"]), kept["seconds"]
    chances = random.Random(16 + kept["kills"])
    while kept["kills"] < times and time.monotonic() < until:
        process = subprocess.Popen([sys.executable, "-m", "bench.operate", "worker"], stdout=subprocess.PIPE,
                                   cwd=ROOT, start_new_session=True)  # fmt: skip
        assert process.stdout is not None
        reader = Reader(process.stdout)  # a full pipe would hold the worker up
        reader.first.wait()  # from here on it runs
        lasts = _took()
        if 8 * stopped.total() < aimed.total():
            count, wait = stopped, chances.uniform(0, sum(lasts.values()))
        else:
            count, step = aimed, AIMED[aimed.total() % len(AIMED)]
            wait = chances.uniform(0, lasts[step])
            _wait_for(step, process)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)  # the process alone: what it started must end by itself
        process.wait()
        kept["told"] += reader.lines()
        now = audit.state(POLICY.model)
        ended = now["cycle"] is None or now["ended"] is not None
        count["between cycles" if ended else next((s for s in retrain.STEPS if s not in now["done"]), "deployed")] += 1
        took = before + time.perf_counter() - begin
        kept |= {"kills": kept["kills"] + 1, "stopped": stopped, "aimed": aimed, "seconds": took}
        files.atomic_write(file, json.dumps(kept))
        print(kept["kills"], dict(stopped), dict(aimed), file=sys.stderr, flush=True)
    if kept["kills"] < times:
        return None
    # One more process, left alone, must end what was begun.
    last = retrain.check(KILLED_POLICY, force=True)["did"]
    logged = Counter(entry.get("run_id") for entry in alerts.read_lines(registry.workspace() / "events" / "b.jsonl"))
    broken = []
    for name in ("coordination", "coordination-candidate", "coordination-v3"):
        for folder in (registry.workspace() / "models" / name).glob("[!.]*"):
            try:
                if folder.name == "current.json":
                    registry.current(name)
                    continue
                load(folder / "model.safetensors")
                registry.model_card(folder / "model.safetensors")
                modelfile.read(folder / "model.safetensors")
            except Exception as error:  # whatever it is, the version is not whole
                broken.append(f"{name}/{folder.name}: {error}")
    cycles = Counter(e["state"] for e in audit.entries() if e["step"] == "cycle")
    return {
        "kills": kept["kills"],
        "stopped": dict(stopped),
        "aimed": dict(aimed),
        "told": len(kept["told"]),
        "lost": sum(logged[line] == 0 for line in kept["told"]),
        "twice": sum(logged[line] > 1 for line in kept["told"]),
        "versions": len(registry.versions("coordination")),
        "broken": broken,
        "temporary": sum(1 for _ in (registry.workspace() / "models").rglob(".*.tmp")),
        "cycles": dict(cycles),
        "last": last,
        "seconds": before + time.perf_counter() - begin,
    }


class Reader(threading.Thread):
    """Reads what a process tells until it ends; ``first`` is set by its first line."""

    def __init__(self, stream: Any) -> None:
        super().__init__(daemon=True)
        self._stream, self._heard, self.first = stream, b"", threading.Event()
        self.start()

    def run(self) -> None:
        for line in self._stream:
            self._heard += line
            self.first.set()

    def lines(self) -> list[str]:
        """All whole lines, once the process has ended."""
        self.join()
        return self._heard.decode().split("\n")[:-1]


def _wait_for(step: str, process: subprocess.Popen[bytes]) -> None:
    """Until the newest cycle is in that step. It reads what is added to the log alone: some steps take milliseconds."""
    with audit.path().open() as log:
        log.seek(0, os.SEEK_END)
        now, line = audit.state(POLICY.model), ""
        inside = now["ended"] is None and step in now["begun"] and step not in now["done"]
        while not inside and process.poll() is None:
            while (line := line + log.readline()).endswith("\n"):
                entry, line = json.loads(line), ""
                if entry["step"] == step:
                    inside = entry["state"] == "begun"
            time.sleep(0.0005)
    if process.poll() is not None:
        raise SystemExit(f"the worker ended by itself, with {process.returncode}")


def _took() -> dict[str, float]:
    """Seconds of every step, the least that it ever took, since one that was killed counts from its first beginning."""
    begun: dict[str, datetime] = {}
    took: dict[str, float] = {}
    for entry in audit.entries(POLICY.model):
        step, moment = entry["step"], datetime.fromisoformat(entry["time"])
        if entry["state"] == "begun":
            begun[step] = moment
        elif entry["state"] == "done" and step in begun:
            took[step] = min(took.get(step, 60.0), (moment - begun.pop(step)).total_seconds())
    return took


# Rollback under load --------------------------------------------------------------------------------------


def rollback(seconds: float = 20.0, clients: int = 4) -> dict[str, Any]:
    body = json.dumps({"input": request(0, 1)}).encode()
    with tempfile.TemporaryDirectory() as folder:
        use(Path(folder))
        for number in ("3.1.0", "3.2.1"):
            neural("version", "create", "--model", "coordination-v3", "--version", number, "--changes", "x")
        server = subprocess.Popen([sys.executable, "-m", "claude_flow", "neural", "serve", "--models", "coordination",
                                   "--port", "0", "--format", "json"], stdout=subprocess.PIPE, text=True)  # fmt: skip
        try:
            assert server.stdout is not None
            text = server.stdout.readline()
            while not text.endswith("\n}\n"):  # the end of the object that says where it listens
                text += server.stdout.readline()
            address = f"{json.loads(text)['address']}/infer/coordination"
            most = _load(address, body, clients, 5.0, None)
            rate = 0.7 * len(most) / 5.0
            rows: list[tuple[float, int, str]] = []
            thread = threading.Thread(target=lambda: rows.extend(_load(address, body, clients, seconds, rate)))
            thread.start()
            moments = []
            for turn in range(6):
                time.sleep(seconds / 7)
                number = ("3.1.0", "3.2.1")[turn % 2]
                registry.point("coordination", number, "a proof")
                moments.append((time.time(), f"coordination/{('3.2.1', '3.1.0')[turn % 2]}"))
            thread.join()
        finally:
            server.terminate()
            server.wait(30)
        rows.sort()
        gaps = []
        for i, (moment, old) in enumerate(moments):
            until = moments[i + 1][0] if i + 1 < len(moments) else float("inf")
            late = [end for end, _, model in rows if moment < end < until and model == old]
            gaps.append(1000 * (max(late) - moment) if late else 0.0)
        return {
            "clients": clients,
            "capacity": len(most) / 5.0,
            "rate": rate,
            "requests": len(rows),
            "failed": sum(status != 200 for _, status, _ in rows),
            "milliseconds": gaps,
            "models": dict(Counter(model for _, _, model in rows)),
        }


def _load(address: str, body: bytes, clients: int, seconds: float, rate: float | None) -> list[tuple[float, int, str]]:
    """Requests of so many clients for so long, at a rate of all together or as fast as they are answered: when each
    answer was there, its status, and the model that answered."""
    rows: list[tuple[float, int, str]] = []
    end = time.time() + seconds

    def client(index: int) -> None:
        due = time.time() + (index / rate if rate else 0)
        while time.time() < end:
            if rate:
                time.sleep(max(0.0, due - time.time()))
                due += clients / rate
            asked = urllib.request.Request(address, body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(asked, timeout=30) as reply:
                    rows.append((time.time(), reply.status, json.loads(reply.read())["model"]))
            except OSError as error:
                rows.append((time.time(), getattr(error, "code", 0), ""))

    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rows


# The page -------------------------------------------------------------------------------------------------


def write(values: dict[str, Any]) -> None:
    lines = ["<!-- Written by `python -m bench.operate`. -->", "", "# Operation, proved", ""]
    if found := values.get("loop"):
        regret, bad = found["regret"], found["bad"]
        lines += [
            "## Half a year with three shifts",
            "",
            f"A simulated swarm of four agents and four kinds of task, {ASKED} requests a day for {DAYS} days; on days "
            f"{', '.join(map(str, SHIFTS))} other agents become the good ones ({GOOD:.0%} against {BAD:.0%}). "
            "A task that failed is given to others, in random order, until one of them does it. The "
            "model that is never retrained keeps the history that it began with. Regret: the best agent's chance of "
            "success less the chosen one's.",
            "",
            "| | mean regret |",
            "|---|---|",
            f"| never retrained | {regret['never']:.4f} |",
            f"| `maintain`, without a person | {regret['retrained']:.4f} ({found['ratio']:.0%}) |",
            "",
            f"It took {found['seconds'] / 60:.1f} minutes ({found['machine']}). What was done:",
            "",
            "| day | |",
            "|---|---|",
            *(f"| {day} | {text} |" for day, text in found["did"]),
            "",
            f"Canaries answered {', '.join(f'{a} of {n}' for a, n in found['canaries']) or 'nothing'} requests; their "
            f"share is {POLICY.canary_share:.0%}.",
        ]
        if bad:
            reached = f"{bad['reached']} of {bad['of']} requests ({bad['reached'] / bad['of']:.1%})"
            told = (
                f"A canary that is always wrong, with a share of {bad['share']:.0%}, reached {reached}: {bad['did']}."
            )
            lines += ["", told]
    if found := values.get("kill"):
        broken = "; ".join(found["broken"]) or "none"
        lines += [
            "",
            "## kill -9",
            "",
            f"The process that follows the schedule was killed {found['kills']} times ({found['seconds'] / 60:.0f} "
            f"minutes, {found['machine']}): {sum(found['stopped'].values())} times at a random moment, no later after "
            f"its start than a whole cycle takes, and {sum(found['aimed'].values())} times at a random moment of a "
            "step that was waited for, the steps in turn, the last three oftener. A training and a race of both models "
            f"were given {LEARNS}, since the loop is what is killed. What had not ended then:",
            "",
            "| | at random | in turn |",
            "|---|---|---|",
            *(
                f"| {step} | {found['stopped'].get(step, 0)} | {found['aimed'].get(step, 0)} |"
                for step in (*TARGETS, *sorted({*found["stopped"], *found["aimed"]} - {*TARGETS}))
            ),
            "",
            "| | |",
            "|---|---|",
            f"| events that were acknowledged | {found['told']} |",
            f"| of these lost | {found['lost']} |",
            f"| of these twice | {found['twice']} |",
            f"| versions of coordination, all loaded | {found['versions']} |",
            f"| versions that are not whole | {broken} |",
            f"| temporary files that kills left; a write an hour later removes them | {found['temporary']} |",
            f"| cycles | {', '.join(f'{count} {state}' for state, count in found['cycles'].items())} |",
            f"| the process after the last | {found['last']} |",
        ]
    if found := values.get("rollback"):
        slowest = max(found["milliseconds"])
        lines += [
            "",
            "## Rollback under load",
            "",
            f"`serve` with {found['clients']} clients at 70 % of its capacity ({found['rate']:.0f} of "
            f"{found['capacity']:.0f} requests a second, {found['machine']}), while `coordination` was pointed back "
            f"and forth {len(found['milliseconds'])} times.",
            "",
            "| | |",
            "|---|---|",
            f"| requests | {found['requests']} |",
            f"| failed | {found['failed']} |",
            f"| milliseconds from the change to the last answer of the old version | "
            f"{', '.join(f'{ms:.0f}' for ms in found['milliseconds'])} (at most {slowest:.0f}) |",
        ]
    files.atomic_write(PAGE, "\n".join(lines) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.operate", description=__doc__)
    parser.add_argument("what", nargs="*", choices=["loop", "kill", "rollback", "worker"])
    parser.add_argument("--kills", type=int, default=100, help="how often; those of an earlier command count")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="loop and kill for so long; the next call goes on"
    )
    options = parser.parse_args()
    if options.what == ["worker"]:
        worker()
    for what in options.what or ["loop", "kill", "rollback"]:
        if what == "rollback":
            found: dict[str, Any] | None = rollback()
        else:
            found = loop(options.seconds) if what == "loop" else kill(options.kills, options.seconds)
        if found is None:
            print(f"{what}: the time is up; the next call goes on", file=sys.stderr)
            continue
        values = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
        about = f"{machine.cpu_name()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}"
        values[what] = {**found, "machine": about}
        files.atomic_write(KEPT, json.dumps(values, indent=1))
        write(values)
    return 0


if __name__ == "__main__":
    sys.exit(main())
