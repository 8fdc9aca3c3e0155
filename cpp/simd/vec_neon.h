// simd/vec.h for ARM's NEON: 4 lanes with FMA. With the dot product of ARMv8.2 the byte products are one instruction.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "simd/compiler.h"

namespace claude_flow {
namespace {

constexpr int kLanes = 4;
constexpr bool kHasFma = true;
constexpr int kLookup = 0;

struct F {
  float32x4_t v;
};
struct I {
  int32x4_t v;
};
struct M {
  uint32x4_t v;
};

CF_INLINE F load(const float* p) { return {vld1q_f32(p)}; }
CF_INLINE F load(const float* p, int n) {
  float32x4_t x = vdupq_n_f32(0.0f);
  if (n & 2) x = vcombine_f32(vld1_f32(p), vdup_n_f32(0.0f));
  if (n == 1) x = vld1q_lane_f32(p, x, 0);
  if (n == 3) x = vld1q_lane_f32(p + 2, x, 2);
  return {x};
}
CF_INLINE void store(float* p, F x) { vst1q_f32(p, x.v); }
CF_INLINE void store(float* p, F x, int n) {
  if (n & 2) vst1_f32(p, vget_low_f32(x.v));
  if (n == 1) vst1q_lane_f32(p, x.v, 0);
  if (n == 3) vst1q_lane_f32(p + 2, x.v, 2);
}
// All ones in the first n lanes: a window into four ones and four zeros.
CF_INLINE F keep(F x, int n) {
  alignas(16) static const uint32_t window[8] = {~0u, ~0u, ~0u, ~0u, 0, 0, 0, 0};
  return {vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x.v), vld1q_u32(window + 4 - n)))};
}
CF_INLINE F splat(float x) { return {vdupq_n_f32(x)}; }
CF_INLINE I splat(int32_t x) { return {vdupq_n_s32(x)}; }
CF_INLINE F operator+(F a, F b) { return {vaddq_f32(a.v, b.v)}; }
CF_INLINE F operator-(F a, F b) { return {vsubq_f32(a.v, b.v)}; }
CF_INLINE F operator*(F a, F b) { return {vmulq_f32(a.v, b.v)}; }
CF_INLINE F operator/(F a, F b) { return {vdivq_f32(a.v, b.v)}; }
CF_INLINE F fused(F a, F b, F c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
CF_INLINE M less(F a, F b) { return {vcltq_f32(a.v, b.v)}; }
CF_INLINE F select(M m, F yes, F no) { return {vbslq_f32(m.v, yes.v, no.v)}; }
// Not fmin and fmax, which make a NaN of either operand the result.
CF_INLINE F min(F a, F b) { return select(less(a, b), a, b); }
CF_INLINE F max(F a, F b) { return select(less(b, a), a, b); }
CF_INLINE F abs(F a) { return {vabsq_f32(a.v)}; }
CF_INLINE F with_sign(F a, F s) { return {vbslq_f32(vdupq_n_u32(0x80000000u), s.v, a.v)}; }
CF_INLINE I to_nearest(F a) { return {vcvtnq_s32_f32(a.v)}; }
CF_INLINE F to_float(I a) { return {vcvtq_f32_s32(a.v)}; }
CF_INLINE I operator+(I a, I b) { return {vaddq_s32(a.v, b.v)}; }
CF_INLINE I operator-(I a, I b) { return {vsubq_s32(a.v, b.v)}; }
CF_INLINE F power_of_two(F t) { return {vreinterpretq_f32_s32(vshlq_n_s32(vreinterpretq_s32_f32(t.v), 23))}; }
CF_INLINE I operator*(I a, I b) { return {vmulq_s32(a.v, b.v)}; }
CF_INLINE I load(const int32_t* p) { return {vld1q_s32(p)}; }
CF_INLINE I load_bytes(const int8_t* p) { return {vreinterpretq_s32_s8(vld1q_s8(p))}; }
CF_INLINE I splat_bytes(const uint8_t* p) {
  int32_t group;
  std::memcpy(&group, p, sizeof group);
  return {vdupq_n_s32(group)};
}
// u's bytes are at most 127, so they are signed bytes too.
CF_INLINE I dot(I sum, I u, I s) {
  const int8x16_t a = vreinterpretq_s8_s32(u.v), b = vreinterpretq_s8_s32(s.v);
#if defined(__ARM_FEATURE_DOTPROD)
  return {vdotq_s32(sum.v, a, b)};
#else
  // Pairs of products are at most 2 * 127 * 128, so the 16-bit sums never overflow.
  const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
  return {vpadalq_s16(sum.v, vpaddq_s16(low, high))};
#endif
}
CF_INLINE void store_groups(int8_t* p, I a, I b, I c, I d) {
  const int32x4_t ab = vsliq_n_s32(a.v, b.v, 8), cd = vsliq_n_s32(c.v, d.v, 8);
  vst1q_s8(p, vreinterpretq_s8_s32(vsliq_n_s32(ab, cd, 16)));
}
CF_INLINE void store_bytes(uint8_t* p, I x, int n) {
  const int16x4_t words = vmovn_s32(x.v);
  const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
  const int32_t group = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
  std::memcpy(p, &group, static_cast<size_t>(n));
}
CF_INLINE void store_bytes(uint8_t* p, I x) { store_bytes(p, x, 4); }

CF_INLINE float reduce_add(F a) {
  const float32x2_t x = vadd_f32(vget_low_f32(a.v), vget_high_f32(a.v));
  return vget_lane_f32(x, 0) + vget_lane_f32(x, 1);
}
CF_INLINE float reduce_max(F a) {
  const F x = max(a, {vextq_f32(a.v, a.v, 2)});
  return vgetq_lane_f32(max(x, {vrev64q_f32(x.v)}).v, 0);
}

// A factor of many vectors, in the first lane of a register, where products take it from. By an instruction of its own,
// since compilers would copy it to all lanes as they load it, which takes a turn of the multipliers.
#define CLAUDE_FLOW_FACTOR
struct FactorF {
  float32x4_t v;
};
CF_INLINE FactorF factor(const float* p) {
  FactorF x;
  __asm__("ldr %s0, %1" : "=w"(x.v) : "m"(*p));
  return x;
}
CF_INLINE F operator*(FactorF a, F b) { return {vmulq_laneq_f32(b.v, a.v, 0)}; }
CF_INLINE F fused(FactorF a, F b, F c) { return {vfmaq_laneq_f32(c.v, b.v, a.v, 0)}; }
#if defined(__ARM_FEATURE_DOTPROD)
struct FactorI {
  int32x4_t v;
};
CF_INLINE FactorI factor_bytes(const uint8_t* p) {
  FactorI x;
  __asm__("ldr %s0, %1" : "=w"(x.v) : "m"(*reinterpret_cast<const uint8_t(*)[4]>(p)));
  return x;
}
CF_INLINE I dot(I sum, FactorI u, I s) {
  return {vdotq_laneq_s32(sum.v, vreinterpretq_s8_s32(s.v), vreinterpretq_s8_s32(u.v), 0)};
}
#else
CF_INLINE I factor_bytes(const uint8_t* p) { return splat_bytes(p); }
#endif

#if defined(__ARM_FEATURE_MATMUL_INT8)
// Products of two rows of eight bytes with four columns, as two blocks of 2 x 2 sums (kernels/pairs_i8-inl.h).
#define CLAUDE_FLOW_MATRICES
struct Block {
  int32x4_t left, right;
};
// Eight bytes of either row.
CF_INLINE I load_pair(const uint8_t* upper, const uint8_t* lower) {
  return {vreinterpretq_s32_u8(vcombine_u8(vld1_u8(upper), vld1_u8(lower)))};
}
// `first` and `second` are two groups of four rows of the same columns.
CF_INLINE Block dot_pairs(const Block& sum, I pair, I first, I second) {
  const uint8x16_t u = vreinterpretq_u8_s32(pair.v);
  return {vusmmlaq_s32(sum.left, u, vreinterpretq_s8_s32(vzip1q_s32(first.v, second.v))),
          vusmmlaq_s32(sum.right, u, vreinterpretq_s8_s32(vzip2q_s32(first.v, second.v)))};
}
CF_INLINE I upper_row(const Block& b) {
  return {vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(b.left), vreinterpretq_s64_s32(b.right)))};
}
CF_INLINE I lower_row(const Block& b) {
  return {vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(b.left), vreinterpretq_s64_s32(b.right)))};
}
#endif

}  // namespace
}  // namespace claude_flow
