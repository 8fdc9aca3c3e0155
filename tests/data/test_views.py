"""The guide's names on a month of a made-up swarm: every view is what it says, and a wrong name is one line."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from tests.guide import swarm

from claude_flow import networks, registry, requests
from claude_flow.data import preprocess, views
from claude_flow.data.collect import collect
from claude_flow.data.inventory import inventory
from claude_flow.errors import InputError
from claude_flow.model import load

pytest.importorskip("pyarrow", reason="datasets need the extra: pip install 'claude-flow[data]'")
NOW = datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swarm")
    swarm.write(folder / "projects", folder / "events", NOW)
    return folder


@pytest.fixture
def tables(log: Path) -> Path:
    folder = registry.workspace() / "datasets" / "swarm-training-data"
    collect([log / "projects", log / "events"], folder)
    return folder


def runs(name: str) -> list[dict]:
    from claude_flow.data.tables import read_table

    return read_table(views.find(name).folder, "runs").to_pylist()


def test_a_view_of_runs_is_a_dataset_with_what_belongs_to_them(tables):
    from claude_flow.data.tables import read_manifest, read_table

    found = views.find("similar-tasks-last-7-days")
    kept = runs("similar-tasks-last-7-days")
    assert 0 < len(kept) < len(runs("swarm-training-data"))
    assert min(run["start"] for run in kept) >= NOW - timedelta(days=7)
    assert found.says.startswith(f"similar-tasks-last-7-days: {len(kept)} of the ")
    steps = read_table(found.folder, "steps").to_pylist()
    assert {step["run_id"] for step in steps} < {run["run_id"] for run in kept}
    about = read_manifest(found.folder)
    assert about["view"] == {"of": "swarm-training-data", "says": found.says}
    assert {name: table["rows"] for name, table in about["tables"].items()} == {"runs": len(kept), "steps": len(steps)}
    assert about["time_range"][0] == min(run["start"] for run in kept).isoformat()
    assert registry.datasets() == [tables]  # it is no dataset of its own
    assert len(runs("similar-tasks-last-6-months")) == len(runs("swarm-training-data"))


def test_swarms_are_the_projects_by_size(tables):
    sizes = []
    for number in (1, 2, 3):
        kept = runs(f"swarm-{number}")
        assert len({run["project"] for run in kept}) == 1
        sizes.append(len(kept))
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == len(runs("swarm-training-data"))
    with pytest.raises(InputError, match="there are 3 projects in the log, so there is no swarm-4"):
        views.find("swarm-4")


def test_recent_runs_are_the_newest_of_each_project(tables):
    kept, everything = runs("recent-coordination-patterns"), runs("swarm-training-data")
    for project in {run["project"] for run in everything}:
        old = [r for r in everything if r["project"] == project and r["run_id"] not in {k["run_id"] for k in kept}]
        new = [run for run in kept if run["project"] == project]
        assert max(run["start"] for run in old) <= min(run["start"] for run in new)
        assert 0.15 < len(new) / (len(old) + len(new)) < 0.25


def test_a_domain_is_what_names_it_else_what_is_nearest_and_says_which(tables):
    assert {run["project"] for run in runs("microservice-development")} == {"payments-microservice"}
    assert len(runs("microservices-development")) == len(runs("microservice-development"))
    near = views.find("storefronts-testing-development").says
    assert "no run names storefronts-testing: those nearest to it in words, similarity 0." in near


def test_a_domain_that_shares_no_word_with_any_run_is_told(tmp_path):
    lines = [{"event": "run", "run_id": f"r{i}", "agent": "1", "task": "2", "start": NOW.isoformat()} for i in range(3)]
    (tmp_path / "bare.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    collect([tmp_path / "bare.jsonl"], registry.workspace() / "datasets" / "bare", quality_filter="none")
    with pytest.raises(InputError, match="no run names kernel, and none shares a word with it"):
        views.find("bare:kernel-development")


def test_a_view_of_a_given_dataset(tables, log):
    collect([log / "events"], registry.workspace() / "datasets" / "nights")
    assert {run["project"] for run in runs("nights:swarm-1")} == {"ledger"}
    with pytest.raises(InputError, match="no swarm-2"):
        views.find("nights:swarm-2")
    with pytest.raises(InputError, match="there is no dataset 'nihgts': did you mean nights"):
        views.find("nihgts:swarm-1")


def test_parts_are_those_of_the_networks_preprocessed_data(tables):
    with pytest.raises(InputError, match="there is no dataset 'preprocessed-coordination-data'"):
        views.find("holdout-dataset")
    made = preprocess.preprocess(tables, {}, only=["coordination"]).made
    assert list(made) == ["coordination"]
    with pytest.raises(InputError, match="did you mean coordination"):
        preprocess.preprocess(tables, {}, only=["coordinatoin"])
    preprocess.preprocess(tables, {}, only=["prediction"])
    for name, part in {
        "training-distribution": "train",
        "holdout-dataset": "test",
        "coordination-variants": None,
    }.items():
        found = views.find(name)
        assert (found.folder.name, found.part) == ("preprocessed-coordination-data", part)
    assert views.find("holdout-dataset", "prediction").folder.name == "preprocessed-prediction-data"
    given = views.find("preprocessed-prediction-data:regression-test-suite", use="test")
    assert given.says == "regression-test-suite: the test part of preprocessed-prediction-data"
    with pytest.raises(InputError, match=r"holdout-dataset is the test part of .*; here its train part would be read"):
        preprocess.for_network("coordination", "holdout-dataset")


def test_a_view_can_be_learned_from_and_says_what_it_is(tables):
    said: list[str] = []
    folder = preprocess.for_network("coordination", "recent-coordination-patterns", said.append)
    assert json.loads((folder / "manifest.json").read_text())["pools_by_mode"]["logged"] >= 1
    assert said == [views.find("recent-coordination-patterns").says]


def test_views_of_requests_are_requests(tables):
    (largest,) = views.requests("complex-coordination-scenario")["largest"]
    ((session, timeline),) = views.requests("task-coordination-timeline").items()
    groups = views.requests("successful-vs-failed-coordination")
    assert list(groups) == ["successful", "failed"]
    assert len(timeline) > 1
    assert session
    held_out = [request for group in groups.values() for request in group]
    assert all(len(r.input["pending-tasks"]) <= len(largest.input["pending-tasks"]) for r in held_out)
    seen = [len(request.input["current-agents"]) for request in timeline]
    assert seen == sorted(seen)  # agents are those seen by then
    answer = networks.get("coordination").answer.answer(load("coordination-v3"), largest.input)
    assert len(answer["assignments"]) == len(largest.input["pending-tasks"])
    with pytest.raises(InputError, match="hold no request to optimization"):
        views.requests("complex-optimization-scenario")
    assert views.requests("swarm-training-data") is None


@pytest.mark.parametrize("network", networks.NETWORKS)
def test_what_is_typical_is_logged_else_simulated_and_can_be_asked(network):
    with pytest.raises(InputError, match=f"logged no request of {network}"):
        views.requests("production-inputs", network)
    (name, simulated), = views.requests(f"typical-{network}-tasks").items()  # fmt: skip
    assert (name, len(simulated)) == ("simulated", 64)
    row, model = networks.get(network), registry.newest_model(network)
    for request in simulated[:3]:
        assert row.answer.answer(load(model), request.input)["network"] == network
    requests.keep(network, simulated[0].input, None, 0.1, {})
    for view in (f"typical-{network}-tasks", "production-inputs", "large-inference-dataset", "typical-workload"):
        ((name, (logged,)),) = views.requests(view, network).items()
        assert (name, logged.input) == ("logged", json.loads(json.dumps(simulated[0].input)))


def test_an_unknown_name_is_one_line_with_near_ones(tables):
    for name, near in {"holdout-datset": "holdout-dataset", "swarm-training-dta": "swarm-training-data"}.items():
        with pytest.raises(InputError, match=f"there is no dataset '{name}'.*did you mean {near}"):
            views.find(name)


def test_the_inventory_lists_what_there_is_and_what_is_empty(tables):
    broken = registry.workspace() / "datasets" / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    found = inventory()
    assert {row["name"]: row["kind"] for row in found["datasets"]} == {"broken": None, "swarm-training-data": "tables"}
    networks_of = {row["name"]: row["network"] for row in found["models"] if row["built_in"]}
    assert networks_of["coordination-v3"] == "coordination"
    missing = {row["name"]: row["missing"] for row in found["views"]}
    assert missing["swarm-N"] is None
    assert missing["production-inputs"] == "no request is logged"
    assert "claude-flow neural data preprocess" in missing["holdout-dataset"]
