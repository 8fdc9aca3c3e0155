#include "ops/ops.h"

#include <cstring>

#include "base/array.h"
#include "ops/pack.h"

namespace claude_flow {

void linear(const Context& context, const Linear& l, View in, View residual, View out, int rows) {
  context.table->gemm_f32({in.data, in.ld, l.packed, l.bias, residual.data, residual.ld, out.data, out.ld,
                           rows, l.columns, l.depth, l.activation, context.scratch});
}

void layer_norm(const Context& context, const float* gamma, const float* beta, float epsilon, View in,
                View out, int rows, int columns) {
  context.table->layer_norm_f32({in.data, in.ld, gamma, beta, out.data, out.ld, rows, columns, epsilon});
}

void attention(const Context& context, View qkv, View out, const Batch& batch, int heads, int width) {
  const int head_width = width / heads;
  for (int item = 0; item < batch.items; ++item) {
    const float* row = qkv.data + batch.first_row[item] * qkv.ld;
    float* y = out.data + batch.first_row[item] * out.ld;
    for (int column = 0; column < width; column += head_width) {
      const float* q = row + column;
      context.table->attention_f32({q, q + width, q + 2 * width, qkv.ld, y + column, out.ld,
                                    batch.length[item], head_width, context.scratch});
    }
  }
}

void lstm(const Context& context, const Lstm& l, View in, View out, const Batch& batch) {
  const ptrdiff_t gates = l.input.columns;
  float* inputs = context.scratch + linear_scratch(*context.table);
  float* cell = inputs + gates * batch.rows;
  linear(context, l.input, in, {}, {inputs, gates}, batch.rows);
  const int blocks = l.input.columns / (4 * context.table->lstm_units);
  for (int step = 0; step < batch.longest; ++step) {
    context.table->lstm_step_f32({inputs, gates, l.recurrent, out.data, out.ld, cell, batch.longest_first,
                                  batch.active[step], l.units, step, 0, blocks});
  }
}

void attention_pool(const Context& context, View values, View keys, const float* vector, View out,
                    const Batch& batch, int width, int key_width) {
  for (int item = 0; item < batch.items; ++item) {
    const ptrdiff_t row = batch.first_row[item];
    context.table->attention_pool_f32({values.data + row * values.ld, values.ld, keys.data + row * keys.ld,
                                       keys.ld, vector, out.data + item * out.ld, batch.length[item], width,
                                       key_width, context.scratch});
  }
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

size_t linear_scratch(const Table& table) { return round_up(table.gemm_scratch, 16); }

size_t attention_scratch(const Table& table, int tokens, int width) {
  return table.attention_scratch(tokens, width);
}

size_t lstm_scratch(const Table& table, const Lstm& l, int rows, int items) {
  const size_t gates = static_cast<size_t>(l.input.columns);
  return linear_scratch(table) + gates * static_cast<size_t>(rows) +
         static_cast<size_t>(padded_units(table, l.units)) * static_cast<size_t>(items);
}

}  // namespace claude_flow
