"""The decision engine: one program of four networks, answers, what it learns, and mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import claude_flow as cf
from claude_flow import export, networks, registry
from claude_flow.cli import main
from claude_flow.data.collect import collect
from claude_flow.environments import WORLDS
from claude_flow.environments.rules import RULES, play
from claude_flow.environments.swarm import ACTIONS, Swarm
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.model import load_for
from claude_flow.networks.action import answer as action
from claude_flow.networks.action import features
from claude_flow.networks.action.learn import Data, Settings
from claude_flow.networks.action.prepare import requests
from claude_flow.networks.action.streams import Streams
from claude_flow.networks.coordination.features import parse_request
from claude_flow.requests import keywords

SWARM = Path(__file__).parents[3] / "docs" / "examples" / "swarm.json"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    data = Data(Settings(episodes=2, judged=2))
    torch.manual_seed(3)
    module = data.module({}).eval()
    torch.nn.init.normal_(module.integration.weight, std=0.05)  # it begins blind to the three networks
    path = tmp_path_factory.mktemp("action") / "action.safetensors"
    metadata = data.metadata(module)
    metadata["provenance"] = metadata.pop("card")
    export.save(module, path, metadata=metadata)
    return path, module


def test_one_call_in_8_bits_is_near_the_one_in_floats_and_not_the_same():
    floats, integers = (cf.Pipeline(cf.load("action-v2", precision=precision)) for precision in ("auto", "int8"))
    assert integers.model.precision == "int8"
    swarms = [parse_request(request) for request in requests(4, 11)]
    exact, rounded = floats.values(swarms), integers.values(swarms)
    assert 0 < np.abs(exact - rounded).max() <= 0.1 * np.abs(exact).max()


def test_one_call_gives_what_the_networks_give_one_by_one(saved):
    path, module = saved
    pipeline = cf.Pipeline(cf.load(path))
    for request in requests(4, 11):
        inputs = pipeline.streams.run([request])
        with torch.inference_mode():
            apart = module(torch.from_numpy(inputs)).numpy()[0]
        (values,) = pipeline.values([parse_request(request)])
        assert np.abs(values - apart).max() <= 1e-5 * max(1, np.abs(apart).max())


def test_the_environment_and_its_request_say_the_same_numbers():
    swarm = Swarm(WORLDS["simulated"], 5)
    for _ in range(60):
        if swarm.over:
            break
        mine, told = np.array(swarm.observe()), features.state(swarm.request())
        names = list(features.FEATURES)
        apart = {names[i] for i in np.flatnonzero(np.abs(mine - told) > 0.06)}
        assert apart <= {"busy agents", "commanded now", "concurrency", "ready tasks (log)", "ready tasks per agent",
                         "agents' failures"}  # fmt: skip
        swarm.step(RULES["shortest-first"](swarm))


def test_an_answer_has_a_command_instructions_and_reasons(saved):
    answer = cf.Pipeline(cf.load(saved[0]))(json.loads(SWARM.read_text("utf-8")), explain=True)
    assert answer["command"] in ACTIONS
    assert answer["values"][0]["command"] == answer["command"]
    assert bool(answer["instructions"]) == answer["command"].startswith("assign-")
    assert answer["reasons"]
    assert {entry["stream"] for entry in answer["explanation"]} == {
        "coordination", "optimization", "prediction", "state"
    }  # fmt: skip


def test_a_hidden_stream_is_hidden_from_the_program_too(saved, tmp_path):
    data = Data(Settings(hidden=("coordination",)))
    metadata = data.metadata(saved[1])
    metadata["provenance"] = metadata.pop("card")
    export.save(saved[1], tmp_path / "blind.safetensors", metadata=metadata)
    pipeline = cf.Pipeline(cf.load(tmp_path / "blind.safetensors"))
    (request,) = requests(1, 3)
    apart = pipeline.decision.run(pipeline.streams.run([request], ("coordination",)))[0]
    assert np.abs(pipeline.values([parse_request(request)])[0] - apart).max() < 1e-5
    assert np.abs(apart - pipeline.decision.run(pipeline.streams.run([request]))[0]).max() > 1e-3


def test_it_learns_where_learning_is_easy():
    """A few hundred steps on the swarm's own numbers: better than it began, and the loss is finite."""
    data = Data(Settings(hidden=("coordination", "optimization", "prediction"), judged=4, explore_updates=300))
    torch.manual_seed(0)
    module = data.module({})
    before = data.metrics(module.eval(), "validation")
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    for _ in range(300):
        optimizer.zero_grad()
        loss = data.loss(module.train(), {"decisions": torch.tensor([16])})
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
    after = data.metrics(module.eval(), "validation")
    assert after["reward"] > before["reward"]
    assert data.played > 2
    assert data.epsilon == 0.05


def test_a_world_that_returns_nan_ends_with_its_place(monkeypatch):
    data = Data(Settings(hidden=("coordination", "optimization", "prediction")))
    module = data.module({})
    monkeypatch.setattr(data, "_reward", lambda happened: float("nan"))
    with pytest.raises(ClaudeFlowError, match=r"reward became nan after .*, 0 decisions into an episode"):
        data.loss(module, {"decisions": torch.tensor([8])})


def test_a_mask_without_a_legal_command_is_told(monkeypatch):
    data = Data(Settings(hidden=("coordination", "optimization", "prediction")))
    module = data.module({})
    assert data._teacher  # which is searched for with a mask
    monkeypatch.setattr(Swarm, "mask", lambda swarm: [False] * len(ACTIONS))
    with pytest.raises(ClaudeFlowError, match="no legal command"):
        data.loss(module, {"decisions": torch.tensor([8])})


def test_an_environment_that_fails_is_told_with_its_place(monkeypatch):
    data = Data(Settings(hidden=("coordination", "optimization", "prediction")))
    module = data.module({})
    assert data._teacher  # which is searched for with a swarm that works
    monkeypatch.setattr(Swarm, "step", lambda swarm, action: [][action])
    with pytest.raises(ClaudeFlowError, match=r"environment failed after .*, 0 decisions into .*: IndexError"):
        data.loss(module, {"decisions": torch.tensor([8])})


def test_training_stores_a_version_and_resumes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path / "workspace"))
    line = ["neural", "train", "reinforcement", "--agent", "state-features", "--episodes", "2", "--update-frequency"]
    assert main([*line, "1", "--time-budget", "3s", "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["card"]["held_out"]["metrics"]["reward"] == pytest.approx(answer["seeds"][0]["reward"])
    assert "tuned-rule" in answer["card"]["baselines"]
    assert main([*line, "1", "--time-budget", "3s", "--resume", "--format", "json"]) == 0
    capsys.readouterr()
    assert main(["neural", "monitor", "training", "--model", "action", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"]
    assert main(["neural", "infer", "action", "--input", str(SWARM), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"].startswith("action/")


WRONG = {
    "--environment": ("swarm-coordination", "swarm-coordination-env"),
    "--reward-function": ("efficency", "efficiency"),
    "--agent": ("coordination", "coordination-network"),
    "--exploration-strategy": ("epsilon", "epsilon-greedy"),
}


@pytest.mark.parametrize("option", WRONG)
def test_a_wrong_name_is_one_line(option, capsys):
    value, near = WRONG[option]
    assert main(["neural", "train", "reinforcement", option, value]) == 2
    message = capsys.readouterr().err.strip()
    assert near in message
    assert "\n" not in message


def test_a_log_teaches_it_nothing(tmp_path):
    from claude_flow.networks.action.prepare import preprocess

    with pytest.raises(ValueError, match="train reinforcement"):
        preprocess(tmp_path, tmp_path, {})
    assert play(RULES["matching"], "simulated", 2).over
    assert Streams().queries.shape == (4, 256)


def test_prices_add_what_a_task_costs_and_what_it_costs_to_be_wrong(tmp_path):
    swarm = {
        "current-agents": [
            {"id": "a", "type": "senior"},
            {"id": "b", "type": "junior"},
            {"id": "c", "type": "guest"},
        ],
        "pending-tasks": [{"id": "t", "type": "fix"}],
    }
    model = load_for("action", None)
    bare = action.answer(model, swarm)
    assert bare["price"] is None
    prices = {"senior": 1.0, "b": 0.1}
    price = action.answer(model, swarm, prices=prices)["price"]
    assert price["unpriced"] == ["c"]
    assert "the prices alone" in price["rests_on"]
    (plan,) = price["plans"]
    assert (plan["first"], plan["chance"], plan["cost_if_wrong"]) == ("b", None, 1.1)
    lines = []
    for i in range(40):  # the senior always does it, the junior every second time
        for kind, good in (("senior", True), ("junior", i % 2 == 0)):
            at = f"2026-03-{1 + i % 28:02}T09:00:00Z"
            run = {"event": "run", "run_id": f"{kind}{i}", "agent": kind, "task": f"t{i}", "start": at}
            run |= {"agent_type": kind, "task_type": "fix", "description": "Fix it"}
            lines.append({**run, "duration_s": 60, "status": "completed", "success": good})
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    collect([tmp_path / "log.jsonl"], registry.workspace() / "datasets" / "swarm-training-data")
    (plan,) = action.answer(model, swarm, prices=prices)["price"]["plans"]
    assert (plan["policy"], plan["first"], plan["then"], plan["seconds"]) == ("cheap first", "b", "a", 60.0)
    assert 0.5 < plan["chance"] < 0.6
    assert plan["expected_cost"] == pytest.approx(0.1 + (1 - plan["chance"]), abs=1e-3)
    assert plan["price_of_being_wrong"] == pytest.approx(1 - plan["chance"], abs=1e-3)
    (plan,) = action.answer(model, swarm, prices={"senior": 0.15, "b": 0.1})["price"]["plans"]
    assert (plan["policy"], plan["first"], plan["expected_cost"]) == ("one shot", "a", 0.15)
    # The same as a line of a batch, or over HTTP and MCP.
    asked = {**swarm, "prices": prices}
    assert keywords(networks.get("action"), asked) == (swarm, {"prices": prices})
    with pytest.raises(InputError, match="prices"):
        keywords(networks.get("action"), {**swarm, "prices": [1]})
    for wrong, said in (
        ({"seniro": 1}, "did you mean senior"),
        ({"senior": -1}, "prices.senior"),
        ({}, "at least one"),
    ):
        with pytest.raises(InputError, match=said):
            action.answer(model, swarm, prices=wrong)
