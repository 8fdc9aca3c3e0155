// simd/vec.h in plain C++: one lane.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd/compiler.h"

namespace claude_flow {
namespace {

constexpr int kLanes = 1;
constexpr bool kHasFma = false;
constexpr int kLookup = 0;

struct F {
  float v;
};
struct I {
  int32_t v;
};
struct M {
  bool v;
};

CF_INLINE F load(const float* p) { return {*p}; }
CF_INLINE F load(const float*, int) { return {0.0f}; }
CF_INLINE void store(float* p, F x) { *p = x.v; }
CF_INLINE void store(float*, F, int) {}
CF_INLINE F keep(F, int) { return {0.0f}; }
CF_INLINE F splat(float x) { return {x}; }
CF_INLINE I splat(int32_t x) { return {x}; }
CF_INLINE F operator+(F a, F b) { return {a.v + b.v}; }
CF_INLINE F operator-(F a, F b) { return {a.v - b.v}; }
CF_INLINE F operator*(F a, F b) { return {a.v * b.v}; }
CF_INLINE F operator/(F a, F b) { return {a.v / b.v}; }
CF_INLINE F fused(F a, F b, F c) { return {a.v * b.v + c.v}; }
CF_INLINE F min(F a, F b) { return {a.v < b.v ? a.v : b.v}; }
CF_INLINE F max(F a, F b) { return {a.v > b.v ? a.v : b.v}; }
CF_INLINE F abs(F a) { return {std::fabs(a.v)}; }
CF_INLINE F with_sign(F a, F s) { return {std::copysign(a.v, s.v)}; }
CF_INLINE M less(F a, F b) { return {a.v < b.v}; }
CF_INLINE F select(M m, F yes, F no) { return m.v ? yes : no; }
CF_INLINE uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
// 1.5 * 2^23 pushes the fraction out of the significand and leaves the integer in its low bits; callers stay
// within
// +-2^22, and a NaN gives some integer.
CF_INLINE I to_nearest(F a) {
  const float magic = 12582912.0f;
  return {static_cast<int32_t>(bits_of(a.v + magic) - bits_of(magic))};
}
CF_INLINE F to_float(I a) { return {static_cast<float>(a.v)}; }
CF_INLINE I operator+(I a, I b) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) + static_cast<uint32_t>(b.v))};
}
CF_INLINE I operator-(I a, I b) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) - static_cast<uint32_t>(b.v))};
}
CF_INLINE F power_of_two(F t) {
  uint32_t bits;
  std::memcpy(&bits, &t.v, sizeof bits);
  bits <<= 23;
  std::memcpy(&t.v, &bits, sizeof bits);
  return t;
}
CF_INLINE I operator*(I a, I b) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) * static_cast<uint32_t>(b.v))};
}
CF_INLINE I load(const int32_t* p) { return {*p}; }
CF_INLINE I load_bytes(const int8_t* p) {
  I x;
  std::memcpy(&x.v, p, sizeof x.v);
  return x;
}
CF_INLINE I splat_bytes(const uint8_t* p) {
  I x;
  std::memcpy(&x.v, p, sizeof x.v);
  return x;
}
CF_INLINE I dot(I sum, I u, I s) {
  uint8_t a[4];
  int8_t b[4];
  std::memcpy(a, &u.v, sizeof a);
  std::memcpy(b, &s.v, sizeof b);
  return {sum.v + a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]};
}
CF_INLINE void store_groups(int8_t* p, I a, I b, I c, I d) {
  const int32_t bytes[4] = {a.v, b.v, c.v, d.v};
  for (int i = 0; i < 4; ++i) p[i] = static_cast<int8_t>(bytes[i]);
}
CF_INLINE void store_bytes(uint8_t* p, I x) { *p = static_cast<uint8_t>(x.v); }
CF_INLINE void store_bytes(uint8_t*, I, int) {}

CF_INLINE float reduce_add(F a) { return a.v; }
CF_INLINE float reduce_max(F a) { return a.v; }

}  // namespace
}  // namespace claude_flow
