// Product of 7-bit activations with packed 4-bit weights, which become bytes in registers. The sums of a group of the
// depth are integers; each group then joins its column's float sum with its scale, group by group, so that the order of
// additions is the same on every instruction set.
#pragma once

#include "kernels/tile-inl.h"

namespace claude_flow {
namespace {

// sum = the scaled groups of a b over the depth, for R rows of `a` and P panels of V vectors, whose scales lie
// `scale_panel` apart.
template <int R, int P, int V, bool kAhead>
CF_INLINE void multiply_at_once(const QuantizedRows& rows, const int8_t* b, ptrdiff_t panel,
                                const float* scales, ptrdiff_t scale_panel, int depth, F (&total)[R][P * V]) {
  CF_UNROLL for (int r = 0; r < R; ++r) {
    CF_UNROLL for (int v = 0; v < P * V; ++v) total[r][v] = splat(0.0f);
  }
  const ptrdiff_t skip = rows.block - kQuantBlock;
  with_dot([&](auto product) CF_LAMBDA {
    const uint8_t* a = rows.q;
    const int8_t* w = b;
    for (int group = 0; group < depth; group += kGroupDepth, scales += V * kLanes) {
      I sum[R][P * V];
      CF_UNROLL for (int r = 0; r < R; ++r) {
        CF_UNROLL for (int v = 0; v < P * V; ++v) sum[r][v] = splat(0);
      }
      const int last = depth - group < kGroupDepth ? depth : group + kGroupDepth;
      for (int k = group; k < last; k += 8, a += 8, w += V * kLanes * 4) {
        if (P == 1 && kAhead) prefetch<V * kLanes * 4>(w + panel);
        CF_UNROLL for (int p = 0; p < P; ++p) {
          CF_UNROLL for (int half = 0; half < 2; ++half) {
            I weights[V];
            CF_UNROLL for (int v = 0; v < V; ++v) {
              const I both = load_bytes(w + p * panel + v * kLanes * 4);
              weights[v] = half == 0 ? low_halves(both) : high_halves(both);
            }
            CF_UNROLL for (int r = 0; r < R; ++r) {
              const I x = splat_bytes(a + r * kQuantPitch + 4 * half);
              CF_UNROLL for (int v = 0; v < V; ++v) {
                I& s = sum[r][p * V + v];
                s = add_halves(product, s, x, weights[v]);
              }
            }
          }
        }
      }
      CF_UNROLL for (int p = 0; p < P; ++p) {
        CF_UNROLL for (int v = 0; v < V; ++v) {
          const F scale = load(scales + p * scale_panel + v * kLanes);
          CF_UNROLL for (int r = 0; r < R; ++r) {
            F& t = total[r][p * V + v];
            t = t + to_float(sum_halves(sum[r][p * V + v])) * scale;
          }
        }
      }
      a += (group + kGroupDepth) % kQuantBlock == 0 ? skip : 0;
    }
  });
}

#ifdef __wasm__
// As WebAssembly there is code for one row of one panel alone: with that for every tile, here and in the LSTM, the modules
// had 158 kB, and a page waits for 150 at most. The bits are the same, since no row or column looks at another.
__attribute__((noinline)) void multiply_one(const QuantizedRows& row, const int8_t* b, const float* scales,
                                            int depth, F (&total)[1][4]) {
  multiply_at_once<1, 1, 4, false>(row, b, 0, scales, 0, depth, total);
}
#endif

template <int R, int P, int V, bool kAhead>
CF_INLINE void multiply_halves(const QuantizedRows& rows, const int8_t* b, ptrdiff_t panel,
                               const float* scales, ptrdiff_t scale_panel, int depth, F (&total)[R][P * V]) {
#ifdef __wasm__
  QuantizedRows row = rows;
  for (int r = 0; r < R; ++r, row.q += kQuantPitch) {
    for (int p = 0; p < P; ++p) {
      F one[1][V];
      multiply_one(row, b + p * panel, scales + p * scale_panel, depth, one);
      for (int v = 0; v < V; ++v) total[r][p * V + v] = one[0][v];
    }
  }
#else
  multiply_at_once<R, P, V, kAhead>(rows, b, panel, scales, scale_panel, depth, total);
#endif
}

struct TileU7I4 {
  using Arithmetic = Consistent;
  QuantizedRows a;
  const int8_t* b;
  ptrdiff_t panel;  // bytes from one panel of b to the next
  const float* scales;
  const float* sums;
  int depth;
  Target to;

  void right(int panels) {
    b += panels * panel;
    scales += panels * groups_of(depth) * kTileColumns;
    sums += panels * kTileColumns;
    to.right(panels * kTileColumns);
  }
  void down(int rows) {
    a.q += rows * kQuantPitch;
    a.scale += rows;
    a.zero += rows;
    to.down(rows);
  }

  using Function = void (*)(const TileU7I4&);
  template <int R = kTileRows>
  static Function of(int rows, bool one_panel) {
    if (rows == R) return one_panel ? multiply<R, 1> : multiply<R, panels_at_once(R)>;
    if constexpr (R > 1) return of<R - 1>(rows, one_panel);
    return nullptr;
  }

  template <int R, int P>
  static void multiply(const TileU7I4& t) {
    F sum[R][P * kTileVectors];
    multiply_halves<R, P, kTileVectors, true>(t.a, t.b, t.panel, t.scales, groups_of(t.depth) * kTileColumns,
                                              t.depth, sum);
    finish(t, sum[0], R, P * kTileVectors);
  }

  __attribute__((noinline)) static void finish(const TileU7I4& t, const F* sum, int rows, int vectors) {
    // Copies, since a store to c might change what `t` says.
    const Target to = t.to;
    const Ending end = to.end;
    const float* sums = t.sums;
    const bool relu = end.activation == Activation::kRelu;
    for (int r = 0; r < rows; ++r) {
      const F zero = to_float(splat(t.a.zero[r]));
      const F row_scale = splat(t.a.scale[r]);
      for (int v = 0; v < vectors; ++v, ++sum) {
        const int column = v * kLanes;
        F y = (*sum - zero * load(sums + column)) * row_scale;
        if (end.bias != nullptr) y = y + load(end.bias + column);
        if (relu) y = Relu::of<Arithmetic>(y);
        if (end.residual != nullptr) y = y + load(end.residual + r * end.ld_residual + column);
        store(to.c + r * to.ld_c + column, y);
      }
    }
  }
};

void gemm_u7i4(const GemmU7I4& g) {
  TileU7I4 tile = {g.a,
                   g.packed,
                   static_cast<ptrdiff_t>((g.depth + 7) / 8 * 4) * kTileColumns,
                   g.scales,
                   g.sums,
                   g.depth,
                   {g.c, g.ld_c, g.columns, false, {g.bias, g.residual, g.ld_residual, g.activation}}};
  for (int row = 0; row < g.rows; row += kBlockRows) {
    const int rows = g.rows - row < kBlockRows ? g.rows - row : kBlockRows;
    cover(tile, rows);
    tile.down(rows);
  }
}

}  // namespace
}  // namespace claude_flow
