// AVX-512: 32 registers, of which 28 hold the GEMM tile, 2 the weights and 1 the broadcast.
#include "simd/vec_avx512.h"

#define CLAUDE_FLOW_ISA_WORD avx512

namespace claude_flow {
namespace {

constexpr int kRegisters = 32;
constexpr int kTileRows = 14;
constexpr int kTileVectors = 2;
constexpr int kLstmRows = 6;
constexpr int kLstmRowsF32 = kLstmRows;

}  // namespace
}  // namespace claude_flow

#include "kernels/isa-inl.h"
