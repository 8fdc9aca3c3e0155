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

// A call of the sample with three inputs: padded tokens of two axes, and a row per item.
struct SeveralInputs {
  int items;
  std::vector<float> x[SampleProgram::kInputs];
  std::vector<int32_t> lengths[SampleProgram::kInputs];
  cf_input inputs[SampleProgram::kInputs];

  SeveralInputs(int count, int tokens, int others) : items(count) {
    std::mt19937 generator(2);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    for (int i = 0; i < SampleProgram::kInputs; ++i) {
      const int most = i == 0 ? tokens : i == 1 ? others : 1;
      x[i].resize(static_cast<size_t>(items * most * SampleProgram::kInputWidth[i]));
      for (float& value : x[i]) value = uniform(generator);
      for (int item = 0; item < items; ++item) lengths[i].push_back(1 + (item * 7 + i) % most);
      inputs[i] = {x[i].data(), most, SampleProgram::kAxis[i] == 0 ? nullptr : lengths[i].data()};
    }
  }

  std::vector<float> run(cf_model* model, cf_op_time* times = nullptr) const {
    cf_info info;
    cf_model_info(model, &info);
    std::vector<float> y(static_cast<size_t>(items * info.output_width));
    const auto clock = [] { return 0.0; };
    const cf_call call = {
        inputs, SampleProgram::kInputs, items, y.data(), times == nullptr ? nullptr : +clock, times};
    cf_error error;
    expect(cf_model_call(model, &call, &error) == CF_OK, error.text);
    return y;
  }
};

// The linear op that ends in columns 16 to 31, on the part of the sample that reads the first input.
std::vector<float> run_first(const SampleProgram& sample, const SeveralInputs& call, const char* isa) {
  SampleProgram part;
  const int pairs = static_cast<int>(sample.tensors.size()) - 5;
  part.tensors = sample.tensors;
  part.words[1] = 11;
  part.words[2] = 11;
  part.words[4] = 10;
  const std::vector<int32_t> value = {0, 16}, op = {10, 9, 8, 10, 0, pairs, pairs + 1, -1, -1, 0, -1};
  part.words.insert(part.words.begin() + 6 + 2 * 10, value.begin(), value.end());
  part.words.insert(part.words.end(), op.begin(), op.end());
  cf_model* model = load(part, isa, 1);
  const std::vector<float> y =
      run(model, call.x[0], call.items, call.inputs[0].tokens, call.lengths[0].data());
  cf_model_destroy(model);
  return y;
}

void several_inputs(const char* isa, int items, int tokens, int others) {
  const SampleProgram sample(true);
  const SeveralInputs call(items, tokens, others);
  cf_model* alone = load(sample, isa, 1);
  cf_input_info about[SampleProgram::kInputs + 1];
  expect(cf_model_inputs(alone, about, 1) == SampleProgram::kInputs, "it counts its inputs");
  cf_model_inputs(alone, about, SampleProgram::kInputs + 1);
  for (int i = 0; i < SampleProgram::kInputs; ++i) {
    expect(about[i].axis == SampleProgram::kAxis[i] && about[i].width == SampleProgram::kInputWidth[i],
           "it describes its inputs");
  }
  expect(about[0].max_tokens == 128 && about[1].max_tokens == 64 && about[2].max_tokens == 1,
         "each axis has its most tokens");
  const std::vector<float> want = call.run(alone);
  cf_op_time times[14];
  expect(call.run(alone, times) == want && times[13].code == 1, "timed, it computes the same");

  // The columns of its last value that come from one input alone are those of a model of that input.
  const std::vector<float> y = run_first(sample, call, isa);
  for (int item = 0; item < items; ++item) {
    const float *a = &want[static_cast<size_t>(item * 40 + 16)], *b = &y[static_cast<size_t>(item * 16)];
    float error = 0.0f, scale = 0.0f;
    for (int i = 0; i < 16; ++i) {
      error = std::fmax(error, std::fabs(a[i] - b[i]));
      scale = std::fmax(scale, std::fabs(b[i]));
    }
    expect(error <= 1e-5f * std::fmax(scale, 1.0f), "a part computes what it does alone");
  }

  cf_model* shared = load(sample, isa, 3);
  std::atomic<bool> same{true};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      for (int turn = 0; turn < 4; ++turn) same = same && call.run(shared) == want;
    });
  }
  for (std::thread& caller : callers) caller.join();
  expect(same, "every caller of a shared model of several inputs gets the same");

  SeveralInputs other = call;
  cf_error error;
  std::vector<float> out(want.size());
  const auto refused = [&](const char* text, int count = SampleProgram::kInputs) {
    const cf_call bad = {other.inputs, count, items, out.data(), nullptr, nullptr};
    expect(cf_model_call(shared, &bad, &error) == CF_INVALID && std::strstr(error.text, text) != nullptr, text);
  };
  refused("2 inputs given, the model takes 3", 2);
  expect(cf_model_run(shared, call.x[0].data(), items, tokens, nullptr, out.data(), &error) == CF_INVALID,
         "cf_model_run is for models of one input");
  other.inputs[1].tokens = 65;
  refused("input 1: 65 tokens per item; the model takes 1..64");
  other.inputs[1].tokens = others;
  other.inputs[2].lengths = other.lengths[2].data();
  refused("input 2: lengths given");
  cf_model_destroy(shared);
  cf_model_destroy(alone);
}

// A model with 8-bit weights computes the same bits on every instruction set, of x86, ARM and WebAssembly: the sums of its
// results' bits, taken on x86.
void golden(const char* isa) {
  SampleProgram sample;
  const int items = 7, tokens = 61;
  std::vector<float> x;
  for (int i = 0; i < items * tokens * SampleProgram::kWidth; ++i) {
    x.push_back(static_cast<float>(i * 7919 % 1009 - 504) / 256.0f);
  }
  const int32_t lengths[items] = {61, 1, 17, 60, 33, 4, 52};
  cf_model* model = load(sample, isa, 1);
  uint64_t sum = 0;
  for (const int32_t* given : {static_cast<const int32_t*>(nullptr), lengths}) {
    for (const float y : run(model, x, items, tokens, given)) {
      uint32_t bits;
      std::memcpy(&bits, &y, sizeof bits);
      sum = (sum ^ bits) * 0x100000001B3u;
    }
  }
  cf_model_destroy(model);
  char text[100];
  std::snprintf(text, sizeof text, "%s: the bits of x86 (%016llx)", isa, static_cast<unsigned long long>(sum));
  expect(sum == 0x2c39501be27ab70cu, text);
}

}  // namespace
}  // namespace claude_flow::test

int main() {
  using namespace claude_flow::test;
  for (const claude_flow::Table* table : tables()) golden(table->isa);
  for (const claude_flow::Table* table : tables()) {
    many_callers(table->isa, 9, 70);
    many_callers(table->isa, 2, 70);   // few: the layers of the LSTM run at once
    many_callers(table->isa, 60, 10);  // many chunks: each thread takes its own through the network
    prepacked(*table);
    several_inputs(table->isa, 9, 70, 20);
    several_inputs(table->isa, 2, 30, 64);  // few: the layers of the LSTM run at once
    several_inputs(table->isa, 60, 5, 9);   // many chunks
    several_inputs(table->isa, 70, 1, 1);
  }
  return report("model");
}
