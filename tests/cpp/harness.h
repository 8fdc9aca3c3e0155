// What the C++ tests share: guarded buffers, random fill, a count of failures.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/isa.h"
#include "kernels/table.h"

namespace claude_flow {
#ifdef CLAUDE_FLOW_AVXVNNI_EVEX
extern const Table table_avxvnni_evex;
#endif
}  // namespace claude_flow

namespace claude_flow::test {

inline std::atomic<int> failures{0};
inline std::atomic<int> checks{0};

inline void expect(bool holds, const char* what) {
  ++checks;
  if (holds) return;
  if (++failures <= 20) std::fprintf(stderr, "FAILED: %s\n", what);
}

inline std::vector<const Table*> tables() {
  const Table* const* first = nullptr;
  const size_t count = available_tables(&first);
  return {first, first + count};
}

// The table of avxvnni in AVX-512's encoding, or null: the CPU lacks it, or the test was built without it.
inline const Table* avxvnni_evex() {
#ifdef CLAUDE_FLOW_AVXVNNI_EVEX
  if (cpu_has("avx512vnni")) return &table_avxvnni_evex;
#endif
  return nullptr;
}

inline bool is_consistent(const std::string& name) {
  return name != "ceiling_fma_f32" && name != "ceiling_read_f32" && name != "gemm_f32" &&
         name != "attention_f32" && name != "lstm_step_f32" && name != "activation_f32" &&
         name != "softmax_f32";
}

// Terms of expect_close for a kernel that quantizes its floats, beside the reference in double: 7 bits on either side of
// a product leave errors of up to 4 % of the largest value.
constexpr int kByteTerms = 330'000;

inline size_t area(int rows, ptrdiff_t ld) { return static_cast<size_t>(rows) * static_cast<size_t>(ld); }

inline std::vector<int8_t> random_bytes(std::mt19937& generator, size_t size) {
  std::vector<int8_t> bytes(size);
  for (int8_t& b : bytes) b = static_cast<int8_t>(static_cast<int>(generator() % 256) - 128);
  return bytes;
}

// Floats at a chosen distance from a cache line, with canaries on both sides.
class Buffer {
 public:
  explicit Buffer(size_t size, size_t misalign = 0) : memory_(size + 64, kCanary), size_(size) {
    const size_t line = (64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64) % 64 / sizeof(float);
    start_ = line + 16 + misalign;
    std::fill_n(data(), size, 0.0f);
  }
  float* data() { return memory_.data() + start_; }
  size_t size() const { return size_; }
  float& operator[](size_t i) { return data()[i]; }

  Buffer& randomize(std::mt19937& generator, float scale = 1.0f) {
    std::uniform_real_distribution<float> uniform(-scale, scale);
    for (size_t i = 0; i < size_; ++i) data()[i] = uniform(generator);
    return *this;
  }

  bool intact() {
    for (size_t i = 0; i < memory_.size(); ++i) {
      if (i >= start_ && i < start_ + size_) continue;
      if (std::memcmp(&memory_[i], &kCanary, sizeof(float)) != 0) return false;
    }
    return true;
  }

 private:
  static constexpr float kCanary = -1.2345e30f;
  std::vector<float> memory_;
  size_t size_, start_ = 0;
};

// Quantized rows and the memory that they live in.
struct Quantized {
  std::vector<uint8_t> q;
  std::vector<float> scale;
  std::vector<int32_t> zero;
  QuantizedRows rows;

  Quantized(int count, int columns)
      : q(static_cast<size_t>(count * kQuantPitch * ((columns + kQuantBlock - 1) / kQuantBlock)), 200),
        scale(static_cast<size_t>(count)),
        zero(static_cast<size_t>(count)),
        rows{q.data(), scale.data(), zero.data(), ptrdiff_t{count} * kQuantPitch} {}
};

// |got - want| <= epsilon (terms + 16) max(1, max|want|), and the canaries of `got` stand.
inline void expect_close(Buffer& got, Buffer& want, int terms, const char* what) {
  float scale = 1.0f, worst = 0.0f;
  for (size_t i = 0; i < got.size(); ++i) {
    scale = std::fmax(scale, std::fabs(want[i]));
    const float error = std::fabs(got[i] - want[i]);
    worst = error >= worst || std::isnan(error) ? error : worst;
    if (std::isnan(worst)) break;
  }
  char text[300];
  const float bound = 1.2e-7f * static_cast<float>(terms + 16) * scale;
  std::snprintf(text, sizeof text, "%s: error %g, bound %g", what, double{worst}, double{bound});
  expect(worst <= bound, text);
  std::snprintf(text, sizeof text, "%s: wrote outside its output", what);
  expect(got.intact(), text);
}

inline int report(const char* name) {
  std::printf("%s: %d checks, %d failed\n", name, checks.load(), failures.load());
  return failures == 0 ? 0 : 1;
}

}  // namespace claude_flow::test
