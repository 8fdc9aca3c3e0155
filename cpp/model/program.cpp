#include "model/program.h"

#include <cmath>

namespace claude_flow {

namespace {

constexpr int32_t kFormat = 1;
constexpr size_t kHeader = 6;
constexpr int kMaxValues = 4096;
constexpr int kMaxOps = 4096;
constexpr int kMaxWidth = 1 << 16;
constexpr int kMaxTokens = 1 << 16;

// Reads the operands of one op; the first thing that does not hold becomes the status, and the rest is not
// read.
class Checker {
 public:
  Checker(Program& program, const cf_tensor* tensors, size_t tensor_count, int index, const int32_t* operands,
          int count)
      : program_(program),
        tensors_(tensors),
        tensor_count_(tensor_count),
        index_(index),
        operands_(operands),
        count_(count) {}

  Status check(int32_t code, Op& op) {
    op = {};
    op.code = static_cast<OpCode>(code);
    op.second = -1;
    for (int& tensor : op.tensor) tensor = -1;
    switch (op.code) {
      case OpCode::kLinear:
        return linear(op);
      case OpCode::kLayerNorm:
        return layer_norm(op);
      case OpCode::kAttention:
        return attention(op);
      case OpCode::kLstm:
        return lstm(op);
      case OpCode::kAttentionPool:
        return attention_pool(op);
      case OpCode::kLast:
        return last(op);
      case OpCode::kMonotone:
        return monotone(op);
      case OpCode::kLinearI8:
        return linear_i8(op);
      case OpCode::kLstmI8:
        return lstm_i8(op);
    }
    return Status::invalid("op %d: unknown opcode %d", index_, code);
  }

 private:
  Status linear(Op& op) {
    CF_RETURN_IF_ERROR(expect("linear", 7));
    CF_RETURN_IF_ERROR(weights(op, CF_F32));
    return around_product(op, operands_[4], operands_[5], operands_[6]);
  }

  Status linear_i8(Op& op) {
    CF_RETURN_IF_ERROR(expect("linear i8", 9));
    CF_RETURN_IF_ERROR(weights(op, CF_I8));
    CF_RETURN_IF_ERROR(tensor(operands_[4], 1, op.width, 0, op.tensor[2]));
    if (operands_[8] != -1) {
      CF_RETURN_IF_ERROR(tensor(operands_[8], 1, 2, 0, op.tensor[3]));
      const float* range = static_cast<const float*>(tensors_[op.tensor[3]].data);
      if (!(range[0] <= 0.0f && range[1] >= 0.0f && range[1] - range[0] > 0.0f &&
            std::isfinite(range[1] - range[0]))) {
        return bad("tensor %d: a range goes from at most 0 to at least 0", operands_[8]);
      }
    }
    return around_product(op, operands_[5], operands_[6], operands_[7]);
  }

  Status weights(Op& op, cf_dtype dtype) {
    CF_RETURN_IF_ERROR(read(operands_[0], op.in));
    CF_RETURN_IF_ERROR(tensor(operands_[3], 2, -1, value(op.in).width, op.tensor[0], dtype));
    op.depth = value(op.in).width;
    op.width = tensors_[op.tensor[0]].shape[0];
    return Status();
  }

  Status around_product(Op& op, int32_t bias, int32_t residual, int32_t activation) {
    if (bias != -1) CF_RETURN_IF_ERROR(tensor(bias, 1, op.width, 0, op.tensor[1]));
    if (residual != -1) {
      CF_RETURN_IF_ERROR(read(residual, op.second));
      CF_RETURN_IF_ERROR(same_rows(op.in, op.second));
      if (value(op.second).width != op.width) {
        return bad("residual is %d wide, not %d", value(op.second).width, op.width);
      }
    }
    if (activation < 0 || activation >= kProgramActivations) return bad("unknown activation %d", activation);
    op.activation = static_cast<Activation>(activation);
    return write(op, value(op.in).per_token, operands_[1], operands_[2], op.width);
  }

  Status layer_norm(Op& op) {
    CF_RETURN_IF_ERROR(expect("layer norm", 5));
    CF_RETURN_IF_ERROR(read(operands_[0], op.in));
    op.width = op.depth = value(op.in).width;
    CF_RETURN_IF_ERROR(tensor(operands_[2], 1, op.width, 0, op.tensor[0]));
    CF_RETURN_IF_ERROR(tensor(operands_[3], 1, op.width, 0, op.tensor[1]));
    std::memcpy(&op.epsilon, &operands_[4], sizeof op.epsilon);
    if (!(op.epsilon > 0.0f && op.epsilon <= 1.0f)) return bad("epsilon is not in (0, 1]");
    return write_all(op, value(op.in).per_token, operands_[1], op.width);
  }

  Status attention(Op& op) {
    CF_RETURN_IF_ERROR(expect("attention", 3));
    CF_RETURN_IF_ERROR(read_tokens(operands_[0], op.in));
    op.depth = value(op.in).width;
    op.width = op.depth / 3;
    op.heads = operands_[2];
    if (op.depth % 3 != 0) return bad("q, k, v together are %d wide, not a multiple of 3", op.depth);
    if (op.heads < 1 || op.width % op.heads != 0)
      return bad("width %d does not divide into %d heads", op.width, op.heads);
    return write_all(op, true, operands_[1], op.width);
  }

  Status lstm(Op& op) {
    CF_RETURN_IF_ERROR(expect("lstm", 5));
    return recurrent(op, operands_[2], operands_[3], operands_[4], CF_F32);
  }

  Status lstm_i8(Op& op) {
    CF_RETURN_IF_ERROR(expect("lstm i8", 7));
    CF_RETURN_IF_ERROR(recurrent(op, operands_[2], operands_[4], operands_[6], CF_I8));
    CF_RETURN_IF_ERROR(tensor(operands_[3], 1, 4 * op.width, 0, op.tensor[3]));
    return tensor(operands_[5], 1, 4 * op.width, 0, op.tensor[4]);
  }

  Status recurrent(Op& op, int32_t w_input, int32_t w_recurrent, int32_t bias, cf_dtype dtype) {
    CF_RETURN_IF_ERROR(read_tokens(operands_[0], op.in));
    op.depth = value(op.in).width;
    CF_RETURN_IF_ERROR(tensor(w_recurrent, 2, -1, -1, op.tensor[1], dtype));
    op.width = tensors_[op.tensor[1]].shape[1];
    if (op.width > kMaxWidth / 4) return bad("more than %d units", kMaxWidth / 4);
    CF_RETURN_IF_ERROR(tensor(w_recurrent, 2, 4 * op.width, op.width, op.tensor[1], dtype));
    CF_RETURN_IF_ERROR(tensor(w_input, 2, 4 * op.width, op.depth, op.tensor[0], dtype));
    if (bias != -1) CF_RETURN_IF_ERROR(tensor(bias, 1, 4 * op.width, 0, op.tensor[2]));
    return write_all(op, true, operands_[1], op.width);
  }

  Status attention_pool(Op& op) {
    CF_RETURN_IF_ERROR(expect("attention pool", 5));
    CF_RETURN_IF_ERROR(read_tokens(operands_[0], op.in));
    CF_RETURN_IF_ERROR(read_tokens(operands_[1], op.second));
    op.width = value(op.in).width;
    op.depth = value(op.second).width;
    CF_RETURN_IF_ERROR(tensor(operands_[2], 1, op.depth, 0, op.tensor[0]));
    return write(op, false, operands_[3], operands_[4], op.width);
  }

  Status last(Op& op) {
    CF_RETURN_IF_ERROR(expect("last", 3));
    CF_RETURN_IF_ERROR(read_tokens(operands_[0], op.in));
    op.width = op.depth = value(op.in).width;
    return write(op, false, operands_[1], operands_[2], op.width);
  }

  Status monotone(Op& op) {
    CF_RETURN_IF_ERROR(expect("monotone", 4));
    CF_RETURN_IF_ERROR(read(operands_[0], op.in));
    op.width = op.depth = value(op.in).width;
    op.quantiles = operands_[2];
    op.group = operands_[3];
    if (op.group < 1 || op.width % op.group != 0)
      return bad("width %d does not divide into groups of %d", op.width, op.group);
    if (op.quantiles < 1 || op.quantiles > op.group)
      return bad("%d quantiles in a group of %d", op.quantiles, op.group);
    return write_all(op, value(op.in).per_token, operands_[1], op.width);
  }

  template <class... T>
  Status bad(const char* format, T... arguments) const {
    char detail[160];
    std::snprintf(detail, sizeof detail, format, arguments...);
    return Status::invalid("op %d (%s): %s", index_, name_, detail);
  }
  Status bad(const char* detail) const { return Status::invalid("op %d (%s): %s", index_, name_, detail); }

  Status expect(const char* name, int count) {
    name_ = name;
    return count == count_ ? Status() : bad("has %d operands, not %d", count_, count);
  }

  Value& value(int index) { return program_.values[static_cast<size_t>(index)]; }

  Status read(int32_t index, int& out) {
    if (index < 0 || static_cast<size_t>(index) >= program_.values.size()) return bad("no value %d", index);
    const Value& v = value(index);
    if (v.written != v.width) {
      return bad("value %d is read when %d of its %d columns are written", index, v.written, v.width);
    }
    out = index;
    return Status();
  }

  Status read_tokens(int32_t index, int& out) {
    CF_RETURN_IF_ERROR(read(index, out));
    return value(out).per_token ? Status() : bad("value %d has no tokens", index);
  }

  Status same_rows(int a, int b) {
    if (value(a).per_token == value(b).per_token) return Status();
    return bad("values %d and %d: one has a row per token, the other per item", a, b);
  }

  // A dimension of -1 is any.
  Status tensor(int32_t index, int32_t rank, int rows, int columns, int& out, cf_dtype dtype = CF_F32) const {
    if (index < 0 || static_cast<size_t>(index) >= tensor_count_) return bad("no tensor %d", index);
    const cf_tensor& t = tensors_[index];
    if (t.dtype != dtype) return bad("tensor %d is not %s", index, dtype == CF_F32 ? "float32" : "int8");
    if (t.packed_bytes != 0 && rank != 2) return bad("tensor %d is packed, but no matrix", index);
    if (t.rank != rank) return bad("tensor %d has %d dimensions, not %d", index, t.rank, rank);
    for (int i = 0; i < rank; ++i) {
      const int wanted = i == 0 ? rows : columns;
      const int has = t.shape[i];
      if (has < 1 || has > kMaxWidth || (wanted != -1 && has != wanted)) {
        return bad("tensor %d: dimension %d is %d, not %d", index, i, has, wanted);
      }
    }
    out = index;
    return Status();
  }

  // Columns are written once, from the left: so no op can overwrite what another one reads.
  Status write(Op& op, bool per_token, int32_t index, int32_t column, int width) {
    if (index < 0 || static_cast<size_t>(index) >= program_.values.size()) return bad("no value %d", index);
    Value& v = value(index);
    if (v.per_token != per_token)
      return bad("value %d has a row per %s", index, v.per_token ? "token" : "item");
    if (column != v.written) return bad("value %d: column %d comes next, not %d", index, v.written, column);
    if (width > v.width - column)
      return bad("%d columns do not fit into value %d of %d", width, index, v.width);
    v.written += width;
    op.out = index;
    op.out_column = column;
    return Status();
  }

  Status write_all(Op& op, bool per_token, int32_t index, int width) {
    CF_RETURN_IF_ERROR(write(op, per_token, index, 0, width));
    return value(op.out).width == width
               ? Status()
               : bad("value %d is %d wide, not %d", index, value(op.out).width, width);
  }

  Program& program_;
  const cf_tensor* tensors_;
  size_t tensor_count_;
  int index_;
  const int32_t* operands_;
  int count_;
  const char* name_ = "";
};

}  // namespace

Status Program::parse(const int32_t* words, size_t count, const cf_tensor* tensors, size_t tensor_count) {
  if (count < kHeader) return Status::invalid("program: %zu words, fewer than its header", count);
  if (words[0] != kFormat)
    return Status::invalid("program: format %d, this engine reads %d", words[0], kFormat);
  const int value_count = words[1], op_count = words[2];
  input = words[3];
  output = words[4];
  max_tokens = words[5];
  if (value_count < 2 || value_count > kMaxValues) return Status::invalid("program: %d values", value_count);
  if (op_count < 1 || op_count > kMaxOps) return Status::invalid("program: %d ops", op_count);
  if (max_tokens < 1 || max_tokens > kMaxTokens)
    return Status::invalid("program: at most %d tokens", max_tokens);
  if (input < 0 || input >= value_count) return Status::invalid("program: no value %d for the input", input);
  if (output < 0 || output >= value_count)
    return Status::invalid("program: no value %d for the output", output);
  if (input == output) return Status::invalid("program: the input is the output");
  if (!values.allocate(static_cast<size_t>(value_count)) || !ops.allocate(static_cast<size_t>(op_count))) {
    return Status::no_memory();
  }

  size_t at = kHeader;
  for (int i = 0; i < value_count; ++i, at += 2) {
    if (count - at < 2) return Status::invalid("program: ends inside value %d", i);
    const int32_t rows = words[at], width = words[at + 1];
    if (rows != 0 && rows != 1) return Status::invalid("value %d: unknown kind of rows %d", i, rows);
    if (width < 1 || width > kMaxWidth)
      return Status::invalid("value %d: width %d is not in 1..%d", i, width, kMaxWidth);
    values[static_cast<size_t>(i)] = {rows == 1, width, i == input ? width : 0};
  }
  for (int i = 0; i < op_count; ++i) {
    if (count - at < 2) return Status::invalid("program: ends inside op %d", i);
    const int32_t operands = words[at + 1];
    if (operands < 0 || static_cast<size_t>(operands) > count - at - 2) {
      return Status::invalid("op %d: %d operands, more than the program has left", i, operands);
    }
    Checker checker(*this, tensors, tensor_count, i, words + at + 2, operands);
    Op& op = ops[static_cast<size_t>(i)];
    CF_RETURN_IF_ERROR(checker.check(words[at], op));
    has_i8 |= op.code == OpCode::kLinearI8 || op.code == OpCode::kLstmI8;
    at += 2 + static_cast<size_t>(operands);
  }
  if (at != count) return Status::invalid("program: %zu words behind its end", count - at);
  const Value& result = values[static_cast<size_t>(output)];
  if (result.written != result.width) {
    return Status::invalid("program: %d of the output's %d columns are written", result.written,
                           result.width);
  }
  return Status();
}

}  // namespace claude_flow
