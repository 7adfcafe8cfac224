#include "base/buffer.h"

#include <sys/mman.h>

#include <string>

#include "base/error.h"

namespace ftllm {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

uint8_t* map(size_t bytes) {
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    throw Error(Error::Kind::kOption, "the system refused " + std::to_string(bytes >> 20) +
                                          " MiB of memory; choose a smaller KV cache or model");
  }
  return static_cast<uint8_t*>(mapped);
}

// Maps more than is needed and gives back what lies outside of the aligned part.
uint8_t* map_aligned(size_t bytes) {
  uint8_t* mapped = map(bytes + kHugePage);
  const size_t skipped = (kHugePage - reinterpret_cast<uintptr_t>(mapped) % kHugePage) % kHugePage;
  uint8_t* data = mapped + skipped;
  constexpr size_t kPage = 4096;
  const size_t end = (bytes + kPage - 1) / kPage * kPage;
  if (skipped > 0) munmap(mapped, skipped);
  if (skipped < kHugePage) munmap(data + end, kHugePage - skipped + bytes - end);
  madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

}  // namespace

Buffer::Buffer(size_t bytes) {
  if (bytes == 0) return;
  data_ = bytes >= 4 * kHugePage ? map_aligned(bytes) : map(bytes);
  bytes_ = bytes;
}

Buffer::~Buffer() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

}  // namespace ftllm
