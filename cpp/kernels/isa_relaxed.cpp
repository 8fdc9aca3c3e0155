// WebAssembly with relaxed SIMD: relaxed madd, and the dot product of bytes.
#include "simd/vec_simd128.h"

#define CLAUDE_FLOW_ISA_WORD relaxed

namespace claude_flow {
namespace {

constexpr int kRegisters = 16;
// 51 GFLOP/s under Node 24 and 35 under wasmtime, like 4 rows of 2 vectors, which take 10 % longer for 8 rows and
// for one. With more sums both hosts spill: 3 rows of 3 give wasmtime 19, 4 of 3 give Node 34.
constexpr int kTileRows = 2;
constexpr int kTileVectors = 4;
constexpr int kLstmRows = 3;
constexpr int kLstmRowsF32 = kLstmRows;

}  // namespace
}  // namespace claude_flow

#include "kernels/isa-inl.h"
