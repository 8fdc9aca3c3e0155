// The kernels against each other and the reference on random shapes, strides and values, those that are not finite or
// denormal among them. The bytes choose; a mutation of one changes one choice.
//   build/release/tests/cpp/fuzz_kernels -seed=1 -runs=2000     by fuzz_main.cpp, the same cases every time
//   build/asan/tests/cpp/fuzz_kernels -max_total_time=600    by libFuzzer, which goes where no case went before
#include <cstdlib>

#include "harness.h"
#include "kernels/reference.h"
#include "ops/pack.h"

namespace claude_flow::test {
namespace {

enum class Values {
  kPlain,     // within -1 .. 1
  kTiny,      // zeros of both signs, denormals, and what is near them
  kNan,       // plain with NaN here and there
  kInfinite,  // plain with infinities here and there
  kAnyBits    // every float that there is: kernels only agree with each other and keep to their memory
};

class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : data_(data), left_(size) {}

  int below(int n) { return static_cast<int>(next() * 256u + next()) % n; }
  // Mostly a few, for the tails; sometimes up to `most`.
  int size(int most) { return 1 + (next() % 4 == 0 ? below(most) : below(most < 20 ? most : 20)); }
  bool coin() { return next() % 2 == 0; }
  std::mt19937 generator() { return std::mt19937(static_cast<unsigned>(below(1 << 16))); }

 private:
  unsigned next() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  const uint8_t* data_;
  size_t left_;
};

float value(std::mt19937& generator, Values kind) {
  const float plain = static_cast<float>(generator() % 2001) / 1000.0f - 1.0f;
  const unsigned turn = generator() % 16;
  switch (kind) {
    case Values::kPlain:
      return plain;
    case Values::kTiny:
      return turn < 4    ? 0.0f
             : turn < 6  ? -0.0f
             : turn < 12 ? plain * 1e-39f
             : turn < 14 ? plain * 1e-30f
                         : plain;
    case Values::kNan:
      return turn > 0 ? plain : NAN;
    case Values::kInfinite:
      return turn > 1 ? plain : turn > 0 ? INFINITY : -INFINITY;
    case Values::kAnyBits:
      break;
  }
  const auto bits = static_cast<uint32_t>(generator());
  float any;
  std::memcpy(&any, &bits, sizeof any);
  return any;
}

// What every kernel's case has in common.
struct Case {
  Choices& choose;
  Values values;
  std::mt19937 generator;
  const char* kernel;

  Case(Choices& choices, const char* name)
      : choose(choices),
        values(static_cast<Values>(choices.below(5))),
        generator(choices.generator()),
        kernel(name) {}

  Buffer floats(size_t size) { return floats(size, values); }
  Buffer floats(size_t size, Values kind) {
    Buffer made(size, static_cast<size_t>(choose.below(16)));
    for (size_t i = 0; i < size; ++i) made[i] = value(generator, kind);
    return made;
  }
  ptrdiff_t stride(int columns) { return columns + choose.below(8); }
};

const std::vector<const Table*>& every_table() {
  static const std::vector<const Table*> all = [] {
    std::vector<const Table*> found = tables();
    if (avxvnni_evex() != nullptr) found.push_back(avxvnni_evex());
    return found;
  }();
  return all;
}

[[noreturn]] void fail(const Case& c, const Table& table, const std::string& what) {
  std::fprintf(stderr, "%s@%s, values %d: %s\n", c.kernel, table.isa, static_cast<int>(c.values),
               what.c_str());
  std::abort();
}

std::string differs(size_t at, float got, const char* whose, float want) {
  char text[100];
  std::snprintf(text, sizeof text, "[%zu] is %.9g, of %s %.9g", at, double{got}, whose, double{want});
  return text;
}

bool same_bits(float a, float b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

// An LSTM's gates end at 1e-29 and not at 0: by that much infinity is infinity, and the reference, whose gate is 0, says
// NaN. In bytes a key of minus infinity is NaN, and the reference gives it the weight 0.
bool changes_infinity(const std::string& name) {
  return name.rfind("lstm_", 0) == 0 || name == "attention_u7i8";
}

// run(table, output) on every instruction set, and reference(output).
template <class Run, class Reference>
void compare(Case& c, size_t size, int terms, Run run, Reference reference) {
  const auto misalign = static_cast<size_t>(c.choose.below(16));
  Buffer want(size), first(size);
  const bool judged =
      c.values != Values::kAnyBits && !(c.values == Values::kInfinite && changes_infinity(c.kernel));
  if (judged) reference(want);
  float scale = 1.0f;
  for (size_t i = 0; i < size; ++i) {
    if (std::isfinite(want[i])) scale = std::fmax(scale, std::fabs(want[i]));
  }
  const bool consistent = is_consistent(c.kernel);
  const float bound = 1.2e-7f * static_cast<float>(terms + 16) * scale;
  for (const Table* table : every_table()) {
    Buffer got(size, misalign);
    run(*table, got);
    if (!got.intact()) fail(c, *table, "wrote outside its output");
    for (size_t i = 0; i < size; ++i) {
      if (table == every_table().front()) first[i] = got[i];
      const bool close =
          std::isfinite(want[i]) ? std::fabs(got[i] - want[i]) <= bound : same_bits(got[i], want[i]);
      if (judged && !close) fail(c, *table, differs(i, got[i], "the reference", want[i]));
      if (consistent && !same_bits(got[i], first[i])) fail(c, *table, differs(i, got[i], "scalar", first[i]));
    }
  }
}

void fuzz_gemm(Case& c, void (*Table::*kernel)(const GemmF32&)) {
  const int rows = c.choose.size(40), columns = c.choose.size(140), depth = c.choose.size(300);
  const ptrdiff_t ld_a = c.stride(depth), ld_c = c.stride(columns), ld_r = c.stride(columns);
  Buffer a = c.floats(area(rows, ld_a)), w = c.floats(area(columns, depth));
  Buffer bias = c.floats(static_cast<size_t>(columns)), skip = c.floats(area(rows, ld_r));
  const bool with_bias = c.choose.coin(), with_skip = c.choose.coin();
  const auto activation = static_cast<Activation>(c.choose.below(kProgramActivations));
  const auto args = [&](float* weights, Buffer& y, float* scratch) {
    return GemmF32{a.data(),
                   ld_a,
                   weights,
                   with_bias ? bias.data() : nullptr,
                   with_skip ? skip.data() : nullptr,
                   ld_r,
                   y.data(),
                   ld_c,
                   rows,
                   columns,
                   depth,
                   activation,
                   scratch};
  };
  compare(
      c, area(rows - 1, ld_c) + static_cast<size_t>(columns), depth,
      [&](const Table& table, Buffer& y) {
        Buffer packed(packed_gemm_size(table, columns, depth)), scratch(table.gemm_scratch);
        pack_gemm_f32(table, w.data(), columns, depth, packed.data());
        (table.*kernel)(args(packed.data(), y, scratch.data()));
        if (!scratch.intact()) fail(c, table, "wrote outside its scratch");
      },
      [&](Buffer& y) { reference::gemm_f32(args(w.data(), y, nullptr)); });
}

void fuzz_gemm_f32(Case& c) { fuzz_gemm(c, &Table::gemm_f32); }
void fuzz_gemm_consistent_f32(Case& c) { fuzz_gemm(c, &Table::gemm_consistent_f32); }

// The integers of finite rows, and the scales and zeros.
void fuzz_quantize_f32_u7(Case& c) {
  const int rows = c.choose.size(12), columns = c.choose.size(2100);
  const ptrdiff_t ld = c.stride(columns);
  Buffer x = c.floats(area(rows, ld));
  const float range[2] = {-0.5f * static_cast<float>(c.choose.below(3)), 1.0f};
  const bool given = c.choose.coin();
  Quantized first(rows, columns);
  for (const Table* table : every_table()) {
    Quantized got(rows, columns);
    table->quantize_f32_u7({x.data(), ld, got.rows, rows, columns, given ? range : nullptr});
    if (table == every_table().front()) first = got;
    for (int row = 0; row < rows; ++row) {
      const auto r = static_cast<size_t>(row);
      bool finite = true;
      for (int i = 0; i < columns; ++i)
        finite = finite && std::isfinite(x[area(row, ld) + static_cast<size_t>(i)]);
      if (finite == std::isnan(got.scale[r])) fail(c, *table, "a scale is NaN, or is not");
      if (!finite) continue;
      if (!same_bits(got.scale[r], first.scale[r]) || got.zero[r] != first.zero[r])
        fail(c, *table, "scale or zero");
      for (int i = 0; i < (columns + 7) / 8 * 8; ++i) {
        const auto at =
            static_cast<size_t>(i / kQuantBlock * got.rows.block + row * kQuantPitch + i % kQuantBlock);
        if (got.q[at] != first.q[at] || got.q[at] > 127) fail(c, *table, "integer " + std::to_string(i));
      }
    }
  }
}

// Rows of integers with the zeros behind their depth that quantize_f32_u7 leaves.
Quantized quantized(Case& c, int rows, int depth, Values scales) {
  Quantized made(rows, depth);
  for (uint8_t& q : made.q) q = static_cast<uint8_t>(c.generator() % 128);
  for (int row = 0; row < rows; ++row) {
    for (int i = depth; i % 8 != 0; ++i) {
      made.q[static_cast<size_t>(row * kQuantPitch + i % kQuantBlock + i / kQuantBlock * made.rows.block)] =
          0;
    }
  }
  for (float& scale : made.scale)
    scale = 0.01f * std::fabs(value(c.generator, scales)) / static_cast<float>(depth);
  for (int32_t& zero : made.zero) zero = static_cast<int32_t>(c.generator() % 128);
  made.rows.q = made.q.data(), made.rows.scale = made.scale.data(), made.rows.zero = made.zero.data();
  return made;
}

void fuzz_gemm_u7i8(Case& c) {
  const int rows = c.choose.size(40), columns = c.choose.size(140), depth = c.choose.size(1100);
  const ptrdiff_t ld_c = c.stride(columns), ld_r = c.stride(columns);
  const Quantized a = quantized(c, rows, depth, c.values);
  const std::vector<int8_t> w = random_bytes(c.generator, area(columns, depth));
  Buffer scales(area(columns, 1) + 64), bias = c.floats(static_cast<size_t>(columns)),
                                        skip = c.floats(area(rows, ld_r));
  for (int i = 0; i < columns; ++i)
    scales[static_cast<size_t>(i)] = 0.02f * std::fabs(value(c.generator, c.values));
  const bool with_bias = c.choose.coin(), with_skip = c.choose.coin();
  const auto activation = static_cast<Activation>(c.choose.below(kProgramActivations));
  const auto args = [&](const int8_t* weights, const int32_t* sums, Buffer& y) {
    return GemmU7I8{a.rows,
                    weights,
                    sums,
                    scales.data(),
                    with_bias ? bias.data() : nullptr,
                    with_skip ? skip.data() : nullptr,
                    ld_r,
                    y.data(),
                    ld_c,
                    rows,
                    columns,
                    depth,
                    activation};
  };
  compare(
      c, area(rows - 1, ld_c) + static_cast<size_t>(columns), 1,
      [&](const Table& table, Buffer& y) {
        std::vector<int8_t> packed(packed_gemm_i8_size(table, columns, depth));
        std::vector<int32_t> sums(static_cast<size_t>(padded_columns(table, columns)));
        pack_gemm_i8(table, w.data(), columns, depth, packed.data());
        sum_gemm_i8(table, packed.data(), columns, depth, sums.data());
        table.gemm_u7i8(args(packed.data(), sums.data(), y));
      },
      [&](Buffer& y) { reference::gemm_u7i8(args(w.data(), nullptr, y)); });
}

// Of weights: files hold no others.
Values finite(Values kind) { return kind == Values::kTiny ? kind : Values::kPlain; }

void fuzz_gemm_u7i4(Case& c) {
  const int rows = c.choose.size(40), columns = c.choose.size(140), depth = c.choose.size(1100);
  const ptrdiff_t ld_c = c.stride(columns), ld_r = c.stride(columns);
  // Groups that cancel leave what rounding left in a float sum, and the reference 0: by an infinite scale that is infinity
  // here and NaN there.
  const Values row_scales = c.values == Values::kInfinite ? Values::kPlain : c.values;
  const Quantized a = quantized(c, rows, depth, row_scales);
  const std::vector<int8_t> w = random_bytes(c.generator, area(columns, (depth + 1) / 2));
  Buffer scales(area(columns, groups_of(depth))), bias = c.floats(static_cast<size_t>(columns)),
                                                  skip = c.floats(area(rows, ld_r));
  for (size_t i = 0; i < scales.size(); ++i)
    scales[i] = 0.2f * std::fabs(value(c.generator, finite(c.values)));
  const bool with_bias = c.choose.coin(), with_skip = c.choose.coin();
  const auto activation = static_cast<Activation>(c.choose.below(kProgramActivations));
  const auto args = [&](const int8_t* weights, const float* factors, const float* sums, Buffer& y) {
    return GemmU7I4{a.rows,
                    weights,
                    factors,
                    sums,
                    with_bias ? bias.data() : nullptr,
                    with_skip ? skip.data() : nullptr,
                    ld_r,
                    y.data(),
                    ld_c,
                    rows,
                    columns,
                    depth,
                    activation};
  };
  compare(
      c, area(rows - 1, ld_c) + static_cast<size_t>(columns), depth,
      [&](const Table& table, Buffer& y) {
        std::vector<int8_t> packed(packed_gemm_i4_size(table, columns, depth));
        const auto padded = static_cast<size_t>(padded_columns(table, columns));
        Buffer factors(padded * static_cast<size_t>(groups_of(depth))), sums(padded);
        pack_gemm_i4(table, w.data(), columns, depth, packed.data());
        scale_gemm_i4(table, scales.data(), columns, depth, factors.data());
        sum_gemm_i4(table, packed.data(), factors.data(), columns, depth, sums.data());
        table.gemm_u7i4(args(packed.data(), factors.data(), sums.data(), y));
      },
      [&](Buffer& y) { reference::gemm_u7i4(args(w.data(), scales.data(), nullptr, y)); });
}

void fuzz_activation(Case& c, void (*Table::*kernel)(const ActivationF32&)) {
  const int n = c.choose.size(400);
  Buffer x = c.floats(static_cast<size_t>(n));
  const auto activation = static_cast<Activation>(c.choose.below(kProgramActivations + 1));
  const auto args = [&](Buffer& y) { return ActivationF32{x.data(), y.data(), n, activation}; };
  compare(
      c, x.size(), 1, [&](const Table& table, Buffer& y) { (table.*kernel)(args(y)); },
      [&](Buffer& y) { reference::activation_f32(args(y)); });
}

void fuzz_activation_f32(Case& c) { fuzz_activation(c, &Table::activation_f32); }
void fuzz_activation_consistent_f32(Case& c) { fuzz_activation(c, &Table::activation_consistent_f32); }

void fuzz_layer_norm_f32(Case& c) {
  const int rows = c.choose.size(6), columns = c.choose.size(300);
  const ptrdiff_t ld_x = c.stride(columns), ld_y = c.stride(columns);
  Buffer x = c.floats(area(rows, ld_x)), gamma = c.floats(area(columns, 1)),
         beta = c.floats(area(columns, 1));
  const auto args = [&](Buffer& y) {
    return LayerNormF32{x.data(), ld_x, gamma.data(), beta.data(), y.data(), ld_y, rows, columns, 1e-3f};
  };
  compare(
      c, area(rows - 1, ld_y) + static_cast<size_t>(columns), 8 * columns,
      [&](const Table& table, Buffer& y) { table.layer_norm_f32(args(y)); },
      [&](Buffer& y) { reference::layer_norm_f32(args(y)); });
}

void fuzz_softmax_f32(Case& c) {
  const int rows = c.choose.size(6), columns = c.choose.size(300);
  const ptrdiff_t ld_x = c.stride(columns), ld_y = c.stride(columns);
  Buffer x = c.floats(area(rows, ld_x));
  const auto args = [&](Buffer& y) { return SoftmaxF32{x.data(), ld_x, y.data(), ld_y, rows, columns}; };
  compare(
      c, area(rows - 1, ld_y) + static_cast<size_t>(columns), columns,
      [&](const Table& table, Buffer& y) { table.softmax_f32(args(y)); },
      [&](Buffer& y) { reference::softmax_f32(args(y)); });
}

void fuzz_attention(Case& c, void (*Table::*kernel)(const AttentionF32&), int terms) {
  const int tokens = c.choose.size(140), width = c.choose.size(70);
  const ptrdiff_t ld = c.stride(3 * width), ld_y = c.stride(width);
  Buffer qkv = c.floats(area(tokens, ld));
  const auto args = [&](Buffer& y, float* scratch) {
    const float* q = qkv.data();
    return AttentionF32{q, q + width, q + 2 * width, ld, y.data(), ld_y, tokens, width, scratch};
  };
  compare(
      c, area(tokens - 1, ld_y) + static_cast<size_t>(width), width + tokens + terms,
      [&](const Table& table, Buffer& y) {
        Buffer scratch(table.attention_scratch(tokens, width));
        (table.*kernel)(args(y, scratch.data()));
        if (!scratch.intact()) fail(c, table, "wrote outside its scratch");
      },
      [&](Buffer& y) { reference::attention_f32(args(y, nullptr)); });
}

void fuzz_attention_f32(Case& c) { fuzz_attention(c, &Table::attention_f32, 0); }
void fuzz_attention_u7i8(Case& c) { fuzz_attention(c, &Table::attention_u7i8, kByteTerms); }

// `run` and `want` do one step of `items` sequences; first_row says where their rows lie.
struct Sequences {
  int items, units, steps;
  ptrdiff_t ld_h;
  std::vector<int32_t> first_row;
  Buffer inputs;

  Sequences(Case& c, int most_steps)
      : items(c.choose.size(14)),
        units(c.choose.size(70)),
        steps(1 + c.choose.below(most_steps)),
        ld_h(c.stride(units)),
        inputs(c.floats(area(items * steps, 4 * units))) {
    for (int item = 0; item < items; ++item) first_row.push_back(item * steps);
  }
  size_t size() const { return area(items * steps - 1, ld_h) + static_cast<size_t>(units); }
  Buffer ordered(const Table& table) {
    const int padded = padded_units(table, units);
    Buffer made(area(items * steps, 4 * padded));
    for (int row = 0; row < items * steps; ++row) {
      order_lstm_gates(table, inputs.data() + row * 4 * units, units, 1, made.data() + row * 4 * padded);
    }
    return made;
  }
};

void fuzz_lstm(Case& c, void (*Table::*kernel)(const LstmStepF32&)) {
  Sequences s(c, 3);
  Buffer r = c.floats(area(4 * s.units, s.units));
  for (size_t i = 0; i < r.size(); ++i) r[i] /= static_cast<float>(s.units);
  compare(
      c, s.size(), s.units,
      [&](const Table& table, Buffer& h) {
        const int padded = padded_units(table, s.units);
        Buffer ordered = s.ordered(table), packed(packed_lstm_size(table, s.units)),
               cell(area(s.items, padded));
        pack_lstm_f32(table, r.data(), s.units, packed.data());
        for (int step = 0; step < s.steps; ++step) {
          (table.*kernel)({ordered.data(), 4 * padded, packed.data(), h.data(), s.ld_h, cell.data(),
                           s.first_row.data(), s.items, s.units, step, 0, padded / table.lstm_units});
        }
        if (!cell.intact()) fail(c, table, "wrote outside its cells");
      },
      [&](Buffer& h) {
        Buffer cell(area(s.items, s.units));
        for (int step = 0; step < s.steps; ++step) {
          reference::lstm_step_f32({s.inputs.data(), 4 * s.units, r.data(), h.data(), s.ld_h, cell.data(),
                                    s.first_row.data(), s.items, s.units, step, 0, 0});
        }
      });
}

void fuzz_lstm_step_f32(Case& c) { fuzz_lstm(c, &Table::lstm_step_f32); }
void fuzz_lstm_step_consistent_f32(Case& c) { fuzz_lstm(c, &Table::lstm_step_consistent_f32); }

// The second of two steps, from quantized states and given cells.
void fuzz_lstm_step_u7i8(Case& c) {
  Sequences s(c, 1);
  s.steps = 2;
  s.inputs = c.floats(area(2 * s.items, 4 * s.units));
  for (int item = 0; item < s.items; ++item) s.first_row[static_cast<size_t>(item)] = 2 * item;
  const Quantized before = quantized(c, s.items, s.units, c.values);
  const std::vector<int8_t> r = random_bytes(c.generator, area(4 * s.units, s.units));
  Buffer scales(area(4, s.units)), memory = c.floats(area(s.items, s.units));
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = 0.02f * std::fabs(value(c.generator, c.values));
  compare(
      c, s.size(), s.units,
      [&](const Table& table, Buffer& h) {
        const int padded = padded_units(table, s.units);
        const size_t gates = area(4, padded);
        Buffer ordered = s.ordered(table), ordered_scales(gates), cell(area(s.items, padded));
        std::vector<int8_t> packed(packed_lstm_i8_size(table, s.units));
        std::vector<int32_t> sums(gates);
        pack_lstm_i8(table, r.data(), s.units, packed.data());
        sum_lstm_i8(table, packed.data(), s.units, sums.data());
        order_lstm_gates(table, scales.data(), s.units, 1, ordered_scales.data());
        for (int item = 0; item < s.items; ++item) {
          std::copy_n(memory.data() + area(item, s.units), s.units, cell.data() + area(item, padded));
        }
        table.lstm_step_u7i8({ordered.data(), 4 * padded, before.rows, packed.data(), sums.data(),
                              ordered_scales.data(), h.data(), s.ld_h, cell.data(), s.first_row.data(),
                              s.items, s.units, 1, 0, padded / table.lstm_units});
        if (!cell.intact()) fail(c, table, "wrote outside its cells");
      },
      [&](Buffer& h) {
        Buffer cell = memory;
        reference::lstm_step_u7i8({s.inputs.data(), 4 * s.units, before.rows, r.data(), nullptr,
                                   scales.data(), h.data(), s.ld_h, cell.data(), s.first_row.data(), s.items,
                                   s.units, 1, 0, 0});
      });
}

// The same with weights of 4 bits: the second of two steps, from quantized states and given cells.
void fuzz_lstm_step_u7i4(Case& c) {
  Sequences s(c, 1);
  s.steps = 2;
  s.inputs = c.floats(area(2 * s.items, 4 * s.units));
  for (int item = 0; item < s.items; ++item) s.first_row[static_cast<size_t>(item)] = 2 * item;
  const Quantized before = quantized(c, s.items, s.units, c.values);
  const std::vector<int8_t> r = random_bytes(c.generator, area(4 * s.units, (s.units + 1) / 2));
  Buffer scales(area(4 * s.units, groups_of(s.units))), memory = c.floats(area(s.items, s.units));
  for (size_t i = 0; i < scales.size(); ++i)
    scales[i] = 0.2f * std::fabs(value(c.generator, finite(c.values)));
  compare(
      c, s.size(), s.units,
      [&](const Table& table, Buffer& h) {
        const int padded = padded_units(table, s.units);
        const size_t gates = area(4, padded);
        Buffer ordered = s.ordered(table), cell(area(s.items, padded)), sums(gates);
        Buffer ordered_scales(gates * static_cast<size_t>(groups_of(s.units)));
        std::vector<int8_t> packed(packed_lstm_i4_size(table, s.units));
        pack_lstm_i4(table, r.data(), s.units, packed.data());
        scale_lstm_i4(table, scales.data(), s.units, ordered_scales.data());
        sum_lstm_i4(table, packed.data(), ordered_scales.data(), s.units, sums.data());
        for (int item = 0; item < s.items; ++item) {
          std::copy_n(memory.data() + area(item, s.units), s.units, cell.data() + area(item, padded));
        }
        table.lstm_step_u7i4({ordered.data(), 4 * padded, before.rows, packed.data(), ordered_scales.data(),
                              sums.data(), h.data(), s.ld_h, cell.data(), s.first_row.data(), s.items,
                              s.units, 1, 0, padded / table.lstm_units});
        if (!cell.intact()) fail(c, table, "wrote outside its cells");
      },
      [&](Buffer& h) {
        Buffer cell = memory;
        reference::lstm_step_u7i4({s.inputs.data(), 4 * s.units, before.rows, r.data(), scales.data(),
                                   nullptr, h.data(), s.ld_h, cell.data(), s.first_row.data(), s.items,
                                   s.units, 1, 0, 0});
      });
}

void fuzz_attention_pool_f32(Case& c) {
  const int tokens = c.choose.size(140), width = c.choose.size(70), key_width = c.choose.size(70);
  const ptrdiff_t ld_values = c.stride(width), ld_keys = c.stride(key_width);
  Buffer values = c.floats(area(tokens, ld_values)), keys = c.floats(area(tokens, ld_keys));
  Buffer vector = c.floats(static_cast<size_t>(key_width));
  const auto args = [&](Buffer& y, float* scratch) {
    return AttentionPoolF32{values.data(), ld_values, keys.data(), ld_keys,   vector.data(),
                            y.data(),      tokens,    width,       key_width, scratch};
  };
  compare(
      c, static_cast<size_t>(width), tokens + key_width,
      [&](const Table& table, Buffer& y) {
        Buffer scratch(static_cast<size_t>(tokens));
        table.attention_pool_f32(args(y, scratch.data()));
        if (!scratch.intact()) fail(c, table, "wrote outside its scratch");
      },
      [&](Buffer& y) { reference::attention_pool_f32(args(y, nullptr)); });
}

void fuzz_monotone_f32(Case& c) {
  const int rows = c.choose.size(6), group = c.choose.size(20), groups = c.choose.size(5);
  const int quantiles = 1 + c.choose.below(group), columns = group * groups;
  const ptrdiff_t ld_x = c.stride(columns), ld_y = c.stride(columns);
  Buffer x = c.floats(area(rows, ld_x));
  const auto args = [&](Buffer& y) {
    return MonotoneF32{x.data(), ld_x, y.data(), ld_y, rows, columns, quantiles, group};
  };
  compare(
      c, area(rows - 1, ld_y) + static_cast<size_t>(columns), 4 * quantiles,
      [&](const Table& table, Buffer& y) { table.monotone_f32(args(y)); },
      [&](Buffer& y) { reference::monotone_f32(args(y)); });
}

void fuzz_ceiling_fma_f32(Case& c) {
  const int columns = c.choose.size(400);
  Buffer x = c.floats(static_cast<size_t>(columns));
  const auto args = [&](Buffer& y) { return CeilingFmaF32{x.data(), y.data(), columns, 9, 0.5f, 1.0f}; };
  compare(
      c, x.size(), 20, [&](const Table& table, Buffer& y) { table.ceiling_fma_f32(args(y)); },
      [&](Buffer& y) { reference::ceiling_fma_f32(args(y)); });
}

void fuzz_ceiling_dot_u7i8(Case& c) {
  std::vector<int32_t> x(kCeilingColumns);
  for (int32_t& n : x) n = static_cast<int32_t>(c.generator() % (1u << 23)) - (1 << 22);
  uint8_t u[4];
  for (uint8_t& byte : u) byte = static_cast<uint8_t>(c.generator() % 128);
  const int steps = c.choose.below(9);
  compare(
      c, kCeilingColumns, 0,
      [&](const Table& table, Buffer& y) { table.ceiling_dot_u7i8({x.data(), u, y.data(), steps}); },
      [&](Buffer& y) { reference::ceiling_dot_u7i8({x.data(), u, y.data(), steps}); });
}

void fuzz_ceiling_read_f32(Case& c) {
  const int count = c.choose.size(600);
  Buffer x = c.floats(static_cast<size_t>(count));
  compare(
      c, 1, count,
      [&](const Table& table, Buffer& y) { table.ceiling_read_f32({x.data(), y.data(), count}); },
      [&](Buffer& y) { reference::ceiling_read_f32({x.data(), y.data(), count}); });
}

struct Kernel {
  const char* name;
  void (*fuzz)(Case&);
};
constexpr Kernel kKernels[] = {
#define KERNEL(name, Args) {#name, &fuzz_##name},
#include "kernels/kernels.inc"
#undef KERNEL
};

}  // namespace
}  // namespace claude_flow::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace claude_flow::test;
  Choices choices(data, size);
  const Kernel& kernel = kKernels[choices.below(static_cast<int>(std::size(kKernels)))];
  Case c(choices, kernel.name);
  kernel.fuzz(c);
  return 0;
}
