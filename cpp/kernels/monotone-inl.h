// Quantiles that cannot cross: the middle one as it is, the others by steps of softplus.
#pragma once

#include "kernels/args.h"
#include "simd/math-inl.h"

namespace claude_flow {
namespace {

void monotone_f32(const MonotoneF32& a) {
  const int middle = a.quantiles / 2;
  for (int row = 0; row < a.rows; ++row) {
    for (int column = 0; column < a.columns; column += a.group) {
      const float* x = a.x + row * a.ld_x + column;
      float* y = a.y + row * a.ld_y + column;
      sweep(a.quantiles,
            [&](int i, int, auto lanes) { store(y + i, softplus<Consistent>(load(x + i, lanes)), lanes); });
      y[middle] = x[middle];
      for (int i = middle + 1; i < a.quantiles; ++i) y[i] = y[i - 1] + y[i];
      for (int i = middle - 1; i >= 0; --i) y[i] = y[i + 1] - y[i];
      for (int i = a.quantiles; i < a.group; ++i) y[i] = x[i];
    }
  }
}

}  // namespace
}  // namespace claude_flow
