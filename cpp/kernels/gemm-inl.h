// Matrix product with packed weights. A tile of kTileRows x kTileColumns sums stays in registers over a block of the
// depth; bias, ReLU and residual are applied there, the transcendental activations on the tile while it is in L1.
// The rows of `a` are copied to a block of constant pitch, so that a tile addresses them by immediate offsets and rows a
// power of two apart do not fall into the same cache sets.
// Every sum runs over blocks of the depth in order, and over each in order: with `Consistent` arithmetic the result is
// the same for every tile size.
#pragma once

#include "kernels/tile-inl.h"

namespace claude_flow {
namespace {

constexpr int kTileDepth = 256;
constexpr int kPitch = kTileDepth + 16;
constexpr size_t kGemmScratch = static_cast<size_t>(kBlockRows) * kPitch;

// c[R, columns] (+)= a[R, depth] b, for P panels of b side by side, each [depth, kTileColumns].
template <class Kind>
struct TileF32 {
  using Arithmetic = Kind;
  const float* a;  // rows kPitch apart
  const float* b;
  ptrdiff_t panel;  // floats from one panel of b to the next
  int depth;
  Target to;

  void right(int panels) {
    b += panels * panel;
    to.right(panels * kTileColumns);
  }
  void down(int rows) {
    a += rows * kPitch;
    to.down(rows);
  }

  using Function = void (*)(const TileF32&);
  template <int R = kTileRows>
  static Function of(int rows, bool one_panel) {
    if (rows == R) return one_panel ? multiply<R, 1> : multiply<R, panels_at_once(R)>;
    if constexpr (R > 1) return of<R - 1>(rows, one_panel);
    return nullptr;
  }

  template <int R, int P>
  static void multiply(const TileF32& t) {
    constexpr int kVectors = P * kTileVectors;
    F sum[R][kVectors];
    const auto each = [](auto body) CF_LAMBDA {
      CF_UNROLL for (int r = 0; r < R; ++r) { CF_UNROLL for (int v = 0; v < kVectors; ++v) body(r, v); }
    };
    each([&](int r, int v) CF_LAMBDA {
      sum[r][v] = splat(0.0f);
      prefetch_to_write(t.to.c + r * t.to.ld_c + v * kLanes);
    });

    const float* a = t.a;
    const float* b = t.b;
    for (int k = 0; k < t.depth; ++k, ++a, b += kTileColumns) {
      if (P == 1) prefetch<kTileColumns * 4>(b + t.panel);
      CF_UNROLL for (int p = 0; p < P; ++p) {
        F weights[kTileVectors];
        CF_UNROLL for (int v = 0; v < kTileVectors; ++v) weights[v] = load(b + p * t.panel + v * kLanes);
        CF_UNROLL for (int r = 0; r < R; ++r) {
          const auto x = factor(a + r * kPitch);
          CF_UNROLL for (int v = 0; v < kTileVectors; ++v) {
            F& s = sum[r][p * kTileVectors + v];
            s = Arithmetic::multiply_add(x, weights[v], s);
          }
        }
      }
    }

    if (t.to.accumulate) {
      each([&](int r, int v)
               CF_LAMBDA { sum[r][v] = load(t.to.c + r * t.to.ld_c + v * kLanes) + sum[r][v]; });
    }
    const Ending& end = t.to.end;
    if (end.bias != nullptr) {
      each([&](int r, int v) CF_LAMBDA { sum[r][v] = sum[r][v] + load(end.bias + v * kLanes); });
    }
    if (end.activation == Activation::kRelu) {
      each([&](int r, int v) CF_LAMBDA { sum[r][v] = Relu::of<Arithmetic>(sum[r][v]); });
    }
    if (end.residual != nullptr) {
      each([&](int r, int v)
               CF_LAMBDA { sum[r][v] = sum[r][v] + load(end.residual + r * end.ld_residual + v * kLanes); });
    }
    each([&](int r, int v) CF_LAMBDA { store(t.to.c + r * t.to.ld_c + v * kLanes, sum[r][v]); });
  }
};

CF_INLINE void copy_rows(const float* x, ptrdiff_t ld, int rows, int depth, float* block) {
  for (int r = 0; r < rows; ++r) {
    sweep(depth,
          [&](int i, int, auto lanes) { store(block + r * kPitch + i, load(x + r * ld + i, lanes), lanes); });
  }
}

template <class Arithmetic>
void gemm(const GemmF32& g) {
  const Ending end = {g.bias, g.residual, g.ld_residual, g.activation};
  for (int k = 0; k < g.depth; k += kTileDepth) {
    const int depth = g.depth - k < kTileDepth ? g.depth - k : kTileDepth;
    TileF32<Arithmetic> tile = {g.scratch,
                                g.packed + static_cast<ptrdiff_t>(k) * kTileColumns,
                                static_cast<ptrdiff_t>(g.depth) * kTileColumns,
                                depth,
                                {g.c, g.ld_c, g.columns, k > 0, k + depth == g.depth ? end : Ending{}}};
    for (int row = 0; row < g.rows; row += kBlockRows) {
      const int rows = g.rows - row < kBlockRows ? g.rows - row : kBlockRows;
      copy_rows(g.a + row * g.ld_a + k, g.ld_a, rows, depth, g.scratch);
      cover(tile, rows);
      tile.to.down(rows);
    }
  }
}

void gemm_f32(const GemmF32& g) { gemm<Fused>(g); }
void gemm_consistent_f32(const GemmF32& g) { gemm<Consistent>(g); }

}  // namespace
}  // namespace claude_flow
