#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace ftllm {

// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection whose output bits all depend
// on all input bits.
inline uint64_t mix_bits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// Of `bytes` bytes, against accidents and not against attackers: about as fast as memory is read.
// Each step is a bijection of its lane, so a change within one word of 8 bytes is always seen; the
// second product spreads a change of a word's high bits, which few bits of the next could undo
// else.
inline uint64_t checksum(const uint8_t* data, int64_t bytes) {
  constexpr int kLanes = 4;  // independent, to hide the multiplication's latency
  constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;
  uint64_t lanes[kLanes] = {1, 2, 3, 4};
  const auto add = [&](int lane, const uint8_t* from, size_t count) {
    uint64_t word = 0;
    std::memcpy(&word, from, count);
    lanes[lane] = std::rotl((lanes[lane] ^ word) * kFactor, 29) * kFactor;
  };
  int64_t at = 0;
  for (; at + 8 * kLanes <= bytes; at += 8 * kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) add(lane, data + at + 8 * lane, 8);
  }
  for (int lane = 0; at < bytes; at += 8, ++lane) {
    add(lane, data + at, static_cast<size_t>(bytes - at < 8 ? bytes - at : 8));
  }
  uint64_t sum = static_cast<uint64_t>(bytes);
  for (const uint64_t lane : lanes) sum = mix_bits(sum ^ lane);
  return sum;
}

}  // namespace ftllm
