// Activations to 7 bits: one pass finds the range of a row, one rounds. Consistent: every product and sum is rounded on
// its own, minimum and maximum do not depend on the order.
#pragma once

#include "kernels/args.h"
#include "simd/vec.h"

namespace claude_flow {
namespace {

struct Range {
  float lowest, highest;
  float poison;  // 0, or NaN when a value is not finite
};

CF_INLINE Range range_of_row(const float* x, int n) {
  Lanes16 highest(0.0f), lowest(0.0f), poison(0.0f);  // `lowest` holds the maximum of -x
  sweep(n, [&](int i, int part, auto lanes) CF_LAMBDA {
    const F v = load(x + i, lanes);
    highest.part[part] = max(v, highest.part[part]);
    lowest.part[part] = max(splat(0.0f) - v, lowest.part[part]);
    poison.part[part] = poison.part[part] + v * splat(0.0f);
  });
  return {-lowest.maximum(), highest.maximum(), poison.sum()};
}

void quantize_f32_u7(const QuantizeF32U7& a) {
  for (int row = 0; row < a.rows; ++row) {
    const float* x = a.x + row * a.ld_x;
    Range range = range_of_row(x, a.columns);
    if (a.range != nullptr) range.lowest = a.range[0], range.highest = a.range[1];
    const float width = range.highest - range.lowest;
    // A row this close to zero is zero.
    const bool flat = width < 1e-35f;
    const float inverse = flat ? 0.0f : 127.0f / width;
    alignas(64) float zero[kLanes];
    store(zero, to_float(to_nearest(splat(flat ? 0.0f : -range.lowest * inverse))));
    a.to.scale[row] = (flat ? 0.0f : width / 127.0f) + range.poison;
    a.to.zero[row] = static_cast<int32_t>(zero[0]);
    const F shift = splat(zero[0]), factor = splat(inverse), highest = CF_SPLAT(127.0f);
    uint8_t* q = a.to.q + row * kQuantPitch;
    for (int first = 0; first < a.columns; first += kQuantBlock, q += a.to.block) {
      const int count = a.columns - first < kQuantBlock ? a.columns - first : kQuantBlock;
      sweep(count, [&](int i, int, auto lanes) CF_LAMBDA {
        // The value stands first in max, so that a NaN becomes 0 everywhere.
        const F scaled = min(max(load(x + first + i, lanes) * factor + shift, splat(0.0f)), highest);
        store_bytes(q + i, to_nearest(scaled), lanes);
      });
      for (int i = count; i % 8 != 0; ++i) q[i] = 0;
    }
  }
}

}  // namespace
}  // namespace claude_flow
