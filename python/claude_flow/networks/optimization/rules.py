"""The rule-based opponent of the optimization network: what an experienced operator would try first.

It reads the same (partly unknown) inputs as the network: find the saturated resource, relieve it unless a limit
forbids, follow the target's usual remedies, and bring settings that stand far from their defaults back towards
them. Its weights were set by hand, with a look at which rules paid off on the training families.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from claude_flow.networks.optimization.catalogue import RECOMMENDATIONS, TUNABLES
from claude_flow.networks.optimization.features import Encoder

__all__ = ["rule_scores"]

Array = NDArray[np.float64]
_OUTPUT = {recommendation.id: index for index, recommendation in enumerate(RECOMMENDATIONS)}

# target: usual remedies, the likeliest to help first
_REMEDIES = {
    "reduce-latency": "lower-context-window raise-tool-concurrency raise-max-agents raise-cached-prefix-share "
    "lower-thinking-tokens lower-queue-limit raise-result-cache-size lower-review-depth",
    "improve-throughput": "raise-max-agents raise-tool-concurrency raise-task-timeout raise-tool-timeout "
    "raise-tasks-per-agent raise-request-concurrency lower-context-window",
    "reduce-error-rate": "raise-review-depth raise-task-retries raise-model-tier raise-test-share "
    "raise-retrieval-documents raise-task-timeout raise-tool-timeout raise-memory-limit",
    "reduce-cost": "lower-model-tier lower-context-window lower-thinking-tokens raise-cached-prefix-share "
    "lower-candidates lower-history-turns lower-speculative-steps lower-review-depth",
    "reduce-tail-latency": "raise-max-agents raise-priority-levels lower-hedge-percentile lower-task-timeout "
    "raise-warm-agents lower-queue-limit",
    "reduce-queue-time": "raise-max-agents raise-tasks-per-agent lower-queue-limit lower-scheduling-interval",
    "reduce-memory": "lower-memory-limit lower-sandbox-pool lower-warm-agents lower-idle-timeout lower-max-agents "
    "lower-result-cache-size lower-worker-threads",
    "reduce-cpu": "lower-cpu-quota raise-index-refresh-interval lower-tool-concurrency raise-result-cache-size "
    "lower-test-share lower-worker-threads lower-speculative-steps",
    "reduce-tokens": "lower-context-window lower-candidates lower-history-turns lower-retrieval-documents "
    "lower-speculative-steps lower-context-sharing raise-tool-batch-size",
    "improve-quality": "raise-review-depth raise-test-share raise-model-tier raise-thinking-tokens "
    "raise-retrieval-documents raise-review-threshold",
    "improve-utilization": "lower-max-agents lower-memory-limit raise-tasks-per-agent lower-warm-agents",
    "improve-stability": "raise-max-agents raise-queue-limit raise-task-timeout raise-tool-timeout "
    "raise-memory-limit raise-rate-limit-headroom raise-request-timeout",
}


def rule_scores(encoder: Encoder, inputs: NDArray[np.float32]) -> Array:
    """Scores ``[n, 128]`` of the rules for ``inputs [n, 256]``; larger is recommended more."""
    scores = np.zeros((len(inputs), len(RECOMMENDATIONS)))
    weights = inputs[:, 2 * len(encoder.fields) :].astype(np.float64)

    def seen(name: str) -> Array:
        return encoder.column(inputs, f"current-performance.{name}")

    def limit(name: str) -> Array:
        return encoder.column(inputs, f"constraints.{name}")

    def add(names: str, amount: float | Array, where: NDArray[np.bool_] | None = None) -> None:
        for name in names.split():
            scores[:, _OUTPUT[name]] += amount if where is None else np.where(where, amount, 0.0)

    for target, names in _REMEDIES.items():
        for rank, name in enumerate(names.split()):
            add(name, weights[:, encoder.targets.index(target)] * (0.7 - 0.07 * rank))

    # Comparisons with an unknown value (NaN) are false: no rule fires on what was not measured.
    crowded = (seen("agent-utilization") > 0.85) | (seen("queue-time") > 0.5 * seen("task-seconds"))
    crowded |= (seen("queue-time") > 0.3 * seen("latency")) | (seen("rejection-rate") > 0.05)
    crowded |= seen("resource-utilization") > 0.85
    add("raise-max-agents", 1.0, crowded)
    add("raise-tasks-per-agent raise-request-concurrency", 0.3, crowded)
    idle = (seen("agent-utilization") < 0.6) | (seen("queue-time") < 0.05 * seen("latency"))
    add("raise-max-agents raise-tasks-per-agent", -1.0, idle)
    # One move nearly doubles the agents: what they use must fit under the limits afterwards.
    grown = seen("memory") * 1.6 > limit("max-memory")
    grown |= seen("cpu-usage") * 1.6 > limit("max-cpu")
    grown |= seen("cost") * 1.6 > limit("budget")
    grown |= seen("active-agents") * 1.8 > limit("max-agents")
    add("raise-max-agents raise-tasks-per-agent", -1.0, grown)

    memory_full = (seen("memory") > 0.9 * limit("max-memory")) | (seen("memory-usage") > 0.9)
    add("lower-memory-limit lower-sandbox-pool lower-warm-agents", 0.8, memory_full)
    add("raise-max-agents raise-memory-limit raise-warm-agents raise-sandbox-pool", -1.0, memory_full)
    cpu_full = (seen("cpu-usage") > 0.9 * limit("max-cpu")) | (seen("cpu-usage") > 0.9)
    add("lower-cpu-quota lower-test-parallelism raise-result-cache-size raise-index-refresh-interval", 0.6, cpu_full)
    add("raise-max-agents raise-tool-concurrency raise-cpu-quota", -0.8, cpu_full)
    throttled = seen("rate-limit-usage") > 0.8
    add("lower-context-window raise-rate-limit-headroom lower-max-output-tokens lower-candidates", 0.6, throttled)
    add("raise-max-agents raise-candidates raise-request-concurrency", -0.7, throttled)
    dear = seen("cost") > 0.95 * limit("budget")
    add("lower-context-window lower-model-tier lower-thinking-tokens raise-cached-prefix-share", 0.8, dear)
    add("raise-max-agents raise-model-tier raise-candidates raise-budget-per-task", -0.8, dear)
    at_most = encoder.column(inputs, "current-settings.max-agents") * 1.8 > limit("max-agents")
    add("raise-max-agents", -3.0, at_most)

    timing_out = seen("timeout-rate") > 0.1
    add("raise-task-timeout raise-tool-timeout raise-budget-per-task raise-request-timeout", 0.7, timing_out)
    failing = seen("error-rate") > 0.3
    add("raise-tool-timeout raise-task-timeout raise-memory-limit raise-budget-per-task", 0.3, failing)
    add("raise-memory-limit", 1.0, seen("crash-rate") > 0.15)
    add("raise-context-window raise-retrieval-documents", 0.5, seen("missing-context") > 0.4)
    add("lower-merge-batch lower-coordination-interval lower-branch-lifetime", 0.4, seen("conflict-rate") > 0.15)
    add("raise-test-parallelism lower-test-share", 0.4, seen("test-seconds") > 0.3 * seen("task-seconds"))
    add("raise-prompt-cache-ttl raise-cached-prefix-share", 0.4, seen("prompt-cache-hit-rate") < 0.2)
    add("raise-review-depth raise-test-share raise-model-tier", 0.4, seen("defect-rate") > 0.3)

    for index, tunable in enumerate(TUNABLES[1:], start=1):  # the number of agents has no usual value
        position = tunable.position(encoder.column(inputs, f"current-settings.{tunable.name}"))
        away = np.nan_to_num(position - tunable.position(tunable.default))
        scores[:, 2 * index] -= 1.2 * away
        scores[:, 2 * index + 1] += 1.2 * away
    return scores
