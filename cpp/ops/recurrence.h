// What the LSTMs of floats and of bytes share: the shapes of their weights, and the order of their time steps.
#pragma once

#include <algorithm>

#include "ops/operands.h"
#include "ops/pack.h"
#include "ops/split.h"

namespace claude_flow {

// Within an LSTM step the threads are awake and spinning.
constexpr int64_t kWorthSplittingStep = 100'000;

// The tensors of an LSTM: input weights [4 units, depth], recurrent ones [4 units, units], bias [4 units] or none.
struct Recurrence {
  int units, depth;
  int weight, recurrent, bias;

  Status check(Operands& o, int source, int weight_operand, int recurrent_operand, int bias_operand,
               cf_dtype dtype) {
    CF_RETURN_IF_ERROR(o.read_tokens(source));
    depth = o.width();
    CF_RETURN_IF_ERROR(o.matrix(recurrent_operand, dtype, Operands::kAny, Operands::kAny, recurrent));
    units = o.tensor(recurrent).shape[1];
    if (units > kMaxWidth / 4) return o.bad("more than %d units", kMaxWidth / 4);
    CF_RETURN_IF_ERROR(o.matrix(recurrent_operand, dtype, 4 * units, units, recurrent));
    CF_RETURN_IF_ERROR(o.matrix(weight_operand, dtype, 4 * units, depth, weight));
    bias = -1;
    return o.optional_vector(bias_operand, 4 * units, bias);
  }

  int gates(const Table& table) const { return 4 * padded_units(table, units); }

  // Floats for the gates' inputs of all rows and the cells of all items.
  size_t scratch(const Table& table, const Sizes& most) const {
    return to_size(gates(table)) * to_size(most.rows) +
           to_size(padded_units(table, units)) * to_size(most.items);
  }
};

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

}  // namespace claude_flow
