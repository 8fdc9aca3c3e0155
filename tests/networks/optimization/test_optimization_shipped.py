"""The built-in optimization model: its card's claims, measured again on fresh swarms, and its sense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import claude_flow as cf
from claude_flow.networks.optimization.answer import answer, confidences
from claude_flow.networks.optimization.features import Encoder
from claude_flow.networks.optimization.prepare import examples
from claude_flow.networks.optimization.workloads import FAMILIES

pytest.importorskip("torch", reason="the baselines live beside the training code, which needs torch")

from claude_flow.networks.optimization.learn import hide, ranking_metrics
from claude_flow.networks.optimization.rules import rule_scores

COLUMNS = ("regret-at-1", "regret-at-5", "hit-at-5", "gain-at-1", "helpful-at-1", "spearman", "regret-at-1-whole")
DOCS = Path(__file__).parents[3] / "docs" / "optimization.md"


@pytest.fixture(scope="module")
def model():
    return cf.load("optimization-v2")


@pytest.fixture(scope="module")
def fresh(model):
    """Swarms of the kinds of work that the model never saw, from a seed that it never saw: ``(inputs, utilities)``."""
    drawn = examples([2026, 11], 1500)
    unseen = np.isin(drawn["family"], [list(FAMILIES).index(name) for name in model.provenance["families"]["test"]])
    return drawn["inputs"][unseen], drawn["utilities"][unseen]


def table(card) -> str:
    """The table of docs/optimization.md."""
    rows = {"**optimization-v2**": card["held_out"]["metrics"], **card["baselines"]}
    head = ("regret@1", "regret@5", "hit@5", "gain@1", "helpful@1", "Spearman", "regret@1, all known")
    lines = [f"| | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{row[c]:.3f}' for c in COLUMNS)} |" for name, row in rows.items()]
    return "\n".join(lines)


def test_it_is_small_and_was_judged_on_unseen_families(model):
    assert model.path.stat().st_size < 3e6
    families = model.provenance["families"]
    assert not set(families["test"]) & set(families["train"] + families["validation"])
    assert model.provenance["held_out"]["used_for_early_stopping"] is False


def test_the_documented_scores_are_the_cards(model):
    assert table(model.provenance) in DOCS.read_text("utf-8"), table(model.provenance)


def test_it_beats_every_baseline_of_its_card(model):
    ours = model.provenance["held_out"]["metrics"]
    for name, theirs in model.provenance["baselines"].items():
        for metric in ("regret-at-1", "regret-at-5", "regret-at-1-whole"):
            assert ours[metric] < theirs[metric], (name, metric)
        for metric in ("hit-at-5", "gain-at-1", "spearman"):
            assert ours[metric] > theirs[metric], (name, metric)


def test_the_cards_scores_come_out_again_on_fresh_swarms(model, fresh):
    inputs, utilities = fresh
    hidden = hide(Encoder(), inputs, np.random.default_rng(1))
    ours, rules = (
        ranking_metrics(model.run(hidden), utilities),
        ranking_metrics(rule_scores(Encoder(), hidden), utilities),
    )
    claimed = model.provenance["held_out"]["metrics"]
    assert ours["regret-at-1"] == pytest.approx(claimed["regret-at-1"], abs=0.05)
    assert ours["hit-at-5"] == pytest.approx(claimed["hit-at-5"], abs=0.1)
    assert ours["regret-at-1"] < 0.7 * rules["regret-at-1"]


@pytest.mark.parametrize(("least", "below"), [(1, 9), (9, 61), (61, 123)])
def test_confidence_is_how_often_such_changes_help(model, fresh, least, below):
    inputs, utilities = fresh
    hidden = np.concatenate([hide(Encoder(), inputs, np.random.default_rng(seed)) for seed in range(4)])
    utilities = np.tile(utilities, (4, 1))
    known = hidden[:, 1:244:2].sum(axis=1).astype(int)
    alike = (known >= least) & (known < below)
    scores = model.run(np.ascontiguousarray(hidden[alike])) / model.calibration["scale"]
    first = scores.argmax(axis=1)
    promised = [confidences(model, row[best], n) for row, best, n in zip(scores, first, known[alike], strict=True)]
    helped = utilities[alike][np.arange(len(first)), first] > 0
    assert np.mean(promised) == pytest.approx(helped.mean(), abs=0.08)


ERRORS = {"optimization-targets": ["reduce-error-rate"]}
CROWDED = {
    "agent-utilization": 0.99,
    "queue-time": 900,
    "latency": 1300,
    "task-seconds": 400,
    "rejection-rate": 0.1,
    "rate-limit-usage": 0.2,
    "cpu-usage": 0.2,
    "memory-usage": 0.2,
}


@pytest.mark.parametrize(
    ("performance", "more", "expected"),
    [
        (CROWDED, {}, "raise-max-agents"),
        (
            {"agent-utilization": 0.1, "queue-time": 0, "memory": "60GB"},
            {"constraints": {"max-memory": "40GB"}},
            "lower-max-agents",
        ),
        (
            {"crash-rate": 0.4, "error-rate": 0.4},
            ERRORS | {"current-settings": {"memory-limit": 0.5}},
            "raise-memory-limit",
        ),
        (
            {"timeout-rate": 0.6, "error-rate": 0.5},
            ERRORS | {"current-settings": {"tool-timeout": 8}},
            "raise-tool-timeout",
        ),
        ({"tokens-per-task": 9e6, "cost-per-task": 40}, {"current-settings": {"candidates": 6}}, "lower-candidates"),
    ],
)
def test_plain_bottlenecks_get_their_plain_remedy(model, performance, more, expected):
    found = answer(model, {"current-performance": performance} | more)
    assert expected in [entry["id"] for entry in found["recommendations"]]


def test_a_full_host_is_not_given_more_agents(model):
    full = CROWDED | {"memory": "15.9GB", "memory-usage": 0.99, "cpu-usage": 0.89}
    limits = {"max-memory": "16GB", "max-cpu": 0.9, "max-agents": 8}
    request = {"current-performance": full, "constraints": limits, "current-settings": {"max-agents": 8}}
    assert "raise-max-agents" not in [entry["id"] for entry in answer(model, request)["recommendations"]]


def test_more_known_inputs_rank_better(model, fresh):
    inputs, utilities = fresh
    hidden = hide(Encoder(), inputs, np.random.default_rng(3))
    few = hidden[:, 1:244:2].sum(axis=1) < 20
    partly = ranking_metrics(model.run(hidden[few]), utilities[few])["regret-at-1"]
    whole = ranking_metrics(model.run(np.ascontiguousarray(inputs[few])), utilities[few])["regret-at-1"]
    assert whole < partly
