#include "model/program.h"

namespace claude_flow {

namespace {

constexpr size_t kHeader = 6;
constexpr int kMaxValues = 4096;
constexpr int kMaxOps = 4096;
constexpr int kMaxTokens = 1 << 16;

}  // namespace

struct Program::Reader {
  const int32_t* words;
  size_t count, at;

  size_t left() const { return count - at; }
  int32_t next() { return words[at++]; }
};

Status Program::parse(const int32_t* words, size_t count, const cf_tensor* tensors, size_t tensor_count) {
  Reader reader = {words, count, 0};
  CF_RETURN_IF_ERROR(parse_header(reader));
  CF_RETURN_IF_ERROR(parse_values(reader));
  CF_RETURN_IF_ERROR(check_inputs());
  CF_RETURN_IF_ERROR(parse_ops(reader, tensors, tensor_count));
  if (reader.left() != 0) return Status::invalid("program: %zu words behind its end", reader.left());
  const Value& last = result();
  return last.written == last.width ? Status()
                                    : Status::invalid("program: %d of the output's %d columns are written",
                                                      last.written, last.width);
}

// Format 1 has one input and one axis of tokens, format 2 as many as it says.
Status Program::parse_header(Reader& reader) {
  if (reader.count < kHeader)
    return Status::invalid("program: %zu words, fewer than its header", reader.count);
  const int32_t format = reader.next();
  const int value_count = reader.next(), op_count = reader.next();
  const int first = reader.next();
  output = reader.next();
  const int last = reader.next();
  if (value_count < 2 || value_count > kMaxValues) return Status::invalid("program: %d values", value_count);
  if (op_count < 1 || op_count > kMaxOps) return Status::invalid("program: %d ops", op_count);
  if (format == 1) {
    inputs[0] = first;
    most_tokens[1] = last;
  } else if (format == 2) {
    input_count = first;
    axes = last;
    if (input_count < 1 || input_count > kMaxInputs || axes < 0 || axes > kMaxAxes) {
      return Status::invalid("program of format 2: %d inputs and %d axes of tokens, not 1..%d and 0..%d",
                             input_count, axes, kMaxInputs, kMaxAxes);
    }
    if (reader.left() < to_size(axes) + to_size(input_count)) {
      return Status::invalid("program: ends inside its header");
    }
    for (int axis = 1; axis <= axes; ++axis) most_tokens[axis] = reader.next();
    for (int i = 0; i < input_count; ++i) inputs[i] = reader.next();
  } else {
    return Status::invalid("program: format %d, this engine reads 1 and 2", format);
  }
  for (int axis = 1; axis <= axes; ++axis) {
    if (most_tokens[axis] < 1 || most_tokens[axis] > kMaxTokens) {
      return Status::invalid("program: at most %d tokens", most_tokens[axis]);
    }
  }
  for (int i = 0; i < input_count; ++i) {
    if (inputs[i] < 0 || inputs[i] >= value_count)
      return Status::invalid("program: no value %d for the input", inputs[i]);
    if (inputs[i] == output) return Status::invalid("program: the input is the output");
    for (int j = 0; j < i; ++j) {
      if (inputs[i] == inputs[j]) return Status::invalid("program: value %d is two inputs", inputs[i]);
    }
  }
  if (output < 0 || output >= value_count)
    return Status::invalid("program: no value %d for the output", output);
  const bool allocated = values.allocate(to_size(value_count)) && ops.allocate(to_size(op_count));
  return allocated ? Status() : Status::no_memory();
}

Status Program::parse_values(Reader& reader) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (reader.left() < 2) return Status::invalid("program: ends inside value %zu", i);
    const int32_t axis = reader.next(), width = reader.next();
    if (axis < 0 || axis > axes) return Status::invalid("value %zu: unknown kind of rows %d", i, axis);
    if (width < 1 || width > kMaxWidth)
      return Status::invalid("value %zu: width %d is not in 1..%d", i, width, kMaxWidth);
    values[i] = {axis, width, 0};
  }
  for (int i = 0; i < input_count; ++i) {
    Value& value = values[to_size(inputs[i])];
    value.written = value.width;
  }
  return Status();
}

// The inputs of a call say how many tokens an axis has, so each axis has one; that of format 1 may lie idle.
Status Program::check_inputs() const {
  for (int axis = 1; axis <= axes; ++axis) {
    bool has_input = axes == 1 && input_count == 1;
    for (int i = 0; i < input_count; ++i) has_input |= input(i).axis == axis;
    if (!has_input) return Status::invalid("program: no input has tokens of axis %d", axis);
  }
  return Status();
}

Status Program::parse_ops(Reader& reader, const cf_tensor* tensors, size_t tensor_count) {
  const Op* before = nullptr;
  for (size_t i = 0; i < ops.size(); ++i) {
    const int index = static_cast<int>(i);
    if (reader.left() < 2) return Status::invalid("program: ends inside op %d", index);
    const int32_t code = reader.next(), count = reader.next();
    if (count < 0 || to_size(count) > reader.left()) {
      return Status::invalid("op %d: %d operands, more than the program has left", index, count);
    }
    const OpRow* row = find_op(code);
    if (row == nullptr) return Status::invalid("op %d: unknown opcode %d", index, code);
    if (count != row->operands) {
      return Status::invalid("op %d (%s): has %d operands, not %d", index, row->name, count, row->operands);
    }
    Op* op = ops[i] = row->make();
    if (op == nullptr) return Status::no_memory();
    op->code = code;
    Operands operands(values, tensors, tensor_count, index, *row, reader.words + reader.at, *op, before);
    CF_RETURN_IF_ERROR(op->check(operands));
    has_i8 |= operands.has_i8();
    reader.at += to_size(count);
    before = op;
  }
  return Status();
}

}  // namespace claude_flow
