// AVX-512 with VNNI: the same tiles, byte products in one instruction.
#include "simd/vec_avx512.h"

#define CLAUDE_FLOW_ISA_WORD avx512vnni

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
