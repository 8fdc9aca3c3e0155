// The limits of the machine on this instruction set, for rooflines: loops that nothing but the arithmetic, or
// nothing but the memory, can slow down.
#pragma once

#include "kernels/args.h"
#include "simd/vec.h"

namespace claude_flow {
namespace {

// 12 sums hide a latency of 4 cycles at 2 or 3 operations per cycle, and fit 16 registers.
constexpr int kSums = 12;

void ceiling_fma_f32(const CeilingFmaF32& a) {
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

void ceiling_dot_u7i8(const CeilingDotU7I8& a) {
  static_assert(kCeilingColumns % (kSums * kLanes) == 0, "whole vectors");
  const I u = splat_bytes(a.u);
  for (int i = 0; i < kCeilingColumns; i += kSums * kLanes) {
    I sum[kSums];
    CF_UNROLL for (int v = 0; v < kSums; ++v) sum[v] = load(a.x + i + v * kLanes);
    with_dot([&](auto product) CF_LAMBDA {
      for (ptrdiff_t step = 0; step < a.steps; ++step) {
        CF_UNROLL for (int v = 0; v < kSums; ++v) sum[v] = product(sum[v], u, sum[v]);
      }
    });
    CF_UNROLL for (int v = 0; v < kSums; ++v) store(a.y + i + v * kLanes, to_float(sum[v]));
  }
}

void ceiling_read_f32(const CeilingReadF32& a) {
  constexpr int kStreams = 8;
  F sum[kStreams];
  CF_UNROLL for (int v = 0; v < kStreams; ++v) sum[v] = splat(0.0f);
  ptrdiff_t i = 0;
  for (; i + kStreams * kLanes <= a.count; i += kStreams * kLanes) {
    CF_UNROLL for (int v = 0; v < kStreams; ++v) sum[v] = sum[v] + load(a.x + i + v * kLanes);
  }
  CF_UNROLL for (int v = 1; v < kStreams; ++v) sum[0] = sum[0] + sum[v];
  float total = reduce_add(sum[0]);
  for (; i < a.count; ++i) total += a.x[i];
  *a.y = total;
}

}  // namespace
}  // namespace claude_flow
