#pragma once

#include <cstddef>
#include <cstdint>

namespace ftllm {

// A whole file mapped read-only; its pages are shared with every process that maps it. The
// descriptor may be closed afterwards. Throws Error when the file cannot be mapped.
class FileMap {
 public:
  explicit FileMap(int descriptor);
  ~FileMap();
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  const uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

  // This process needs the pages within [begin, end) no more; reading them again is allowed.
  void release(size_t begin, size_t end) const;

 private:
  const uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace ftllm
