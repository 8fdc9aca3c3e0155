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

// A product: body(row, row_end, column, column_end, thread).
template <class Body>
void split_product(const Context& context, int64_t work, int rows, int columns, const Body& body) {
  // Few rows: each thread streams its part of the weights. Many: each takes its rows through all of them.
  if (rows <= columns) {
    split(context, work, kWorthSplitting, columns, context.table->tile_columns,
          [&](int begin, int end, int thread) { body(0, rows, begin, end, thread); });
  } else {
    split(context, work, kWorthSplitting, rows, 1,
          [&](int begin, int end, int thread) { body(begin, end, 0, columns, thread); });
  }
}

// Quantized rows in scratch, and the size of rows of `depth` columns in floats.
QuantizedRows quantized_rows(float* scratch, int rows) {
  float* scale = scratch;
  int32_t* zero = reinterpret_cast<int32_t*>(scale + rows);
  const size_t head = round_up(2 * static_cast<size_t>(rows), kCacheLine / sizeof(float));
  return {reinterpret_cast<uint8_t*>(scratch + head), scale, zero,
          static_cast<ptrdiff_t>(rows) * kQuantPitch};
}

size_t quantized_size(int rows, int depth) {
  return round_up(2 * static_cast<size_t>(rows), kCacheLine / sizeof(float)) +
         static_cast<size_t>(rows) *
             static_cast<size_t>((depth + kQuantBlock - 1) / kQuantBlock * kQuantPitch) / sizeof(float);
}

QuantizedRows from_row(const QuantizedRows& q, int row) {
  return {q.q + static_cast<ptrdiff_t>(row) * kQuantPitch, q.scale + row, q.zero + row, q.block};
}

// The product behind linear_i8 and an LSTM's input, with the quantized rows in `scratch`.
void product_i8(const Context& context, const LinearI8& l, View in, View residual, View out, int rows,
                float* scratch) {
  const QuantizedRows q = quantized_rows(scratch, rows);
  if (!l.quantized) {
    split(context, int64_t{rows} * l.depth * 4, kWorthSplitting, rows, 1, [&](int begin, int end, int) {
      context.table->quantize_f32_u7(
          {in.data + begin * in.ld, in.ld, from_row(q, begin), end - begin, l.depth, l.range});
    });
  }
  const int64_t work = int64_t{rows} * l.columns * l.depth / 3;
  split_product(context, work, rows, l.columns, [&](int row, int row_end, int column, int column_end, int) {
    const ptrdiff_t r = row, c = column;
    context.table->gemm_u7i8({from_row(q, row), l.packed + c * ((l.depth + 3) / 4 * 4), l.sums + c,
                              l.scales + c, l.bias == nullptr ? nullptr : l.bias + c,
                              residual.data == nullptr ? nullptr : residual.data + r * residual.ld + c,
                              residual.ld, out.data + r * out.ld + c, out.ld, row_end - row,
                              column_end - column, l.depth, l.activation});
  });
}

float* local(const Context& context, int thread) {
  return context.local + static_cast<size_t>(thread) * context.local_size;
}

}  // namespace

void linear(const Context& context, const Linear& l, View in, View residual, View out, int rows) {
  const int64_t work = int64_t{rows} * l.columns * l.depth;
  const auto gemm = context.consistent ? context.table->gemm_consistent_f32 : context.table->gemm_f32;
  split_product(
      context, work, rows, l.columns, [&](int row, int row_end, int column, int column_end, int thread) {
        const ptrdiff_t r = row, c = column;
        gemm({in.data + r * in.ld, in.ld, l.packed + c * l.depth, l.bias == nullptr ? nullptr : l.bias + c,
              residual.data == nullptr ? nullptr : residual.data + r * residual.ld + c, residual.ld,
              out.data + r * out.ld + c, out.ld, row_end - row, column_end - column, l.depth, l.activation,
              local(context, thread)});
      });
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
  const auto kernel = context.consistent ? context.table->attention_u7i8 : context.table->attention_f32;
  split(context, work, kWorthSplitting, batch.items * heads, 1, [&](int begin, int end, int thread) {
    for (int i = begin; i < end; ++i) {
      const int item = i / heads, column = i % heads * head_width;
      const float* q = qkv.data + batch.first_row[item] * qkv.ld + column;
      float* y = out.data + batch.first_row[item] * out.ld + column;
      kernel({q, q + width, q + 2 * width, qkv.ld, y, out.ld, batch.length[item], head_width,
              local(context, thread)});
    }
  });
}

namespace {

// body(row, rows) for all rows of the time steps at hand, in runs without a gap.
template <class Body>
void each_rows(const Batch& batch, const Body& body) {
  if (batch.begin == 0 && batch.end == batch.longest) return body(0, batch.rows);
  for (int item = 0; item < batch.items; ++item) {
    const int end = std::min(batch.end, static_cast<int>(batch.length[item]));
    if (batch.begin < end) body(batch.first_row[item] + batch.begin, end - batch.begin);
  }
}

// Runs step(t, item, items, block, block_end) over the time steps at hand and unit blocks of all running items, with
// before(t, item, items) once ahead of the items' blocks at each step.
template <class Before, class Step>
void each_step(const Context& context, const Batch& batch, int blocks, int64_t step_work,
               const Before& before, const Step& step) {
  const int threads = context.pool == nullptr ? 1 : context.pool->threads();
  if (batch.items > few_items(threads)) {
    // Sequences are independent: each thread takes some through all their steps.
    split(context, step_work * batch.rows, kWorthSplitting, batch.items, 1, [&](int begin, int end, int) {
      for (int t = batch.begin; t < batch.end && batch.active[t] > begin; ++t) {
        const int items = std::min(end, static_cast<int>(batch.active[t])) - begin;
        before(t, begin, items);
        step(t, begin, items, 0, blocks);
      }
    });
    return;
  }
  for (int t = batch.begin; t < batch.end; ++t) {
    before(t, 0, batch.active[t]);
    split(context, step_work * batch.active[t], kWorthSplittingStep, blocks, 1,
          [&](int begin, int end, int) { step(t, 0, batch.active[t], begin, end); });
  }
}

}  // namespace

void lstm(const Context& context, const Lstm& l, View in, View out, const Batch& batch) {
  const ptrdiff_t gates = l.input.columns;
  float* inputs = context.shared;
  float* cell = inputs + gates * batch.rows;
  each_rows(batch, [&](int row, int rows) {
    linear(context, l.input, {in.data + row * in.ld, in.ld}, {}, {inputs + row * gates, gates}, rows);
  });

  const auto kernel =
      context.consistent ? context.table->lstm_step_consistent_f32 : context.table->lstm_step_f32;
  each_step(
      context, batch, l.input.columns / (4 * context.table->lstm_units), gates * l.units,
      [](int, int, int) {},
      [&](int t, int item, int items, int block, int block_end) {
        kernel({inputs, gates, l.recurrent, out.data, out.ld, cell + item * (gates / 4),
                batch.longest_first + item, items, l.units, t, block, block_end});
      });
}

void lstm_i8(const Context& context, const LstmI8& l, View in, View out, const Batch& batch) {
  const ptrdiff_t gates = l.input.columns;
  float* inputs = context.shared;
  float* cell = inputs + gates * batch.rows;
  float* scratch = cell + gates / 4 * batch.items;
  each_rows(batch, [&](int row, int rows) {
    product_i8(context, l.input, {in.data + row * in.ld, in.ld}, {}, {inputs + row * gates, gates}, rows,
               scratch);
  });

  const QuantizedRows h = quantized_rows(scratch, batch.items);
  each_step(
      context, batch, l.input.columns / (4 * context.table->lstm_units), gates * l.units / 3,
      [&](int t, int item, int items) {
        for (int i = item; t > 0 && i < item + items; ++i) {
          const float* before = out.data + (batch.longest_first[i] + t - 1) * out.ld;
          context.table->quantize_f32_u7({before, out.ld, from_row(h, i), 1, l.units, nullptr});
        }
      },
      [&](int t, int item, int items, int block, int block_end) {
        context.table->lstm_step_u7i8({inputs, gates, from_row(h, item), l.recurrent, l.sums, l.scales,
                                       out.data, out.ld, cell + item * (gates / 4),
                                       batch.longest_first + item, items, l.units, t, block, block_end});
      });
}

void linear_i8(const Context& context, const LinearI8& l, View in, View residual, View out, int rows) {
  product_i8(context, l, in, residual, out, rows, context.shared);
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

size_t linear_i8_scratch(const LinearI8& l, int rows) { return quantized_size(rows, l.depth); }

size_t lstm_i8_scratch(const Table& table, const LstmI8& l, int rows, int items) {
  return static_cast<size_t>(l.input.columns) * static_cast<size_t>(rows) +
         static_cast<size_t>(padded_units(table, l.units)) * static_cast<size_t>(items) +
         std::max(quantized_size(rows, l.input.depth), quantized_size(items, l.units));
}

}  // namespace claude_flow
