"""One instance of a module and its memory: calls that turn traps into errors, allocation, views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from claude_flow.errors import ClaudeFlowError, require
from claude_flow.wasm.modules import compiled

if TYPE_CHECKING:
    import wasmtime

__all__ = ["Instance"]


class Instance:
    """A fresh instance of the module of ``isa``, or of a ``module`` of another origin with its engine. Not safe to use
    from two threads at once."""

    def __init__(self, isa: str, module: tuple[wasmtime.Engine, wasmtime.Module] | None = None) -> None:
        engine, code = module or compiled(isa)
        self._wasmtime = host = require("wasmtime", "wasm")
        self._store = host.Store(engine)
        try:
            exports = host.Instance(self._store, code, []).exports(self._store)
        except host.WasmtimeError as error:
            reason = str(error).splitlines()[0]
            raise ClaudeFlowError(f"{isa}.wasm is another module than this package's ({reason})") from None
        self._functions: dict[str, Any] = {e.name: exports[e.name] for e in code.exports}
        self.call("_initialize")

    def call(self, name: str, *arguments: int) -> int:
        """Call an export; a trap is a :class:`ClaudeFlowError`. A function without a result gives 0."""
        if name not in self._functions:
            raise ClaudeFlowError(f"the WebAssembly module exports no {name}: it is of another version; run  make wasm")
        try:
            return self._functions[name](self._store, *arguments) or 0
        except (self._wasmtime.Trap, self._wasmtime.WasmtimeError) as error:
            raise ClaudeFlowError(f"the WebAssembly engine stopped in {name}: {str(error).splitlines()[-1]}") from None

    def allocate(self, size: int) -> int:
        """The address of ``size`` new bytes; raises ``MemoryError``."""
        address = self.call("malloc", max(size, 1)) % 2**32 if size < 2**31 else 0
        if address == 0:
            raise MemoryError(f"the WebAssembly memory has no {size} bytes left")
        return address

    def view(self, address: int, count: int, dtype: DTypeLike) -> NDArray[Any]:
        """``count`` elements at ``address``, in place. wasmtime never moves a memory of 32-bit addresses, so a view
        stays valid when the memory grows, and as long as this object lives."""
        kind = np.dtype(dtype)
        buffer = self._functions["memory"].get_buffer_ptr(self._store, count * kind.itemsize, address)
        return np.frombuffer(buffer, kind)

    def place(self, array: NDArray[Any]) -> int:
        """The address of a new copy of ``array``; raises ``MemoryError``."""
        address = self.allocate(array.nbytes)
        self.view(address, array.size, array.dtype)[:] = array.reshape(-1)
        return address

    def text(self, address: int) -> str:
        """The C string at ``address``."""
        memory = self._functions["memory"]
        content: bytes = memory.read(self._store, address, address + 256)
        return content.partition(b"\0")[0].decode()

    def callback(self, function: Any) -> int:
        """A pointer by which the module can call ``function``, which takes nothing and returns a float."""
        kind = self._wasmtime.FuncType([], [self._wasmtime.ValType.f64()])
        pointer: int = self._functions["__indirect_function_table"].grow(
            self._store, 1, self._wasmtime.Func(self._store, kind, function)
        )
        return pointer

    @property
    def memory_bytes(self) -> int:
        """Size of the linear memory."""
        size: int = self._functions["memory"].data_len(self._store)
        return size
