"""Which platforms are tested how: writes docs/platforms.md from bench/platforms.json and bench/arm.json.

    python -m bench.platforms [--collect]

``--collect`` first takes into bench/platforms.json what runs have left in build/records (of `make test`, `make arm`,
`make wheels`, `make portable`) and which wheels are in dist/. `make platforms` does so.
"""

from __future__ import annotations

import json
import lzma
import re
import sys
import xml.etree.ElementTree as xml
import zipfile
import zlib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench import arm
from claude_flow import modelfile
from claude_flow.modelfile.quantize import quantize

ROOT = Path(__file__).resolve().parents[1]
RECORDS, DIST = ROOT / "build" / "records", ROOT / "dist"
MODELS = ROOT / "python" / "claude_flow" / "models"
KEPT = Path(__file__).with_suffix(".json")
PAGE = ROOT / "docs" / "platforms.md"
SYSTEMS = {"macos": "macOS", "windows": "Windows"}
# A JUnit file's name: the platform, how that ran, what it holds, and by which target.
TESTS = {
    "x86_64": ("Linux, x86-64", "natively", "C and C++ tests", "make cpp-test"),
    "aarch64": ("Linux, aarch64", "emulated", "C and C++ tests", "make arm ALL=1"),
    "aarch64-short": ("Linux, aarch64", "emulated", "C and C++ tests", "make arm"),
    "wheels": ("Linux, x86-64", "natively", "tests of the wheels in clean environments", "make wheels"),
}

TEMPLATE = """<!-- Written by `python -m bench.platforms`. -->
# Platforms

Where the engine runs, and how that is known. *Natively* is a run on such a machine, *emulated* the same program under
an emulator (qemu, Wine), *compiled* no run at all.

| platform | how | what | command | date |
|---|---|---|---|---|
{rows}

`make test` runs `cpp-test`, `arm`, and the emulated Python with the engine of `make arm`. The workflows in `.github/`
build and try wheels and run the bench on GitHub's machines ({runners}).
No result of theirs is in this table, and the wheels for Windows have not been made anywhere yet.

## Instruction sets of ARM

`neon` is every 64-bit ARM; `neondot` those with the dot product of bytes (ARMv8.2: Graviton2, Ampere Altra, Apple M1
and later); `neoni8mm` those that multiply matrices of bytes, too (Graviton3, Apple M2). The engine asks Linux
(`AT_HWCAP`, `AT_HWCAP2`), macOS (`hw.optional.arm.FEAT_DotProd`, `FEAT_I8MM`) or Windows which it may use.
`CLAUDE_FLOW_ISA=neondot` on another CPU is an error of one line. A model with 8-bit weights gives the same bits as on
x86 and as WebAssembly: `tests/cpp/test_model.cpp` holds the sum of a whole network's bits, taken on x86, and
`make emulated` compares every shipped model.

## Wheels

`make wheels` builds them on one Linux machine, against glibc 2.17 (manylinux2014), by zig. auditwheel says what they
need. Those for this machine are installed in a clean environment each and tried; of those for aarch64 the one for
Debian's Python is, under an emulator. The others differ in Python's interface alone.

| wheel | size | models in it | the rest |
|---|--:|--:|--:|
{wheels}

The mark was 3 MB for aarch64. {mark}

## Speed on ARM: models, not measurements

**No ARM CPU ran this.** LLVM's scheduling models say how many cycles the inner loop of a product takes if every load
hits the nearest cache; the peak is the same model's for multiplications alone. LLVM's model of Apple's M1 is that of an
older core with three vector units; the M1 has four.

| kernel | isa | CPU's model | multiplications in the loop | per cycle | peak | share |
|---|---|---|--:|--:|--:|--:|
{models}

Products of matrices of bytes (`usmmla`) are what `neoni8mm` has over `neondot`, for 8-bit products of four rows and
more. By the same models, bytes multiplied in a cycle by the dot products of `neondot`, and by a loop of such products
over 6 rows and 16 columns: with weights as they are packed, which is the kernel's, and packed for them, which would be
a layout of its own:

| CPU's model | dot products | matrices, weights as they are packed | matrices, weights packed for them |
|---|--:|--:|--:|
{matrices}

Instructions of a product of 12 × 64 by 64 × 32, counted by the emulator, beside a plain C loop of the same compiler
(GCC, -O3; it may not reorder sums of floats, but of integers). Fewer instructions are no measure of time.

| product | isa | instructions | of the plain loop |
|---|---|--:|--:|
{counts}

`python -m bench.arm` takes all from the objects of `make arm`, and needs Debian's packages llvm-19 and qemu-user.
`.github/workflows/bench.yml` runs the real bench on machines that are ARM.
"""


MISSED = """It is missed: the models, in half precision, alone are more. Each of the six is one that the guide's
commands name or take where none is named; none is there twice, and none has weights that no command
reads. Without loss, their bytes sorted and compressed by LZMA instead of a wheel's deflate, a wheel
would have {apart}, and models would have to be unpacked before they can be mapped. In 8 bits, which
changes answers, it would have {eight}: it is the number of models that is beyond the mark."""


def collect() -> dict[str, Any]:
    """What is recorded, over what was."""
    kept: dict[str, Any] = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    for path in sorted(RECORDS.iterdir()):
        if path.suffix == ".xml":
            ends: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
            for case in xml.parse(path).getroot().iter("testcase"):
                ends[_end(case)].append(case.get("name", ""))
            kept[path.stem] = ends
        else:
            kept[path.stem] = json.loads(path.read_text("utf-8"))
        kept[path.stem]["date"] = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).date().isoformat()
    if wheels := sorted(DIST.glob("*.whl")):
        kept["sizes"] = {path.name: sizes(path) for path in wheels}
        kept["models"] = smaller()
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    return kept


def sizes(wheel: Path) -> list[int]:
    """Bytes of a wheel, and how many of them are models."""
    with zipfile.ZipFile(wheel) as archive:
        models = [about.compress_size for about in archive.infolist() if about.filename.endswith(".safetensors")]
    return [wheel.stat().st_size, sum(models)]


def smaller() -> dict[str, int]:
    """Bytes that the shipped models would take in a wheel: without loss, the halves' upper bytes before the lower ones
    and by a slower compressor, and in 8 bits."""
    apart = eight = 0
    for path in sorted(MODELS.glob("*.safetensors")):
        content = path.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        apart += len(lzma.compress(content[:start] + content[start::2] + content[start + 1 :: 2], preset=9))
        eight += len(zlib.compress(modelfile.encoded(quantize(modelfile.read(path))), 9))
    return {"apart": apart, "eight": eight}


def _end(case: xml.Element) -> str:
    """CTest's and pytest's word for how a test ended."""
    if case.find("skipped") is not None:
        return "skipped"
    return "failed" if case.find("failure") is not None or case.find("error") is not None else "passed"


def runners() -> list[str]:
    """The machines of GitHub that the workflows name."""
    text = "".join(path.read_text("utf-8") for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")))
    return sorted({name for line in re.findall(r"os: \[(.*)\]", text) for name in line.split(", ")})


def _tests(kept: dict[str, Any]) -> list[str]:
    rows = []
    for name, (platform, how, what, command) in TESTS.items():
        if name not in kept or (name == "aarch64-short" and "aarch64" in kept):
            continue
        ends = kept[name]
        counts = ", ".join(f"{len(ends[end])} {end}" for end in ("passed", "failed", "skipped") if ends[end])
        rows.append(f"| {platform} | {how} | {what}: {counts} | `{command}` | {ends['date']} |")
    for name, command in (("emulated", "make wheels"), ("emulated-short", "make test")):
        if run := kept.get(name):
            count = len(run["checks"])
            done = f"a wheel in Python {run['python']}: {count} checks, of the demo and of every shipped model"
            rows.append(f"| Linux, aarch64 | emulated | {done} | `{command}` | {run['date']} |")
    return rows


def _portable(kept: dict[str, Any]) -> list[str]:
    rows = []
    for target, record in kept.get("portable", {}).items():
        if target == "date":
            continue
        processor, system = target.split("-")[:2]
        name = f"{SYSTEMS[system]}, {processor.replace('_', '-')}"
        isas = "" if record["isas"] == "all" else f" (scalar and {', '.join(record['isas'])})"
        state = "compiled" if record["compiled"] else "NOT COMPILED"
        row = f"engine, C and C++ tests{isas}"
        date = kept["portable"]["date"]
        rows.append(f"| {name} | {state} | {row} | `make portable` | {date} |")
        if isinstance(ran := record.get("ran"), dict):
            told = ", ".join(f"{test}: {end}" for test, end in ran.items())
            rows.append(f"| {name} | emulated | C and C++ tests under Wine: {told} | `make portable` | {date} |")
        elif ran:
            rows.append(f"| {name} | {ran} | C and C++ tests under Wine | `make portable` | {date} |")
    return rows


def page(kept: dict[str, Any], modelled: dict[str, Any]) -> str:
    """docs/platforms.md."""
    found = kept.get("sizes", {})
    wheels = [
        f"| `{name}` | {size / 1e6:.2f} MB | {models / 1e6:.2f} MB | {(size - models) / 1e6:.2f} MB |"
        for name, (size, models) in sorted(found.items())
    ]
    most, models = max((sizes for name, sizes in found.items() if "aarch64" in name), default=(0, 0))
    mark = "It is reached."
    if most > 3_000_000:
        mark = "It is missed: the models, in half precision, alone are more."
        if forms := kept.get("models"):
            whole = {name: f"{(most - models + size) / 1e6:.2f} MB" for name, size in forms.items()}
            mark = MISSED.format(**whole)
    return TEMPLATE.format(
        rows="\n".join([*_tests(kept), *_portable(kept)]),
        runners=", ".join(runners()),
        wheels="\n".join(wheels),
        mark=mark,
        models="\n".join(arm.model_rows(modelled)),
        matrices="\n".join(arm.matrix_rows(modelled)),
        counts="\n".join(arm.count_rows(modelled)),
    )


def main() -> None:
    """Write the page."""
    kept = collect() if sys.argv[1:] == ["--collect"] else json.loads(KEPT.read_text("utf-8"))
    PAGE.write_text(page(kept, json.loads(arm.RECORD.read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    main()
