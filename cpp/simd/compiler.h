// The two compiler hints that the vector code needs.
#pragma once

#define CF_INLINE inline __attribute__((always_inline))

// Before a loop with constant bounds whose arrays must live in registers.
#if defined(__clang__)
#define CF_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CF_UNROLL _Pragma("GCC unroll 32")
#endif

// Behind a lambda's parameters.
#define CF_LAMBDA __attribute__((always_inline))
