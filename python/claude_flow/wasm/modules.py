"""The .wasm files of this installation, compiled once per machine.

`emscripten/build` puts the files beside this one, and a wheel that was built after it carries them. What wasmtime makes
of a file is kept in the user's cache folder under a name that hashes the file and wasmtime's version.
"""

from __future__ import annotations

import atexit
import hashlib
import os
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.files import atomic_write

if TYPE_CHECKING:
    import wasmtime

__all__ = ["ISAS", "available", "cache_folder", "compiled", "module_path"]

#: Instruction sets that a module can be built for, worst first.
ISAS = ("simd128", "relaxed")
_FOLDER = Path(__file__).parent


def available() -> list[str]:
    """Instruction sets whose modules are installed, best last; `isa="auto"` takes the best.

    >>> set(available()) <= {"simd128", "relaxed"}
    True
    """
    return [isa for isa in ISAS if (_FOLDER / f"{isa}.wasm").is_file()]


def module_path(isa: str) -> Path:
    """The .wasm file of ``isa``, or of the best one for ``"auto"``.

    Raises :class:`InputError` for a word that names no module and :class:`ClaudeFlowError` for a file that is missing.
    """
    if isa not in ("auto", *ISAS):
        raise InputError(f"the wasm backend has no instruction set {isa!r}; it has: {' '.join(ISAS)}")
    word = ISAS[-1] if isa == "auto" else isa
    path = _FOLDER / f"{word}.wasm"
    if not path.is_file():
        raise ClaudeFlowError(
            f"{path} is missing: this package was built without Emscripten; run  make wasm  in its source tree and "
            "install it again, or use backend='native'"
        )
    return path


def cache_folder() -> Path:
    """Where compiled modules are kept: ``$XDG_CACHE_HOME/claude-flow/wasm``, by default under ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "claude-flow" / "wasm"


@lru_cache(maxsize=1)
def _engine() -> wasmtime.Engine:
    # wasmtime's own modules may be gone when the interpreter clears this one: what is cached here goes before.
    atexit.register(compiled.cache_clear)
    atexit.register(_engine.cache_clear)
    library = require("wasmtime", "wasm")
    config = library.Config()
    config.parallel_compilation = False  # its threads are not there in a forked child, which would wait for them
    engine: wasmtime.Engine = library.Engine(config)
    return engine


@lru_cache(maxsize=4)
def compiled(isa: str) -> tuple[wasmtime.Engine, wasmtime.Module]:
    """The compiled module of ``isa`` and its engine; threads may share them.

    Raises what :func:`module_path` raises, :class:`MissingExtra` without wasmtime, and :class:`ClaudeFlowError` when
    the file is not a module that this wasmtime can run.
    """
    path = module_path(isa)
    engine = _engine()
    wasmtime = require("wasmtime", "wasm")
    binary = path.read_bytes()
    release = version("wasmtime")
    key = hashlib.sha256(f"{release} ".encode() + binary).hexdigest()[:32]
    cached = cache_folder() / f"{path.stem}-{key}.cwasm"
    try:
        return engine, wasmtime.Module.deserialize_file(engine, str(cached))
    except wasmtime.WasmtimeError:
        pass  # not there yet, or written for another CPU: compile it
    try:
        module = wasmtime.Module(engine, binary)
    except wasmtime.WasmtimeError as error:
        reason = str(error).splitlines()[0]
        raise ClaudeFlowError(f"{path} cannot be compiled by wasmtime {release}: {reason}") from None
    with suppress(OSError):  # a folder that cannot be written costs the next process this compilation, nothing else
        atomic_write(cached, bytes(module.serialize()))
    return engine, module
