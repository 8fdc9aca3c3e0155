// The limits of the machine on this instruction set, for rooflines: loops that nothing but the arithmetic, or
// nothing but the memory, can slow down.
#pragma once

#include "kernels/args.h"
#include "simd/vec.h"

namespace claude_flow {
namespace {

// 12 sums hide a latency of 4 cycles at 2 or 3 operations per cycle, and fit 16 registers.
void ceiling_fma_f32(const CeilingFmaF32& a) {
  constexpr int kSums = 12;
  const F scale = splat(a.scale), shift = splat(a.shift);
  int i = 0;
  for (; i + kSums * kLanes <= a.columns; i += kSums * kLanes) {
    F sum[kSums];
    CF_UNROLL for (int v = 0; v < kSums; ++v) sum[v] = load(a.x + i + v * kLanes);
    for (ptrdiff_t step = 0; step < a.steps; ++step) {
      CF_UNROLL for (int v = 0; v < kSums; ++v) sum[v] = fused(sum[v], scale, shift);
    }
    CF_UNROLL for (int v = 0; v < kSums; ++v) store(a.y + i + v * kLanes, sum[v]);
  }
  sweep(a.columns - i, [&](int j, int, auto lanes) {
    F sum = load(a.x + i + j, lanes);
    for (ptrdiff_t step = 0; step < a.steps; ++step) sum = fused(sum, scale, shift);
    store(a.y + i + j, sum, lanes);
  });
}

void ceiling_read_f32(const CeilingReadF32& a) {
  constexpr int kSums = 8;
  F sum[kSums];
  CF_UNROLL for (int v = 0; v < kSums; ++v) sum[v] = splat(0.0f);
  ptrdiff_t i = 0;
  for (; i + kSums * kLanes <= a.count; i += kSums * kLanes) {
    CF_UNROLL for (int v = 0; v < kSums; ++v) sum[v] = sum[v] + load(a.x + i + v * kLanes);
  }
  CF_UNROLL for (int v = 1; v < kSums; ++v) sum[0] = sum[0] + sum[v];
  float total = reduce_add(sum[0]);
  for (; i < a.count; ++i) total += a.x[i];
  *a.y = total;
}

}  // namespace
}  // namespace claude_flow
