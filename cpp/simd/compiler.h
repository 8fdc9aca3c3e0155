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

// The floats as an array. WebAssembly reads it, since V8 makes a vector of a constant in the code by three instructions,
// and of one in memory by one: GELU takes 40 % less. `volatile` keeps compilers from putting the constant back.
#if defined(__wasm__)
#define CF_FLOAT const volatile float
#else
#define CF_FLOAT const float
#endif
#define CF_FLOATS(...)                   \
  ([]() CF_LAMBDA -> auto& {             \
    static CF_FLOAT c[] = {__VA_ARGS__}; \
    return c;                            \
  }())
#define CF_SPLAT(x) splat(CF_FLOATS(x)[0])
