"""Compile the engine and its C and C++ tests for macOS and Windows on Linux, by zig: what `make portable` runs.

    python .ci/portable.py [TARGET ...] [--isa WORD ...]

Those for Windows run under Wine where it is installed; what is only compiled is recorded so. The record goes to
build/records/portable.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "portable"
RECORD = ROOT / "build" / "records" / "portable.json"
# zig's target: CMake's words for the system and the processor
TARGETS = {
    "x86_64-windows-gnu": ("Windows", "AMD64"),
    "aarch64-macos": ("Darwin", "arm64"),
    "x86_64-macos": ("Darwin", "x86_64"),
}
PROGRAMS = ["engine", "test_abi", "test_isa", "test_model", "test_kernels"]
WINE = shutil.which("wine64") or shutil.which("wine") or shutil.which("wine64", path="/usr/lib/wine")


def tool(name: str, zig: str) -> Path:
    """A program that is one of zig's subcommands, for CMake, which takes a path and nothing more."""
    program = WORK / name
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{zig}" {name} "$@"\n', "utf-8")
    program.chmod(0o755)
    return program


def compile_for(target: str, isas: list[str]) -> str:
    """Why it could not be built, or ""."""
    system, processor = TARGETS[target]
    zig, tools = f"{Path(sys.executable).parent}/python-zig", Path(sys.executable).parent
    environment = {
        "ZIG_GLOBAL_CACHE_DIR": str(ROOT / "build" / "zig"),
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "CC": f"{zig} cc -target {target} -O2",
        "CXX": f"{zig} c++ -target {target} -O2",
    }
    settings = {
        "CMAKE_SYSTEM_NAME": system,
        "CMAKE_SYSTEM_PROCESSOR": processor,
        "CMAKE_BUILD_TYPE": "Release",
        "CLAUDE_FLOW_PYTHON": "OFF",
        "CLAUDE_FLOW_TESTS": "ON",
        "CLAUDE_FLOW_WERROR": "ON",
        "CLAUDE_FLOW_ISAS": ";".join(isas),
        "CMAKE_INSTALL_NAME_TOOL": shutil.which("true") or "",
        # The system's ar writes archives that zig's linker of Mach-O cannot read.
        "CMAKE_AR": str(tool("ar", zig)),
        "CMAKE_RANLIB": str(tool("ranlib", zig)),
    }
    folder = WORK / target
    configure = ["cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", *(f"-D{k}={v}" for k, v in settings.items())]
    for command in (configure, ["cmake", "--build", folder, "--target", *PROGRAMS]):
        done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True)
        if done.returncode:
            return (done.stdout + done.stderr)[-4000:]
    return ""


def run_under_wine(folder: Path) -> dict[str, str]:
    """Each test's last line."""
    prefix = {"WINEPREFIX": str(WORK / "wine"), "WINEDEBUG": "-all", "DISPLAY": ""}
    said = {}
    words = subprocess.run([WINE, folder / "test_isa.exe"], env=os.environ | prefix, capture_output=True, text=True)
    cases = [["test_abi.exe"], ["test_model.exe"], ["test_kernels.exe", "scalar"], ["test_kernels.exe", "avx2"]]
    said["test_isa.exe"] = f"exit {words.returncode}"
    for case in cases:
        done = subprocess.run([WINE, *case], cwd=folder, env=os.environ | prefix, capture_output=True, text=True)
        said[" ".join(case)] = f"exit {done.returncode}"
        if done.returncode not in (0, 77):
            print(done.stdout[-2000:], done.stderr[-2000:])
    return said


def main() -> None:
    parser = argparse.ArgumentParser(prog="python .ci/portable.py")
    parser.add_argument("target", nargs="*", default=list(TARGETS), help=f"of {' '.join(TARGETS)}")
    parser.add_argument("--isa", nargs="+", default=[], metavar="WORD", help="these beside scalar (default: all)")
    options = parser.parse_args()
    records = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}
    failed = False
    for target in options.target:
        problem = compile_for(target, options.isa)
        print(f"portable: {target}: {problem or 'compiled'}", flush=True)
        records[target] = {"compiled": not problem, "isas": options.isa or "all"}
        failed |= bool(problem)
        if "windows" in target and not problem:
            if WINE is None:
                print("portable: skipped: no wine64 (Debian package wine64): the Windows tests are compiled, not run")
                records[target]["ran"] = "skipped: no wine64"
            else:
                records[target]["ran"] = said = run_under_wine(WORK / target / "tests" / "cpp")
                print(f"portable: {target}: {said}", flush=True)
                failed |= not set(said.values()) <= {"exit 0", "exit 77"}
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps(records, indent=1) + "\n", "utf-8")
    sys.exit(failed)


if __name__ == "__main__":
    main()
