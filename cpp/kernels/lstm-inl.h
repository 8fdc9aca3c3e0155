// One LSTM time step. The input product is done for all steps beforehand; here the recurrent weights, packed
// with the four gates of a vector of units side by side, give i, f, g and o in registers, and the cell update
// happens there. The recurrent product is of floats or of bytes; the rest is the same.
#pragma once

#include "kernels/gemm_i8-inl.h"

namespace claude_flow {
namespace {

// e^-x for sigmoid(x) = 1 / (1 + e^-x), or e^-2x for tanh(x) = (1 - e^-2x) / (1 + e^-2x). Clamped, so that the product
// of three sums n + d is a number.
template <class A, int kTimes>
CF_INLINE Ratio exponential_of_minus(F x) {
  return power_of_two_ratio<A>(min(splat(36.0f), max(splat(-36.0f), x * splat(-1.44269504f * kTimes))));
}

// N vectors of units from their gates i, f, g, o. With the exponential of each n / d and N = n + d,
//   cell = f cell + i g = (I G f.d cell + F i.d (g.d - g.n)) / (I G F),  h = o.d (c.d - c.n) / (O C):
// two divisions in all.
template <class A, int N>
CF_INLINE void update_cells(F (&gates)[N * 4], F (&cell)[N], F (&h)[N]) {
  CF_UNROLL for (int v = 0; v < N; ++v) {
    const F* gate = gates + v * 4;
    const Ratio i = exponential_of_minus<A, 1>(gate[0]);
    const Ratio f = exponential_of_minus<A, 1>(gate[1]);
    const Ratio g = exponential_of_minus<A, 2>(gate[2]);
    const F i_g = (i.n + i.d) * (g.n + g.d), f_sum = f.n + f.d;
    cell[v] = A::multiply_add(i_g, f.d * cell[v], f_sum * (i.d * (g.d - g.n))) / (i_g * f_sum);
  }
  CF_UNROLL for (int v = 0; v < N; ++v) {
    const Ratio o = exponential_of_minus<A, 1>(gates[v * 4 + 3]);
    const Ratio c = exponential_of_minus<A, 2>(cell[v]);
    h[v] = o.d * (c.d - c.n) / ((o.n + o.d) * (c.n + c.d));
  }
}

// The gates of a vector of units, finished
CF_INLINE void load_gates(const LstmStepF32&, const F* sums, int, ptrdiff_t, int, F* gates) {
  CF_UNROLL for (int g = 0; g < 4; ++g) gates[g] = sums[g];
}

// or from the integer sums.
CF_INLINE void load_gates(const LstmStepU7I8& a, const I* sums, int item, ptrdiff_t row, int column,
                          F* gates) {
  const float* inputs = a.inputs + row * a.ld_inputs;
  const I zero = splat(a.step == 0 ? 0 : a.before.zero[item]);
  const F scale = splat(a.step == 0 ? 0.0f : a.before.scale[item]);
  CF_UNROLL for (int g = 0; g < 4; ++g, column += kLanes) {
    const F product = to_float(sums[g] - zero * load(a.sums + column));
    gates[g] = load(inputs + column) + product * (scale * load(a.scales + column));
  }
}

// Vectors of units that are finished side by side, since one alone waits for its chain of dependent operations: a step of
// 8 rows of bytes takes 12.0 us with four, 12.8 with one.
constexpr int kTogether = kRegisters < 32 ? 2 : 4;

// Vectors of units v .. v + N - 1 among the rows from `item` and the `blocks` blocks from `block`.
template <class Functions, int N, class Args, class Sum>
CF_INLINE void finish_vectors(const Args& a, const Sum* sums, int item, int block, int blocks, int v) {
  F gates[N * 4], cell[N], h[N];
  float* memory[N];
  float* to[N];
  int units[N];
  CF_UNROLL for (int n = 0; n < N; ++n) {
    const int r = item + (v + n) / blocks, b = block + (v + n) % blocks;
    const ptrdiff_t row = a.first_row[r] + a.step;
    memory[n] = a.cell + r * (a.ld_inputs / 4) + b * kLanes;
    to[n] = a.h + row * a.ld_h + b * kLanes;
    units[n] = a.units - b * kLanes;
    load_gates(a, sums + (v + n) * 4, r, row, b * 4 * kLanes, gates + n * 4);
    cell[n] = a.step == 0 ? splat(0.0f) : load(memory[n]);
    if (a.step == 0) gates[n * 4 + 1] = splat(0.0f);  // a NaN there must not count
  }
  update_cells<Functions, N>(gates, cell, h);
  CF_UNROLL for (int n = 0; n < N; ++n) {
    store(memory[n], cell[n]);
    if (units[n] >= kLanes) {
      store(to[n], h[n]);
    } else {
      store(to[n], h[n], units[n]);
    }
  }
}

// Out of line like everything behind the product: inlined into every tile it would be most of their code, and press
// the sums out of the registers.
template <class Functions, class Args, class Sum>
__attribute__((noinline)) void finish_units(const Args& a, const Sum* sums, int item, int rows, int block,
                                            int blocks) {
  int v = 0;
  for (; v + kTogether <= rows * blocks; v += kTogether) {
    finish_vectors<Functions, kTogether>(a, sums, item, block, blocks, v);
  }
  for (; v < rows * blocks; ++v) finish_vectors<Functions, 1>(a, sums, item, block, blocks, v);
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
  multiply_bytes<R, P, 4, false>(before, a.packed + block * panel, panel, a.step == 0 ? 0 : depth, sum);
  finish_units<Consistent>(a, InMemory(sum).at, item, R, block, P);
}

template <class Arithmetic, int R, class Args>
CF_INLINE void lstm_rows(const Args& a, int rows, int item, int block) {
  if (rows == R) return lstm_tile<Arithmetic, R, 1>(a, item, block);
  if constexpr (R > 1) lstm_rows<Arithmetic, R - 1>(a, rows, item, block);
}

// Of one row, every other step goes backward and finds in the cache what the step before it left there: with 256 units
// 9.8 instead of 10.7 us a step for floats and their 1 MB in L2, 2.5 instead of 2.7 for bytes in L1.
template <class Arithmetic, int kBlocks, class Args>
CF_INLINE void lstm_step_of_row(const Args& a) {
  const bool forward = a.step % 2 == 0;
  int first = a.first_block, last = a.last_block;
  for (; last - first >= kBlocks; (forward ? first : last) += forward ? kBlocks : -kBlocks) {
    lstm_tile<Arithmetic, 1, kBlocks>(a, 0, forward ? first : last - kBlocks);
  }
  for (; kBlocks > 1 && first < last; ++first) lstm_tile<Arithmetic, 1, 1>(a, 0, first);
}

// kBlocks: at once, of one row.
template <class Arithmetic, int kBlocks, class Args>
CF_INLINE void lstm_step(const Args& a) {
  if (a.items == 1) return lstm_step_of_row<Arithmetic, kBlocks>(a);
  const int tiles = (a.items + kLstmRows - 1) / kLstmRows;
  for (int block = a.first_block; block < a.last_block; ++block) {
    for (int tile = 0, item = 0; tile < tiles; ++tile) {
      const int rows = a.items / tiles + (tile < a.items % tiles ? 1 : 0);
      lstm_rows<Arithmetic, kLstmRows>(a, rows, item, block);
      item += rows;
    }
  }
}

void lstm_step_f32(const LstmStepF32& a) { lstm_step<Fused, 2>(a); }
void lstm_step_consistent_f32(const LstmStepF32& a) { lstm_step<Consistent, 2>(a); }
void lstm_step_u7i8(const LstmStepU7I8& a) { lstm_step<Consistent, 1>(a); }

}  // namespace
}  // namespace claude_flow
