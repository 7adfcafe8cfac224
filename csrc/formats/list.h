#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/fp8.h"
#include "formats/int4g.h"
#include "formats/int4z.h"
#include "formats/int8.h"
#include "formats/iq1_m.h"
#include "formats/iq1_s.h"
#include "formats/iq2_s.h"
#include "formats/iq2_xs.h"
#include "formats/iq2_xxs.h"
#include "formats/iq3_s.h"
#include "formats/iq3_xxs.h"
#include "formats/iq4_nl.h"
#include "formats/iq4_xs.h"
#include "formats/mxfp4.h"
#include "formats/nvfp4.h"
#include "formats/q2_k.h"
#include "formats/q3_k.h"
#include "formats/q4_0.h"
#include "formats/q4_1.h"
#include "formats/q4_k.h"
#include "formats/q5_0.h"
#include "formats/q5_1.h"
#include "formats/q5_k.h"
#include "formats/q6_k.h"
#include "formats/q8_0.h"

// Every block format, as X(enumerator, struct). The one line that a new format adds.
#define FTLLM_BLOCK_FORMATS(X) \
  X(kQ8_0, Q8_0)               \
  X(kQ4_0, Q4_0)               \
  X(kQ4_1, Q4_1)               \
  X(kQ5_0, Q5_0)               \
  X(kQ5_1, Q5_1)               \
  X(kQ2_K, Q2_K)               \
  X(kQ3_K, Q3_K)               \
  X(kQ4_K, Q4_K)               \
  X(kQ5_K, Q5_K)               \
  X(kQ6_K, Q6_K)               \
  X(kIQ4_NL, IQ4_NL)           \
  X(kIQ4_XS, IQ4_XS)           \
  X(kMXFP4, MXFP4)             \
  X(kNVFP4, NVFP4)             \
  X(kIQ3_S, IQ3_S)             \
  X(kIQ3_XXS, IQ3_XXS)         \
  X(kIQ2_S, IQ2_S)             \
  X(kIQ2_XS, IQ2_XS)           \
  X(kIQ2_XXS, IQ2_XXS)         \
  X(kIQ1_M, IQ1_M)             \
  X(kIQ1_S, IQ1_S)             \
  X(kInt8, Int8)               \
  X(kInt4g32, Int4g<32>)       \
  X(kInt4g64, Int4g<64>)       \
  X(kInt4g128, Int4g<128>)     \
  X(kInt4g256, Int4g<256>)     \
  X(kInt4z32, Int4z<32>)       \
  X(kInt4z64, Int4z<64>)       \
  X(kInt4z128, Int4z<128>)

namespace ftllm {

enum class FormatId : uint8_t {
  kF32,
  kF16,
  kBF16,
  kFp8,
#define FTLLM_ENUMERATOR(id, Format) id,
  FTLLM_BLOCK_FORMATS(FTLLM_ENUMERATOR)
#undef FTLLM_ENUMERATOR
      kCount,
};

constexpr int kFormatCount = static_cast<int>(FormatId::kCount);

// Bytes of one packed record (kBlock columns of NR rows) of a block format.
template <class Format>
constexpr size_t record_bytes(int nr) {
  return Format::kBlock / 32 * CodePlanes<Format::kBits>::bytes(nr) + Format::Scales::bytes(nr);
}

}  // namespace ftllm
