// A whole model through the C ABI: threads, callers and padding, for the sanitizers to watch.
#include <atomic>
#include <thread>

#include "claude_flow.h"
#include "harness.h"
#include "ops/pack.h"
#include "sample_program.h"

namespace claude_flow::test {
namespace {

std::vector<float> run(cf_model* model, const std::vector<float>& x, int items, int tokens,
                       const int32_t* lengths) {
  cf_info info;
  cf_model_info(model, &info);
  std::vector<float> y(static_cast<size_t>(items * info.output_width));
  cf_error error;
  expect(cf_model_run(model, x.data(), items, tokens, lengths, y.data(), &error) == CF_OK, error.text);
  return y;
}

cf_model* load(const SampleProgram& sample, const char* isa, int threads) {
  cf_model* model = nullptr;
  cf_error error;
  const cf_status status = cf_model_create(sample.words.data(), sample.words.size(), sample.tensors.data(),
                                           sample.tensors.size(), isa, threads, &model, &error);
  expect(status == CF_OK, error.text);
  return model;
}

void many_callers(const char* isa, int items, int tokens) {
  SampleProgram sample;
  sample.words[SampleProgram::kMaxTokens] = tokens;
  std::mt19937 generator(1);
  Buffer noise(static_cast<size_t>(items * tokens * SampleProgram::kWidth));
  noise.randomize(generator);
  const std::vector<float> x(noise.data(), noise.data() + noise.size());
  std::vector<int32_t> lengths;
  for (int i = 0; i < items; ++i) lengths.push_back(1 + i * 7 % tokens);

  cf_model* alone = load(sample, isa, 1);
  const std::vector<float> all = run(alone, x, items, tokens, nullptr);
  const std::vector<float> padded = run(alone, x, items, tokens, lengths.data());
  cf_model_destroy(alone);

  cf_model* shared = load(sample, isa, 3);
  std::atomic<bool> same{true};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int turn = 0; turn < 6; ++turn) {
        const bool whole = (caller + turn) % 2 == 0;
        const std::vector<float> y = run(shared, x, items, tokens, whole ? nullptr : lengths.data());
        if (y != (whole ? all : padded)) same = false;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  expect(same, "every caller of a shared model gets what one caller alone gets");
  cf_model_destroy(shared);
}

void prepacked(const Table& table) {
  SampleProgram sample;
  cf_tensor& product = sample.tensors[SampleProgram::kProduct];
  const cf_tensor plain = product;
  const std::vector<float> x(static_cast<size_t>(5 * SampleProgram::kWidth), 0.25f);
  cf_model* model = load(sample, table.isa, 1);
  const std::vector<float> want = run(model, x, 1, 5, nullptr);
  cf_model_destroy(model);

  std::vector<float> packed(SampleProgram::kProductBytes /
                            sizeof(float));  // exactly: a sanitizer sees what is read
  pack_gemm_f32(table, static_cast<const float*>(plain.data), plain.shape[0], plain.shape[1], packed.data());
  product.data = packed.data();
  product.packed_bytes = SampleProgram::kProductBytes;
  model = load(sample, table.isa, 1);
  expect(run(model, x, 1, 5, nullptr) == want, "prepacked weights give the same bits");
  cf_model_destroy(model);

  cf_error error;
  for (const size_t bytes : {size_t{1}, SampleProgram::kProductBytes - 4, SampleProgram::kProductBytes + 4}) {
    product.packed_bytes = bytes;
    expect(cf_model_create(sample.words.data(), sample.words.size(), sample.tensors.data(),
                           sample.tensors.size(), table.isa, 1, &model, &error) == CF_INVALID,
           "a wrong size of prepacked weights is refused");
  }
}

}  // namespace
}  // namespace claude_flow::test

int main() {
  using namespace claude_flow::test;
  for (const claude_flow::Table* table : tables()) {
    many_callers(table->isa, 9, 70);
    many_callers(table->isa, 2, 70);   // few: the layers of the LSTM run at once
    many_callers(table->isa, 60, 10);  // many chunks: each thread takes its own through the network
    prepacked(*table);
  }
  return report("model");
}
