"""kill -9 of the loop at random moments: no lost event, no half version, and it goes on by itself.

Here the last steps of a cycle alone, whose version is a copy; ``python -m bench.operate kill`` has whole cycles.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter

from claude_flow import registry
from claude_flow.model import load
from claude_flow.watch import alerts, audit, policies

POLICY = policies.Policy("coordination-v3", "coordination", {"new-data-volume": 1.0}, canary_share=0.0)
LOOP = """
import itertools
from claude_flow import registry
from claude_flow.watch import alerts, audit, policies, retrain
policy = policies.schedules()["coordination-v3"]
events = registry.workspace() / "events" / "a.jsonl"
for number in itertools.count(sum(1 for _ in alerts.read_lines(events))):
    alerts.append_line(events, {"run_id": f"r{number}"})
    print(f"r{number}", flush=True)
    now = audit.state(policy.model)
    if now["cycle"] is None or now["ended"]:
        now = {"cycle": f"c{number}", "done": {}}
        audit.note(policy.model, "cycle", "begun", {"because": ["a test"], "volume": 0}, now["cycle"])
    missing = [step for step in retrain.STEPS[: retrain.STEPS.index("shadow")] if step not in now["done"]]
    if missing:  # all, or what a kill left to be noted
        card = {"network": "coordination"}
        path = registry.add_model("coordination-candidate", None, registry.model_path("coordination-v3"), card)
        for step in missing:
            audit.note(policy.model, step, "done", {"candidate": registry.model_name(path), "volume": 0}, now["cycle"])
    retrain.check(policy)
"""


def test_a_loop_that_is_killed_loses_nothing_and_goes_on():
    policies.schedule([POLICY])
    chances, told = random.Random(3), []
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        told.append(process.stdout.readline())  # it runs
        time.sleep(chances.uniform(0, 0.7))
        process.send_signal(signal.SIGKILL)
        told += process.communicate()[0].splitlines(keepends=True)
    subprocess.run([sys.executable, "-c", f"{LOOP}    break"], stdout=subprocess.PIPE, check=True)  # it goes on
    events = Counter(entry["run_id"] for entry in alerts.read_lines(registry.workspace() / "events" / "a.jsonl"))
    acknowledged = [line.strip() for line in told if line.endswith("\n")]
    assert acknowledged
    assert [run for run in acknowledged if events[run] != 1] == []
    for version in registry.versions("coordination"):
        path = registry.model_path(f"coordination/{version}")
        assert load(path).network == registry.model_card(path)["network"] == "coordination"
    cycles = Counter(entry["state"] for entry in audit.entries() if entry["step"] == "cycle")
    assert cycles["deployed"] == cycles["begun"] >= 1
    made = [registry.model_card(registry.model_path(f"coordination/{v}"))["made_from"]
            for v in registry.versions("coordination")[1:]]  # fmt: skip
    assert len(set(made)) == len(made)  # no version was made twice
