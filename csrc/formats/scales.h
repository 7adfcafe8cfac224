#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "formats/format.h"

// How a packed record stores the scales of its NR rows. Every kind offers
//   bytes(nr)                 size in a record
//   put(to, nr, row, block)   writes one row's
//   get(from, nr, row, group, &scale, &min)   reads one back, the scalar truth
//   Loader<Isa>               the same for NR rows at once
namespace ftllm {

// What Isa::load_fp8 must be multiplied with: it reads E4M3 as a binary16 of the same bits.
constexpr float kFp8Factor = 256.0f;

struct GroupScale {
  float scale;
  float min;
};

// One binary16 scale a row, and a binary16 min when kMin.
template <bool kMin>
struct FlatScales {
  static constexpr bool kHasMin = kMin;

  static constexpr size_t bytes(int nr) { return (kMin ? 4 : 2) * static_cast<size_t>(nr); }

  static void put(uint8_t* to, int nr, int row, const DecodedBlock& block) {
    std::memcpy(to + 2 * row, &block.scale, 2);
    if (kMin) std::memcpy(to + 2 * (nr + row), &block.min, 2);
  }

  static GroupScale get(const uint8_t* from, int nr, int row, int /*group*/) {
    uint16_t scale;
    uint16_t min = 0;
    std::memcpy(&scale, from + 2 * row, 2);
    if (kMin) std::memcpy(&min, from + 2 * (nr + row), 2);
    return {half_to_float(scale), half_to_float(min)};
  }

  template <class Isa>
  struct Loader {
    typename Isa::F scales;
    typename Isa::F mins;

    explicit Loader(const uint8_t* from)
        : scales(Isa::load_f16(from)),
          mins(kMin ? Isa::load_f16(from + 2 * Isa::kLanes) : Isa::zero()) {}
    typename Isa::F scale(int /*group*/) const { return scales; }
    typename Isa::F min(int /*group*/) const { return mins; }
  };
};

// A binary16 scale (and min) a row, times a byte for each of kGroups groups, times 2^−kShift.
template <int kGroups, bool kSigned, bool kMin, int kShift = 0>
struct TwoLevelScales {
  static constexpr float kFactor = 1.0f / (1 << kShift);
  static constexpr bool kHasMin = kMin;

  static constexpr size_t bytes(int nr) {
    return (kMin ? 2 : 1) * static_cast<size_t>(kGroups + 2) * nr;
  }

  static void put(uint8_t* to, int nr, int row, const DecodedBlock& block) {
    std::memcpy(to + 2 * row, &block.scale, 2);
    if (kMin) std::memcpy(to + 2 * (nr + row), &block.min, 2);
    uint8_t* groups = to + (kMin ? 4 : 2) * nr;
    for (int g = 0; g < kGroups; ++g) {
      groups[g * nr + row] = block.group_scale[g];
      if (kMin) groups[(kGroups + g) * nr + row] = block.group_min[g];
    }
  }

  static GroupScale get(const uint8_t* from, int nr, int row, int group) {
    const GroupScale super = FlatScales<kMin>::get(from, nr, row, 0);
    const uint8_t* groups = from + (kMin ? 4 : 2) * nr;
    const uint8_t byte = groups[group * nr + row];
    const float factor = kSigned ? static_cast<float>(static_cast<int8_t>(byte)) : byte;
    const float min = kMin ? groups[(kGroups + group) * nr + row] : 0.0f;
    return {super.scale * kFactor * factor, -(super.min * min)};
  }

  template <class Isa>
  struct Loader {
    typename Isa::F super_scale;
    typename Isa::F super_min;
    const uint8_t* groups;

    explicit Loader(const uint8_t* from)
        : super_scale(kShift == 0 ? Isa::load_f16(from)
                                  : Isa::mul(Isa::load_f16(from), Isa::set1(kFactor))),
          super_min(kMin ? Isa::sub(Isa::zero(), Isa::load_f16(from + 2 * Isa::kLanes))
                         : Isa::zero()),
          groups(from + (kMin ? 4 : 2) * Isa::kLanes) {}
    typename Isa::F scale(int group) const {
      const uint8_t* at = groups + group * Isa::kLanes;
      if constexpr (kSigned) return Isa::mul(super_scale, Isa::load_i8(at));
      return Isa::mul(super_scale, Isa::load_u8(at));
    }
    typename Isa::F min(int group) const {
      return Isa::mul(super_min, Isa::load_u8(groups + (kGroups + group) * Isa::kLanes));
    }
  };
};

// A binary16 scale and min a row, times four bits each for kGroups groups: the scale's in the low
// nibble of a byte, the min's in the high one.
template <int kGroups>
struct NibbleScales {
  static constexpr bool kHasMin = true;

  static constexpr size_t bytes(int nr) { return static_cast<size_t>(kGroups + 4) * nr; }

  static void put(uint8_t* to, int nr, int row, const DecodedBlock& block) {
    FlatScales<true>::put(to, nr, row, block);
    for (int g = 0; g < kGroups; ++g) {
      to[(4 + g) * nr + row] = static_cast<uint8_t>(block.group_scale[g] | block.group_min[g] << 4);
    }
  }

  static GroupScale get(const uint8_t* from, int nr, int row, int group) {
    const GroupScale super = FlatScales<true>::get(from, nr, row, 0);
    const int byte = from[(4 + group) * nr + row];
    return {super.scale * static_cast<float>(byte & 15),
            -(super.min * static_cast<float>(byte >> 4))};
  }

  template <class Isa>
  struct Loader {
    typename Isa::F super_scale;
    typename Isa::F super_min;
    const uint8_t* groups;

    explicit Loader(const uint8_t* from)
        : super_scale(Isa::load_f16(from)),
          super_min(Isa::sub(Isa::zero(), Isa::load_f16(from + 2 * Isa::kLanes))),
          groups(from + 4 * Isa::kLanes) {}
    typename Isa::F scale(int group) const {
      const auto low = Isa::bit_and(Isa::widen_u8(groups + group * Isa::kLanes), Isa::set1_int(15));
      return Isa::mul(super_scale, Isa::to_float(low));
    }
    typename Isa::F min(int group) const {
      const auto high = Isa::shift_right(Isa::widen_u8(groups + group * Isa::kLanes), 4);
      return Isa::mul(super_min, Isa::to_float(high));
    }
  };
};

// A power of two a row: the byte e (in DecodedBlock::scale) stands for 2^(e − 128), half of what it
// does in OCP's E8M0, because codebooks of E2M1 hold doubled values. 0 counts as zero, 255 as
// infinity.
struct ExponentScales {
  static constexpr bool kHasMin = false;

  static constexpr size_t bytes(int nr) { return static_cast<size_t>(nr); }

  static void put(uint8_t* to, int /*nr*/, int row, const DecodedBlock& block) {
    to[row] = static_cast<uint8_t>(block.scale);
  }

  static GroupScale get(const uint8_t* from, int /*nr*/, int row, int /*group*/) {
    return {0.5f * bits_float(static_cast<uint32_t>(from[row]) << 23), 0.0f};
  }

  template <class Isa>
  struct Loader {
    typename Isa::F scales;

    explicit Loader(const uint8_t* from)
        : scales(
              Isa::mul(Isa::set1(0.5f), Isa::as_float(Isa::shift_left(Isa::widen_u8(from), 23)))) {}
    typename Isa::F scale(int /*group*/) const { return scales; }
    typename Isa::F min(int /*group*/) const { return Isa::zero(); }
  };
};

// A binary16 scale and an integer zero point (in DecodedBlock::min) a row: min = −scale · zero.
struct ZeroPointScales {
  static constexpr bool kHasMin = true;

  static constexpr size_t bytes(int nr) { return 3 * static_cast<size_t>(nr); }

  static void put(uint8_t* to, int nr, int row, const DecodedBlock& block) {
    std::memcpy(to + 2 * row, &block.scale, 2);
    to[2 * nr + row] = static_cast<uint8_t>(block.min);
  }

  static GroupScale get(const uint8_t* from, int nr, int row, int /*group*/) {
    const float scale = FlatScales<false>::get(from, nr, row, 0).scale;
    return {scale, -(scale * static_cast<float>(from[2 * nr + row]))};
  }

  template <class Isa>
  struct Loader {
    typename Isa::F scales;
    typename Isa::F mins;

    explicit Loader(const uint8_t* from)
        : scales(Isa::load_f16(from)),
          mins(Isa::mul(Isa::sub(Isa::zero(), scales), Isa::load_u8(from + 2 * Isa::kLanes))) {}
    typename Isa::F scale(int /*group*/) const { return scales; }
    typename Isa::F min(int /*group*/) const { return mins; }
  };
};

// A float32 scale a row (DecodedBlock::wide_scale), times an E4M3 byte for each of kGroups groups,
// halved because codebooks of E2M1 hold doubled values.
template <int kGroups>
struct Fp8Scales {
  static constexpr bool kHasMin = false;

  static constexpr size_t bytes(int nr) { return static_cast<size_t>(kGroups + 4) * nr; }

  static void put(uint8_t* to, int nr, int row, const DecodedBlock& block) {
    std::memcpy(to + 4 * row, &block.wide_scale, 4);
    for (int g = 0; g < kGroups; ++g) to[(4 + g) * nr + row] = block.group_scale[g];
  }

  static GroupScale get(const uint8_t* from, int nr, int row, int group) {
    float wide;
    std::memcpy(&wide, from + 4 * row, 4);
    return {0.5f * wide * fp8_to_float(from[(4 + group) * nr + row]), 0.0f};
  }

  template <class Isa>
  struct Loader {
    typename Isa::F super;
    const uint8_t* groups;

    explicit Loader(const uint8_t* from)
        : super(Isa::mul(Isa::load(reinterpret_cast<const float*>(from)),
                         Isa::set1(0.5f * kFp8Factor))),
          groups(from + 4 * Isa::kLanes) {}
    typename Isa::F scale(int group) const {
      return Isa::mul(super, Isa::load_fp8(groups + group * Isa::kLanes));
    }
    typename Isa::F min(int /*group*/) const { return Isa::zero(); }
  };
};

}  // namespace ftllm
