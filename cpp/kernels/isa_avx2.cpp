// AVX2 with FMA: 16 registers, of which 12 hold the GEMM tile, 2 the weights and 1 the broadcast.
#include "simd/vec_avx2.h"

#define CLAUDE_FLOW_ISA_WORD avx2

namespace claude_flow {
namespace {

constexpr int kRegisters = 16;
constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;
constexpr int kLstmRows = 3;
constexpr int kLstmRowsF32 = 6;  // two gates at a time

}  // namespace
}  // namespace claude_flow

#include "kernels/isa-inl.h"
