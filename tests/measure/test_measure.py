"""Costs of ops against torch's own count, ceilings, counters."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

import claude_flow as cf
from claude_flow import modelfile
from claude_flow.errors import InputError
from claude_flow.measure import machine, profile, workload
from claude_flow.measure.graph import Graph
from claude_flow.modelfile import Op
from claude_flow.modelfile.quantize import quantize

torch = pytest.importorskip("torch")
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from claude_flow import export, nets  # noqa: E402

CONFIGS = {
    "coordination": {"width": 64, "heads": 4, "feed_forward": [96, 32]},
    "optimization": {"hidden": [32, 64, 64]},
    "prediction": {"width": 48, "layers": 2},
}


@pytest.fixture(scope="module", params=list(CONFIGS))
def saved(request, tmp_path_factory):
    torch.manual_seed(0)
    module = nets.create(request.param, CONFIGS[request.param]).eval()
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    export.save(module, path)
    return module, path


def test_products_are_as_many_as_torch_counts(saved):
    module, path = saved
    graph = Graph(modelfile.read(path))
    *tokens, width = graph.input_shape
    x = torch.zeros(3, *([7] if tokens else []), width)
    lengths = [7 if tokens else 1] * 3
    plain = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)  # products that torch counts
    with FlopCounterMode(display=False) as counter, torch.inference_mode(), plain:
        module(x)
    found = 0.0
    for node in graph.nodes:
        cost = graph.cost(node, lengths)
        if node.code is Op.LINEAR:
            found += cost.operations
        elif node.code is Op.ATTENTION:  # but its exponentials and sums
            found += cost.operations - 4 * node.operands["heads"] * sum(n * n for n in lengths)
    if module.config.__class__.__name__ == "PredictionConfig":
        gates, units = 4 * 48, 48  # torch counts the LSTM as nothing, and the second half of the pool
        lstm = [graph.cost(node, lengths).operations for node in graph.nodes if node.code is Op.LSTM]
        assert lstm == [2 * 21 * gates * (depth + units) + 14 * 21 * units for depth in (128, 48)]
        pool = 2 * 21 * 48
        assert found + pool == counter.get_total_flops()
    else:
        assert found == counter.get_total_flops()


def test_8_bit_weights_are_a_quarter(saved):
    file = modelfile.read(saved[1])
    whole, quarter = Graph(file), Graph(quantize(file))
    for a, b in zip(whole.nodes, quarter.nodes, strict=True):
        if b.int8:
            assert 4 * b.weights["weight"].nbytes == a.weights["weight"].nbytes
            assert whole.cost(a, [5]).operations == quarter.cost(b, [5]).operations
    assert sum(node.int8 for node in quarter.nodes) >= 3


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_profile_names_the_ops_that_ran(saved, precision):
    model = cf.load(saved[1], precision=precision)
    found = profile.computation(model, 2, seconds=0.05, suggestions=True)
    assert {op["kind"] for op in found["ops"] if "linear" in op["kind"]} == {
        "linear_i8" if precision == "int8" else "linear"
    }
    assert found["limit_seconds"] > 0
    limits = found["ceilings"]
    for op in found["ops"]:
        top = limits["int8_operations_per_second" if op["kind"].endswith("_i8") else "operations_per_second"]
        assert op["limit_seconds"] >= op["operations"] / top * (1 - 1e-9)
    assert found["bytes"] == sum(op["bytes"] for op in found["ops"])


def test_the_reference_has_no_clock_between_ops(saved):
    model = cf.load(saved[1], backend="torch")
    with pytest.raises(InputError, match="native"):
        profile.computation(model)
    with pytest.raises(InputError, match="native"):
        profile.latency(model, bottleneck=True)
    assert profile.latency(model, seconds=0.02)["rows"][0]["calls"] > 1


def test_every_variation_gives_inputs_that_run(saved):
    model = cf.load(saved[1])
    graph = Graph(modelfile.read(saved[1]))
    for name in workload.VARIATIONS:
        for _, inputs in workload.variation(graph, name):
            assert all(np.isfinite(model.run(x)).all() for x in inputs)
    with pytest.raises(InputError, match="unknown input variation"):
        workload.variation(graph, "odd")


def test_ceilings_are_those_of_the_instruction_set():
    slow, fast = (machine.ceilings(isa, seconds=0.2) for isa in ("scalar", cf.engine.available()[-1]))
    if cf.engine.available()[-1] != "scalar":
        assert fast.operations > 1.5 * slow.operations
        assert fast.int8_operations > 1.5 * slow.int8_operations
    assert [size for size, _ in fast.bandwidth] == sorted(size for size, _ in fast.bandwidth)
    assert all(rate > 0 for _, rate in fast.bandwidth)
    assert fast.best(slow).operations == max(fast.operations, slow.operations)
    assert fast.best(slow).int8_operations == max(fast.int8_operations, slow.int8_operations)


def test_counters_count_or_say_why_not():
    def touch() -> None:
        with mmap.mmap(-1, 1 << 22) as fresh:  # pages that the process cannot have had before
            fresh.write(bytes(1 << 22))

    counted = machine.count_events(touch)
    for value in counted.values():
        assert isinstance(value, int) or value.startswith("unavailable: ")
    if isinstance(counted["page faults"], int):
        assert counted["page faults"] > 0
