#pragma once

#include <cstdint>

#include "kernels/table.h"

// Loops that do nothing but use the machine as hard as one ISA can: what kernels are compared with.
// Every step depends on the one before in its chain, so that none can be left out or moved; there
// are enough chains to hide the latency and few enough to stay in registers.
namespace ftllm {

constexpr int kFloatChains = 12;
constexpr int kIntChains = 10;

template <class Isa>
int64_t float_limit(int64_t rounds, float* sink) noexcept {
  typename Isa::F acc[kFloatChains];
  const auto factor = Isa::set1(0.999f);
  const auto term = Isa::set1(0.001f);
  for (int i = 0; i < kFloatChains; ++i) acc[i] = Isa::set1(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kFloatChains; ++i) acc[i] = Isa::fma(acc[i], factor, term);
  }
  for (int i = 1; i < kFloatChains; ++i) acc[0] = Isa::add(acc[0], acc[i]);
  Isa::store(sink, acc[0]);
  return rounds * kFloatChains * Isa::kLanes * 2;
}

// acc += u8 · s8 over quads of bytes, by Isa::dot_bytes; with 16-bit sums over `kSteps` codes of 4
// bits by Isa::dot_nibbles where an ISA has it.
template <class Isa, bool kNibbles>
int64_t int_limit(int64_t rounds, float* sink) noexcept {
  constexpr int kSteps = kNibbles ? 8 : 1;
  typename Isa::I acc[kIntChains];
  const auto codes = Isa::set1_byte(3);
  for (int i = 0; i < kIntChains; ++i) acc[i] = Isa::set1_int(i + 1);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 10
    for (int i = 0; i < kIntChains; ++i) {
      if constexpr (kNibbles) {
        acc[i] = Isa::dot_nibbles(acc[i], codes);
      } else {
        acc[i] = Isa::dot_bytes(acc[i], codes, acc[i]);
      }
    }
  }
  auto sum = Isa::izero();
  for (int i = 0; i < kIntChains; ++i) sum = Isa::bit_or(sum, acc[i]);
  Isa::store(sink, Isa::to_float(sum));
  return rounds * kIntChains * kSteps * Isa::kLanes * 4 * 2;
}

// What codes of fewer than 8 bits can reach.
template <class Isa>
int64_t nibble_limit(int64_t rounds, float* sink) noexcept {
  constexpr bool kNibbles = requires(typename Isa::I x) { Isa::dot_nibbles(x, x); };
  return int_limit<Isa, kNibbles>(rounds, sink);
}

// Reads `bytes` (rounded down to whole steps) and does as little with them as it may.
template <class Isa>
void read_limit(const uint8_t* data, int64_t bytes, float* sink) noexcept {
  constexpr int kStreams = 8;
  constexpr int64_t kVector = 4 * Isa::kLanes;
  typename Isa::I acc[kStreams];
  for (int i = 0; i < kStreams; ++i) acc[i] = Isa::izero();
  for (int64_t at = 0; at + kStreams * kVector <= bytes; at += kStreams * kVector) {
#pragma GCC unroll 8
    for (int i = 0; i < kStreams; ++i) {
      acc[i] = Isa::bit_or(acc[i], Isa::load_bytes(data + at + i * kVector));
    }
  }
  for (int i = 1; i < kStreams; ++i) acc[0] = Isa::bit_or(acc[0], acc[i]);
  Isa::store(sink, Isa::to_float(acc[0]));
}

}  // namespace ftllm
