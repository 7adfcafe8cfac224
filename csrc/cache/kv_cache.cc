#include "cache/kv_cache.h"

#include <utility>

#include "base/error.h"

namespace ftllm {

KvType parse_kv_type(const std::string& name) {
  if (name == "float32") return KvType::kF32;
  if (name == "float16") return KvType::kF16;
  if (name == "bfloat16") return KvType::kBF16;
  if (name == "int8") return KvType::kInt8;
  throw Error(Error::Kind::kOption,
              "kv_cache_dtype is '" + name + "'; it must be float32, float16, bfloat16 or int8");
}

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
