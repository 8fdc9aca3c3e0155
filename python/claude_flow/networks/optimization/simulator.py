"""An analytic model of a swarm of coding agents: workload and settings in, performance metrics out.

It exists because no log records what *would* have happened had a setting been different, which is exactly what
the optimization network has to rank. Every tunable of the catalogue has one mechanism here; the shapes are
textbook ones (queueing, Amdahl, exponential hit and timeout laws, soft capacity limits), the constants are
plausible magnitudes, **not fitted to any real swarm**. ``docs/optimization.md`` says what that limits.

The model is a closed set of formulas, solved by a few rounds of a fixed-point iteration: busy agents decide the
contention, contention decides how long a task takes, and that decides how many agents are busy. It is
deterministic; everything is an array of shape ``[n]``, one entry per swarm, in float64.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from claude_flow.networks.optimization.catalogue import TUNABLES

__all__ = ["ROUNDS", "finite_queue", "simulate"]

Array = NDArray[np.float64]
Columns = Mapping[str, Array]

GB = 1e9
ROUNDS = 24  # of the fixed point
_TOKEN_PRICE = 3e-6  # USD per input token of tier 2; an output token costs five times as much, a tier 2.2 times
_BASE_PROMPT = 1500.0  # tokens of instructions in every prompt
_TOOL_CALLS = 3.0  # per step


def _sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -40.0, 40.0)))


def _shortage(demand: Array, capacity: Array) -> Array:
    """How many times slower work gets when ``demand`` meets ``capacity``: about 1 below it, their ratio above."""
    return np.asarray(np.sqrt(np.sqrt(1.0 + np.square(np.square(demand / capacity)))))  # five times faster than powers


def simulate(
    workload: Columns, settings: Array, start: Columns | None = None, rounds: int = ROUNDS
) -> tuple[dict[str, Array], Columns]:
    """Run ``n`` swarms: ``workload`` maps the names of ``workloads.PARAMETERS`` to ``[n]``; ``settings [n, 64]``
    holds values in catalogue order and units.

    Returns the metrics by name (``[n]`` each) and the state that the fixed point reached. An overloaded swarm can
    have two: so the effect of a change is found by starting from the state before it, as ``start``.

    >>> from claude_flow.networks.optimization.workloads import sample
    >>> workload, settings, _ = sample(np.random.default_rng(1), 3)
    >>> metrics, state = simulate(workload, settings)
    >>> metrics["latency"].shape
    (3,)
    """
    s = {tunable.name: settings[:, index] for index, tunable in enumerate(TUNABLES)}
    context = _context(workload, s)
    state: Columns = start or {
        "busy": np.minimum(s["max-agents"], 4.0),
        "token-rate": np.full(len(settings), 1e4),
        "cpu-demand": np.ones(len(settings)),
        "arrivals": workload["arrival-rate"] / 3600.0,
    }
    for _ in range(rounds):
        step = _step(workload, s, context, state)
        task = _task(workload, s, context, step, state)
        queue = _queue(workload, s, task)
        follow = _follow_up(workload, s, context, step, task, queue)
        # Damped: near saturation the undamped iteration alternates between idle and overloaded.
        state = {name: np.sqrt(state[name] * follow[name]) for name in state}
    return _metrics(workload, s, context, step, task, queue, state), state


def _context(w: Columns, s: Columns) -> dict[str, Array]:
    """What a model call sees, what that costs in tokens, and how much of the needed facts is missing."""
    chunk = s["retrieval-chunk-tokens"]
    fit = np.exp(-0.5 * (np.log(chunk / 400.0) / 1.2) ** 2)
    outdated = 1.0 - np.exp(-w["change-rate"] * s["index-refresh-interval"] / 3600.0)
    found = (1.0 - np.exp(-s["retrieval-documents"] * fit / 5.0)) * (1.0 - 0.6 * outdated)
    turn = w["output-tokens"] + 600.0
    history = np.minimum(s["history-turns"], w["steps"]) * turn
    retrieved = s["retrieval-documents"] * chunk
    shared = 2500.0 * s["context-sharing"] * np.log1p(s["max-agents"])
    room = s["context-window"] * s["compaction-threshold"]
    wanted = history + retrieved + shared + 0.5 * w["context-need"]
    visible = wanted / _shortage(wanted, room)
    compactions = w["steps"] * turn / room
    missing = (1.0 - 0.6 * found) * np.exp(-0.8 * visible / w["context-need"]) * (1.0 - 0.3 * s["context-sharing"])
    missing = np.minimum(missing + 0.08 * compactions / (1.0 + compactions), 1.0)
    prompt = _BASE_PROMPT + visible
    recalled = w["repetition"] * (1 - np.exp(-s["memory-entries"] / 4000)) * (1 - np.exp(-s["state-retention"] / 60))
    return {
        "prompt": prompt,
        "missing": missing,
        "dilution": (prompt / (3.0 * w["context-need"] + 20000.0)) ** 0.7,
        "compactions": compactions,
        "lookup": 0.05 + 6e-5 * s["memory-entries"] + 2e-3 * s["state-retention"],
        "recalled": recalled,
    }


def _step(w: Columns, s: Columns, context: Columns, state: Columns) -> dict[str, Array]:
    """One step: a model call and its tool calls. Seconds, tokens, USD, the chance of a mistake and of a failure."""
    batch = s["tool-batch-size"]
    escalated = s["escalation-share"] * w["difficulty"] * np.minimum(1.0, 4.0 - s["model-tier"])
    tier = s["model-tier"] + escalated
    diversity = s["temperature"] / (s["temperature"] + 0.3)

    # Tokens: thinking is spent on hard steps; a duplicate, a candidate and a wrong guess are paid in full.
    thinking = s["thinking-tokens"] * (0.15 + 0.5 * w["difficulty"])
    written = w["output-tokens"] * (0.7 + 0.3 * batch**0.6) + thinking
    hedged = 1.0 - s["hedge-percentile"]
    copies = s["candidates"] * (1.0 + hedged) * (1.0 + 0.06 * s["speculative-steps"])
    cut = np.exp(-s["max-output-tokens"] / (0.7 * w["output-tokens"] * batch**0.6 + 0.3 * thinking + 50.0))

    # The provider: a soft token-rate limit, a pool of concurrent calls, errors that retries meet again.
    batched = 1.0 - np.exp(-s["batch-window"] / 1000.0 * (0.5 + 0.05 * state["busy"]))
    use = state["token-rate"] / (w["rate-limit"] * (1.0 - s["rate-limit-headroom"]))
    pushing = s["request-concurrency"] / (s["request-concurrency"] + 24.0)
    rejected = _sigmoid((state["token-rate"] / w["rate-limit"] - 0.95) / 0.12) * np.exp(-9.0 * s["rate-limit-headroom"])
    error = np.minimum(w["provider-error"] * (1.0 + s["circuit-breaker-threshold"]) + 0.4 * rejected * pushing, 0.7)
    opened = _sigmoid((error - s["circuit-breaker-threshold"]) / 0.06)
    prefix_hit = s["cached-prefix-share"] * (1.0 - np.exp(-s["prompt-cache-ttl"] / (w["tool-seconds"] + 30.0)))
    fresh = context["prompt"] * (1.0 - 0.9 * prefix_hit)
    speed = 260.0 / 1.4 ** (tier - 1.0)
    call = 0.4 * 1.3**tier + w["network-ms"] / 1000 + fresh / 25000 + written / speed
    call = call * (1.0 + 0.04 * (s["candidates"] - 1.0))
    slow = w["variability"] * (1.0 - 0.6 * (1.0 - np.exp(-10.0 * hedged)))  # tail of the call's time
    expired = np.exp(-s["request-timeout"] / (call * (0.35 + 0.3 * slow)))
    failing = np.minimum(error + expired, 0.9)
    again = np.minimum(failing * (1.0 + 1.5 * np.exp(-s["retry-backoff"] / 4.0)), 0.95)
    retries = failing * (1.0 - again ** s["request-retries"]) / (1.0 - again)
    lost_call = failing * again ** s["request-retries"] + 0.1 * opened
    hung = w["provider-error"] * 0.3 * s["request-timeout"]
    call = call * (1.0 + 0.25 * slow) * (1.0 + retries) + retries * s["retry-backoff"] + hung + s["batch-window"] / 2e3
    calling = state["busy"] * s["tasks-per-agent"] ** 0.5 * 0.6
    call = call * _shortage(state["token-rate"], w["rate-limit"] * (1.0 - s["rate-limit-headroom"]))
    call = call * _shortage(calling, s["request-concurrency"]) * (1.0 + 0.8 * opened)

    # Tools: cached results, side by side until the cores are full, a cold sandbox, a stuck call.
    working_set = 8.0 * w["steps"] ** 0.7 * (1.0 + 20.0 * w["repetition"])
    cached = w["repetition"] * (1 - np.exp(-s["result-cache-size"] / working_set))
    cached = cached * (1.0 - np.exp(-s["result-cache-ttl"] / 900.0))
    outdated = cached * (1.0 - np.exp(-w["change-rate"] * s["result-cache-ttl"] / 3600.0))
    width = 1.0 / (1.0 / s["tool-concurrency"] ** 2 + 1.0 / _TOOL_CALLS**2) ** 0.5
    contention = _shortage(state["cpu-demand"], w["cores"])
    own = 0.4 + 0.6 * _shortage(np.full_like(contention, 1.5), s["cpu-quota"])
    tool = w["tool-seconds"] * own * contention / (0.35 + 0.65 * width) * (1.0 - 0.9 * cached)
    cold_sandbox = np.exp(-s["sandbox-pool"] / (0.3 * state["busy"] + 0.5))
    cut_tool = np.exp(-s["tool-timeout"] / (3.0 * tool + 1.0))
    tool = tool * (1.0 + 0.3 * np.minimum(s["tool-retries"], 2.0) * w["tool-error"]) + 1.5 * cold_sandbox
    tool = tool + w["tool-error"] * 0.15 * s["tool-timeout"]
    failed_tool = w["tool-error"] * 0.45 ** s["tool-retries"] + cut_tool * 0.8 ** s["tool-retries"]
    bytes_moved = (context["prompt"] * 6.0 + 4e6) / (1.0 + 0.5 * s["compression-level"] ** 0.5)
    transfer = bytes_moved / (2e8 / (1.0 + w["network-ms"]))
    early = 0.3 * np.exp(-s["stream-chunk-tokens"] / 300.0)
    hidden = early + (0.55 - early) * (1.0 - 0.65 ** s["speculative-steps"])
    io_wait = 0.3 * _shortage(state["busy"] * 1.5 + 1.0, s["worker-threads"])
    seconds = call + tool * (1.0 - hidden) + transfer + io_wait + context["lookup"] + 0.15 * s["log-detail"]

    # Mistakes: the step's difficulty against the model's means, in log-odds.
    piece = w["difficulty"] * (1.0 - 0.09 * (s["decomposition-depth"] - 1.0))
    need = 5.5 * piece + 3.0 * context["missing"] + 0.5 * context["dilution"]
    able = 1.1 * (tier - 1.0) + 0.7 * piece * np.log2(1.0 + s["thinking-tokens"] / 500.0)
    able = able + 0.7 * np.log2(s["candidates"]) * (0.3 + 0.7 * diversity)
    slips = 1.5 * np.maximum(s["temperature"] - 0.3, 0.0) ** 2 + 0.22 * (s["tasks-per-agent"] - 1.0)
    slips = slips + 0.12 * np.log2(batch) ** 1.5 + 1.2 * np.maximum(s["cached-prefix-share"] - 0.6, 0.0)
    mistake = _sigmoid(-3.8 + need - able + slips) + 0.5 * outdated + 0.1 * cut + 0.5 * failed_tool
    return {
        "seconds": seconds,
        "model-seconds": call,
        "tool-seconds": tool,
        "mistake": np.minimum(mistake, 0.9),
        "lost": np.minimum(lost_call, 0.5),
        "retries": retries,
        "rate-use": use,
        "prompt-hit": prefix_hit,
        "result-hit": cached,
        "diversity": diversity,
        "timeouts": np.minimum(expired + cut_tool, 1.0),
        "calls": (1.0 + cut) * (1.0 + 0.5 * context["compactions"] / w["steps"]) / batch**0.25,
        "tokens": copies * (context["prompt"] + written) * (1.0 + retries),
        "reserved": 0.3 * s["max-output-tokens"],
        "usd": copies
        * (1.0 + 0.5 * retries)
        * _TOKEN_PRICE
        * 2.2 ** (tier - 2.0)
        * (fresh * (1.0 + 0.3 * s["cached-prefix-share"] * np.log1p(s["prompt-cache-ttl"] / 300.0)) + 5.0 * written)
        * (1.0 - 0.3 * batched),
        "cpu-seconds": tool * (0.5 * np.minimum(s["cpu-quota"], 3.0) + 0.1 * s["speculative-steps"])
        + written / s["stream-chunk-tokens"] * 0.01
        + 0.15 * s["compression-level"]
        + 0.1 * s["log-detail"]
        + 0.02 * s["worker-threads"] ** 0.5,
    }


def _task(w: Columns, s: Columns, context: Columns, step: Columns, state: Columns) -> dict[str, Array]:
    """One task: its steps in parallel parts, review, tests, merges, and the passes that mistakes cost."""
    depth, parts, agents = s["decomposition-depth"], s["subtask-limit"], state["busy"] + 1.0
    steps = w["steps"] * (1.0 + 0.05 * (depth - 1.0) ** 1.5) * (1.0 - 0.35 * context["recalled"]) * step["calls"]
    speedup = 1.0 / (1.0 - w["parallelism"] + w["parallelism"] / parts)
    levels = np.log(agents + 1.0) / np.log(s["hierarchy-fanout"])
    served = np.minimum(s["hierarchy-fanout"], agents)
    overhead = 1.0 + 0.8 * (1 - 1 / parts) / (1.0 + s["coordination-interval"] / 4.0) * np.log1p(agents)
    overhead = (
        overhead + 0.015 * (parts - 1.0) + 0.12 * levels + 0.02 * (_shortage(served, np.full_like(served, 9.0)) - 1)
    )
    overhead = overhead + w["coupling"] * 0.4 * s["lock-granularity"] / (s["lock-granularity"] + 25) * np.log1p(agents)
    overhead = (
        overhead
        + 0.25 / s["lock-granularity"]
        + 2.0 / s["checkpoint-interval"] * (1 + 0.002 * w["context-need"] ** 0.5)
    )
    working = steps * step["seconds"] / speedup * overhead

    drift = (1 - 1 / parts) * (1.0 - np.exp(-s["coordination-interval"] / 90.0))
    drift = (
        drift + 0.25 * np.log2(s["merge-batch"]) / 5.0 + 1.0 - np.exp(-w["change-rate"] * s["branch-lifetime"] / 6.0)
    )
    conflict = 1.0 - np.exp(-w["coupling"] * drift * 0.6)
    merging = 25.0 / s["merge-batch"] * (1.0 + 2.0 / s["branch-lifetime"])
    filling = np.minimum((s["merge-batch"] - 1.0) / (2.0 * state["arrivals"] + 1e-6), 900.0) * 0.2

    share = s["test-share"]
    workers = 1.0 / (1.0 / s["test-parallelism"] ** 2 + 1.0 / w["cores"] ** 2) ** 0.5
    contention = _shortage(state["cpu-demand"], w["cores"])
    flaky = w["flakiness"] * share
    testing = w["test-seconds"] * share * contention * (0.06 + 0.94 / workers) * (1.0 + 0.5 * s["test-retries"] * flaky)
    testing = testing + 0.4 * s["test-parallelism"]
    reviewing = s["review-depth"] * (12.0 + 1.5 * step["model-seconds"])

    # Mistakes: some reach the end of the work, tests and reviewers catch some of those and also reject good work.
    wrong = 1.0 - np.exp(-0.7 * w["steps"] ** 0.5 * step["mistake"] - 0.4 * conflict)
    by_tests = 0.2 + 0.6 * share**0.5
    by_review = 1.0 - (1.0 - 0.3 - 0.3 * s["review-threshold"]) ** s["review-depth"]
    caught = 1.0 - (1.0 - by_tests) * (1.0 - by_review)
    rejected = 0.3 * s["review-threshold"] ** 3 * (1 - np.exp(-s["review-depth"])) + flaky * 0.35 ** s["test-retries"]
    rework = np.minimum(wrong * caught + (1.0 - wrong) * rejected, 0.85)
    passes = 1.0 + rework / (1.0 - rework) * 0.6 / (1.0 + 0.12 * s["log-detail"])
    escaped = (
        wrong * (1.0 - caught) / (wrong * (1.0 - caught) + (1.0 - wrong) * (1.0 - np.minimum(rejected, 0.9)) + 1e-9)
    )

    memory_need = 0.35 * GB + context["prompt"] * 9e3 + 1.5e8 * (s["tasks-per-agent"] - 1.0) + 2e7 * w["steps"] ** 0.6
    starved = _sigmoid((memory_need / (s["memory-limit"] * GB) - 1.0) / 0.2)
    crash = np.minimum(0.004 * w["steps"] ** 0.5 + 0.5 * starved, 0.6)
    crash_loss = crash * (0.5 * np.minimum(s["checkpoint-interval"], working) + 6.0 * s["heartbeat-interval"])

    seconds = (working + testing + reviewing + merging) * passes + conflict * 90.0 + crash_loss
    seconds = seconds + filling
    usd = (steps * step["usd"] * (1.0 + 0.05 * (parts - 1.0)) + s["review-depth"] * 1.5 * step["usd"]) * passes
    killed = np.exp(-s["task-timeout"] / (seconds * (0.3 + 0.25 * w["variability"])))
    unpaid = np.exp(-s["budget-per-task"] / (usd * (0.3 + 0.25 * w["variability"]) + 1e-9))
    cut = 1.0 - (1.0 - killed) * (1.0 - unpaid)
    lost = 1.0 - (1.0 - step["lost"]) ** (0.5 * steps**0.5)
    failure = 1.0 - (1.0 - cut) * (1.0 - lost) * (1.0 - 0.4 * crash)
    repeat = 1.0 + s["task-retries"] / (1.0 + s["task-retries"]) * 0.5
    final = failure ** (1.0 + s["task-retries"] * (0.35 + 0.4 * step["diversity"]))
    attempts = 1.0 + np.minimum(failure, 0.9) * (repeat - 1.0) * s["task-retries"] ** 0.5
    return {
        "seconds": seconds * (1.0 - 0.5 * cut) * attempts,
        "steps": steps * passes * attempts,
        "usd": usd * (1.0 - 0.4 * cut) * attempts,
        "tokens": steps * step["tokens"] * (1.0 + 0.05 * (parts - 1.0)) * passes * attempts * (1.0 - 0.4 * cut),
        "attempts": attempts,
        "failure": np.minimum(final, 0.98),
        "killed": killed,
        "escaped": escaped,
        "rework": rework,
        "conflict": conflict,
        "crash": crash,
        "memory-need": memory_need,
        "testing": testing * passes,
        "overhead": 1.0 - 1.0 / overhead,
        "parts": 1.0 + (speedup - 1.0) * 0.5,
        "test-cpu": w["test-seconds"] * share * passes * 0.6,
    }


def finite_queue(load: Array, limit: Array) -> tuple[Array, Array]:
    """M/M/1 with room for ``limit``: the share of arrivals turned away and the mean number present.

    With r = load and K = limit: ``(1 - r) r^K / (1 - r^(K+1))`` and ``r / (1 - r) - (K + 1) r^(K+1) / (1 - r^(K+1))``.
    Above r = 1 both are written in 1/r, where ``r^K`` cannot overflow; at r = 1, their limit, r is moved aside.

    >>> [x.round(4).tolist() for x in finite_queue(np.array([0.5, 2.0]), np.array([2.0, 2.0]))]
    [[0.1429, 0.5714], [0.5714, 1.4286]]
    """
    load = np.where(np.abs(load - 1.0) < 1e-3, 1.001, load)
    small = np.where(load > 1.0, 1.0 / load, load)
    power = np.exp(np.maximum((limit + 1.0) * np.log(small), -200.0))
    present = small / (1.0 - small) - (limit + 1.0) * power / (1.0 - power)
    full = (1.0 - small) * np.where(load > 1.0, 1.0, power / small) / (1.0 - power)
    return full, np.where(load > 1.0, limit - present, present)


def _queue(w: Columns, s: Columns, task: Columns) -> dict[str, Array]:
    """Waiting for an agent: M/G/c with at most ``queue-limit`` waiting, and users who give up.

    The wait is that of M/M/1/K at the pooled rate, times Sakasegawa's multi-server factor
    ``rho ** (sqrt(2 (c + 1)) - 1)`` and the Allen-Cunneen factor ``(ca^2 + cs^2) / 2``.
    """
    parallel = s["tasks-per-agent"] ** 0.45
    servers = np.maximum(s["max-agents"] * parallel / task["parts"] ** 0.8, 0.5)
    uneven = 1.0 + 0.25 * (1.0 - np.exp(-s["work-stealing-threshold"] / 8.0)) * np.sqrt(w["variability"])
    stealing = 1.0 + 0.03 / s["work-stealing-threshold"] + 0.01 * (s["priority-levels"] - 1.0)
    idle_gap = s["max-agents"] / (w["arrival-rate"] / 3600.0)
    cold = np.exp(-s["idle-timeout"] / (0.3 * idle_gap + 10.0)) * np.exp(-1.2 * s["warm-agents"] / s["max-agents"])
    service = task["seconds"] * uneven * stealing + cold * w["cold-start"]
    arrivals = w["arrival-rate"] / 3600.0
    load = np.clip(arrivals * service / servers, 1e-4, 50.0)
    full, present = finite_queue(load, s["queue-limit"])
    accepted = arrivals * (1.0 - full)
    factor = np.minimum(load, 1.0) ** (np.sqrt(2.0 * (servers + 1.0)) - 1.0)
    wait = present / accepted * factor * 0.5 * (w["burstiness"] + w["variability"])
    patience = 4.0 * 3600.0
    left = wait / (wait + 6.0 * patience)
    wait = wait / (1.0 + wait / patience)
    return {
        "wait": wait + 0.5 * s["scheduling-interval"],
        "rejected": 1.0 - (1.0 - full) * (1.0 - left),
        "service": service,
        "servers": servers,
        "utilization": np.minimum(load * (1.0 - full), 1.0),
        "cold": cold,
        "load": load,
    }


def _follow_up(
    w: Columns, s: Columns, context: Columns, step: Columns, task: Columns, queue: Columns
) -> dict[str, Array]:
    """What the state would be, given the queue that it led to."""
    rate = w["arrival-rate"] / 3600.0 * (1.0 - queue["rejected"])
    rate = np.minimum(rate, queue["servers"] / queue["service"])
    busy = np.clip(queue["utilization"] * s["max-agents"], 0.05, None)
    agents_cpu = rate * (task["steps"] * step["cpu-seconds"] + task["test-cpu"])
    own_cpu = 0.01 / s["scheduling-interval"] + 0.02 * s["max-agents"] / s["heartbeat-interval"]
    own_cpu = own_cpu + 60.0 / s["index-refresh-interval"] + 0.01 * s["worker-threads"] + 0.02 * s["sandbox-pool"]
    own_cpu = own_cpu + 0.05 * s["test-parallelism"] * rate * task["testing"] / (1.0 + rate * task["testing"])
    return {
        "busy": busy,
        "token-rate": np.maximum(rate * (task["tokens"] + task["steps"] * step["reserved"]) * 60.0, 100.0),
        "cpu-demand": np.maximum(agents_cpu + own_cpu, 0.05),
        "arrivals": rate,
    }


def _metrics(
    w: Columns, s: Columns, context: Columns, step: Columns, task: Columns, queue: Columns, state: Columns
) -> dict[str, Array]:
    done = state["arrivals"] * (1.0 - task["failure"])
    latency = queue["wait"] + queue["service"]
    tail = 1.0 - 0.1 * (s["priority-levels"] - 1.0) * queue["utilization"]
    spread = np.sqrt(0.5 * (w["variability"] + queue["utilization"] * w["burstiness"])) * np.maximum(tail, 0.4)
    held = np.minimum(s["max-agents"], state["busy"] + s["warm-agents"] + 0.4 * s["idle-timeout"] * state["arrivals"])
    memory = held * (0.45 * task["memory-need"] + 0.35 * s["memory-limit"] * GB) + 0.6e9
    memory = memory + 0.9e6 * s["result-cache-size"] * (0.2 + 0.8 * step["result-hit"]) + 1.5e4 * s["memory-entries"]
    memory = memory + 0.25 * GB * s["sandbox-pool"] + 3e7 * s["worker-threads"] + 1e6 * s["state-retention"]
    memory = memory + 1e5 * queue["utilization"] * s["queue-limit"]
    cpu = np.minimum(state["cpu-demand"] / w["cores"], 1.0)
    memory_usage = np.minimum(memory / w["host-memory"], 1.0)
    agent_usage = queue["utilization"]
    messages = state["busy"] * (1.0 / s["coordination-interval"] + 1.0 / s["heartbeat-interval"]) * 2e3
    packed = 1.0 / (1.0 + 0.5 * s["compression-level"] ** 0.5)
    traffic = state["token-rate"] / 60.0 * 6.0 * packed + messages * packed
    return {
        "throughput": done * 3600.0,
        "latency": latency,
        "latency-p50": latency * np.exp(-0.25 * spread**2),
        "latency-p95": latency * (1.0 + 1.3 * spread),
        "latency-p99": latency * (1.0 + 2.1 * spread),
        "queue-time": queue["wait"],
        "queue-length": queue["wait"] * state["arrivals"],
        "task-seconds": queue["service"],
        "error-rate": 1.0 - (1.0 - task["failure"]) * (1.0 - 0.7 * task["escaped"]),
        "rejection-rate": queue["rejected"],
        "timeout-rate": np.minimum(1.0 - (1.0 - task["killed"]) * (1.0 - step["timeouts"]), 1.0),
        "retry-rate": step["retries"] + task["attempts"] - 1.0,
        "rework-rate": task["rework"],
        "defect-rate": task["escaped"],
        "conflict-rate": task["conflict"],
        "crash-rate": task["crash"],
        "model-seconds": step["model-seconds"],
        "tool-seconds": step["tool-seconds"],
        "test-seconds": task["testing"],
        "coordination-share": task["overhead"],
        "cold-start-rate": queue["cold"],
        "prompt-cache-hit-rate": step["prompt-hit"],
        "result-cache-hit-rate": step["result-hit"],
        "missing-context": context["missing"],
        "tokens-per-task": task["tokens"],
        "cost-per-task": task["usd"],
        "cost": task["usd"] * state["arrivals"] * 86400.0 + 0.04 * 24.0 * s["warm-agents"],
        "resource-utilization": (cpu + memory_usage + agent_usage) / 3.0,
        "agent-utilization": agent_usage,
        "cpu-usage": cpu,
        "memory": memory,
        "memory-usage": memory_usage,
        "rate-limit-usage": state["token-rate"] / w["rate-limit"],
        "network-traffic": traffic,
        "active-agents": state["busy"],
        "prompt-tokens": context["prompt"],
    }
