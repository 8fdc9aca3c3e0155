// The operations of a model on live rows: each splits its work over the threads and calls the table. No split
// changes the order of any sum, so the number of threads never changes a result.
#pragma once

#include "base/pool.h"
#include "kernels/table.h"

namespace claude_flow {

// The tokens of a batch without padding: item i is rows first_row[i] .. first_row[i] + length[i] of every
// per-token value.
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

  // For one thread of the pool, with scratch of its own.
  Context alone(int thread, float* scratch) const {
    return {table,     consistent, nullptr, scratch, local + static_cast<size_t>(thread) * local_size,
            local_size};
  }
};

struct Linear {
  const float* packed;
  const float* bias;
  int columns, depth;
  Activation activation;
};

struct Lstm {
  Linear input;  // to 4 * padded units, in packed gate order
  const float* recurrent;
  int units;
};

// With 8-bit weights: the sums and scales of their rows; the activations' range, or null for each row's own.
// `quantized` says that the scratch still holds the input in bytes, since the op before had the same one.
struct LinearI8 {
  const int8_t* packed;
  const int32_t* sums;
  const float* scales;
  const float* bias;
  const float* range;
  int columns, depth;
  Activation activation;
  bool quantized;
};

struct LstmI8 {
  LinearI8 input;
  const int8_t* recurrent;
  const int32_t* sums;
  const float* scales;
  int units;
};

void linear(const Context&, const Linear&, View in, View residual, View out, int rows);
void layer_norm(const Context&, const float* gamma, const float* beta, float epsilon, View in, View out,
                int rows, int columns);
void attention(const Context&, View qkv, View out, const Batch&, int heads, int width);
void lstm(const Context&, const Lstm&, View in, View out, const Batch&);
void linear_i8(const Context&, const LinearI8&, View in, View residual, View out, int rows);
void lstm_i8(const Context&, const LstmI8&, View in, View out, const Batch&);
void attention_pool(const Context&, View values, View keys, const float* vector, View out, const Batch&,
                    int width, int key_width);
void last(View in, View out, const Batch&, int width);
void monotone(const Context&, View in, View out, int rows, int columns, int quantiles, int group);

// Up to this many sequences are too few to share them out among the threads.
inline int few_items(int threads) { return 2 * threads - 1; }

// Floats of scratch that an operation needs per thread,
size_t linear_scratch(const Table&);
size_t attention_scratch(const Table&, int tokens, int head_width);
// and altogether, for up to `rows` rows of `items` items.
size_t linear_i8_scratch(const LinearI8&, int rows);
size_t lstm_scratch(const Table&, const Lstm&, int rows, int items);
size_t lstm_i8_scratch(const Table&, const LstmI8&, int rows, int items);

}  // namespace claude_flow
