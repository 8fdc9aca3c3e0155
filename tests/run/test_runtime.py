"""What carries out the runtime's settings: batches of waiting requests, pools of runners, kept models."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

import claude_flow as cf
from claude_flow import _core, runtime

torch = pytest.importorskip("torch")
from claude_flow import export, nets  # noqa: E402


@pytest.fixture(scope="module", params=["coordination", "optimization", "prediction"])
def model(request, tmp_path_factory):
    torch.manual_seed(0)
    config = {
        "coordination": {"width": 32, "heads": 2, "feed_forward": [32]},
        "optimization": {"hidden": [32, 64]},
        "prediction": {"width": 32, "layers": 1},
    }
    path = tmp_path_factory.mktemp("model") / f"{request.param}.safetensors"
    export.save(nets.create(request.param, config[request.param]), path)
    return cf.load(path)


def requests(model, count):
    generator = np.random.default_rng(0)
    found = []
    for _ in range(count):
        items, tokens = generator.integers(1, 4), int(generator.integers(1, 20))
        if model.network == "optimization":
            found.append((generator.standard_normal((items, 256), np.float32), None))
        else:
            width = 512 if model.network == "coordination" else 128
            lengths = generator.integers(1, tokens + 1, items).astype(np.int32) if generator.random() < 0.5 else None
            found.append((generator.standard_normal((items, tokens, width), np.float32), lengths))
    return found


class Slow:
    """A runner that takes its time, so that requests gather; counts what reaches it."""

    def __init__(self, runner):
        self.runner, self.calls, self.release = runner, 0, threading.Event()

    def __getattr__(self, name):
        return getattr(self.runner, name)

    def run(self, x, lengths=None):
        self.calls += 1
        self.release.wait(10)
        return self.runner.run(x, lengths)


def test_a_batcher_gives_each_its_own_answer(model):
    asked = requests(model, 24)
    want = [model.run(x, lengths) for x, lengths in asked]
    slow = Slow(model._runner)
    batcher = runtime.Batcher(slow, most_items=20)
    got: list = [None] * len(asked)

    def client(i):
        got[i] = batcher.run(*asked[i])

    threads = [threading.Thread(target=client, args=(i,)) for i in range(len(asked))]
    for thread in threads:
        thread.start()
    while len(batcher._waiting) < len(asked) - 1:  # all are in line behind the first
        time.sleep(0.001)
    slow.release.set()
    for thread in threads:
        thread.join()
    assert 1 < slow.calls < len(asked) / 2
    for found, wanted in zip(got, want, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_batcher_leaves_what_does_not_fit_to_the_runner(model):
    batcher = runtime.Batcher(model._runner)
    for x, lengths in [
        (np.zeros((1, 7), np.float32), None),
        (np.zeros((1, 2, 512), np.float64), None),
        (requests(model, 1)[0][0], np.zeros(99, np.int32)),
        ("x", None),
    ]:
        with pytest.raises((ValueError, TypeError)):
            batcher.run(x, lengths)
    x, lengths = requests(model, 1)[0]
    assert len(batcher.run(x[:0])) == 0
    np.testing.assert_array_equal(batcher.run(x, lengths), model.run(x, lengths))


def test_an_error_of_a_batch_reaches_all_of_it(model):
    class Broken(Slow):
        def run(self, x, lengths=None):
            super().run(x, lengths)
            raise RuntimeError("broken")

    slow = Broken(model._runner)
    batcher = runtime.Batcher(slow)
    x, lengths = requests(model, 1)[0]
    raised = []

    def client():
        try:
            batcher.run(x, lengths)
        except RuntimeError as error:
            raised.append(str(error))

    threads = [threading.Thread(target=client) for _ in range(5)]
    for thread in threads:
        thread.start()
    while len(batcher._waiting) < 4:
        time.sleep(0.001)
    slow.release.set()
    for thread in threads:
        thread.join()
    assert raised == ["broken"] * 5
    assert not batcher._busy


def test_a_pool_runs_as_many_at_once_as_it_has(model):
    made, running, most = [], [], []
    gate = threading.Barrier(3, timeout=10)

    class Runner:
        def run(self, x, lengths=None):
            running.append(1)
            gate.wait()  # passes only when three are here together
            most.append(len(running))
            return x

    def make():
        made.append(1)
        return Runner()

    pool = runtime.Pool(make, 3)
    assert len(made) == 1
    threads = [threading.Thread(target=pool.run, args=(i,)) for i in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 3
    assert len(most) == 9


def test_a_pool_survives_a_runner_that_cannot_be_made():
    answers = iter([True, False, True])

    class Runner:
        def run(self, x, lengths=None):
            entered.set()
            leave.wait(10)
            return x

    def make():
        if not next(answers):
            raise MemoryError("full")
        return Runner()

    entered, leave = threading.Event(), threading.Event()
    pool = runtime.Pool(make, 2)
    first = threading.Thread(target=pool.run, args=(1,))
    first.start()
    entered.wait(10)
    with pytest.raises(MemoryError):
        pool.run(2)
    leave.set()
    first.join()
    assert pool.run(3) == 3


def test_models_are_kept_until_their_file_changes_or_others_need_the_room(model, tmp_path, monkeypatch):
    runtime.write(runtime.Settings(caching="intelligent"))
    path = tmp_path / "m.safetensors"
    path.write_bytes(model.path.read_bytes())
    kept = cf.load(path)
    assert cf.load(path) is kept
    assert cf.load(path, isa="scalar") is not kept
    os.utime(path, ns=(1, 1))
    assert cf.load(path) is not kept

    cache = runtime.Cache(2 * path.stat().st_size)
    made = [cache.get(path, key, object) for key in "abc"]
    assert cache.get(path, "c", object) is made[2]
    assert cache.get(path, "a", object) is not made[0]


def test_reading_whole_gives_the_same_model(model):
    settings = runtime.Settings(memory_mapping=False)
    runtime.write(settings)
    assert runtime.read() == settings
    x, lengths = requests(model, 1)[0]
    np.testing.assert_array_equal(cf.load(model.path).run(x, lengths), model.run(x, lengths))


def test_a_forced_backend_beats_the_settings(model):
    runtime.write(runtime.Settings(backend="torch"))
    assert cf.load(model.path).backend == "torch"
    assert cf.load(model.path, backend="native").isa in _core.available()
