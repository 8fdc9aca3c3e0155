// Every row of kernels.inc on every instruction set that this CPU has, against the reference: sizes around
// tiles and vectors, starts off the cache line, canaries behind the output. A new row does not compile until
// it has a check here.
#include <initializer_list>
#include <map>
#include <string>

#include "claude_flow.h"
#include "harness.h"
#include "kernels/reference.h"
#include "ops/pack.h"

namespace claude_flow::test {
namespace {

// Under emulation: leaves out the largest cases.
bool quick = false;

const std::initializer_list<int> kSizes = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 67};

std::string label(const Table& table, const char* kernel, std::initializer_list<int> sizes) {
  std::string text = std::string(kernel) + "@" + table.isa;
  for (const int n : sizes) text += " " + std::to_string(n);
  return text;
}

// Runs one case into two outputs, kernel and reference, and compares them; a consistent kernel must also give
// the bits that the first instruction set gave.
template <class Run, class Reference>
void compare(size_t size, size_t misalign, int terms, const std::string& what, Run run, Reference reference) {
  Buffer got(size, misalign), want(size);
  run(got);
  reference(want);
  expect_close(got, want, terms, what.c_str());
  const size_t at = what.find('@');
  if (!is_consistent(what.substr(0, at))) return;
  // Every instruction set goes through the same cases in the same order, so the n-th results correspond.
  static std::vector<std::vector<float>> first_bits;
  static std::map<std::string, size_t> seen;
  const size_t turn = seen[what.substr(at, what.find(' ') - at)]++;
  const std::vector<float> bits(got.data(), got.data() + size);
  if (turn == first_bits.size()) first_bits.push_back(bits);
  expect(first_bits[turn].size() == size &&
             std::memcmp(first_bits[turn].data(), bits.data(), size * sizeof(float)) == 0,
         (what + ": differs from the first instruction set").c_str());
}

void gemm_case(const Table& table, const char* name, void (*kernel)(const GemmF32&), int rows, int columns,
               int depth, int extra, Activation activation, bool residual, size_t misalign) {
  std::mt19937 generator(static_cast<unsigned>(rows * 31 + columns * 7 + depth));
  const ptrdiff_t ld_a = depth + extra, ld_c = columns + extra, ld_r = columns + 1;
  Buffer a(area(rows, ld_a), misalign), w(area(columns, depth)), bias(static_cast<size_t>(columns), misalign);
  Buffer skip(area(rows, ld_r), misalign), packed(packed_gemm_size(table, columns, depth));
  Buffer scratch(table.gemm_scratch);
  a.randomize(generator), w.randomize(generator), bias.randomize(generator), skip.randomize(generator);
  pack_gemm_f32(table, w.data(), columns, depth, packed.data());
  const size_t size = area(rows - 1, ld_c) + static_cast<size_t>(columns);
  const auto args = [&](float* weights, Buffer& c) {
    return GemmF32{a.data(), ld_a,       weights,       bias.data(), residual ? skip.data() : nullptr,
                   ld_r,     c.data(),   ld_c,          rows,        columns,
                   depth,    activation, scratch.data()};
  };
  compare(
      size, misalign, depth, label(table, name, {rows, columns, depth, static_cast<int>(activation)}),
      [&](Buffer& c) { kernel(args(packed.data(), c)); },
      [&](Buffer& c) { reference::gemm_f32(args(w.data(), c)); });
  expect(scratch.intact() && packed.intact(), "gemm_f32 keeps to its scratch");
}

void check_gemm(const Table& table, const char* name, void (*kernel)(const GemmF32&)) {
  int turn = 0;
  for (const int rows : {1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 29, 31}) {
    for (const int columns : {1, 7, 8, 15, 16, 17, 31, 32, 33, 67, 131}) {
      for (const int depth : {1, 17, 257}) {
        if (quick && depth > 17) continue;
        ++turn;
        gemm_case(table, name, kernel, rows, columns, depth, turn % 3,
                  static_cast<Activation>(turn % kProgramActivations), turn % 2 == 0,
                  static_cast<size_t>(turn % 4));
      }
    }
  }
  gemm_case(table, name, kernel, 231, 35, 515, 1, Activation::kGelu, true, 1);
}

void check_gemm_f32(const Table& table) { check_gemm(table, "gemm_f32", table.gemm_f32); }
void check_gemm_consistent_f32(const Table& table) {
  check_gemm(table, "gemm_consistent_f32", table.gemm_consistent_f32);
}

void check_quantize_f32_u7(const Table& table) {
  std::mt19937 generator(8);
  for (const int columns : {1, 3, 4, 15, 16, 17, 33, 1023, 1024, 1025, 2051}) {
    const ptrdiff_t ld = columns + 1;
    Buffer x(area(6, ld), 1);
    x.randomize(generator, 3.0f);
    for (int i = 0; i < columns; ++i) {
      x[area(1, ld) + static_cast<size_t>(i)] = 0.0f;  // a row of zeros
      float& positive = x[area(2, ld) + static_cast<size_t>(i)];
      positive = std::fabs(positive) + 1.0f;              // far from zero
      x[area(3, ld) + static_cast<size_t>(i)] *= 1e-39f;  // denormal
    }
    x[area(4, ld)] = INFINITY;
    x[area(5, ld)] = NAN;
    const float range[2] = {-1.0f, 2.0f};
    for (const float* given : {static_cast<const float*>(nullptr), range}) {
      Quantized got(6, columns), want(6, columns);
      table.quantize_f32_u7({x.data(), ld, got.rows, 6, columns, given});
      reference::quantize_f32_u7({x.data(), ld, want.rows, 6, columns, given});
      const std::string what = label(table, "quantize_f32_u7", {columns, given != nullptr});
      for (int row = 0; row < 6; ++row) {
        const auto r = static_cast<size_t>(row);
        if (row >= 4) {  // not finite: the scale says so, the integers do not matter
          expect(std::isnan(got.scale[r]), (what + ": the scale of an infinite row").c_str());
          std::fill_n(got.q.begin() + row * kQuantPitch, kQuantPitch, uint8_t{0});
          std::fill_n(want.q.begin() + row * kQuantPitch, kQuantPitch, uint8_t{0});
          continue;
        }
        expect(got.scale[r] == want.scale[r] && got.zero[r] == want.zero[r],
               (what + ": scale, zero").c_str());
      }
      const size_t finite = static_cast<size_t>(4 * kQuantPitch);
      for (size_t block = 0; block < got.q.size(); block += static_cast<size_t>(got.rows.block)) {
        expect(std::memcmp(&got.q[block], &want.q[block], finite) == 0, (what + ": integers").c_str());
      }
    }
  }
}

void gemm_i8_case(const Table& table, int rows, int columns, int depth, Activation activation,
                  bool residual) {
  std::mt19937 generator(static_cast<unsigned>(rows * 31 + columns * 7 + depth));
  const ptrdiff_t ld_c = columns + 1, ld_r = columns + 2;
  Quantized a(rows, depth);
  for (uint8_t& q : a.q) q = static_cast<uint8_t>(generator() % 128);
  if (rows == 1) std::fill(a.q.begin(), a.q.end(), uint8_t{127});
  for (float& scale : a.scale) scale = 0.01f / std::sqrt(static_cast<float>(depth));
  for (int32_t& zero : a.zero) zero = static_cast<int32_t>(generator() % 128);
  std::vector<int8_t> w = random_bytes(generator, area(columns, depth));
  if (rows == 1) std::fill(w.begin(), w.end(), int8_t{-128});
  std::vector<int8_t> packed(packed_gemm_i8_size(table, columns, depth));
  const auto padded = static_cast<size_t>(padded_columns(table, columns));
  std::vector<int32_t> sums(padded);
  pack_gemm_i8(table, w.data(), columns, depth, packed.data());
  sum_gemm_i8(table, packed.data(), columns, depth, sums.data());
  Buffer scales(padded), bias(static_cast<size_t>(columns), 1), skip(area(rows, ld_r), 1);
  bias.randomize(generator), skip.randomize(generator);
  for (size_t i = 0; i < static_cast<size_t>(columns); ++i)
    scales[i] = 0.1f / static_cast<float>(1 + generator() % 7);
  // Groups reach behind the depth: those bytes are 0, as quantize_f32_u7 leaves them.
  for (int row = 0; row < rows; ++row) {
    for (int i = depth; i % 8 != 0; ++i)
      a.q[static_cast<size_t>(row * kQuantPitch + i % kQuantBlock + i / kQuantBlock * a.rows.block)] = 0;
  }
  const auto args = [&](const int8_t* weights, Buffer& c) {
    return GemmU7I8{
        a.rows,    weights,  sums.data(), scales.data(), bias.data(), residual ? skip.data() : nullptr,
        ld_r,      c.data(), ld_c,        rows,          columns,     depth,
        activation};
  };
  compare(
      area(rows - 1, ld_c) + static_cast<size_t>(columns), 1, 1,
      label(table, "gemm_u7i8", {rows, columns, depth, static_cast<int>(activation)}),
      [&](Buffer& c) { table.gemm_u7i8(args(packed.data(), c)); },
      [&](Buffer& c) { reference::gemm_u7i8(args(w.data(), c)); });
}

void check_gemm_u7i8(const Table& table) {
  int turn = 0;
  for (const int rows : {1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 29}) {
    for (const int columns : {1, 7, 8, 15, 16, 17, 31, 32, 33, 67, 131}) {
      for (const int depth : {1, 18, 255}) {
        ++turn;
        gemm_i8_case(table, rows, columns, depth, static_cast<Activation>(turn % kProgramActivations),
                     turn % 2 == 0);
      }
    }
  }
  gemm_i8_case(table, 231, 35, 2051, Activation::kGelu, true);
  gemm_i8_case(table, 1, 35, 65536, Activation::kNone, false);  // the largest sums that there are
}

// Every byte is a pair of weights, the half behind an odd depth too: nothing may read it.
void gemm_i4_case(const Table& table, int rows, int columns, int depth, Activation activation,
                  bool residual) {
  std::mt19937 generator(static_cast<unsigned>(rows * 31 + columns * 7 + depth));
  const ptrdiff_t ld_c = columns + 1, ld_r = columns + 2;
  const int groups = groups_of(depth);
  Buffer x(area(rows, depth)), scale(area(columns, groups)), bias(static_cast<size_t>(columns), 1),
      skip(area(rows, ld_r), 1);
  x.randomize(generator, 0.1f), bias.randomize(generator), skip.randomize(generator);
  for (size_t i = 0; i < scale.size(); ++i) scale[i] = 0.1f / static_cast<float>(1 + generator() % 7);
  Quantized a(rows, depth);
  reference::quantize_f32_u7({x.data(), depth, a.rows, rows, depth, nullptr});
  if (rows == 1) {
    std::fill(a.q.begin(), a.q.end(), uint8_t{127});
    a.zero[0] = 0, a.scale[0] = 0.01f / static_cast<float>(depth);
  }
  std::vector<int8_t> w = random_bytes(generator, area(columns, (depth + 1) / 2));
  if (rows == 1) std::fill(w.begin(), w.end(), static_cast<int8_t>(0x88));
  std::vector<int8_t> packed(packed_gemm_i4_size(table, columns, depth));
  const auto padded = static_cast<size_t>(padded_columns(table, columns));
  Buffer scales(padded * static_cast<size_t>(groups)), sums(padded);
  pack_gemm_i4(table, w.data(), columns, depth, packed.data());
  scale_gemm_i4(table, scale.data(), columns, depth, scales.data());
  sum_gemm_i4(table, packed.data(), scales.data(), columns, depth, sums.data());
  const auto args = [&](const int8_t* weights, const float* factors, Buffer& c) {
    return GemmU7I4{a.rows,    weights,  factors, sums.data(), bias.data(), residual ? skip.data() : nullptr,
                    ld_r,      c.data(), ld_c,    rows,        columns,     depth,
                    activation};
  };
  compare(
      area(rows - 1, ld_c) + static_cast<size_t>(columns), 1, depth,
      label(table, "gemm_u7i4", {rows, columns, depth, static_cast<int>(activation)}),
      [&](Buffer& c) { table.gemm_u7i4(args(packed.data(), scales.data(), c)); },
      [&](Buffer& c) { reference::gemm_u7i4(args(w.data(), scale.data(), c)); });
}

void check_gemm_u7i4(const Table& table) {
  int turn = 0;
  for (const int rows : {1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 29}) {
    for (const int columns : {1, 8, 15, 17, 33, 131}) {
      for (const int depth : {1, 7, 8, 63, 64, 65, 202}) {
        ++turn;
        gemm_i4_case(table, rows, columns, depth, static_cast<Activation>(turn % kProgramActivations),
                     turn % 2 == 0);
      }
    }
  }
  gemm_i4_case(table, 231, 35, 2051, Activation::kGelu, true);
  gemm_i4_case(table, 1, 35, 65536, Activation::kNone, false);
}

void check_activation(const Table& table, const char* name, void (*kernel)(const ActivationF32&)) {
  std::mt19937 generator(1);
  for (int kind = 0; kind <= static_cast<int>(Activation::kExp); ++kind) {
    for (const int n : kSizes) {
      for (const size_t misalign : {0u, 1u, 3u}) {
        Buffer x(static_cast<size_t>(n), misalign);
        x.randomize(generator, 5.0f);
        const auto args = [&](Buffer& y) {
          return ActivationF32{x.data(), y.data(), n, static_cast<Activation>(kind)};
        };
        compare(
            x.size(), misalign, 1, label(table, name, {kind, n}), [&](Buffer& y) { kernel(args(y)); },
            [&](Buffer& y) { reference::activation_f32(args(y)); });
      }
    }
  }
}

void check_activation_f32(const Table& table) {
  check_activation(table, "activation_f32", table.activation_f32);
}
void check_activation_consistent_f32(const Table& table) {
  check_activation(table, "activation_consistent_f32", table.activation_consistent_f32);
}

void check_layer_norm_f32(const Table& table) {
  std::mt19937 generator(2);
  for (const int columns : kSizes) {
    const ptrdiff_t ld = columns + 2;
    Buffer x(area(3, ld), 1), gamma(static_cast<size_t>(columns), 3), beta(static_cast<size_t>(columns), 1);
    x.randomize(generator), gamma.randomize(generator), beta.randomize(generator);
    const auto args = [&](Buffer& y) {
      return LayerNormF32{x.data(), ld, gamma.data(), beta.data(), y.data(), ld, 3, columns, 1e-5f};
    };
    compare(
        area(2, ld) + static_cast<size_t>(columns), 1, columns, label(table, "layer_norm_f32", {columns}),
        [&](Buffer& y) { table.layer_norm_f32(args(y)); },
        [&](Buffer& y) { reference::layer_norm_f32(args(y)); });
  }
}

void check_softmax_f32(const Table& table) {
  std::mt19937 generator(3);
  for (const int columns : kSizes) {
    for (const float scale : {1.0f, 200.0f}) {
      const ptrdiff_t ld = columns + 1;
      Buffer x(area(3, ld), 1);
      x.randomize(generator, scale);
      const auto args = [&](Buffer& y) { return SoftmaxF32{x.data(), ld, y.data(), ld, 3, columns}; };
      compare(
          area(2, ld) + static_cast<size_t>(columns), 3, columns, label(table, "softmax_f32", {columns}),
          [&](Buffer& y) { table.softmax_f32(args(y)); },
          [&](Buffer& y) { reference::softmax_f32(args(y)); });
    }
  }
}

void check_attention(const Table& table, const char* name, void (*kernel)(const AttentionF32&), int terms) {
  std::mt19937 generator(4);
  for (const int tokens : {1, 2, 13, 14, 15, 33, 255, 256, 257, 515}) {
    for (const int width : {1, 16, 33, 64, 260}) {
      if ((tokens > 257 && width > 64) || (quick && tokens > 33)) continue;
      const ptrdiff_t ld = 3 * width + 1, ld_y = width + 2;
      Buffer qkv(area(tokens, ld), 1), scratch(table.attention_scratch(tokens, width));
      qkv.randomize(generator, 3.0f);
      const auto args = [&](Buffer& y) {
        const float* q = qkv.data();
        return AttentionF32{q, q + width, q + 2 * width, ld, y.data(), ld_y, tokens, width, scratch.data()};
      };
      compare(
          area(tokens - 1, ld_y) + static_cast<size_t>(width), 1, width + tokens + terms,
          label(table, name, {tokens, width}), [&](Buffer& y) { kernel(args(y)); },
          [&](Buffer& y) { reference::attention_f32(args(y)); });
      expect(scratch.intact(), "attention keeps to its scratch");
    }
  }
}

void check_attention_f32(const Table& table) {
  check_attention(table, "attention_f32", table.attention_f32, 0);
}
void check_attention_u7i8(const Table& table) {
  check_attention(table, "attention_u7i8", table.attention_u7i8, kByteTerms);
}

void lstm_case(const Table& table, const char* name, void (*kernel)(const LstmStepF32&), int items,
               int units) {
  constexpr int kSteps = 3;
  std::mt19937 generator(static_cast<unsigned>(units));
  const int padded = padded_units(table, units), rows = items * kSteps;
  Buffer inputs(area(rows, 4 * units)), r(area(4 * units, units)), ordered(area(rows, 4 * padded));
  Buffer packed(packed_lstm_size(table, units)), cell(area(items, padded)), want_cell(area(items, units));
  inputs.randomize(generator, 2.0f), r.randomize(generator, 1.0f / std::sqrt(static_cast<float>(units)));
  pack_lstm_f32(table, r.data(), units, packed.data());
  std::vector<int32_t> first_row;
  for (int item = 0; item < items; ++item) first_row.push_back(item * kSteps);
  for (int row = 0; row < rows; ++row) {
    order_lstm_gates(table, inputs.data() + row * 4 * units, units, 1, ordered.data() + row * 4 * padded);
  }
  const ptrdiff_t ld_h = units + 1;
  const int blocks = padded / table.lstm_units;
  compare(
      area(rows - 1, ld_h) + static_cast<size_t>(units), 1, units, label(table, name, {items, units}),
      [&](Buffer& h) {
        for (int step = 0; step < kSteps; ++step) {
          kernel({ordered.data(), 4 * padded, packed.data(), h.data(), ld_h, cell.data(), first_row.data(),
                  items, units, step, 0, blocks});
        }
      },
      [&](Buffer& h) {
        for (int step = 0; step < kSteps; ++step) {
          reference::lstm_step_f32({inputs.data(), 4 * units, r.data(), h.data(), ld_h, want_cell.data(),
                                    first_row.data(), items, units, step, 0, 0});
        }
      });
  expect(cell.intact(), "lstm_step_f32 keeps to its cells");
}

// One step, from quantized states.
void lstm_i8_case(const Table& table, int items, int units) {
  std::mt19937 generator(static_cast<unsigned>(units));
  const int padded = padded_units(table, units);
  const size_t gates = static_cast<size_t>(4 * padded);
  Quantized before(items, units);
  Buffer h_before(area(items, units)), inputs(area(2 * items, 4 * units)),
      ordered(area(2 * items, 4 * padded));
  h_before.randomize(generator), inputs.randomize(generator, 2.0f);
  reference::quantize_f32_u7({h_before.data(), units, before.rows, items, units, nullptr});
  const std::vector<int8_t> r = random_bytes(generator, area(4 * units, units));
  std::vector<int8_t> packed(packed_lstm_i8_size(table, units));
  std::vector<int32_t> sums(gates), first_row;
  Buffer scales(static_cast<size_t>(4 * units)), ordered_scales(gates);
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = 0.01f / static_cast<float>(1 + i % 3);
  pack_lstm_i8(table, r.data(), units, packed.data());
  sum_lstm_i8(table, packed.data(), units, sums.data());
  order_lstm_gates(table, scales.data(), units, 1, ordered_scales.data());
  for (int row = 0; row < 2 * items; ++row) {
    order_lstm_gates(table, inputs.data() + row * 4 * units, units, 1, ordered.data() + row * 4 * padded);
  }
  for (int item = 0; item < items; ++item) first_row.push_back(2 * item);
  Buffer cell(area(items, padded)), want_cell(area(items, units));
  for (int item = 0; item < items; ++item) {
    for (int unit = 0; unit < units; ++unit) {
      const float memory = static_cast<float>(generator() % 100) / 50.0f - 1.0f;
      cell[area(item, padded) + static_cast<size_t>(unit)] =
          want_cell[area(item, units) + static_cast<size_t>(unit)] = memory;
    }
  }
  const ptrdiff_t ld_h = units + 1;
  compare(
      area(2 * items - 1, ld_h) + static_cast<size_t>(units), 1, units,
      label(table, "lstm_step_u7i8", {items, units}),
      [&](Buffer& h) {
        table.lstm_step_u7i8({ordered.data(), 4 * padded, before.rows, packed.data(), sums.data(),
                              ordered_scales.data(), h.data(), ld_h, cell.data(), first_row.data(), items,
                              units, 1, 0, padded / table.lstm_units});
      },
      [&](Buffer& h) {
        reference::lstm_step_u7i8({inputs.data(), 4 * units, before.rows, r.data(), nullptr, scales.data(),
                                   h.data(), ld_h, want_cell.data(), first_row.data(), items, units, 1, 0,
                                   0});
      });
  expect(cell.intact(), "lstm_step_u7i8 keeps to its cells");
}

// The same with weights of 4 bits: one step, from quantized states.
void lstm_i4_case(const Table& table, int items, int units) {
  std::mt19937 generator(static_cast<unsigned>(units));
  const int padded = padded_units(table, units);
  const size_t gates = static_cast<size_t>(4 * padded);
  Quantized before(items, units);
  Buffer h_before(area(items, units)), inputs(area(2 * items, 4 * units)),
      ordered(area(2 * items, 4 * padded));
  h_before.randomize(generator), inputs.randomize(generator, 2.0f);
  reference::quantize_f32_u7({h_before.data(), units, before.rows, items, units, nullptr});
  const std::vector<int8_t> r = random_bytes(generator, area(4 * units, (units + 1) / 2));
  std::vector<int8_t> packed(packed_lstm_i4_size(table, units));
  std::vector<int32_t> first_row;
  const auto groups = static_cast<size_t>(groups_of(units));
  Buffer scales(static_cast<size_t>(4 * units) * groups), ordered_scales(gates * groups), sums(gates);
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = 0.1f / static_cast<float>(1 + i % 3);
  pack_lstm_i4(table, r.data(), units, packed.data());
  scale_lstm_i4(table, scales.data(), units, ordered_scales.data());
  sum_lstm_i4(table, packed.data(), ordered_scales.data(), units, sums.data());
  for (int row = 0; row < 2 * items; ++row) {
    order_lstm_gates(table, inputs.data() + row * 4 * units, units, 1, ordered.data() + row * 4 * padded);
  }
  for (int item = 0; item < items; ++item) first_row.push_back(2 * item);
  Buffer cell(area(items, padded)), want_cell(area(items, units));
  for (int item = 0; item < items; ++item) {
    for (int unit = 0; unit < units; ++unit) {
      const float memory = static_cast<float>(generator() % 100) / 50.0f - 1.0f;
      cell[area(item, padded) + static_cast<size_t>(unit)] =
          want_cell[area(item, units) + static_cast<size_t>(unit)] = memory;
    }
  }
  const ptrdiff_t ld_h = units + 1;
  compare(
      area(2 * items - 1, ld_h) + static_cast<size_t>(units), 1, units,
      label(table, "lstm_step_u7i4", {items, units}),
      [&](Buffer& h) {
        table.lstm_step_u7i4({ordered.data(), 4 * padded, before.rows, packed.data(), ordered_scales.data(),
                              sums.data(), h.data(), ld_h, cell.data(), first_row.data(), items, units, 1, 0,
                              padded / table.lstm_units});
      },
      [&](Buffer& h) {
        reference::lstm_step_u7i4({inputs.data(), 4 * units, before.rows, r.data(), scales.data(), nullptr,
                                   h.data(), ld_h, want_cell.data(), first_row.data(), items, units, 1, 0,
                                   0});
      });
  expect(cell.intact(), "lstm_step_u7i4 keeps to its cells");
}

template <class Case>
void each_lstm_size(Case run) {
  for (const int items : {1, 2, 3, 4, 5, 6, 7, 13}) {
    for (const int units : {1, 7, 8, 9, 16, 17, 33, 67}) run(items, units);
  }
}

void check_lstm_step_f32(const Table& table) {
  each_lstm_size(
      [&](int items, int units) { lstm_case(table, "lstm_step_f32", table.lstm_step_f32, items, units); });
}
void check_lstm_step_consistent_f32(const Table& table) {
  each_lstm_size([&](int items, int units) {
    lstm_case(table, "lstm_step_consistent_f32", table.lstm_step_consistent_f32, items, units);
  });
}
void check_lstm_step_u7i8(const Table& table) {
  each_lstm_size([&](int items, int units) { lstm_i8_case(table, items, units); });
}
void check_lstm_step_u7i4(const Table& table) {
  each_lstm_size([&](int items, int units) { lstm_i4_case(table, items, units); });
  lstm_i4_case(table, 2, 131);
}

void check_attention_pool_f32(const Table& table) {
  std::mt19937 generator(6);
  for (const int width : kSizes) {
    for (const int tokens : {1, 15, 16, 17, 35}) {
      const int key_width = 68 - width;
      const ptrdiff_t ld_values = width + 1, ld_keys = key_width + 1;
      Buffer values(area(tokens, ld_values), 1), keys(area(tokens, ld_keys), 3);
      Buffer vector(static_cast<size_t>(key_width)), scratch(static_cast<size_t>(tokens), 1);
      values.randomize(generator), keys.randomize(generator), vector.randomize(generator);
      const auto args = [&](Buffer& y) {
        return AttentionPoolF32{values.data(), ld_values, keys.data(), ld_keys,   vector.data(),
                                y.data(),      tokens,    width,       key_width, scratch.data()};
      };
      compare(
          static_cast<size_t>(width), 1, tokens + key_width,
          label(table, "attention_pool_f32", {tokens, width}),
          [&](Buffer& y) { table.attention_pool_f32(args(y)); },
          [&](Buffer& y) { reference::attention_pool_f32(args(y)); });
      expect(scratch.intact(), "attention_pool_f32 keeps to its scratch");
    }
  }
}

void check_monotone_f32(const Table& table) {
  std::mt19937 generator(7);
  for (const int group : kSizes) {
    for (const int quantiles : {1, (group + 1) / 2, group}) {
      const ptrdiff_t ld = 3 * group + 1;
      Buffer x(area(2, ld), 1);
      x.randomize(generator, 20.0f);
      const auto args = [&](Buffer& y) {
        return MonotoneF32{x.data(), ld, y.data(), ld, 2, 3 * group, quantiles, group};
      };
      compare(
          area(1, ld) + static_cast<size_t>(3 * group), 1, quantiles,
          label(table, "monotone_f32", {quantiles, group}), [&](Buffer& y) { table.monotone_f32(args(y)); },
          [&](Buffer& y) { reference::monotone_f32(args(y)); });
    }
  }
}

void check_ceiling_fma_f32(const Table& table) {
  std::mt19937 generator(8);
  for (const int size : kSizes) {
    const int columns = 6 * size + size % 5;
    const size_t area = static_cast<unsigned>(columns);
    Buffer x(area, 1);
    x.randomize(generator);
    compare(
        area, 1, 20, label(table, "ceiling_fma_f32", {columns}),
        [&](Buffer& y) { table.ceiling_fma_f32({x.data(), y.data(), columns, 10, 0.5f, 1.0f}); },
        [&](Buffer& y) { reference::ceiling_fma_f32({x.data(), y.data(), columns, 10, 0.5f, 1.0f}); });
  }
}

void check_ceiling_dot_u7i8(const Table& table) {
  std::mt19937 generator(10);
  for (const int steps : {0, 1, 2, 7}) {
    std::vector<int32_t> x(kCeilingColumns);
    for (int32_t& value : x) value = static_cast<int32_t>(generator() % (1u << 23)) - (1 << 22);
    for (const uint8_t most : {uint8_t{1}, uint8_t{127}}) {
      const uint8_t u[] = {most, 0, static_cast<uint8_t>(generator() % 128), most};
      compare(
          kCeilingColumns, 1, 0, label(table, "ceiling_dot_u7i8", {steps, most}),
          [&](Buffer& y) { table.ceiling_dot_u7i8({x.data(), u, y.data(), steps}); },
          [&](Buffer& y) { reference::ceiling_dot_u7i8({x.data(), u, y.data(), steps}); });
    }
  }
}

void check_ceiling_read_f32(const Table& table) {
  std::mt19937 generator(9);
  for (const int size : kSizes) {
    const int count = 8 * size + size % 3;
    Buffer x(static_cast<unsigned>(count), 1);
    x.randomize(generator);
    compare(
        1, 1, count, label(table, "ceiling_read_f32", {count}),
        [&](Buffer& y) { table.ceiling_read_f32({x.data(), y.data(), count}); },
        [&](Buffer& y) { reference::ceiling_read_f32({x.data(), y.data(), count}); });
  }
}

// The tables to check; none: this CPU lacks the instruction set.
std::vector<const Table*> asked_for(const char* word) {
  const Table* table = std::strcmp(word, "avxvnni_evex") == 0 ? avxvnni_evex() : find_table(word);
  if (table == nullptr) return {};
  if (table == find_table("scalar")) return {table};
  return {find_table("scalar"), table};
}

}  // namespace
}  // namespace claude_flow::test

// test_kernels WORD         that instruction set, and scalar for the bits to compare; 77: this CPU lacks it
// test_kernels --cpu WORDS  the small cases on all that this CPU has, which must be these
int main(int argc, char** argv) {
  using namespace claude_flow::test;
  quick = argc == 3 && std::strcmp(argv[1], "--cpu") == 0;
  if (argc != 2 && !quick) return 2;
  if (quick) expect(std::strcmp(cf_available(), argv[2]) == 0, "the instruction sets of this CPU");
  const std::vector<const claude_flow::Table*> asked = quick ? tables() : asked_for(argv[1]);
  if (asked.empty()) {
    std::printf("skipped: this CPU lacks %s\n", argv[1]);
    return 77;
  }
  for (const claude_flow::Table* table : asked) {
#define KERNEL(name, Args) check_##name(*table);
#include "kernels/kernels.inc"
#undef KERNEL
    std::printf("%s\n", table->isa);
  }
  return report("kernels");
}
