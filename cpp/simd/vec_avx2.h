// simd/vec.h for AVX2 with FMA: 8 lanes. With VNNI the byte products are one instruction.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "simd/compiler.h"

namespace claude_flow {
namespace {

constexpr int kLanes = 8;
constexpr bool kHasFma = true;
constexpr int kLookup = 8;

struct F {
  __m256 v;
};
struct I {
  __m256i v;
};
struct M {
  __m256 v;
};

// All ones in the first n lanes: a window into eight ones and eight zeros.
CF_INLINE __m256i first_lanes(int n) {
  alignas(32) static const int32_t window[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(window + 8 - n));
}

CF_INLINE F load(const float* p) { return {_mm256_loadu_ps(p)}; }
CF_INLINE F load(const float* p, int n) { return {_mm256_maskload_ps(p, first_lanes(n))}; }
CF_INLINE void store(float* p, F x) { _mm256_storeu_ps(p, x.v); }
CF_INLINE void store(float* p, F x, int n) { _mm256_maskstore_ps(p, first_lanes(n), x.v); }
CF_INLINE F keep(F x, int n) { return {_mm256_and_ps(x.v, _mm256_castsi256_ps(first_lanes(n)))}; }
CF_INLINE F splat(float x) { return {_mm256_set1_ps(x)}; }
CF_INLINE I splat(int32_t x) { return {_mm256_set1_epi32(x)}; }
CF_INLINE F operator+(F a, F b) { return {_mm256_add_ps(a.v, b.v)}; }
CF_INLINE F operator-(F a, F b) { return {_mm256_sub_ps(a.v, b.v)}; }
CF_INLINE F operator*(F a, F b) { return {_mm256_mul_ps(a.v, b.v)}; }
CF_INLINE F operator/(F a, F b) { return {_mm256_div_ps(a.v, b.v)}; }
CF_INLINE F fused(F a, F b, F c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
CF_INLINE F min(F a, F b) { return {_mm256_min_ps(a.v, b.v)}; }
CF_INLINE F max(F a, F b) { return {_mm256_max_ps(a.v, b.v)}; }
CF_INLINE F abs(F a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
CF_INLINE F with_sign(F a, F s) {
  return {_mm256_or_ps(abs(a).v, _mm256_and_ps(_mm256_set1_ps(-0.0f), s.v))};
}
CF_INLINE M less(F a, F b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
CF_INLINE F select(M m, F yes, F no) { return {_mm256_blendv_ps(no.v, yes.v, m.v)}; }
CF_INLINE I to_nearest(F a) { return {_mm256_cvtps_epi32(a.v)}; }
CF_INLINE F to_float(I a) { return {_mm256_cvtepi32_ps(a.v)}; }
CF_INLINE I operator+(I a, I b) { return {_mm256_add_epi32(a.v, b.v)}; }
CF_INLINE I operator-(I a, I b) { return {_mm256_sub_epi32(a.v, b.v)}; }
CF_INLINE F power_of_two(F t) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(t.v), 23))};
}
CF_INLINE F lookup(const float (&table)[8], F i) {
  return {_mm256_permutevar8x32_ps(_mm256_load_ps(table), _mm256_castps_si256(i.v))};
}
CF_INLINE F power_of_two_of_eighths(F t) {
  return {_mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_andnot_si256(_mm256_set1_epi32(7), _mm256_castps_si256(t.v)), 20))};
}
CF_INLINE bool all(M m) { return _mm256_movemask_ps(m.v) == 0xFF; }
CF_INLINE I operator*(I a, I b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
CF_INLINE I load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
CF_INLINE I load_bytes(const int8_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
CF_INLINE I splat_bytes(const uint8_t* p) {
  int32_t group;
  std::memcpy(&group, p, sizeof group);
  return {_mm256_set1_epi32(group)};
}
CF_INLINE I dot(I sum, I u, I s) {
#if defined(__AVXVNNI__) || defined(__AVX512VNNI__)
  return {_mm256_dpbusd_epi32(sum.v, u.v, s.v)};  // in whichever of the two encodings the file may use
#else
  // Pairs of products are at most 2 * 127 * 128, so the 16-bit sums never saturate.
  return {_mm256_add_epi32(sum.v, _mm256_madd_epi16(_mm256_maddubs_epi16(u.v, s.v), _mm256_set1_epi16(1)))};
#endif
}
#if !defined(__AVXVNNI__) && !defined(__AVX512VNNI__)
// The products of a weight of 4 bits with a group of the depth fit into 16 bits: 16 pairs of at most 2 * 127 * 8.
#define CLAUDE_FLOW_PAIRS
CF_INLINE I signed_halves(I x) {
  const I low = {_mm256_and_si256(x.v, _mm256_set1_epi8(0x0F))};
  return {_mm256_shuffle_epi8(
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1)),
      low.v)};
}
CF_INLINE I low_halves(I x) { return signed_halves(x); }
CF_INLINE I high_halves(I x) { return signed_halves({_mm256_srli_epi32(x.v, 4)}); }
CF_INLINE I add_pairs(I sum, I u, I s) { return {_mm256_add_epi16(sum.v, _mm256_maddubs_epi16(u.v, s.v))}; }
CF_INLINE I sum_pairs(I pairs) { return {_mm256_madd_epi16(pairs.v, _mm256_set1_epi16(16))}; }
#endif
CF_INLINE void store_groups(int8_t* p, I a, I b, I c, I d) {
  const __m256i low = _mm256_set1_epi32(0xFF);
  const __m256i ab =
      _mm256_or_si256(_mm256_and_si256(a.v, low), _mm256_slli_epi32(_mm256_and_si256(b.v, low), 8));
  const __m256i cd = _mm256_or_si256(_mm256_and_si256(c.v, low), _mm256_slli_epi32(d.v, 8));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_or_si256(ab, _mm256_slli_epi32(cd, 16)));
}
CF_INLINE void store_bytes(uint8_t* p, I x, int n) {
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(x.v), _mm256_extracti128_si256(x.v, 1));
  const int64_t bytes = _mm_cvtsi128_si64(_mm_packus_epi16(words, words));
  std::memcpy(p, &bytes, static_cast<size_t>(n));
}
CF_INLINE void store_bytes(uint8_t* p, I x) { store_bytes(p, x, 8); }

CF_INLINE float reduce_add(F a) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
CF_INLINE float reduce_max(F a) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

}  // namespace
}  // namespace claude_flow
