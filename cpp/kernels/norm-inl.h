// Layer normalization in three passes over rows that sit in L1. The mean's distance from the first value is summed up: of
// equal values that is 0, and of nearly equal ones as exact as they differ. What rounding the mean loses is taken off the
// variance and the result, which counts where that is more than the values differ.
#pragma once

#include "kernels/args.h"
#include "simd/vec.h"

namespace claude_flow {
namespace {

// R rows side by side: their sums are independent, which hides the latency of each. 512 columns on AVX-512: 59 GB/s
// with four, 41 with one.
template <int R>
CF_INLINE void normalize(const LayerNormF32& a, int row, double share) {
  const float* x = a.x + row * a.ld_x;
  float* y = a.y + row * a.ld_y;
  F first[R], mean[R], rest[R], scale[R];
  double sum[R], lost[R];
  CF_UNROLL for (int r = 0; r < R; ++r) first[r] = splat(x[r * a.ld_x]), sum[r] = 0;
  each_block(a.columns, [&](int begin, int count) CF_LAMBDA {
    Rows16<R> distance;
    sweep(count, [&](int i, int part, auto lanes) CF_LAMBDA {
      CF_UNROLL for (int r = 0; r < R; ++r) {
        const F d = keep(load(x + r * a.ld_x + begin + i, lanes) - first[r], lanes);
        distance.row[r].part[part] = distance.row[r].part[part] + d;
      }
    });
    CF_UNROLL for (int r = 0; r < R; ++r) sum[r] += double{distance.row[r].sum()};
  });
  CF_UNROLL for (int r = 0; r < R; ++r) {
    const double exact = double{x[r * a.ld_x]} + sum[r] * share;
    const float rounded = static_cast<float>(exact);
    lost[r] = exact - double{rounded};
    mean[r] = splat(rounded), rest[r] = splat(static_cast<float>(lost[r])), sum[r] = 0;
  }
  each_block(a.columns, [&](int begin, int count) CF_LAMBDA {
    Rows16<R> squares;
    sweep(count, [&](int i, int part, auto lanes) CF_LAMBDA {
      CF_UNROLL for (int r = 0; r < R; ++r) {
        const F d = keep(load(x + r * a.ld_x + begin + i, lanes) - mean[r], lanes);
        squares.row[r].part[part] = squares.row[r].part[part] + d * d;
      }
    });
    CF_UNROLL for (int r = 0; r < R; ++r) sum[r] += squares.row[r].large_sum();
  });
  CF_UNROLL for (int r = 0; r < R; ++r) {
    const float variance = static_cast<float>(sum[r] * share - lost[r] * lost[r]);
    scale[r] = splat(1.0f / __builtin_sqrtf((variance > 0.0f ? variance : 0.0f) + a.epsilon));
  }
  sweep(a.columns, [&](int i, int, auto lanes) CF_LAMBDA {
    const F gamma = load(a.gamma + i, lanes), beta = load(a.beta + i, lanes);
    CF_UNROLL for (int r = 0; r < R; ++r) {
      const F normal = (load(x + r * a.ld_x + i, lanes) - mean[r] - rest[r]) * scale[r];
      store(y + r * a.ld_y + i, normal * gamma + beta, lanes);
    }
  });
}

void layer_norm_f32(const LayerNormF32& a) {
  const double share = 1.0 / a.columns;
  int row = 0;
  for (; row + kRowsAtOnce <= a.rows; row += kRowsAtOnce) normalize<kRowsAtOnce>(a, row, share);
  for (; row < a.rows; ++row) normalize<1>(a, row, share);
}

}  // namespace
}  // namespace claude_flow
