#include "base/file_map.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"

namespace ftllm {
namespace {

constexpr size_t kPage = 4096;

}  // namespace

FileMap::FileMap(int descriptor) {
  struct stat status = {};
  void* mapped = MAP_FAILED;
  if (fstat(descriptor, &status) == 0 && status.st_size > 0) {
    bytes_ = static_cast<size_t>(status.st_size);
    mapped = mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, descriptor, 0);
  }
  if (mapped == MAP_FAILED) {
    throw Error(Error::Kind::kCheckpoint,
                std::string("a file cannot be mapped: ") +
                    (status.st_size == 0 ? "it is empty" : std::strerror(errno)));
  }
  data_ = static_cast<const uint8_t*>(mapped);
  madvise(mapped, bytes_, MADV_HUGEPAGE);  // where the file system has large pages
}

FileMap::~FileMap() { munmap(const_cast<uint8_t*>(data_), bytes_); }

void FileMap::release(size_t begin, size_t end) const {
  begin = (begin + kPage - 1) / kPage * kPage;
  end = end / kPage * kPage;
  if (begin < end) madvise(const_cast<uint8_t*>(data_) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace ftllm
