#include "model/model.h"

#include <algorithm>

#include "ops/pack.h"

namespace claude_flow {

namespace {

// With so many chunks for each thread, each takes its own through the whole network: then no thread waits for the others
// after every op, and one that is held up leaves its share to them. On two cores beside other work coordination, 32 x 128
// tokens, takes 325 to 335 ms (8-bit: 107 to 111) instead of 350 to 400 (109 to 152).
constexpr int kChunksEach = 2;
// Few steps start the next layer early, many change layers seldom: 8-bit, 32 tokens: 0.242 ms with 4, 0.250 with 8; 128
// tokens: 0.929 with 4, 0.910 with 8, 0.938 with 16.
constexpr int steps_ahead(int tokens) { return tokens < 64 ? 4 : 8; }

size_t elements(const cf_tensor& t) { return to_size(t.shape[0]) * (t.rank == 2 ? to_size(t.shape[1]) : 1); }

// Hands out parts of one allocation: first pass counts with a null base, the second one places.
class Taker {
 public:
  explicit Taker(float* base) : base_(base) {}
  float* take(size_t floats) {
    float* p = base_ == nullptr ? nullptr : base_ + used_;
    used_ += round_up(floats, kCacheLine / sizeof(float));
    return p;
  }
  size_t used() const { return used_; }

 private:
  float* base_;
  size_t used_ = 0;
};

}  // namespace

Status Model::load(const int32_t* words, size_t count, const cf_tensor* tensors, size_t tensor_count,
                   const char* isa) {
  table_ = find_table(isa);
  if (table_ == nullptr) return Status::unsupported(isa, cf_available());
  CF_RETURN_IF_ERROR(program_.parse(words, count, tensors, tensor_count));
  CF_RETURN_IF_ERROR(check_packed(tensors));
  CF_RETURN_IF_ERROR(pack(tensors));
  return plan();
}

Status Model::check_packed(const cf_tensor* tensors) const {
  const auto fits = [&](int tensor, size_t elements) {
    const cf_tensor& t = tensors[tensor];
    const size_t wanted = elements * (t.dtype == CF_I8 ? 1 : sizeof(float));
    return t.packed_bytes == 0 || t.packed_bytes == wanted
               ? Status()
               : Status::invalid("tensor %d is packed into %zu bytes, %s wants %zu", tensor, t.packed_bytes,
                                 table_->isa, wanted);
  };
  for (const Op& op : program_.ops) {
    const auto gates = [&] { return 4 * padded_units(*table_, op.width); };
    switch (op.code) {
      case OpCode::kLinear:
        CF_RETURN_IF_ERROR(fits(op.tensor[0], packed_gemm_size(*table_, op.width, op.depth)));
        break;
      case OpCode::kLinearI8:
        CF_RETURN_IF_ERROR(fits(op.tensor[0], packed_gemm_i8_size(*table_, op.width, op.depth)));
        break;
      case OpCode::kLstm:
        CF_RETURN_IF_ERROR(fits(op.tensor[0], packed_gemm_size(*table_, gates(), op.depth)));
        CF_RETURN_IF_ERROR(fits(op.tensor[1], packed_lstm_size(*table_, op.width)));
        break;
      case OpCode::kLstmI8:
        CF_RETURN_IF_ERROR(fits(op.tensor[0], packed_gemm_i8_size(*table_, gates(), op.depth)));
        CF_RETURN_IF_ERROR(fits(op.tensor[1], packed_lstm_i8_size(*table_, op.width)));
        break;
      case OpCode::kLayerNorm:
      case OpCode::kAttention:
      case OpCode::kAttentionPool:
      case OpCode::kLast:
      case OpCode::kMonotone:
        break;
    }
  }
  return Status();
}

// Whether `next` finds its input quantized by the op before it: a residual layer and its shortcut share one.
bool Model::same_bytes(const Step& before, const Step& next) {
  if (before.op.code != OpCode::kLinearI8 || before.op.in != next.op.in || before.op.out == next.op.in) {
    return false;
  }
  const float* a = before.linear_i8.range;
  const float* b = next.linear_i8.range;
  return a == nullptr || b == nullptr ? a == b : a[0] == b[0] && a[1] == b[1];
}

Status Model::pack(const cf_tensor* tensors) {
  if (!steps_.allocate(program_.ops.size())) return Status::no_memory();
  for (const bool place : {false, true}) {
    Taker taker(place ? weights_.data() : nullptr);
    const auto data = [&](int tensor) { return static_cast<const float*>(tensors[tensor].data); };
    const auto bytes = [&](int tensor) { return static_cast<const int8_t*>(tensors[tensor].data); };
    const auto take_sums = [&](size_t size) { return reinterpret_cast<int32_t*>(taker.take(size)); };
    const auto copy = [&](int tensor) -> const float* {
      if (tensor < 0) return nullptr;
      float* to = taker.take(elements(tensors[tensor]));
      if (place) std::memcpy(to, data(tensor), elements(tensors[tensor]) * sizeof(float));
      return to;
    };
    // A weight matrix: where the caller has it prepacked, or packed by fill(to) into a place of `size` elements.
    const auto floats = [&](int tensor, size_t size, const auto& fill) -> const float* {
      if (tensors[tensor].packed_bytes != 0) return data(tensor);
      float* to = taker.take(size);
      if (place) fill(to);
      return to;
    };
    const auto integers = [&](int tensor, size_t size, const auto& fill) -> const int8_t* {
      if (tensors[tensor].packed_bytes != 0) return bytes(tensor);
      auto* to = reinterpret_cast<int8_t*>(taker.take((size + sizeof(float) - 1) / sizeof(float)));
      if (place) fill(to);
      return to;
    };

    for (size_t i = 0; i < steps_.size(); ++i) {
      Step& step = steps_[i];
      const Op& op = step.op = program_.ops[i];
      switch (op.code) {
        case OpCode::kLinear: {
          const float* packed =
              floats(op.tensor[0], packed_gemm_size(*table_, op.width, op.depth),
                     [&](float* to) { pack_gemm_f32(*table_, data(op.tensor[0]), op.width, op.depth, to); });
          step.linear = {packed, copy(op.tensor[1]), op.width, op.depth, op.activation};
          break;
        }
        case OpCode::kLayerNorm:
          step.first = copy(op.tensor[0]);
          step.second = copy(op.tensor[1]);
          break;
        case OpCode::kAttentionPool:
          step.first = copy(op.tensor[0]);
          break;
        case OpCode::kLstm: {
          const int gates = 4 * padded_units(*table_, op.width);
          Array<float> ordered;
          if (place && !ordered.allocate(to_size(gates) * to_size(op.depth))) return Status::no_memory();
          float* bias = taker.take(to_size(gates));
          if (place && op.tensor[2] >= 0) order_lstm_gates(*table_, data(op.tensor[2]), op.width, 1, bias);
          const float* packed =
              floats(op.tensor[0], packed_gemm_size(*table_, gates, op.depth), [&](float* to) {
                order_lstm_gates(*table_, data(op.tensor[0]), op.width, op.depth, ordered.data());
                pack_gemm_f32(*table_, ordered.data(), gates, op.depth, to);
              });
          const float* recurrent = floats(op.tensor[1], packed_lstm_size(*table_, op.width), [&](float* to) {
            pack_lstm_f32(*table_, data(op.tensor[1]), op.width, to);
          });
          step.lstm = {{packed, bias, gates, op.depth, Activation::kNone}, recurrent, op.width};
          break;
        }
        case OpCode::kLinearI8: {
          const auto padded = to_size(padded_columns(*table_, op.width));
          const int8_t* packed = integers(
              op.tensor[0], packed_gemm_i8_size(*table_, op.width, op.depth),
              [&](int8_t* to) { pack_gemm_i8(*table_, bytes(op.tensor[0]), op.width, op.depth, to); });
          int32_t* sums = take_sums(padded);
          float* scales = taker.take(padded);
          if (place) {
            sum_gemm_i8(*table_, packed, op.width, op.depth, sums);
            std::memcpy(scales, data(op.tensor[2]), to_size(op.width) * sizeof(float));
          }
          step.linear_i8 = {packed,   sums,          scales, copy(op.tensor[1]), copy(op.tensor[3]), op.width,
                            op.depth, op.activation, false};
          if (place && i > 0) step.linear_i8.quantized = same_bytes(steps_[i - 1], step);
          break;
        }
        case OpCode::kLstmI8: {
          const int gates = 4 * padded_units(*table_, op.width);
          // The gates fill whole blocks but not always whole tiles.
          const auto padded = to_size(padded_columns(*table_, gates));
          Array<int8_t> ordered;
          if (place && !ordered.allocate(to_size(gates) * to_size(op.depth))) return Status::no_memory();
          const int8_t* packed =
              integers(op.tensor[0], packed_gemm_i8_size(*table_, gates, op.depth), [&](int8_t* to) {
                order_lstm_gates(*table_, bytes(op.tensor[0]), op.width, op.depth, ordered.data());
                pack_gemm_i8(*table_, ordered.data(), gates, op.depth, to);
              });
          const int8_t* recurrent =
              integers(op.tensor[1], packed_lstm_i8_size(*table_, op.width),
                       [&](int8_t* to) { pack_lstm_i8(*table_, bytes(op.tensor[1]), op.width, to); });
          float* bias = taker.take(to_size(gates));
          int32_t* sums = take_sums(padded);
          int32_t* recurrent_sums = take_sums(to_size(gates));
          float* scales = taker.take(padded);
          float* recurrent_scales = taker.take(to_size(gates));
          if (place) {
            sum_gemm_i8(*table_, packed, gates, op.depth, sums);
            sum_lstm_i8(*table_, recurrent, op.width, recurrent_sums);
            if (op.tensor[2] >= 0) order_lstm_gates(*table_, data(op.tensor[2]), op.width, 1, bias);
            order_lstm_gates(*table_, data(op.tensor[3]), op.width, 1, scales);
            order_lstm_gates(*table_, data(op.tensor[4]), op.width, 1, recurrent_scales);
          }
          step.lstm_i8 = {{packed, sums, scales, bias, nullptr, gates, op.depth, Activation::kNone, false},
                          recurrent,
                          recurrent_sums,
                          recurrent_scales,
                          op.width};
          break;
        }
        case OpCode::kAttention:
        case OpCode::kLast:
        case OpCode::kMonotone:
          break;
      }
    }
    if (!place && !weights_.allocate(taker.used())) return Status::no_memory();
  }
  return Status();
}

Batch Model::make_batch(int32_t* indices, int items, int tokens, const int32_t* lengths) const {
  int32_t* first_row = indices;
  int32_t* length = first_row + chunk_items_;
  int32_t* longest_first = length + chunk_items_;
  int32_t* next = longest_first + chunk_items_;
  int32_t* active = next + chunk_items_;
  std::fill(active, active + tokens, 0);
  std::fill(next, next + items, 0);
  Batch batch = {items, 0, first_row, length, longest_first, active, 0, 0, 0};
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
  return batch;
}

void Model::run_stack(const Step* first, const Workspace& workspace, const Context& context,
                      const Batch& batch) const {
  const int ahead = steps_ahead(batch.longest);
  const int chunks = (batch.longest + ahead - 1) / ahead;
  context.pool->run_wavefront(first->stack, chunks, [&](int layer, int chunk, int thread) {
    Batch steps = batch;
    steps.begin = chunk * ahead;
    steps.end = std::min(batch.longest, steps.begin + ahead);
    float* scratch = context.shared + to_size(layer) * layer_size_;
    run_step(first[layer], workspace, context.alone(thread, scratch), steps);
  });
}

void Model::run_step(const Step& step, const Workspace& workspace, const Context& context,
                     const Batch& batch) const {
  const Op& op = step.op;
  const View in = workspace.views[to_size(op.in)];
  const View second = op.second < 0 ? View{} : workspace.views[to_size(op.second)];
  const Value& target = program_.values[to_size(op.out)];
  View out = workspace.views[to_size(op.out)];
  out.data += op.out_column;
  const int rows = target.per_token ? batch.rows : batch.items;
  switch (op.code) {
    case OpCode::kLinear:
      return linear(context, step.linear, in, second, out, rows);
    case OpCode::kLayerNorm:
      return layer_norm(context, step.first, step.second, op.epsilon, in, out, rows, op.width);
    case OpCode::kAttention:
      return attention(context, in, out, batch, op.heads, op.width);
    case OpCode::kLstm:
      return lstm(context, step.lstm, in, out, batch);
    case OpCode::kAttentionPool:
      return attention_pool(context, in, second, step.first, out, batch, op.width, op.depth);
    case OpCode::kLast:
      return last(in, out, batch, op.width);
    case OpCode::kMonotone:
      return monotone(context, in, out, rows, op.width, op.quantiles, op.group);
    case OpCode::kLinearI8:
      return linear_i8(context, step.linear_i8, in, second, out, rows);
    case OpCode::kLstmI8:
      return lstm_i8(context, step.lstm_i8, in, out, batch);
  }
}

Status Model::run(const float* x, int items, int tokens, const int32_t* lengths, float* out) {
  return run_timed(x, items, tokens, lengths, out, nullptr);
}

Status Model::profile(const float* x, int items, int tokens, const int32_t* lengths, float* out,
                      double (*clock)(), cf_op_time* times) {
  for (size_t i = 0; i < steps_.size(); ++i) times[i] = {static_cast<int32_t>(steps_[i].op.code), 0.0};
  const Stopwatch stopwatch = {clock, times};
  return run_timed(x, items, tokens, lengths, out, &stopwatch);
}

Status Model::run_timed(const float* x, int items, int tokens, const int32_t* lengths, float* out,
                        const Stopwatch* stopwatch) {
  const Value& input = program_.values[to_size(program_.input)];
  const Value& output = program_.values[to_size(program_.output)];
  if (items < 0) return Status::invalid("%d items", items);
  if (!input.per_token) {
    if (tokens != 1) return Status::invalid("%d tokens per item, but the model takes no tokens", tokens);
    if (lengths != nullptr) return Status::invalid("lengths given, but the model takes no tokens");
  }
  if (tokens < 1 || tokens > program_.max_tokens) {
    return Status::invalid("%d tokens per item; the model takes 1..%d", tokens, program_.max_tokens);
  }
  if (lengths != nullptr) {
    for (int i = 0; i < items; ++i) {
      if (lengths[i] < 1 || lengths[i] > tokens) {
        return Status::invalid("lengths[%d] is %d, not in 1..%d", i, lengths[i], tokens);
      }
    }
  }

  Workspace* workspace[kWorkspaces] = {take_workspace()};
  if (workspace[0] == nullptr) return Status::no_memory();
  Pool* pool = pool_.enter() ? &pool_ : nullptr;
  const int at_once = std::min(chunk_items_, chunk_rows_ / tokens);
  const size_t in_step = to_size(input.per_token ? tokens : 1) * to_size(input.width);
  const size_t out_step = to_size(output.per_token ? tokens : 1) * to_size(output.width);
  const int chunks = items / at_once + (items % at_once != 0);
  const auto chunk = [&](int index, Workspace& here, Pool* threads) {
    const int item = index * at_once;
    const size_t i = to_size(item);
    run_chunk(here, threads, x + i * in_step, std::min(at_once, items - item), tokens,
              lengths == nullptr ? nullptr : lengths + i, out + i * out_step, stopwatch);
  };
  int workspaces = 1;
  if (pool != nullptr && stopwatch == nullptr && pool->threads() <= kWorkspaces &&
      chunks >= kChunksEach * pool->threads()) {
    while (workspaces < pool->threads() && (workspace[workspaces] = take_workspace()) != nullptr)
      ++workspaces;
  }
  if (workspaces > 1 && workspaces == pool->threads()) {
    pool->run(chunks, [&](int index, int thread) { chunk(index, *workspace[thread], nullptr); });
  } else {
    for (int index = 0; index < chunks; ++index) chunk(index, *workspace[0], pool);
  }
  if (pool != nullptr) pool->leave();
  while (workspaces > 0) workspace[--workspaces]->taken.store(false);
  return Status();
}

Model::Workspace* Model::take_workspace() {
  for (;;) {
    for (Workspace& workspace : workspaces_) {
      if (workspace.taken.exchange(true)) continue;
      if (allocate(workspace)) return &workspace;
      workspace.taken.store(false);
      return nullptr;
    }
    yield_cpu();
  }
}

void Model::run_chunk(Workspace& workspace, Pool* pool, const float* x, int items, int tokens,
                      const int32_t* lengths, float* out, const Stopwatch* stopwatch) const {
  float* arena = workspace.arena.data();
  View* views = workspace.views.data();
  const Batch batch = make_batch(workspace.indices.data(), items, tokens, lengths);
  const Context context = {table_,     program_.has_i8, pool, arena + shared_scratch_, arena + local_scratch_,
                           local_size_};
  for (size_t i = 0; i < places_.size(); ++i) views[i] = {arena + places_[i].offset, places_[i].ld};

  const Value& input = program_.values[to_size(program_.input)];
  const Value& output = program_.values[to_size(program_.output)];
  View& in = views[to_size(program_.input)];
  View& result = views[to_size(program_.output)];
  // Without padding the caller's memory is read and written in place; otherwise the real tokens are gathered.
  const bool padded = batch.rows != items * tokens;
  const ptrdiff_t in_width = input.width, out_width = output.width;
  if (padded) {
    for (int i = 0; i < items; ++i) {
      for (int t = 0; t < batch.length[i]; ++t) {
        std::memcpy(in.data + (batch.first_row[i] + t) * in.ld,
                    x + (static_cast<ptrdiff_t>(i) * tokens + t) * in_width,
                    to_size(input.width) * sizeof(float));
      }
    }
  } else {
    in = {const_cast<float*>(x), in_width};
  }
  const bool scatter = padded && output.per_token;
  if (!scatter) result = {out, out_width};

  const bool stacked = pool != nullptr && stopwatch == nullptr && items <= few_items(pool->threads());
  for (size_t i = 0; i < steps_.size();) {
    if (stacked && steps_[i].stack > 1) {
      run_stack(&steps_[i], workspace, context, batch);
      i += to_size(steps_[i].stack);
      continue;
    }
    const double begin = stopwatch == nullptr ? 0.0 : stopwatch->clock();
    run_step(steps_[i], workspace, context, batch);
    if (stopwatch != nullptr) stopwatch->times[i].seconds += stopwatch->clock() - begin;
    ++i;
  }

  if (!scatter) return;
  std::memset(out, 0, to_size(items) * to_size(tokens) * to_size(output.width) * sizeof(float));
  for (int i = 0; i < items; ++i) {
    for (int t = 0; t < batch.length[i]; ++t) {
      std::memcpy(out + (static_cast<ptrdiff_t>(i) * tokens + t) * out_width,
                  result.data + (batch.first_row[i] + t) * result.ld, to_size(output.width) * sizeof(float));
    }
  }
}

cf_info Model::info() const {
  const Value& input = program_.values[to_size(program_.input)];
  const Value& output = program_.values[to_size(program_.output)];
  return {input.per_token,
          output.per_token,
          input.width,
          output.width,
          program_.max_tokens,
          pool_.threads(),
          static_cast<int32_t>(steps_.size()),
          arena_size_ * sizeof(float),
          apart_size_ * sizeof(float),
          weights_.size() * sizeof(float),
          table_->isa};
}

}  // namespace claude_flow
