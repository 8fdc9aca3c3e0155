"""Trees that rank types of agents, and what other projects did."""

from __future__ import annotations

import numpy as np
import pytest

from claude_flow.networks.coordination import evidence, ranker
from claude_flow.networks.coordination.evidence import Decision
from claude_flow.networks.coordination.prior import Prior

HABITS = [("Explore the cellar", "scout"), ("Forge a hinge", "smith"), ("Mend the gate", "smith")]


def test_trees_as_tables_give_lightgbm_s_own_scores():
    lightgbm = pytest.importorskip("lightgbm", reason="the trees are fitted by claude-flow[baselines]")
    from claude_flow.evaluate import assignment

    draw = np.random.default_rng(0)
    x = draw.normal(size=(400, 5))
    x[:, 2] = x[:, 2].round()  # many equal values, as counts have
    y = (x[:, 0] > 0) ^ (x[:, 2] > 0)
    model = lightgbm.train({**assignment._RANKER, "objective": "binary", "verbose": -1}, lightgbm.Dataset(x, y), 30)
    rows = [assignment._table_of(tree["tree_structure"]) for tree in model.dump_model()["tree_info"]]
    trees = ranker.Trees(*(np.stack(part) for part in zip(*rows, strict=True)))
    np.testing.assert_allclose(trees.score(x), model.predict(x, raw_score=True), atol=1e-12)


def test_other_projects_tell_what_a_new_one_does(tmp_path):
    pytest.importorskip("lightgbm", reason="the trees are fitted by claude-flow[baselines]")
    from claude_flow.evaluate import assignment

    logs = []
    for i in range(6):
        decisions = tuple(Decision(f"{text} {i} {j}", kind) for j in range(12) for text, kind in HABITS)
        logs.append(assignment.Log(f"project {i}", decisions, ("scout", "smith")))
    fitted = assignment.ranker(assignment.seen(logs[1:]))
    path = tmp_path / "ranker.safetensors"
    ranker.write(fitted, path, {"data": "made up"})
    again = ranker.read(path)
    assert again.prior.counts == fitted.prior.counts
    flat = np.full((len(logs[0].decisions), 2), 0.5)
    for shown in (True, False):
        p = assignment.evidenced(again, logs[0], flat, shown=shown)
        np.testing.assert_allclose(p, assignment.evidenced(fitted, logs[0], flat, shown=shown), atol=1e-6)
        assert (p.argmax(axis=1) == logs[0].chosen).mean() > 0.95


def test_a_prior_keeps_no_names_and_does_not_know_strangers():
    prior = Prior.of([HABITS])
    assert all(isinstance(code, int) for code in prior.counts)
    assert prior.knows(["scout", "smith"])
    assert not prior.knows(["scout", "scout", "piper"])
    strange = prior.signals(["", "Chart the coast"], ["piper", "baker"])
    assert np.isfinite(strange).all()
    assert (strange[:, 0] == strange[:, 1]).all()


def test_the_shipped_ranker_reads_the_signals_that_are_computed():
    shipped = ranker.shipped()
    x = evidence.signals([], ["Explore the repository"], ["Explore", "general-purpose"], shipped.prior)
    assert x.shape[2] == len(evidence.SIGNALS)
    for trees in (shipped.with_log, shipped.without):
        assert trees.signals.max() < len(evidence.SIGNALS)
        assert trees.values.shape == (len(trees.signals), 64)
        assert trees.score(x)[0].argmax() == 0
