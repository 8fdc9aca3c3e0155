"""Each isa_<word> object holds instructions that its CPUs have, and those that it exists for.

Read from the disassembly. On x86 an instruction that begins with 62 is EVEX (AVX-512), with c4 or c5 VEX (AVX), and in
64-bit mode nothing else begins so. On ARM what came after ARMv8.0 is known by its name.
"""

import re
import subprocess
import sys

LEGACY, VEX, EVEX, DOT, MATRIX, LATER = "legacy", "VEX", "EVEX", "dot product", "matrix product", "later ARM"
# word: encodings that it may use, (mnemonic, encoding) that it must use
RULES: dict[str, tuple[set[str], list[tuple[str, str]]]] = {
    "scalar": ({LEGACY}, []),
    "sse41": ({LEGACY}, [("pmaddubsw", LEGACY)]),
    "avx2": ({LEGACY, VEX}, [("vpmaddubsw", VEX), ("vfmadd", VEX)]),
    "avxvnni": ({LEGACY, VEX}, [("vpdpbusd", VEX), ("vfmadd", VEX)]),
    "avx512": ({LEGACY, VEX, EVEX}, [("vpmaddubsw", EVEX), ("vfmadd", EVEX)]),
    "avx512vnni": ({LEGACY, VEX, EVEX}, [("vpdpbusd", EVEX), ("vfmadd", EVEX)]),
    "neon": ({LEGACY}, [("fmla", LEGACY), ("smull", LEGACY), ("sadalp", LEGACY)]),
    "neondot": ({LEGACY, DOT}, [("fmla", LEGACY), ("sdot", DOT)]),
    "neoni8mm": ({LEGACY, DOT, MATRIX}, [("fmla", LEGACY), ("sdot", DOT), ("usmmla", MATRIX)]),
}
LINE = re.compile(r"^ *[0-9a-f]+:\t((?:[0-9a-f]{2} )+|[0-9a-f]{8} ) *\t(?:\{vex\} +)?(\S+)")
ON_ARM = {
    DOT: re.compile(r"[su]dot"),
    MATRIX: re.compile(r"us?mmla|smmla"),
    LATER: re.compile(r"sqrdml[as]h|fml[as]l2?|fcmla|fcadd|bf|usdot|sudot|cas|swp|ld(add|clr|set|eor)|pac|aut"),
}


def encoding(code: str, name: str) -> str:
    """Which of the above an instruction is."""
    if len(code.strip()) == 8:
        return next((kind for kind, names in ON_ARM.items() if names.match(name)), LEGACY)
    return EVEX if code[:2] == "62" else VEX if code[:2] in ("c4", "c5") else LEGACY


def instructions(objdump: str, path: str) -> set[tuple[str, str]]:
    """(mnemonic, encoding) of what is in the object."""
    lines = subprocess.run([objdump, "-d", path], check=True, capture_output=True, text=True).stdout.splitlines()
    found = set()
    for line in lines:
        if match := LINE.match(line):
            found.add((match[2], encoding(match[1], match[2])))
    return found


def main(objdump: str, objects: list[str]) -> int:
    problems, seen = [], []
    for path in objects:
        word = re.search(r"isa_(\w+)\.cpp\.(o|obj)$", path)
        if word is None:
            continue
        seen.append(word[1])
        allowed, needed = RULES[word[1]]
        found = instructions(objdump, path)
        strays = sorted(f"{name} ({encoding})" for name, encoding in found if encoding not in allowed)
        if strays:
            problems.append(f"{path} has {', '.join(strays[:5])}")
        for start, encoding in needed:
            if not any(name.startswith(start) and kind == encoding for name, kind in found):
                problems.append(f"{path} has no {start} ({encoding})")
        if "vnni" not in word[1] and any(name.startswith("vpdp") for name, _ in found):
            problems.append(f"{path} has an instruction of VNNI")
    if "scalar" not in seen:
        problems.append("no isa_scalar.cpp object among the arguments")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"checked: {' '.join(seen)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
