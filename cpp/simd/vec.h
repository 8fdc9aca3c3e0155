// The vector contract. One of vec_{scalar,sse41,avx2,avx512,neon,simd128}.h comes first and defines, in an
// anonymous namespace, what every algorithm is written over:
//
//   kLanes, kHasFma                floats in a native vector, a power of two <= 16; whether `fused` rounds once
//   kLookup                        how many floats `lookup` finds by index within registers: 32, 8 or 0
//   F, I, M                        native vectors of float, of int32, and of lane conditions
//   F load(const float* p)         unaligned; store(float* p, F)
//   F load(const float* p, int n)  first n lanes, 0 <= n < kLanes; touches no memory behind them; the rest are 0
//   store(float* p, F, int n)      first n lanes only
//   F keep(F, int n)               lanes n and above become 0
//   F splat(float)                 I splat(int32_t)
//   a + b, a - b, a * b, a / b     IEEE, each rounded on its own (the build forbids contraction)
//   F fused(a, b, c)               a*b+c, one rounding where the hardware has FMA, else two
//   F min(a, b), max(a, b)         a < b ? a : b and a > b ? a : b, so a NaN in `a` yields b
//   F abs(a), F with_sign(a, s)    |a|, and |a| with the sign of s
//   M less(a, b)                   F select(M, yes, no)
//   I to_nearest(F)                ties to even; F to_float(I)
//   I a + b, a - b, a * b          low halves
//   F power_of_two(F t)            2^n for t = kExponentMagic + n, -126 <= n <= 127, and 0 for n = -127: n + 127 is in
//                                  the low bits of t
//   F ldexp(F x, F n)              x 2^n, rounded once, for whole n in -300..300
//   I load(const int32_t* p)       unaligned
//   I load_bytes(const int8_t* p)  per lane four signed bytes
//   I splat_bytes(const uint8_t*)  the same four unsigned bytes in every lane
//   I dot(I sum, I u, I s)         sum + the four products of u's bytes, each <= 127, with s's; exact
//   store_bytes(uint8_t* p, I)     lanes in 0..255 as bytes; store_bytes(p, I, int n) the first n
//   store_groups(int8_t* p, I, I, I, I)  per lane the low bytes of the four side by side
//   float reduce_add(F)            tree: lanes i and i + kLanes/2 first, then quarters, ...
//   float reduce_max(F)
//
// Those whose products take a factor from one lane of a register define CLAUDE_FLOW_FACTOR, types of their own for it with
// `*`, `fused` and `dot`, and
//
//   factor(const float* p), factor_bytes(const uint8_t* p)   for splat(*p) and splat_bytes(p), where nothing else is done
//                                                            with them
//
// Those whose kLookup is 32 have
//
//   F lookup(const float (&table)[32], I i)   table[i mod 32]
//   I bits_from(F x, int k)        the bits of x from bit k on
//   F clear_bits(F x, int k)       x with its lowest k bits 0
//   F bounded(F a, F limit)        a for |a| <= limit, else (and for a NaN) the limit, with either sign
//   F ldexp(F x, F n)              for every n: x 2^floor(n), and NaN for NaN
//
// and those whose kLookup is 8
//
//   F lookup(const float (&table)[8], F i)    table[the lowest 3 bits of i]
//   F power_of_two_of_eighths(F t)            2^floor(n) for t = kEighthsMagic + n, -126 <= n < 128, and 0 for -127 <= n < -126
//   bool all(M)
//
// Those without a product of four bytes in one instruction define CLAUDE_FLOW_PAIRS and
//
//   I low_halves(I), high_halves(I)  per byte its low, or high, four bits as a signed byte
//   I add_pairs(I sum, I u, I s)     per 16 bits: sum + the two products of u's bytes with s's, |s| <= 8
//   I sum_pairs(I sum)               per lane: 16 times the sum of its two
//
// Two rules make kernels consistent, that is bit-identical on every instruction set: no `fused`, and every
// reduction goes through 16 virtual lanes (Lanes16 below), whatever kLanes is.
#pragma once

#include "simd/compiler.h"

namespace claude_flow {
namespace {

constexpr int kVirtualLanes = 16;
constexpr int kParts = kVirtualLanes / kLanes;

// How many lanes of a vector are real: All at compile time, Some in a tail.
struct All {};
struct Some {
  int n;
};

CF_INLINE F load(const float* p, All) { return load(p); }
CF_INLINE F load(const float* p, Some lanes) { return load(p, lanes.n); }
CF_INLINE void store(float* p, F x, All) { store(p, x); }
CF_INLINE void store(float* p, F x, Some lanes) { store(p, x, lanes.n); }
CF_INLINE F keep(F x, All) { return x; }
CF_INLINE F keep(F x, Some lanes) { return keep(x, lanes.n); }
CF_INLINE F or_else(F x, All, F) { return x; }
// Lanes behind the real ones take `other`.
CF_INLINE F or_else(F x, Some lanes, F other) {
  alignas(64) static constexpr float kLane[kVirtualLanes] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                             8, 9, 10, 11, 12, 13, 14, 15};
  return select(less(load(kLane), splat(static_cast<float>(lanes.n))), x, other);
}

// Products of 4-bit weights over a group of the depth: the low, or high, halves of each lane's bytes as signed bytes w, their
// products joined to a sum, and what a sum of 16 w x is then. An instruction set without a product of four bytes has its own
// by CLAUDE_FLOW_PAIRS. Here the halves are times 16: compilers know `&` and `<<` for the vectors of every instruction set.
#if defined(CLAUDE_FLOW_PAIRS)
template <class Product>
CF_INLINE I add_halves(Product, I sum, I x, I w) {
  return add_pairs(sum, x, w);
}
CF_INLINE I sum_halves(I sum) { return sum_pairs(sum); }
#else
template <class V>
CF_INLINE V times_16(V x) {
  return x << 4;
}
CF_INLINE int32_t times_16(int32_t x) { return static_cast<int32_t>(static_cast<uint32_t>(x) << 4); }
CF_INLINE I high_halves(I x) { return {x.v & splat(static_cast<int32_t>(0xF0F0F0F0)).v}; }
CF_INLINE I low_halves(I x) { return high_halves({times_16(x.v)}); }
template <class Product>
CF_INLINE I add_halves(Product product, I sum, I x, I w) {
  return product(sum, x, w);
}
CF_INLINE I sum_halves(I sum) { return sum; }
#endif

// body(offset, lanes) over n floats, vector by vector.
template <class Body>
CF_INLINE void each_vector(int n, Body body) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, All{});
  if (i < n) body(i, Some{n - i});
}

// body(offset, part, lanes) over n floats, for sums; `part` is the native vector's place among the 16 virtual lanes.
template <class Body>
CF_INLINE void sweep(int n, Body body) {
  int i = 0;
  for (; i + kVirtualLanes <= n; i += kVirtualLanes) {
    CF_UNROLL for (int part = 0; part < kParts; ++part) body(i + part * kLanes, part, All{});
  }
  for (int part = 0; i < n; ++part, i += kLanes) {
    if (i + kLanes <= n) {
      body(i, part, All{});
    } else {
      body(i, part, Some{n - i});
    }
  }
}

// 16 partial results and the fixed tree over them: lanes i and i+8, then i+4, i+2, i+1.
struct Lanes16 {
  F part[kParts];

  CF_INLINE Lanes16() = default;
  explicit CF_INLINE Lanes16(float x) { CF_UNROLL for (int p = 0; p < kParts; ++p) part[p] = splat(x); }
  CF_INLINE float sum() {
    CF_UNROLL for (int width = kParts / 2; width > 0; width /= 2) {
      CF_UNROLL for (int p = 0; p < width; ++p) part[p] = part[p] + part[p + width];
    }
    return reduce_add(part[0]);
  }
  // Of lanes that may each be as large as a float can be.
  CF_INLINE double large_sum() {
    CF_UNROLL for (int p = 0; p < kParts; ++p) part[p] = part[p] * splat(1.0f / kVirtualLanes);
    return double{sum()} * kVirtualLanes;
  }
  CF_INLINE float maximum() {
    CF_UNROLL for (int p = 1; p < kParts; ++p) part[0] = max(part[0], part[p]);
    return reduce_max(part[0]);
  }
};

// Sums of floats run over so many in order; from there on they are added in double, so that no row is too long.
constexpr int kSumBlock = 2048;

// body(first, count) over n in blocks of that.
template <class Body>
CF_INLINE void each_block(int n, Body body) {
  for (int first = 0; first < n; first += kSumBlock)
    body(first, n - first < kSumBlock ? n - first : kSumBlock);
}

// Rows that are summed side by side: each takes kParts registers for its sums.
constexpr int kRowsAtOnce = kParts < 4 ? 4 / kParts : 1;
template <int R>
struct Rows16 {
  Lanes16 row[R];
  CF_INLINE Rows16() { CF_UNROLL for (int r = 0; r < R; ++r) row[r] = Lanes16(0.0f); }
};

CF_INLINE void store_bytes(uint8_t* p, I x, All) { store_bytes(p, x); }
CF_INLINE void store_bytes(uint8_t* p, I x, Some lanes) { store_bytes(p, x, lanes.n); }

// kMagic + x rounds x to a whole number, |x| < 2^22, and holds it in its low bits. The other holds it there as a float's
// exponent.
constexpr float kMagic = 12582912.0f;
constexpr float kExponentMagic = kMagic + 127.0f;
constexpr float kEighthsMagic = kMagic / 8 + 127.0f;  // the same for a whole number of eighths

#if !defined(CLAUDE_FLOW_FACTOR)
CF_INLINE F factor(const float* p) { return splat(*p); }
CF_INLINE I factor_bytes(const uint8_t* p) { return splat_bytes(p); }
#endif

#if !defined(CLAUDE_FLOW_WITH_DOT)
// body(product), where product(sum, u, s) is `dot` in the form that suits a loop on this host.
template <class Body>
CF_INLINE void with_dot(Body body) {
  body([](I sum, auto u, I s) CF_LAMBDA { return dot(sum, u, s); });
}
#endif

#if !defined(CLAUDE_FLOW_LDEXP)
// Two factors, since n reaches -151 and 128; only the second product can leave the normal range.
CF_INLINE F ldexp(F x, F n) {
  const F half = n * splat(0.5f) + splat(kExponentMagic);
  const F rest = n - (half - splat(kExponentMagic)) + splat(kExponentMagic);
  return x * power_of_two(half) * power_of_two(rest);
}
#endif

#if defined(__wasm__)
constexpr bool kFusedFunctions = false;  // one copy of the functions, which are a third of a module
#else
constexpr bool kFusedFunctions = true;
#endif

// How a kernel multiplies and adds: Fused is the fastest, Consistent the same on every instruction set.
template <bool kFused>
struct Products {
  static constexpr bool kTables = kFused && kLookup == 32;
  static constexpr bool kEighths = kFused && kLookup == 8;
  template <class X, class Y, class Z>
  static CF_INLINE auto multiply_add(X a, Y b, Z c) {
    if constexpr (kFused) {
      return fused(a, b, c);
    } else {
      return a * b + c;
    }
  }
  using Functions = Products<kFused && kFusedFunctions>;  // what elementwise functions use
};
using Fused = Products<kHasFma>;
using Consistent = Products<false>;

}  // namespace
}  // namespace claude_flow
