"""What docs/decision.md says of the decision engine, measured and written into it.

python -m bench.decision

Every contender plays the same held-out episodes, so all is paired by episode: bootstrap intervals, permutation tests,
Holm's correction over the rows of a table. ``--only`` takes one table, ``--model`` another decision engine.
"""

from __future__ import annotations

import argparse
import functools
import re
import statistics as middle
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import maskable
from claude_flow import load, modelfile, registry, statistics
from claude_flow.environments import REWARDS, WORLDS, futures, make
from claude_flow.environments.rules import RULES, Policy, at_random, play, tuned
from claude_flow.environments.swarm import Swarm
from claude_flow.environments.thresholds import Thresholds
from claude_flow.networks.action.answer import Pipeline
from claude_flow.networks.action.learn import Settings, episodes
from claude_flow.networks.action.prepare import requests
from claude_flow.networks.action.streams import Streams
from claude_flow.networks.coordination.features import parse_request

PAGE = Path(__file__).parents[1] / "docs" / "decision.md"
MODEL, RULE, TEACHER, RIVAL = "action-v2", "tuned rule", "the teacher's thresholds", "MaskablePPO of sb3-contrib"
EARLIER = "action-v1"  # of Q-learning; it no longer ships, and is measured where the workspace has it
REWARD = "efficiency-improvement"
EPISODES = 20
ROUNDS, STEPS = 300, 5_000
RIVAL_STEPS = 100_000  # of the environment, in training
LOOKED, FUTURES = 6, 8  # validation episodes and futures of a decision, where a policy may look ahead
Rows = list[list[str]]


def log(*words: Any) -> None:
    print(*words, f"{time.process_time():.0f} s of CPU", file=sys.stderr, flush=True)


@functools.cache
def rule() -> Policy:
    """The best of a search over rules and thresholds, on training episodes: the teacher."""
    name, found, reward = tuned(REWARD, range(Settings.TRAIN, Settings.TRAIN + 20), 60)
    log(f"the tuned rule comes from {name}: {found}, {reward:.1f} in training")
    return found


def teacher() -> Policy:
    """The thresholds that the shipped model's training found, from its card."""
    return Thresholds(**modelfile.read(registry.model_path(MODEL)).provenance["teacher"])


#: name -> how to make a contender that is no model
POLICIES: dict[str, Callable[[], Policy]] = {
    RULE: rule,
    TEACHER: teacher,
    RIVAL: lambda: maskable.learned(REWARD, RIVAL_STEPS),
    "any legal command": lambda: at_random(1),
    **{name: lambda found=found: found for name, found in RULES.items()},  # type: ignore[misc]
}


def seeds(world: str) -> range:
    return Settings(world=world, judged=EPISODES).seeds("test")


@functools.cache
def played(name: str, world: str) -> tuple[Swarm, ...]:
    """A policy's episodes: a rule's, chance's, or a model's, perhaps without some of its streams."""
    model, _, hidden = name.partition(" without ")
    if (make_policy := POLICIES.get(model)) is not None:
        policy = make_policy()
        return tuple(play(policy, world, seed) for seed in seeds(world))
    engine = load(registry.model_path(model))
    settings = Settings(world=world, judged=EPISODES, hidden=tuple(engine.features.get("hidden", ())))
    without = hidden.split(" and ") if hidden else ()
    found = tuple(episodes(Streams.of(engine), engine.run, settings, seeds(world), without))
    log(name, world, f"{rewards(found).mean():.1f}")
    return found


def rewards(swarms: Sequence[Swarm]) -> Any:
    return np.array([REWARDS[REWARD].of(swarm.total) for swarm in swarms])


def tested(reference: str, others: Sequence[str], world: str) -> dict[str, str]:
    """Other -> the reference's reward less the other's: mean, 95 % interval, corrected p."""
    differences = [rewards(played(reference, world)) - rewards(played(other, world)) for other in others]
    ps = statistics.holm([statistics.permutation(difference.tolist()) for difference in differences])
    found = {}
    for other, difference, p in zip(others, differences, ps, strict=True):
        spread = statistics.bootstrap(difference.tolist())
        found[other] = f"{difference.mean():+.1f} ({spread.low:+.1f} … {spread.high:+.1f}), p {p:.2g}"
    return found


def row(name: str, world: str) -> list[str]:
    """Reward, completion minutes, cost, share resolved."""
    swarms = played(name, world)
    measured = [
        f"{rewards(swarms).mean():.1f}",
        f"{np.mean([swarm.latency / max(1, swarm.resolved) for swarm in swarms]):.1f}",
        f"{np.mean([swarm.total.cost for swarm in swarms]):.0f}",
        f"{np.mean([swarm.resolved / swarm.tasks for swarm in swarms]):.3f}",
    ]
    return [name, *measured]


def policies(model: str) -> tuple[list[str], Rows]:
    """The model beside rules and chance in the world that it was trained in, best first."""
    others = [*POLICIES, *([EARLIER] if EARLIER in registry.models() else [])]
    against = tested(model, others, "simulated")
    rows = [[*row(name, "simulated"), against.get(name, "")] for name in (model, *others)]
    rows.sort(key=lambda cells: -float(cells[1]))
    columns = ["policy", "reward", "completion minutes", "cost", "resolved", "the model less this one"]
    return columns, rows


def worlds(model: str) -> tuple[list[str], Rows]:
    """Worlds that were never trained on: what the model loses there, and what the rules lose."""
    rows = []
    base = rewards(played(model, "simulated")).mean(), rewards(played(RULE, "simulated")).mean()
    for world in WORLDS:
        best = max(RULES, key=lambda name: rewards(played(name, world)).mean())
        mine, theirs = rewards(played(model, world)).mean(), rewards(played(RULE, world)).mean()
        lost = "" if world == "simulated" else f"{mine - base[0]:+.1f} and {theirs - base[1]:+.1f}"
        plain = f"{best} {rewards(played(best, world)).mean():.1f}"
        rows.append([world, f"{mine:.1f}", f"{theirs:.1f}", plain, lost, tested(model, [RULE], world)[RULE]])
    columns = ["world", model, RULE, "best rule as written", "change of both", "the model less the tuned rule"]
    return columns, rows


def ablation(model: str) -> tuple[list[str], Rows]:
    """What each part of the pipeline adds, the others kept."""
    streams = {"fusion": "coordination", "prediction": "prediction", "optimization": "optimization"}
    names = {part: f"{model} without {stream}" for part, stream in streams.items()}
    names["all three networks"] = f"{model} without {' and '.join(streams.values())}"
    names["rl"] = RULE
    adds = tested(model, list(names.values()), "simulated")
    rows = [["nothing", row(model, "simulated")[1], ""]]
    rows += [[part, row(name, "simulated")[1], adds[name]] for part, name in names.items()]
    return ["left out", "reward", "what it adds"], rows


def ahead(model: str) -> tuple[list[str], Rows]:
    """What one step of looking ahead adds to a policy: every legal command is tried in the same futures, in which the
    policy goes on, and the best one is taken if it is better than the policy's by more than the error of that.

    It knows what is still to arrive, so no engine that learns from such futures alone is likely to come above it.
    """
    of, rows = REWARDS[REWARD].of, []
    for name in (RULE, TEACHER):
        policy, gains, base = POLICIES[name](), [], []
        generator = np.random.default_rng(0)

        def best(swarm: Swarm, policy: Policy = policy, generator: Any = generator) -> int:
            usual, seeds = policy(swarm), generator.integers(2**31, size=FUTURES).tolist()
            gain = np.array(futures.values(swarm, policy, of, seeds))
            gain -= gain[usual]
            sure = gain.mean(1) - gain.std(1) / FUTURES**0.5
            return int(np.nanargmax(sure))  # the usual one's is 0

        for seed in range(Settings.VALIDATION, Settings.VALIDATION + LOOKED):
            base.append(of(play(policy, "simulated", seed).total))
            gains.append(of(play(best, "simulated", seed).total) - base[-1])
            log(name, seed, f"{base[-1]:.1f} {gains[-1]:+.1f}")
        spread = statistics.bootstrap(gains)
        added = f"{spread.mean:+.1f} ({spread.low:+.1f} … {spread.high:+.1f})"
        rows.append([name, f"{np.mean(base):.1f}", f"{np.mean(base) + spread.mean:.1f}", added])
    return ["policy", "reward", "looking ahead", "what that adds"], rows


def speed(model: str) -> tuple[list[str], Rows]:
    """The pipeline as one call on one thread beside the sum of its networks', and steps of the environment."""
    pipeline = Pipeline(load(registry.model_path(model), precision="int8"))
    (request,) = [r for r in requests(60, 7) if len(r["current-agents"]) + len(r["pending-tasks"]) == 7][:1]
    inputs, lengths = pipeline.streams.encode_many([parse_request(request)])
    apart = pipeline.streams.run([request])
    networks = {n: load(path, precision="int8") for n, path in pipeline.streams.paths.items()}
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("one call", lambda: pipeline.model.run(inputs, [lengths, None, None, None])),
        ("coordination", lambda: networks["coordination"].run(inputs[0], lengths)),
        ("optimization", lambda: networks["optimization"].run(inputs[1])),
        ("prediction", lambda: networks["prediction"].run(inputs[2])),
        ("decision", lambda: pipeline.decision.run(apart)),
    ]
    times: dict[str, list[float]] = {name: [] for name, _ in calls}
    for _ in range(ROUNDS):
        for name, call in calls:  # in turns, so that a busy machine is busy for all
            begin = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - begin))
    quick = {name: middle.quantiles(values, n=10)[0] for name, values in times.items()}
    total = sum(value for name, value in quick.items() if name != "one call")
    rows = [
        ["the pipeline as one call, 8 bits, 8 tokens", f"{quick['one call']:.3f} ms", "0.5 ms"],
        ["the same, as a multiple of its four networks' sum", f"{quick['one call'] / total:.2f}", "1.15"],
        ["steps of the environment per second of CPU", f"{_steps(False):,.0f}", "20,000"],
        ["the same, where it shows what each command would do", f"{_steps(True):,.0f}", ""],
    ]
    return ["measured", "here", "mark"], rows


def _steps(pairs: bool) -> float:
    """Steps of the simulated world through Gymnasium, one thread; the best of three rounds."""
    env, generator, best = make(pairs=pairs), np.random.default_rng(0), 0.0
    for round_ in range(3):
        _, info = env.reset(seed=round_)
        begin = time.process_time()
        for draw in generator.integers(1 << 30, size=STEPS).tolist():
            legal = info["action_mask"].nonzero()[0]
            _, _, over, cut, info = env.step(legal[draw % len(legal)])
            if over or cut:
                _, info = env.reset()
        best = max(best, STEPS / (time.process_time() - begin))
    return best


def write(name: str, columns: list[str], rows: Rows) -> None:
    """Put a table between the page's marks of that name."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns), *rows)]
    text = PAGE.read_text("utf-8")
    mark = re.compile(rf"(<!-- bench.decision {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not mark.search(text):
        raise SystemExit(f"{PAGE} has no marks for {name}")
    PAGE.write_text(mark.sub(lambda m: m[1] + "\n".join(lines) + "\n" + m[2], text), "utf-8")


TABLES = {"policies": policies, "ahead": ahead, "worlds": worlds, "ablation": ablation, "speed": speed}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.decision", description=__doc__)
    parser.add_argument("--only", action="append", choices=TABLES)
    parser.add_argument("--model", default=MODEL)
    options = parser.parse_args()
    for name in options.only or TABLES:
        write(name, *TABLES[name](options.model))
        log(name, "is written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
