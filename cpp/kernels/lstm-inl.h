// One LSTM time step. The input product is done for all steps beforehand; here the recurrent weights, packed
// with the four gates of a vector of units side by side, give i, f, g and o in registers, and the cell update
// happens there. The recurrent product is of floats or of bytes; the rest is the same.
#pragma once

#include "kernels/gemm_i8-inl.h"

namespace claude_flow {
namespace {

// gate += h(t-1) r^T for rows item .. item + R - 1 (`row` in the values) and P blocks of units.
template <class Arithmetic, int R, int P>
CF_INLINE void add_recurrent(const LstmStepF32& a, int, const ptrdiff_t (&row)[R], int block,
                             F (&gate)[R][P * 4]) {
  const ptrdiff_t panel = static_cast<ptrdiff_t>(a.units) * 4 * kLanes;
  const float* h[R];
  CF_UNROLL for (int r = 0; r < R; ++r) h[r] = a.h + (row[r] - 1) * a.ld_h;
  const float* weights = a.packed + block * panel;
  for (int k = 0; k < a.units; ++k, weights += 4 * kLanes) {
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
}

template <class Arithmetic, int R, int P>
CF_INLINE void add_recurrent(const LstmStepU7I8& a, int item, const ptrdiff_t (&)[R], int block,
                             F (&gate)[R][P * 4]) {
  const int depth = (a.units + 3) / 4 * 4;
  const ptrdiff_t panel = static_cast<ptrdiff_t>(depth) * 4 * kLanes;
  const uint8_t* q[R];
  I sum[R][P * 4];
  CF_UNROLL for (int r = 0; r < R; ++r) {
    q[r] = a.before.q + (item + r) * kQuantPitch;
    CF_UNROLL for (int g = 0; g < P * 4; ++g) sum[r][g] = splat(0);
  }
  multiply_bytes<R, P, 4>(q, a.before.block, a.packed + block * panel, panel, depth, sum);
  CF_UNROLL for (int g = 0; g < P * 4; ++g) {
    const int column = (block * 4 + g) * kLanes;
    const I column_sum = load(a.sums + column);
    const F scale = load(a.scales + column);
    CF_UNROLL for (int r = 0; r < R; ++r) {
      const F product = to_float(sum[r][g] - splat(a.before.zero[item + r]) * column_sum);
      gate[r][g] = gate[r][g] + product * (splat(a.before.scale[item + r]) * scale);
    }
  }
}

// One vector of units, from its four gates. Out of line: inlined into every tile it would be most of their code.
__attribute__((noinline)) void update_cell(const F* i_f_g_o, bool first_step, float* memory, float* h,
                                           int units) {
  const F fresh = sigmoid(i_f_g_o[0]) * tanh(i_f_g_o[2]);
  const F cell = first_step ? fresh : sigmoid(i_f_g_o[1]) * load(memory) + fresh;
  store(memory, cell);
  const F y = sigmoid(i_f_g_o[3]) * tanh(cell);
  if (units >= kLanes) {
    store(h, y);
  } else {
    store(h, y, units);
  }
}

template <class Arithmetic, int R, int P, class Args>
void lstm_tile(const Args& a, int item, int block) {
  const ptrdiff_t padded = a.ld_inputs / 4;
  ptrdiff_t row[R];
  F gate[R][P * 4];
  CF_UNROLL for (int r = 0; r < R; ++r) {
    row[r] = a.first_row[item + r] + a.step;
    CF_UNROLL for (int g = 0; g < P * 4; ++g) {
      gate[r][g] = load(a.inputs + row[r] * a.ld_inputs + (block * 4 + g) * kLanes);
    }
  }
  if (a.step > 0) add_recurrent<Arithmetic, R, P>(a, item, row, block, gate);

  F gates[R][P * 4];  // those in memory: an array that is passed on would keep the sums from the registers
  CF_UNROLL for (int r = 0; r < R; ++r) {
    CF_UNROLL for (int g = 0; g < P * 4; ++g) gates[r][g] = gate[r][g];
  }
  for (int r = 0; r < R; ++r) {
    for (int p = 0; p < P; ++p) {
      const int unit = (block + p) * kLanes;
      update_cell(gates[r] + p * 4, a.step == 0, a.cell + (item + r) * padded + unit,
                  a.h + row[r] * a.ld_h + unit, a.units - unit);
    }
  }
}

template <class Arithmetic, int R, class Args>
CF_INLINE void lstm_rest(const Args& a, int item, int block) {
  if (a.items - item == R) return lstm_tile<Arithmetic, R, 1>(a, item, block);
  if constexpr (R > 1) lstm_rest<Arithmetic, R - 1>(a, item, block);
}

template <class Arithmetic, class Args>
CF_INLINE void lstm_step(const Args& a) {
  int block = a.first_block;
  if (a.items == 1) {
    // One row has too few sums to hide their latency: two blocks at once.
    for (; block + 2 <= a.last_block; block += 2) lstm_tile<Arithmetic, 1, 2>(a, 0, block);
  }
  for (; block < a.last_block; ++block) {
    int item = 0;
    for (; item + kLstmRows <= a.items; item += kLstmRows) {
      lstm_tile<Arithmetic, kLstmRows, 1>(a, item, block);
    }
    if constexpr (kLstmRows > 1) lstm_rest<Arithmetic, kLstmRows - 1>(a, item, block);
  }
}

void lstm_step_f32(const LstmStepF32& a) { lstm_step<Fused>(a); }
void lstm_step_consistent_f32(const LstmStepF32& a) { lstm_step<Consistent>(a); }
void lstm_step_u7i8(const LstmStepU7I8& a) { lstm_step<Consistent>(a); }

}  // namespace
}  // namespace claude_flow
