// What a model decides at load about its calls: how many rows at a time, which LSTM layers run at once, and where every
// value lives in the one arena.
#include <algorithm>
#include <new>

#include "base/cache.h"
#include "model/model.h"

namespace claude_flow {

namespace {

// Rows that go through the network at once: enough to fill the GEMM tiles, few enough that activations stay
// near. Coordination, 32 x 128 tokens: 650 ms (8-bit: 218) with 256, 786 (225) with 128, 726 (233) with 1024.
constexpr int kChunkRows = 256;
// An LSTM step multiplies one row per item, so it wants many items; the gates of all their tokens want to stay in L3.
// Prediction, 32 x 128 tokens: 115 ms (8-bit: 40) with 8, 127 (46) with 16, 124 (46) with 32. Where L2 does not hold a
// layer's recurrent weights, they come from L3 for every step, and more items share them: on Zen 3, whose L2 has 512 KiB,
// 216 ms with 8, 180 with 16, 179 with 32.
constexpr int kLstmItems = 8;
constexpr int kLstmItemsBeyondL2 = 16;
constexpr int kLstmRows = 8192;
// For a few sequences the layers of an LSTM run at once, each some steps ahead of the one that reads it. Layers of more
// recurrent weights than this split their units instead: then each thread's part stays in its L2. Prediction with two
// threads, 1 x 32 tokens: 8-bit, 256 KiB a layer, 0.24 ms at once, 0.42 one after another; fp32, 1 MiB a layer, 0.79 ms
// at once, 0.71 split.
constexpr size_t kStackedBytes = size_t{512} << 10;
constexpr uint64_t kMaxArenaBytes = uint64_t{1} << 31;

size_t whole_lines(size_t floats) { return round_up(floats, kCacheLine / sizeof(float)); }

}  // namespace

Status Model::plan() {
  if (!stacks_.allocate(program_.ops.size()) || !places_.allocate(program_.values.size())) {
    return Status::no_memory();
  }
  find_stacks();
  size_chunks();
  find_lifetimes();
  place_values();
  size_scratch();
  CF_RETURN_IF_ERROR(size_arena());
  slots_[0].workspace.store(make_workspace());
  return slots_[0].workspace.load() != nullptr ? Status() : Status::no_memory();
}

void Model::find_stacks() {
  for (size_t i = 0; i < stacks_.size(); ++i) stacks_[i] = layers_from(i);
}

// The layers of an LSTM from an op on, each of which reads the one before; or 1.
int Model::layers_from(size_t op) const {
  const auto layer = [&](size_t i) {
    const size_t bytes = i == program_.ops.size() ? 0 : program_.ops[i]->recurrent_bytes(*table_);
    return bytes > 0 && bytes <= kStackedBytes;
  };
  int layers = 1;
  if (pool_.threads() == 1 || !layer(op)) return layers;
  for (++op; layers < Pool::kMaxRows && layer(op); ++op, ++layers) {
    if (program_.ops[op]->reads[0] != program_.ops[op - 1]->out) break;
  }
  return layers;
}

void Model::size_chunks() {
  size_t recurrent = 0;
  for (const Op* op : program_.ops) recurrent = std::max(recurrent, op->recurrent_bytes(*table_));
  const int items = recurrent > level2_bytes() ? kLstmItemsBeyondL2 : kLstmItems;
  chunk_rows_[0] = kChunkRows;
  for (int axis = 1; axis <= program_.axes; ++axis) {
    const int tokens = program_.most_tokens[axis];
    const auto of_lstm = static_cast<int>(std::min<int64_t>(int64_t{items} * tokens, kLstmRows));
    chunk_rows_[axis] = std::max(tokens, recurrent > 0 ? of_lstm : kChunkRows);
    chunk_rows_[0] = std::min(chunk_rows_[0], chunk_rows_[axis]);
  }
}

// The life of each value, in ops; inputs live from before the first one, the output past the last one.
void Model::find_lifetimes() {
  const int op_count = static_cast<int>(program_.ops.size());
  for (size_t i = 0; i < places_.size(); ++i) {
    const Value& value = program_.values[i];
    const size_t ld = whole_lines(to_size(value.width));
    places_[i] = {0, ld * to_size(chunk_rows_[value.axis]), op_count, -1, static_cast<ptrdiff_t>(ld)};
  }
  // What a stack touches lives from its first op to its last one, since they run at once.
  for (int first = 0, next; first < op_count; first = next) {
    next = first + stacks_[to_size(first)];
    const auto touch = [&](int value) {
      if (value < 0) return;
      Place& place = places_[to_size(value)];
      place.begin = std::min(place.begin, first);
      place.end = std::max(place.end, next - 1);
    };
    for (int i = first; i < next; ++i) {
      const Op& op = *program_.ops[to_size(i)];
      touch(op.out);
      for (const int value : op.reads) touch(value);
    }
  }
  for (int i = 0; i < program_.input_count; ++i) {
    Place& place = places_[to_size(program_.inputs[i])];
    place.begin = 0;
    place.end = std::max(place.end, 0);
  }
  places_[to_size(program_.output)].end = op_count;
}

// First fit, in the order of the values: the lowest offset that no value living at the same time covers.
void Model::place_values() {
  for (size_t i = 0; i < places_.size(); ++i) {
    Place& p = places_[i];
    if (p.end < p.begin) continue;
    apart_size_ += p.floats;
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
    values_size_ = std::max<uint64_t>(values_size_, uint64_t{p.offset} + p.floats);
  }
}

// The largest batch of up to `items` items that an op sees.
Sizes Model::sizes(const Op& op, int items) const {
  const int tokens = program_.most_tokens[op.axis];
  return {static_cast<int>(std::min<int64_t>(chunk_rows_[op.axis], int64_t{items} * tokens)), items, tokens};
}

void Model::size_scratch() {
  const int few = std::min(chunk_rows_[0], few_items(pool_.threads()));
  size_t shared = 0, local = 0, layers = 0;
  for (size_t i = 0; i < program_.ops.size(); ++i) {
    const Op& op = *program_.ops[i];
    const Scratch needs = op.scratch(*table_, sizes(op, chunk_rows_[0]));
    local = std::max(local, needs.local);
    shared = std::max(shared, needs.shared);
    if (op.recurrent_bytes(*table_) == 0) continue;
    layer_size_ = std::max(layer_size_, whole_lines(op.scratch(*table_, sizes(op, few)).shared));
    if (stacks_[i] > 1) layers = std::max(layers, to_size(stacks_[i]));
  }
  shared_size_ = whole_lines(std::max(shared, layer_size_ * layers));
  local_size_ = whole_lines(local);
}

Status Model::size_arena() {
  const uint64_t scratch = uint64_t{shared_size_} + uint64_t{local_size_} * to_size(pool_.threads());
  if (values_size_ + scratch > kMaxArenaBytes / sizeof(float)) {
    return Status::invalid("the program needs %llu MB of working memory, more than %llu",
                           static_cast<unsigned long long>((values_size_ + scratch) * sizeof(float) >> 20),
                           static_cast<unsigned long long>(kMaxArenaBytes >> 20));
  }
  arena_size_ = static_cast<size_t>(values_size_ + scratch);
  apart_size_ += scratch;
  return Status();
}

// Or null: the memory is not there.
Model::Workspace* Model::make_workspace() const {
  Workspace* made = new (std::nothrow) Workspace;
  size_t indices = 0;
  for (int axis = 0; axis <= program_.axes; ++axis) {
    indices += 4 * to_size(chunk_rows_[0]) + to_size(program_.most_tokens[axis]);
  }
  if (made != nullptr && made->views.allocate(program_.values.size()) && made->indices.allocate(indices) &&
      made->arena.allocate(arena_size_)) {
    return made;
  }
  delete made;
  return nullptr;
}

}  // namespace claude_flow
