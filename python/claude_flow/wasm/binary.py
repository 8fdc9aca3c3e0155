"""What a WebAssembly module is made of: its code section decoded, instruction by instruction."""

from __future__ import annotations

from collections import Counter

from claude_flow.errors import InputError

__all__ = ["count_instructions"]

_CODE_SECTION = 10
_SIMD, _MISC, _ATOMIC = 0xFD, 0xFC, 0xFE
_V128_CONST, _SHUFFLE = 12, 13

# Immediates of the plain opcodes: how many LEB128 integers follow.
_INTEGERS = {
    **dict.fromkeys((0x02, 0x03, 0x04), 1),  # block, loop, if: a block type
    **dict.fromkeys((0x0C, 0x0D, 0x10, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26), 1),  # branches, call, variables
    0x11: 2,  # call_indirect: type, table
    **dict.fromkeys(range(0x28, 0x3F), 2),  # loads and stores: alignment, offset
    **dict.fromkeys((0x3F, 0x40, 0x41, 0x42, 0xD0, 0xD2), 1),  # memory.size, memory.grow, i32.const, i64.const, refs
}
_BYTES = {0x43: 4, 0x44: 8}  # f32.const, f64.const
_MISC_INTEGERS = {8: 2, 9: 1, 10: 2, 11: 1, 12: 2, 13: 1, 14: 2, 15: 1, 16: 1, 17: 1}
_UNKNOWN_MISC = 18


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def integer(self) -> int:
        """An LEB128 integer; a negative one is read as some unsigned one, which nothing here looks at."""
        value = shift = 0
        while True:
            part = self.byte()
            value |= (part & 0x7F) << shift
            shift += 7
            if part < 0x80:
                return value

    def instruction(self) -> str:
        """The kind of the next instruction, behind which the reader then stands."""
        opcode = self.byte()
        if opcode == _SIMD:
            return self._simd(self.integer())
        if opcode == _MISC:
            operation = self.integer()
            if operation >= _UNKNOWN_MISC:
                raise ValueError(f"opcode 0xfc {operation}")
            self._skip(_MISC_INTEGERS.get(operation, 0))
            return "bulk memory" if operation in (10, 11) else "scalar"
        if opcode == _ATOMIC:
            self._skip(1 if self.integer() == 3 else 2)
            return "atomic"
        if opcode == 0x0E:  # br_table
            self._skip(self.integer() + 1)
        elif opcode == 0x1C:  # select with types
            self._skip(self.integer())
        elif opcode in _BYTES:
            self.at += _BYTES[opcode]
        else:
            self._skip(_INTEGERS.get(opcode, 0))
        if opcode < 0x12:
            return "control"
        return "memory" if 0x28 <= opcode < 0x3F else "scalar"

    def _simd(self, operation: int) -> str:
        if operation in (_V128_CONST, _SHUFFLE):
            self.at += 16
        elif operation <= 11 or operation in (92, 93):  # loads and stores
            self._skip(2)
        elif 84 <= operation <= 91:  # lane loads and stores: alignment, offset, lane
            self._skip(2)
            self.at += 1
        elif 21 <= operation <= 34:  # extract_lane, replace_lane
            self.at += 1
        return "relaxed SIMD" if operation >= 0x100 else "SIMD"

    def _skip(self, integers: int) -> None:
        for _ in range(integers):
            self.integer()


def count_instructions(binary: bytes) -> dict[str, int]:
    """How many instructions of each kind the functions of a module hold: SIMD, relaxed SIMD, memory (scalar loads and
    stores), scalar, control, and where present bulk memory and atomic.

    They are counted as they stand in the file, not as often as they run. Raises :class:`InputError` for bytes that are
    no module.

    >>> body = bytes([0, 0xFD, 12, *range(16), 0x1A, 0x0B])  # v128.const, drop, end
    >>> module = bytes([0, 97, 115, 109, 1, 0, 0, 0, 10, 2 + len(body), 1, len(body), *body])
    >>> count_instructions(module)
    {'SIMD': 1, 'scalar': 1, 'control': 1}
    """
    try:
        return _count(binary)
    except (IndexError, ValueError) as error:
        raise InputError(f"not a WebAssembly module that can be decoded ({error})") from None


def _count(binary: bytes) -> dict[str, int]:
    if binary[:8] != b"\0asm\1\0\0\0":
        raise ValueError("it does not begin like one")
    kinds: Counter[str] = Counter()
    reader = _Reader(binary)
    reader.at = 8
    while reader.at < len(binary):
        section, size = reader.byte(), reader.integer()
        end = reader.at + size
        if section == _CODE_SECTION:
            for _ in range(reader.integer()):
                function_end = reader.integer() + reader.at
                for _ in range(reader.integer()):  # runs of locals: count, type
                    reader.integer()
                    reader.byte()
                while reader.at < function_end:
                    kinds[reader.instruction()] += 1
                if reader.at != function_end:
                    raise ValueError(f"an instruction reaches beyond its function at byte {function_end}")
        reader.at = end
    return dict(kinds)
