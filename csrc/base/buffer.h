#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace ftllm {

// Zeroed memory from the operating system, 2 MiB-aligned when large, given back on destruction.
// Pages are touched on first use only. Throws Error when the system has no more.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

// Keeps [begin, end), memory of a Buffer that nobody touched, from lying on huge pages: so that
// neighbouring bytes can be on different NUMA nodes.
void forbid_huge_pages(uint8_t* begin, uint8_t* end);

// The same for what a huge page around `at` would cover of [begin, end).
void forbid_huge_page_at(const uint8_t* at, uint8_t* begin, uint8_t* end);

}  // namespace ftllm
