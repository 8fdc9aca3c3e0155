// Several vectors as one: an operation of simd/vec.h on a Group is done on each of its vectors in turn. A function of a
// group is so many functions of a vector, their instructions interleaved. That keeps the multipliers busy where one
// function after the other would not: a processor looks ahead by fewer instructions than it takes to hide the latencies
// of a whole function.
#pragma once

#include <type_traits>

#include "simd/vec.h"

namespace claude_flow {
namespace {

// How many vectors an elementwise kernel takes at once. Cycles per vector on Zen 4 with AVX-512, for 1, 2, 3 and 4:
// tanh 11.4, 10.8, 10.5, 10.6; sigmoid 13.6, 12.9, 12.6, 12.9; exp 7.6, 7.5, 7.4, 7.4. With the 16 registers of AVX2
// two vectors go through memory, which takes twice as long as one after the other.
constexpr int kGroup = kLookup == 32 ? 3 : 1;

// Functions of groups keep them in plain variables: GCC 12 stores a struct of groups to memory.
template <class T, int N>
struct Group {
  T v[N];
};

template <class T>
constexpr int kVectors = 0;
template <class T, int N>
constexpr int kVectors<Group<T, N>> = N;

template <class T>
CF_INLINE const T& member(const T& x, int) {
  return x;
}
template <class T, int N>
CF_INLINE const T& member(const Group<T, N>& x, int i) {
  return x.v[i];
}

// f of the members of x, of which some are groups of N and others the same for all.
template <int N, class Function, class... X>
CF_INLINE auto on_each(Function f, const X&... x) {
  Group<decltype(f(member(x, 0)...)), N> y;
  CF_UNROLL for (int i = 0; i < N; ++i) y.v[i] = f(member(x, i)...);
  return y;
}

#define CLAUDE_FLOW_ON_GROUPS(sign)                                                                 \
  template <class X, class Y, int N = kVectors<X> | kVectors<Y>, class = std::enable_if_t<(N > 0)>> \
  CF_INLINE auto operator sign(const X& x, const Y& y) {                                            \
    return on_each<N>([](const auto& a, const auto& b) CF_LAMBDA { return a sign b; }, x, y);       \
  }
CLAUDE_FLOW_ON_GROUPS(+)
CLAUDE_FLOW_ON_GROUPS(-)
CLAUDE_FLOW_ON_GROUPS(*)
CLAUDE_FLOW_ON_GROUPS(/)
#undef CLAUDE_FLOW_ON_GROUPS

#define CLAUDE_FLOW_ON_GROUPS(name)                                                           \
  template <class... X, int N = (kVectors<X> | ...), class = std::enable_if_t<(N > 0)>>       \
  CF_INLINE auto name(const X&... x) {                                                        \
    return on_each<N>([](const auto&... member) CF_LAMBDA { return name(member...); }, x...); \
  }
CLAUDE_FLOW_ON_GROUPS(fused)
CLAUDE_FLOW_ON_GROUPS(min)
CLAUDE_FLOW_ON_GROUPS(max)
CLAUDE_FLOW_ON_GROUPS(abs)
CLAUDE_FLOW_ON_GROUPS(with_sign)
CLAUDE_FLOW_ON_GROUPS(less)
CLAUDE_FLOW_ON_GROUPS(select)
CLAUDE_FLOW_ON_GROUPS(power_of_two)
CLAUDE_FLOW_ON_GROUPS(ldexp)
CLAUDE_FLOW_ON_GROUPS(bounded)
CLAUDE_FLOW_ON_GROUPS(lookup)
CLAUDE_FLOW_ON_GROUPS(bits_from)
CLAUDE_FLOW_ON_GROUPS(clear_bits)
#undef CLAUDE_FLOW_ON_GROUPS

// Beside All and Some of simd/vec.h, the lanes of N whole vectors.
template <int N>
struct Whole {};

template <int N>
CF_INLINE Group<F, N> load(const float* p, Whole<N>) {
  Group<F, N> x;
  CF_UNROLL for (int i = 0; i < N; ++i) x.v[i] = load(p + i * kLanes);
  return x;
}
template <int N>
CF_INLINE void store(float* p, const Group<F, N>& x, Whole<N>) {
  CF_UNROLL for (int i = 0; i < N; ++i) store(p + i * kLanes, x.v[i]);
}

// body(offset, lanes) over n floats, kGroup vectors at once and the rest vector by vector.
template <class Body>
CF_INLINE void each_group(int n, Body body) {
  int i = 0;
  if constexpr (kGroup > 1) {
    for (; i + kGroup * kLanes <= n; i += kGroup * kLanes) body(i, Whole<kGroup>{});
  }
  each_vector(n - i, [&](int j, auto lanes) CF_LAMBDA { body(i + j, lanes); });
}

}  // namespace
}  // namespace claude_flow
