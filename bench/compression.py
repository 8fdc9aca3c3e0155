"""python -m bench.compression [PART ...] [--seconds S]: the marks of compression, written to docs/compression.md.

Parts, by default all but those of training: ``calibration`` (static ranges beside ranges row by row and NNCF, on
random networks and inputs of other lengths), ``accuracy`` (the shipped models beside ONNX Runtime, NNCF and torchao on
the same data), ``four-bits`` (int4 beside int8: time, size), ``quantize`` (how long the command takes), ``versions``
(the Pareto front of what quantize makes), ``prune`` and ``distill`` (the commands themselves, in a scratch workspace,
with ``--time-budget``). Each writes its own section and leaves the others as they are. Peers: pip install
'claude-flow[peers]'; one that is not there, or fails, is named with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.peers import quiet
from bench.points import NETWORKS, label
from bench.report import table
from claude_flow import export, modelfile, nets, registry
from claude_flow.compress import calibration, onnx
from claude_flow.compress import quantize as compress
from claude_flow.compress.evidence import Evidence, trial
from claude_flow.files import temporary_folder
from claude_flow.model import Model, assemble
from claude_flow.modelfile import ModelFile, ranges
from claude_flow.modelfile.quantize import products, quantize
from claude_flow.modelfile.ranges import Batch, decibels, outputs

PAGE = Path(__file__).parents[1] / "docs" / "compression.md"
Array = NDArray[np.float32]
SHIPPED = ("coordination-v3", "optimization-v2", "prediction-v2")
LENGTHS = (1, 8, 32, 128)
CALIBRATED = ((1, 128), (32, 8))
ITEMS = 512


class Peer:
    """A quantized model of another library, in the shape of our engine: what a judge runs."""

    isa, threads = "peer", 1

    def __init__(self, answer: Callable[[Array, Any], Array]) -> None:
        self._answer = answer

    def run(self, x: Array, lengths: Any = None) -> Array:
        return np.ascontiguousarray(self._answer(x, lengths), np.float32)


def _feed(x: Array, lengths: Any) -> dict[str, Any]:
    if x.ndim == 2:
        return {"x": x}
    real = np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths)
    return {"x": x, "lengths": real.astype(np.int64)}


def _session(path: Path) -> Peer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Peer(lambda x, lengths: session.run(None, _feed(x, lengths))[0])


def onnx_runtime(file: ModelFile, batches: Sequence[Batch], folder: Path) -> Peer:
    """Static QDQ, per channel, as its documentation advises for CPUs without VNNI: weights of 7 bits."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> Any:
            batch = next(self._left, None)
            return None if batch is None else _feed(*batch)

    source, target = onnx.save(file, folder / "float.onnx"), folder / "qdq.onnx"
    quantization.quantize_static(
        str(source),
        str(target),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return _session(target)


def nncf(file: ModelFile, batches: Sequence[Batch], folder: Path) -> Peer:
    """Post-training quantization of the ONNX file by NNCF's defaults, run by ONNX Runtime."""
    import nncf as library
    import onnx as format

    made = library.quantize(
        format.load(str(onnx.save(file, folder / "float.onnx"))),
        library.Dataset([_feed(*batch) for batch in batches]),
        subset_size=len(batches),
        model_type=library.ModelType.TRANSFORMER if file.network == "coordination" else None,
    )
    format.save(made, str(folder / "nncf.onnx"))
    return _session(folder / "nncf.onnx")


def torchao(file: ModelFile, batches: Sequence[Batch], folder: Path) -> Peer:
    """8-bit weights and activations row by row in every ``nn.Linear``; it leaves LSTMs and attention in float."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    module = export.from_file(file)
    quantize_(module, Int8DynamicActivationInt8WeightConfig())

    def run(x: Array, lengths: Any) -> Array:
        more = [] if lengths is None else [torch.from_numpy(np.array(lengths, np.int64))]
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(np.array(x)), *more).numpy(), np.float32)

    return Peer(run)


PEERS: dict[str, Callable[[ModelFile, Sequence[Batch], Path], Peer]] = {
    "ONNX Runtime QDQ": onnx_runtime,
    "NNCF": nncf,
    "torchao": torchao,
}


def peers(file: ModelFile, batches: Sequence[Batch], folder: Path) -> Iterator[tuple[str, Peer | str]]:
    """Each peer by name, ready and tried on the first batch; or why there is none."""
    for name, make in PEERS.items():
        try:
            with quiet():
                peer = make(file, batches, folder)
                peer.run(*batches[0])
        except Exception as error:  # whatever another library raises is what the page tells
            yield (
                name,
                f"{type(error).__name__}: {str(error).strip().splitlines()[0][:100]}" if str(error) else repr(error),
            )
        else:
            yield name, peer


# Sections: each is a title, a text and tables ---------------------------------------------------------------------


def calibration_part(_: argparse.Namespace) -> str:
    rows = []
    for net in ("coordination", "optimization", "prediction"):
        torch.manual_seed(0)
        file = export.lower(nets.create(net).eval())
        for items, tokens in CALIBRATED[: 1 if net == "optimization" else 2]:
            calibrated = _random(file, items, tokens, 5)
            found = ranges.static(file, calibrated)
            with temporary_folder() as folder:
                theirs = next(peer for name, peer in peers(file, calibrated, folder) if name == "NNCF")
                for length in LENGTHS if net != "optimization" else (1,):
                    batches = _random(file, max(1, 256 // length), length, length)
                    reference = outputs(file, batches)
                    ours, dynamic = (decibels(outputs(quantize(file, r), batches), reference) for r in (found, None))
                    rival = None if isinstance(theirs, str) else decibels([_rows(theirs.run(*batches[0]))], reference)
                    gap = None if rival is None else ours - rival
                    made = f"{items}×{tokens}" if net != "optimization" else f"{items * tokens} rows"
                    cells = [net, made, length, len(found), ours, dynamic, ours - dynamic, rival, gap]
                    rows.append(cells)
                    print(*cells, file=sys.stderr, flush=True)
                if isinstance(theirs, str):
                    print(theirs, file=sys.stderr)
    worst = min(row[6] for row in rows)
    text = (
        "Random networks of the guide's sizes, random inputs: signal to noise of the output in dB. Ranges come from "
        "the calibration data alone and must hold at every length. Mark: static at least dynamic − 1 dB: "
        f"{'reached' if worst >= -1 else 'missed'} (worst {worst:+.2f})."
    )
    known = [row[8] for row in rows if row[8] is not None]
    if known:
        text += (
            f" Mark: at least NNCF's static − 3 dB, whose activations have 8 bits: "
            f"{'reached' if min(known) >= -3 else 'missed'} (worst {min(known):+.2f})."
            " NNCF's file runs on ONNX Runtime, where products of 8 bits may saturate on a CPU without VNNI, as here: "
            "the column says nothing of other hosts."
        )
    columns = ["network", "calibrated on", "tokens", "static ranges", "static", "dynamic", "static − dynamic"]
    return text + "\n\n" + table([*columns, "NNCF static", "static − NNCF"], rows)


def _random(file: ModelFile, items: int, tokens: int, seed: int) -> list[Batch]:
    width = file.config["input_width"]
    shape = (items * tokens, width) if file.network == "optimization" else (items, tokens, width)
    return [(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), None)]


def _rows(y: Array) -> Array:
    return y.reshape(-1, y.shape[-1])


def accuracy_part(_: argparse.Namespace) -> str:
    rows: list[list[Any]] = []
    marks: list[str] = []
    for shipped in SHIPPED:
        path = registry.model_path(shipped)
        file = modelfile.read(path)
        parent = assemble(path, file)
        with trial(parent, None, None, 0.99) as (test, data), temporary_folder() as folder:
            batches = calibration.asked(path, file, data, ITEMS)
            plans = {bits: compress.plan(file, batches, bits, "auto", "auto", "auto") for bits in ("int8", "int4")}
            contenders: list[tuple[str, Model | str]] = [
                ("ours, int8 static", assemble(path, plans["int8"].quantized((), batches))),
                ("ours, int8 dynamic", assemble(path, quantize(file))),
                ("ours, int4", assemble(path, plans["int4"].quantized((), batches))),
                *(
                    (name, peer if isinstance(peer, str) else Model(path, file, peer, "native"))
                    for name, peer in peers(file, batches, folder)
                ),
            ]
            found: dict[str, Evidence] = {}
            for name, model in contenders:
                if isinstance(model, str):
                    rows.append([shipped, name, model, None, None, None])
                    continue
                try:
                    evidence = found[name] = test.of(model)
                except Exception as error:  # a peer that cannot run what the judge asks
                    rows.append([shipped, name, f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"])
                    rows[-1] += [None, None, None]
                    continue
                c = evidence.guarded
                rows.append([shipped, name, f"{c.measure} {c.before:.4g} → {c.after:.4g}", *_kept(evidence)])
                print(*rows[-1], file=sys.stderr, flush=True)
            ours = found["ours, int8 static"]
            rivals = [e.guarded.ratio or 0 for name, e in found.items() if name in PEERS]
            agreement = ours.agreement
            marks.append(
                f"{shipped}: lower end {_number(ours.guarded.low)} (mark 0.99: "
                + f"{_said((ours.guarded.low or 0) >= 0.99)})"
                + (
                    ""
                    if agreement is None
                    else f", same choices {agreement:.2%} (mark 99 %: {_said(agreement >= 0.99)})"
                )
                + (f", peers kept {max(rivals):.4f} at most, ours {ours.guarded.ratio:.4f}" if rivals else "")
                + f"; int4 {_number(found['ours, int4'].guarded.ratio)} (mark 0.97: "
                + f"{_said((found['ours, int4'].guarded.ratio or 0) >= 0.97)})"
            )
    text = (
        f"The shipped models, every linear and LSTM product in integers, calibrated on the same {ITEMS} items by all, "
        "judged on the standard suite. *Kept*: metric(new) / metric(float), so that 1 is equal; *at least*: its lower "
        "end, one-sided, 95 %. torchao has no static ranges and quantizes no LSTM; NNCF's and ONNX Runtime's files run "
        "on ONNX Runtime.\n\n" + "\n".join(f"* {mark}" for mark in marks)
    )
    return text + "\n\n" + table(["model", "by", "metric", "kept", "at least", "same choices"], rows)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _said(reached: bool) -> str:
    return "reached" if reached else "missed"


def _kept(evidence: Evidence) -> list[str | None]:
    c, same = evidence.guarded, evidence.agreement
    return [_number(c.ratio), _number(c.low), None if same is None else f"{same:.2%}"]


def four_bits_part(options: argparse.Namespace) -> str:
    rows = []
    wide = ("optimization", (1, 256), {"hidden": [1024, 2048, 2048, 1024]})
    points = [*((net, shape, None) for net, shape in NETWORKS if np.prod(shape) < 1e6), wide]
    for net, shape, sizes in points:
        torch.manual_seed(0)
        file = export.lower(nets.create(net, sizes).eval() if sizes else nets.create(net).eval())
        both = [quantize(file), quantize(file, four=products(file))]
        models = [assemble(Path(net), one) for one in both]
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        least = _race(models, x, options.seconds)
        size = [_bytes(one) for one in both]
        name = label(net, shape) + (" (twice the widths)" if sizes else "")
        mark = 1.5 if net == "optimization" and shape == (1, 256) else 1.1 if shape == (1, 32, 128) else 0.95
        speed = least[0] / least[1]
        rows.append([name, 1e3 * least[0], 1e3 * least[1], speed, mark, _said(speed >= mark), size[1] / size[0]])
        print(*rows[-1], file=sys.stderr, flush=True)
    text = (
        f"Random weights, one thread, {models[0].isa}: least milliseconds of processor time by turns, and bytes of the "
        "files. Where one row reads every weight once, half the bytes are the gain; where many rows share them, the "
        "unpacking is the price. An instruction set without VNNI has three instructions for four products, so there "
        "one row of a small network is bound by these and not by its bytes."
    )
    columns = ["point", "int8, ms", "int4, ms", "int8 / int4", "mark", "", "bytes, int4 / int8"]
    return text + "\n\n" + table(columns, rows)


def _race(models: Sequence[Model], x: Array, seconds: float) -> list[float]:
    least = [np.inf] * len(models)
    end = time.process_time() + seconds
    while time.process_time() < end:
        for index, model in enumerate(models):
            for _ in range(5):
                begin = time.thread_time()
                model.run(x)
                least[index] = min(least[index], time.thread_time() - begin)
    return least


def _bytes(file: ModelFile) -> int:
    with temporary_folder() as folder:
        modelfile.write(folder / "m.safetensors", file)
        return (folder / "m.safetensors").stat().st_size


def quantize_part(_: argparse.Namespace) -> str:
    rows = []
    for words in (
        ["--model", "coordination-v3"],
        ["--model", "coordination-v3", "--precision", "int4", "--accuracy-threshold", "0.97"],
    ):
        more = ["--calibration-items", str(ITEMS), "--output-format", "native"]
        report, seconds, error = _command(["quantize", *words, *more, "--allow-slower", "true"])
        rows.append([" ".join(words), *_outcome(report, error), seconds])
        print(*rows[-1], file=sys.stderr, flush=True)
    text = (
        f"The command from its start to its end, {ITEMS} calibration episodes, seconds of processor time. Mark: at "
        f"most 60 s: {_said(rows[0][-1] <= 60)}."
    )
    return text + "\n\n" + table(["optimize quantize", "kept", "at least", "times as fast", "seconds"], rows)


def prune_part(options: argparse.Namespace) -> str:
    rows = []
    for shipped in SHIPPED:
        words = ["prune", "--model", shipped, "--pruning-ratio", "0.3", "--time-budget", options.time_budget]
        report, seconds, error = _command([*words, "--allow-slower", "true"])
        rows.append([shipped, *_outcome(report, error), seconds])
        print(*rows[-1], file=sys.stderr, flush=True)
    text = (
        f"`optimize prune --pruning-ratio 0.3 --time-budget {options.time_budget}` on the standard suite. Mark: at "
        "least 1.3 times as fast at 0.98 of the metric."
    )
    return text + "\n\n" + table(["model", "kept", "at least", "times as fast", "seconds"], rows)


def distill_part(options: argparse.Namespace) -> str:
    rows = []
    for shipped in SHIPPED:
        for share in ("half", "quarter"):
            words = ["distill", "--teacher-model", shipped, "--student-architecture", share]
            words += ["--time-budget", options.time_budget, "--allow-slower", "true"]
            report, seconds, error = _command(words)
            rows.append([shipped, share, *_outcome(report, error), seconds])
            print(*rows[-1], file=sys.stderr, flush=True)
    text = (
        f"`optimize distill --student-architecture half|quarter --time-budget {options.time_budget}` on the standard "
        "suite. Mark: half the cost at least 1.8 times as fast at 0.97 of the metric."
    )
    return text + "\n\n" + table(["teacher", "student", "kept", "at least", "times as fast", "seconds"], rows)


def versions_part(_: argparse.Namespace) -> str:
    rows = []
    with temporary_folder() as home:
        wasm = {}
        for precision, threshold in (("int8", "0.99"), ("int4", "0.97")):
            words = ["quantize", "--model", "coordination-v3", "--precision", precision, "--output-format", "native"]
            report, _, error = _command([*words, "--accuracy-threshold", threshold], home)
            if error:
                rows.append([precision, error, *[None] * 7])
            else:
                wasm[report["model"]] = report["latency"]["wasm"]
        answer, _, error = _command(["compare", "--model", "coordination-v3"], home)
        for row in answer.get("versions", []):
            lap = wasm.get(row["model"])
            hosted = [lap["after_ms"], lap["speedup"]] if isinstance(lap, dict) else [None, None]
            cells = [row["precision"], row["bytes"] / 1e3, row["value"], row["kept"], row["milliseconds"]]
            rows.append([row["model"], *cells, row["speedup"], *hosted, "yes" if row["pareto"] else "no"])
            print(*rows[-1], file=sys.stderr, flush=True)
    text = (
        "`optimize quantize` at 8 and at 4 bits with thresholds of 0.99 and 0.97, then `optimize compare --model "
        "coordination-v3`: the Pareto front of accuracy against latency. WebAssembly as the cards have it, beside the "
        "parent on the same host."
    )
    columns = ["version", "precision", "kB", answer.get("measure", "metric"), "kept", "ms", "times as fast"]
    return text + "\n\n" + table([*columns, "WebAssembly, ms", "times as fast", "on the front"], rows)


def _command(words: list[str], workspace: Path | None = None) -> tuple[dict[str, Any], float, str]:
    """A command of ``optimize``, by default in a workspace of its own; its report, seconds of processor time, and its
    last line if it failed."""
    with temporary_folder() as scratch:
        home = workspace or scratch
        environment = {**os.environ, "CLAUDE_FLOW_HOME": str(home), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "claude_flow", "neural", "optimize", *words, "--format", "json"]
        begin = os.times()
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        spent = os.times()
        seconds = spent.children_user + spent.children_system - begin.children_user - begin.children_system
    last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
    return json.loads(done.stdout) if done.stdout else {}, seconds, last if done.returncode else ""


def _outcome(report: dict[str, Any], error: str) -> list[Any]:
    """Kept, its lower end, and how many times as fast; what was refused says so."""
    if not report:
        return [error, None, None]
    evidence = report["evidence"]
    guarded = next(c for c in evidence["comparisons"] if c["measure"] == evidence["measure"])
    speed = report.get("latency", {}).get("native", {}).get("speedup")
    kept = _number(guarded["ratio"]) + (" (refused)" if error else "")
    return [kept, _number(guarded["low"]), speed]


PARTS: dict[str, tuple[str, Callable[[argparse.Namespace], str]]] = {
    "calibration": ("Static ranges at every length", calibration_part),
    "accuracy": ("Accuracy beside ONNX Runtime, NNCF and torchao", accuracy_part),
    "four-bits": ("4-bit weights beside 8-bit ones", four_bits_part),
    "quantize": ("Time to quantize", quantize_part),
    "versions": ("All versions of coordination-v3", versions_part),
    "prune": ("Pruning", prune_part),
    "distill": ("Distilling", distill_part),
}


def write(part: str, body: str) -> None:
    """Put a section between its markers on the page."""
    page = PAGE.read_text("utf-8")
    title = PARTS[part][0]
    command = f"`python -m bench.compression {part}`"
    section = f"<!-- {part}: -->\n\n### {title}\n\n{command}. {body}\n\n<!-- :{part} -->"
    pattern = re.compile(rf"<!-- {part}: -->.*?<!-- :{part} -->", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"{PAGE}: no markers of {part}")
    PAGE.write_text(pattern.sub(lambda _: section, page), "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compression", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=2.0, help="of each race")
    parser.add_argument("--time-budget", default="5m", help="of each training")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}: choose from {', '.join(PARTS)}")
    torch.set_num_threads(1)
    for part in options.parts or [part for part in PARTS if part not in ("prune", "distill")]:
        write(part, PARTS[part][1](options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
