// One LSTM time step. The input product is done for all steps beforehand; here the recurrent weights, packed
// with the four gates of a vector of units side by side, give i, f, g and o in registers, and the cell update
// happens there. The recurrent product is of floats or of bytes; the rest is the same.
#pragma once

#include "kernels/gemm_i4-inl.h"
#include "kernels/gemm_i8-inl.h"

namespace claude_flow {
namespace {

struct Quotient {
  F part, whole;
};

// 1 / (1 + 2^y)
template <class A>
CF_INLINE Quotient share(F y) {
  const Power e = power_of_two_ratio<A>(y);
  const F part = e.even + e.odd;
  return {part, A::multiply_add(e.scale, e.even - e.odd, part)};
}

// Beyond 96, where sigmoid(x) is 1 or less than 2e-29, it stays: so the product of its whole with tanh's is a number.
template <class A>
CF_INLINE Quotient sigmoid_quotient(F x) {
  return share<A>(min(CF_SPLAT(96.0f), max(CF_SPLAT(-96.0f), x * CF_SPLAT(-1.44269504f))));
}

// (1 - e^-2x) / (1 + e^-2x), with e^-2x = scale (even - odd) / (even + odd): a small x has the scale 1, and so
// 2 odd / (2 even), without a difference. Beyond 27 it is 1.
template <class A>
CF_INLINE Quotient tanh_quotient(F x) {
  const Power e =
      power_of_two_ratio<A>(min(CF_SPLAT(27.0f), max(CF_SPLAT(-27.0f), x * CF_SPLAT(-2.88539008f))));
  const F below = CF_SPLAT(1.0f) - e.scale, above = CF_SPLAT(1.0f) + e.scale;
  return {A::multiply_add(below, e.even, above * e.odd), A::multiply_add(above, e.even, below * e.odd)};
}

// The sums of vectors of units that wait to be finished together.
template <class Sum>
struct Waiting {
  static constexpr int kMost = 24;
  Sum sums[kMost][4];
  ptrdiff_t item[kMost], unit[kMost];
  int count = 0;

  // That the sums of R rows of a block were written.
  template <int R>
  CF_INLINE void place(int first_item, int block) {
    CF_UNROLL for (int r = 0; r < R; ++r) {
      item[count + r] = first_item + r;
      unit[count + r] = block * kLanes;
    }
    count += R;
  }

  // The sums of R rows and P blocks of a tile.
  template <int R, int P>
  CF_INLINE void add(const Sum (&sum)[R][P * 4], int first_item, int first_block) {
    CF_UNROLL for (int r = 0; r < R; ++r) {
      CF_UNROLL for (int p = 0; p < P; ++p) {
        const int at = count + r * P + p;
        CF_UNROLL for (int g = 0; g < 4; ++g) sums[at][g] = sum[r][p * 4 + g];
        item[at] = first_item + r;
        unit[at] = (first_block + p) * kLanes;
      }
    }
    count += R * P;
  }
};

// The gates i, f, g, o of a vector of units: the sums,
CF_INLINE void load_gates(const LstmStepF32&, const Waiting<F>& waiting, int v, F (&gates)[4]) {
  CF_UNROLL for (int g = 0; g < 4; ++g) gates[g] = waiting.sums[v][g];
}

// or from integer sums.
CF_INLINE void load_gates(const LstmStepU7I8& a, const Waiting<I>& waiting, int v, F (&gates)[4]) {
  const ptrdiff_t item = waiting.item[v];
  const float* inputs = a.inputs + (a.first_row[item] + a.step) * a.ld_inputs;
  const I zero = splat(a.step == 0 ? 0 : a.before.zero[item]);
  const F scale = splat(a.step == 0 ? 0.0f : a.before.scale[item]);
  CF_UNROLL for (int g = 0; g < 4; ++g) {
    const ptrdiff_t column = waiting.unit[v] * 4 + g * kLanes;
    const F product = to_float(waiting.sums[v][g] - zero * load(a.sums + column));
    gates[g] = load(inputs + column) + product * (scale * load(a.scales + column));
  }
}

// or from those of 4-bit weights, which have their scales already.
CF_INLINE void load_gates(const LstmStepU7I4& a, const Waiting<F>& waiting, int v, F (&gates)[4]) {
  const ptrdiff_t item = waiting.item[v];
  const float* inputs = a.inputs + (a.first_row[item] + a.step) * a.ld_inputs;
  const F zero = to_float(splat(a.step == 0 ? 0 : a.before.zero[item]));
  const F scale = splat(a.step == 0 ? 0.0f : a.before.scale[item]);
  CF_UNROLL for (int g = 0; g < 4; ++g) {
    const ptrdiff_t column = waiting.unit[v] * 4 + g * kLanes;
    gates[g] = load(inputs + column) + (waiting.sums[v][g] - zero * load(a.sums + column)) * scale;
  }
}

// Cells and states, cell = f cell + i g and h = o tanh(cell), one term of all waiting vectors after the other: so the
// constants of each stay in registers, and a processor works on several vectors at once, whose chains of dependent
// operations are long.
// Out of line like everything behind the product: inlined into every tile it would be most of their code, and press
// the sums out of the registers.
template <class A, class Args, class Sum>
__attribute__((noinline)) void finish_units(const Args& args, Waiting<Sum>& waiting) {
  const Args a = args;  // a copy, which no store can change
  constexpr int kMost = Waiting<Sum>::kMost;
  const int count = waiting.count;
  F gates[kMost][4], cell[kMost];
  const auto memory = [&](int v) CF_LAMBDA {
    return a.cell + waiting.item[v] * (a.ld_inputs / 4) + waiting.unit[v];
  };
  for (int v = 0; v < count; ++v) load_gates(a, waiting, v, gates[v]);
  for (int v = 0; v < count; ++v) {
    const Quotient i = sigmoid_quotient<A>(gates[v][0]), g = tanh_quotient<A>(gates[v][2]);
    cell[v] = i.part * g.part / (i.whole * g.whole);
  }
  for (int v = 0; v < count && a.step > 0; ++v) {
    // Of f and 1 - f the smaller one is computed, so that a cell that is kept stays as it is.
    const F f = gates[v][1], before = load(memory(v));
    const Quotient q = share<A>(min(CF_SPLAT(96.0f), abs(f) * CF_SPLAT(1.44269504f)));
    const F smaller = before * q.part / q.whole;
    cell[v] = select(less(f, splat(0.0f)), smaller, before - smaller) + cell[v];
  }
  for (int v = 0; v < count; ++v) {
    const Quotient o = sigmoid_quotient<A>(gates[v][3]), c = tanh_quotient<A>(cell[v]);
    const F h = o.part * c.part / (o.whole * c.whole);
    const ptrdiff_t unit = waiting.unit[v];
    float* to = a.h + (a.first_row[waiting.item[v]] + a.step) * a.ld_h + unit;
    store(memory(v), cell[v]);
    if (a.units - unit >= kLanes) {
      store(to, h);
    } else {
      store(to, h, static_cast<int>(a.units - unit));
    }
  }
  waiting.count = 0;
}

// More rows than have registers for four gates: two gates after the other two. A block's weights, 32 KB for 256 units of
// AVX2, fill an L1 and come from L2 for every tile, so that twice the rows take half of them: prediction, 32 x 128 tokens on Zen 3,
// takes 184 instead of 225 ms.
template <class Arithmetic, int R>
void lstm_tile_by_halves(const LstmStepF32& a, int item, int block, Waiting<F>& waiting) {
  const ptrdiff_t panel = static_cast<ptrdiff_t>(a.units) * 4 * kLanes;
  const int depth = a.step == 0 ? 0 : a.units;
  const float* h[R];
  CF_UNROLL for (int r = 0; r < R; ++r) h[r] = a.h + (a.first_row[item + r] + a.step - 1) * a.ld_h;
  for (int half = 0; half < 4; half += 2) {
    F gate[R][2];
    CF_UNROLL for (int r = 0; r < R; ++r) {
      const float* inputs =
          a.inputs + (a.first_row[item + r] + a.step) * a.ld_inputs + (block * 4 + half) * kLanes;
      CF_UNROLL for (int g = 0; g < 2; ++g) gate[r][g] = load(inputs + g * kLanes);
    }
    const float* weights = a.packed + block * panel + half * kLanes;
    for (int k = 0; k < depth; ++k, weights += 4 * kLanes) {
      prefetch<8 * kLanes>(weights + panel);
      F w[2];
      CF_UNROLL for (int g = 0; g < 2; ++g) w[g] = load(weights + g * kLanes);
      CF_UNROLL for (int r = 0; r < R; ++r) {
        const auto x = factor(h[r] + k);
        CF_UNROLL for (int g = 0; g < 2; ++g) gate[r][g] = Arithmetic::multiply_add(x, w[g], gate[r][g]);
      }
    }
    CF_UNROLL for (int r = 0; r < R; ++r) {
      CF_UNROLL for (int g = 0; g < 2; ++g) waiting.sums[waiting.count + r][half + g] = gate[r][g];
    }
  }
  waiting.template place<R>(item, block);
}

template <class Arithmetic, int R, int P>
void lstm_tile(const LstmStepF32& a, int item, int block, Waiting<F>& waiting) {
  if constexpr (R > kLstmRows) return lstm_tile_by_halves<Arithmetic, R>(a, item, block, waiting);
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
        const auto x = factor(h[r] + k);
        CF_UNROLL for (int g = 0; g < 4; ++g) {
          gate[r][p * 4 + g] = Arithmetic::multiply_add(x, w[g], gate[r][p * 4 + g]);
        }
      }
    }
  }
  waiting.template add<R, P>(gate, item, block);
}

template <class, int R, int P>
void lstm_tile(const LstmStepU7I8& a, int item, int block, Waiting<I>& waiting) {
  const int depth = (a.units + 3) / 4 * 4;
  const ptrdiff_t panel = static_cast<ptrdiff_t>(depth) * 4 * kLanes;
  const QuantizedRows before = {a.before.q + item * kQuantPitch, nullptr, nullptr, a.before.block};
  I sum[R][P * 4];
  multiply_bytes<R, P, 4, false>(before, a.packed + block * panel, panel, a.step == 0 ? 0 : depth, sum);
  waiting.template add<R, P>(sum, item, block);
}

template <class, int R, int P>
void lstm_tile(const LstmStepU7I4& a, int item, int block, Waiting<F>& waiting) {
  const ptrdiff_t panel = static_cast<ptrdiff_t>((a.units + 7) / 8 * 4) * 4 * kLanes;
  const ptrdiff_t scale_panel = static_cast<ptrdiff_t>(groups_of(a.units)) * 4 * kLanes;
  const QuantizedRows before = {a.before.q + item * kQuantPitch, nullptr, nullptr, a.before.block};
  F sum[R][P * 4];
  multiply_halves<R, P, 4, false>(before, a.packed + block * panel, panel, a.scales + block * scale_panel,
                                  scale_panel, a.step == 0 ? 0 : a.units, sum);
  waiting.template add<R, P>(sum, item, block);
}

template <class Arithmetic, int R, class Args, class Sum>
CF_INLINE void lstm_rows(const Args& a, int rows, int item, int block, Waiting<Sum>& waiting) {
  if (rows == R) return lstm_tile<Arithmetic, R, 1>(a, item, block, waiting);
  if constexpr (R > 1) lstm_rows<Arithmetic, R - 1>(a, rows, item, block, waiting);
}

// Blocks of one row at once: eight sums hide each other's latency.
constexpr int kLstmBlocks = 2;

// Of one row, every other step goes backward and finds in the cache what the step before it left there: with 256 units
// 9.8 instead of 10.7 us a step for floats and their 1 MB in L2, 2.5 instead of 2.7 for bytes in L1.
template <class Arithmetic, class Args, class Sum, class Finish>
CF_INLINE void lstm_step_of_row(const Args& a, Waiting<Sum>& waiting, Finish finish) {
  const bool forward = a.step % 2 == 0;
  int first = a.first_block, last = a.last_block;
  for (; last - first >= kLstmBlocks; (forward ? first : last) += forward ? kLstmBlocks : -kLstmBlocks) {
    lstm_tile<Arithmetic, 1, kLstmBlocks>(a, 0, forward ? first : last - kLstmBlocks, waiting);
    finish();
  }
  for (; first < last; ++first) {
    lstm_tile<Arithmetic, 1, 1>(a, 0, first, waiting);
    finish();
  }
}

template <class Arithmetic, class Functions, class Sum, int kRows = kLstmRows, class Args>
CF_INLINE void lstm_step(const Args& a) {
  Waiting<Sum> waiting;
  const auto finish = [&]() CF_LAMBDA {
    if (waiting.count + kRows > waiting.kMost) finish_units<Functions>(a, waiting);
  };
  if (a.items == 1) {
    lstm_step_of_row<Arithmetic>(a, waiting, finish);
  } else {
    const int tiles = (a.items + kRows - 1) / kRows;
    for (int block = a.first_block; block < a.last_block; ++block) {
      for (int tile = 0, item = 0; tile < tiles; ++tile) {
        const int rows = a.items / tiles + (tile < a.items % tiles ? 1 : 0);
        lstm_rows<Arithmetic, kRows>(a, rows, item, block, waiting);
        finish();
        item += rows;
      }
    }
  }
  finish_units<Functions>(a, waiting);
}

void lstm_step_f32(const LstmStepF32& a) { lstm_step<Fused, Fused::Functions, F, kLstmRowsF32>(a); }
void lstm_step_consistent_f32(const LstmStepF32& a) { lstm_step<Consistent, Consistent, F, kLstmRowsF32>(a); }
void lstm_step_u7i8(const LstmStepU7I8& a) { lstm_step<Consistent, Consistent, I>(a); }
void lstm_step_u7i4(const LstmStepU7I4& a) { lstm_step<Consistent, Consistent, F>(a); }

}  // namespace
}  // namespace claude_flow
