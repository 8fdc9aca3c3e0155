// exp, tanh, sigmoid, GELU and softplus of a vector of simd/vec.h, the first four also of a group (V), for both kinds of
// arithmetic: with Consistent the same bits on every instruction set, with Fused fewer operations. A bound stands first
// in min and max, so that a NaN passes through. The error bounds beside them hold for both and are measured over all
// floats by tests/cpp/test_math.cpp.
#pragma once

#include "simd/group.h"
#include "simd/tables-inl.h"

namespace claude_flow {
namespace {

// c[0] + x (c[1] + x (c[2] + ...)), by Horner.
template <class A, class V, int N>
CF_INLINE V polynomial(V x, CF_FLOAT (&c)[N]) {
  V p = A::multiply_add(splat(c[N - 1]), x, splat(c[N - 2]));
  CF_UNROLL for (int i = N - 3; i >= 0; --i) p = A::multiply_add(p, x, splat(c[i]));
  return p;
}

// e^x = 2^n (1 + m): m = e^r - 1 with |r| <= ln2/2, and n - kLess in the low bits of t. For |x| < 2^21.
template <class V>
struct Exponential {
  V t, m;
};

template <class A, int kLess = 0, class V>
CF_INLINE Exponential<V> exponential(V x) {
  const V t = A::multiply_add(x, CF_SPLAT(1.44269504f), CF_SPLAT(kExponentMagic - kLess));
  const V n = t - CF_SPLAT(kExponentMagic - kLess);
  // ln2 in two parts, the first short enough that n times it is exact.
  const V r = A::multiply_add(n, CF_SPLAT(2.12194440e-4f), A::multiply_add(n, CF_SPLAT(-0.693359375f), x));
  // Minimax of degree 6, relative error 3e-9 before rounding.
  const V p =
      polynomial<A>(r, CF_FLOATS(0.49999994f, 0.16666521f, 0.04166839f, 0.0083687166f, 0.0013814599f));
  return {t, A::multiply_add(r * r, p, r)};
}

// The same by tables, e^x = 2^n root e^r: n = t - kMagic / 32 in steps of 1/32, its fraction's power of two by the low
// bits of t, and |r| <= ln2/64. Where n is beyond all bounds, r is anything but stays within 1, so that e^r is positive
// and n decides.
template <class V>
CF_INLINE V nearest_root(V x) {
  return fused(x, splat(1.44269504f), splat(kMagic / 32));
}
template <class V>
CF_INLINE V beyond_root(V x, V n) {
  return bounded(fused(n, splat(1.90465421e-9f), fused(n, splat(-0.693147182f), x)), splat(1.0f));
}

// The same by eighths, e^x = scale m with scale = 2^floor(n) and m = 2^(n - floor(n)) 2^f, where n + f = x log2(e), n is a
// whole number of eighths and |f| <= 1/16; log2(e) in two parts. For |x| < 2^14, with floor(n) - kLess in -127..127.
// Ten multiplications become seven: on Zen 3 exp takes 0.60 of the time, sigmoid 0.77, softmax 0.87.
template <class V>
struct Eighths {
  V scale, m;
};

template <int kLess = 0, class V>
CF_INLINE Eighths<V> eighths(V x) {
  const F magic = splat(kEighthsMagic - kLess);
  const V t = fused(x, splat(1.44269502f), magic);
  const V f = fused(x, splat(1.92596303e-8f), fused(x, splat(1.44269502f), magic - t));
  const V root = lookup(kEighthRoots, t);
  // (2^f - 1) / f, minimax with an error of 2.5e-8 of the result.
  const V p = fused(fused(f, splat(0.05551147f), splat(0.24025763f)), f, splat(0.69314717f));
  return {power_of_two_of_eighths(t), fused(root * f, p, root)};
}

// e^x, <= 1 ulp, where that is a normal number, for |x| <= 88; below -87.7 it is 0.
template <class A, class V>
CF_INLINE V exp_normal(V x) {
  const Exponential<V> e = exponential<A>(x);
  return (CF_SPLAT(1.0f) + e.m) * power_of_two(e.t);
}

// e^x, <= 2 ulp, without tables <= 1; 0 below -104, infinity above 88.73.
template <class A, class V>
CF_INLINE V exp(V x) {
  if constexpr (A::kTables) {
    const V t = nearest_root(x);
    const V n = t - splat(kMagic / 32);
    const V r = beyond_root(x, n);
    const V root = lookup(kRoots, bits_from(t, 0));
    // A minimax quadratic with a relative error of 5e-8.
    return ldexp(fused(root * r, fused(r, splat(0.50000125f), splat(1.00001466f)), root), n);
  } else {
    if constexpr (A::kEighths) {
      // Most vectors hold nothing whose e^x is no normal number.
      if (__builtin_expect(all(less(abs(x), splat(87.0f))), 1)) {
        const Eighths<V> e = eighths(x);
        return e.m * e.scale;
      }
    }
    const Exponential<V> e = exponential<A>(min(CF_SPLAT(89.0f), max(CF_SPLAT(-105.0f), x)));
    return ldexp(CF_SPLAT(1.0f) + e.m, e.t - CF_SPLAT(kExponentMagic));
  }
}

// For x <= 0: without tables what would be denormal is 0. Softmax and attention use it: a weight that small never reaches
// a sum of at least 1, and a masked one must be 0.
template <class A, class V>
CF_INLINE V exp_nonpositive(V x) {
  if constexpr (A::kTables) {
    return exp<A>(x);
  } else if constexpr (A::kEighths) {
    const Eighths<V> e = eighths(max(splat(-88.0f), x));
    return e.m * e.scale;
  } else {
    return exp_normal<A>(max(CF_SPLAT(-88.0f), x));
  }
}

// 1 / (1 + e^-x), <= 3 ulp; with tables what would be less than 2^-128 is 0.
template <class A, class V>
CF_INLINE V sigmoid(V x) {
  if constexpr (A::kTables) {
    const V opposite = splat(0.0f) - x;
    // e^-x more exactly than above, by a cubic with a relative error of 2e-9 and with what the rounding of the root
    // lost: the errors of e^-x, of the sum and of the quotient add up to <= 3 ulp.
    const V t = nearest_root(opposite);
    const V n = t - splat(kMagic / 32);
    const V r = beyond_root(opposite, n);
    const V root = lookup(kRoots, bits_from(t, 0));
    const V m = r * polynomial<A>(r, {1.0f, 0.500004053f, 0.166667387f});
    const V e = ldexp(root + fused(root, m, lookup(kRootsLost, bits_from(t, 0))), n);
    return splat(1.0f) / (splat(1.0f) + e);
  } else {
    // 2^-24 / (2^-24 + 2^-24 e^-x), where 2^-24 e^104 is a number, and a denormal quotient is rounded once.
    const V opposite = min(CF_SPLAT(104.0f), max(CF_SPLAT(-64.0f), splat(0.0f) - x));
    if constexpr (A::kEighths) {
      const Eighths<V> e = eighths<24>(opposite);
      return splat(0x1p-24f) / fused(e.m, e.scale, splat(0x1p-24f));
    } else {
      const Exponential<V> e = exponential<A, 24>(opposite);
      return CF_SPLAT(0x1p-24f) / (CF_SPLAT(0x1p-24f) + (CF_SPLAT(1.0f) + e.m) * power_of_two(e.t));
    }
  }
}

// tanh|x|, <= 2 ulp; beyond 9.1 it is 1 to the last bit.
template <class A, class V>
CF_INLINE V tanh(V x) {
  const V a = min(CF_SPLAT(9.2f), abs(x));
  if constexpr (A::kTables) {
    // Of degree 4 for each interval, which the leading bits of a + 0.625 number; the differences are exact.
    constexpr int kBits = 20;
    const F offset = splat(0.625f);
    const V b = a + offset;
    const auto i = bits_from(b, kBits);
    const V d = a - (clear_bits(b, kBits) - offset);
    V p = lookup(kTanh[4], i);
    CF_UNROLL for (int k = 3; k >= 0; --k) p = fused(p, d, lookup(kTanh[k], i));
    return with_sign(p, x);
  } else {
    // m / (m + 2), m = e^2a - 1 = 2^n (e^r - 1) + (2^n - 1). Below 0.35, where the rounding of m alone would cost
    // 2 ulp, a + a^3 q(a^2) with a minimax q.
    const Exponential<V> e = exponential<A>(a + a);
    const V scale = power_of_two(e.t);
    const V m = A::multiply_add(scale, e.m, scale - CF_SPLAT(1.0f));
    const V z = a * a;
    const V q = polynomial<A>(z, CF_FLOATS(-0.33333319f, 0.13332339f, -0.05372133f, 0.01941591f));
    return with_sign(select(less(a, CF_SPLAT(0.35f)), A::multiply_add(a * z, q, a), m / (m + CF_SPLAT(2.0f))),
                     x);
  }
}

// 2^x = scale (even - odd) / (even + odd) for |x| <= 126: odd = -f of x = k + f with |f| <= 1/2, and f / even is a minimax
// of tanh(f ln2 / 2), relative error 1.3e-8. In half the operations of a polynomial where the result goes into a quotient
// anyway, and exact to the last bits near x = 0, where odd alone counts.
struct Power {
  F scale, even, odd;
};

template <class A>
CF_INLINE Power power_of_two_ratio(F x) {
  const F t = x + CF_SPLAT(kExponentMagic);
  const F odd = (t - CF_SPLAT(kExponentMagic)) - x;
  return {power_of_two(t), polynomial<A>(odd * odd, CF_FLOATS(2.88539004f, 0.115525402f, -0.000925895176f)),
          odd};
}

// GELU(x) = x Phi(x) = max(x, 0) - |x| Phi(-|x|), and Phi(-a) = e^(-a^2/2) R(a) with R = erfcx(a/sqrt2)/2 as
// a rational minimax of degree (3, 4) on [0, 7] with absolute error 8e-10 in a Phi(-a). No cancellation in
// either tail: <= 4 ulp or 1e-7.
template <class A>
CF_INLINE F gelu(F x) {
  const F a = min(CF_SPLAT(13.27f), abs(x));  // e^(-a^2/2) is 0 there
  const F p =
      polynomial<A>(a, CF_FLOATS(0.5f, 0.3029136061668396f, 0.08888068795204163f, 0.01041827630251646f));
  const F q = polynomial<A>(a, CF_FLOATS(1.0f, 1.4037114381790161f, 0.7977647185325623f, 0.2214498221874237f,
                                         0.026185033842921257f));
  // e^(-a^2/2) as a power of two: its relative error, up to 6e-8 a^2, falls on a product that is at most 0.17.
  const F exponent = a * a * CF_SPLAT(-0.72134752f);
  const F t = exponent + CF_SPLAT(kExponentMagic);
  const F f = exponent - (t - CF_SPLAT(kExponentMagic));
  const F e =
      polynomial<A>(f, CF_FLOATS(1.0000001192092896f, 0.6931471824645996f, 0.2402210682630539f,
                                 0.05550327152013779f, 0.009676037356257439f, 0.0013400432653725147f));
  return A::multiply_add(splat(0.0f) - a, e * power_of_two(t) * (p / q), max(splat(0.0f), x));
}
// One after the other, which takes 19.9 cycles a vector on Zen 4 and interleaved 20.6.
template <class A, int N>
CF_INLINE Group<F, N> gelu(const Group<F, N>& x) {
  return on_each<N>([](F member) CF_LAMBDA { return gelu<A>(member); }, x);
}

// log(1 + e^x) = max(x, 0) + log1p(e^-|x|); log1p(u) = 2 atanh(u / (2 + u)), and the argument is at most 1/3.
// <= 4 ulp.
template <class A>
CF_INLINE F softplus(F x) {
  const F u = exp<A>(splat(0.0f) - abs(x));
  const F s = u / (CF_SPLAT(2.0f) + u);
  const F p = polynomial<A>(s * s, CF_FLOATS(1.0f, 1.0f / 3, 1.0f / 5, 1.0f / 7, 1.0f / 9, 1.0f / 11,
                                             1.0f / 13, 1.0f / 15, 1.0f / 17));
  return max(splat(0.0f), x) + CF_SPLAT(2.0f) * s * p;
}

}  // namespace
}  // namespace claude_flow
