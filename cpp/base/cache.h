// How large this CPU's caches are.
#pragma once

#include <cstddef>

#if defined(__linux__)
#include <unistd.h>
#endif

namespace claude_flow {

// Bytes of a core's L2; 1 MiB where the system does not say.
inline size_t level2_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return static_cast<size_t>(bytes);
#endif
  return size_t{1} << 20;
}

}  // namespace claude_flow
