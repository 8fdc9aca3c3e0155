"""The JavaScript package under Node: the native numbers, the Python encoder's tokens, its answers, its refusals."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import claude_flow as cf
from claude_flow import export, modelfile, nets
from claude_flow.errors import InputError
from claude_flow.modelfile import Op, probe
from claude_flow.networks import text
from claude_flow.networks.coordination.features import Encoder, parse_request
from claude_flow.networks.scale import Scaler

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "emscripten" / "node_modules"

SWARM = json.loads((ROOT / "docs" / "examples" / "swarm.json").read_text())
RICH = {
    "current-agents": [
        {"id": "a", "type": "architect", "load": 0.25, "capabilities": ["système design", "APIs v2", "日本語"]},
        {
            "id": "b",
            "track-record": {
                "tasks": 12,
                "success-rate": 0.75,
                "swarm-success-rate": 0.6,
                "by-type": {"API-Design ": {"tasks": 3, "success-rate": 1.0}, "fix": {"tasks": 9, "success-rate": 0.5}},
            },
        },
        {"id": "c", "type": "", "load": 1},
    ],
    "pending-tasks": [
        {"id": "t1", "type": "apiDesign", "description": "HTTPServer in 3 steps: Straße, ΟΔΟΣ, İstanbul ½ Ⅷ x²"},
        {"id": "t2", "priority": "critical", "complexity": 0, "requires": ["rust", "webAssembly"]},
        {"id": "t3", "priority": 0.4, "features": {"files": 7, "lines": 1234.5, "age": -3, "unknown": 1}},
        {"id": "t4", "type": "fix", "features": {"files": 4, "age": 1e9, "flat": 2, "knots": 2.5, "lines": 0}},
    ],
}
SCALERS = {
    "files": Scaler("z-score", (4.0, 2.5)),
    "lines": Scaler.fit("log", [1, 10, 100, 5000]),
    "age": Scaler.fit("robust", [1, 2, 3, 4, 10]),
    "flat": Scaler("z-score", (2.0, 0.0)),
    "knots": Scaler.fit("quantile", [1, 2, 2, 2, 3, 4, 5, 9]),
}
TEXTS = ["apiDesign: review HTTP-server v2", "", "снова ΟΔΟΣ Straße", "a_b c2d ٣٤ 日本語", "x" * 5000, "é²½Ⅷ naïve"]


def test_runs_as_native_does(node: Any, files: dict[str, Path]) -> None:
    (has,) = node.ask({"job": "available"})
    assert has["value"] in (["simd128"], ["simd128", "relaxed"])
    jobs, wanted = [], []
    for network, width in (("coordination", 512), ("optimization", 256), ("prediction", 128)):
        model = cf.load(files[network])
        for batch, tokens in ((1, 8), (3, 5), (20, 128) if network == "prediction" else (2, 16)):
            generator = np.random.default_rng(batch)
            shape = (batch, width) if network == "optimization" else (batch, tokens, width)
            x = generator.standard_normal(shape).astype(np.float32)
            lengths = None if len(shape) == 2 else generator.integers(1, tokens + 1, batch).astype(np.int32)
            for isa in has["value"]:
                job = {"job": "run", "path": str(files[network]), "isa": isa, "x": node.packed(x), "shape": shape}
                jobs.append(job | ({} if lengths is None else {"lengths": lengths.tolist()}))
                wanted.append((isa, model.run(x, lengths)))
    for answer, (isa, want) in zip(node.ask(*jobs), wanted, strict=True):
        assert answer["value"]["isa"] == isa
        y = node.unpacked(answer["value"]["y"]).reshape(want.shape)
        assert np.abs(y - want).max() <= 1e-5 * np.abs(want).max()


def test_integers_are_the_same_bits_as_native(
    node: Any, int8_files: dict[str, Path], int4_files: dict[str, Path]
) -> None:
    (has,) = node.ask({"job": "available"})
    jobs, wanted = [], []
    for network, shape in (("coordination", (2, 9, 512)), ("optimization", (5, 256)), ("prediction", (3, 20, 128))):
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        for path in (int8_files[network], int4_files[network]):
            for isa in has["value"]:
                jobs.append({"job": "run", "path": str(path), "isa": isa, "x": node.packed(x), "shape": shape})
                wanted.append(cf.load(path).run(x))
    for answer, want in zip(node.ask(*jobs), wanted, strict=True):
        assert np.array_equal(node.unpacked(answer["value"]["y"]).view(np.int32), want.ravel().view(np.int32))


def test_encodes_as_python_does(node: Any) -> None:
    for describe in (True, False):
        encoder = Encoder(SCALERS, describe)
        requests = [SWARM, RICH]
        (answer,) = node.ask({"job": "encode", "schema": encoder.schema(), "requests": requests})
        for request, encoded in zip(requests, answer["value"], strict=True):
            want = encoder.swarm(parse_request(request))[0]
            np.testing.assert_allclose(node.unpacked(encoded).reshape(want.shape), want, rtol=0, atol=3e-7)


def test_splits_words_as_python_does(node: Any) -> None:
    (answer,) = node.ask({"job": "words", "texts": TEXTS})
    assert answer["value"] == [text.words(t) for t in TEXTS]


@pytest.mark.parametrize(
    "change",
    [
        {"current-agents": []},
        {"current-agents": "two"},
        {"pending-tasks": [{"id": "t", "priority": "urgent"}]},
        {"pending-tasks": [{"id": "t", "complexity": 2}]},
        {"pending-tasks": [{"id": "t"}, {"id": "u"}, {"id": "u", "type": "x"}]},
        {"pending-tasks": [{"type": "fix"}]},
        {"pending-tasks": [{"id": "t", "requires": [1]}]},
        {"system-state": {"cpu-usage": "half"}},
        {"pending-tasks": [{"id": f"t{i}"} for i in range(128)]},
        {"current-agents": [{"id": "a", "track-record": {"tasks": 3}}]},
    ],
)
def test_refuses_requests_in_pythons_words(node: Any, change: dict[str, Any]) -> None:
    request = SWARM | change
    with pytest.raises(InputError) as refusal:
        parse_request(request)
    (answer,) = node.ask({"job": "encode", "schema": Encoder().schema(), "requests": [request]})
    assert answer["error"].replace('"', "'") == str(refusal.value)


def _sharing_their_place(whole: bytes) -> bytes:
    """The model file with a thousand more tensors, all on the bytes of the first: copies would fill the memory."""
    header = int.from_bytes(whole[:8], "little")
    entries = json.loads(whole[8 : 8 + header])
    first = next(entry for name, entry in entries.items() if name != "__metadata__")
    text = json.dumps(entries | {f"t{i}": first for i in range(1000)}).encode()
    return len(text).to_bytes(8, "little") + text + whole[8 + header :]


def test_refuses_damaged_files_and_goes_on(node: Any, tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    export.save(nets.create("optimization", {"hidden": [32]}).eval(), path)
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    hostile = {
        "shorter": b"abc",
        "beyond": b"\xff" * 16,
        "not JSON": whole[:8] + b"{" * header + whole[8 + header :],
        "cut short": whole[:-100],
        "its tensor": whole.replace(b'"F32"', b'"F64"', 1),
        "format": whole.replace(b'\\"format\\":1', b'\\"format\\":9', 1),
        "NaN": whole[:-4] + np.float32("nan").tobytes(),
        "belong to no tensor": whole + b"more",
        "more than 8388608 bytes": (9 << 20).to_bytes(8, "little") + b"[" * (9 << 20),
        "does not fit its place": _sharing_their_place(whole),
    }
    jobs = [{"job": "bytes", "bytes": base64.b64encode(content).decode()} for content in hostile.values()]
    x = np.ones((1, 256), np.float32)
    last = {"job": "run", "path": str(path), "isa": "auto", "x": node.packed(x), "shape": x.shape}
    *refused, alive = node.ask(*jobs, last | {"path": "/nowhere.safetensors"}, last | {"shape": [1, 255]}, last)
    for answer, word in zip(refused, [*hostile, "cannot be read", "the shape of x"], strict=True):
        assert word in answer["error"], answer
        assert "\n" not in answer["error"]
    assert np.isfinite(node.unpacked(alive["value"]["y"])).all()


def test_options_that_cannot_be_had_are_refused(node: Any, files: dict[str, Path]) -> None:
    path = str(files["coordination"])
    isa, threads, disposed = node.ask(
        {"job": "load", "path": path, "options": {"isa": "avx2"}},
        {"job": "load", "path": path, "options": {"threads": 0}},
        {"job": "load", "path": path, "options": {}},
    )
    assert "no instruction set 'avx2'; it has: simd128" in isa["error"]
    assert threads["error"] == "threads is 0, not in 1..256"
    assert disposed["error"] == "this model was disposed of"


def test_attention_weighs_the_values_as_the_engine_does(node: Any, files: dict[str, Path]) -> None:
    """Shares from JavaScript times v are what the native engine's attention writes: that needs the right ones."""
    path, tokens = files["coordination"], 9
    file = modelfile.read(path)
    program = file.parse()
    x = np.random.default_rng(3).standard_normal((1, tokens, 512)).astype(np.float32)

    (answer,) = node.ask({"job": "attention", "path": str(path), "x": node.packed(x), "tokens": tokens})
    attentions = [o for code, o in program.ops if code is Op.ATTENTION]
    assert len(attentions) == len(answer["value"]["layers"]) == 4
    for o, layer, shares in zip(attentions, *answer["value"].values(), strict=True):
        assert layer == {"heads": o["heads"]}
        share = node.unpacked(shares).reshape(o["heads"], tokens, tokens)
        assert np.allclose(share.sum(axis=2), 1, atol=1e-5)
        v = np.split(probe.run(file, o["source"], x)[0], 3, axis=1)[2].reshape(tokens, o["heads"], -1)
        want = probe.run(file, o["target"], x)[0]
        assert np.allclose(np.einsum("hft,thw->fhw", share, v).reshape(tokens, -1), want, atol=1e-4)


def test_memory_does_not_grow_and_ops_are_timed(node: Any, files: dict[str, Path]) -> None:
    x = np.ones((1, 256), np.float32)
    common = {"path": str(files["optimization"]), "isa": "auto", "x": node.packed(x), "shape": x.shape}
    grown, profile = node.ask({"job": "repeat", "times": 10_000} | common, {"job": "profile"} | common)
    assert grown["value"] == 0
    native = cf.load(files["optimization"]).profile(x)
    assert [(op["op"], op["code"]) for op in profile["value"]] == [(op, code) for op, code, _ in native]
    assert all(op["seconds"] >= 0 for op in profile["value"])


def test_types(node: Any, tmp_path: Path) -> None:
    compiler = MODULES / "typescript" / "bin" / "tsc"
    if not compiler.exists():
        pytest.skip("run  npm install --prefix emscripten")
    (tmp_path / "use.mts").write_text(
        f"""
import {{ load, type Model, type OpTime }} from "{ROOT}/emscripten/claude_flow.mjs";
import {{ answer, type Request }} from "{ROOT}/emscripten/coordination.mjs";
import {{ loadAttention }} from "{ROOT}/emscripten/attention.mjs";
const model: Model = await load(new URL("m.safetensors", "file:///"), {{ isa: "relaxed", threads: 2 }});
const y: Float32Array = model.run(new Float32Array(512), [1, 1, 512], Int32Array.of(1));
const times: OpTime[] = model.profile(y, [1, 1, 512]);
const shares: Float32Array[] = (await loadAttention(new Uint8Array(8))).weights(y, 1);
const request: Request = {json.dumps(SWARM)};
const agent: string | null = answer(model, request, {{ confidenceThreshold: 0.5 }}).assignments[0]!.agent;
// @ts-expect-error: no such instruction set
await load("m", {{ isa: "avx2" }});
// @ts-expect-error: numbers, not a typed array
model.run([1, 2, 3], [1, 3]);
console.log(agent, times, shares);
"""
    )
    command = [compiler, "--noEmit", "--strict", "--noUncheckedIndexedAccess", "--target", "es2022"]
    command += ["--module", "nodenext", "--types", "", "use.mts"]
    said = subprocess.run([node.path, *command], cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
