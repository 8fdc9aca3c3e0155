"""The training loop on a real, tiny data set: simulated swarms and a tiny coordination network."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tests.train import two_processes

import claude_flow as cf
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.networks.coordination import learn as coordination
from claude_flow.networks.coordination.prepare import preprocess
from claude_flow.train import checkpoint, diagnose, loop, monitor, rate, runlog
from claude_flow.train.config import TrainingConfig, parse

TINY = {"width": 16, "heads": 2, "feed-forward": [16], "output-width": 16}
SPEC = {
    "coordination-training": {
        "model-architecture": "transformer",
        "optimizer": "AdamW",
        "learning-rate": {"initial": 0.001, "schedule": "cosine-annealing", "warmup-steps": 1000},
        "batch-size": 32,
        "sequence-length": 128,
        "epochs": 100,
        "early-stopping": {"patience": 10, "monitor": "validation-coordination-accuracy"},
        "regularization": {"weight-decay": 0.01, "dropout": 0.1, "layer-norm": True},
        "attention-config": {"num-heads": 8, "attention-dropout": 0.1, "scale-attention": True},
    }
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    preprocess(folder, folder / "tensors", {"simulate": 60, "seed": 3})
    return folder / "tensors"


def _config(**changes: Any) -> TrainingConfig:
    body = {"epochs": 3, "batch-size": 16, "network": TINY, "learning-rate": {"initial": 0.01, "warmup-steps": 2}}
    return parse({"coordination-training": body | changes}, "coordination")


def _weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "model.safetensors")


def _same(a: Path, b: Path) -> bool:
    first, second = _weights(a), _weights(b)
    return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)


def test_the_guides_configuration_is_read_as_printed() -> None:
    config = parse(SPEC, "coordination")
    assert (config.optimizer, config.learning_rate, config.schedule) == ("AdamW", 0.001, "cosine-annealing")
    assert (config.warmup_steps, config.batch_size, config.sequence_length, config.epochs) == (1000, 32, 128, 100)
    assert (config.patience, config.monitor) == (10, "validation-coordination-accuracy")
    assert config.weight_decay == 0.01
    wanted = {"dropout": 0.1, "layer_norm": True, "heads": 8, "attention_dropout": 0.1, "scale_attention": True}
    assert config.network == wanted


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"epochs": 0}, "epochs must be a whole number from 1"),
        ({"epochs": True}, "epochs must be"),
        ({"batch-size": 1.5}, "batch-size must be"),
        ({"learning-rate": {"initial": 0}}, "learning-rate.initial must be"),
        ({"learning-rate": {"initial": math.nan}}, "learning-rate.initial must be"),
        ({"learning-rate": {"schedule": "wild"}}, "cosine-annealing"),
        ({"optimizer": "Lion"}, "AdamW"),
        ({"model-architecture": "lstm-attention"}, "coordination is a transformer"),
        ({"regularisation": {}}, "did you mean regularization"),
        ({"early-stopping": {"patience": -1}}, "patience must be"),
        ({"network": 3}, "network must be an object"),
    ],
)
def test_wrong_configurations_name_the_field(change: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match="coordination-training") as caught:
        _config(**change)
    assert word in str(caught.value)


def test_learning_rate_warms_up_and_anneals() -> None:
    config = TrainingConfig(warmup_steps=10)
    rates = [rate.scheduled(config, 1.0, step, 110) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.5)
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert rate.scheduled(config, 1.0, 9, 20) == 1.0, "a warm-up longer than half the run is cut"


def test_training_writes_a_model_that_learned(tmp_path: Path) -> None:
    data = tmp_path / "data"
    preprocess(tmp_path, data, {"simulate": 1000})
    seen: list[tuple[int, float]] = []
    start = {"initial": 0.003, "warmup-steps": 20}
    config = _config(epochs=12, **{"learning-rate": start}, network=TINY | {"width": 64, "output-width": 64})
    card = loop.fit(
        "coordination", config, data, tmp_path / "run", tensorboard=True,
        progress=lambda epoch, epochs, share, values: seen.append((epoch, share)),
    )  # fmt: skip
    assert seen[-1] == (12, 1.0)
    held_out, random = card["held_out"], card["baselines"]["random"]
    assert held_out["split"] == "test"
    assert not held_out["used_for_early_stopping"]
    assert held_out["metrics"]["regret"] < 0.9 * random["regret"]
    assert set(card["baselines"]) == {"random", "rule-based", "best-single-agent"}
    assert json.loads((tmp_path / "run/card.json").read_text()) == card
    assert len(runlog.read(tmp_path / "run").epochs) == 12
    assert card["history"]["validation-loss"][-1] == pytest.approx(
        runlog.read(tmp_path / "run").epochs[-1]["validation-loss"], rel=1e-4
    )
    assert list((tmp_path / "run/tensorboard").iterdir())
    model = cf.load(tmp_path / "run/model.safetensors")
    assert model.provenance["data"]["sha256"] == loop.data_hash(data)
    assert model.features["encoder"] == "coordination"
    assert model.calibration["temperature"] > 0


def test_the_seed_decides(data: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        loop.fit("coordination", _config(), data, tmp_path / name, seed=seed)
    assert _same(tmp_path / "a", tmp_path / "b")
    assert not _same(tmp_path / "a", tmp_path / "c")


def test_resume_repeats_an_uninterrupted_run(data: Path, tmp_path: Path) -> None:
    config = _config(epochs=6, network=TINY | {"dropout": 0.3})
    loop.fit("coordination", config, data, tmp_path / "whole")

    def interrupt(epoch: int, epochs: int, share: float, values: dict[str, float]) -> None:
        if epoch == 4 and share > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.fit("coordination", config, data, tmp_path / "cut", progress=interrupt)
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == ["checkpoint.pt", "metrics.jsonl"]
    assert monitor._state(runlog.read(tmp_path / "cut"))[0] == "interrupted"
    loop.fit("coordination", config, data, tmp_path / "cut", resume=True)
    assert _same(tmp_path / "whole", tmp_path / "cut")


def test_resume_refuses_another_run(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to resume"):
        loop.fit("coordination", _config(), data, tmp_path / "run", resume=True)
    loop.fit("coordination", _config(), data, tmp_path / "run")
    with pytest.raises(InputError, match="seed differs"):
        loop.fit("coordination", _config(), data, tmp_path / "run", resume=True, seed=5)
    (tmp_path / "run/checkpoint.pt").write_bytes(b"garbage")
    with pytest.raises(InputError, match="cannot be read"):
        loop.fit("coordination", _config(), data, tmp_path / "run", resume=True)


def test_the_time_budget_ends_at_the_best_epoch(data: Path, tmp_path: Path) -> None:
    def slow(epoch: int, epochs: int, share: float, values: dict[str, float]) -> None:
        if epoch == 2 and share < 1:
            time.sleep(4)

    card = loop.fit("coordination", _config(epochs=1000), data, tmp_path / "run", time_budget=4, progress=slow)
    assert card["stopped"] == "time budget used up"
    assert card["best_epoch"] >= 1
    assert cf.load(tmp_path / "run/model.safetensors").network == "coordination"
    with pytest.raises(ClaudeFlowError, match="before the first epoch"):
        loop.fit("coordination", _config(), data, tmp_path / "none", time_budget=0)
    assert not (tmp_path / "none/model.safetensors").exists()


def test_a_budget_that_ends_in_the_first_epoch_leaves_what_was_learned_by_then(data: Path, tmp_path: Path) -> None:
    card = loop.fit("coordination", _config(), data, tmp_path / "run", time_budget=1e-6)
    assert (card["stopped"], card["epochs"]) == ("time budget used up in the first epoch", 1)
    assert np.isfinite(card["held_out"]["metrics"]["loss"])
    whole = loop.fit("coordination", _config(epochs=1), data, tmp_path / "whole")
    assert whole["history"]["loss"][0] != card["history"]["loss"][0]
    loop.fit("coordination", _config(epochs=1), data, tmp_path / "again", time_budget=1e-6)
    resumed = loop.fit("coordination", _config(epochs=1), data, tmp_path / "again", resume=True)
    assert resumed["history"]["loss"][0] == whole["history"]["loss"][0]


def test_early_stopping_counts_epochs_without_improvement(data: Path, tmp_path: Path) -> None:
    config = _config(epochs=50, **{"early-stopping": {"patience": 2, "monitor": "validation-regret"}})
    config.learning_rate = 1e-30  # nothing can improve
    card = loop.fit("coordination", config, data, tmp_path / "run")
    assert (card["epochs"], card["best_epoch"]) == (3, 1)
    assert "no better validation-regret for 2 epochs" in card["stopped"]
    config.monitor = "validation-fun"
    with pytest.raises(InputError, match="validation-regret"):
        loop.fit("coordination", config, data, tmp_path / "other")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_batch(data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text((data / "manifest.json").read_text())
    tensors = load_file(data / "pools.safetensors")
    tensors["tasks"][:] = np.inf
    from safetensors.numpy import save_file

    save_file(tensors, broken / "pools.safetensors")
    with pytest.raises(ClaudeFlowError, match=r"epoch 1, step 1: \d+ values of the input x are not finite.*bad_batch"):
        loop.fit("coordination", _config(), broken, tmp_path / "run")
    assert np.isinf(load_file(tmp_path / "run/bad_batch.safetensors")["x"]).any()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"validation_split": 0.0}, "between 0 and 1"),
        ({"validation_split": 1.0}, "between 0 and 1"),
        ({"device": "tpu"}, "auto, cpu or cuda"),
        ({"distributed": "maybe"}, "auto or off"),
    ],
)
def test_options_are_checked(options: dict[str, Any], word: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=word):
        loop.fit("coordination", _config(), data, tmp_path / "run", **options)


def test_history_never_contains_the_task_itself(data: Path) -> None:
    source = coordination.Data.load(data, 0.2, 0, {})
    splits = [set() for _ in range(3)]  # type: list[set[bytes]]
    for pool in source._pools:
        for row, code in zip(pool.tasks, pool.split, strict=True):
            splits[code].add(pool.name.encode() + row.tobytes())
    assert all(splits)
    assert not (splits[0] & splits[1] | splits[0] & splits[2] | splits[1] & splits[2])


def test_two_processes_train_one_model_along_the_curve_of_one(data: Path, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, two_processes.__file__, str(data), json.dumps(TINY), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert cf.load(tmp_path / "run/model.safetensors").network == "coordination"
    (tmp_path / "alone").mkdir()
    alone = two_processes.curve(1, tmp_path / "alone")  # the same global batch
    assert len(alone) == 4
    assert alone[-1] < alone[0]
    assert json.loads((tmp_path / "line" / "curve.json").read_text()) == pytest.approx(alone, rel=1e-4)


_WORKER = """
import sys
from pathlib import Path
from claude_flow.train import loop
from claude_flow.train.config import parse
config = parse({"coordination-training": {"epochs": 100000, "batch-size": 16, "network": %r}}, "coordination")
loop.fit("coordination", config, Path(sys.argv[1]), Path(sys.argv[2]))
""" % (TINY,)  # noqa: UP031


def test_ctrl_c_in_a_real_process_leaves_a_checkpoint(data: Path, tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(_WORKER)
    worker = subprocess.Popen([sys.executable, str(script), str(data), str(tmp_path / "run")], stderr=subprocess.PIPE)
    try:
        for _ in range(600):
            if (tmp_path / "run/checkpoint.pt").exists():
                break
            time.sleep(0.1)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(30) != 0
    finally:
        worker.kill()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["checkpoint.pt", "metrics.jsonl"]
    state = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    assert state["epoch"] >= 10


def test_averaged_weights_and_a_found_rate_resume_exactly(data: Path, tmp_path: Path) -> None:
    config = _config(
        epochs=6, network=TINY | {"dropout": 0.3}, **{"ema-decay": 0.9, "learning-rate": {"initial": "auto"}}
    )
    whole = loop.fit("coordination", config, data, tmp_path / "whole")
    assert 1e-6 < whole["learning_rate"] < 1

    def interrupt(epoch: int, epochs: int, share: float, values: dict[str, float]) -> None:
        if epoch == 4 and share > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.fit("coordination", config, data, tmp_path / "cut", progress=interrupt)
    cut = loop.fit("coordination", config, data, tmp_path / "cut", resume=True)
    assert _same(tmp_path / "whole", tmp_path / "cut")
    assert cut["learning_rate"] == whole["learning_rate"]
    plain = _config(epochs=6, network=TINY | {"dropout": 0.3}, **{"learning-rate": {"initial": whole["learning_rate"]}})
    loop.fit("coordination", plain, data, tmp_path / "plain")
    assert not _same(tmp_path / "whole", tmp_path / "plain"), "the average is what is kept"


def test_the_average_is_the_exponential_one() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    average = checkpoint.Average(module, 0.5)
    wanted = module.weight.item()
    for step in range(1, 40):
        with torch.no_grad():
            module.weight.fill_(float(step))
        average.update(module, step)
        decay = min(0.5, step / (step + 9))
        wanted = decay * wanted + (1 - decay) * step
    assert average.module.weight.item() == pytest.approx(wanted, rel=1e-6)


def test_the_range_test_brackets_the_best_rate() -> None:
    """Least squares by gradient descent: steps above 2 / (largest curvature) diverge, a bit below they are fastest."""
    generator = np.random.default_rng(0)
    x = torch.from_numpy(generator.normal(size=(64, 4)).astype(np.float32))
    batch = {"x": x, "y": x.sum(1, keepdim=True)}
    config = TrainingConfig(optimizer="SGD", gradient_clipping=1e9, weight_decay=0.0)
    torch.manual_seed(0)
    module = torch.nn.Linear(4, 1)
    before = module.weight.clone()
    seen: list[float] = []
    found = rate.find(
        module,
        config,
        lambda _: [batch] * 10,
        lambda m, b: (m(b["x"]) - b["y"]).square().mean(),
        lambda done, what: seen.append(done),
    )
    assert torch.equal(module.weight, before), "it tries on a copy"
    assert found.rates[0] == 1e-6
    assert found.losses[0] > 2 * min(found.losses)
    assert found.suggested == pytest.approx(found.rates[int(np.argmin(found.losses))] / 10, rel=0.01)
    assert 1e-3 < found.suggested < 1
    assert seen == sorted(seen)
    with pytest.raises(ClaudeFlowError, match="no learning rate"):
        rate.find(module, config, lambda _: [batch], lambda m, b: m(b["x"]).sum() * 0)


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda net, batch: batch["x"][1].fill_(torch.nan), "values of the input x are not finite, first in row 1"),
        (lambda net, batch: net.blocks[0].up.weight.data.fill_(torch.nan), "the weights blocks.0.up.weight overflowed"),
        (lambda net, batch: net.embedding.weight.data.fill_(3e38), "the output of layer embedding is the first"),
        (lambda net, batch: batch["utility"].fill_(torch.inf), "targets in utility are infinite"),
    ],
)
def test_the_cause_of_a_loss_that_is_not_finite_is_named(data: Path, spoil: Any, cause: str) -> None:
    source = coordination.Data.load(data, 0.2, 0, {})
    net = source.module({k.replace("-", "_"): v for k, v in TINY.items()}).eval()
    batch = next(source.batches("train", 8, np.random.default_rng(0)))
    spoil(net, batch)
    assert cause in diagnose.loss_cause(net, batch, lambda: source.loss(net, batch))


def test_the_loss_of_a_batch_is_that_of_its_examples_one_by_one(data: Path) -> None:
    source = coordination.Data.load(data, 0.2, 0, {})
    net = source.module({k.replace("-", "_"): v for k, v in TINY.items()}).eval()
    batch = next(source.batches("train", 8, np.random.default_rng(0)))
    batch["agents"][:4] = batch["agents"][:4].clamp(max=2)  # of unlike sizes: some are padded
    batch["utility"][:4, :, 2:-4] = torch.nan
    rows = (torch.isfinite(batch["utility"]).sum(dim=2) >= 2).sum(dim=1)
    examples = [{name: tensor[i : i + 1] for name, tensor in batch.items()} for i in range(len(rows))]
    single = torch.stack([source.loss(net, example) for example in examples])
    torch.testing.assert_close((single * rows).sum() / rows.sum(), source.loss(net, batch))


def test_a_gradient_that_is_not_finite_stops_too(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = coordination.Data.loss

    def steep(self: coordination.Data, module: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        # sqrt at 0: the value is 0, the slope infinite
        return honest(self, module, batch) + torch.sqrt(module.head.bias.sum() * 0)

    monkeypatch.setattr(coordination.Data, "loss", steep)
    with pytest.raises(
        ClaudeFlowError, match=r"gradient is not finite at epoch 1, step 1: the gradient of .*bad_batch"
    ):
        loop.fit("coordination", _config(), data, tmp_path / "run")
    assert "gradient" in monitor._state(runlog.read(tmp_path / "run"))[1]  # type: ignore[operator]


def test_label_smoothing_aims_at_the_target_mixed_with_an_even_one() -> None:
    scores = torch.tensor([[[2.0, 0.0, -1.0, 5.0]]])
    utility = torch.tensor([[[1.0, 0.0, 0.5, torch.nan]]])  # the last is unknown: no part of it
    log_p = torch.log_softmax(scores[0, :, :3], dim=1)
    plain = torch.softmax(utility[0, :, :3] / coordination.TEMPERATURE, dim=1)
    for share in (0.0, 0.3):
        wanted = -((1 - share) * plain + share / 3) * log_p
        assert coordination._divergence(scores, utility, share).item() == pytest.approx(wanted.sum().item(), rel=1e-5)
    with pytest.raises(InputError, match="optimization has no use for it, coordination has"):
        parse({"optimization-training": {"regularization": {"label-smoothing": 0.1}}}, "optimization")
