#include "base/arena.h"

#include <algorithm>

#include "base/red_zone.h"

namespace ftllm {
namespace {

constexpr size_t kChunkBytes = size_t{256} << 20;  // address space: an end stays untouched
constexpr size_t kAlignment = 64;

}  // namespace

uint8_t* Arena::allocate(size_t bytes) {
  const size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment + kRedZone;
  if (chunks_.empty() || chunks_.back().bytes() - used_ < padded) {
    chunks_.emplace_back(std::max(padded, kChunkBytes));
    used_ = 0;
  }
  uint8_t* data = chunks_.back().data() + used_;
  used_ += padded;
  poison(data + bytes, padded - bytes);
  return data;
}

size_t Arena::bytes() const {
  size_t total = 0;
  for (const Buffer& chunk : chunks_) total += chunk.bytes();
  return total;
}

}  // namespace ftllm
