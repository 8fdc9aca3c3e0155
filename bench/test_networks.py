"""Networks at the guide's sizes: by engine, precision and threads, and ours on every instruction set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks come from torch: run  pip install 'claude-flow[train]'")

import claude_flow as cf
from bench import models, points
from bench.conftest import require
from bench.race import Disagreement

SHAPES = [pytest.param(net, shape, id=points.ident(net, shape)) for net, shape in points.NETWORKS]
ENGINES = [pytest.param(p, engine, id=f"{p}-{engine}") for p, engines in points.ENGINES.items() for engine in engines]


@pytest.mark.parametrize(("net", "shape"), SHAPES)
@pytest.mark.parametrize("threads", points.THREADS)
@pytest.mark.parametrize(("precision", "engine"), ENGINES)
def test_engine(
    contender: Callable[..., Any], net: str, shape: tuple[int, ...], threads: int, precision: str, engine: str
) -> None:
    require(engine)
    try:
        call, snr, left_out = models.contender(engine, net, shape, precision, threads)
    except Disagreement as error:
        if engine == points.OURS:
            raise
        pytest.skip(f"{engine} computes something else here: {error}")
    group = f"{points.label(net, shape)} {precision}, {threads} thread{'s' * (threads > 1)}"
    contender(group, engine, call, snr=snr, left_out=left_out)


@pytest.mark.parametrize(("net", "shape"), SHAPES)
@pytest.mark.parametrize("precision", points.PRECISIONS)
@pytest.mark.parametrize("isa", cf.engine.available())
def test_instruction_set(
    contender: Callable[..., Any], net: str, shape: tuple[int, ...], precision: str, isa: str
) -> None:
    if isa == "scalar" and np.prod(shape) > points.SCALAR_LIMIT:
        pytest.skip("scalar code takes seconds here")
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    model = cf.load(models.model_file(net), precision=precision, isa=isa)
    contender(f"{points.label(net, shape)} {precision} by instruction set", isa, partial(model.run, x))
