// y = act(x), elementwise. Consistent.
#pragma once

#include "kernels/args.h"
#include "simd/math-inl.h"

namespace claude_flow {
namespace {

struct Identity {
  static CF_INLINE F of(F x) { return x; }
};
struct Relu {
  static CF_INLINE F of(F x) { return max(splat(0.0f), x); }
};
struct Gelu {
  static CF_INLINE F of(F x) { return gelu(x); }
};
struct Tanh {
  static CF_INLINE F of(F x) { return tanh(x); }
};
struct Sigmoid {
  static CF_INLINE F of(F x) { return sigmoid(x); }
};

struct Exp {
  static CF_INLINE F of(F x) { return exp(x); }
};

template <class Act>
void activate(const float* x, float* y, int n) {
  sweep(n, [&](int i, int, auto lanes) { store(y + i, Act::of(load(x + i, lanes)), lanes); });
}

void activation_f32(const ActivationF32& a) {
  switch (a.activation) {
    case Activation::kNone:
      return activate<Identity>(a.x, a.y, a.n);
    case Activation::kRelu:
      return activate<Relu>(a.x, a.y, a.n);
    case Activation::kGelu:
      return activate<Gelu>(a.x, a.y, a.n);
    case Activation::kTanh:
      return activate<Tanh>(a.x, a.y, a.n);
    case Activation::kSigmoid:
      return activate<Sigmoid>(a.x, a.y, a.n);
    case Activation::kExp:
      return activate<Exp>(a.x, a.y, a.n);
  }
}

}  // namespace
}  // namespace claude_flow
