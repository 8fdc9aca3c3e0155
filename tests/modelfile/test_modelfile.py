"""Model files from elsewhere: whatever is in them, the answer is one clear line or a model that works."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save

import claude_flow as cf
from claude_flow import export, modelfile, nets
from claude_flow.errors import InputError

CONFIG = {"width": 16, "heads": 2, "feed_forward": [16], "output_width": 16}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("good") / "m.safetensors"
    export.save(nets.create("coordination", CONFIG), path, metadata={"features": {"a": 1}})
    return path


def _header(path: Path) -> tuple[dict, dict]:
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["claude_flow"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _write(path: Path, header: object, tensors: dict) -> Path:
    text = header if isinstance(header, str) else json.dumps(header)
    path.write_bytes(save(tensors, metadata={"claude_flow": text}))
    return path


def test_round_trip_and_plain_safetensors(good: Path) -> None:
    file = modelfile.read(good)
    assert (file.network, file.precision, file.features) == ("coordination", "fp32", {"a": 1})
    _, tensors = _header(good)
    assert set(file.program_tensors) <= set(tensors)
    assert file.config["width"] == 16


def _refused(path: Path, word: str) -> None:
    with pytest.raises(InputError) as caught:
        cf.load(path)
    message = str(caught.value)
    assert word in message, message
    assert "\n" not in message
    assert str(path) in message


@pytest.mark.parametrize(("dtype", "shape", "size"), [("BF16", [8], 16), ("F8_E4M3", [8], 8), ("F32", [1] * 70, 4)])
def test_tensors_that_numpy_cannot_hold(good: Path, tmp_path: Path, dtype: str, shape: list[int], size: int) -> None:
    content = good.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8:start]), content[start:]
    header["extra"] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + size]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + body + bytes(size))
    _refused(path, "a tensor that NumPy cannot hold")


@pytest.mark.parametrize("precision", ["int8", "fp64", ""])
def test_the_precision_is_that_of_the_program(good: Path, tmp_path: Path, precision: str) -> None:
    header, tensors = _header(good)
    _refused(_write(tmp_path / "m.safetensors", {**header, "precision": precision}, tensors), "precision")


@pytest.mark.parametrize("calibration", [np.full((2, 256), np.nan, np.float32), np.zeros((0, 256), np.float32)])
def test_calibration_that_says_nothing_is_refused_before_writing(tmp_path: Path, calibration: np.ndarray) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(InputError, match=r"^calibration: "):
        export.save(nets.create("optimization", {"hidden": [8]}), path, "int8", calibration=calibration)
    assert not path.exists()


def test_what_is_not_a_model_is_refused(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    for content in (b"", b"hello", good.read_bytes()[:100], good.read_bytes()[:-100], b"\xff" * 1000):
        path.write_bytes(content)
        _refused(path, "safetensors")
    path.write_bytes(save({"a": np.zeros(3, np.float32)}))
    _refused(path, "no claude_flow metadata")
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    with pytest.raises(InputError):
        cf.load(folder)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": 2}, "model format 2"),
        ({"network": 3}, "'network'"),
        ({"program": [1, 2, "x"]}, "32-bit"),
        ({"program": [2**40]}, "32-bit"),
        ({"program": [True]}, "32-bit"),
        ({"program": []}, ""),
        ({"program": [1] * 7}, ""),
        ({"program_tensors": ["nope"]}, "nope"),
        ({"program_tensors": [1]}, "program_tensors"),
        ({"program_tensors": []}, ""),
        ({"features": None}, "'features'"),
        ({"config": CONFIG | {"commands": ["defer"]}}, "command embeddings"),
        ({"calibration": {"temperature": 0}}, "temperature"),
        ({"calibration": {"temperature": "hot"}}, "temperature"),
    ],
)
def test_damaged_headers_are_refused(good: Path, tmp_path: Path, change: dict, word: str) -> None:
    header, tensors = _header(good)
    _refused(_write(tmp_path / "m.safetensors", header | change, tensors), word)


def test_damaged_json_is_refused(good: Path, tmp_path: Path) -> None:
    _, tensors = _header(good)
    for text in ("", "[", "[]", "null", "[" * 100_000):
        with pytest.raises(InputError):
            cf.load(_write(tmp_path / "m.safetensors", text, tensors))


def test_damaged_tensors_are_refused(good: Path, tmp_path: Path) -> None:
    header, tensors = _header(good)
    path = tmp_path / "m.safetensors"
    name = "embedding.weight"
    nan = tensors[name].copy()
    nan[3, 4] = np.nan
    _refused(_write(path, header, tensors | {name: nan}), "NaN")
    _refused(_write(path, header, tensors | {name: tensors[name].astype(np.float64)}), "float64")
    _refused(_write(path, header, tensors | {name: tensors[name][:-1]}), "")
    _refused(_write(path, header, tensors | {name: tensors[name].ravel()}), "")
    _refused(_write(path, header, tensors | {name: tensors[name].astype(np.int8)}), "")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_programs_never_crash(data: st.DataObject, good: Path, tmp_path: Path) -> None:
    header, tensors = _header(good)
    program = list(header["program"])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(program) - 1))
        program[at] = data.draw(st.one_of(st.integers(-3, 200), st.integers(-(2**31), 2**31 - 1)))
    if data.draw(st.booleans()):
        program = program[: data.draw(st.integers(0, len(program)))]
    try:
        model = cf.load(_write(tmp_path / "m.safetensors", header | {"program": program}, tensors))
    except InputError:
        return
    try:
        model.run(np.ones((2, 3, 512), np.float32))
    except ValueError:
        return


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1), byte=st.integers(0, 255))
def test_flipped_bytes_never_crash(position: float, byte: int, good: Path, tmp_path: Path) -> None:
    content = bytearray(good.read_bytes())
    content[int(position * 8000)] = byte  # the header, where a flip matters
    path = tmp_path / "m.safetensors"
    path.write_bytes(bytes(content))
    try:
        model = cf.load(path)
        model.run(np.ones((1, 2, 512), np.float32))
    except ValueError:
        return


def test_wrong_inputs_are_refused(good: Path) -> None:
    model = cf.load(good)
    for x, word in (
        (np.zeros((2, 3, 511), np.float32), "511"),
        (np.zeros((2, 129, 512), np.float32), "129 tokens"),
        (np.zeros((2, 0, 512), np.float32), "0 tokens"),
        (np.zeros((2, 512), np.float32), "512"),
        (np.zeros((2, 3, 512), np.float64), "float32"),
        (np.zeros((2, 3, 1024), np.float32)[:, :, ::2], "contiguous"),
    ):
        with pytest.raises(ValueError, match=word):
            model.run(x)
    assert model.run(np.zeros((0, 3, 512), np.float32)).shape == (0, 3, 16)
    x = np.zeros((2, 3, 512), np.float32)
    for lengths in ([0, 3], [3, 4], [3], [1.0, 2.0]):
        with pytest.raises(ValueError, match="lengths"):
            model.run(x, np.array(lengths))


def test_options_are_checked(good: Path, tmp_path: Path) -> None:
    for options, word in (
        ({"backend": "gpu"}, "native"),
        ({"precision": "int2"}, "fp32"),
        ({"threads": 0}, "threads"),
        ({"isa": "avx1024"}, "avx1024"),
    ):
        with pytest.raises(InputError, match=word):
            cf.load(good, **options)
    with pytest.raises(InputError, match="export writes"):
        export.save(nets.create("optimization", {"hidden": [8]}), tmp_path / "m.safetensors", "int3")
    with pytest.raises(InputError, match="cannot export a Linear"):
        export.save(torch.nn.Linear(2, 2), tmp_path / "m.safetensors")
