"""python -m bench.worlds --data FOLDER [--only TEXT] [--seconds N]: what policies are worth in the worlds of
``swarm-coordination-env``, into docs/worlds.md.

Rules are tuned by the same number of candidates on training episodes; then everybody plays the same 20 held-out seeds.
Results are kept in build/worlds.json as they come, so that an interrupted command goes on (--seconds ends it).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import environments, files, statistics
from claude_flow.environments import REWARDS, WORLDS, job_rules, replay_rules
from claude_flow.environments.jobs import JobsWorld
from claude_flow.environments.replay import FEATURES, Replay, ReplayWorld, read_runs
from claude_flow.environments.rules import at_random, play, played
from claude_flow.environments.scorer import Scorer, evolve
from claude_flow.environments.swarm import Swarm

ROOT = Path(__file__).parents[1]
PAGE, KEPT = ROOT / "docs" / "worlds.md", ROOT / "build" / "worlds.json"
SEEDS, CANDIDATES, TUNED_ON = 20, 12, 2
TRAIN, VALIDATION, TEST = 10_000_000, 1_000_000, 2_000_000  # first seeds
LOADS = (0.65, 0.5)
JOBS = 60
GENERATIONS = 12
REWARD = "efficiency-improvement"
TABLES = {
    "SWE-bench Pro": "swebench_pro_agent_runs_data.csv.gz",
    "SWE-bench Verified": "swebench_verified_bash.csv.gz",
}
#: tables and attempts, in the order in which they are played
SETTINGS = (("SWE-bench Pro", 3), ("SWE-bench Verified", 3), ("SWE-bench Pro", 1))


class Kept:
    """Results by name, kept in a file as they come."""

    def __init__(self, only: str, until: float) -> None:
        self._only, self._until = only, until
        self.values: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.is_file() else {}

    def have(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of that name; made now if it is asked for and there is time. None where there is none."""
        if name not in self.values and self._only in name and time.monotonic() < self._until:
            began = time.monotonic()
            self.values[name] = make()
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            KEPT.parent.mkdir(exist_ok=True)
            files.atomic_write(KEPT, json.dumps(self.values))
        return self.values.get(name)


# Speed ---------------------------------------------------------------------------------------------------------------


def speed(seconds: float = 0.5) -> dict[str, float]:
    """Steps a second of processor time: the simulated swarm alone, what it shows included, and as an environment."""
    policy, found = at_random(1), {}
    play(policy, "simulated", 0)  # what is imported on first use
    for what in ("swarm", "observed"):
        count, seed, began = 0, 0, time.process_time()
        while time.process_time() - began < seconds:
            swarm, seed = Swarm(WORLDS["simulated"], seed), seed + 1
            while not swarm.over:
                swarm.step(policy(swarm))
                if what == "observed":
                    swarm.observe()
                count += 1
        found[what] = count / (time.process_time() - began)
    env, count = environments.make(), 0
    _, info = env.reset(seed=1)
    began = time.process_time()
    while time.process_time() - began < seconds:
        _, _, over, cut, info = env.step(info["action_mask"].argmax())
        count += 1
        if over or cut:
            _, info = env.reset()
    return {**found, "environment": count / (time.process_time() - began)}


# Jobs ----------------------------------------------------------------------------------------------------------------


def jobs(kept: Kept, path: Path, load: float) -> None:
    """Tune both families at a load, then play everybody."""
    world = JobsWorld(path, load=load, jobs=JOBS)

    def mean(policy: job_rules.Policy, seed: int) -> float:
        return float(np.mean(played(world.begin(seed), policy).times))

    policies: dict[str, job_rules.Policy] = {}
    for family in ("weighted fair", "packed"):
        drawn = job_rules.candidates(family, CANDIDATES)
        scores = kept.have(
            f"jobs {load:g} search {family}",
            lambda drawn=drawn: [float(np.mean([mean(rule, TRAIN + i) for i in range(TUNED_ON)])) for rule in drawn],  # type: ignore[misc]
        )
        if scores is None:
            return
        policies[f"{family}, tuned"] = drawn[int(np.argmin(scores))]
        kept.values[f"jobs {load:g} chosen {family}"] = str(drawn[int(np.argmin(scores))])
    for name, policy in {**policies, **job_rules.RULES}.items():
        kept.have(
            f"jobs {load:g} test {name}",
            lambda policy=policy: [mean(policy, TEST + i) for i in range(SEEDS)],  # type: ignore[misc]
        )


# Replay --------------------------------------------------------------------------------------------------------------


def told(episode: Replay) -> dict[str, float]:
    """What an episode came to."""
    orders = episode.orders
    return {
        "reward": REWARDS[REWARD].of(episode.total),
        "resolved": len(episode.resolved) / orders,
        "cost": episode.spent / orders,
        "late": episode.late / orders,
    }


def replay(kept: Kept, name: str, path: Path, attempts: int) -> None:
    """Tune, learn on training tasks, then play everybody on the test tasks."""
    runs = read_runs(path)
    train = ReplayWorld(path, attempts=attempts)
    rows = runs.part == 0
    rate, price = np.nan_to_num(runs.resolved[rows]).mean(0), np.nanmean(runs.cost[rows], 0)
    best = int(rate.argmax())
    near = np.flatnonzero(rate >= rate[best] - 0.01)
    constant = int(near[price[near].argmin()])
    budget = float(np.mean([told(played(train.begin(TRAIN + i), replay_rules.Single(best)))["cost"] for i in range(8)]))
    key = f"replay {name} {attempts}"
    kept.values[f"{key} agents"] = [runs.agents[best], runs.agents[constant], budget, runs.unit]

    def loss(policy: replay_rules.Policy, world: ReplayWorld, seeds: range, equal: bool) -> float:
        """The negative reward, or the share that is not resolved with a penalty above the budget."""
        done = [told(played(world.begin(seed), policy)) for seed in seeds]
        mean = {field: float(np.mean([one[field] for one in done])) for field in done[0]}
        return 20 * max(0.0, mean["cost"] / budget - 0.95) - mean["resolved"] if equal else -mean["reward"]

    policies: dict[str, replay_rules.Policy] = {
        **replay_rules.RULES,
        "best single agent": replay_rules.Single(best),
        "price-aware constant": replay_rules.Single(constant),
    }
    test = train.of("test")

    def judge(more: dict[str, replay_rules.Policy]) -> None:
        for policy_name, policy in more.items():
            kept.have(
                f"{key} test {policy_name}",
                lambda policy=policy: [told(played(test.begin(TEST + i), policy)) for i in range(SEEDS)],  # type: ignore[misc]
            )

    goals = (("reward", False), ("equal cost", True))
    for goal, equal in goals:
        drawn = replay_rules.candidates(2 * CANDIDATES)
        scores = kept.have(
            f"{key} search {goal}",
            lambda equal=equal, drawn=drawn: [loss(rule, train, range(TRAIN, TRAIN + 4), equal) for rule in drawn],  # type: ignore[misc]
        )
        if scores is not None:
            policies[f"priced rule, tuned for {goal}"] = drawn[int(np.argmin(scores))]
    judge(policies)
    for goal, equal in goals:
        weights = kept.have(f"{key} learn {goal}", lambda equal=equal: learn(loss, train, equal))  # type: ignore[misc]
        if weights is not None:
            judge({f"learned for {goal}": replay_rules.scored(Scorer(len(FEATURES), 8, weights["weights"]))})


def learn(loss: Any, train: ReplayWorld, equal: bool) -> dict[str, Any]:
    """A scorer by evolution strategies, from the best of three linear rules by validation tasks."""
    validation, seeds = train.of("validation"), range(VALIDATION, VALIDATION + 6)

    def judged(scorer: Scorer) -> float:
        return float(loss(replay_rules.scored(scorer), validation, seeds, equal))

    starts = [Scorer.start(replay_rules.start(margin), 8) for margin in (0.0, 1.0, 4.0)]
    found = evolve(
        min(starts, key=judged),
        lambda scorer, generation: float(
            loss(replay_rules.scored(scorer), train, range(TRAIN + 3 * generation, TRAIN + 3 * generation + 3), equal)
        ),
        judged,
        generations=GENERATIONS,
        pairs=6,
        sigma=0.1,
        rate=0.05,
    )
    return {"weights": found.scorer.weights.tolist(), "loss": found.loss, "history": found.history}


# The page ------------------------------------------------------------------------------------------------------------


def write(values: dict[str, Any]) -> None:
    """The page of what there is."""
    text = ABOUT.split("<!-- results -->")[0].rstrip().splitlines()
    if "speed" in values:
        swarm, observed, env = (f"{values['speed'][what]:,.0f}" for what in ("swarm", "observed", "environment"))
        text += ["", "## Speed", "", f"Steps per second of processor time, one thread, a busy machine: {swarm} of the "]
        text[-1] += (
            f"simulated swarm under random legal commands, {observed} with what it shows after each, {env} through "
        )
        text[-1] += "Gymnasium. Asked were 20,000."
    text += _jobs_page(values) + _replay_page(values)
    files.atomic_write(PAGE, "\n".join(text).rstrip() + "\n")


def _jobs_page(values: dict[str, Any]) -> list[str]:
    text = ["", "## Jobs: mean time from arrival to end", ""]
    text.append(
        f"{JOBS} jobs an episode, 50 executors, {SEEDS} held-out seeds. Both tuned rows are the best of {CANDIDATES} "
        f"candidates on {TUNED_ON} training seeds; `packed` is a rule with five numbers, not a network. *Beside "
        "weighted fair*: the difference of the means, paired by seed, "
        "with its 95 % bootstrap interval and the p-value of a sign-flip test, corrected by Holm."
    )
    for load in LOADS:
        head = f"jobs {load:g} test "
        times = {name.removeprefix(head): np.array(v) for name, v in values.items() if name.startswith(head)}
        base = times.get("weighted fair, tuned")
        if base is None:
            continue
        others = [name for name in times if name != "weighted fair, tuned"]
        p = dict(zip(others, statistics.holm([statistics.permutation(times[n] - base) for n in others]), strict=True))
        text += ["", f"### Load {load:g}", "", "| policy | seconds | beside weighted fair | p |", "|---|---|---|---|"]
        for name in sorted(times, key=lambda name: times[name].mean()):
            row = f"| {name} | {times[name].mean():.1f} |"
            if name in p:
                found = statistics.bootstrap(times[name] - base)
                mean = base.mean()
                row += (
                    f" {found.mean / mean:+.1%} ({found.low / mean:+.1%} to {found.high / mean:+.1%}) | {p[name]:.4f} |"
                )
            else:
                row += " | |"
            text.append(row)
        text += [
            "",
            *(f"Chosen: `{values[f'jobs {load:g} chosen {family}']}`." for family in ("weighted fair", "packed")),
        ]
    return text


def _replay_page(values: dict[str, Any]) -> list[str]:
    text = ["", "## Replay: real outcomes", "", *REPLAY.strip().splitlines()]
    for name, attempts in SETTINGS:
        key = f"replay {name} {attempts}"
        head = f"{key} test "
        done = {n.removeprefix(head): v for n, v in values.items() if n.startswith(head)}
        if "priced rule, tuned for equal cost" not in done:
            continue
        best, constant, _, unit = values[f"{key} agents"]
        text += ["", f"### {name}, {attempts} attempt{'s' * (attempts > 1)}", ""]
        text += [f"Best single agent: {best}; price-aware constant: {constant}. Cost in {unit} per task.", ""]
        if not any(policy.startswith("learned") for policy in done):
            text += ["The learned policies were not trained to their end here: they have no row.", ""]
        text += ["| policy | reward | resolved | cost | late |", "|---|---|---|---|---|"]
        mean = {n: {f: float(np.mean([e[f] for e in v])) for f in v[0]} for n, v in done.items()}
        for n in sorted(mean, key=lambda n: -mean[n]["reward"]):
            m = mean[n]
            text.append(f"| {n} | {m['reward']:.1f} | {m['resolved']:.1%} | {m['cost']:.2f} | {m['late']:.1%} |")
        rule = max(replay_rules.RULES, key=lambda n: mean[n]["reward"])
        pairs = [
            ("learned for reward", rule, "reward"),
            ("priced rule, tuned for reward", rule, "reward"),
            ("learned for reward", "priced rule, tuned for reward", "reward"),
            ("learned for equal cost", "best single agent", "resolved"),
            ("learned for equal cost", "best single agent", "cost"),
            ("priced rule, tuned for equal cost", "best single agent", "resolved"),
            ("priced rule, tuned for equal cost", "best single agent", "cost"),
        ]
        pairs = [pair for pair in pairs if pair[0] in done]
        gaps = [np.array([a[f] - b[f] for a, b in zip(done[one], done[other], strict=True)]) for one, other, f in pairs]
        p = statistics.holm([statistics.permutation(gap) for gap in gaps])
        text += ["", "| | beside | | difference | p |", "|---|---|---|---|---|"]
        for (one, other, field), gap, chance in zip(pairs, gaps, p, strict=True):
            found, of = statistics.bootstrap(gap), abs(mean[other][field])
            share = f", {found.mean / of:+.0%}" if field != "resolved" else ""
            row = f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f}){share}"
            text.append(f"| {one} | {other} | {field} | {row} | {chance:.4f} |")
    return text


ABOUT = """\
<!-- Written by `python -m bench.worlds --data FOLDER`. -->

# The worlds of `swarm-coordination-env`

```python
from claude_flow import environments

env = environments.make(world="jobs", data="dags/tpch_jobs.json.gz")
observation, info = env.reset(seed=1)  # a row per job, and a mask with one place more: to wait
observation, reward, over, cut, info = env.step(info["action_mask"].argmax())
```

* `simulated` and its shifted relatives are in the package: see [decision.md](decision.md).
* `jobs` shares executors among graphs of stages with measured durations: TPC-H queries on Spark, from the simulator
  of Decima (Mao et al., arXiv 1810.01963), arriving as a Poisson stream. An action gives one idle executor to a
  job; it begins at the job's ready stage with the longest path and stays until no task is left to start there. A
  move to another job takes two seconds and a newcomer's first task is slower, as measured.
* `replay` takes a table in which several agents tried the same tasks, such as the public runs of SWE-bench Pro: an
  assigned task is resolved, or is not, exactly as that agent's own run was, at that run's cost. An action gives a
  task to an agent, gives up a task that failed, or waits. Arrivals, priorities and deadlines are drawn, since no
  table has them; a call of a model counts as 15 seconds. 60 % of the tasks are for training, 10 % for validation,
  30 % for the test; what is known of an agent comes from training tasks alone.

* A world fitted to your own log: `train reinforcement --world-from DATASET` (in Python `environments.fit`) takes
  the gaps between arrivals, the minutes of each kind, failures, prices and how many run at a time from a dataset of
  `data collect`. Each distribution is the likeliest of exponential, log-normal, Weibull and gamma on one half of
  its values, and is judged on the other: the table and `--chart` show the Kolmogorov-Smirnov distance, its p-value,
  and both medians. Priorities, deadlines and dependencies stay as in the simulated world. It takes 60 runs with a
  beginning and a duration.

The files are not part of the package. Every world passes Gymnasium's own check, runs in its vectors
(`gymnasium.vector.SyncVectorEnv`), and repeats itself under a seed.

`claude_flow.environments.job_rules` and `replay_rules` have the rules below. `packed` puts the job with least left
first, limits the executors of each, and moves none for little work. A learned policy is a small network that scores
every row (`environments.scorer`), found by evolution strategies from a linear rule; the weights with the best
validation episodes count.

`train reinforcement` does not learn in these two worlds, and the command says so: its decision engine chooses among
thirteen commands to a swarm, while here a choice is a job or an agent, and there are as many as there are rows. So
their learned policy is the scorer, by `make worlds`.

<!-- results -->
"""

REPLAY = f"""
{SEEDS} held-out seeds, each with 40 test tasks. With three attempts a failure is seen, as by tests of one's own,
and another agent may try; with one attempt nothing is ever seen. *Tuned* and *learned* policies had training tasks
only; *for equal cost* means the most resolved at no more than the best single agent's cost. Seeds share test tasks,
so the intervals speak of other orders and draws of these tasks, not of other tasks.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.worlds", description=__doc__)
    parser.add_argument("--data", type=Path, help="the folder of the public data sets")
    parser.add_argument("--only", default="", help="do only what has this in its name, such as 'jobs 0.65' or 'replay'")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long; the next call goes on")
    options = parser.parse_args()
    kept = Kept(options.only, time.monotonic() + options.seconds)
    if options.data:
        graphs = options.data / "dags" / "tpch_jobs.json.gz"
        jobs(kept, graphs, LOADS[0])
        for name, attempts in SETTINGS:
            replay(kept, name, options.data / "agent-runs" / TABLES[name], attempts)
        for load in LOADS[1:]:
            jobs(kept, graphs, load)
    kept.have("speed", speed)
    write(kept.values)
    return 0


if __name__ == "__main__":
    sys.exit(main())
