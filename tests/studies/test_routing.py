"""Routing of tasks to agents: the choice of the price weight, and the protocol on published files written here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from claude_flow.errors import InputError
from claude_flow.evaluate.result import OURS
from claude_flow.studies import routing

pytest.importorskip("scipy")

CHEAP, DEAR = "GPT-5 - 10132025", "Claude 4.5 Sonnet - 10132025"
LIMITED = "GPT-4o - paper"


def write(folder: Path, tasks: int = 120, *, prices: bool = True) -> Path:
    """Two priced agents and one more: the dear agent resolves three repositories of four, the cheap one two."""
    folder.mkdir()
    runs = ["agent_run_id,metadata.instance_id,metadata.model_name,metadata.resolved,metadata.turns,tag,created_at"]
    metrics, info = [], []
    for number in range(tasks):
        kind = number % 4
        task = f"instance_owner__repo{kind}-{number:040x}-vnan"
        outcomes = {DEAR: kind != 3, CHEAP: kind in (0, 3), LIMITED: kind == 2}
        if number == tasks - 1:
            del outcomes[LIMITED]
        for agent, resolved in outcomes.items():
            runs.append(f"{agent}{number},{task},{agent},{str(resolved).lower()},20,,")
        dollars = {"gpt5": 1.0, "claude": 9.0}
        cost = {name: {"model_stats": {"instance_cost": dollars[name]}} for name in dollars}
        metrics.append({"instance_id": task, **(cost if prices else {})})
        tests = json.dumps([f"test/repo{kind}_{number % 3}.py"])
        info.append({"instance_id": task, "repo": f"owner/repo{kind}", "n_test_files": 1, "test_files": tests})
    (folder / "swebench_pro_agent_runs_data.csv").write_text("\n".join(runs) + "\n")
    (folder / "swebench_pro_run_metrics.json").write_text(json.dumps(metrics))
    (folder / "swebench_pro_instance_info.jsonl").write_text("".join(json.dumps(line) + "\n" for line in info))
    return folder


def means(result: Any) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], list[float]] = {}
    for score in result.scores:
        found.setdefault((score.contender, score.measure), []).append(score.value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def test_aims_take_the_cheapest_weight_as_good_as_the_best_and_the_best_that_is_affordable() -> None:
    resolved = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]] * 5)  # two each: agent 0 is the best single
    price = np.tile([9.0, 1.0], (20, 1))
    saving, quality = routing.aims(resolved, resolved, price)
    rows = np.arange(20)
    saved = routing._choose(resolved, price.mean(axis=0), saving)
    assert resolved[rows, saved].mean() >= 0.5
    assert price[rows, saved].mean() == 1.0  # the cheap agent alone resolves as many
    best = routing._choose(resolved, price.mean(axis=0), quality)
    assert resolved[rows, best].mean() == 0.75
    assert price[rows, best].mean() <= 9.0


def test_aims_of_equal_prices_and_of_agents_that_resolve_nothing() -> None:
    assert routing.aims(np.ones((4, 2)), np.ones((4, 2)), np.ones((4, 2))) == (0.0, 0.0)
    saving, quality = routing.aims(np.zeros((4, 2)), np.zeros((4, 2)), np.tile([2.0, 1.0], (4, 1)))
    assert np.isfinite([saving, quality]).all()


def test_another_agent_is_chosen_only_where_that_pays() -> None:
    """Agent 0 resolves 12 of 20 tasks; the scores of agent 1 are right where they lead by 3, and wrong below."""
    scores = np.array([[0.0, -1.0]] * 8 + [[0.0, 1.0]] * 4 + [[0.0, 3.0]] * 8)
    resolved = np.array([[1.0, 0.0]] * 12 + [[0.0, 1.0]] * 8)
    least = routing.margin(scores, resolved)
    assert 1 <= least < 3
    assert routing._departing(scores, 0, least).tolist() == [0] * 12 + [1] * 8
    useless = resolved[:, ::-1]  # of scores that are never right nothing is taken
    least = routing.margin(1 - useless, useless)
    single = int(useless.mean(axis=0).argmax())
    assert set(routing._departing(1 - useless, single, least).tolist()) == {single}


def test_only_shared_tasks_count_and_unpriced_agents_get_no_price(tmp_path: Path) -> None:
    priced, everyone = routing.read(write(tmp_path / "runs"))
    assert priced.agents == (DEAR, CHEAP)
    assert (len(priced.tasks), len(everyone.tasks)) == (120, 119)
    assert priced.price.mean(axis=0).tolist() == [9.0, 1.0]
    assert np.isnan(everyone.price[:, everyone.agents.index(LIMITED)]).all()
    assert priced.features[:, :4].sum(axis=1).tolist() == [1.0] * 120  # four repositories, one of them the task's


def test_routers_that_see_the_repository_save_and_gain(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    path = write(tmp_path / "runs")
    assert routing.detect(path)
    assert not routing.detect(tmp_path)
    result = routing.run(path, seeds=(0,), quick=True, progress=lambda share, what: None)
    found = means(result)
    single = routing.BEST_SINGLE
    assert found[single, routing.QUALITY_COST] == found[single, routing.SAVING_COST] == 9.0
    for router in (OURS, "repository mean"):
        assert found[router, routing.QUALITY_RATE] == 1.0
        assert found[router, routing.SAVING_COST] < 9.0
        assert found[router, routing.ALL_RATE] == 1.0
    units = {score.unit for score in result.scores if score.measure == routing.QUALITY_RATE}
    priced, _ = routing.read(path)
    assert units == {task for task, fold in zip(priced.tasks, priced.fold, strict=True) if fold < 2}
    assert any("80 % power" in note for note in result.notes)


def test_runs_without_prices_are_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 priced agents share"):
        routing.read(write(tmp_path / "runs", prices=False))
