#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "kernels/table.h"

namespace ftllm {

// Shape of one layer's keys and values.
struct KvLayer {
  int kv_heads;
  int head_dim;
};

// float32, float16, bfloat16 or int8; throws Error for another name.
KvType parse_kv_type(const std::string& name);

// The paged KV cache: every layer has `blocks` blocks of kKvBlock tokens. A block holds, head after
// head, that head's K and then its V (layouts: kernels/attention.h).
class KvCache {
 public:
  KvCache(KvType type, std::vector<KvLayer> layers, int64_t blocks);

  KvType type() const { return type_; }
  int64_t blocks() const { return blocks_; }

  // Block 0's K of a head; its V lies k_bytes(layer) further; blocks are block_bytes(layer) apart.
  uint8_t* head(int layer, int kv_head) const {
    return buffers_[layer].data() + 2 * k_bytes(layer) * kv_head;
  }
  int64_t k_bytes(int layer) const { return head_bytes(type_, layers_[layer].head_dim); }
  int64_t block_bytes(int layer) const { return 2 * k_bytes(layer) * layers_[layer].kv_heads; }

  // Bytes of one block over all layers.
  static int64_t bytes_per_block(KvType type, const std::vector<KvLayer>& layers);

 private:
  static int64_t head_bytes(KvType type, int head_dim);

  KvType type_;
  std::vector<KvLayer> layers_;
  int64_t blocks_;
  std::vector<Buffer> buffers_;
};

}  // namespace ftllm
