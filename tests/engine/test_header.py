"""The public header of the engine, under the compilers of this machine as C and as C++ of every age, and as MSVC's."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADER = ROOT / "cpp" / "include" / "claude_flow.h"
STRICT = ["-pedantic", "-Wall", "-Wextra", "-Werror"]
# clang as MSVC reads it: its rules of the language, its macros and its target. No Windows SDK is at hand, so the
# freestanding headers give size_t and int32_t.
MSVC = ["--target=x86_64-pc-windows-msvc", "-fms-compatibility", "-fms-extensions", "-ffreestanding", "-nostdlibinc"]
CALL = '#include "claude_flow.h"\nconst char *name(void) { return cf_available(); }\n'


def compiler(name: str) -> str:
    """Its path; clang also under the name that the WebAssembly toolchain installs it by, so that CI has it."""
    path = shutil.which(name) or (shutil.which("clang-19") if name == "clang" else None)
    if path is None:
        pytest.skip(f"this machine has no {name}")
    return path


def compile_text(command: list[str], language: str, text: str) -> str:
    """What the compiler writes to standard output."""
    whole = [*command, "-x", language, "-I", str(HEADER.parent), "-o", "-", "-"]
    done = subprocess.run(whole, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("language", "standard"),
    [("c", s) for s in ("c99", "c11", "c17")] + [("c++", f"c++{s}") for s in ("98", "11", "17", "20")],
)
@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_every_standard(name: str, language: str, standard: str) -> None:
    compile_text([compiler(name), f"-std={standard}", *STRICT, "-fsyntax-only"], language, CALL)


@pytest.mark.parametrize(("language", "standard"), [("c", "c11"), ("c++", "c++14"), ("c++", "c++20")])
def test_as_msvc_reads_it(language: str, standard: str) -> None:
    compile_text([compiler("clang"), *MSVC, f"-std={standard}", *STRICT, "-fsyntax-only"], language, CALL)


def test_windows_linkage() -> None:
    """A DLL exports what it defines; its users import; a static library does neither."""
    command = [compiler("clang"), *MSVC, "-S", "-emit-llvm"]
    define = '#include "claude_flow.h"\nconst char *cf_available(void) { return 0; }\n'
    shared = ["-DCLAUDE_FLOW_SHARED"]
    assert "dllexport" in compile_text([*command, *shared, "-DCLAUDE_FLOW_BUILD"], "c", define)
    assert re.search(r"declare dllimport .*@cf_available", compile_text([*command, *shared], "c", CALL))
    assert "dll" not in compile_text(command, "c", CALL).replace("windows", "")


def test_every_function_is_exported() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text("utf-8"), flags=re.DOTALL)
    functions = re.findall(r"^(.*?)\b(cf_\w+)\(", text, flags=re.MULTILINE)
    assert len(functions) > 10
    assert all(start.startswith("CF_API ") for start, _ in functions), functions


def test_the_wasm_modules_export_functions_of_the_header() -> None:
    declared = set(re.findall(r"\b(cf_\w+)\(", HEADER.read_text("utf-8")))
    exported = {name.removeprefix("_") for name in (ROOT / "emscripten" / "exports").read_text("utf-8").split()}
    assert exported - {"malloc", "free"} <= declared
