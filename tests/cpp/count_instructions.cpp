// What the products of a table take beside plain C loops, for an emulator to count: bench/arm.py.
//   count_instructions ISA|plain f32|u7i8 TIMES
#include <cstdlib>

#include "harness.h"
#include "ops/pack.h"

namespace claude_flow::test {
namespace {

constexpr int kRows = 12, kColumns = 32, kDepth = 64;

__attribute__((noinline)) void plain_f32(const float* a, const float* w, float* c) {
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kColumns; ++j) {
      float sum = 0.0f;
      for (int k = 0; k < kDepth; ++k) sum += a[i * kDepth + k] * w[j * kDepth + k];
      c[i * kColumns + j] = sum;
    }
  }
}

__attribute__((noinline)) void plain_u7i8(const uint8_t* a, const int8_t* w, float* c) {
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kColumns; ++j) {
      int32_t sum = 0;
      for (int k = 0; k < kDepth; ++k) sum += a[i * kQuantPitch + k] * w[j * kDepth + k];
      c[i * kColumns + j] = static_cast<float>(sum);
    }
  }
}

}  // namespace
}  // namespace claude_flow::test

int main(int argc, char** argv) {
  using namespace claude_flow;
  using namespace claude_flow::test;
  if (argc != 4) return 2;
  const Table* table = find_table(argv[1]);
  if (table == nullptr && std::strcmp(argv[1], "plain") != 0) return 2;
  const bool floats = std::strcmp(argv[2], "f32") == 0;
  const Table& layout = table == nullptr ? *find_table("scalar") : *table;
  std::vector<float> a(kRows * kDepth, 0.5f), w(kColumns * kDepth, 0.25f), c(kRows * kColumns);
  Buffer packed(packed_gemm_size(layout, kColumns, kDepth)), scratch(layout.gemm_scratch);
  pack_gemm_f32(layout, w.data(), kColumns, kDepth, packed.data());
  Quantized q(kRows, kDepth);
  const std::vector<int8_t> bytes(kColumns * kDepth, 3);
  std::vector<int8_t> packed_bytes(packed_gemm_i8_size(layout, kColumns, kDepth));
  pack_gemm_i8(layout, bytes.data(), kColumns, kDepth, packed_bytes.data());
  std::vector<int32_t> sums(kColumns);
  std::vector<float> scales(kColumns, 1.0f);
  const GemmF32 gemm = {a.data(), kDepth, packed.data(), nullptr, nullptr, 0, c.data(), kColumns, kRows, kColumns,
                        kDepth, Activation::kNone, scratch.data()};
  const GemmU7I8 gemm_bytes = {q.rows, packed_bytes.data(), sums.data(), scales.data(), nullptr, nullptr, 0, c.data(),
                               kColumns, kRows, kColumns, kDepth, Activation::kNone};
  for (int turn = 0; turn < std::atoi(argv[3]); ++turn) {
    if (table != nullptr && floats) table->gemm_f32(gemm);
    if (table != nullptr && !floats) table->gemm_u7i8(gemm_bytes);
    if (table == nullptr && floats) plain_f32(a.data(), w.data(), c.data());
    if (table == nullptr && !floats) plain_u7i8(q.q.data(), bytes.data(), c.data());
  }
  return 0;
}
