// NEON with the dot product of bytes: ARMv8.2, as in Graviton2, Ampere Altra and Apple's M1. The rest is as in isa_neon.cpp.
#include "simd/vec_neon.h"

#define CLAUDE_FLOW_ISA_WORD neondot

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
