"""Any count of threads gives the same bits, many callers share one model, and a forked child runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from claude_flow import _core

F32 = np.float32
EPSILON = int(np.float32(1e-5).view(np.int32))
GENERATOR = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return (GENERATOR.normal(size=shape) / np.sqrt(shape[-1])).astype(F32)


def attention_network() -> tuple[np.ndarray, list[np.ndarray]]:
    tensors = [weights(768, 256), weights(768), weights(256, 256), weights(256), weights(256)]
    values = [(1, 256), (1, 768), (1, 256), (1, 256), (1, 256)]
    ops = [[1, 0, 1, 0, 0, 1, -1, 2], [3, 1, 2, 4], [1, 2, 3, 0, 2, -1, 0, 0], [2, 3, 4, 3, 4, EPSILON]]
    return words(values, ops, 4), tensors


def recurrent_network() -> tuple[np.ndarray, list[np.ndarray]]:
    # A layer that splits its units, and three that run at once.
    tensors, values, ops = [], [(1, 64)], []
    for layer, units in enumerate([224, 128, 40, 128]):
        tensors += [weights(4 * units, values[-1][1]), weights(4 * units, units), weights(4 * units)]
        values.append((1, units))
        ops.append([4, layer, layer + 1, 3 * layer, 3 * layer + 1, 3 * layer + 2])
    tensors.append(weights(128))
    values.append((0, 256))
    ops += [[5, 4, 4, 12, 5, 0], [6, 4, 5, 128]]
    return words(values, ops, 5), tensors


def words(values: list[tuple[int, int]], ops: list[list[int]], output: int) -> np.ndarray:
    flat = [1, len(values), len(ops), 0, output, 128]
    flat += [n for value in values for n in value]
    for op in ops:
        flat += [op[0], len(op) - 1, *op[1:]]
    return np.array(flat, np.int32)


NETWORKS = {"attention": (attention_network(), 256), "recurrent": (recurrent_network(), 64)}


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize(("items", "tokens"), [(1, 128), (1, 9), (3, 65), (33, 40)])
def test_the_count_of_threads_changes_no_bit(name: str, isa: str, items: int, tokens: int) -> None:
    (program, tensors), width = NETWORKS[name]
    generator = np.random.default_rng(items)
    x = generator.normal(size=(items, tokens, width)).astype(F32)
    lengths = generator.integers(1, tokens + 1, items).astype(np.int32)
    alone = _core.Model(program, tensors, isa, 1)
    for threads in (2, 3, 5):
        model = _core.Model(program, tensors, isa, threads)
        assert model.threads == threads
        for given in (None, lengths):
            assert np.array_equal(model.run(x, given), alone.run(x, given))


@pytest.mark.parametrize("name", list(NETWORKS))
def test_many_callers_of_one_model(name: str) -> None:
    (program, tensors), width = NETWORKS[name]
    model = _core.Model(program, tensors, "auto", 2)
    inputs = [np.random.default_rng(i).normal(size=(2, 30, width)).astype(F32) for i in range(8)]
    expected = [_core.Model(program, tensors).run(x) for x in inputs]
    with ThreadPoolExecutor(8) as callers:
        for _ in range(20):
            for got, want in zip(callers.map(model.run, inputs), expected, strict=True):
                assert np.array_equal(got, want)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_runs_the_model() -> None:
    # In a process of its own: forking pytest's, with torch's threads in it, would test those.
    script = """
        import os, signal, sys
        import numpy as np
        sys.path.insert(0, sys.argv[1])
        from test_engine_threads import NETWORKS, _core
        (program, tensors), width = NETWORKS["attention"]
        model = _core.Model(program, tensors, "auto", 3)
        x = np.ones((4, 128, width), np.float32)
        want = model.run(x)
        child = os.fork()
        signal.alarm(30)
        same = all(np.array_equal(model.run(x), want) for _ in range(5))
        if child == 0:
            os._exit(0 if same else 1)
        assert same
        assert os.waitpid(child, 0)[1] == 0
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), os.path.dirname(__file__)], check=True, timeout=60)


@pytest.mark.parametrize("threads", [0, -1, 257, 2**31 - 1])
def test_impossible_counts_are_refused(threads: int) -> None:
    (program, tensors), _ = NETWORKS["attention"]
    with pytest.raises(ValueError, match=f"threads is {threads}, not in 1..256"):
        _core.Model(program, tensors, "auto", threads)
