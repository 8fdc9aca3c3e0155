// Plain C++: what every CPU runs.
#include "simd/vec_scalar.h"

#define CLAUDE_FLOW_ISA_WORD scalar

namespace claude_flow {
namespace {

constexpr int kRegisters = 16;
constexpr int kTileRows = 4;
constexpr int kTileVectors = 4;
constexpr int kLstmRows = 2;
constexpr int kLstmRowsF32 = kLstmRows;

}  // namespace
}  // namespace claude_flow

#include "kernels/isa-inl.h"
