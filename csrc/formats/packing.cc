#include "formats/packing.h"

#include <cstring>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "base/half.h"

namespace ftllm {
namespace {

struct F32 {
  using Element = float;
  static float load(float x) { return x; }
  static float store(float x) { return x; }
};
struct F16 {
  using Element = uint16_t;
  static float load(uint16_t x) { return half_to_float(x); }
  static uint16_t store(float x) { return float_to_half(x); }
};
struct BF16 {
  using Element = uint16_t;
  static float load(uint16_t x) { return bfloat_to_float(x); }
  static uint16_t store(float x) { return float_to_bfloat(x); }
};

// Calls visit(Format{}) or visit(Int4g<…>{}) with the struct that `format` stands for.
template <class Visit>
decltype(auto) visit_format(FormatId format, const Visit& visit) {
  switch (format) {
    case FormatId::kF16:
      return visit(F16{});
    case FormatId::kBF16:
      return visit(BF16{});
    case FormatId::kFp8:
      return visit(Fp8{});
#define FTLLM_CASE(id, Format) \
  case FormatId::id:           \
    return visit(Format{});
      FTLLM_BLOCK_FORMATS(FTLLM_CASE)
#undef FTLLM_CASE
    default:
      return visit(F32{});
  }
}

template <class Format>
constexpr bool is_float_v = requires { typename Format::Element; };

template <class Format>
constexpr bool is_fp8_v = std::is_same_v<Format, Fp8>;

// Whether a row may end within its last source block.
template <class Format>
constexpr bool is_padded_v = requires { Format::kPadded; };

int64_t blocks_of(int64_t columns, int block) { return (columns + block - 1) / block; }

// One row of a record of fp8. A NaN among its codes, which the kernels do not see, becomes its
// scale.
void put_fp8(const Fp8::Source& source, int nr, int row, uint8_t* record) {
  float scale = source.scale;
  for (int k = 0; k < Fp8::kBlock; ++k) {
    if ((source.codes[k] & 0x7f) == 0x7f) scale = fp8_to_float(source.codes[k]);
    record[4 * nr + k * nr + row] = source.codes[k];
  }
  std::memcpy(record + 4 * row, &scale, 4);
}

constexpr size_t fp8_record_bytes(int nr) { return (4 + Fp8::kBlock) * static_cast<size_t>(nr); }

template <class Format>
void read_row(const uint8_t* row, int64_t columns, float* out) {
  if constexpr (is_float_v<Format>) {
    for (int64_t k = 0; k < columns; ++k) {
      typename Format::Element element;
      std::memcpy(&element, row + k * sizeof element, sizeof element);
      out[k] = Format::load(element);
    }
  } else if constexpr (is_fp8_v<Format>) {
    for (int64_t k = 0; k < columns; ++k) {
      Fp8::Source source;
      std::memcpy(&source, row + k / Fp8::kBlock * sizeof source, sizeof source);
      out[k] = source.scale * fp8_to_float(source.codes[k % Fp8::kBlock]);
    }
  } else if constexpr (!std::is_void_v<typename Format::Source>) {
    uint8_t scales[Format::Scales::bytes(1)];
    for (int64_t b = 0; b < blocks_of(columns, Format::kBlock); ++b) {
      typename Format::Source source;
      std::memcpy(&source, row + b * sizeof source, sizeof source);
      DecodedBlock block;
      Format::decode(source, block);
      Format::Scales::put(scales, 1, 0, block);
      for (int k = 0; k < Format::kBlock; ++k) {
        const GroupScale group = Format::Scales::get(scales, 1, 0, k / Format::kGroup);
        const auto value = static_cast<float>(Operands<Format>::value(block.codes[k]));
        out[b * Format::kBlock + k] = group.scale * value + group.min;
      }
    }
  }
}

template <class Format>
void put_record(const DecodedBlock& block, int nr, int row, uint8_t* record) {
  using Planes = CodePlanes<Format::kBits>;
  for (int k = 0; k < Format::kBlock; k += 32) {
    Planes::put(record + k / 32 * Planes::bytes(nr), nr, row, block.codes + k);
  }
  Format::Scales::put(record + Format::kBlock / 32 * Planes::bytes(nr), nr, row, block);
}

template <class Format>
void pack_floats(const float* x, int64_t columns, int nr, int row, uint8_t* panel) {
  if constexpr (is_float_v<Format>) {
    for (int64_t k = 0; k < columns; ++k) {
      const typename Format::Element element = Format::store(x[k]);
      std::memcpy(panel + (k * nr + row) * sizeof element, &element, sizeof element);
    }
  } else if constexpr (is_fp8_v<Format>) {
    for (int64_t b = 0; b < blocks_of(columns, Fp8::kBlock); ++b) {
      Fp8::Source source;
      Fp8::quantize(x + b * Fp8::kBlock, source);
      put_fp8(source, nr, row, panel + b * fp8_record_bytes(nr));
    }
  } else {
    for (int64_t b = 0; b < blocks_of(columns, Format::kBlock); ++b) {
      DecodedBlock block;
      Format::quantize(x + b * Format::kBlock, block);
      put_record<Format>(block, nr, row, panel + b * record_bytes<Format>(nr));
    }
  }
}

// Moves source blocks of a format into its own packed layout, without loss.
template <class Format>
void pack_blocks(const uint8_t* row_data, int64_t columns, int nr, int row, uint8_t* panel) {
  for (int64_t b = 0; b < blocks_of(columns, Format::kBlock); ++b) {
    typename Format::Source source;
    std::memcpy(&source, row_data + b * sizeof source, sizeof source);
    if constexpr (is_fp8_v<Format>) {
      put_fp8(source, nr, row, panel + b * fp8_record_bytes(nr));
    } else {
      DecodedBlock block;
      Format::decode(source, block);
      put_record<Format>(block, nr, row, panel + b * record_bytes<Format>(nr));
    }
  }
}

// Elements of `nr` rows side by side; nullptr stands for a row of zeros.
template <class Element>
void interleave(const uint8_t* const* rows, int nr, int64_t columns, uint8_t* panel) {
  for (int64_t k = 0; k < columns; ++k) {
    for (int r = 0; r < nr; ++r) {
      if (rows[r] == nullptr) continue;
      std::memcpy(panel + (k * nr + r) * sizeof(Element), rows[r] + k * sizeof(Element),
                  sizeof(Element));
    }
  }
}

template <class Format>
constexpr FormatInfo describe(const char* name) {
  if constexpr (is_float_v<Format>) {
    return {name, 1, sizeof(typename Format::Element), false, false};
  } else if constexpr (std::is_void_v<typename Format::Source>) {
    return {name, Format::kBlock, 0, true, false};
  } else {
    return {name, Format::kBlock, sizeof(typename Format::Source), !is_fp8_v<Format>,
            is_padded_v<Format>};
  }
}

constexpr FormatInfo kInfos[kFormatCount] = {describe<F32>("f32"), describe<F16>("f16"),
                                             describe<BF16>("bf16"), describe<Fp8>(Fp8::kName),
#define FTLLM_INFO(id, Format) describe<Format>(Format::kName),
                                             FTLLM_BLOCK_FORMATS(FTLLM_INFO)
#undef FTLLM_INFO
};

int64_t padded(int64_t columns, int block) { return blocks_of(columns, block) * block; }

}  // namespace

const FormatInfo& format_info(FormatId format) { return kInfos[static_cast<int>(format)]; }

FormatId parse_format(std::string_view name) {
  std::string known;
  for (int i = 0; i < kFormatCount; ++i) {
    if (name == kInfos[i].name) return static_cast<FormatId>(i);
    known += (i == 0 ? "" : ", ") + std::string(kInfos[i].name);
  }
  throw Error(Error::Kind::kUnsupportedModel,
              "weight format '" + std::string(name) + "' is not supported; supported are " + known);
}

size_t panel_bytes(FormatId format, int nr, int64_t columns) {
  return visit_format(format, [&]<class Format>(Format) -> size_t {
    if constexpr (is_float_v<Format>) {
      return static_cast<size_t>(columns) * nr * sizeof(typename Format::Element);
    } else if constexpr (is_fp8_v<Format>) {
      return blocks_of(columns, Fp8::kBlock) * fp8_record_bytes(nr);
    } else {
      return blocks_of(columns, Format::kBlock) * record_bytes<Format>(nr);
    }
  });
}

void pack_panel(FormatId target, FormatId source, const uint8_t* const* rows, int nr,
                int64_t columns, uint8_t* panel) {
  visit_format(target, [&]<class Target>(Target) {
    if constexpr (is_float_v<Target>) {
      if (target == source) {
        return interleave<typename Target::Element>(rows, nr, columns, panel);
      }
    } else {
      if constexpr (!std::is_void_v<typename Target::Source>) {
        if (target == source) {
          for (int r = 0; r < nr; ++r) {
            if (rows[r] != nullptr) pack_blocks<Target>(rows[r], columns, nr, r, panel);
          }
          return;
        }
      }
    }
    std::vector<float> values(static_cast<size_t>(padded(columns, 256)));
    for (int r = 0; r < nr; ++r) {
      if (rows[r] == nullptr) continue;
      visit_format(
          source, [&]<class Source>(Source) { read_row<Source>(rows[r], columns, values.data()); });
      pack_floats<Target>(values.data(), columns, nr, r, panel);
    }
  });
}

void unpack_row(FormatId format, const uint8_t* panel, int nr, int row, int64_t columns,
                float* out) {
  visit_format(format, [&]<class Format>(Format) {
    if constexpr (is_float_v<Format>) {
      for (int64_t k = 0; k < columns; ++k) {
        typename Format::Element element;
        std::memcpy(&element, panel + (k * nr + row) * sizeof element, sizeof element);
        out[k] = Format::load(element);
      }
    } else if constexpr (is_fp8_v<Format>) {
      for (int64_t k = 0; k < columns; ++k) {
        const uint8_t* record = panel + k / Fp8::kBlock * fp8_record_bytes(nr);
        float scale;
        std::memcpy(&scale, record + 4 * row, 4);
        out[k] = scale * fp8_to_float(record[(4 + k % Fp8::kBlock) * nr + row]);
      }
    } else {
      using Planes = CodePlanes<Format::kBits>;
      for (int64_t k = 0; k < columns; ++k) {
        const uint8_t* record = panel + k / Format::kBlock * record_bytes<Format>(nr);
        const int column = static_cast<int>(k % Format::kBlock);
        const uint8_t* scales = record + Format::kBlock / 32 * Planes::bytes(nr);
        const GroupScale group = Format::Scales::get(scales, nr, row, column / Format::kGroup);
        const int code =
            Planes::get(record + column / 32 * Planes::bytes(nr), nr, row, column % 32);
        out[k] = group.scale * static_cast<float>(Operands<Format>::value(code)) + group.min;
      }
    }
  });
}

}  // namespace ftllm
