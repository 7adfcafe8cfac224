#include "cache/kv_cache.h"

#include <utility>

namespace ftllm {

KvCache::KvCache(KvType type, std::vector<KvLayer> layers, int64_t blocks)
    : type_(type), layers_(std::move(layers)), blocks_(blocks) {
  buffers_.reserve(layers_.size());
  for (size_t i = 0; i < layers_.size(); ++i) {
    buffers_.emplace_back(static_cast<size_t>(blocks * block_bytes(static_cast<int>(i))));
  }
}

int64_t KvCache::head_bytes(KvType type, int head_dim) {
  const int64_t values = int64_t{kKvBlock} * head_dim;
  switch (type) {
    case KvType::kF32:
      return 4 * values;
    case KvType::kInt8:
      return values + kKvBlock * int64_t{sizeof(float)};
    default:
      return 2 * values;
  }
}

int64_t KvCache::bytes_per_block(KvType type, const std::vector<KvLayer>& layers) {
  int64_t bytes = 0;
  for (const KvLayer& layer : layers)
    bytes += 2 * layer.kv_heads * head_bytes(type, layer.head_dim);
  return bytes;
}

}  // namespace ftllm
