#pragma once

#include <cstddef>
#include <cstdint>

namespace ftllm {

// A file that is read at any place, by any thread; closed on destruction.
class InputFile {
 public:
  // Duplicates `descriptor`, which the caller closes. Throws Error when that fails.
  explicit InputFile(int descriptor);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  // Reads `bytes` bytes from `offset` on. Returns 0, an error number, or -1 when the file ends
  // before.
  int read(uint8_t* to, size_t bytes, int64_t offset) const noexcept;

 private:
  int descriptor_;
};

}  // namespace ftllm
