// The pixel losses of primitive/pixel.py, one element at a time and without branches, so that loops over them vectorise.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

constexpr float FINITE = 1e30f;  // see pixel.FINITE
constexpr float TINY = 1.17549435e-38f;  // the smallest normal number

inline float from_bits(int32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline int32_t to_bits(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

// e^x for x <= 0, relative error below 2e-7; 0 below the smallest normal number, as smaller ones are slow to use
inline float exp_neg(float x) {
  constexpr float SHIFT = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  float limited = x < -104.0f ? -104.0f : x;  // NaN stays NaN
  float shifted = limited * 1.44269504f + SHIFT;
  float whole = shifted - SHIFT;
  float rest = (limited - whole * 0.693145751953125f) - whole * 1.42860677e-6f;  // log 2 in two parts
  float q = 0.0013888867f;  // minimax fit of (e^x - 1) / x
  q = q * rest + 0.0083690685f;
  q = q * rest + 0.0416671363f;
  q = q * rest + 0.166665062f;
  q = q * rest + 0.499999981f;
  q = q * rest + 1.0f;
  int32_t exponent = to_bits(shifted) - to_bits(SHIFT) + 127;
  return (q * rest + 1.0f) * from_bits(exponent < 1 ? 0 : int32_t(uint32_t(exponent) << 23));
}

// log(1 + x) for 0 <= x <= 1, relative error below 2e-7
inline float log1p_unit(float x) {
  float q = -0.00324395947f;  // minimax fit of log(1 + x) / x
  q = q * x + 0.0198511664f;
  q = q * x - 0.0569589786f;
  q = q * x + 0.106035986f;
  q = q * x - 0.153055594f;
  q = q * x + 0.196759277f;
  q = q * x - 0.249541314f;
  q = q * x + 0.333299622f;
  q = q * x - 0.499999024f;
  q = q * x + 0.999999995f;
  return q * x;
}

// log x for normal x >= 1, or x = TINY
inline float log_scale(float x) {
  int32_t bits = to_bits(x);
  float mantissa = from_bits((bits & 0x7fffff) | 0x3f800000);
  return float((bits >> 23) - 127) * 0.693147181f + log1p_unit(mantissa - 1.0f);
}

struct Parts {  // see pixel.Parts
  float margin, p, u, nll, log_u;
};

inline Parts split(float margin) {
  float small = exp_neg(margin > 0 ? -margin : margin);
  float larger = 1.0f / (1.0f + small);
  float smaller = small * larger;
  float rest = log1p_unit(small);
  bool wrong = margin > 0;
  float limited = margin < -FINITE ? -FINITE : margin;
  return {margin, wrong ? smaller : larger, wrong ? larger : smaller, (wrong ? margin : 0.0f) + rest,
          (wrong ? 0.0f : limited) - rest};
}

enum Form { FOCAL, KNEE, TAIL, POLY, REDUCED, CONVEX };  // in the order of curve.FORMS
constexpr int ANY = -1;  // gamma is not one of 0, 1, 2, 3

template <int POWER>
inline float modulation(const Parts& s, float gamma) {
  if constexpr (POWER == 0) return 1.0f;
  if constexpr (POWER == 1) return s.u;
  if constexpr (POWER == 2) return s.u * s.u;
  if constexpr (POWER == 3) return s.u * s.u * s.u;
  return exp_neg(gamma * s.log_u);
}

// weight * value of a loss, 0 for weight 0 even where the loss is infinite; a NaN stays one
inline float part(float weight, float value) {
  return weight * ((weight == 0.0f) & (value == INFINITY) ? 0.0f : value);
}

struct Found {
  float loss, slope, factor;
};

// rates: gamma, then what the form adds; see curve.curve and the functions of pixel.py
template <Form FORM, int POWER>
inline Found pixel_loss(const Parts& s, float gamma, float a, float b, float c) {
  float factor = modulation<POWER>(s, gamma);
  float scaled = FORM == REDUCED ? factor / exp_neg(gamma * b) : factor;
  float pull = gamma * (s.p * (s.nll > FINITE ? FINITE : s.nll));
  float loss = scaled * s.nll;
  float slope = scaled * (s.u + pull);
  bool hard = s.margin > a;
  if constexpr (FORM == POLY) {
    float extra = a * (factor * s.u);
    return {loss + extra, slope + (gamma + 1.0f) * (s.p * extra), factor};
  }
  if constexpr (FORM == TAIL)
    return {part(a, s.nll) + part(1.0f - a, loss), a * s.u + (1.0f - a) * slope, factor};
  if constexpr (FORM == KNEE) return {hard ? loss + c : b * s.nll, hard ? slope : b * s.u, factor};
  if constexpr (FORM == REDUCED) return {hard ? s.nll : loss, hard ? s.u : slope, factor};
  if constexpr (FORM == CONVEX) {
    Parts steep = split(gamma * s.margin - a);
    return {part(b, s.nll) + part(1.0f - b, steep.nll / gamma), b * s.u + (1.0f - b) * steep.u, factor};
  }
  return {loss, slope, factor};
}
