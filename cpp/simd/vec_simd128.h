// simd/vec.h for WebAssembly SIMD: 4 lanes. With relaxed SIMD `fused` and `select` are single instructions of
// the host's own choosing; without it `fused` is a product and a sum.
#pragma once

#include <wasm_simd128.h>

#include <cstdint>
#include <cstring>

#include "simd/compiler.h"

namespace claude_flow {
namespace {

constexpr int kLanes = 4;
#ifdef __wasm_relaxed_simd__
constexpr bool kHasFma = true;
#else
constexpr bool kHasFma = false;
#endif
constexpr int kLookup = 0;

struct F {
  v128_t v;
};
struct I {
  v128_t v;
};
struct M {
  v128_t v;
};

// All ones in the first n lanes: a window into four ones and four zeros.
CF_INLINE v128_t first_lanes(int n) {
  alignas(16) static const int32_t window[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
  return wasm_v128_load(window + 4 - n);
}

CF_INLINE F load(const float* p) { return {wasm_v128_load(p)}; }
// The tails are calls: inlined into every tile they made a third of the module, and they are seldom run.
__attribute__((noinline)) F load(const float* p, int n) {
  v128_t x = wasm_f32x4_const_splat(0.0f);
  if (n & 2) x = wasm_v128_load64_zero(p);
  if (n == 1) x = wasm_v128_load32_zero(p);
  if (n == 3) x = wasm_v128_load32_lane(p + 2, x, 2);
  return {x};
}
CF_INLINE void store(float* p, F x) { wasm_v128_store(p, x.v); }
__attribute__((noinline)) void store(float* p, F x, int n) {
  if (n & 2) wasm_v128_store64_lane(p, x.v, 0);
  if (n == 1) wasm_v128_store32_lane(p, x.v, 0);
  if (n == 3) wasm_v128_store32_lane(p + 2, x.v, 2);
}
CF_INLINE F keep(F x, int n) { return {wasm_v128_and(x.v, first_lanes(n))}; }
CF_INLINE F splat(float x) { return {wasm_f32x4_splat(x)}; }
CF_INLINE I splat(int32_t x) { return {wasm_i32x4_splat(x)}; }
CF_INLINE F operator+(F a, F b) { return {wasm_f32x4_add(a.v, b.v)}; }
CF_INLINE F operator-(F a, F b) { return {wasm_f32x4_sub(a.v, b.v)}; }
CF_INLINE F operator*(F a, F b) { return {wasm_f32x4_mul(a.v, b.v)}; }
CF_INLINE F operator/(F a, F b) { return {wasm_f32x4_div(a.v, b.v)}; }
#ifdef __wasm_relaxed_simd__
// wasmtime overwrites the first factor: the second one here, a weight, which a tile needs less often. 35 GFLOP/s
// instead of 32.
CF_INLINE F fused(F a, F b, F c) { return {wasm_f32x4_relaxed_madd(b.v, a.v, c.v)}; }
#else
CF_INLINE F fused(F a, F b, F c) { return a * b + c; }
#endif
// pmin(a, b) is b < a ? b : a, and pmax alike: the operands change places so that a NaN in `a` yields b.
CF_INLINE F min(F a, F b) { return {wasm_f32x4_pmin(b.v, a.v)}; }
CF_INLINE F max(F a, F b) { return {wasm_f32x4_pmax(b.v, a.v)}; }
CF_INLINE F abs(F a) { return {wasm_f32x4_abs(a.v)}; }
CF_INLINE F with_sign(F a, F s) { return {wasm_v128_bitselect(s.v, a.v, wasm_i32x4_const_splat(INT32_MIN))}; }
CF_INLINE M less(F a, F b) { return {wasm_f32x4_lt(a.v, b.v)}; }
CF_INLINE F select(M m, F yes, F no) { return {wasm_v128_bitselect(yes.v, no.v, m.v)}; }
// 1.5 * 2^23 pushes the fraction out of the significand and leaves the integer in its low bits: two cheap
// instructions where trunc_sat(nearest(x)) becomes a dozen on x86. Callers stay within +-2^22, and a NaN
// gives some integer.
CF_INLINE I to_nearest(F a) {
  const F magic = CF_SPLAT(12582912.0f);
  return {wasm_i32x4_sub((a + magic).v, magic.v)};
}
CF_INLINE F to_float(I a) { return {wasm_f32x4_convert_i32x4(a.v)}; }
CF_INLINE I operator+(I a, I b) { return {wasm_i32x4_add(a.v, b.v)}; }
CF_INLINE I operator-(I a, I b) { return {wasm_i32x4_sub(a.v, b.v)}; }
CF_INLINE F power_of_two(F t) { return {wasm_i32x4_shl(t.v, 23)}; }
CF_INLINE I operator*(I a, I b) { return {wasm_i32x4_mul(a.v, b.v)}; }
CF_INLINE I load(const int32_t* p) { return {wasm_v128_load(p)}; }
CF_INLINE I load_bytes(const int8_t* p) { return {wasm_v128_load(p)}; }
CF_INLINE I splat_bytes(const uint8_t* p) { return {wasm_v128_load32_splat(p)}; }
CF_INLINE I dot(I sum, I u, I s) {
#ifdef __wasm_relaxed_simd__
  // Defined for 7-bit unsigned bytes on every host, and those are all that there are.
  return {wasm_i32x4_relaxed_dot_i8x16_i7x16_add(s.v, u.v, sum.v)};
#else
  // u's bytes are at most 127, so they are signed bytes too; a product fits 16 bits.
  const v128_t low = wasm_i32x4_extadd_pairwise_i16x8(wasm_i16x8_extmul_low_i8x16(u.v, s.v));
  const v128_t high = wasm_i32x4_extadd_pairwise_i16x8(wasm_i16x8_extmul_high_i8x16(u.v, s.v));
  const v128_t even = wasm_i32x4_shuffle(low, high, 0, 2, 4, 6),
               odd = wasm_i32x4_shuffle(low, high, 1, 3, 5, 7);
  return {wasm_i32x4_add(sum.v, wasm_i32x4_add(even, odd))};
#endif
}
#ifdef __wasm_relaxed_simd__
#define CLAUDE_FLOW_WITH_DOT
// Where the host has an instruction for `dot` (AVX-VNNI, ARM), that is best. Elsewhere V8 emits pmaddubsw, pmaddwd, paddd
// and two that make pmaddwd's factor 1: the first three with that factor in a register give 112 Gop/s instead of 84 on
// Zen 4. pmaddubsw shows outside of the range that all hosts share: it alone saturates at 16 bits. The 1 is volatile,
// since compilers would put a constant back into the loop, and Binaryen cannot evaluate relaxed products of constants.
template <class Body>
CF_INLINE void with_dot(Body body) {
  static const volatile int16_t one = 1;
  const v128_t ones = wasm_i16x8_splat(one);
  const v128_t most = wasm_i8x16_const_splat(INT8_MAX), none = wasm_i32x4_const_splat(0);
  const v128_t product = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(most, wasm_i16x8_neg(ones), none);
  if (wasm_i32x4_extract_lane(product, 0) == 2 * INT16_MAX) {
    body([ones](I sum, I u, I s) CF_LAMBDA -> I {
      const v128_t pairs = wasm_i16x8_relaxed_dot_i8x16_i7x16(s.v, u.v);
      return {wasm_i32x4_add(sum.v, wasm_i32x4_dot_i16x8(pairs, ones))};
    });
  } else {
    body([](I sum, I u, I s) CF_LAMBDA { return dot(sum, u, s); });
  }
}
#endif
CF_INLINE void store_groups(int8_t* p, I a, I b, I c, I d) {
  const v128_t low = wasm_i32x4_const_splat(0xFF);
  const v128_t ab = wasm_v128_or(wasm_v128_and(a.v, low), wasm_i32x4_shl(wasm_v128_and(b.v, low), 8));
  const v128_t cd = wasm_v128_or(wasm_v128_and(c.v, low), wasm_i32x4_shl(d.v, 8));
  wasm_v128_store(p, wasm_v128_or(ab, wasm_i32x4_shl(cd, 16)));
}
CF_INLINE void store_bytes(uint8_t* p, I x, int n) {
  const v128_t words = wasm_i16x8_narrow_i32x4(x.v, x.v);
  const int32_t bytes = wasm_i32x4_extract_lane(wasm_u8x16_narrow_i16x8(words, words), 0);
  std::memcpy(p, &bytes, static_cast<size_t>(n));
}
CF_INLINE void store_bytes(uint8_t* p, I x) { store_bytes(p, x, 4); }

CF_INLINE float reduce_add(F a) {
  const v128_t x = wasm_f32x4_add(a.v, wasm_i64x2_shuffle(a.v, a.v, 1, 0));
  return wasm_f32x4_extract_lane(x, 0) + wasm_f32x4_extract_lane(x, 1);
}
CF_INLINE float reduce_max(F a) {
  const v128_t x = wasm_f32x4_pmax(a.v, wasm_i64x2_shuffle(a.v, a.v, 1, 0));
  return wasm_f32x4_extract_lane(wasm_f32x4_pmax(x, wasm_i32x4_shuffle(x, x, 1, 0, 3, 2)), 0);
}

}  // namespace
}  // namespace claude_flow
