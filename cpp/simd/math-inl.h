// exp, tanh, sigmoid, GELU and softplus over the lanes of simd/vec.h. No FMA: the same bits on every
// instruction set. A bound stands first in min and max, so that a NaN passes through. The error bounds beside
// them are measured over all floats by tests/cpp/test_math.cpp.
#pragma once

#include "simd/vec.h"

namespace claude_flow {
namespace {

// x = n ln2 + r with |r| <= ln2/2; ln2 in two parts, the first short enough that n times it is exact.
struct Reduced {
  I n;
  F r;
};

CF_INLINE Reduced reduce_by_ln2(F x) {
  const I n = to_nearest(x * splat(1.44269504f));
  const F count = to_float(n);
  return {n, (x - count * splat(0.693359375f)) - count * splat(-2.12194440e-4f)};
}

// e^r - 1 on |r| <= ln2/2, minimax of degree 7, relative error 4e-9 before rounding.
CF_INLINE F expm1_reduced(F r) {
  F p = splat(0.00019909451657440513f);
  p = p * r + splat(0.0013946088729426265f);
  p = p * r + splat(0.008333280682563782f);
  p = p * r + splat(0.041666269302368164f);
  p = p * r + splat(0.1666666716337204f);
  p = p * r + splat(0.5f);
  return (p * (r * r)) + r;
}

// e^x, <= 1 ulp; 0 below -104, infinity above 88.73.
CF_INLINE F exp(F x) {
  const Reduced e = reduce_by_ln2(min(splat(89.0f), max(splat(-105.0f), x)));
  // 2^n in two factors, since n reaches -151 and 128.
  const I n1 = half(e.n);
  return (splat(1.0f) + expm1_reduced(e.r)) * power_of_two(n1) * power_of_two(e.n - n1);
}

// For x <= 0: the scale is clamped to a normal number, so anything below -87 gives at most 2e-38 instead of a
// denormal. Softmax and attention use it: a weight that small never reaches a sum of at least 1.
CF_INLINE F exp_nonpositive(F x) {
  const Reduced e = reduce_by_ln2(max(splat(-87.0f), x));
  return (splat(1.0f) + expm1_reduced(e.r)) * power_of_two(e.n);
}

// 1 / (1 + e^-x), <= 3 ulp or 2e-38: x is clamped to +-87, so that the scale is one normal number.
CF_INLINE F sigmoid(F x) {
  const Reduced e = reduce_by_ln2(min(splat(87.0f), max(splat(-87.0f), splat(0.0f) - x)));
  return splat(1.0f) / (splat(1.0f) + (splat(1.0f) + expm1_reduced(e.r)) * power_of_two(e.n));
}

// tanh|x| = m / (m + 2), m = e^(2|x|) - 1 = 2^n (e^r - 1) + (2^n - 1); beyond 9.1 it is 1 to the last bit.
// Below 0.35, where the rounding of m alone would cost 2 ulp, x + x^3 q(x^2) with a minimax q. <= 2 ulp.
CF_INLINE F tanh(F x) {
  const F a = min(splat(9.2f), abs(x));
  const Reduced e = reduce_by_ln2(a + a);
  const F scale = power_of_two(e.n);
  const F m = scale * expm1_reduced(e.r) + (scale - splat(1.0f));
  const F z = a * a;
  F q = splat(0.01941591f);
  q = q * z + splat(-0.05372133f);
  q = q * z + splat(0.13332339f);
  q = q * z + splat(-0.33333319f);
  return with_sign(select(less(a, splat(0.35f)), a + a * z * q, m / (m + splat(2.0f))), x);
}

// GELU(x) = x Phi(x) = max(x, 0) - |x| Phi(-|x|), and Phi(-a) = e^(-a^2/2) R(a) with R = erfcx(a/sqrt2)/2 as
// a rational minimax of degree (3, 4) on [0, 7] with absolute error 8e-10 in a Phi(-a). No cancellation in
// either tail: <= 4 ulp or 1e-7.
CF_INLINE F gelu(F x) {
  const F a = abs(x);
  const F bounded = min(splat(13.0f), a);
  F p = splat(0.01041827630251646f);
  p = p * bounded + splat(0.08888068795204163f);
  p = p * bounded + splat(0.3029136061668396f);
  p = p * bounded + splat(0.5f);
  F q = splat(0.026185033842921257f);
  q = q * bounded + splat(0.2214498221874237f);
  q = q * bounded + splat(0.7977647185325623f);
  q = q * bounded + splat(1.4037114381790161f);
  q = q * bounded + splat(1.0f);
  // e^(-a^2/2) as a power of two: its relative error, up to 6e-8 a^2, falls on a product that is at most 0.17.
  const F exponent = bounded * bounded * splat(-0.72134752f);
  const I n = to_nearest(exponent);
  const F f = exponent - to_float(n);
  F e = splat(0.0013400432653725147f);
  e = e * f + splat(0.009676037356257439f);
  e = e * f + splat(0.05550327152013779f);
  e = e * f + splat(0.2402210682630539f);
  e = e * f + splat(0.6931471824645996f);
  e = e * f + splat(1.0000001192092896f);
  const F tail = e * power_of_two(n) * (p / q);
  return max(splat(0.0f), x) - bounded * tail;
}

// log(1 + e^x) = max(x, 0) + log1p(e^-|x|); log1p(u) = 2 atanh(u / (2 + u)), and the argument is at most 1/3.
// <= 4 ulp.
CF_INLINE F softplus(F x) {
  const F u = exp(splat(0.0f) - abs(x));
  const F s = u / (splat(2.0f) + u);
  const F t = s * s;
  F p = splat(1.0f / 17);
  p = p * t + splat(1.0f / 15);
  p = p * t + splat(1.0f / 13);
  p = p * t + splat(1.0f / 11);
  p = p * t + splat(1.0f / 9);
  p = p * t + splat(1.0f / 7);
  p = p * t + splat(1.0f / 5);
  p = p * t + splat(1.0f / 3);
  p = p * t + splat(1.0f);
  return max(splat(0.0f), x) + splat(2.0f) * s * p;
}

}  // namespace
}  // namespace claude_flow
