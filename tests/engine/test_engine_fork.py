"""A child that is forked while other threads are inside a model runs the model: nothing waits for the parent's threads.

In a process of its own: forking pytest's, with torch's threads in it, would test those.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from claude_flow import wasm

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

SCRIPT = """
    import multiprocessing, os, signal, sys, threading, time, warnings
    from pathlib import Path
    import numpy as np
    import claude_flow as cf
    from claude_flow import runtime
    from claude_flow.model import load_as

    warnings.simplefilter("ignore")  # of newer Pythons: there are threads
    path = Path(cf.__file__).parent / "models" / "optimization-v2.safetensors"
    model, callers = eval(sys.argv[1])
    x = np.random.default_rng(0).standard_normal((20_000, 256)).astype(np.float32)
    one = x[:1].copy()
    want = model.run(one)
    stop = threading.Event()

    def call():
        while not stop.is_set():
            model.run(x)

    def right(_):
        signal.alarm(30)
        return np.array_equal(model.run(one), want)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    for _ in range(3):
        child = os.fork()
        if child == 0:
            grandchild = os.fork()
            same = right(0)
            os._exit(not same or grandchild and os.waitpid(grandchild, 0)[1] != 0)
        assert os.waitpid(child, 0)[1] == 0
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert all(pool.map(right, range(4)))
    stop.set()
    for thread in threads:
        thread.join()
    assert right(0)
"""
CALLED = {
    "all workspaces, one for each of 64 threads": "cf.load(path, threads=64), 1",
    "batching": "load_as(path, runtime.Settings(batching=True)), 2",
    "wasm": "cf.load(path, backend='wasm', threads=2), 2",
    "wasm, one instance": "cf.load(path, backend='wasm')._runner._template, 1",
}


@pytest.mark.parametrize("called", CALLED)
def test_a_child_forked_during_a_call_runs_the_model(called: str, tmp_path: Path) -> None:
    if "wasm" in called and not wasm.available():
        pytest.skip("the .wasm files are not built: run  make wasm")
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), CALLED[called]], check=True, cwd=tmp_path, timeout=120
    )


def test_a_child_compiles_a_module_after_its_parent_did(tmp_path: Path) -> None:
    if not wasm.available():
        pytest.skip("the .wasm files are not built: run  make wasm")
    script = """
        import os, signal
        from claude_flow.wasm.modules import compiled
        compiled("relaxed")
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            compiled("simd128")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    empty = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, env=empty, timeout=120)
