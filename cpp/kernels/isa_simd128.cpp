// WebAssembly SIMD: hosts map it to the 16 vector registers of SSE or the 32 of NEON; the tile is made
// for 16.
#include "simd/vec_simd128.h"

#define CLAUDE_FLOW_ISA_WORD simd128

namespace claude_flow {
namespace {

constexpr int kRegisters = 16;
// 46 GFLOP/s under Node 24 and 31 under wasmtime; 5 rows of 2 vectors give them 46 and 23, 4 of 3 give 28 and 25.
constexpr int kTileRows = 2;
constexpr int kTileVectors = 4;
constexpr int kLstmRows = 2;
constexpr int kLstmRowsF32 = kLstmRows;

}  // namespace
}  // namespace claude_flow

#include "kernels/isa-inl.h"
