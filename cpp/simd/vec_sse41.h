// simd/vec.h for SSE4.1: 4 lanes, no FMA.
#pragma once

#include <smmintrin.h>

#include <cstdint>
#include <cstring>

#include "simd/compiler.h"

namespace claude_flow {
namespace {

constexpr int kLanes = 4;
constexpr bool kHasFma = false;
constexpr int kLookup = 0;

struct F {
  __m128 v;
};
struct I {
  __m128i v;
};
struct M {
  __m128 v;
};

CF_INLINE F load(const float* p) { return {_mm_loadu_ps(p)}; }
CF_INLINE F load(const float* p, int n) {
  if (n == 0) return {_mm_setzero_ps()};
  if (n == 1) return {_mm_load_ss(p)};
  const __m128 two = _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  return {n == 2 ? two : _mm_movelh_ps(two, _mm_load_ss(p + 2))};
}
CF_INLINE void store(float* p, F x) { _mm_storeu_ps(p, x.v); }
CF_INLINE void store(float* p, F x, int n) {
  if (n == 0) return;
  if (n == 1) return _mm_store_ss(p, x.v);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_castps_si128(x.v));
  if (n == 3) _mm_store_ss(p + 2, _mm_movehl_ps(x.v, x.v));
}
// All ones in the first n lanes: a window into four ones and four zeros.
CF_INLINE F keep(F x, int n) {
  alignas(16) static const int32_t window[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
  const __m128i mask = _mm_loadu_si128(reinterpret_cast<const __m128i*>(window + 4 - n));
  return {_mm_and_ps(x.v, _mm_castsi128_ps(mask))};
}
CF_INLINE F splat(float x) { return {_mm_set1_ps(x)}; }
CF_INLINE I splat(int32_t x) { return {_mm_set1_epi32(x)}; }
CF_INLINE F operator+(F a, F b) { return {_mm_add_ps(a.v, b.v)}; }
CF_INLINE F operator-(F a, F b) { return {_mm_sub_ps(a.v, b.v)}; }
CF_INLINE F operator*(F a, F b) { return {_mm_mul_ps(a.v, b.v)}; }
CF_INLINE F operator/(F a, F b) { return {_mm_div_ps(a.v, b.v)}; }
CF_INLINE F fused(F a, F b, F c) { return a * b + c; }
CF_INLINE F min(F a, F b) { return {_mm_min_ps(a.v, b.v)}; }
CF_INLINE F max(F a, F b) { return {_mm_max_ps(a.v, b.v)}; }
CF_INLINE F abs(F a) { return {_mm_andnot_ps(_mm_set1_ps(-0.0f), a.v)}; }
CF_INLINE F with_sign(F a, F s) { return {_mm_or_ps(abs(a).v, _mm_and_ps(_mm_set1_ps(-0.0f), s.v))}; }
CF_INLINE M less(F a, F b) { return {_mm_cmplt_ps(a.v, b.v)}; }
CF_INLINE F select(M m, F yes, F no) { return {_mm_blendv_ps(no.v, yes.v, m.v)}; }
CF_INLINE I to_nearest(F a) { return {_mm_cvtps_epi32(a.v)}; }
CF_INLINE F to_float(I a) { return {_mm_cvtepi32_ps(a.v)}; }
CF_INLINE I operator+(I a, I b) { return {_mm_add_epi32(a.v, b.v)}; }
CF_INLINE I operator-(I a, I b) { return {_mm_sub_epi32(a.v, b.v)}; }
CF_INLINE F power_of_two(F t) { return {_mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(t.v), 23))}; }
CF_INLINE I operator*(I a, I b) { return {_mm_mullo_epi32(a.v, b.v)}; }
CF_INLINE I load(const int32_t* p) { return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))}; }
CF_INLINE I load_bytes(const int8_t* p) { return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))}; }
CF_INLINE I splat_bytes(const uint8_t* p) {
  int32_t group;
  std::memcpy(&group, p, sizeof group);
  return {_mm_set1_epi32(group)};
}
// Pairs of products are at most 2 * 127 * 128, so the 16-bit sums never saturate.
CF_INLINE I dot(I sum, I u, I s) {
  return {_mm_add_epi32(sum.v, _mm_madd_epi16(_mm_maddubs_epi16(u.v, s.v), _mm_set1_epi16(1)))};
}
// The products of a weight of 4 bits with a group of the depth fit into 16 bits: 16 pairs of at most 2 * 127 * 8.
#define CLAUDE_FLOW_PAIRS
CF_INLINE I signed_halves(I x) {
  const I low = {_mm_and_si128(x.v, _mm_set1_epi8(0x0F))};
  return {_mm_shuffle_epi8(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1), low.v)};
}
CF_INLINE I low_halves(I x) { return signed_halves(x); }
CF_INLINE I high_halves(I x) { return signed_halves({_mm_srli_epi32(x.v, 4)}); }
CF_INLINE I add_pairs(I sum, I u, I s) { return {_mm_add_epi16(sum.v, _mm_maddubs_epi16(u.v, s.v))}; }
CF_INLINE I sum_pairs(I pairs) { return {_mm_madd_epi16(pairs.v, _mm_set1_epi16(16))}; }
CF_INLINE void store_groups(int8_t* p, I a, I b, I c, I d) {
  const __m128i low = _mm_set1_epi32(0xFF);
  const __m128i ab = _mm_or_si128(_mm_and_si128(a.v, low), _mm_slli_epi32(_mm_and_si128(b.v, low), 8));
  const __m128i cd = _mm_or_si128(_mm_and_si128(c.v, low), _mm_slli_epi32(d.v, 8));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_or_si128(ab, _mm_slli_epi32(cd, 16)));
}
CF_INLINE void store_bytes(uint8_t* p, I x, int n) {
  const __m128i words = _mm_packus_epi32(x.v, x.v);
  const int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
  std::memcpy(p, &bytes, static_cast<size_t>(n));
}
CF_INLINE void store_bytes(uint8_t* p, I x) { store_bytes(p, x, 4); }

CF_INLINE float reduce_add(F a) {
  const __m128 x = _mm_add_ps(a.v, _mm_movehl_ps(a.v, a.v));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
CF_INLINE float reduce_max(F a) {
  const __m128 x = _mm_max_ps(a.v, _mm_movehl_ps(a.v, a.v));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

}  // namespace
}  // namespace claude_flow
