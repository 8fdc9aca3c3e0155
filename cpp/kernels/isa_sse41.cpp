// SSE4.1: 16 registers, of which 12 hold the GEMM tile, 2 the weights, 1 the broadcast and 1 the product.
#include "simd/vec_sse41.h"

#define CLAUDE_FLOW_ISA_WORD sse41

namespace claude_flow {
namespace {

constexpr int kRegisters = 16;
constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;
constexpr int kLstmRows = 2;
constexpr int kLstmRowsF32 = kLstmRows;

}  // namespace
}  // namespace claude_flow

#include "kernels/isa-inl.h"
