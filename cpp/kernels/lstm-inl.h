// One LSTM time step. The input product is done for all steps beforehand; here the recurrent weights, packed
// with the four gates of a vector of units side by side, give i, f, g and o in registers, and the cell update
// happens there.
#pragma once

#include "kernels/args.h"
#include "simd/math-inl.h"

namespace claude_flow {
namespace {

template <class Arithmetic, int R, int P>
void lstm_tile(const LstmStepF32& a, int item, int block) {
  const ptrdiff_t padded = a.ld_inputs / 4;
  const ptrdiff_t panel = static_cast<ptrdiff_t>(a.units) * 4 * kLanes;
  ptrdiff_t row[R];
  F gate[R][P * 4];
  CF_UNROLL for (int r = 0; r < R; ++r) {
    row[r] = a.first_row[item + r] + a.step;
    CF_UNROLL for (int g = 0; g < P * 4; ++g) {
      gate[r][g] = load(a.inputs + row[r] * a.ld_inputs + (block * 4 + g) * kLanes);
    }
  }

  if (a.step > 0) {
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

  CF_UNROLL for (int r = 0; r < R; ++r) {
    CF_UNROLL for (int p = 0; p < P; ++p) {
      const int unit = (block + p) * kLanes;
      const F* i_f_g_o = gate[r] + p * 4;
      float* memory = a.cell + (item + r) * padded + unit;
      const F fresh = sigmoid(i_f_g_o[0]) * tanh(i_f_g_o[2]);
      const F cell = a.step > 0 ? sigmoid(i_f_g_o[1]) * load(memory) + fresh : fresh;
      store(memory, cell);
      const F h = sigmoid(i_f_g_o[3]) * tanh(cell);
      float* out = a.h + row[r] * a.ld_h + unit;
      if (unit + kLanes <= a.units) {
        store(out, h);
      } else {
        store(out, h, a.units - unit);
      }
    }
  }
}

template <class Arithmetic, int R>
CF_INLINE void lstm_rest(const LstmStepF32& a, int item, int block) {
  if (a.items - item == R) return lstm_tile<Arithmetic, R, 1>(a, item, block);
  if constexpr (R > 1) lstm_rest<Arithmetic, R - 1>(a, item, block);
}

template <class Arithmetic>
CF_INLINE void lstm_step(const LstmStepF32& a) {
  int block = a.first_block;
  if (a.items == 1) {
    // One row has too few sums to hide their latency: two blocks at once.
    for (; block + 2 <= a.last_block; block += 2) lstm_tile<Arithmetic, 1, 2>(a, 0, block);
  }
  for (; block < a.last_block; ++block) {
    int item = 0;
    for (; item + kLstmRows <= a.items; item += kLstmRows)
      lstm_tile<Arithmetic, kLstmRows, 1>(a, item, block);
    if constexpr (kLstmRows > 1) lstm_rest<Arithmetic, kLstmRows - 1>(a, item, block);
  }
}

void lstm_step_f32(const LstmStepF32& a) { lstm_step<Fused>(a); }

}  // namespace
}  // namespace claude_flow
