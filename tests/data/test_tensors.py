"""Preprocessed tensors in shards: equal to what was written, in place, and one clear line where a file is damaged."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from claude_flow.data.tensors import Rows, read, shards
from claude_flow.errors import InputError
from claude_flow.networks.optimization.prepare import preprocess


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=4), data=st.data())
@settings(max_examples=60, deadline=None)
def test_rows_are_those_of_the_whole(sizes, data):
    whole = np.arange(3 * sum(sizes)).reshape(-1, 3)
    rows = Rows(np.split(whole, np.cumsum(sizes)[:-1]))
    assert np.array_equal(np.asarray(rows), whole)
    index = data.draw(st.lists(st.integers(0, max(0, sum(sizes) - 1)), max_size=6 if sum(sizes) else 0))
    index = np.array(index, np.int64)
    assert np.array_equal(rows[index], whole[index])
    chosen = rows.take(index)
    assert (len(chosen), chosen.shape, chosen.dtype) == (len(index), (len(index), 3), whole.dtype)
    assert np.array_equal(chosen[1:4], whole[index][1:4])


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int32", "bool", "float16", "uint8"])
def test_a_shard_is_what_was_written_and_read_only(tmp_path, dtype):
    written = {"a": np.arange(7).astype(dtype), "b": np.arange(12, dtype=np.float32).reshape(3, 4)}
    save_file(written, tmp_path / "s")
    found = read(tmp_path / "s")
    assert found.keys() == written.keys()
    assert all(np.array_equal(found[k], written[k]) and found[k].dtype == written[k].dtype for k in written)
    with pytest.raises(ValueError, match="read-only"):
        found["b"][0] = 1


def test_shards_of_a_real_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr("claude_flow.networks.optimization.prepare.SHARD_ROWS", 60)
    manifest = preprocess(None, tmp_path, {"simulate": 150, "seed": 1})
    assert len(manifest["shards"]) == 3
    stored = shards(tmp_path, manifest["shards"])
    files = [load_file(tmp_path / name) for name in manifest["shards"]]
    for name in ("inputs", "utilities", "family"):
        assert np.array_equal(np.asarray(stored[name]), np.concatenate([file[name] for file in files]))
    save_file({"other": np.zeros(3)}, tmp_path / "shard-0001.safetensors")
    with pytest.raises(InputError, match="do not fit together"):
        shards(tmp_path, manifest["shards"])
    (tmp_path / "shard-0001.safetensors").unlink()
    with pytest.raises(InputError, match=r"shard-0001.*preprocess"):
        shards(tmp_path, manifest["shards"])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.floats(0, 1), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_shard_is_one_clear_line(tmp_path_factory, at, value, cut):
    folder = tmp_path_factory.mktemp("damaged")
    save_file({"a": np.arange(5.0), "b": np.arange(3)}, folder / "s")
    content = bytearray((folder / "s").read_bytes())
    place = int(at * (len(content) - 1))
    content[place] = value
    (folder / "s").write_bytes(content[:place] if cut else content)
    try:
        found = read(folder / "s")
    except InputError as error:
        lines = str(error).splitlines()
    else:
        lines = [str(sum(array.nbytes for array in found.values()))]
    assert len(lines) == 1


_TRAINER = """
import sys, numpy as np
from pathlib import Path
from claude_flow.networks.optimization.learn import Data
def anonymous():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon")) * 1024
before = anonymous()
data = Data.load(Path(sys.argv[1]), 0.2, 0, {})
for batch in data.batches("train", 256, np.random.default_rng(0)):
    batch["inputs"].sum()
print(anonymous() - before)
"""


def test_training_data_stays_in_its_files(tmp_path):
    """What is judged every epoch is read (here 4 % of the rows); the training rows, 96 %, are not."""
    pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")
    manifest = preprocess(None, tmp_path, {"simulate": 200, "seed": 1})
    schema = {key: manifest[key] for key in ("format", "kind", "network", "families", "test_families", "schema")}
    generator, rows, names = np.random.default_rng(0), 30_000, []
    rest = np.setdiff1d(np.arange(20), manifest["test_families"])
    validation = np.random.default_rng(0).choice(rest, 3, replace=False)  # as training chooses them
    trained = np.setdiff1d(rest, validation)[0]
    for i in range(3):
        shard = {"inputs": generator.random((rows, 256), np.float32)}
        shard["utilities"] = generator.random((rows, 128), np.float32)
        shard["family"] = generator.integers(0, 20, rows, np.int32)
        shard["family"][generator.random(rows) < 0.96] = trained
        save_file(shard, tmp_path / f"big-{i}.safetensors")
        names.append(f"big-{i}.safetensors")
    (tmp_path / "manifest.json").write_text(json.dumps({**schema, "shards": names}))
    size = sum((tmp_path / name).stat().st_size for name in names)
    done = subprocess.run([sys.executable, "-c", _TRAINER, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < size / 2, f"{int(done.stdout) / size:.0%} of the dataset's {size / 1e6:.0f} MB"
