// Product of 7-bit activations with packed 8-bit weights. The sums of a tile are integers and stay in registers over the
// whole depth; the zero point leaves through the column sums, then scales, bias, activation and residual follow.
#pragma once

#include "kernels/pairs_i8-inl.h"
#include "kernels/tile-inl.h"

namespace claude_flow {
namespace {

// sum = a b over the depth, for R rows of `a` and P panels of V vectors: the groups of four of a panel's columns
// lie side by side. kAhead brings the next panel to L2, for weights that come from beyond.
template <int R, int P, int V, bool kAhead>
CF_INLINE void multiply_bytes(const QuantizedRows& rows, const int8_t* b, ptrdiff_t panel, int depth,
                              I (&sum)[R][P * V]) {
#if defined(CLAUDE_FLOW_MATRICES)
  if constexpr (R >= kRowsForPairs && P == 1) return multiply_pairs<R, V>(rows, b, depth, sum);
#endif
  CF_UNROLL for (int r = 0; r < R; ++r) { CF_UNROLL for (int v = 0; v < P * V; ++v) sum[r][v] = splat(0); }
  const ptrdiff_t skip = rows.block - kQuantBlock;
  with_dot([&](auto product) CF_LAMBDA {
    // One loop, with the step from block to block in it.
    const uint8_t* a = rows.q;
    const int8_t* w = b;
    for (int k = 4; k <= depth; k += 4, w += V * kLanes * 4) {
      if (P == 1 && kAhead) prefetch<V * kLanes * 4>(w + panel);
      CF_UNROLL for (int p = 0; p < P; ++p) {
        I weights[V];
        CF_UNROLL for (int v = 0; v < V; ++v) weights[v] = load_bytes(w + p * panel + v * kLanes * 4);
        CF_UNROLL for (int r = 0; r < R; ++r) {
          const auto x = factor_bytes(a + r * kQuantPitch);
          CF_UNROLL for (int v = 0; v < V; ++v) {
            I& s = sum[r][p * V + v];
            s = product(s, x, weights[v]);
          }
        }
      }
      a += 4 + (k % kQuantBlock == 0 ? skip : 0);
    }
  });
}

struct TileU7I8 {
  using Arithmetic = Consistent;
  QuantizedRows a;
  const int8_t* b;
  ptrdiff_t panel;  // bytes from one panel of b to the next
  const int32_t* sums;
  const float* scales;
  int depth;
  Target to;

  void right(int panels) {
    b += panels * panel;
    sums += panels * kTileColumns;
    scales += panels * kTileColumns;
    to.right(panels * kTileColumns);
  }
  void down(int rows) {
    a.q += rows * kQuantPitch;
    a.scale += rows;
    a.zero += rows;
    to.down(rows);
  }

  using Function = void (*)(const TileU7I8&);
  template <int R = kTileRows>
  static Function of(int rows, bool one_panel) {
    if (rows == R) return one_panel ? multiply<R, 1> : multiply<R, panels_at_once(R)>;
    if constexpr (R > 1) return of<R - 1>(rows, one_panel);
    return nullptr;
  }

  template <int R, int P>
  static void multiply(const TileU7I8& t) {
    I sum[R][P * kTileVectors];
    multiply_bytes<R, P, kTileVectors, true>(t.a, t.b, t.panel, t.depth, sum);
    finish(t, InMemory(sum).at, R, P * kTileVectors);
  }

  // Out of line: with it behind the loop, GCC 12 had more values than registers and kept the sums in memory.
  __attribute__((noinline)) static void finish(const TileU7I8& t, const I* sum, int rows, int vectors) {
    // Copies, since a store to c might change what `t` says.
    const Target to = t.to;
    const Ending end = to.end;
    const int32_t* sums = t.sums;
    const float* scales = t.scales;
    const bool relu = end.activation == Activation::kRelu;
    for (int r = 0; r < rows; ++r) {
      const I zero = splat(t.a.zero[r]);
      const F row_scale = splat(t.a.scale[r]);
      for (int v = 0; v < vectors; ++v, ++sum) {
        const int column = v * kLanes;
        F y = to_float(*sum - zero * load(sums + column)) * (row_scale * load(scales + column));
        if (end.bias != nullptr) y = y + load(end.bias + column);
        if (relu) y = Relu::of<Arithmetic>(y);
        if (end.residual != nullptr) y = y + load(end.residual + r * end.ld_residual + column);
        store(to.c + r * to.ld_c + column, y);
      }
    }
  }
};

void gemm_u7i8(const GemmU7I8& g) {
  const int depth = (g.depth + 3) / 4 * 4;
  TileU7I8 tile = {g.a,
                   g.packed,
                   static_cast<ptrdiff_t>(depth) * kTileColumns,
                   g.sums,
                   g.scales,
                   depth,
                   {g.c, g.ld_c, g.columns, false, {g.bias, g.residual, g.ld_residual, g.activation}}};
  for (int row = 0; row < g.rows; row += kBlockRows) {
    const int rows = g.rows - row < kBlockRows ? g.rows - row : kBlockRows;
    cover(tile, rows);
    tile.down(rows);
  }
}

}  // namespace
}  // namespace claude_flow
