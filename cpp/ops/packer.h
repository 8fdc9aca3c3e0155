// Places the weights of a model's ops in one allocation: a first pass, without a base, counts; a second one fills.
#pragma once

#include "base/array.h"
#include "base/status.h"
#include "kernels/table.h"

namespace claude_flow {

class Packer {
 public:
  Packer(const Table& table, const cf_tensor* tensors, float* base)
      : table_(table), tensors_(tensors), base_(base) {}

  const Table& table() const { return table_; }
  size_t used() const { return used_; }  // floats
  const Status& status() const { return status_; }
  void fail(const Status& status) {
    if (status_.ok()) status_ = status;
  }

  template <class T>
  const T* data(int tensor) const {
    return static_cast<const T*>(tensors_[tensor].data);
  }

  // `count` zeroed elements that fill(to) sets; null in the first pass.
  template <class T, class Fill>
  const T* place(size_t count, const Fill& fill) {
    T* to = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += round_up((count * sizeof(T) + sizeof(float) - 1) / sizeof(float), kCacheLine / sizeof(float));
    if (to != nullptr) fill(to);
    return to;
  }

  // A copy of a tensor of floats, or null where it is absent.
  const float* copy(int tensor) {
    if (tensor < 0) return nullptr;
    const auto count = to_size(tensors_[tensor].shape[0]);
    return place<float>(count,
                        [&](float* to) { std::memcpy(to, data<float>(tensor), count * sizeof(float)); });
  }

  // A weight matrix: where the caller has it prepacked, or packed by pack(weights, to) into `count` elements.
  template <class T, class Pack>
  const T* matrix(int tensor, size_t count, const Pack& pack) {
    const size_t bytes = tensors_[tensor].packed_bytes;
    if (bytes == 0) return place<T>(count, [&](T* to) { pack(data<T>(tensor), to); });
    if (bytes != count * sizeof(T)) {
      fail(Status::invalid("tensor %d is packed into %zu bytes, %s wants %zu", tensor, bytes, table_.isa,
                           count * sizeof(T)));
    }
    return data<T>(tensor);
  }

 private:
  const Table& table_;
  const cf_tensor* tensors_;
  float* base_;
  size_t used_ = 0;
  Status status_;
};

}  // namespace claude_flow
