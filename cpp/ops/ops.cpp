#include "ops/op.h"

namespace claude_flow {

const OpRow* find_op(int32_t code) {
  static constexpr OpRow kOps[] = {
#define OP(code, name, ...) {#name, &make_##name, code, operands::name::kCount},
#include "ops/ops.inc"
#undef OP
  };
  for (const OpRow& row : kOps) {
    if (row.code == code) return &row;
  }
  return nullptr;
}

}  // namespace claude_flow
