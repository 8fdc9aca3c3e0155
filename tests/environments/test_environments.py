"""The swarm environment: Gymnasium's own check, legal commands, determinism, books that balance, rules that work."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_flow import environments
from claude_flow.environments import REWARDS, WORLDS
from claude_flow.environments.observe import FEATURES
from claude_flow.environments.rules import RULES, Rule, at_random, measures, play, tuned
from claude_flow.environments.swarm import ACTIONS, Swarm
from claude_flow.errors import InputError

gymnasium = pytest.importorskip("gymnasium", reason="environments need the extra: pip install 'claude-flow[rl]'")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("reward", REWARDS)
def test_gymnasium_finds_nothing_to_say(reward):
    from gymnasium.utils.env_checker import check_env

    check_env(environments.make(reward=reward), skip_render_check=True)
    check_env(environments.make(reward=reward, pairs=True), skip_render_check=True)


def test_it_runs_as_a_vector_and_repeats_itself_under_a_seed():
    def episodes():
        envs = gymnasium.vector.SyncVectorEnv([environments.make] * 3)
        first, info = envs.reset(seed=7)
        seen = [first]
        for _ in range(60):
            observation, *_, info = envs.step(info["action_mask"].argmax(1))
            seen.append(observation)
        return seen

    assert all((a == b).all() for a, b in zip(episodes(), episodes(), strict=True))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(WORLDS)), st.integers(0, 2**31), st.integers(0, 2**31))
def test_random_commands_end_every_episode_with_books_that_balance(world, seed, choices):
    swarm, policy = Swarm(WORLDS[world], seed), at_random(choices)
    weight = sum(task.weight for task in [*swarm.coming, *swarm.ready, *swarm.blocked])
    for _ in range(5000):
        if swarm.over:
            break
        assert len(swarm.observe()) == len(FEATURES)
        assert all(-4 <= number <= 4 for number in swarm.observe())
        assert swarm.busy == sum(agent.task is not None for agent in swarm.agents)
        assert sum(swarm.mask()) >= 1
        swarm.step(policy(swarm))
    assert swarm.over
    total = swarm.total
    assert total.value + total.lost == pytest.approx(weight)
    assert 0 <= total.late <= total.value
    assert total.minutes == pytest.approx(swarm.now)
    with pytest.raises(ValueError, match="not legal"):
        swarm.step(0)


def test_rules_beat_chance_where_nothing_is_scaled_and_a_search_makes_them_better():
    seeds = range(12)

    def mean(policy):
        return sum(measures(play(policy, "simulated", s))["efficiency-improvement"] for s in seeds) / len(seeds)

    plain = {name: mean(rule) for name, rule in RULES.items()}
    name, rule, reward = tuned("efficiency-improvement", seeds, 16)
    assert name in RULES
    assert reward == pytest.approx(mean(rule))
    assert reward > max(plain.values())
    assert plain["shortest-first"] > plain["least-loaded"]


def test_every_command_is_carried_out_by_somebody():
    done = set()
    policy = at_random(3)

    def noted(swarm):
        done.add(action := policy(swarm))
        return action

    play(noted, "simulated", 5)
    play(noted, "more-arrivals", 6)
    assert done == set(range(len(ACTIONS)))


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [("name", "swarm-coordinaton-env", "swarm-coordination-env"), ("world", "simulatd", "simulated"),
     ("reward", "efficiency", "efficiency-improvement")],
)  # fmt: skip
def test_unknown_names_are_one_line(kind, name, near):
    with pytest.raises(InputError, match=near):
        environments.make(**{kind: name})


def test_a_rule_defers_what_does_not_fit():
    strict, lax = (play(Rule(1, fit=fit), "simulated", 4) for fit in (1.0, 0.0))
    assert strict.failures <= lax.failures
