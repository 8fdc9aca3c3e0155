// A model's op list, parsed out of int32 words and checked: after parse() every index, width and shape in it
// holds. docs/model_format.md describes the words.
#pragma once

#include "base/array.h"
#include "base/status.h"
#include "ops/operands.h"

namespace claude_flow {

constexpr int kMaxInputs = 16;
constexpr int kMaxAxes = 8;  // of tokens

struct Program {
  Program() = default;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    for (Op* op : ops) delete op;
  }

  Array<Value> values;
  Array<Op*> ops;
  int input_count = 1, axes = 1, output = 0;
  int inputs[kMaxInputs] = {};             // values
  int most_tokens[kMaxAxes + 1] = {1, 1};  // of an item, by axis
  bool has_i8 = false;                     // then every op runs its consistent kernel

  const Value& input(int i) const { return values[to_size(inputs[i])]; }
  const Value& result() const { return values[to_size(output)]; }
  int axis(int value) const { return values[to_size(value)].axis; }

  Status parse(const int32_t* words, size_t count, const cf_tensor* tensors, size_t tensor_count);

 private:
  struct Reader;
  Status parse_header(Reader& reader);
  Status parse_values(Reader& reader);
  Status parse_ops(Reader& reader, const cf_tensor* tensors, size_t tensor_count);
  Status check_inputs() const;
};

}  // namespace claude_flow
