"""The page of compression: every part has its section, and a part replaces its own alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the bench needs the extra: pip install 'claude-flow[train]'")

from bench import compression

from claude_flow import modelfile, registry
from claude_flow.model import Model, assemble
from claude_flow.modelfile.ranges import outputs


def test_a_part_writes_its_section_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = compression.PAGE.read_text("utf-8")
    monkeypatch.setattr(compression, "PAGE", tmp_path / "page.md")
    compression.PAGE.write_text(page)
    for part in compression.PARTS:
        compression.write(part, f"Measured: {part}.")
    text = compression.PAGE.read_text()
    for part, (title, _) in compression.PARTS.items():
        assert text.count(f"<!-- {part}: -->") == text.count(f"<!-- :{part} -->") == text.count(f"### {title}") == 1
        assert f"`python -m bench.compression {part}`. Measured: {part}." in text
    assert text.partition("<!--")[0] == page.partition("<!--")[0]


def test_a_peer_is_judged_as_a_model_is(small_models: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="a peer: pip install onnxruntime")
    path = small_models["optimization"]
    file = modelfile.read(path)
    x = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    peer = compression.onnx_runtime(file, [(x, None)], tmp_path)
    (wanted,) = outputs(file, [(x, None)])
    got = Model(path, file, peer, "native").run(x)
    assert compression.decibels([got], [wanted]) > 10
    broken = dict(compression.peers(file, [(x[:, :5], None)], tmp_path))
    assert all(isinstance(reason, str) and "\n" not in reason for reason in broken.values())


def test_four_bits_take_half_of_the_file() -> None:
    path = registry.model_path("optimization-v2")
    file = modelfile.read(path)
    eight = compression._bytes(compression.quantize(file))
    four = compression._bytes(compression.quantize(file, four=compression.products(file)))
    assert four < 0.6 * eight
    assert assemble(path, compression.quantize(file, four=compression.products(file))).precision == "int4"
