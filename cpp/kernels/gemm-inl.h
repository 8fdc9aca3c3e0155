// Matrix product with packed weights. A tile of kTileRows x kTileColumns sums stays in registers over a block
// of the depth; bias, ReLU and residual are applied there, the transcendental activations on the tile while
// it is in L1. The rows of `a` are copied to a block of constant pitch, so that a tile addresses them by
// immediate offsets and rows a power of two apart do not fall into the same cache sets. Every sum runs over
// the depth in order: with `Consistent` arithmetic the result is the same for every tile size.
#pragma once

#include "kernels/activation-inl.h"

namespace claude_flow {
namespace {

constexpr int kTileColumns = kTileVectors * kLanes;
constexpr int kTileDepth = 256;
constexpr int kPitch = kTileDepth + 16;
constexpr int kBlockRows = kTileRows * 16;
constexpr size_t kGemmScratch = static_cast<size_t>(kBlockRows) * kPitch;

// c[R, columns] (+)= a[R, depth] b, for P panels of b side by side, each [depth, kTileColumns].
struct TileArgs {
  const float* a;  // rows kPitch apart
  const float* b;
  ptrdiff_t panel;  // floats from one panel of b to the next
  float* c;
  ptrdiff_t ld_c;
  int depth, columns;
  bool accumulate;  // start from c instead of 0
  // The end of the row: c = max(sum + bias, floor) + residual, where present.
  const float* bias;
  const float* residual;
  ptrdiff_t ld_residual;
  bool relu;
};

template <class Arithmetic, int R, int P>
void tile(const TileArgs& t) {
  constexpr int kVectors = P * kTileVectors;
  F sum[R][kVectors];
  // Calls body(r, v, lanes) on what lies inside `columns`.
  const auto each = [&](auto body) __attribute__((always_inline)) {
    if (t.columns >= kVectors * kLanes) {
      CF_UNROLL for (int r = 0; r < R; ++r) {
        CF_UNROLL for (int v = 0; v < kVectors; ++v) body(r, v, All{});
      }
      return;
    }
    CF_UNROLL for (int v = 0; v < kVectors; ++v) {
      const int left = t.columns - v * kLanes;
      if (left >= kLanes) {
        CF_UNROLL for (int r = 0; r < R; ++r) body(r, v, All{});
      } else if (left > 0) {
        CF_UNROLL for (int r = 0; r < R; ++r) body(r, v, Some{left});
      }
    }
  };

  CF_UNROLL for (int r = 0; r < R; ++r) {
    CF_UNROLL for (int v = 0; v < kVectors; ++v) sum[r][v] = splat(0.0f);
  }
  if (t.accumulate) {
    each([&](int r, int v, auto lanes) CF_LAMBDA { sum[r][v] = load(t.c + r * t.ld_c + v * kLanes, lanes); });
  }

  const float* a = t.a;
  const float* b = t.b;
  for (int k = 0; k < t.depth; ++k, ++a, b += kTileColumns) {
    CF_UNROLL for (int p = 0; p < P; ++p) {
      F weights[kTileVectors];
      CF_UNROLL for (int v = 0; v < kTileVectors; ++v) weights[v] = load(b + p * t.panel + v * kLanes);
      CF_UNROLL for (int r = 0; r < R; ++r) {
        const F x = splat(a[r * kPitch]);
        CF_UNROLL for (int v = 0; v < kTileVectors; ++v) {
          F& s = sum[r][p * kTileVectors + v];
          s = Arithmetic::multiply_add(x, weights[v], s);
        }
      }
    }
  }

  if (t.bias != nullptr) {
    each([&](int r, int v, auto lanes)
             CF_LAMBDA { sum[r][v] = sum[r][v] + load(t.bias + v * kLanes, lanes); });
  }
  if (t.relu) {
    each([&](int r, int v, auto) CF_LAMBDA { sum[r][v] = Relu::of(sum[r][v]); });
  }
  if (t.residual != nullptr) {
    each([&](int r, int v, auto lanes)
             CF_LAMBDA { sum[r][v] = sum[r][v] + load(t.residual + r * t.ld_residual + v * kLanes, lanes); });
  }
  each([&](int r, int v, auto lanes) CF_LAMBDA { store(t.c + r * t.ld_c + v * kLanes, sum[r][v], lanes); });
}

// Few rows leave registers free: they take up to four panels at once, which hides the latency of the sums.
// Besides the sums, each row's broadcast wants a register: 7 rows x 2 panels of AVX-512 spilled 130 times.
constexpr int panels_at_once(int rows) {
  int panels = 1;
  while (panels < 4 && rows * ((panels + 1) * kTileVectors + 1) <= kRegisters) ++panels;
  return panels;
}

using TileFunction = void (*)(const TileArgs&);

template <class Arithmetic, int R = kTileRows>
TileFunction tile_of(int rows, bool one_panel) {
  if (rows == R) return one_panel ? tile<Arithmetic, R, 1> : tile<Arithmetic, R, panels_at_once(R)>;
  if constexpr (R > 1) return tile_of<Arithmetic, R - 1>(rows, one_panel);
  return nullptr;
}

CF_INLINE void copy_rows(const float* x, ptrdiff_t ld, int rows, int depth, float* block) {
  for (int r = 0; r < rows; ++r) {
    sweep(depth,
          [&](int i, int, auto lanes) { store(block + r * kPitch + i, load(x + r * ld + i, lanes), lanes); });
  }
}

// All panels of `t` (columns = all that are left), `at_once` or one at a time; then(tile) after each.
template <class Arithmetic, class Then>
CF_INLINE void across_panels(TileArgs t, int rows, Then then) {
  const int at_once = panels_at_once(rows);
  const TileFunction several = tile_of<Arithmetic>(rows, false);
  const TileFunction one = tile_of<Arithmetic>(rows, true);
  while (t.columns > 0) {
    const bool all = t.columns > (at_once - 1) * kTileColumns;
    const int taken = (all ? at_once : 1) * kTileColumns;
    TileArgs now = t;
    now.columns = t.columns < taken ? t.columns : taken;
    (all ? several : one)(now);
    then(now);
    t.b += (all ? at_once : 1) * t.panel;
    t.c += taken;
    if (t.bias != nullptr) t.bias += taken;
    if (t.residual != nullptr) t.residual += taken;
    t.columns -= taken;
  }
}

template <class Arithmetic>
void gemm(const GemmF32& g) {
  const bool late = g.activation != Activation::kNone && g.activation != Activation::kRelu;
  for (int k = 0; k < g.depth; k += kTileDepth) {
    const int depth = g.depth - k < kTileDepth ? g.depth - k : kTileDepth;
    const bool last = k + depth == g.depth;
    const bool fused_end = last && !late;
    for (int row = 0; row < g.rows; row += kBlockRows) {
      const int rows = g.rows - row < kBlockRows ? g.rows - row : kBlockRows;
      copy_rows(g.a + row * g.ld_a + k, g.ld_a, rows, depth, g.scratch);
      TileArgs t = {};
      t.b = g.packed + static_cast<ptrdiff_t>(k) * kTileColumns;
      t.panel = static_cast<ptrdiff_t>(g.depth) * kTileColumns;
      t.ld_c = g.ld_c;
      t.depth = depth;
      t.accumulate = k > 0;
      t.relu = fused_end && g.activation == Activation::kRelu;
      t.bias = last ? g.bias : nullptr;
      t.ld_residual = g.ld_residual;

      const auto place = [&](int r) {
        TileArgs now = t;
        now.a = g.scratch + r * kPitch;
        now.c = g.c + (row + r) * g.ld_c;
        now.residual = fused_end && g.residual != nullptr ? g.residual + (row + r) * g.ld_residual : nullptr;
        return now;
      };
      const auto end_of_tile = [&](const TileArgs& now, int count) {
        if (!last || !late) return;
        const ptrdiff_t column = (now.c - g.c) % g.ld_c;
        for (int r = 0; r < count; ++r) {
          float* c = now.c + r * g.ld_c;
          activation_f32({c, c, now.columns, g.activation});
          if (g.residual == nullptr) continue;
          const float* residual = g.residual + ((now.c - g.c) / g.ld_c + r) * g.ld_residual + column;
          sweep(now.columns, [&](int i, int, auto lanes) {
            store(c + i, load(c + i, lanes) + load(residual + i, lanes), lanes);
          });
        }
      };

      // A panel of weights stays in L1 while all full tiles of the block pass over it.
      const int full = rows / kTileRows * kTileRows;
      for (int column = 0; full > 0 && column < g.columns; column += kTileColumns) {
        for (int r = 0; r < full; r += kTileRows) {
          TileArgs now = place(r);
          now.b += column / kTileColumns * t.panel;
          now.c += column;
          now.columns = g.columns - column < kTileColumns ? g.columns - column : kTileColumns;
          if (now.bias != nullptr) now.bias += column;
          if (now.residual != nullptr) now.residual += column;
          tile<Arithmetic, kTileRows, 1>(now);
          end_of_tile(now, kTileRows);
        }
      }
      if (rows > full) {
        TileArgs rest = place(full);
        rest.columns = g.columns;
        across_panels<Arithmetic>(rest, rows - full,
                                  [&](const TileArgs& now) { end_of_tile(now, rows - full); });
      }
    }
  }
}

void gemm_f32(const GemmF32& g) { gemm<Fused>(g); }
void gemm_consistent_f32(const GemmF32& g) { gemm<Consistent>(g); }

}  // namespace
}  // namespace claude_flow
