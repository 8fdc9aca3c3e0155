// y = act(x), elementwise.
#pragma once

#include "kernels/args.h"
#include "simd/math-inl.h"

namespace claude_flow {
namespace {

struct Identity {
  template <class, class V>
  static CF_INLINE V of(V x) {
    return x;
  }
};
struct Relu {
  template <class, class V>
  static CF_INLINE V of(V x) {
    return max(splat(0.0f), x);
  }
};
struct Gelu {
  template <class A, class V>
  static CF_INLINE V of(V x) {
    return gelu<A>(x);
  }
};
struct Tanh {
  template <class A, class V>
  static CF_INLINE V of(V x) {
    return tanh<A>(x);
  }
};
struct Sigmoid {
  template <class A, class V>
  static CF_INLINE V of(V x) {
    return sigmoid<A>(x);
  }
};
struct Exp {
  template <class A, class V>
  static CF_INLINE V of(V x) {
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
    each_group(a.n, [&](int i, auto lanes) CF_LAMBDA {
      store(a.y + i, function.template of<Functions>(load(a.x + i, lanes)), lanes);
    });
  });
}

void activation_f32(const ActivationF32& a) { activate<Fused::Functions>(a); }
void activation_consistent_f32(const ActivationF32& a) { activate<Consistent>(a); }

}  // namespace
}  // namespace claude_flow
