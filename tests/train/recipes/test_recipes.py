"""Transfer, incremental, meta and federated learning on small simulated data, through the commands."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from claude_flow import cli, nets, networks, registry
from claude_flow.data.collect import collect
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.train.recipes import federated, incremental, memory, source
from claude_flow.train.recipes.meta import _Called
from claude_flow.train.recipes.privacy import Private, masked_sum

Neural = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def neural(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Neural:
    """``neural("transfer", …)`` gives exit code, JSON and standard error."""

    def run(*words: str) -> tuple[int, Any, str]:
        capsys.readouterr()
        code = cli.main(["neural", *words, "--format", "json"])
        out, error = capsys.readouterr()
        return code, json.loads(out) if code == 0 else None, error

    return run


def _weights(name: str) -> dict[str, np.ndarray[Any, Any]]:
    return load_file(registry.model_path(name))


# Transfer -------------------------------------------------------------------------------------------------


def test_transfer_trains_the_named_layers_alone_and_shows_its_rivals(neural: Neural) -> None:
    words = ("transfer", "--source-model", "base", "--target-domain", "october", "--output", "moved")
    layers = ("--freeze-layers", "layer-0", "--fine-tune-layers", "layer-1,output")
    code, answer, error = neural(*words, *layers, "--learning-rate", "0.001", "--epochs", "2")
    assert code == 0, error
    assert set(answer["held_out"]) == {"transfer", "source", "scratch", "fine-tune-all"}
    before, after = _weights("base"), _weights("moved")
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith(("layers.1", "head"))}


def test_transfer_lists_layers_and_refuses_wrong_ones(neural: Neural) -> None:
    code, answer, _ = neural("transfer", "--source-model", "base", "--list-layers")
    assert code == 0
    assert list(answer["layers"]) == ["layer-0", "layer-1", "output"]
    for layers, word in (
        (("--freeze-layers", "layer-9"), "did you mean layer-"),
        (("--freeze-layers", "output", "--fine-tune-layers", "output"), "at once"),
        (("--freeze-layers", "layer-0,layer-1,output"), "leave one"),
    ):
        code, _, error = neural("transfer", "--source-model", "base", "--target-domain", "october", *layers)
        assert code == 2
        assert word in error
        assert error.count("\n") == 1


def test_layers_of_every_shipped_network_cover_all_weights(neural: Neural) -> None:
    for name in ("coordination-v3", "coordination-v2", "optimization-v2", "prediction-v2", "action-v2"):
        model = source.read(registry.model_path(name))
        code, answer, error = neural("transfer", "--source-model", name, "--list-layers")
        assert code == 0, error
        assert sum(answer["layers"].values()) == sum(p.numel() for p in model.module.parameters())
        prefixes = [prefix for layer in model.layers.values() for prefix in layer]
        for parameter, _ in model.module.named_parameters():
            assert sum(parameter == p or parameter.startswith(f"{p}.") for p in prefixes) == 1, parameter


@pytest.mark.parametrize(
    "words",
    [
        "transfer --source-model base --target-domain ",
        "train incremental --model base --new-data ",
        "train meta --base-model base --task-distribution ",
        "train federated --network optimization --participants october,",
    ],
)
def test_data_of_other_inputs_and_an_empty_period_are_one_line(neural: Neural, workspace: Path, words: str) -> None:
    shutil.copytree(workspace / "datasets/october", workspace / "datasets/knobs")
    manifest = workspace / "datasets/knobs/manifest.json"
    told = json.loads(manifest.read_text())
    for place, field in enumerate(told["schema"]["fields"]):
        field["name"] = f"knob-{place}"
    manifest.write_text(json.dumps(told))
    log = workspace / "a.jsonl"
    times = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:01:00Z"}
    log.write_text(json.dumps({"event": "run", "run_id": "a", "agent": "b", "agent_type": "b", "task": "c", **times}))
    collect([log], workspace / "datasets/empty", quality_filter="none")
    first = "october" if "federated" in words else "the model"
    for name, word in (("knobs", f"share none of their fields: {first} has throughput, latency"), ("empty", "1 runs")):
        code, _, error = neural(*f"{words}{name}".split())
        assert (code, word in error, error.count("\n")) == (2, True, 1), error


# Incremental ----------------------------------------------------------------------------------------------


def test_incremental_reports_every_period_beside_plain_fine_tuning(neural: Neural) -> None:
    words = ("train", "incremental", "--model", "base", "--new-data", "october", "--epochs", "1", "--output", "grown")
    code, answer, error = neural(*words, "--forgetting-prevention", "elastic-weight-consolidation")
    assert code == 0, error
    assert answer["periods"] == ["before", "october"]
    assert np.array(answer["this"]["matrix"]).shape == (2, 2)
    assert answer["this"]["forgetting"] <= answer["fine-tuning"]["forgetting"] + 0.05
    assert registry.model_card(registry.model_path("grown"))["hooks"][0]["name"] == "elastic-weight-consolidation"


def test_an_interrupted_run_over_periods_ends_with_the_same_weights(workspace: Path) -> None:
    folders = [workspace / "datasets" / name for name in ("preprocessed-optimization-data", "october")]

    def learn(name: str, **more: Any) -> None:
        start = source.read(registry.model_path("base"))
        methods = {"prevention": "distillation", "rehearsal": "experience-replay", "epochs": 2}
        incremental.incremental(start, folders[0], folders[::-1], name, **methods, **more)

    learn("whole")

    def stop(share: float, what: str) -> None:
        if share > 0.7:  # in the second period's first epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn("parts", progress=stop)
    with pytest.raises(InputError, match="others"):
        learn("parts", resume=True, strength=2.0)
    learn("parts", resume=True)
    assert all(np.array_equal(t, _weights("parts")[name]) for name, t in _weights("whole").items())
    card = registry.model_card(registry.model_path("whole"))
    assert [hook["name"] for hook in card["hooks"]] == ["distillation", "experience-replay"]
    with pytest.raises(InputError, match="nothing to resume"):
        learn("parts", resume=True)


def test_distillation_holds_the_old_answers() -> None:
    old, new = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
    distance = lambda a, b, batch: (a(batch["x"]) - b(batch["x"])).square().mean()  # noqa: E731
    hook = memory.Distillation(old, distance, 2.0)
    batch = {"x": torch.randn(4, 3)}
    held = hook.loss(lambda: torch.ones(()), new, batch)
    assert float(held) == pytest.approx(1 + 2 * float(distance(new, old, batch)), rel=1e-5)
    held.backward()
    assert new.weight.grad is not None
    assert old.weight.grad is None


def test_episodic_memory_never_leaves_a_gradient_against_a_memory() -> None:
    torch.manual_seed(0)
    module = torch.nn.Linear(5, 1)
    loss = lambda m, batch: (m(batch["x"]) - batch["y"]).square().mean()  # noqa: E731
    memories = [[{"x": torch.randn(8, 5), "y": torch.randn(8, 1)}] for _ in range(3)]
    hook = memory.EpisodicMemory(memories, loss)
    for step in range(20):
        loss(module, {"x": torch.randn(8, 5), "y": 5 * torch.randn(8, 1)}).backward()
        hook.after_backward(module, step)
        gradient = torch.cat([p.grad.flatten() for p in module.parameters()])
        for period in memories:
            own = torch.autograd.grad(loss(module, period[0]), list(module.parameters()))
            assert float(torch.cat([g.flatten() for g in own]) @ gradient) >= -1e-3
        module.zero_grad()
    assert hook.projected > 0


def test_elastic_weights_hold_what_mattered() -> None:
    module = torch.nn.Linear(2, 1, bias=False)
    before = {"weight": module.weight.detach().clone()}
    hook = memory.ElasticWeights(before, {"weight": torch.tensor([[2.0, 0.0]])}, strength=10.0)
    with torch.no_grad():
        module.weight += 1.0
    assert float(hook.loss(lambda: torch.zeros(()), module, {})) == pytest.approx(0.5 * 10 * 2.0 / 2)


# Meta -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["maml", "anil", "reptile"])
def test_meta_learning_stands_beside_joint_training(neural: Neural, algorithm: str) -> None:
    words = ("train", "meta", "--base-model", "base", "--meta-algorithm", algorithm, "--outer-steps", "10")
    code, answer, error = neural(*words, "--inner-steps", "2", "--examples", "10")
    assert code == 0, error
    assert set(answer["held_out_tasks"]) == {"this", "joint", "source"}
    assert all(np.isfinite(list(scores.values())).all() for scores in answer["held_out_tasks"].values())


def test_a_meta_trained_model_adapts_to_a_dataset_when_it_is_asked(neural: Neural) -> None:
    words = ("train", "meta", "--base-model", "base", "--outer-steps", "4", "--inner-steps", "2", "--examples", "10")
    code, _, error = neural(*words, "--adaptation-rate", "0.5", "--tensorboard-logging")
    assert code == 0, error
    ask = ("infer", "optimization", "--current-performance", '{"latency": 120}', "--adapt", "october")
    code, answer, error = neural(*ask)
    assert code == 0, error
    how = answer["adapted"]
    assert (how["steps"], how["rate"], how["examples"]) == (2, 0.5, 10)
    assert how["before"]["recommendations"] != answer["recommendations"]
    assert registry.versions("mine") == []
    code, answer, error = neural(*ask, "--keep-adapted", "mine")
    assert code == 0, error
    assert answer["adapted"]["stored"] == "mine/1.0.0"
    for more, word in ((("--model", "base"), "not meta-trained"), (("--model", "optimization-meta"), "")):
        code, _, error = neural(*ask, *more)
        assert (code, word in error) == (2 if word else 0, True)


def test_a_loss_under_other_weights_is_that_of_a_network_with_them() -> None:
    torch.manual_seed(0)
    module, other = (
        nets.create("prediction", {"width": 8, "layers": 0, "hidden": 16, "members": 2, "dropout": 0.0}) for _ in "ab"
    )
    batch = {"x": torch.randn(3, 4, 128), "lengths": torch.tensor([4, 2, 1]), "limit": torch.full((3, 8), torch.inf)}
    batch |= {"residual": torch.randn(3, 8), "occurrence": torch.ones(3, 8)}
    loss = networks.get("prediction").learn.Data.loss
    called = _Called(module.train(), dict(other.named_parameters()))
    assert torch.equal(loss(None, called, batch), loss(None, other.train(), batch))


# Federated ------------------------------------------------------------------------------------------------


def test_a_federation_averages_and_resumes_exactly(neural: Neural) -> None:
    words = ("train", "federated", "--network", "optimization", "--model", "base", "--local-epochs", "1")
    three = ("--participants", '["swarm-1","swarm-2","swarm-3"]')
    code, whole, error = neural(*words, *three, "--rounds", "3", "--output", "whole")
    assert code == 0, error
    assert set(whole["participants"]) == {"swarm-1", "swarm-2", "swarm-3"}
    code, _, error = neural(*words, *three, "--rounds", "2", "--output", "parts")
    assert code == 0, error
    code, _, error = neural(*words, *three, "--rounds", "3", "--output", "parts", "--resume")
    assert code == 0, error
    assert all(np.array_equal(t, _weights("parts")[name]) for name, t in _weights("whole").items())


def test_privacy_reports_its_epsilon(neural: Neural) -> None:
    pytest.importorskip("opacus", reason="needs the extra: pip install 'claude-flow[federated]'")
    words = ("train", "federated", "--network", "optimization", "--model", "base", "--local-epochs", "1")
    code, answer, error = neural(
        *words, "--participants", "swarm-1,swarm-2", "--rounds", "1", "--privacy-preserving", "true"
    )
    assert code == 0, error
    assert all(0 < value <= 8.0 for value in answer["epsilon"].values())


def test_a_federation_refuses_what_it_cannot_use(neural: Neural) -> None:
    base = ("train", "federated", "--network", "optimization", "--rounds", "1")
    for words, word in (
        (("--participants", "october"), "two participants"),
        (("--participants", "swarm-1,nobody"), "nobody"),
        (("--participants", "swarm-1,swarm-200"), "there is no swarm-200"),
        (("--participants", "swarm-1,swarm-2", "--model", "coordination-v2"), "coordination model"),
        (("--participants", "flower://127.0.0.1:8000/a,swarm-1"), "name one kind"),
    ):
        code, _, error = neural(*base, *words)
        assert code == 2, error
        assert word in error


def test_participants_of_different_features_are_named() -> None:
    features = {"a": federated.kinds({"normalization": "z-score", "mean": 1.0}), "b": {"normalization": "robust"}}
    with pytest.raises(InputError, match="a and b have different features, normalization is z-score and robust"):
        federated.alike(features)


def test_robust_strategies_bear_poison_and_name_it() -> None:
    generator = np.random.default_rng(0)
    honest = generator.normal(0.1, 0.01, (4, 50))
    updates = np.concatenate([honest, -100 * np.ones((1, 50))])
    for strategy in ("median", "trimmed-mean"):
        assert np.abs(federated.aggregate(updates, [1] * 5, strategy) - 0.1).max() < 0.05
    assert np.abs(federated.aggregate(updates, [1] * 5, "weighted-average") - 0.1).min() > 1
    assert federated.suspects(updates, ["a", "b", "c", "d", "liar"]) == ["liar"]
    # Who is known to lie counts as trimmed: nothing of the honest is lost.
    assert np.allclose(federated.aggregate(honest, [1] * 4, "trimmed-mean", left_out=1), honest.mean(axis=0))


def test_gradients_of_single_examples_are_alike_all_at_once_and_one_by_one() -> None:
    pytest.importorskip("opacus", reason="needs the extra: pip install 'claude-flow[federated]'")
    torch.manual_seed(0)
    module = nets.create("prediction", {"width": 8, "layers": 0, "hidden": 16, "members": 1, "dropout": 0.0}).train()
    batch = {"x": torch.randn(3, 4, 128), "lengths": torch.tensor([4, 2, 1]), "limit": torch.full((3, 8), torch.inf)}
    batch |= {"residual": torch.randn(3, 8), "occurrence": torch.ones(3, 8)}
    loss = functools.partial(networks.get("prediction").learn.Data.loss, None)
    found = []
    for one_by_one in (False, True):
        hook = Private(loss, noise=0.0, clip=0.1, sample_rate=1.0, delta=0.1, seed=0)
        hook._one_by_one = one_by_one
        loss(module, batch).backward()
        hook.loss(lambda: torch.zeros(()), module, batch)
        assert hook._one_by_one == one_by_one
        hook.after_backward(module, 0)
        found.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    assert torch.allclose(*found, atol=1e-7)
    assert 0 < float(found[0].norm()) <= 0.1


def test_masks_cancel_and_hide() -> None:
    updates = np.random.default_rng(1).normal(size=(4, 100))
    assert np.abs(masked_sum(updates, [1, 2, 3, 4], 7) - np.array([0.1, 0.2, 0.3, 0.4]) @ updates).max() < 1e-8


def test_a_participant_that_fails_is_survived_and_all_failing_is_an_error(workspace: Path) -> None:
    model = source.read(registry.model_path("base"))
    config = model.config(epochs=1)
    data = model.row.learn.Data.load(workspace / "datasets/october", 0.2, 0, vars(config))
    parts = list(data.parts().values())

    class Broken:
        def __getattr__(self, name: str) -> Any:
            if name == "batches":
                raise ClaudeFlowError("its disk is full")
            return getattr(parts[1], name)

    members = [federated.Participant("good", parts[0], 10), federated.Participant("bad", Broken(), 10)]
    federation = federated.Federation("optimization", config, members, local_epochs=1)
    federation.run(model.weights, 1)
    assert federation.history[0]["absent"] == {"bad": "its disk is full"}
    with pytest.raises(ClaudeFlowError, match="no participant finished"):
        federated.Federation("optimization", config, [members[1]] * 2, local_epochs=1).run(model.weights, 1)
    with pytest.raises(InputError, match="secure aggregation"):
        federated.Federation("optimization", config, members, "median", secure=True)
