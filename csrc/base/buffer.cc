#include "base/buffer.h"

#include <sys/mman.h>

#include <string>

#include "base/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, bytes) (static_cast<void>(data))
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes) (static_cast<void>(data))
#endif

namespace ftllm {
namespace {
constexpr size_t kHugePage = size_t{2} << 20;

// Memory from mmap has no red zone of AddressSanitizer's behind it, so builds with it add one.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kRedZone = 4096;
#else
constexpr size_t kRedZone = 0;
#endif
}  // namespace

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* mapped = mmap(nullptr, bytes + kRedZone, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    bytes_ = 0;
    throw Error(Error::Kind::kOption, "the system refused " + std::to_string(bytes >> 20) +
                                          " MiB of memory; choose a smaller KV cache or model");
  }
  data_ = static_cast<uint8_t*>(mapped);
  ASAN_POISON_MEMORY_REGION(data_ + bytes, kRedZone);
  if (bytes >= 4 * kHugePage) madvise(mapped, bytes, MADV_HUGEPAGE);
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  ASAN_UNPOISON_MEMORY_REGION(data_ + bytes_, kRedZone);
  munmap(data_, bytes_ + kRedZone);
}

}  // namespace ftllm
