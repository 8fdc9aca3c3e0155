// WebAssembly with relaxed SIMD: the tile of simd128, multiplied by relaxed madd.
#include "simd/vec_simd128.h"

#define CLAUDE_FLOW_ISA_WORD relaxed

namespace claude_flow {
namespace {

constexpr int kRegisters = 16;
constexpr int kTileRows = 4;  // 50 GFLOP/s under Node 24 like 6 rows, but 25 against 14 under wasmtime
constexpr int kTileVectors = 2;
constexpr int kLstmRows = 3;

}  // namespace
}  // namespace claude_flow

#include "kernels/isa-inl.h"
