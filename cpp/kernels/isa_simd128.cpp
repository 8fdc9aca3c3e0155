// WebAssembly SIMD: hosts map it to the 16 vector registers of SSE or the 32 of NEON; the tile is made
// for 16.
#include "simd/vec_simd128.h"

#define CLAUDE_FLOW_ISA_WORD simd128

namespace claude_flow {
namespace {

constexpr int kRegisters = 16;
constexpr int kTileRows = 5;  // 46 GFLOP/s under Node 24; with 6 rows the sums spill: 28
constexpr int kTileVectors = 2;
constexpr int kLstmRows = 2;

}  // namespace
}  // namespace claude_flow

#include "kernels/isa-inl.h"
