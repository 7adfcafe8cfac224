#pragma once

#include <cstddef>

// Memory from mmap has no red zone of AddressSanitizer's behind it, so builds with it add one.
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace ftllm {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kRedZone = 4096;
inline void poison(const void* data, size_t bytes) { ASAN_POISON_MEMORY_REGION(data, bytes); }
inline void unpoison(const void* data, size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(data, bytes); }
#else
constexpr size_t kRedZone = 0;
inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
#endif

}  // namespace ftllm
