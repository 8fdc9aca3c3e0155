// NEON, which every 64-bit ARM has: 32 registers, of which 24 hold the GEMM tile.
#include "simd/vec_neon.h"

#define CLAUDE_FLOW_ISA_WORD neon

namespace claude_flow {
namespace {

constexpr int kRegisters = 32;
constexpr int kTileRows = 6;
constexpr int kTileVectors = 4;
constexpr int kLstmRows = 6;
constexpr int kLstmRowsF32 = kLstmRows;

}  // namespace
}  // namespace claude_flow

#include "kernels/isa-inl.h"
