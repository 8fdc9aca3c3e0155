// The work of one operation shared out among the threads of its call.
#pragma once

#include <algorithm>

#include "ops/op.h"

namespace claude_flow {

// Below this many multiply-adds, about 10 us, waking a thread costs more than it saves.
constexpr int64_t kWorthSplitting = 500'000;

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

}  // namespace claude_flow
