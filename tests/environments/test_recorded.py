"""The worlds that are made from files: real outcomes, job graphs. The files here are made up and small; the public ones
are read where they are."""

from __future__ import annotations

import csv
import gzip
import json

import numpy as np
import pytest

from claude_flow import environments
from claude_flow.environments.jobs import FEATURES, Jobs, JobsWorld, read_graphs
from claude_flow.environments.replay import SPLITS, ReplayWorld, read_runs
from claude_flow.errors import InputError


@pytest.fixture(scope="module")
def jobs_file(tmp_path_factory):
    """Two kinds of job: a chain, and two stages that meet in a third."""
    times = {"2": [9, 1.0, 0.1], "10": [9, 1.5, 0.2]}
    stage = {"fresh_durations": {}, "first_wave": times, "rest_wave": {"2": [9, 0.5, 0.0]}, "tasks": 4}
    lone = {**stage, "rest_wave": {}, "fresh_durations": {"2": [1, 3.0, 0.0]}, "tasks": 1}
    jobs = [
        {"query": 1, "input": "2g", "edges": [[0, 1]], "stages": [stage, lone]},
        {"query": 2, "input": "2g", "edges": [[0, 2], [1, 2]], "stages": [stage, stage, lone]},
    ]
    path = tmp_path_factory.mktemp("jobs") / "jobs.json.gz"
    path.write_bytes(gzip.compress(json.dumps(jobs).encode()))
    return path


@pytest.fixture(scope="module")
def runs_file(tmp_path_factory):
    """Three agents on 60 tasks of two repositories: the dear one resolves most, one run is missing."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["task", "repository", "agent", "resolved", "api_calls", "cost_usd"])
        for task in range(60):
            for agent, chance, cost in (("cheap", 0.4, 0.1), ("dear", 0.7, 1.0), ("poor", 0.1, 0.1)):
                if (task, agent) != (0, "poor"):
                    row = [f"task-{task}", f"repo-{task % 2}", agent, int(random.random() < chance), 10 + task, cost]
                    lines.writerow(row)
    return path


def worlds(jobs_file, runs_file):
    return [JobsWorld(jobs_file, executors=5, jobs=12), ReplayWorld(runs_file), ReplayWorld(runs_file, attempts=1)]


def play(world, seed, choose=None):
    """An episode by random choices, some of which wait."""
    random, episode, steps = np.random.default_rng(choose), world.begin(seed), []
    while not episode.over:
        rows = list(episode.rows().items())
        assert rows
        assert all(0 <= row < world.rows for row, _ in rows)
        assert np.isfinite(episode.features([choice for _, choice in rows])).all()
        pick = int(random.integers(len(rows) + episode.may_wait))
        steps.append(episode.step(rows[pick][1] if pick < len(rows) else None))
    return episode, steps


@pytest.mark.parametrize("i", range(3))
def test_books_balance_and_a_seed_gives_the_same_episode(jobs_file, runs_file, i):
    world = worlds(jobs_file, runs_file)[i]
    for seed in range(4):
        episode, steps = play(world, seed, seed)
        again, _ = play(world, seed, seed)
        assert (again.total, again.now) == (episode.total, episode.now)
        assert all(step.waited >= 0 and step.minutes >= 0 for step in steps)
        if isinstance(episode, Jobs):
            assert len(episode.times) == 12 == episode.total.value
            assert episode.total.waited * 60 == pytest.approx(sum(episode.times))  # Little's law
            assert episode.idle == 5
            assert episode.total.cost <= 5 * episode.total.minutes + 1e-9
        else:
            assert len(episode.resolved) + episode.given_up == episode.orders
            assert all(len(set(o)) == len(o) for o in [episode.resolved])
            assert episode.total.cost == pytest.approx(episode.spent * episode.scale)


def test_a_job_is_done_as_its_stages_allow(jobs_file):
    (chain, join) = read_graphs(jobs_file, 5)
    assert chain.parents == (0, 1)
    assert join.children == ((2,), (2,), ())
    assert join.path[0] > join.path[2]
    world = JobsWorld(jobs_file, executors=1, jobs=1, load=0.1)
    episode, _ = play(world, 3)
    graph = (chain, join)[episode.count == 9]
    # one executor: it moves once, and every stage's first task takes the first wave's time or that of a newcomer
    assert episode.count == sum(graph.tasks)
    assert episode.times[0] > 2.0 + sum(s * 0.4 for s in graph.tasks)
    assert len(FEATURES) == len(Jobs(world, 1).features(Jobs(world, 1).candidates)[0])


def test_an_outcome_is_that_of_the_recorded_run(runs_file):
    runs = read_runs(runs_file)
    world = ReplayWorld(runs_file, split="test", attempts=1)
    dear = runs.agents.index("dear")
    for seed in range(3):
        episode = world.begin(seed)
        tasks = {order.task for order in [*episode.coming, *episode.waiting]}
        assert all(runs.part[task] == SPLITS.index("test") for task in tasks)
        while not episode.over:
            choice = next((c for c in episode.choices() if c[1] == dear), None)
            episode.step(choice)
        assert set(episode.resolved) == {task for task in tasks if runs.resolved[task, dear] == 1}
        assert episode.spent == pytest.approx(len(tasks) * 1.0)
    missing = runs.tasks.index("task-0")
    assert runs.agents.index("poor") not in world.begin(0).recorded[missing]


def test_rates_come_from_training_tasks_alone(runs_file, tmp_path):
    runs = read_runs(runs_file)
    lines = runs_file.read_text().splitlines()
    held_out = {task for task, part in zip(runs.tasks, runs.part, strict=True) if part}
    flipped = [
        line.replace(",0,", ",x,").replace(",1,", ",0,").replace(",x,", ",1,")
        if line.split(",")[0] in held_out
        else line
        for line in lines
    ]
    (tmp_path / "flipped.csv").write_text("\n".join(flipped))
    for mine, theirs in zip(runs.rates(), read_runs(tmp_path / "flipped.csv").rates(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot read"), (b"task,agent\na,b\n", "columns"), (b"\x1f\x8b\x00", "columns|not a table"),
     (b"task,repository,agent,resolved,api_calls,cost_usd\nt,r,a,1,few,1\n", "line 2"),
     (b"task,repository,agent,resolved,api_calls,cost_usd\nt,r,a,1,1,1\nt,r,b,1,1,1\n", "too few")],
)  # fmt: skip
def test_bad_tables_of_runs_are_one_line(tmp_path, content, problem):
    path = tmp_path / "runs.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=problem):
        environments.recorded("replay", path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot read"), (b"{}", "not a file of job graphs"), (gzip.compress(b"[]"), "no job graph"),
     (gzip.compress(b'[{"query": 1}]'), "not a file of job graphs"),
     (gzip.compress(json.dumps([{"query": 1, "input": "2g", "edges": [[0, 1], [1, 0]], "stages": [
         {"fresh_durations": {}, "first_wave": {"2": [1, 1.0, 0.0]}, "rest_wave": {}, "tasks": 1}] * 2}]).encode()),
      "circle")],
)  # fmt: skip
def test_bad_files_of_jobs_are_one_line(tmp_path, content, problem):
    path = tmp_path / "jobs.json.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=problem):
        environments.recorded("jobs", path)


def test_a_recorded_world_asks_for_its_file():
    with pytest.raises(InputError, match="say which, such as data='tpch_jobs"):
        environments.make(world="jobs")
    with pytest.raises(InputError, match="replay"):
        environments.make(world="reply")


@pytest.mark.filterwarnings("error")
def test_gymnasium_finds_nothing_to_say_and_vectors_repeat_themselves(jobs_file, runs_file):
    gymnasium = pytest.importorskip("gymnasium", reason="environments need the extra: pip install 'claude-flow[rl]'")
    from gymnasium.utils.env_checker import check_env

    for world in worlds(jobs_file, runs_file):
        check_env(environments.make(world=world), skip_render_check=True)

        def episodes(world=world):
            envs = gymnasium.vector.SyncVectorEnv([lambda: environments.make(world=world, reward="cost")] * 2)
            seen = [envs.reset(seed=7)[0]]
            seen += [envs.step([i % world.rows, world.rows])[0] for i in range(20)]
            return np.array(seen)

        np.testing.assert_array_equal(episodes(), episodes())


def test_the_public_files_are_read(public_data):
    pro = read_runs(public_data / "agent-runs" / "swebench_pro_agent_runs_data.csv.gz")
    assert (len(pro.agents), len(pro.tasks), pro.unit) == (14, 730, "calls")
    assert np.nanmean(pro.resolved, 0).max() == pytest.approx(0.437, abs=0.001)
    verified = read_runs(public_data / "agent-runs" / "swebench_verified_bash.csv.gz")
    assert (len(verified.agents), len(verified.tasks), verified.unit) == (16, 252, "dollars")
    assert len(read_graphs(public_data / "dags" / "tpch_jobs.json.gz", 50)) == 154
    episode, _ = play(JobsWorld(public_data / "dags" / "tpch_jobs.json.gz", jobs=2), 1)
    assert len(episode.times) == 2
