// An operation of a model: what each file of this folder defines, and what it works with. No split of work over threads
// changes the order of any sum, so the number of threads never changes a result.
#pragma once

#include "base/pool.h"
#include "base/status.h"
#include "kernels/table.h"

namespace claude_flow {

class Operands;
class Packer;

// The rows that a batch has along one axis, without padding: item i is rows first_row[i] .. first_row[i] + length[i] of
// every value of that axis. Along axis 0 each item has one row.
struct Batch {
  int items;
  int rows;
  const int32_t* first_row;
  const int32_t* length;
  // The items once more, longest first: at time step t the first active[t] of them are running.
  const int32_t* longest_first;
  const int32_t* active;
  int longest;
  // The time steps at hand: an LSTM goes on from where it stood after those before.
  int begin, end;
};

struct View {
  float* data;
  ptrdiff_t ld;
};

struct Context {
  const Table* table;
  bool consistent;  // the same bits on every instruction set, at the price of FMA
  Pool* pool;       // null: this call works alone
  float* shared;    // scratch of the operation
  float* local;     // scratch of each thread, local_size floats apart
  size_t local_size;

  float* local_of(int thread) const { return local + static_cast<size_t>(thread) * local_size; }
  // For one thread of the pool, with scratch of its own.
  Context alone(int thread, float* scratch) const {
    return {table, consistent, nullptr, scratch, local_of(thread), local_size};
  }
};

// The largest batch of a call, along the axis of an op's source.
struct Sizes {
  int rows, items, tokens;
};

// Floats that an op needs for itself: for each thread, and altogether.
struct Scratch {
  size_t local, shared;
};

class Op {
 public:
  static constexpr int kMaxReads = 4;

  Op() = default;
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;
  virtual ~Op() = default;

  // Reads the operands and keeps what they say; afterwards every index, width and shape holds.
  virtual Status check(Operands& operands) = 0;
  // Places the weights, in the order of the kernels. Runs twice: first to count.
  virtual void prepack(Packer&) {}
  virtual Scratch scratch(const Table&, const Sizes&) const { return {}; }
  // `batch` is that of the source's axis, reads[i] the i-th value that check() read; without data where there is none.
  virtual void run(const Context& context, const Batch& batch, const View* reads, View out) const = 0;
  // Bytes of packed weights that every time step reads anew; 0: the rows of an item do not depend on each other in turn.
  virtual size_t recurrent_bytes(const Table&) const { return 0; }

  int32_t code = 0;
  int axis = 0;                             // of the source
  int reads[kMaxReads] = {-1, -1, -1, -1};  // values, the source first; -1: none
  int out = -1;                             // value,
  int out_column = 0;                       // from this column on
};

struct OpRow {
  const char* name;
  Op* (*make)();  // null: not enough memory
  int32_t code;
  int operands;
};

// The row of an opcode, or null.
const OpRow* find_op(int32_t code);

#define OP(code, name, ...)           \
  namespace operands::name {          \
  enum : int { __VA_ARGS__, kCount }; \
  }                                   \
  Op* make_##name();
#include "ops/ops.inc"
#undef OP

// Up to this many sequences are too few to share them out among the threads.
inline int few_items(int threads) { return 2 * threads - 1; }

}  // namespace claude_flow
