// Softmax of a row, and attention pooling, which is one softmax over the tokens of an item.
#pragma once

#include "kernels/args.h"
#include "simd/math-inl.h"

namespace claude_flow {
namespace {

CF_INLINE float maximum_of_row(const float* x, int n) {
  Lanes16 largest(x[0]);
  sweep(n, [&](int i, int part, auto lanes) {
    largest.part[part] = max(or_else(load(x + i, lanes), lanes, largest.part[part]), largest.part[part]);
  });
  return largest.maximum();
}

// y = e^(x - largest) for n <= kSumBlock; returns their sum. y may be x.
template <class Arithmetic>
CF_INLINE float exponentials(const float* x, float* y, int n, float largest) {
  const F shift = splat(largest);
  Lanes16 sum(0.0f);
  sweep(n, [&](int i, int part, auto lanes) {
    const F e = keep(exp_nonpositive<Arithmetic>(load(x + i, lanes) - shift), lanes);
    store(y + i, e, lanes);
    sum.part[part] = sum.part[part] + e;
  });
  return sum.sum();
}

template <class Arithmetic>
CF_INLINE void softmax_row(const float* x, float* y, int n) {
  const float largest = maximum_of_row(x, n);
  double sum = 0;
  each_block(n, [&](int first, int count) CF_LAMBDA {
    sum += double{exponentials<Arithmetic>(x + first, y + first, count, largest)};
  });
  const F scale = splat(1.0f / static_cast<float>(sum));
  sweep(n, [&](int i, int, auto lanes) { store(y + i, load(y + i, lanes) * scale, lanes); });
}

void softmax_f32(const SoftmaxF32& a) {
  for (int row = 0; row < a.rows; ++row)
    softmax_row<Fused::Functions>(a.x + row * a.ld_x, a.y + row * a.ld_y, a.columns);
}

void attention_pool_f32(const AttentionPoolF32& a) {
  for (int t = 0; t < a.tokens; ++t) {
    const float* key = a.keys + t * a.ld_keys;
    Lanes16 sum(0.0f);
    sweep(a.key_width, [&](int i, int part, auto lanes) {
      sum.part[part] = sum.part[part] + load(key + i, lanes) * load(a.vector + i, lanes);
    });
    a.scratch[t] = sum.sum();
  }
  softmax_row<Consistent>(a.scratch, a.scratch, a.tokens);
  sweep(a.width, [&](int i, int, auto lanes) {
    F total = splat(0.0f);
    each_block(a.tokens, [&](int first, int count) CF_LAMBDA {
      F sum = splat(0.0f);
      for (int t = first; t < first + count; ++t) {
        sum = sum + splat(a.scratch[t]) * load(a.values + t * a.ld_values + i, lanes);
      }
      total = total + sum;
    });
    store(a.y + i, total, lanes);
  });
}

}  // namespace
}  // namespace claude_flow
