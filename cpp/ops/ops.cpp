#include "ops/ops.h"

#include <algorithm>
#include <cstring>

#include "base/array.h"
#include "ops/pack.h"

namespace claude_flow {

namespace {

// Below this many multiply-adds, about 10 us, waking a thread costs more than it saves.
constexpr int64_t kWorthSplitting = 500'000;
// Within an LSTM step the threads are awake and spinning.
constexpr int64_t kWorthSplittingStep = 100'000;

// Splits 0..count into as many ranges as there are threads, on multiples of `grain`, and runs body(begin,
// end, thread).
template <class Body>
void split(const Context& context, int64_t work, int64_t worth, int count, int grain, const Body& body) {
  const int grains = (count + grain - 1) / grain;
  const int parts = context.pool == nullptr || work < worth ? 1 : std::min(context.pool->threads(), grains);
  if (parts <= 1) return body(0, count, 0);
  context.pool->run(parts, [&](int part, int thread) {
    const auto edge = [&](int i) {
      return std::min(count, static_cast<int>(int64_t{grains} * i / parts) * grain);
    };
    body(edge(part), edge(part + 1), thread);
  });
}

float* local(const Context& context, int thread) {
  return context.local + static_cast<size_t>(thread) * context.local_size;
}

}  // namespace

void linear(const Context& context, const Linear& l, View in, View residual, View out, int rows) {
  const int64_t work = int64_t{rows} * l.columns * l.depth;
  const auto product = [&](int row, int row_end, int column, int column_end, int thread) {
    const ptrdiff_t r = row, c = column;
    context.table->gemm_f32({in.data + r * in.ld, in.ld, l.packed + c * l.depth,
                             l.bias == nullptr ? nullptr : l.bias + c,
                             residual.data == nullptr ? nullptr : residual.data + r * residual.ld + c,
                             residual.ld, out.data + r * out.ld + c, out.ld, row_end - row,
                             column_end - column, l.depth, l.activation, local(context, thread)});
  };
  // Few rows: each thread streams its part of the weights. Many: each takes its rows through all of them.
  if (rows <= l.columns) {
    split(context, work, kWorthSplitting, l.columns, context.table->tile_columns,
          [&](int begin, int end, int thread) { product(0, rows, begin, end, thread); });
  } else {
    split(context, work, kWorthSplitting, rows, 1,
          [&](int begin, int end, int thread) { product(begin, end, 0, l.columns, thread); });
  }
}

void layer_norm(const Context& context, const float* gamma, const float* beta, float epsilon, View in,
                View out, int rows, int columns) {
  split(context, int64_t{rows} * columns * 8, kWorthSplitting, rows, 1, [&](int begin, int end, int) {
    context.table->layer_norm_f32({in.data + begin * in.ld, in.ld, gamma, beta, out.data + begin * out.ld,
                                   out.ld, end - begin, columns, epsilon});
  });
}

void attention(const Context& context, View qkv, View out, const Batch& batch, int heads, int width) {
  const int head_width = width / heads;
  const int64_t work = int64_t{batch.rows} * batch.longest * width * 2;
  split(context, work, kWorthSplitting, batch.items * heads, 1, [&](int begin, int end, int thread) {
    for (int i = begin; i < end; ++i) {
      const int item = i / heads, column = i % heads * head_width;
      const float* q = qkv.data + batch.first_row[item] * qkv.ld + column;
      float* y = out.data + batch.first_row[item] * out.ld + column;
      context.table->attention_f32({q, q + width, q + 2 * width, qkv.ld, y, out.ld, batch.length[item],
                                    head_width, local(context, thread)});
    }
  });
}

void lstm(const Context& context, const Lstm& l, View in, View out, const Batch& batch) {
  const ptrdiff_t gates = l.input.columns;
  float* inputs = context.shared;
  float* cell = inputs + gates * batch.rows;
  linear(context, l.input, in, {}, {inputs, gates}, batch.rows);

  const int blocks = l.input.columns / (4 * context.table->lstm_units);
  const auto step = [&](int t, int item, int items, int block, int block_end) {
    context.table->lstm_step_f32({inputs, gates, l.recurrent, out.data, out.ld, cell + item * (gates / 4),
                                  batch.longest_first + item, items, l.units, t, block, block_end});
  };
  const int64_t step_work = gates * l.units;
  const int threads = context.pool == nullptr ? 1 : context.pool->threads();
  if (batch.items >= 2 * threads) {
    // Sequences are independent: each thread takes some through all their steps.
    split(context, step_work * batch.rows, kWorthSplitting, batch.items, 1, [&](int begin, int end, int) {
      for (int t = 0; t < batch.longest && batch.active[t] > begin; ++t) {
        step(t, begin, std::min(end, static_cast<int>(batch.active[t])) - begin, 0, blocks);
      }
    });
    return;
  }
  for (int t = 0; t < batch.longest; ++t) {
    split(context, step_work * batch.active[t], kWorthSplittingStep, blocks, 1,
          [&](int begin, int end, int) { step(t, 0, batch.active[t], begin, end); });
  }
}

void attention_pool(const Context& context, View values, View keys, const float* vector, View out,
                    const Batch& batch, int width, int key_width) {
  const int64_t work = int64_t{batch.rows} * (width + key_width);
  split(context, work, kWorthSplitting, batch.items, 1, [&](int begin, int end, int thread) {
    for (int item = begin; item < end; ++item) {
      const ptrdiff_t row = batch.first_row[item];
      context.table->attention_pool_f32({values.data + row * values.ld, values.ld, keys.data + row * keys.ld,
                                         keys.ld, vector, out.data + item * out.ld, batch.length[item], width,
                                         key_width, local(context, thread)});
    }
  });
}

void last(View in, View out, const Batch& batch, int width) {
  for (int item = 0; item < batch.items; ++item) {
    const ptrdiff_t row = batch.first_row[item] + batch.length[item] - 1;
    std::memcpy(out.data + item * out.ld, in.data + row * in.ld, static_cast<size_t>(width) * sizeof(float));
  }
}

void monotone(const Context& context, View in, View out, int rows, int columns, int quantiles, int group) {
  context.table->monotone_f32({in.data, in.ld, out.data, out.ld, rows, columns, quantiles, group});
}

size_t linear_scratch(const Table& table) { return table.gemm_scratch; }

size_t attention_scratch(const Table& table, int tokens, int head_width) {
  return table.attention_scratch(tokens, head_width);
}

size_t lstm_scratch(const Table& table, const Lstm& l, int rows, int items) {
  return static_cast<size_t>(l.input.columns) * static_cast<size_t>(rows) +
         static_cast<size_t>(padded_units(table, l.units)) * static_cast<size_t>(items);
}

}  // namespace claude_flow
