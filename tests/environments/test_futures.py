"""Futures of a swarm: the same luck for every command; and thresholds that a search sets."""

from __future__ import annotations

import numpy as np

from claude_flow.environments import REWARDS, WORLDS
from claude_flow.environments.futures import Future, values
from claude_flow.environments.rules import RULES, Rule, measures, play, played
from claude_flow.environments.swarm import ACTIONS, Swarm
from claude_flow.environments.thresholds import Thresholds, searched

RULE = Rule(1, spawn=1.0, fit=0.5)
REWARD = REWARDS["efficiency-improvement"].of


def midway(seed, steps=40):
    swarm = Swarm(WORLDS["simulated"], seed)
    for _ in range(steps):
        swarm.step(RULE(swarm))
    return swarm


def test_a_future_leaves_the_swarm_as_it_is_and_repeats_itself():
    swarm, same = midway(3), midway(3)
    ends = [played(Future(swarm, 5), RULE) for _ in range(2)]
    assert ends[0].total == ends[1].total
    assert played(Future(swarm, 6), RULE).total != ends[0].total
    assert played(swarm, RULE).total == played(same, RULE).total
    assert ends[0].finished == swarm.finished | ends[0].finished


def test_values_are_those_of_a_command_and_the_policy_after_it():
    swarm = midway(4)
    found = np.array(values(swarm, RULE, REWARD, [1, 2]))
    assert found.shape == (len(ACTIONS), 2)
    assert (np.isfinite(found[:, 0]) == swarm.mask()).all()
    for action in np.flatnonzero(swarm.mask()).tolist():
        future = Future(swarm, 2)
        future.step(action)
        assert REWARD(played(future, RULE).total) == found[action, 1]


def test_luck_goes_with_the_attempt_whoever_does_it():
    swarm = midway(7)
    one, other = Future(swarm, 9), Future(swarm, 9)
    other.random.random()
    task = one.coming[0]
    assert one._luck(task) == other._luck(task)
    task.attempts += 1
    assert one._luck(task) != other._luck(other.coming[0])


def test_a_search_sets_thresholds_that_beat_rules_as_written():
    found = searched("efficiency-improvement", range(10_000), rounds=3, candidates=12, together=4)
    assert found == searched("efficiency-improvement", range(10_000), rounds=3, candidates=12, together=4)

    def mean(policy):
        return np.mean([measures(play(policy, "simulated", s))["efficiency-improvement"] for s in range(12)])

    assert mean(found) > max(mean(rule) for rule in RULES.values())
    eager = played(Swarm(WORLDS["simulated"], 1), Thresholds(low=1e3, medium=1e3, high=1e3, critical=1e3))
    assert eager.escalated > played(Swarm(WORLDS["simulated"], 1), Thresholds(critical=-1e3, high=-1e3)).escalated
