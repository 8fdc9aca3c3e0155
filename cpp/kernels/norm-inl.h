// Layer normalization, two passes over a row that sits in L1: the mean, then the variance around it.
#pragma once

#include "kernels/args.h"
#include "simd/vec.h"

namespace claude_flow {
namespace {

CF_INLINE float sum_of_row(const float* x, int n) {
  Lanes16 sum(0.0f);
  sweep(n, [&](int i, int part, auto lanes) { sum.part[part] = sum.part[part] + load(x + i, lanes); });
  return sum.sum();
}

void layer_norm_f32(const LayerNormF32& a) {
  const float n = static_cast<float>(a.columns);
  for (int row = 0; row < a.rows; ++row) {
    const float* x = a.x + row * a.ld_x;
    float* y = a.y + row * a.ld_y;
    const F mean = splat(sum_of_row(x, a.columns) / n);
    Lanes16 squares(0.0f);
    sweep(a.columns, [&](int i, int part, auto lanes) {
      const F d = keep(load(x + i, lanes) - mean, lanes);
      squares.part[part] = squares.part[part] + d * d;
    });
    const F scale = splat(1.0f / __builtin_sqrtf(squares.sum() / n + a.epsilon));
    sweep(a.columns, [&](int i, int, auto lanes) {
      const F normal = (load(x + i, lanes) - mean) * scale;
      store(y + i, normal * load(a.gamma + i, lanes) + load(a.beta + i, lanes), lanes);
    });
  }
}

}  // namespace
}  // namespace claude_flow
