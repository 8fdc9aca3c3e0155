#include "model/model.h"

#include <algorithm>

#include "ops/packer.h"

namespace claude_flow {

namespace {

// With so many chunks for each thread, each takes its own through the whole network: then no thread waits for the others
// after every op, and one that is held up leaves its share to them. On two cores beside other work coordination, 32 x 128
// tokens, takes 325 to 335 ms (8-bit: 107 to 111) instead of 350 to 400 (109 to 152).
constexpr int kChunksEach = 2;
// Few steps start the next layer early, many change layers seldom: 8-bit, 32 tokens: 0.242 ms with 4, 0.250 with 8; 128
// tokens: 0.929 with 4, 0.910 with 8, 0.938 with 16.
constexpr int steps_ahead(int tokens) { return tokens < 64 ? 4 : 8; }

// Writes into `indices`, 4 * most_items + tokens of them, and returns what is behind.
int32_t* make_batch(int32_t* indices, int most_items, int items, int tokens, const int32_t* lengths,
                    Batch& batch) {
  int32_t* first_row = indices;
  int32_t* length = first_row + most_items;
  int32_t* longest_first = length + most_items;
  int32_t* next = longest_first + most_items;
  int32_t* active = next + most_items;
  std::fill(active, active + tokens, 0);
  std::fill(next, next + items, 0);
  batch = {items, 0, first_row, length, longest_first, active, 0, 0, 0};
  for (int i = 0; i < items; ++i) {
    length[i] = lengths == nullptr ? tokens : lengths[i];
    first_row[i] = batch.rows;
    batch.rows += length[i];
    batch.longest = std::max(batch.longest, static_cast<int>(length[i]));
    ++active[length[i] - 1];
  }
  batch.end = batch.longest;
  // Counting sort: active[t] = items longer than t = where the items of length t begin.
  for (int t = tokens - 2; t >= 0; --t) active[t] += active[t + 1];
  for (int i = 0; i < items; ++i) {
    const int longer = length[i] < tokens ? active[length[i]] : 0;
    longest_first[longer + next[longer]++] = first_row[i];
  }
  return active + tokens;
}

// body(row of the batch, row of the caller's padded array) for every real token.
template <class Body>
void each_token(const Batch& batch, int tokens, const Body& body) {
  for (int i = 0; i < batch.items; ++i) {
    for (int t = 0; t < batch.length[i]; ++t) {
      body(ptrdiff_t{batch.first_row[i]} + t, static_cast<ptrdiff_t>(i) * tokens + t);
    }
  }
}

}  // namespace

Status Model::load(const int32_t* words, size_t count, const cf_tensor* tensors, size_t tensor_count,
                   const char* isa) {
  table_ = find_table(isa);
  if (table_ == nullptr) return Status::unsupported(isa, cf_available());
  CF_RETURN_IF_ERROR(program_.parse(words, count, tensors, tensor_count));
  CF_RETURN_IF_ERROR(pack(tensors));
  return plan();
}

Status Model::pack(const cf_tensor* tensors) {
  Packer counting(*table_, tensors, nullptr);
  for (Op* op : program_.ops) op->prepack(counting);
  CF_RETURN_IF_ERROR(counting.status());
  if (!weights_.allocate(counting.used())) return Status::no_memory();
  Packer placing(*table_, tensors, weights_.data());
  for (Op* op : program_.ops) op->prepack(placing);
  return placing.status();
}

Status Model::run(const cf_call& call) {
  Request request = {call, {1, 1}, {}};
  CF_RETURN_IF_ERROR(check(request));
  for (size_t i = 0; call.clock != nullptr && i < program_.ops.size(); ++i) {
    call.times[i] = {program_.ops[i]->code, 0.0};
  }

  Slot* slot[kWorkspaces] = {take_slot()};
  if (slot[0] == nullptr) return Status::no_memory();
  Pool* pool = pool_.enter() ? &pool_ : nullptr;
  int at_once = chunk_rows_[0];
  for (int axis = 1; axis <= program_.axes; ++axis) {
    at_once = std::min(at_once, chunk_rows_[axis] / request.tokens[axis]);
  }
  const int chunks = call.items / at_once + (call.items % at_once != 0);
  const auto chunk = [&](int index, const Slot* here, Pool* threads) {
    const int first = index * at_once;
    run_chunk(*here->workspace.load(), threads, request, first, std::min(at_once, call.items - first));
  };
  int slots = 1;
  if (pool != nullptr && call.clock == nullptr && pool->threads() <= kWorkspaces &&
      chunks >= kChunksEach * pool->threads()) {
    while (slots < pool->threads() && (slot[slots] = take_slot()) != nullptr) ++slots;
  }
  if (slots > 1 && slots == pool->threads()) {
    pool->run(chunks, [&](int index, int thread) { chunk(index, slot[thread], nullptr); });
  } else {
    for (int index = 0; index < chunks; ++index) chunk(index, slot[0], pool);
  }
  if (pool != nullptr) pool->leave();
  while (slots > 0) slot[--slots]->taken_in.store(Slot::kFree);
  return Status();
}

// Fills in the tokens of each axis.
Status Model::check(Request& request) const {
  const cf_call& call = request.call;
  if (call.items < 0) return Status::invalid("%d items", call.items);
  if (call.input_count != program_.input_count) {
    return Status::invalid("%d inputs given, the model takes %d", call.input_count, program_.input_count);
  }
  bool known[kMaxAxes + 1] = {};
  for (int i = 0; i < call.input_count; ++i) {
    const cf_input& input = call.inputs[i];
    CF_RETURN_IF_ERROR(check_input(i, input, call.items));
    const int axis = program_.input(i).axis;
    const int32_t* before = request.lengths[axis];
    const bool same = before == input.lengths || (before != nullptr && input.lengths != nullptr &&
                                                  std::equal(before, before + call.items, input.lengths));
    if (known[axis] && (request.tokens[axis] != input.tokens || !same)) {
      return Status::invalid("input %d: an input before it has the same tokens, but in another number", i);
    }
    known[axis] = true;
    request.tokens[axis] = input.tokens;
    request.lengths[axis] = input.lengths;
  }
  return Status();
}

Status Model::check_input(int index, const cf_input& input, int items) const {
  const int axis = program_.input(index).axis, most = program_.most_tokens[axis];
  // Which one, where there are several.
  char name[24] = "";
  const auto which = [&] {
    if (program_.input_count > 1) std::snprintf(name, sizeof name, "input %d: ", index);
    return name;
  };
  if (axis == 0 && input.tokens != 1) {
    return Status::invalid("%s%d tokens per item, but the model takes no tokens", which(), input.tokens);
  }
  if (axis == 0 && input.lengths != nullptr) {
    return Status::invalid("%slengths given, but the model takes no tokens", which());
  }
  if (input.tokens < 1 || input.tokens > most) {
    return Status::invalid("%s%d tokens per item; the model takes 1..%d", which(), input.tokens, most);
  }
  for (int i = 0; input.lengths != nullptr && i < items; ++i) {
    if (input.lengths[i] < 1 || input.lengths[i] > input.tokens) {
      return Status::invalid("%slengths[%d] is %d, not in 1..%d", which(), i, input.lengths[i], input.tokens);
    }
  }
  return Status();
}

Model::Slot* Model::take_slot() {
  const uint64_t now = current_generation();
  for (;;) {
    for (Slot& slot : slots_) {
      // What was taken in another generation is free: the call that had it was the parent's.
      uint64_t holder = slot.taken_in.load();
      if (holder == now || !slot.taken_in.compare_exchange_strong(holder, now)) continue;
      if (slot.workspace.load() == nullptr) slot.workspace.store(make_workspace());
      if (slot.workspace.load() != nullptr) return &slot;
      slot.taken_in.store(Slot::kFree);
      return nullptr;
    }
    yield_cpu();
  }
}

void Model::run_chunk(Workspace& workspace, Pool* pool, const Request& request, int first, int items) const {
  const Value& result = program_.result();
  float* out =
      request.call.out + to_size(first) * to_size(request.tokens[result.axis]) * to_size(result.width);
  float* scratch = workspace.arena.data() + values_size_;
  make_batches(workspace, request, first, items);
  place_views(workspace);
  read_inputs(workspace, request, first);
  const bool in_place = write_in_place(workspace, request, out);
  run_ops(workspace, {table_, program_.has_i8, pool, scratch, scratch + shared_size_, local_size_},
          request.call);
  if (!in_place) scatter_output(workspace, request, out);
}

void Model::make_batches(Workspace& workspace, const Request& request, int first, int items) const {
  int32_t* indices = workspace.indices.data();
  for (int axis = 0; axis <= program_.axes; ++axis) {
    const int32_t* lengths = request.lengths[axis];
    indices = make_batch(indices, chunk_rows_[0], items, request.tokens[axis],
                         lengths == nullptr ? nullptr : lengths + first, workspace.batches[axis]);
  }
}

void Model::place_views(Workspace& workspace) const {
  float* arena = workspace.arena.data();
  for (size_t i = 0; i < places_.size(); ++i) workspace.views[i] = {arena + places_[i].offset, places_[i].ld};
}

// Without padding the caller's memory is read in place; otherwise the real tokens are gathered.
void Model::read_inputs(Workspace& workspace, const Request& request, int first) const {
  for (int i = 0; i < program_.input_count; ++i) {
    const Value& input = program_.input(i);
    const Batch& batch = workspace.batches[input.axis];
    const int tokens = request.tokens[input.axis];
    const size_t width = to_size(input.width);
    const float* x = request.call.inputs[i].x + to_size(first) * to_size(tokens) * width;
    View& view = workspace.views[to_size(program_.inputs[i])];
    if (batch.rows == batch.items * tokens) {
      view = {const_cast<float*>(x), input.width};
      continue;
    }
    each_token(batch, tokens, [&](ptrdiff_t row, ptrdiff_t padded) {
      std::memcpy(view.data + row * view.ld, x + padded * input.width, width * sizeof(float));
    });
  }
}

// Whether the ops write the output where the caller wants it: unless it has rows for padding.
bool Model::write_in_place(Workspace& workspace, const Request& request, float* out) const {
  const Value& result = program_.result();
  const Batch& batch = workspace.batches[result.axis];
  if (batch.rows != batch.items * request.tokens[result.axis]) return false;
  workspace.views[to_size(program_.output)] = {out, result.width};
  return true;
}

void Model::scatter_output(const Workspace& workspace, const Request& request, float* out) const {
  const Value& result = program_.result();
  const Batch& batch = workspace.batches[result.axis];
  const View from = workspace.views[to_size(program_.output)];
  const int tokens = request.tokens[result.axis];
  const size_t width = to_size(result.width);
  std::memset(out, 0, to_size(batch.items) * to_size(tokens) * width * sizeof(float));
  each_token(batch, tokens, [&](ptrdiff_t row, ptrdiff_t padded) {
    std::memcpy(out + padded * result.width, from.data + row * from.ld, width * sizeof(float));
  });
}

void Model::run_ops(const Workspace& workspace, const Context& context, const cf_call& call) const {
  const bool timed = call.clock != nullptr;
  const bool stacked =
      context.pool != nullptr && !timed && workspace.batches[0].items <= few_items(context.pool->threads());
  for (size_t i = 0; i < program_.ops.size();) {
    if (stacked && stacks_[i] > 1) {
      run_stack(i, workspace, context);
      i += to_size(stacks_[i]);
      continue;
    }
    const Op& op = *program_.ops[i];
    const double begin = timed ? call.clock() : 0.0;
    run_op(op, workspace, context, workspace.batches[op.axis]);
    if (timed) call.times[i].seconds += call.clock() - begin;
    ++i;
  }
}

void Model::run_stack(size_t first, const Workspace& workspace, const Context& context) const {
  const Batch& batch = workspace.batches[program_.ops[first]->axis];
  const int ahead = steps_ahead(batch.longest);
  const int chunks = (batch.longest + ahead - 1) / ahead;
  context.pool->run_wavefront(stacks_[first], chunks, [&](int layer, int chunk, int thread) {
    Batch steps = batch;
    steps.begin = chunk * ahead;
    steps.end = std::min(batch.longest, steps.begin + ahead);
    float* scratch = context.shared + to_size(layer) * layer_size_;
    run_op(*program_.ops[first + to_size(layer)], workspace, context.alone(thread, scratch), steps);
  });
}

void Model::run_op(const Op& op, const Workspace& workspace, const Context& context,
                   const Batch& batch) const {
  View reads[Op::kMaxReads] = {};
  for (int i = 0; i < Op::kMaxReads; ++i) {
    if (op.reads[i] >= 0) reads[i] = workspace.views[to_size(op.reads[i])];
  }
  View out = workspace.views[to_size(op.out)];
  out.data += op.out_column;
  op.run(context, batch, reads, out);
}

cf_info Model::info() const {
  const Value &input = program_.input(0), &output = program_.result();
  return {input.axis,
          output.axis,
          input.width,
          output.width,
          program_.most_tokens[input.axis],
          pool_.threads(),
          static_cast<int32_t>(program_.ops.size()),
          arena_size_ * sizeof(float),
          static_cast<size_t>(apart_size_) * sizeof(float),
          weights_.size() * sizeof(float),
          table_->isa};
}

}  // namespace claude_flow
