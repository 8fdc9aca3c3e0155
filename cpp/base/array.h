// Memory of the engine: a fixed-size array on a cache line, allocated once at load, never while running.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#elif defined(_WIN32)
#include <malloc.h>
#endif

namespace claude_flow {

constexpr size_t kCacheLine = 64;

constexpr size_t to_size(int n) { return static_cast<size_t>(n); }
inline size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// From two megabytes on, memory is mapped, in huge pages where the system has them, and touched at its first use: most of
// loading a model was the first touch of 4 KB pages (on a virtual machine, from the file to the first answer: 5 ms instead
// of 25 for 1.8 MB of weights and an arena of 5 MB). Not under AddressSanitizer, which watches the ends of what it hands
// out itself.
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#define CLAUDE_FLOW_MAP_MEMORY 1
#endif
constexpr size_t kHugePage = size_t{1} << 21;
constexpr size_t kLargestPage = size_t{1} << 16;  // of any Linux that this may run on

// `bytes` zeroed bytes on a cache line, or null.
inline void* take_memory(size_t bytes) {
#ifdef CLAUDE_FLOW_MAP_MEMORY
  if (bytes >= kHugePage) {
    const size_t kept = round_up(bytes, kLargestPage);
    void* mapped =
        mmap(nullptr, kept + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    char* begin = static_cast<char*>(mapped);
    const auto address = reinterpret_cast<uintptr_t>(begin);
    const size_t before = round_up(address, kHugePage) - address;
    if (before > 0) munmap(begin, before);
    if (before < kHugePage) munmap(begin + before + kept, kHugePage - before);
    madvise(begin + before, kept, MADV_HUGEPAGE);
    return begin + before;
  }
#endif
#ifdef _WIN32  // which has its own two functions in place of aligned_alloc and free
  void* data = _aligned_malloc(bytes, kCacheLine);
#else
  void* data = std::aligned_alloc(kCacheLine, bytes);
#endif
  if (data != nullptr) std::memset(data, 0, bytes);
  return data;
}

inline void give_memory(void* data, size_t bytes) {
#ifdef CLAUDE_FLOW_MAP_MEMORY
  if (bytes >= kHugePage) {
    munmap(data, round_up(bytes, kLargestPage));
    return;
  }
#endif
  static_cast<void>(bytes);
#ifdef _WIN32
  _aligned_free(data);
#else
  std::free(data);
#endif
}

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
  ~Array() { release(); }

  // `size` zeroed elements. False: the memory is not there, and the array is empty.
  [[nodiscard]] bool allocate(size_t size) {
    release();
    if (size > (PTRDIFF_MAX - 2 * kHugePage) / kElement) return false;
    data_ = static_cast<T*>(take_memory(bytes_of(size)));
    if (data_ == nullptr) return false;
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
  static constexpr size_t kElement = sizeof(T);  // NOLINT(bugprone-sizeof-expression): T may be a pointer
  static size_t bytes_of(size_t size) { return round_up(size * kElement + (size == 0), kCacheLine); }
  void release() {
    if (data_ != nullptr) give_memory(static_cast<void*>(std::exchange(data_, nullptr)), bytes_of(size_));
    size_ = 0;
  }

  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace claude_flow
