// What a model decides at load about its calls: how many rows at a time, which LSTM layers run at once, and where every
// value lives in the one arena.
#include <algorithm>

#include "model/model.h"
#include "ops/pack.h"

namespace claude_flow {

namespace {

// Rows that go through the network at once: enough to fill the GEMM tiles, few enough that activations stay
// near. Coordination, 32 x 128 tokens: 650 ms (8-bit: 218) with 256, 786 (225) with 128, 726 (233) with 1024.
constexpr int kChunkRows = 256;
// An LSTM step multiplies one row per item, so it wants many items; the gates of all their tokens want to stay in L3.
// Prediction, 32 x 128 tokens: 115 ms (8-bit: 40) with 8, 127 (46) with 16, 124 (46) with 32.
constexpr int kLstmItems = 8;
constexpr int kLstmRows = 8192;
// For a few sequences the layers of an LSTM run at once, each some steps ahead of the one that reads it. Layers of more
// recurrent weights than this split their units instead: then each thread's part stays in its L2. Prediction with two
// threads, 1 x 32 tokens: 8-bit, 256 KiB a layer, 0.24 ms at once, 0.42 one after another; fp32, 1 MiB a layer, 0.79 ms
// at once, 0.71 split.
constexpr size_t kStackedBytes = size_t{512} << 10;
constexpr uint64_t kMaxArenaBytes = uint64_t{1} << 31;

}  // namespace

// The LSTM layers from `step` on, each of which reads the one before; or 1.
int Model::layers_from(size_t step) const {
  const auto layer = [&](size_t i) {
    if (i == steps_.size()) return false;
    const int units = steps_[i].op.width;
    switch (steps_[i].op.code) {
      case OpCode::kLstm:
        return packed_lstm_size(*table_, units) * sizeof(float) <= kStackedBytes;
      case OpCode::kLstmI8:
        return packed_lstm_i8_size(*table_, units) <= kStackedBytes;
      default:
        return false;
    }
  };
  int layers = 1;
  if (pool_.threads() == 1 || !layer(step)) return layers;
  for (++step; layers < Pool::kMaxRows && layer(step); ++step, ++layers) {
    if (steps_[step].op.in != steps_[step - 1].op.out) break;
  }
  return layers;
}

Status Model::plan() {
  bool has_lstm = false;
  for (size_t i = 0; i < steps_.size(); ++i) {
    Step& step = steps_[i];
    has_lstm |= step.op.code == OpCode::kLstm || step.op.code == OpCode::kLstmI8;
    step.stack = layers_from(i);
  }
  const int tokens = program_.max_tokens;
  chunk_rows_ =
      std::max(tokens, has_lstm ? static_cast<int>(std::min<int64_t>(int64_t{kLstmItems} * tokens, kLstmRows))
                                : kChunkRows);
  chunk_items_ = std::min(chunk_rows_, kChunkRows);

  // Life of each value, in steps; the input lives from before the first one, the output past the last one.
  const int step_count = static_cast<int>(steps_.size());
  if (!places_.allocate(program_.values.size())) return Status::no_memory();
  for (size_t i = 0; i < places_.size(); ++i) {
    const Value& value = program_.values[i];
    const size_t ld = round_up(to_size(value.width), kCacheLine / sizeof(float));
    places_[i] = {0, ld * to_size(value.per_token ? chunk_rows_ : chunk_items_), step_count, -1,
                  static_cast<ptrdiff_t>(ld)};
  }
  const auto place = [&](int value) -> Place& { return places_[to_size(value)]; };
  // What a stack touches lives from its first step to its last one, since they run at once.
  for (int first = 0, next; first < step_count; first = next) {
    next = first + steps_[to_size(first)].stack;
    for (int i = first; i < next; ++i) {
      const Op& op = steps_[to_size(i)].op;
      for (const int value : {op.in, op.out, op.second}) {
        if (value < 0) continue;
        place(value).begin = std::min(place(value).begin, first);
        place(value).end = std::max(place(value).end, next - 1);
      }
    }
  }
  place(program_.input).begin = 0;
  place(program_.output).end = step_count;

  // First fit, in the order of the values: the lowest offset that no value living at the same time covers.
  uint64_t arena = 0, apart = 0;
  for (size_t i = 0; i < places_.size(); ++i) {
    Place& p = places_[i];
    if (p.end < p.begin) continue;
    apart += p.floats;
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t j = 0; j < i; ++j) {
        const Place& q = places_[j];
        if (q.end < q.begin || q.end < p.begin || p.end < q.begin) continue;
        if (p.offset < q.offset + q.floats && q.offset < p.offset + p.floats) {
          p.offset = q.offset + q.floats;
          moved = true;
        }
      }
    }
    arena = std::max<uint64_t>(arena, uint64_t{p.offset} + p.floats);
  }

  const int few = std::min(chunk_items_, few_items(pool_.threads()));
  const int few_rows = std::min(chunk_rows_, few * tokens);
  size_t shared = 0, local = 0;
  for (const Step& step : steps_) {
    const Op& op = step.op;
    if (op.code == OpCode::kLinear || op.code == OpCode::kLstm)
      local = std::max(local, linear_scratch(*table_));
    if (op.code == OpCode::kAttention) {
      local = std::max(local, attention_scratch(*table_, tokens, op.width / op.heads));
    }
    if (op.code == OpCode::kAttentionPool) local = std::max(local, to_size(tokens));
    size_t together = 0, layer = 0;
    if (op.code == OpCode::kLstm) {
      together = lstm_scratch(*table_, step.lstm, chunk_rows_, chunk_items_);
      layer = lstm_scratch(*table_, step.lstm, few_rows, few);
    }
    if (op.code == OpCode::kLstmI8) {
      together = lstm_i8_scratch(*table_, step.lstm_i8, chunk_rows_, chunk_items_);
      layer = lstm_i8_scratch(*table_, step.lstm_i8, few_rows, few);
    }
    layer_size_ = std::max(layer_size_, round_up(layer, kCacheLine / sizeof(float)));
    if (op.code == OpCode::kLinearI8) together = linear_i8_scratch(step.linear_i8, chunk_rows_);
    shared = std::max(shared, together);
  }
  for (const Step& step : steps_) {
    if (step.stack > 1) shared = std::max(shared, layer_size_ * to_size(step.stack));
  }
  local_size_ = round_up(local, kCacheLine / sizeof(float));
  shared_scratch_ = static_cast<size_t>(arena);
  local_scratch_ = shared_scratch_ + round_up(shared, kCacheLine / sizeof(float));
  const uint64_t floats = uint64_t{local_scratch_} + uint64_t{local_size_} * to_size(pool_.threads());
  if (floats > kMaxArenaBytes / sizeof(float)) {
    return Status::invalid("the program needs %llu MB of working memory, more than %llu",
                           static_cast<unsigned long long>(floats * sizeof(float) >> 20),
                           static_cast<unsigned long long>(kMaxArenaBytes >> 20));
  }
  arena_size_ = static_cast<size_t>(floats);
  apart_size_ = static_cast<size_t>(floats - arena + apart);
  return allocate(workspaces_[0]) ? Status() : Status::no_memory();
}

bool Model::allocate(Workspace& workspace) const {
  return workspace.arena.size() == arena_size_ ||
         (workspace.views.allocate(program_.values.size()) &&
          workspace.indices.allocate(4 * to_size(chunk_items_) + to_size(program_.max_tokens)) &&
          workspace.arena.allocate(arena_size_));
}

}  // namespace claude_flow
