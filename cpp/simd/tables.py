"""Fits the tables of simd/tables-inl.h and prints that file: python cpp/simd/tables.py >cpp/simd/tables-inl.h"""

from itertools import pairwise

import numpy as np

ENTRIES = 32
MANTISSA = 3  # tanh: an interval is where |x| + OFFSET has the same exponent and so many leading bits of the mantissa
OFFSET = 0.625  # it starts an interval, and 32 of them reach to 9.375
LAST = 9.2  # tanh is 1 from 9.02 on
DEGREE = 4

HEAD = """// Tables for simd/math-inl.h, fitted by simd/tables.py.
#pragma once

namespace claude_flow {
namespace {

// clang-format off
"""
FOOT = """// clang-format on

}  // namespace
}  // namespace claude_flow"""


def minimax(f, weight, x, powers):
    """Coefficients of x**powers for the least maximum of |weight (polynomial - f)| over x, by Lawson's iteration."""
    basis = x[:, None] ** np.array(powers)
    w = np.ones_like(x)
    for _ in range(60):
        root = weight * np.sqrt(w)
        c = np.linalg.lstsq(basis * root[:, None], f * root, rcond=None)[0]
        w *= np.abs(weight * (basis @ c - f))
        w /= w.sum()
    return c


def rounded(f, weight, x, powers):
    """`minimax` in floats: they are rounded in turn, the lowest power first, and those above make up for it."""
    c = []
    while powers:
        c.append(float(np.float32(minimax(f, weight, x, powers)[0])))
        f, powers = f - c[-1] * x ** powers[0], powers[1:]
    return c


def nodes(low, high):
    """Chebyshev nodes from low to high."""
    return (low + high) / 2 + (high - low) / 2 * np.cos(np.linspace(np.pi, 0, 2001))


def tanh_table():
    """[entry, power]: coefficients in |x| - start for the interval whose number is entry modulo 32."""
    table = np.zeros((ENTRIES, DEGREE + 1))
    first = int(np.float32(OFFSET).view(np.int32)) >> (23 - MANTISSA)
    numbers = np.arange(first, first + ENTRIES + 1, dtype=np.int32)
    starts = (numbers << (23 - MANTISSA)).view(np.float32).astype(float) - OFFSET
    for number, (start, end) in zip(numbers, pairwise(starts), strict=False):
        a = nodes(max(start, 1e-9), min(end, LAST))
        d = a - start
        # The first: d + ..., relatively as exact as the others.
        low = [0.0, 1.0] if start == 0 else []
        rest = np.tanh(a) - sum(c * d**i for i, c in enumerate(low))
        weight = np.where(a < 9.1, 1, 8) / np.tanh(a)  # at LAST the sum must round to 1
        table[number % ENTRIES] = low + rounded(rest, weight, d, [*range(len(low), DEGREE + 1)])
    return table


def braces(row):
    values = [v if set(v) & set(".e") else v + ".0" for v in (f"{v:.9g}" for v in np.float32(row))]
    lines = [", ".join(v + "f" for v in values[i : i + 8]) for i in range(0, len(values), 8)]
    return "{" + ",\n     ".join(lines) + "}"


if __name__ == "__main__":
    print(HEAD)
    roots = 2 ** (np.arange(ENTRIES) / ENTRIES)
    print("// 2^(i/32), and what its rounding lost.")
    print(f"alignas(64) constexpr float kRoots[{ENTRIES}] =\n    {braces(roots)};")
    print(f"alignas(64) constexpr float kRootsLost[{ENTRIES}] =\n    {braces(roots - np.float32(roots))};\n")
    print("// 2^(i/8).")
    print(f"alignas(32) constexpr float kEighthRoots[8] =\n    {braces(roots[:: ENTRIES // 8])};\n")
    print("// Of tanh: coefficients of the powers 0, 1, ..., for each interval.")
    rows = ",\n    ".join(braces(row) for row in tanh_table().T)
    print(f"alignas(64) constexpr float kTanh[{DEGREE + 1}][{ENTRIES}] = {{\n    {rows}}};\n")
    print(FOOT)
