// Memory of the engine: a fixed-size array on a cache line, allocated once at load, never while running.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

namespace claude_flow {

constexpr size_t kCacheLine = 64;

inline size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

template <class T>
class Array {
  static_assert(std::is_trivially_copyable<T>::value, "the array moves bytes");

 public:
  Array() = default;
  Array(Array&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Array& operator=(Array&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { std::free(data_); }

  // `size` zeroed elements. False: the memory is not there, and the array is empty.
  [[nodiscard]] bool allocate(size_t size) {
    std::free(std::exchange(data_, nullptr));
    size_ = 0;
    if (size > (PTRDIFF_MAX - kCacheLine) / sizeof(T)) return false;
    const size_t bytes = round_up(size * sizeof(T) + (size == 0), kCacheLine);
    data_ = static_cast<T*>(std::aligned_alloc(kCacheLine, bytes));
    if (data_ == nullptr) return false;
    std::memset(static_cast<void*>(data_), 0, bytes);
    size_ = size;
    return true;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace claude_flow
