// NEON with products of matrices of bytes: Graviton3, Apple's M2. The rest is as in isa_neondot.cpp.
#include "simd/vec_neon.h"

#define CLAUDE_FLOW_ISA_WORD neoni8mm

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
