// One LSTM time step. The input product is done for all steps beforehand; here the recurrent weights, packed
// with the four gates of a vector of units side by side, give i, f, g and o in registers, and the cell update
// happens there. The recurrent product is of floats or of bytes; the rest is the same.
#pragma once

#include "kernels/gemm_i8-inl.h"

namespace claude_flow {
namespace {

// One vector of units, from its four gates. Like everything behind the product out of line: inlined into every
// tile it would be most of their code, and press the sums out of the registers.
template <class A>
CF_INLINE void update_cell(const F* i_f_g_o, bool first_step, float* memory, float* h, int units) {
  const F fresh = sigmoid_times_tanh<A>(i_f_g_o[0], i_f_g_o[2]);
  const F cell = first_step ? fresh : A::multiply_add(sigmoid<A>(i_f_g_o[1]), load(memory), fresh);
  store(memory, cell);
  const F y = sigmoid_times_tanh<A>(i_f_g_o[3], cell);
  if (units >= kLanes) {
    store(h, y);
  } else {
    store(h, y, units);
  }
}

// Rows item .. item + rows - 1 and `blocks` blocks of units, from the finished gates,
template <class Functions>
__attribute__((noinline)) void finish_units(const LstmStepF32& a, const F* gates, int item, int rows,
                                            int block, int blocks) {
  for (int r = 0; r < rows; ++r) {
    const ptrdiff_t row = a.first_row[item + r] + a.step;
    float* memory = a.cell + (item + r) * (a.ld_inputs / 4);
    for (int b = block; b < block + blocks; ++b, gates += 4) {
      update_cell<Functions>(gates, a.step == 0, memory + b * kLanes, a.h + row * a.ld_h + b * kLanes,
                             a.units - b * kLanes);
    }
  }
}

// or from the integer sums.
__attribute__((noinline)) void finish_units(const LstmStepU7I8& a, const I* sums, int item, int rows,
                                            int block, int blocks) {
  for (int r = 0; r < rows; ++r) {
    const ptrdiff_t row = a.first_row[item + r] + a.step;
    float* memory = a.cell + (item + r) * (a.ld_inputs / 4);
    const I zero = splat(a.step == 0 ? 0 : a.before.zero[item + r]);
    const F row_scale = splat(a.step == 0 ? 0.0f : a.before.scale[item + r]);
    for (int b = block; b < block + blocks; ++b) {
      F gates[4];
      for (int g = 0; g < 4; ++g, ++sums) {
        const int column = (b * 4 + g) * kLanes;
        gates[g] = load(a.inputs + row * a.ld_inputs + column);
        if (a.step == 0) continue;
        const F product = to_float(*sums - zero * load(a.sums + column));
        gates[g] = gates[g] + product * (row_scale * load(a.scales + column));
      }
      update_cell<Consistent>(gates, a.step == 0, memory + b * kLanes, a.h + row * a.ld_h + b * kLanes,
                              a.units - b * kLanes);
    }
  }
}

template <class Arithmetic, int R, int P>
void lstm_tile(const LstmStepF32& a, int item, int block) {
  F gate[R][P * 4];
  const float* h[R];
  CF_UNROLL for (int r = 0; r < R; ++r) {
    const ptrdiff_t row = a.first_row[item + r] + a.step;
    h[r] = a.h + (row - 1) * a.ld_h;
    CF_UNROLL for (int g = 0; g < P * 4; ++g) {
      gate[r][g] = load(a.inputs + row * a.ld_inputs + (block * 4 + g) * kLanes);
    }
  }
  const ptrdiff_t panel = static_cast<ptrdiff_t>(a.units) * 4 * kLanes;
  const float* weights = a.packed + block * panel;
  const int depth = a.step == 0 ? 0 : a.units;
  for (int k = 0; k < depth; ++k, weights += 4 * kLanes) {
    if (P == 1) prefetch<16 * kLanes>(weights + panel);
    CF_UNROLL for (int p = 0; p < P; ++p) {
      F w[4];
      CF_UNROLL for (int g = 0; g < 4; ++g) w[g] = load(weights + p * panel + g * kLanes);
      CF_UNROLL for (int r = 0; r < R; ++r) {
        const F x = splat(h[r][k]);
        CF_UNROLL for (int g = 0; g < 4; ++g) {
          gate[r][p * 4 + g] = Arithmetic::multiply_add(x, w[g], gate[r][p * 4 + g]);
        }
      }
    }
  }
  finish_units<typename Arithmetic::Functions>(a, InMemory(gate).at, item, R, block, P);
}

template <class, int R, int P>
void lstm_tile(const LstmStepU7I8& a, int item, int block) {
  const int depth = (a.units + 3) / 4 * 4;
  const ptrdiff_t panel = static_cast<ptrdiff_t>(depth) * 4 * kLanes;
  const QuantizedRows before = {a.before.q + item * kQuantPitch, nullptr, nullptr, a.before.block};
  I sum[R][P * 4];
  multiply_bytes<R, P, 4>(before, a.packed + block * panel, panel, a.step == 0 ? 0 : depth, sum);
  finish_units(a, InMemory(sum).at, item, R, block, P);
}

template <class Arithmetic, int R, class Args>
CF_INLINE void lstm_rows(const Args& a, int rows, int item, int block) {
  if (rows == R) return lstm_tile<Arithmetic, R, 1>(a, item, block);
  if constexpr (R > 1) lstm_rows<Arithmetic, R - 1>(a, rows, item, block);
}

template <class Arithmetic, class Args>
CF_INLINE void lstm_step(const Args& a) {
  int block = a.first_block;
  if (a.items == 1) {
    // One row has too few sums to hide their latency: two blocks at once.
    for (; block + 2 <= a.last_block; block += 2) lstm_tile<Arithmetic, 1, 2>(a, 0, block);
  }
  const int tiles = (a.items + kLstmRows - 1) / kLstmRows;
  for (; block < a.last_block; ++block) {
    for (int tile = 0, item = 0; tile < tiles; ++tile) {
      const int rows = a.items / tiles + (tile < a.items % tiles ? 1 : 0);
      lstm_rows<Arithmetic, kLstmRows>(a, rows, item, block);
      item += rows;
    }
  }
}

void lstm_step_f32(const LstmStepF32& a) { lstm_step<Fused>(a); }
void lstm_step_consistent_f32(const LstmStepF32& a) { lstm_step<Consistent>(a); }
void lstm_step_u7i8(const LstmStepU7I8& a) { lstm_step<Consistent>(a); }

}  // namespace
}  // namespace claude_flow
