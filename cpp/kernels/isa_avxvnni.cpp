// AVX2 with the byte products of VNNI: the tiles of avx2, for CPUs that have VNNI without AVX-512.
#include "simd/vec_avx2.h"

#define CLAUDE_FLOW_ISA_WORD avxvnni

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
