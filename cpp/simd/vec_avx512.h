// simd/vec.h for AVX-512 (F, BW, DQ, VL): 16 lanes, tails by mask registers. With VNNI the byte
// products are one instruction.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "simd/compiler.h"

namespace claude_flow {
namespace {

constexpr int kLanes = 16;
constexpr bool kHasFma = true;
constexpr int kLookup = 32;

struct F {
  __m512 v;
};
struct I {
  __m512i v;
};
struct M {
  __mmask16 v;
};

CF_INLINE __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1u << n) - 1u); }

CF_INLINE F load(const float* p) { return {_mm512_loadu_ps(p)}; }
CF_INLINE F load(const float* p, int n) { return {_mm512_maskz_loadu_ps(first_lanes(n), p)}; }
CF_INLINE void store(float* p, F x) { _mm512_storeu_ps(p, x.v); }
CF_INLINE void store(float* p, F x, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), x.v); }
CF_INLINE F keep(F x, int n) { return {_mm512_maskz_mov_ps(first_lanes(n), x.v)}; }
CF_INLINE F splat(float x) { return {_mm512_set1_ps(x)}; }
CF_INLINE I splat(int32_t x) { return {_mm512_set1_epi32(x)}; }
CF_INLINE F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
CF_INLINE F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
CF_INLINE F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
CF_INLINE F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
CF_INLINE F fused(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// The maskz forms: GCC 12 warns of an uninitialised value inside the plain ones.
CF_INLINE F min(F a, F b) { return {_mm512_maskz_min_ps(0xFFFF, a.v, b.v)}; }
CF_INLINE F max(F a, F b) { return {_mm512_maskz_max_ps(0xFFFF, a.v, b.v)}; }
CF_INLINE F abs(F a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)}; }
CF_INLINE F with_sign(F a, F s) {
  return {_mm512_or_ps(abs(a).v, _mm512_and_ps(_mm512_set1_ps(-0.0f), s.v))};
}
CF_INLINE M less(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
CF_INLINE F select(M m, F yes, F no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }
CF_INLINE I to_nearest(F a) { return {_mm512_maskz_cvtps_epi32(0xFFFF, a.v)}; }
CF_INLINE F to_float(I a) { return {_mm512_maskz_cvtepi32_ps(0xFFFF, a.v)}; }
CF_INLINE I operator+(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
CF_INLINE I operator-(I a, I b) { return {_mm512_sub_epi32(a.v, b.v)}; }
CF_INLINE F power_of_two(F t) {
  return {_mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xFFFF, _mm512_castps_si512(t.v), 23))};
}
#define CLAUDE_FLOW_LDEXP
CF_INLINE F ldexp(F x, F n) { return {_mm512_maskz_scalef_ps(0xFFFF, x.v, n.v)}; }
CF_INLINE I bits_from(F x, int k) { return {_mm512_maskz_srli_epi32(0xFFFF, _mm512_castps_si512(x.v), k)}; }
CF_INLINE F clear_bits(F x, int k) {
  return {_mm512_castsi512_ps(
      _mm512_and_si512(_mm512_castps_si512(x.v), _mm512_set1_epi32(static_cast<int>(~0u << k))))};
}
CF_INLINE F bounded(F a, F limit) { return {_mm512_maskz_range_ps(0xFFFF, a.v, limit.v, 2)}; }
CF_INLINE F lookup(const float (&table)[32], I i) {
  return {_mm512_permutex2var_ps(_mm512_load_ps(table), i.v, _mm512_load_ps(table + 16))};
}

CF_INLINE I operator*(I a, I b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
CF_INLINE I load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
CF_INLINE I load_bytes(const int8_t* p) { return {_mm512_loadu_si512(p)}; }
CF_INLINE I splat_bytes(const uint8_t* p) {
  int32_t group;
  std::memcpy(&group, p, sizeof group);
  return {_mm512_set1_epi32(group)};
}
CF_INLINE I dot(I sum, I u, I s) {
#if defined(__AVX512VNNI__)
  return {_mm512_dpbusd_epi32(sum.v, u.v, s.v)};
#else
  // Pairs of products are at most 2 * 127 * 128, so the 16-bit sums never saturate.
  return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(_mm512_maddubs_epi16(u.v, s.v), _mm512_set1_epi16(1)))};
#endif
}
#if !defined(__AVX512VNNI__)
// The products of a weight of 4 bits with a group of the depth fit into 16 bits: 16 pairs of at most 2 * 127 * 8.
#define CLAUDE_FLOW_PAIRS
CF_INLINE I signed_halves(I x) {
  const I low = {_mm512_and_si512(x.v, _mm512_set1_epi8(0x0F))};
  return {_mm512_shuffle_epi8(_mm512_maskz_broadcast_i32x4(0xFFFF, _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -8,
                                                                                 -7, -6, -5, -4, -3, -2, -1)),
                              low.v)};
}
CF_INLINE I low_halves(I x) { return signed_halves(x); }
CF_INLINE I high_halves(I x) { return signed_halves({_mm512_maskz_srli_epi32(0xFFFF, x.v, 4)}); }
CF_INLINE I add_pairs(I sum, I u, I s) { return {_mm512_add_epi16(sum.v, _mm512_maddubs_epi16(u.v, s.v))}; }
CF_INLINE I sum_pairs(I pairs) { return {_mm512_madd_epi16(pairs.v, _mm512_set1_epi16(16))}; }
#endif
CF_INLINE void store_groups(int8_t* p, I a, I b, I c, I d) {
  const __m512i low = _mm512_set1_epi32(0xFF);
  const __m512i ab = _mm512_or_si512(_mm512_and_si512(a.v, low),
                                     _mm512_maskz_slli_epi32(0xFFFF, _mm512_and_si512(b.v, low), 8));
  const __m512i cd = _mm512_or_si512(_mm512_and_si512(c.v, low), _mm512_maskz_slli_epi32(0xFFFF, d.v, 8));
  _mm512_storeu_si512(p, _mm512_or_si512(ab, _mm512_maskz_slli_epi32(0xFFFF, cd, 16)));
}
CF_INLINE void store_bytes(uint8_t* p, I x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(0xFFFF, x.v));
}
CF_INLINE void store_bytes(uint8_t* p, I x, int n) {
  _mm_mask_storeu_epi8(p, first_lanes(n), _mm512_maskz_cvtepi32_epi8(0xFFFF, x.v));
}

CF_INLINE __m256 low_half(__m512 x) { return _mm512_maskz_extractf32x8_ps(0xFF, x, 0); }
CF_INLINE __m256 high_half(__m512 x) { return _mm512_maskz_extractf32x8_ps(0xFF, x, 1); }

CF_INLINE float reduce_add(F a) {
  const __m256 y = _mm256_add_ps(low_half(a.v), high_half(a.v));
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
CF_INLINE float reduce_max(F a) {
  const __m256 y = _mm256_max_ps(low_half(a.v), high_half(a.v));
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

}  // namespace
}  // namespace claude_flow
