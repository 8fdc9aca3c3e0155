// A table: the kernels of one instruction set and the tile sizes that its packed weights and scratch follow.
#pragma once

#include <cstddef>

#include "kernels/args.h"

namespace claude_flow {

struct Table {
  const char* isa;
  int tile_columns;                                    // columns of a packed GEMM panel
  int lstm_units;                                      // units of a packed LSTM block
  size_t gemm_scratch;                                 // floats
  size_t (*attention_scratch)(int tokens, int width);  // floats

#define KERNEL(name, Args) void (*name)(const Args&);
#include "kernels/kernels.inc"
#undef KERNEL
};

// Tables of this build that this CPU can run, worst first; at least scalar.
size_t available_tables(const Table* const** tables);

// The table named `isa`, or null where this CPU lacks it; "auto" is the best.
const Table* find_table(const char* isa);

// The table named `isa` of this build, for its sizes alone: this CPU may lack it. Null for an unknown word.
const Table* built_table(const char* isa);

}  // namespace claude_flow
