#include "ops/operands.h"

namespace claude_flow {

Status Operands::check_value(int32_t index) const {
  return index >= 0 && static_cast<size_t>(index) < values_.size() ? Status() : bad("no value %d", index);
}

Status Operands::read_index(int32_t index) {
  CF_RETURN_IF_ERROR(check_value(index));
  const Value& value = values_[to_size(index)];
  if (value.written != value.width) {
    return bad("value %d is read when %d of its %d columns are written", index, value.written, value.width);
  }
  if (read_count_ == 0) op_.axis = value.axis;
  op_.reads[read_count_++] = index;
  return Status();
}

Status Operands::read(int operand) { return read_index(words_[operand]); }

Status Operands::read_tokens(int operand) {
  CF_RETURN_IF_ERROR(read(operand));
  const Value& value = values_[to_size(words_[operand])];
  if (value.axis == 0) return bad("value %d has no tokens", words_[operand]);
  return value.axis == op_.axis
             ? Status()
             : bad("values %d and %d have different tokens", op_.reads[0], words_[operand]);
}

Status Operands::read_optional(int operand, int width) {
  const int32_t index = words_[operand];
  if (index == -1) {
    ++read_count_;
    return Status();
  }
  CF_RETURN_IF_ERROR(read_index(index));
  const Value& value = values_[to_size(index)];
  if (value.axis != op_.axis) return bad("values %d and %d do not have the same rows", op_.reads[0], index);
  return value.width == width ? Status() : bad("value %d is %d wide, not %d", index, value.width, width);
}

Status Operands::vector(int operand, int size, int& tensor) {
  return this->tensor(operand, CF_F32, 1, size, 0, tensor);
}

Status Operands::optional_vector(int operand, int size, int& tensor) {
  return words_[operand] == -1 ? Status() : vector(operand, size, tensor);
}

Status Operands::matrix(int operand, cf_dtype dtype, int rows, int columns, int& tensor) {
  has_i8_ |= dtype == CF_I8;
  return this->tensor(operand, dtype, 2, rows, columns, tensor);
}

Status Operands::half_bytes(int operand, int scale_operand, int rows, int depth, int& tensor, int& scale) {
  CF_RETURN_IF_ERROR(matrix(operand, CF_I8, rows, (depth + 1) / 2, tensor));
  CF_RETURN_IF_ERROR(matrix(scale_operand, CF_F32, tensors_[tensor].shape[0], groups_of(depth), scale));
  for (const int index : {tensor, scale}) {
    if (tensors_[index].packed_bytes != 0)
      return bad("tensor %d is packed, and this op packs it itself", index);
  }
  return Status();
}

Status Operands::activation(int operand, Activation& activation) const {
  const int32_t code = words_[operand];
  if (code < 0 || code >= kProgramActivations) return bad("unknown activation %d", code);
  activation = static_cast<Activation>(code);
  return Status();
}

Status Operands::tensor(int operand, cf_dtype dtype, int rank, int rows, int columns, int& tensor) {
  const int32_t index = words_[operand];
  if (index < 0 || static_cast<size_t>(index) >= tensor_count_) return bad("no tensor %d", index);
  const cf_tensor& t = tensors_[index];
  if (t.dtype != dtype) return bad("tensor %d is not %s", index, dtype == CF_F32 ? "float32" : "int8");
  if (t.packed_bytes != 0 && rank != 2) return bad("tensor %d is packed, but no matrix", index);
  if (t.rank != rank) return bad("tensor %d has %d dimensions, not %d", index, t.rank, rank);
  for (int i = 0; i < rank; ++i) {
    const int wanted = i == 0 ? rows : columns;
    const int has = t.shape[i];
    if (has < 1 || has > kMaxWidth || (wanted != kAny && has != wanted)) {
      return bad("tensor %d: dimension %d is %d, not %d", index, i, has, wanted);
    }
  }
  tensor = index;
  return Status();
}

Status Operands::write(int axis, int32_t index, int32_t column, int width) {
  CF_RETURN_IF_ERROR(check_value(index));
  Value& value = values_[to_size(index)];
  if (value.axis != axis) return bad("value %d has a row per %s", index, value.axis == 0 ? "item" : "token");
  if (column != value.written) {
    return bad("value %d: column %d comes next, not %d", index, value.written, column);
  }
  if (width > value.width - column) {
    return bad("%d columns do not fit into value %d of %d", width, index, value.width);
  }
  value.written += width;
  op_.out = index;
  op_.out_column = column;
  return Status();
}

Status Operands::write_all(int target, int width) {
  CF_RETURN_IF_ERROR(write(op_.axis, words_[target], 0, width));
  const int whole = values_[to_size(op_.out)].width;
  return whole == width ? Status() : bad("value %d is %d wide, not %d", op_.out, whole, width);
}

}  // namespace claude_flow
