// libFuzzer: the bytes change words of a valid program, cut it or continue it; whatever loads must run within its memory.
// Run by ctest for a short while; by hand: build/asan/tests/cpp/fuzz_program -max_total_time=600
#include <cmath>

#include "sample_program.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using claude_flow::test::SampleProgram;
  if (size < 2) return 0;
  SampleProgram sample(data[0] % 16 >= 8);
  std::vector<int32_t>& words = sample.words;
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
  cf_input_info about[16];
  const int count = cf_model_inputs(model, about, 16), items = 2;
  std::vector<std::vector<float>> x;
  std::vector<std::vector<int32_t>> lengths;
  std::vector<cf_input> inputs;
  int rows = items;
  for (int i = 0; i < count; ++i) {
    const int tokens = about[i].axis != 0 && about[i].max_tokens > 2 ? 3 : 1;
    x.emplace_back(static_cast<size_t>(items * tokens * about[i].width), 0.5f);
    lengths.push_back({1, tokens});
    inputs.push_back({x.back().data(), tokens, about[i].axis != 0 ? lengths.back().data() : nullptr});
    if (about[i].axis != 0 && about[i].axis == info.per_token_output) rows = items * tokens;
  }
  std::vector<float> y(static_cast<size_t>(rows * info.output_width));
  const cf_call call = {inputs.data(), count, items, y.data(), nullptr, nullptr};
  if (cf_model_call(model, &call, &error) != CF_OK) __builtin_trap();
  cf_model_destroy(model);
  return 0;
}
