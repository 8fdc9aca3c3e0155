// Every row of kernels.inc on every instruction set that this CPU has, against the reference: sizes around
// tiles and vectors, starts off the cache line, canaries behind the output. A new row does not compile until
// it has a check here.
#include <initializer_list>

#include "claude_flow.h"
#include "harness.h"
#include "kernels/reference.h"
#include "ops/pack.h"

namespace claude_flow::test {
namespace {

// Under emulation: leaves out the largest cases.
bool quick = false;

const std::initializer_list<int> kSizes = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 67};

size_t area(int rows, ptrdiff_t ld) { return static_cast<size_t>(rows) * static_cast<size_t>(ld); }

const char* label(const Table& table, const char* kernel, std::initializer_list<int> sizes) {
  static char text[200];
  int at = std::snprintf(text, sizeof text, "%s@%s", kernel, table.isa);
  for (const int n : sizes) at += std::snprintf(text + at, sizeof text - static_cast<size_t>(at), " %d", n);
  return text;
}

// Runs one case into two outputs, kernel and reference, and compares them.
template <class Run, class Reference>
void compare(size_t size, size_t misalign, int terms, const char* what, Run run, Reference reference) {
  Buffer got(size, misalign), want(size);
  run(got);
  reference(want);
  expect_close(got, want, terms, what);
}

void gemm_case(const Table& table, int rows, int columns, int depth, int extra, Activation activation,
               bool residual, size_t misalign) {
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
      size, misalign, depth, label(table, "gemm_f32", {rows, columns, depth, static_cast<int>(activation)}),
      [&](Buffer& c) { table.gemm_f32(args(packed.data(), c)); },
      [&](Buffer& c) { reference::gemm_f32(args(w.data(), c)); });
  expect(scratch.intact() && packed.intact(), "gemm_f32 keeps to its scratch");
}

void check_gemm_f32(const Table& table) {
  int turn = 0;
  for (const int rows : {1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 29, 31}) {
    for (const int columns : {1, 7, 8, 15, 16, 17, 31, 32, 33, 67, 131}) {
      for (const int depth : {1, 17, 257}) {
        if (quick && depth > 17) continue;
        ++turn;
        gemm_case(table, rows, columns, depth, turn % 3, static_cast<Activation>(turn % kProgramActivations),
                  turn % 2 == 0, static_cast<size_t>(turn % 4));
      }
    }
  }
  gemm_case(table, 231, 35, 515, 1, Activation::kGelu, true, 1);
}

void check_activation_f32(const Table& table) {
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
            x.size(), misalign, 1, label(table, "activation_f32", {kind, n}),
            [&](Buffer& y) { table.activation_f32(args(y)); },
            [&](Buffer& y) { reference::activation_f32(args(y)); });
      }
    }
  }
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

void check_attention_f32(const Table& table) {
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
          area(tokens - 1, ld_y) + static_cast<size_t>(width), 1, width + tokens,
          label(table, "attention_f32", {tokens, width}), [&](Buffer& y) { table.attention_f32(args(y)); },
          [&](Buffer& y) { reference::attention_f32(args(y)); });
      expect(scratch.intact(), "attention_f32 keeps to its scratch");
    }
  }
}

void lstm_case(const Table& table, int items, int units) {
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
      area(rows - 1, ld_h) + static_cast<size_t>(units), 1, units,
      label(table, "lstm_step_f32", {items, units}),
      [&](Buffer& h) {
        for (int step = 0; step < kSteps; ++step) {
          table.lstm_step_f32({ordered.data(), 4 * padded, packed.data(), h.data(), ld_h, cell.data(),
                               first_row.data(), items, units, step, 0, blocks});
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

void check_lstm_step_f32(const Table& table) {
  for (const int items : {1, 2, 3, 4, 5, 6, 7, 13}) {
    for (const int units : {1, 7, 8, 9, 16, 17, 33, 67}) lstm_case(table, items, units);
  }
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

}  // namespace
}  // namespace claude_flow::test

// test_kernels [the instruction sets that this CPU must have, no more and no less]
int main(int argc, char** argv) {
  using namespace claude_flow::test;
  quick = argc > 1;
  if (quick) expect(std::strcmp(cf_available(), argv[1]) == 0, "the instruction sets of this CPU");
  for (const claude_flow::Table* table : tables()) {
#define KERNEL(name, Args) check_##name(*table);
#include "kernels/kernels.inc"
#undef KERNEL
    std::printf("%s\n", table->isa);
  }
  return report("kernels");
}
