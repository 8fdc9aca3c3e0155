// libFuzzer: the bytes change words of a valid program, cut it or continue it; whatever loads must run within its memory.
// Run by ctest for a short while; by hand: build/asan/tests/cpp/fuzz_program -max_total_time=600
#include <cmath>

#include "sample_program.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using claude_flow::test::SampleProgram;
  SampleProgram sample;
  std::vector<int32_t>& words = sample.words;
  if (size < 2) return 0;
  // The size in which every instruction set packs it for the op that reads it; for others it must be refused.
  if (data[0] % 8 >= 4) sample.tensors[SampleProgram::kProduct].packed_bytes = SampleProgram::kProductBytes;
  if (data[0] % 4 == 0) words.resize(data[1] % (words.size() + 1));
  for (size_t i = 2; i + 3 <= size; i += 3) {
    const auto at = static_cast<size_t>(data[i]);
    // Small numbers index and count; the others are sizes that overflow.
    const int32_t extremes[] = {-2147483647 - 1, 2147483647, 1 << 30, 1 << 16, 65537, 4096, -1, 1 << 29};
    const int32_t word = data[i + 1] < 248 ? data[i + 2] - 2 : extremes[data[i + 1] - 248];
    if (at < words.size()) {
      words[at] = word;
    } else {
      words.push_back(word);
    }
  }
  cf_model* model = nullptr;
  cf_error error;
  if (cf_model_create(words.data(), words.size(), sample.tensors.data(), sample.tensors.size(), "auto", 1,
                      &model, &error) != CF_OK) {
    return 0;
  }
  cf_info info;
  cf_model_info(model, &info);
  const int items = 2, tokens = info.per_token_input != 0 && info.max_tokens > 2 ? 3 : 1;
  std::vector<float> x(static_cast<size_t>(items * tokens * info.input_width), 0.5f);
  std::vector<float> y(static_cast<size_t>(items * tokens * info.output_width));
  const int32_t lengths[] = {1, tokens};
  if (cf_model_run(model, x.data(), items, tokens, info.per_token_input != 0 ? lengths : nullptr, y.data(),
                   &error) != CF_OK) {
    __builtin_trap();
  }
  cf_model_destroy(model);
  return 0;
}
