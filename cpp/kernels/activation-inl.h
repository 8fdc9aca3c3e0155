// y = act(x), elementwise.
#pragma once

#include "kernels/args.h"
#include "simd/math-inl.h"

namespace claude_flow {
namespace {

struct Identity {
  template <class>
  static CF_INLINE F of(F x) {
    return x;
  }
};
struct Relu {
  template <class>
  static CF_INLINE F of(F x) {
    return max(splat(0.0f), x);
  }
};
struct Gelu {
  template <class A>
  static CF_INLINE F of(F x) {
    return gelu<A>(x);
  }
};
struct Tanh {
  template <class A>
  static CF_INLINE F of(F x) {
    return tanh<A>(x);
  }
};
struct Sigmoid {
  template <class A>
  static CF_INLINE F of(F x) {
    return sigmoid<A>(x);
  }
};
struct Exp {
  template <class A>
  static CF_INLINE F of(F x) {
    return exp<A>(x);
  }
};

// body(function), a value of the type above that `activation` names.
template <class Body>
CF_INLINE void with_function(Activation activation, Body body) {
  switch (activation) {
    case Activation::kNone:
      return body(Identity{});
    case Activation::kRelu:
      return body(Relu{});
    case Activation::kGelu:
      return body(Gelu{});
    case Activation::kTanh:
      return body(Tanh{});
    case Activation::kSigmoid:
      return body(Sigmoid{});
    case Activation::kExp:
      return body(Exp{});
  }
}

template <class Functions>
__attribute__((noinline)) void activate(const ActivationF32& a) {
  with_function(a.activation, [&](auto function) {
    each_vector(a.n, [&](int i, auto lanes) {
      store(a.y + i, function.template of<Functions>(load(a.x + i, lanes)), lanes);
    });
  });
}

void activation_f32(const ActivationF32& a) { activate<Fused::Functions>(a); }
void activation_consistent_f32(const ActivationF32& a) { activate<Consistent>(a); }

}  // namespace
}  // namespace claude_flow
