#include "base/buffer.h"

#include <sys/mman.h>

#include <string>

#include "base/error.h"

namespace ftllm {
namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}  // namespace

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    bytes_ = 0;
    throw Error(Error::Kind::kOption, "the system refused " + std::to_string(bytes >> 20) +
                                          " MiB of memory; choose a smaller KV cache or model");
  }
  data_ = static_cast<uint8_t*>(mapped);
  if (bytes >= 4 * kHugePage) madvise(mapped, bytes, MADV_HUGEPAGE);
}

Buffer::~Buffer() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

}  // namespace ftllm
