"""The built-in prediction model: what its card claims, what it answers, and the claim measured again on the log."""

from __future__ import annotations

import numpy as np
import pytest

import claude_flow as cf
from claude_flow.networks.prediction.answer import answer, render
from claude_flow.networks.prediction.features import QUANTILES, Encoder, shifted, shifts
from claude_flow.networks.prediction.history import KEYS

LOG = "KTH-SP2-1996-2"


@pytest.fixture(scope="module")
def model():
    return cf.load("prediction-v2")


def test_card_names_data_protocol_and_rules(model):
    card = model.provenance
    assert card["held_out"]["split"] == "test"
    assert card["rows"]["test"] > 10_000
    assert card["protocol"]
    assert card["limits"]
    for source in (f"swf/{LOG}", "swf/LLNL-Atlas-2006-2.1-cln"):
        ours = card["held_out"]["metrics"]
        rules = [rule[f"{source}/duration-pinball"] for rule in card["baselines"].values()]
        assert len(rules) >= 5
        assert ours[f"{source}/duration-pinball"] < 0.85 * min(rules)


def test_the_guides_example_without_any_history(model):
    request = {
        "task-description": "implement authentication microservice",
        "historical-context": "similar-tasks-last-6-months",
        "current-team-capacity": {"available-agents": 4, "average-productivity": 0.85, "experience-level": "senior"},
        "uncertainty-quantification": True,
        "confidence-intervals": [0.8, 0.95],
    }
    result = answer(model, request, explain=True)
    assert result["history"]["runs"] == 0
    assert "no dataset swarm-training-data" in result["history"]["note"]
    assert set(result["capacity"]) == {"average-productivity", "experience-level", "available-agents", "tasks-per-hour"}
    duration = result["predictions"]["duration"]
    (low, high), (lower, higher) = duration["intervals"]["0.8"], duration["intervals"]["0.95"]
    assert 0 <= lower <= low < duration["median"] < high <= higher
    assert result["predictions"]["cost"]["status"] == "unavailable"
    assert render(result)[0][0].startswith("Forecast by the model's prior alone")


def test_held_out_score_is_what_the_card_says(model, public_data, tmp_path):
    """Collect and preprocess the log anew, run the engine on its test part (the latest 20 % of 28 481 jobs)."""
    pytest.importorskip("pyarrow", reason="reading tables needs claude-flow[data]")
    from claude_flow.data.collect import collect
    from claude_flow.networks.prediction.prepare import load, preprocess, split_rows

    collect([public_data / "swf" / f"{LOG}.swf.gz"], tmp_path / "tables", quality_filter="none")
    length = int(model.features["history"])
    preprocess(tmp_path / "tables", tmp_path / "tensors", {"history": length})
    _, runs, samples, history = load(tmp_path / "tensors")
    tasks = runs.take(samples)
    rows = np.flatnonzero(split_rows(tasks, 0.1, 0.2) == 2)
    assert (len(tasks), len(rows)) == (28_481, 5_697)
    encoder = Encoder.from_schema(model.features)
    tasks, history = tasks.take(rows), history.take(rows)
    openings, anchors = encoder.openings(tasks, history)
    x, lengths = encoder.sequences(runs, encoder.records(runs), tasks, openings, anchors, history.index)
    quantiles, _ = encoder.decode(model.run(x, lengths), anchors)
    moves = shifts(model.calibration["shifts"], tasks.keys[:, KEYS.index("source")])
    judged = [QUANTILES.index(q) for q in (0.025, 0.1, 0.5, 0.9, 0.975)]
    levels = np.array([QUANTILES[i] for i in judged])
    gap = tasks.numbers[:, :1] - shifted(quantiles, moves, encoder.limits(tasks))[:, 0, judged]
    pinball = float(np.maximum(levels * gap, (levels - 1) * gap).mean())
    assert pinball == pytest.approx(model.provenance["held_out"]["metrics"][f"swf/{LOG}/duration-pinball"], abs=1e-4)
