// What every kernel must compute, as plain loops in double. Tests and benchmarks only.
// Where an argument struct names packed weights or gates, the reference takes them as a model file has them:
// row-major, gate rows i, f, g, o one after the other.
#pragma once

#include "kernels/args.h"

namespace claude_flow::reference {

#define KERNEL(name, Args) void name(const Args&);
#include "kernels/kernels.inc"
#undef KERNEL

double activation(double x, Activation activation);

}  // namespace claude_flow::reference
