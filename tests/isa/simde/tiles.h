#pragma once

// AMX's tile registers and the instructions of the int8 kernels, after the Intel SDM. What would
// raise an exception there (no configuration, operands that do not fit) ends the process here.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ftllm_emulated {

struct Tile {
  int rows = 0;
  int row_bytes = 0;
  uint8_t bytes[16][64];
};

inline thread_local Tile tiles[8];
inline thread_local bool tiles_configured = false;

inline void require_tiles(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "AMX: %s\n", what);
  std::abort();
}

inline void tile_release() {
  for (Tile& tile : tiles) tile = {};
  tiles_configured = false;
}

inline void tile_loadconfig(const void* config) {
  uint8_t bytes[64];
  std::memcpy(bytes, config, sizeof bytes);
  require_tiles(bytes[0] == 1, "the palette must be 1");
  for (int i = 2; i < 16; ++i) require_tiles(bytes[i] == 0, "reserved bytes must be 0");
  tile_release();
  for (int i = 0; i < 8; ++i) {
    uint16_t row_bytes;
    std::memcpy(&row_bytes, bytes + 16 + 2 * i, 2);
    require_tiles(row_bytes <= 64 && bytes[48 + i] <= 16, "tiles have 16 rows of 64 bytes");
    require_tiles((row_bytes == 0) == (bytes[48 + i] == 0), "a tile has both sizes or none");
    tiles[i].row_bytes = row_bytes;
    tiles[i].rows = bytes[48 + i];
  }
  tiles_configured = true;
}

inline Tile& configured_tile(int number) {
  require_tiles(tiles_configured && tiles[number].rows > 0, "the tile is not configured");
  return tiles[number];
}

inline void tile_zero(int number) {
  std::memset(configured_tile(number).bytes, 0, sizeof tiles[number].bytes);
}

inline void tile_loadd(int number, const void* base, int64_t stride) {
  tile_zero(number);
  Tile& tile = tiles[number];
  for (int r = 0; r < tile.rows; ++r) {
    std::memcpy(tile.bytes[r], static_cast<const uint8_t*>(base) + r * stride,
                static_cast<size_t>(tile.row_bytes));
  }
}

inline void tile_stored(int number, void* base, int64_t stride) {
  const Tile& tile = configured_tile(number);
  for (int r = 0; r < tile.rows; ++r) {
    std::memcpy(static_cast<uint8_t*>(base) + r * stride, tile.bytes[r],
                static_cast<size_t>(tile.row_bytes));
  }
}

// sum[m][n] += Σ_k a[m][k] · b[k / 4][4n + k mod 4], signed bytes.
inline void tile_dpbssd(int sum_number, int a_number, int b_number) {
  Tile& sum = configured_tile(sum_number);
  const Tile& a = configured_tile(a_number);
  const Tile& b = configured_tile(b_number);
  require_tiles(sum.rows == a.rows && sum.row_bytes == b.row_bytes && a.row_bytes == 4 * b.rows,
                "the operands of TDPBSSD do not fit");
  for (int m = 0; m < a.rows; ++m) {
    for (int n = 0; n < b.row_bytes / 4; ++n) {
      int32_t total;
      std::memcpy(&total, sum.bytes[m] + 4 * n, 4);
      for (int k = 0; k < a.row_bytes; ++k) {
        total +=
            static_cast<int8_t>(a.bytes[m][k]) * static_cast<int8_t>(b.bytes[k / 4][4 * n + k % 4]);
      }
      std::memcpy(sum.bytes[m] + 4 * n, &total, 4);
    }
  }
}

}  // namespace ftllm_emulated

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbssd
#define _tile_loadconfig(config) ftllm_emulated::tile_loadconfig(config)
#define _tile_release() ftllm_emulated::tile_release()
#define _tile_loadd(tile, base, stride) ftllm_emulated::tile_loadd(tile, base, stride)
#define _tile_stored(tile, base, stride) ftllm_emulated::tile_stored(tile, base, stride)
#define _tile_zero(tile) ftllm_emulated::tile_zero(tile)
#define _tile_dpbssd(sum, a, b) ftllm_emulated::tile_dpbssd(sum, a, b)
