"""Static ranges hold at every length; observers cut what costs more than it gives; mixed files run everywhere alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import claude_flow as cf
from claude_flow import _core, export, nets
from claude_flow.compress import migrate, rounding, sensitivity
from claude_flow.compress import quantize as compress
from claude_flow.modelfile import ModelFile, Op, Program, ranges
from claude_flow.modelfile.quantize import on_grid, products, quantize

SIZES = {
    "coordination": {"width": 64, "heads": 4, "feed_forward": [64, 128]},
    "optimization": {"hidden": [64, 96]},
    "prediction": {"width": 32, "layers": 2, "hidden": 48},
}


@pytest.fixture(params=SIZES)
def file(request: pytest.FixtureRequest) -> ModelFile:
    torch.manual_seed(3)
    return export.lower(nets.create(request.param, SIZES[request.param]).eval())


def _inputs(file: ModelFile, tokens: int, items: int = 4, seed: int = 0) -> list[ranges.Batch]:
    width = file.config["input_width"]
    shape = (items * tokens, width) if file.network == "optimization" else (items, tokens, width)
    return [(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), None)]


@pytest.mark.parametrize("calibrated", [(1, 128), (32, 8)])
def test_static_ranges_serve_every_length(file: ModelFile, calibrated: tuple[int, int]) -> None:
    found = ranges.static(file, _inputs(file, calibrated[1], calibrated[0], seed=5))
    for tokens in (1, 8, 32, 128):
        batches = _inputs(file, tokens, seed=tokens)
        reference = ranges.outputs(file, batches)
        static, dynamic = (ranges.outputs(quantize(file, r), batches) for r in (found, None))
        assert ranges.decibels(static, reference) >= ranges.decibels(dynamic, reference) - 1, tokens


def test_fake_quantization_is_the_engines_own(file: ModelFile) -> None:
    """The same integers: a layer of weight 1 gives back what its 7 bits say."""
    x = np.random.default_rng(0).normal(0.3, 1, (20, 40)).astype(np.float32)
    program = Program(max_tokens=1)
    program.source, program.target = program.value(0, 40), program.value(0, 40)
    named = {name: program.tensor(name) for name in ("weight", "scale", "range")}
    program.op(
        Op.LINEAR_I8,
        source=0,
        target=1,
        column=0,
        weight=named["weight"],
        scale=named["scale"],
        bias=-1,
        residual=-1,
        activation=0,
        range=named["range"],
    )
    bounds = np.array([-1.5, 2.5], np.float32)
    tensors = [np.eye(40, dtype=np.int8), np.ones(40, np.float32), bounds]
    y = _core.Model(np.array(program.words(), np.int32), tensors, "auto", 1).run(x, None)
    np.testing.assert_array_equal(y, ranges.fake(x, *bounds))


def test_observers_weigh_an_outlier() -> None:
    x = np.random.default_rng(0).standard_normal((200, 64)).astype(np.float32)
    x[0, 0] = 100
    assert ranges.min_max(x)[1] == 100
    for name in ("percentile", "mse", "entropy"):
        assert ranges.OBSERVERS[name](x)[1] < 100, name
    low, high = ranges.min_max(np.zeros((3, 4), np.float32))
    assert low <= 0 < high


def test_a_layer_kept_in_float_is_float_on_every_instruction_set(file: ModelFile) -> None:
    names = products(file)
    batches = _inputs(file, 9)
    reference = ranges.outputs(file, batches)
    mixed = quantize(file, keep=names[:1])
    codes = [code for code, _ in mixed.parse().ops]
    assert {Op.LINEAR, Op.LSTM} & set(codes)
    assert {Op.LINEAR_I8, Op.LSTM_I8} & set(codes)
    tensors = [mixed.tensors[name] for name in mixed.program_tensors]
    words, x = np.array(mixed.program, np.int32), batches[0][0]
    answers = [_core.Model(words, tensors, isa, t).run(x, None) for isa in cf.engine.available() for t in (1, 2)]
    assert all(np.array_equal(y.view(np.int32), answers[0].view(np.int32)) for y in answers)
    everywhere = ranges.decibels(ranges.outputs(quantize(file), batches), reference)
    assert ranges.decibels(ranges.outputs(mixed, batches), reference) > everywhere - 0.5


def test_layers_are_ranked_by_what_they_lose(file: ModelFile) -> None:
    """A layer whose weights have one huge entry per row loses most."""
    names = products(file)
    victim = names[len(names) // 2]
    file.tensors[victim] = file.tensors[victim].copy()
    file.tensors[victim][:, 0] = 60 * np.abs(file.tensors[victim]).max()
    file.tensors[victim][:, 1:] *= 1 + np.arange(file.tensors[victim].shape[1] - 1) % 2
    ranked = sensitivity.ranked(file, {}, _inputs(file, 6))
    assert {name for name, _ in ranked} == set(names)
    assert victim in [name for name, _ in ranked[:2]]


def test_corrected_biases_take_out_the_mean_shift(file: ModelFile) -> None:
    batches = _inputs(file, 16, 16)
    rng = np.random.default_rng(2)
    batches = [(np.abs(x) + rng.random(x.shape).astype(np.float32), lengths) for x, lengths in batches]
    reference = np.concatenate(ranges.outputs(file, batches)).mean(0)
    shift = [
        np.abs(np.concatenate(ranges.outputs(quantize(made), batches)).mean(0) - reference).mean()
        for made in (file, compress.corrected(file, {}, batches))
    ]
    assert shift[1] < shift[0]


def test_scales_move_where_the_op_before_can_take_them() -> None:
    """A layer norm with one huge column: the float network stays, and 7 bits serve it better."""
    torch.manual_seed(0)
    file = export.lower(nets.create("coordination", SIZES["coordination"]).eval())
    norm = next(file.program_tensors[o["weight"]] for code, o in file.parse().ops if code is Op.LAYER_NORM)
    file.tensors[norm] = file.tensors[norm].copy()
    file.tensors[norm][5] *= 60
    batches = _inputs(file, 16)
    moved = migrate.migrated(file, batches)
    reference = ranges.outputs(file, batches)
    assert ranges.decibels(ranges.outputs(moved, batches), reference) > 90
    before, after = (ranges.decibels(ranges.outputs(quantize(one), batches), reference) for one in (file, moved))
    assert after > before + 1
    plain = export.lower(nets.create("optimization", {"hidden": [8, 8]}).eval())
    assert migrate.migrated(plain, _inputs(plain, 4)) is plain  # every value is a residual too: nowhere to move


def test_learned_rounding_serves_the_rows_that_a_layer_reads(file: ModelFile) -> None:
    """Rows of few dimensions: errors go where no row looks."""
    rng = np.random.default_rng(0)
    width = file.config["input_width"]
    basis = rng.standard_normal((6, width)).astype(np.float32)
    shape = (96, 6) if file.network == "optimization" else (12, 8, 6)
    batches: list[ranges.Batch] = [(rng.standard_normal(shape).astype(np.float32) @ basis, None)]
    reference = ranges.outputs(file, batches)
    four = products(file)
    learned = rounding.learned(file, batches, {}, four)
    for name in four:
        assert np.array_equal(on_grid(learned.tensors[name], 4), learned.tensors[name])
    nearest, best = (ranges.outputs(quantize(one, four=four), batches) for one in (file, learned))
    assert ranges.decibels(best, reference) > ranges.decibels(nearest, reference) + 0.5


def test_the_plan_is_chosen_by_measuring(file: ModelFile) -> None:
    batches = [*_inputs(file, 8, seed=1), *_inputs(file, 8, seed=2)]
    found = compress.plan(file, batches, "int4", scale_migration="auto", learned_rounding="auto")
    used = [what for what, on in (("migrated scales", found.migrated), ("learned rounding", found.learned)) if on]
    assert found.scores[" and ".join(used) or "as it is"] > max(found.scores.values()) - 0.2
    kept = products(file)[:1]
    codes = [code for code, _ in found.quantized(kept, batches).parse().ops if code.bits < 32]
    assert {code.bits for code in codes} == {4, 8}
