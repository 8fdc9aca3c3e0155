// A model's op list, parsed out of int32 words and checked: after parse() every index, width and shape in it
// holds. docs/model_format.md describes the words.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/array.h"
#include "base/status.h"
#include "kernels/args.h"

namespace claude_flow {

enum class OpCode : int32_t {
  kLinear = 1,
  kLayerNorm = 2,
  kAttention = 3,
  kLstm = 4,
  kAttentionPool = 5,
  kLast = 6,
  kMonotone = 7,
  kLinearI8 = 8,
  kLstmI8 = 9,
};

struct Value {
  bool per_token;
  int width;
  int written;  // columns that the ops so far have filled, from the left
};

struct Op {
  OpCode code;
  int in, out;    // values
  int second;     // residual of a linear, keys of a pool; -1: none
  int tensor[5];  // in the order of the format; -1: none
  int out_column;
  int width;  // columns that it writes; for an LSTM its units
  int depth;  // columns that it reads
  Activation activation;
  float epsilon;
  int heads;
  int quantiles, group;
};

struct Program {
  Array<Value> values;
  Array<Op> ops;
  int input = 0, output = 0, max_tokens = 0;
  bool has_i8 = false;  // then every op runs its consistent kernel

  Status parse(const int32_t* words, size_t count, const cf_tensor* tensors, size_t tensor_count);
};

}  // namespace claude_flow
