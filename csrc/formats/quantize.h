#pragma once

#include "formats/format.h"

// From float to a block format: the four shapes of codes and scales there are. Each fills `block`
// from x[0 .. columns).
namespace ftllm {

// code = round(x / scale) + offset with |x / scale| at most `limit`.
void quantize_symmetric(const float* x, int columns, int limit, int offset, DecodedBlock& block);

// Like quantize_symmetric, but the value of largest magnitude takes the code 0, so that the full
// range of −offset to offset − 1 is used.
void quantize_extreme(const float* x, int columns, int offset, DecodedBlock& block);

// code = round((x − min) / scale) from 0 to `top`.
void quantize_affine(const float* x, int columns, int top, DecodedBlock& block);

// 256 columns in groups of 32 whose scales and mins are 6-bit multiples of one binary16 pair.
void quantize_affine_two_level(const float* x, int top, DecodedBlock& block);

// 256 columns in groups of 16 whose scales are int8 multiples of one binary16 scale.
void quantize_symmetric_two_level(const float* x, int offset, DecodedBlock& block);

}  // namespace ftllm
