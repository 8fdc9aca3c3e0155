"""How fast the ARM kernels would be, by models alone: no such CPU has run them. Writes bench/arm.json, of which
bench/platforms.py tells.

    python -m bench.arm

Two models. LLVM's scheduling models (``llvm-mca``) of three CPUs say how many cycles the inner loops take, read from
the objects of ``make arm``; their share of the peak is beside a loop of nothing but the multiplications. And an
emulator counts what instructions a whole product takes beside a plain C loop of the same compiler. Neither knows a
cache.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "aarch64"
RECORD = Path(__file__).with_suffix(".json")
CPUS = {"neoverse-n1": "Neoverse N1", "neoverse-v1": "Neoverse V1", "apple-m1": "Apple M1"}
# kernel: the object's word, the function's name in it, the instruction, and one such instruction of registers alone
LOOPS = {
    "gemm_f32": ("neon", r"TileF32<.*Products<true>\s*>::multiply<\d+, 1>", "fmla", "fmla v{}.4s, v30.4s, v31.s[0]"),
    "gemm_u7i8": ("neondot", r"TileU7I8::multiply<\d+, 1>", "sdot", "sdot v{}.4s, v30.16b, v31.4b[0]"),
}
MARKS = {"gemm_f32": 0.90, "gemm_u7i8": 0.85}  # least share of the peak
TURNS = 200
WITH_MATRICES = {"neoverse-v1": "Neoverse V1", "neoverse-n2": "Neoverse N2", "neoverse-v2": "Neoverse V2"}


def mca() -> str | None:
    """An llvm-mca that has the three models, LLVM 17's or later."""
    names = [f"llvm-mca-{version}" for version in range(25, 16, -1)]
    return next(filter(None, map(shutil.which, names)), None)


def objects_are_there() -> bool:
    """Whether `make arm` has left objects, and there is what reads them."""
    there = all(_object(word).exists() for word, *_ in LOOPS.values())
    return there and shutil.which("aarch64-linux-gnu-objdump") is not None


def _object(word: str) -> Path:
    return BUILD / "CMakeFiles" / "engine.dir" / "cpp" / "kernels" / f"isa_{word}.cpp.o"


def loops(path: Path, function: str) -> list[list[str]]:
    """The innermost loops of the functions of an object whose names match, as lines of assembly."""
    shown = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-dC", "--no-show-raw-insn", path], check=True, capture_output=True, text=True
    ).stdout
    found = []
    for text in re.split(r"\n\n(?=[0-9a-f]+ <)", shown):
        if not re.search(function, text.partition("\n")[0]):
            continue
        lines = {int(at, 16): line for at, line in re.findall(r"^ *([0-9a-f]+):\t([^\n/]*)", text, re.MULTILINE)}
        branches = {at: int(to[1], 16) for at, line in lines.items() if (to := re.search(r"\b([0-9a-f]+) <", line))}
        backward = [(to, at) for at, to in branches.items() if to <= at]
        for first, last in backward:
            if not any(first <= to and at < last for to, at in backward):
                body = [line for at, line in lines.items() if first <= at <= last]
                found.append([re.sub(r"[0-9a-f]+ <.*", "turn", line.strip()) for line in body])
    return found


def cycles(tool: str, cpu: str, lines: list[str]) -> float:
    """Of one turn of a loop, by the model of that CPU."""
    source = "turn:\n" + "\n".join(lines) + "\n"
    command = [tool, "-mtriple=aarch64", "-mattr=+dotprod,+i8mm", f"-mcpu={cpu}", f"-iterations={TURNS}"]
    shown = subprocess.run(command, input=source, check=True, capture_output=True, text=True).stdout
    return int(re.search(r"Total Cycles:\s+(\d+)", shown)[1]) / TURNS


def modelled(tool: str) -> list[dict[str, Any]]:
    rows = []
    for kernel, (word, function, name, alone) in LOOPS.items():
        count = [(sum(line.startswith(name) for line in loop), loop) for loop in loops(_object(word), function)]
        products, loop = max(count)
        for cpu in CPUS:
            peak = 24 / cycles(tool, cpu, [alone.format(i) for i in range(24)])
            rate = products / cycles(tool, cpu, loop)
            rows.append(
                {
                    "kernel": kernel,
                    "isa": word,
                    "cpu": cpu,
                    "instructions": len(loop),
                    "products": products,
                    "per_cycle": round(rate, 2),
                    "peak_per_cycle": round(peak, 2),
                    "share": round(rate / peak, 3),
                }
            )
    return rows


def matrix_loop(packed: bool) -> list[str]:
    """6 rows by 16 columns by 8 of the depth, by products of matrices of bytes. Unless weights are ``packed`` for it,
    two groups of four rows of them are brought together first, as in the kernel of `neoni8mm`."""
    lines = [word for r in range(3) for word in (f"ldr d{24 + r}, [x1, #{8 * r}]", f"ld1 {{v{24 + r}.d}}[1], [x2]")]
    for v in range(4):
        if packed:
            lines += [f"ldp q29, q30, [x3, #{32 * v}]"]
        else:
            lines += [f"ldr q27, [x3, #{16 * v}]", f"ldr q28, [x3, #{64 + 16 * v}]"]
            lines += [f"zip{half} v{28 + half}.4s, v27.4s, v28.4s" for half in (1, 2)]
        lines += [f"usmmla v{6 * v + 2 * r + h}.4s, v{24 + r}.16b, v{29 + h}.16b" for r in range(3) for h in (0, 1)]
    return [*lines, "add x1, x1, #8", "add x2, x2, #8", "add x3, x3, #128", "subs x4, x4, #1", "b.ne turn"]


def matrices(tool: str) -> list[dict[str, Any]]:
    """Bytes multiplied in a cycle: by the kernel's dot products, and by the loop above."""
    word, function, name, _ = LOOPS["gemm_u7i8"]
    products, loop = max((sum(line.startswith(name) for line in body), body) for body in loops(_object(word), function))
    return [
        {
            "cpu": cpu,
            "dot": round(16 * products / cycles(tool, cpu, loop), 1),
            "matrices": round(6 * 16 * 8 / cycles(tool, cpu, matrix_loop(False)), 1),
            "packed": round(6 * 16 * 8 / cycles(tool, cpu, matrix_loop(True)), 1),
        }
        for cpu in WITH_MATRICES
    ]


def counted() -> list[dict[str, Any]]:
    """Instructions of a product of 12 x 64 by 64 x 32, from runs of one and of three: start and end cancel out."""
    rows = []
    for kind in ("f32", "u7i8"):
        of: dict[str, int] = {}
        for word in ("plain", "scalar", "neondot"):
            with tempfile.TemporaryDirectory() as folder:
                lines = []
                for times in (1, 3):
                    log = Path(folder) / str(times)
                    emulator = [
                        "qemu-aarch64",
                        "-L",
                        "/usr/aarch64-linux-gnu",
                        "-singlestep",
                        "-d",
                        "exec,nochain",
                        "-D",
                    ]
                    program = BUILD / "tests" / "cpp" / "count_instructions"
                    subprocess.run([*emulator, log, program, word, kind, str(times)], check=True)
                    with log.open("rb") as file:
                        lines.append(sum(1 for line in file if line.startswith(b"Trace ")))
                of[word] = (lines[1] - lines[0]) // 2
        rows += [
            {"product": kind, "isa": word, "instructions": n, "of_plain": round(n / of["plain"], 3)}
            for word, n in of.items()
        ]
    return rows


def model_rows(found: dict[str, Any]) -> list[str]:
    """Of a table: what the models say."""
    return [
        f"| `{row['kernel']}` | {row['isa']} | {CPUS[row['cpu']]} | {row['products']} of {row['instructions']} | "
        f"{row['per_cycle']:.2f} | {row['peak_per_cycle']:.2f} | {100 * row['share']:.1f} % |"
        for row in found["modelled"]
    ]


def matrix_rows(found: dict[str, Any]) -> list[str]:
    """Of a table: what products of matrices would bring."""
    return [
        f"| {WITH_MATRICES[row['cpu']]} | {row['dot']:.1f} | {row['matrices']:.1f} | {row['packed']:.1f} |"
        for row in found["matrices"]
    ]


def count_rows(found: dict[str, Any]) -> list[str]:
    """Of a table: what the emulator counts."""
    return [
        f"| {row['product']} | {row['isa']} | {row['instructions']:,} | {row['of_plain']:.3f} |"
        for row in found["counted"]
    ]


def main() -> None:
    tool = mca()
    if tool is None or not objects_are_there():
        sys.exit("arm: needs llvm-mca of LLVM 17 or later (Debian package llvm-19), and  make arm  before")
    found = {"modelled": modelled(tool), "matrices": matrices(tool), "counted": counted(), "by": Path(tool).name}
    RECORD.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
