// What the float and the byte product share: how a result is covered with register tiles, and how a row ends.
#pragma once

#include "kernels/activation-inl.h"

namespace claude_flow {
namespace {

constexpr int kTileColumns = kTileVectors * kLanes;
constexpr int kBlockRows = kTileRows * 40;  // their copies take up to 600 KB of L2

// Brings N bytes to L2. A tile does so with the panel of weights to the right of its own, which comes from L3 or
// beyond: 128 x 512 x 512 floats at 111 instead of 107 GFLOP/s, 32 rows at 114 instead of 100.
template <int N>
CF_INLINE void prefetch(const void* p) {
  CF_UNROLL for (int i = 0; i < N; i += 64) __builtin_prefetch(static_cast<const char*>(p) + i, 0, 2);
}
CF_INLINE void prefetch_to_write(const float* p) { __builtin_prefetch(p, 1, 3); }

// The sums of a finished loop, for code out of line. A copy: GCC keeps no array in registers whose address escapes.
template <class V, int R, int N>
struct InMemory {
  V at[R * N];
  explicit CF_INLINE InMemory(const V (&sum)[R][N]) {
    CF_UNROLL for (int r = 0; r < R; ++r) { CF_UNROLL for (int n = 0; n < N; ++n) at[r * N + n] = sum[r][n]; }
  }
};

// Few rows leave registers free: they take up to four panels at once, which hides the latency of the sums.
// Besides the sums, each row's broadcast wants a register: 7 rows x 2 panels of AVX-512 spilled 130 times.
constexpr int panels_at_once(int rows) {
  int panels = 1;
  while (panels < 4 && rows * ((panels + 1) * kTileVectors + 1) <= kRegisters) ++panels;
  return panels;
}

// c = act(sum + bias) + residual
struct Ending {
  const float* bias;
  const float* residual;
  ptrdiff_t ld_residual;
  Activation activation;
};

// Where a tile goes. A tile's function fills whole vectors and knows no activation but ReLU.
struct Target {
  float* c;
  ptrdiff_t ld_c;
  int columns;      // that are left, from c on
  bool accumulate;  // start from c instead of 0
  Ending end;

  void right(int n) {
    c += n;
    columns -= n;
    if (end.bias != nullptr) end.bias += n;
    if (end.residual != nullptr) end.residual += n;
  }
  void down(int rows) {
    c += rows * ld_c;
    if (end.residual != nullptr) end.residual += rows * end.ld_residual;
  }
};

template <class Functions>
__attribute__((noinline)) void finish_rows(const float* sums, ptrdiff_t ld, const Target& t, int rows) {
  with_function(t.end.activation, [&](auto function) {
    for (int r = 0; r < rows; ++r) {
      const float* residual = t.end.residual + r * t.end.ld_residual;
      each_vector(t.columns, [&](int i, auto lanes) {
        F y = load(sums + r * ld + i, lanes);
        if (t.end.bias != nullptr) y = y + load(t.end.bias + i, lanes);
        y = function.template of<Functions>(y);
        if (t.end.residual != nullptr) y = y + load(residual + i, lanes);
        store(t.c + r * t.ld_c + i, y, lanes);
      });
    }
  });
}

// Tile is a struct with a Target `to`, with right(panels) and down(rows), and with
// static Function of(rows, one_panel), Function = void (*)(const Tile&), and its Arithmetic.
template <class Tile>
void run_tile(const Tile& tile, int rows, int panels) {
  const typename Tile::Function run = Tile::of(rows, panels == 1);
  const int width = panels * kTileColumns;
  const Target& to = tile.to;
  const bool late = to.end.activation != Activation::kNone && to.end.activation != Activation::kRelu;
  if (to.columns >= width && !late) return run(tile);
  Tile plain = tile;
  if (to.columns >= width) {
    plain.to.end.residual = nullptr;
    plain.to.end.activation = Activation::kNone;
    run(plain);
    Target end = to;
    end.columns = width;
    end.end.bias = nullptr;
    finish_rows<typename Tile::Arithmetic::Functions>(to.c, to.ld_c, end, rows);
    return;
  }
  alignas(64) float sums[kRegisters * kLanes];  // a tile's sums fit the registers
  for (int r = 0; r < rows && to.accumulate; ++r) {
    sweep(to.columns, [&](int i, int, auto lanes) {
      store(sums + r * width + i, load(to.c + r * to.ld_c + i, lanes), lanes);
    });
  }
  plain.to.c = sums;
  plain.to.ld_c = width;
  plain.to.end = {};
  run(plain);
  finish_rows<typename Tile::Arithmetic::Functions>(sums, width, to, rows);
}

// All that is right of `tile`, for at most kTileRows rows.
template <class Tile>
void across_panels(Tile tile, int rows) {
  const int at_once = panels_at_once(rows);
  while (tile.to.columns > 0) {
    const int panels = tile.to.columns > (at_once - 1) * kTileColumns ? at_once : 1;
    run_tile(tile, rows, panels);
    tile.right(panels);
  }
}

// All that is right of and below `corner`: as many tiles as it takes, of heights that differ by at most one. A panel of
// weights stays close while the tiles pass over it.
template <class Tile>
void cover(const Tile& corner, int rows) {
  const int tiles = (rows + kTileRows - 1) / kTileRows;
  if (tiles == 1) return across_panels(corner, rows);
  const int height = rows / tiles, taller = rows % tiles;
  for (Tile panel = corner; panel.to.columns > 0; panel.right(1)) {
    Tile tile = panel;
    for (int i = 0; i < tiles; ++i) {
      const int n = height + (i < taller ? 1 : 0);
      run_tile(tile, n, 1);
      tile.down(n);
    }
  }
}

}  // namespace
}  // namespace claude_flow
