// Every generic algorithm, and the table of them for the instruction set of the file that includes this.
// That file has included one simd/vec_*.h and defined, in the anonymous namespace of claude_flow:
//   kRegisters                vector registers
//   kTileRows, kTileVectors   the GEMM tile: rows, and native vectors side by side
//   kTileDepth                how much of the depth is multiplied before the sums go back to memory
//   kLstmRows                 rows of the LSTM tile, each of four vectors
//   kLstmRowsF32              of the product of floats: more of them have two vectors at a time
// and CLAUDE_FLOW_ISA_WORD, the word; table_<word> is the one symbol that the object exports.
#pragma once

#include "kernels/activation-inl.h"
#include "kernels/attention-inl.h"
#include "kernels/attention_i8-inl.h"
#include "kernels/ceiling-inl.h"
#include "kernels/gemm-inl.h"
#include "kernels/gemm_i4-inl.h"
#include "kernels/gemm_i8-inl.h"
#include "kernels/lstm-inl.h"
#include "kernels/monotone-inl.h"
#include "kernels/norm-inl.h"
#include "kernels/quantize-inl.h"
#include "kernels/softmax-inl.h"
#include "kernels/table.h"

namespace claude_flow {

#define CLAUDE_FLOW_STRING_(x) #x
#define CLAUDE_FLOW_STRING(x) CLAUDE_FLOW_STRING_(x)
#define CLAUDE_FLOW_TABLE_(isa) table_##isa
#define CLAUDE_FLOW_TABLE(isa) CLAUDE_FLOW_TABLE_(isa)

extern const Table CLAUDE_FLOW_TABLE(CLAUDE_FLOW_ISA_WORD);
const Table CLAUDE_FLOW_TABLE(CLAUDE_FLOW_ISA_WORD) = {
    CLAUDE_FLOW_STRING(CLAUDE_FLOW_ISA_WORD), kTileColumns, kLanes, kGemmScratch, attention_scratch,
#define KERNEL(name, Args) name,
#include "kernels/kernels.inc"
#undef KERNEL
};

}  // namespace claude_flow
