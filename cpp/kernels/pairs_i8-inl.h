// The byte product by instructions that multiply two rows by two columns at once, over eight of the depth. Four rows and
// more: with fewer, bringing two groups of weights together costs what it saves. Neoverse V1's model: a tile of 6 x 16 takes
// 8.8 cycles for eight of the depth, by dot products 12.1.
#pragma once

#include "kernels/args.h"
#include "simd/vec.h"

namespace claude_flow {
namespace {

#if defined(CLAUDE_FLOW_MATRICES)

constexpr int kRowsForPairs = 4;

// multiply_bytes of kernels/gemm_i8-inl.h for one panel.
template <int R, int V>
CF_INLINE void multiply_pairs(const QuantizedRows& rows, const int8_t* w, int depth, I (&sum)[R][V]) {
  constexpr int kPairs = (R + 1) / 2, kGroup = V * kLanes * 4;
  Block block[kPairs][V];
  CF_UNROLL for (int r = 0; r < kPairs; ++r) {
    CF_UNROLL for (int v = 0; v < V; ++v) block[r][v] = {splat(0).v, splat(0).v};
  }
  const ptrdiff_t skip = rows.block - kQuantBlock;
  const uint8_t* a = rows.q;
  for (int k = 8; k <= depth; k += 8, w += 2 * kGroup) {
    I pair[kPairs];
    CF_UNROLL for (int r = 0; r < kPairs; ++r) {
      pair[r] = load_pair(a + 2 * r * kQuantPitch, a + (2 * r + 1 < R ? 2 * r + 1 : 2 * r) * kQuantPitch);
    }
    CF_UNROLL for (int v = 0; v < V; ++v) {
      const I first = load_bytes(w + v * kLanes * 4), second = load_bytes(w + kGroup + v * kLanes * 4);
      CF_UNROLL for (int r = 0; r < kPairs; ++r) block[r][v] = dot_pairs(block[r][v], pair[r], first, second);
    }
    a += 8 + (k % kQuantBlock == 0 ? skip : 0);
  }
  CF_UNROLL for (int r = 0; r < R; ++r) {
    CF_UNROLL for (int v = 0; v < V; ++v) {
      sum[r][v] = r % 2 == 0 ? upper_row(block[r / 2][v]) : lower_row(block[r / 2][v]);
    }
  }
  if (depth % 8 == 0) return;
  CF_UNROLL for (int v = 0; v < V; ++v) {
    const I weights = load_bytes(w + v * kLanes * 4);
    CF_UNROLL for (int r = 0; r < R; ++r) {
      sum[r][v] = dot(sum[r][v], splat_bytes(a + r * kQuantPitch), weights);
    }
  }
}

#endif

}  // namespace
}  // namespace claude_flow
