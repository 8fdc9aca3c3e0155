// Product of 7-bit activations with packed 8-bit weights. The sums of a tile are integers and stay in registers over the
// whole depth; the zero point leaves through the column sums, then scales, bias, activation and residual follow.
#pragma once

#include "kernels/gemm-inl.h"

namespace claude_flow {
namespace {

struct TileArgsI8 {
  const uint8_t* a;  // rows kQuantPitch apart, blocks of the depth `block` apart
  ptrdiff_t block;
  const float* a_scale;
  const int32_t* a_zero;
  const int8_t* b;
  ptrdiff_t panel;  // bytes from one panel of b to the next
  const int32_t* sums;
  const float* scales;
  const float* bias;
  float* c;
  ptrdiff_t ld_c;
  int depth, columns;
  Activation activation;
  const float* residual;
  ptrdiff_t ld_residual;
};

// sum[r][v] += a b over the depth; the groups of four of a panel's columns lie side by side.
template <int R, int P, int V>
CF_INLINE void multiply_bytes(const uint8_t* const (&rows)[R], ptrdiff_t block, const int8_t* b,
                              ptrdiff_t panel, int depth, I (&sum)[R][P * V]) {
  for (int first = 0; first < depth; first += kQuantBlock) {
    const int end = depth - first < kQuantBlock ? depth - first : kQuantBlock;
    const uint8_t* a[R];
    CF_UNROLL for (int r = 0; r < R; ++r) a[r] = rows[r] + first / kQuantBlock * block;
    for (int k = 0; k < end; k += 4, b += V * kLanes * 4) {
      CF_UNROLL for (int p = 0; p < P; ++p) {
        I weights[V];
        CF_UNROLL for (int v = 0; v < V; ++v) weights[v] = load_bytes(b + p * panel + v * kLanes * 4);
        CF_UNROLL for (int r = 0; r < R; ++r) {
          const I x = splat_bytes(a[r] + k);
          CF_UNROLL for (int v = 0; v < V; ++v) sum[r][p * V + v] = dot(sum[r][p * V + v], x, weights[v]);
        }
      }
    }
  }
}

template <int R, int P>
void tile_i8(const TileArgsI8& t) {
  I sum[R][P * kTileVectors];
  const uint8_t* rows[R];
  CF_UNROLL for (int r = 0; r < R; ++r) {
    rows[r] = t.a + r * kQuantPitch;
    CF_UNROLL for (int v = 0; v < P * kTileVectors; ++v) sum[r][v] = splat(0);
  }
  multiply_bytes<R, P, kTileVectors>(rows, t.block, t.b, t.panel, t.depth, sum);

  CF_UNROLL for (int v = 0; v < P * kTileVectors; ++v) {
    const int column = v * kLanes;
    if (column >= t.columns) break;
    const I column_sum = load(t.sums + column);
    const F scale = load(t.scales + column);
    const auto finish = [&](auto lanes) CF_LAMBDA {
      CF_UNROLL for (int r = 0; r < R; ++r) {
        const F product = to_float(sum[r][v] - splat(t.a_zero[r]) * column_sum);
        F y = product * (splat(t.a_scale[r]) * scale);
        if (t.bias != nullptr) y = y + load(t.bias + column, lanes);
        if (t.activation == Activation::kRelu) y = Relu::of(y);
        store(t.c + r * t.ld_c + column, y, lanes);
      }
    };
    if (column + kLanes <= t.columns) {
      finish(All{});
    } else {
      finish(Some{t.columns - column});
    }
  }
  const bool late = t.activation != Activation::kNone && t.activation != Activation::kRelu;
  if (!late && t.residual == nullptr) return;
  for (int r = 0; r < R; ++r) {
    float* c = t.c + r * t.ld_c;
    if (late) activation_f32({c, c, t.columns, t.activation});
    if (t.residual == nullptr) continue;
    const float* residual = t.residual + r * t.ld_residual;
    sweep(t.columns, [&](int i, int, auto lanes) {
      store(c + i, load(c + i, lanes) + load(residual + i, lanes), lanes);
    });
  }
}

using TileFunctionI8 = void (*)(const TileArgsI8&);

template <int R = kTileRows>
TileFunctionI8 tile_i8_of(int rows, bool one_panel) {
  if (rows == R) return one_panel ? tile_i8<R, 1> : tile_i8<R, panels_at_once(R)>;
  if constexpr (R > 1) return tile_i8_of<R - 1>(rows, one_panel);
  return nullptr;
}

void gemm_u7i8(const GemmU7I8& g) {
  const ptrdiff_t depth = (g.depth + 3) / 4 * 4;
  const auto run = [&](int row, int rows, int column, int panels) {
    TileArgsI8 t;
    t.a = g.a.q + row * kQuantPitch;
    t.block = g.a.block;
    t.a_scale = g.a.scale + row;
    t.a_zero = g.a.zero + row;
    t.b = g.packed + column * depth;
    t.panel = kTileColumns * depth;
    t.sums = g.sums + column;
    t.scales = g.scales + column;
    t.bias = g.bias == nullptr ? nullptr : g.bias + column;
    t.c = g.c + row * g.ld_c + column;
    t.ld_c = g.ld_c;
    t.depth = static_cast<int>(depth);
    t.columns = g.columns - column < panels * kTileColumns ? g.columns - column : panels * kTileColumns;
    t.activation = g.activation;
    t.residual = g.residual == nullptr ? nullptr : g.residual + row * g.ld_residual + column;
    t.ld_residual = g.ld_residual;
    tile_i8_of(rows, panels == 1)(t);
  };

  for (int row = 0; row < g.rows; row += kBlockRows) {
    const int rows = g.rows - row < kBlockRows ? g.rows - row : kBlockRows;
    const int full = rows / kTileRows * kTileRows;
    for (int column = 0; full > 0 && column < g.columns; column += kTileColumns) {
      for (int r = 0; r < full; r += kTileRows) run(row + r, kTileRows, column, 1);
    }
    if (rows == full) continue;
    const int at_once = panels_at_once(rows - full);
    for (int column = 0; column < g.columns;) {
      const int panels = g.columns - column > (at_once - 1) * kTileColumns ? at_once : 1;
      run(row + full, rows - full, column, panels);
      column += panels * kTileColumns;
    }
  }
}

}  // namespace
}  // namespace claude_flow
