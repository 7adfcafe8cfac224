#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/buffer.h"

namespace ftllm {

// Zeroed memory handed out from large chunks and given back all at once, with the arena: many small
// arrays share huge pages, where each by itself would lie on pages of 4 KiB. What is handed out and
// never touched takes no memory. Not thread-safe.
class Arena {
 public:
  // Aligned to a cache line. Throws Error when the system has no more memory.
  uint8_t* allocate(size_t bytes);

  // Of all chunks, handed out or not.
  size_t bytes() const;

 private:
  std::vector<Buffer> chunks_;
  size_t used_ = 0;  // of the last chunk
};

}  // namespace ftllm
