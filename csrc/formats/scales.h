#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "formats/format.h"

// How a packed record stores the scales of its NR rows. Both kinds offer
//   bytes(nr)                 size in a record
//   put(to, nr, row, block)   writes one row's
//   get(from, nr, row, group, &scale, &min)   reads one back, the scalar truth
//   Loader<Isa>               the same for NR rows at once
namespace ftllm {

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

// A binary16 scale (and min) a row, times a byte for each of kGroups groups.
template <int kGroups, bool kSigned, bool kMin>
struct TwoLevelScales {
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
    return {super.scale * factor, -(super.min * min)};
  }

  template <class Isa>
  struct Loader {
    typename Isa::F super_scale;
    typename Isa::F super_min;
    const uint8_t* groups;

    explicit Loader(const uint8_t* from)
        : super_scale(Isa::load_f16(from)),
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

}  // namespace ftllm
