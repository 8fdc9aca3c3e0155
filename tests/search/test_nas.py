"""Architecture search on a small simulated data set, through the commands; latencies are the engine's."""

from __future__ import annotations

import json
import math
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="needs the extra: pip install 'claude-flow[nas]'")

from claude_flow import cli, registry
from claude_flow.errors import InputError
from claude_flow.networks.optimization.prepare import preprocess
from claude_flow.search import architecture, screen, training
from claude_flow.search.candidate import Candidate, Measured, Setting
from claude_flow.search.front import hypervolume, ranked
from claude_flow.search.trials import HALVING
from claude_flow.wasm import modules


@pytest.fixture(scope="module")
def swarms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 simulated swarms."""
    folder = tmp_path_factory.mktemp("swarms")
    preprocess(None, folder, {"simulate": 300})
    return folder


@pytest.fixture
def neural(swarms: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """``neural("nas", …)`` in a workspace with 300 simulated swarms gives exit code, JSON and standard error."""
    shutil.copytree(swarms, registry.workspace() / "datasets/preprocessed-optimization-data")

    def run(*words: str) -> tuple[int, Any, str]:
        capsys.readouterr()
        code = cli.main(["neural", *words, "--format", "json"])
        out, error = capsys.readouterr()
        return code, json.loads(out) if code == 0 else None, error

    return run


def test_search_evaluate_and_optimize(neural: Any) -> None:
    words = ("nas", "search", "--task", "optimization-optimization", "--generations", "2", "--population-size", "2")
    code, found, error = neural(*words, "--epochs", "1")
    assert code == 0, error
    assert set(found["hypervolume"]) == {"evolutionary", "random"}
    assert found["candidates"][0]["rank"] == 1
    assert all(c["latency"] > 0 and c["memory"] > 0 and c["flops"] > 0 for c in found["candidates"])
    if find_spec("wasmtime") and modules.available():
        assert all(c["latency_wasm"] > 0 for c in found["candidates"])
    code, again, error = neural(*words, "--epochs", "1", "--resume")
    assert code == 0, error
    assert again["candidates"] == found["candidates"], "a finished search that is resumed tries nothing more"
    words = ("nas", "evaluate", "--candidate-architectures", "nas-results-top10", "--seeds", "2", "--epochs", "1")
    code, answer, error = neural(*words)
    assert code == 0, error
    assert answer["seeds"] == [1, 2]
    assert [c["sizes"] for c in answer["candidates"]] == [c["sizes"] for c in found["candidates"]]
    words = ("nas", "optimize", "--base-architecture", "optimization-v2", "--search-iterations", "2", "--epochs", "1")
    code, answer, error = neural(*words, "--constraints", '{"accuracy-loss":"<50%","memory-increase":"<10%"}')
    assert code == 0, error
    assert answer["tried"] == 2
    if answer["best"]:
        assert answer["best"]["latency"] < answer["base"]["latency"]


def test_screened_candidates_are_new_and_as_many_as_the_budget(swarms: Path) -> None:
    setting = Setting("optimization", swarms, epochs=1)
    architecture.search(setting, generations=5, population=2, random_beside=False, name="one")
    optuna = pytest.importorskip("optuna")
    storage = f"sqlite:///{registry.workspace() / 'searches' / 'one.db'}"
    trials = optuna.load_study(study_name="optimization evolutionary 0", storage=storage).trials
    sizes = [str(trial.user_attrs["sizes"]) for trial in trials]
    assert len(sizes) == 10
    assert all(size not in sizes[: screen.AFTER + place] for place, size in enumerate(sizes[screen.AFTER :]))


def test_halving_tries_more_on_the_same_epochs_and_goes_on_as_if_never_interrupted(
    swarms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(trial: Any) -> dict[str, Any]:
        return {"hidden": [16 * 4 ** trial.suggest_int("width", 0, 2)] * trial.suggest_int("layers", 1, 3)}

    monkeypatch.setattr("claude_flow.networks.optimization.config.space", small)
    setting = Setting("optimization", swarms, epochs=2)
    options: dict[str, Any] = {"strategy": HALVING, "generations": 3, "population": 2}
    whole = architecture.search(setting, random_beside=False, name="whole", **options)
    tried = whole["tried"][HALVING]
    assert tried["epochs"] == 2 * tried["trained"] + tried["candidates"] - tried["trained"]
    assert 10 < tried["epochs"] <= 12 < 2 * tried["candidates"]
    steps = iter(range(3))

    def interrupted(done: float, what: str) -> None:
        if next(steps, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        architecture.search(setting, random_beside=False, name="parts", progress=interrupted, **options)
    parts = architecture.search(setting, random_beside=False, name="parts", resume=True, **options)
    assert {**parts, "path": ""} == {**whole, "path": ""}


def test_a_candidate_goes_on_in_the_better_half_of_its_rung() -> None:
    others = [(0.1, 9.0), (0.5, 1.0), (0.9, 8.0)]
    assert training.goes_on((0.05, 20.0), others), "the best loss goes on, however slow"
    assert training.goes_on((0.95, 0.5), others), "the fastest goes on, whatever its loss"
    assert not training.goes_on((0.9, 9.0), others)


def test_screening_takes_what_is_fast_and_foreseen_to_learn() -> None:
    tried = [Candidate({"hidden": [w] * 2}, Measured(w / 256, w / 256, w / 256, 1.0, 1.0)) for w in (64, 128, 256)]
    proposed = [{"hidden": [192] * 2}, {"hidden": [16] * 2}, {"hidden": [256] * 2}]
    assert screen.choose(proposed, [192 / 256, 16 / 256, 1.0], tried, hypervolume)[0] == 1


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("search", "--task", "coordination-optimisation"), "did you mean coordination-optimization"),
        (("search", "--task", "coordination-optimization", "--search-space", "cnn"), "transformer-variants"),
        (("search", "--task", "action-optimization"), "no search space"),
        (("optimize", "--base-architecture", "action-v2"), "no search space"),
        (("evaluate", "--candidate-architectures", "nothing"), "nas search"),
        (("optimize", "--base-architecture", "optimization-v2", "--constraints", '{"acuracy-loss":"<2%"}'), "did you"),
        (("optimize", "--base-architecture", "optimization-v2", "--constraints", '{"accuracy-loss":"two"}'), "share"),
        (("optimize", "--base-architecture", "optimization-v2", "--constraints", '{"accuracy-loss":"<nan%"}'), "share"),
        (
            ("optimize", "--base-architecture", "optimization-v2", "--constraints", '{"memory-increase":"<-100%"}'),
            "met",
        ),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["neural", "nas", *words]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert error.count("\n") == 1


def test_a_space_of_one_architecture_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("claude_flow.networks.optimization.config.space", lambda trial: {"hidden": [32]})
    with pytest.raises(InputError, match="holds one architecture"):
        architecture.search(Setting("optimization", tmp_path))


def test_one_epoch_cannot_be_halved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give 2 or more"):
        architecture.search(Setting("optimization", tmp_path, epochs=1), strategy=HALVING)


def test_hypervolume_is_the_dominated_area() -> None:
    def at(loss: float, latency: float) -> Candidate:
        return Candidate({}, Measured(loss, loss, latency, 1.0, 1.0))

    e = math.e
    assert hypervolume([at(0.0, 1.0)], (1.0, e)) == pytest.approx(1.0)
    assert hypervolume([at(0.0, e**2), at(0.5, 1.0)], (1.0, e**3)) == pytest.approx(1.0 + 0.5 * 2)
    assert ranked([at(0.0, 100.0), at(0.1, 1.1), at(1.0, 1.0)])[0].measured.loss == 0.1


def test_a_file_that_is_no_search_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[]")
    with pytest.raises(InputError, match="nas search"):
        architecture.candidates(str(path))
