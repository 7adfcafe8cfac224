#include "base/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/red_zone.h"

namespace ftllm {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096;

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
  const size_t whole = (bytes + kPage - 1) / kPage * kPage;
  uint8_t* mapped = map(whole + kHugePage);
  const size_t skipped = (kHugePage - reinterpret_cast<uintptr_t>(mapped) % kHugePage) % kHugePage;
  uint8_t* data = mapped + skipped;
  if (skipped > 0) munmap(mapped, skipped);
  munmap(data + whole, kHugePage - skipped);  // never empty: skipped < kHugePage
  madvise(data, whole, MADV_HUGEPAGE);
  return data;
}

}  // namespace

Buffer::Buffer(size_t bytes) {
  if (bytes == 0) return;
  data_ = bytes >= 4 * kHugePage ? map_aligned(bytes + kRedZone) : map(bytes + kRedZone);
  bytes_ = bytes;
  poison(data_ + bytes, kRedZone);
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  unpoison(data_, bytes_ + kRedZone);
  munmap(data_, bytes_ + kRedZone);
}

void forbid_huge_pages(uint8_t* begin, uint8_t* end) {
  uint8_t* first = begin - reinterpret_cast<uintptr_t>(begin) % kPage;
  const auto bytes = static_cast<size_t>(end - first);
  madvise(first, (bytes + kPage - 1) / kPage * kPage, MADV_NOHUGEPAGE);
}

void forbid_huge_page_at(const uint8_t* at, uint8_t* begin, uint8_t* end) {
  const auto before = static_cast<int64_t>(reinterpret_cast<uintptr_t>(at) % kHugePage);
  uint8_t* page = begin + (at - begin - before);
  forbid_huge_pages(std::max(begin, page), std::min(end, page + kHugePage));
}

}  // namespace ftllm
