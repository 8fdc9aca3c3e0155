// The operands of one op of a program, and how an op checks them: each call returns the first thing that does not hold.
#pragma once

#include "base/array.h"
#include "ops/op.h"

namespace claude_flow {

constexpr int kMaxWidth = 1 << 16;

struct Value {
  int axis;  // 0: a row per item; else a row per token of that axis
  int width;
  int written;  // columns that the ops so far have filled, from the left
};

class Operands {
 public:
  static constexpr int kAny = -1;

  // `before`: the op before this one, or null.
  Operands(Array<Value>& values, const cf_tensor* tensors, size_t tensor_count, int index, const OpRow& row,
           const int32_t* words, Op& op, const Op* before)
      : values_(values),
        tensors_(tensors),
        tensor_count_(tensor_count),
        index_(index),
        row_(row),
        words_(words),
        op_(op),
        before_(before) {}

  int32_t operator[](int operand) const { return words_[operand]; }
  const Op* before() const { return before_; }

  // The value that an operand names, complete: the op reads it. The first one is the source.
  Status read(int operand);
  Status read_tokens(int operand);
  // The same where the operand may be absent: a value of the source's rows.
  Status read_optional(int operand, int width);
  // Of the i-th value read.
  int width(int i = 0) const { return values_[to_size(op_.reads[i])].width; }

  // The tensor that an operand names: of one dimension, or a matrix; kAny fits any size.
  Status vector(int operand, int size, int& tensor);
  Status matrix(int operand, cf_dtype dtype, int rows, int columns, int& tensor);
  // 4-bit weights, two in a byte, which no caller packs, and the scales of their groups.
  Status half_bytes(int operand, int scale_operand, int rows, int depth, int& tensor, int& scale);
  // The same, or -1 where it is absent.
  Status optional_vector(int operand, int size, int& tensor);
  // One of the activations that a program may name.
  Status activation(int operand, Activation& activation) const;
  const cf_tensor& tensor(int index) const { return tensors_[index]; }
  bool has_i8() const { return has_i8_; }

  // The op writes `width` columns from `column` on: columns are written once, from the left, so no op can overwrite what
  // another one reads. Rows as the source, or one per item.
  Status write(int target, int column, int width) {
    return write(op_.axis, words_[target], words_[column], width);
  }
  Status write_items(int target, int column, int width) {
    return write(0, words_[target], words_[column], width);
  }
  // The op fills the target alone.
  Status write_all(int target, int width);

  template <class... T>
  Status bad(const char* format, T... arguments) const {
    char detail[160];
    std::snprintf(detail, sizeof detail, format, arguments...);
    return bad(detail);
  }
  Status bad(const char* detail) const {
    return Status::invalid("op %d (%s): %s", index_, row_.name, detail);
  }

 private:
  Status check_value(int32_t index) const;
  Status read_index(int32_t index);
  Status tensor(int operand, cf_dtype dtype, int rank, int rows, int columns, int& tensor);
  Status write(int axis, int32_t index, int32_t column, int width);

  Array<Value>& values_;
  const cf_tensor* tensors_;
  size_t tensor_count_;
  int index_;
  const OpRow& row_;
  const int32_t* words_;
  Op& op_;
  const Op* before_;
  int read_count_ = 0;
  bool has_i8_ = false;
};

}  // namespace claude_flow
