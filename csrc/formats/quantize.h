#pragma once

#include <cstdint>

#include "formats/format.h"

// From float to a block format. Each fills `block` from x[0 .. columns); columns are a multiple of
// 16. Where codes are few, the scale (and min) come from a search: for each of several ranges near
// that of x, and then for the best fit, the codes are assigned and a least-squares fit made of
// them, weighted by rms(x) + |x|; the best fit wins. A value that is not finite, or too large for a
// binary16 scale, makes the block's values infinite or NaN.
namespace ftllm {

// code = round(x / scale) + offset with |x / scale| at most `limit`; scale = max|x| / limit.
void quantize_symmetric(const float* x, int columns, int limit, int offset, DecodedBlock& block);

// value = scale · (code − offset), codes 0 to 2 · offset − 1; the scale is searched and may be
// negative.
void quantize_signed(const float* x, int columns, int offset, DecodedBlock& block);

// value = scale · code + min, codes 0 to `top`; both are searched.
void quantize_affine(const float* x, int columns, int top, DecodedBlock& block);

// value = scale · (code − zero), codes and zero 0 to 15; the zero is in block.min.
void quantize_zero_point(const float* x, int columns, DecodedBlock& block);

// 256 columns in groups of `group` whose scales and mins are multiples, 0 to `limit`, of one
// binary16 pair; mins are not above zero.
void quantize_affine_two_level(const float* x, int group, int top, int limit, DecodedBlock& block);

// 256 columns in groups of 16 whose scales are int8 multiples of one binary16 scale.
void quantize_signed_two_level(const float* x, int offset, DecodedBlock& block);

// The code whose value in a codebook is nearest to a number.
class NearestCode {
 public:
  // The first `codes` entries of `book`.
  NearestCode(const Codebook& book, int codes);

  uint8_t code(float value) const;
  float value(float value) const { return book_.values[code(value)]; }
  float lowest() const { return lowest_; }

  // From `border` on, `value` is nearer than the values before it.
  struct Step {
    float border;
    float value;
  };
  // Step i of step_count(), in rising order; together with lowest(), every value.
  const Step& step(int i) const { return steps_[i]; }
  int step_count() const { return step_count_; }

 private:
  Codebook book_;
  float lowest_ = 0.0f;
  Step steps_[15];
  int step_count_ = 0;
  uint8_t nearest_[513];  // of the numbers from (i − 256) / 2 to (i − 255) / 2
};

// value = scale · book[code]; the scale is searched.
void quantize_codebook(const float* x, int columns, const NearestCode& book, DecodedBlock& block);

// 256 columns in groups of `group` whose scales are multiples, −127 to 127, of one binary16 scale
// times `factor`. With `positive` scales, 0 to 127.
void quantize_codebook_two_level(const float* x, int group, const NearestCode& book, bool positive,
                                 float factor, DecodedBlock& block);

// value = 2^(e − 128) · book[code] for the e of least squared error; e is in block.scale.
void quantize_exponent(const float* x, int columns, const NearestCode& book, DecodedBlock& block);

// 256 columns in groups of 16, each with an E4M3 scale: value = wide_scale / 2 · group_scale ·
// book[code].
void quantize_fp8_scales(const float* x, const NearestCode& book, DecodedBlock& block);

}  // namespace ftllm
