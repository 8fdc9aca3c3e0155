// Programs for the tests and the fuzzer of the loader: one with every op but those of 4-bit weights, and that one
// with these and more inputs beside it.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "claude_flow.h"

namespace claude_flow::test {

struct SampleProgram {
  static constexpr int kWidth = 32;
  static constexpr size_t kMaxTokens = 5;  // the word
  // The tensor of the first product, and its bytes: 96 columns fill the tiles of every instruction set.
  static constexpr size_t kProduct = 2, kProductBytes = 96 * 32 * sizeof(float);

  std::vector<int32_t> words;
  std::vector<cf_tensor> tensors;

  // Format 2, with two more inputs: tokens of another axis, and a row per item.
  static constexpr int kInputs = 3, kInputWidth[] = {kWidth, 16, 8}, kAxis[] = {1, 2, 0};

  explicit SampleProgram(bool several = false) {
    const float epsilon = 1e-5f;
    int32_t epsilon_bits;
    std::memcpy(&epsilon_bits, &epsilon, sizeof epsilon_bits);
    const int gamma = floats(32), beta = floats(32);
    const int w = floats(96, 32), b = floats(96);
    const int wi = floats(64, 32), wr = floats(64, 16), wb = floats(64);
    const int qi = bytes(64, 16), si = floats(64), qr = bytes(64, 16), sr = floats(64);
    const int keys = bytes(8, 16), keys_scale = floats(8), vector = floats(8);
    const int last = floats(16, 32);
    const int32_t value_words[] = {1, 32, 1, 32, 1, 96, 1, 32, 1, 16, 1, 16, 1, 8, 0, 32, 0, 16, 0, 16};
    if (several) {
      words = {2, 14, 14, kInputs, 13, 2, 128, 64, 0, 10, 11};
    } else {
      words = {1, 10, 10, 0, 9, 128};
    }
    words.insert(words.end(), std::begin(value_words), std::end(value_words));
    if (several) words.insert(words.end(), {2, 16, 0, 8, 2, 16, 0, 40});
    op({2, 0, 1, gamma, beta, epsilon_bits});
    op({1, 1, 2, 0, w, b, -1, 2});
    op({3, 2, 3, 4});
    op({4, 3, 4, wi, wr, wb});
    op({9, 4, 5, qi, si, qr, sr, wb});
    op({8, 5, 6, 0, keys, keys_scale, -1, -1, 3, -1});
    op({5, 5, 6, vector, 7, 0});
    op({6, 5, 7, 16});
    op({1, 7, 8, 0, last, -1, -1, 1});
    op({7, 8, 9, 3, 4});
    if (!several) return;
    const int narrow = floats(8, 8), pairs = bytes(16, 8), pair_scale = floats(16, 1);
    const int pairs_in = bytes(64, 8), pairs_back = bytes(64, 8), back_scale = floats(64, 1);
    op({11, 10, 12, pairs_in, back_scale, pairs_back, back_scale, -1});
    op({6, 12, 13, 0});
    op({10, 8, 13, 16, pairs, pair_scale, -1, -1, 0, -1});
    op({1, 11, 13, 32, narrow, -1, -1, 4});
  }

 private:
  // The tensors share one supply of small numbers.
  static constexpr int kSupply = 96 * 32;

  int floats(int rows, int columns = 0) {
    static const std::vector<float> supply = [] {
      std::vector<float> x;
      for (int i = 0; i < kSupply; ++i) x.push_back(static_cast<float>(i * 37 % 101) / 404.0f);
      return x;
    }();
    return add(supply.data(), CF_F32, rows, columns);
  }
  int bytes(int rows, int columns) {
    static const std::vector<int8_t> supply = [] {
      std::vector<int8_t> x;
      for (int i = 0; i < kSupply; ++i) x.push_back(static_cast<int8_t>(i * 37 % 255 - 127));
      return x;
    }();
    return add(supply.data(), CF_I8, rows, columns);
  }
  int add(const void* data, cf_dtype dtype, int rows, int columns) {
    tensors.push_back({data, dtype, columns == 0 ? 1 : 2, {rows, columns}, 0});
    return static_cast<int>(tensors.size()) - 1;
  }
  void op(std::vector<int32_t> o) {
    words.push_back(o[0]);
    words.push_back(static_cast<int32_t>(o.size()) - 1);
    words.insert(words.end(), o.begin() + 1, o.end());
  }
};

}  // namespace claude_flow::test
