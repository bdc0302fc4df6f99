// Tensors of any dtype and any strides, read and written in short runs of pixels as float32.
#pragma once

#include <cstdint>

#include "pixel.h"

constexpr int AXES = 4;  // axes of space, after those that lie in one run have been merged

enum Dtype { FLOAT32, BFLOAT16, FLOAT16, FLOAT64, UINT8, INT8, INT16, INT32, INT64 };  // as in call.DTYPES

struct View {  // strides in elements; data is null where there is no tensor
  void* data;
  int64_t dtype, image, channel, space[AXES];
};

struct Size {
  int64_t images, channels, axes, space[AXES];
};

struct Bf16 { uint16_t bits; };
struct Half { uint16_t bits; };

template <class T> inline float to_float(T value) { return float(value); }
inline float to_float(Bf16 value) { return from_bits(int32_t(uint32_t(value.bits) << 16)); }

inline float to_float(Half value) {
  uint32_t bits = value.bits;
  float size = from_bits(int32_t((bits & 0x7fff) << 13)) * 5.192296858534828e33f;  // 2^112, denormals included
  uint32_t found = (bits & 0x7c00) == 0x7c00 ? (0x7f800000u | (bits & 0x3ff) << 13) : uint32_t(to_bits(size));
  return from_bits(int32_t(found | (bits & 0x8000) << 16));
}

template <class T> inline float wide(T value) { return to_float(value); }
inline double wide(double value) { return value; }

inline void from_float(float value, float& out) { out = value; }
inline void from_float(float value, double& out) { out = value; }

inline void from_float(float value, Bf16& out) {  // to the nearest, ties to even
  uint32_t bits = uint32_t(to_bits(value));
  out.bits = value != value ? 0x7fc0 : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline void from_float(float value, Half& out) {
  uint32_t bits = uint32_t(to_bits(value)), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  uint32_t normal = (size - (112u << 23) + 0xfff + (size >> 13 & 1)) >> 13;
  uint32_t denormal = uint32_t(to_bits(from_bits(int32_t(size)) + 0.5f)) - uint32_t(to_bits(0.5f));
  uint32_t found = size < 113u << 23 ? denormal : normal;
  found = size >= 0x477ff000 ? 0x7c00 : found;  // 65520 and more round to infinity
  out.bits = uint16_t(sign | (size > 0x7f800000 ? 0x7e00 : found));
}

// Calls body(first, offset, length) for every run of pixels along the innermost axis: first counts from
// begin, offset is that of the view's element.
template <class Body>
inline void runs(const Size& size, const View& view, int64_t base, int64_t begin, int64_t count, Body body) {
  int last = int(size.axes) - 1;
  for (int64_t done = 0; done < count;) {
    int64_t rest = begin + done, offset = base, inner = rest % size.space[last];
    rest /= size.space[last];
    for (int axis = last - 1; axis >= 0; --axis) {
      offset += rest % size.space[axis] * view.space[axis];
      rest /= size.space[axis];
    }
    int64_t length = size.space[last] - inner;
    if (length > count - done) length = count - done;
    body(done, offset + inner * view.space[last], length);
    done += length;
  }
}

// Asks for what the next run will need while this one is computed with.
inline void ahead(const void* next, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(static_cast<const char*>(next) + at);
}

// Reads or writes pixels of one image and channel: step(i, element) for every pixel i.
template <class T, class Step>
inline void each(const Size& size, const View& view, int64_t n, int64_t c, int64_t begin, int64_t count, Step step) {
  int64_t stride = view.space[size.axes - 1];
  T* data = static_cast<T*>(view.data);
  runs(size, view, n * view.image + c * view.channel, begin, count,
       [=](int64_t first, int64_t offset, int64_t length) {
         if (stride == 1) {
           ahead(data + offset + length, length * int64_t(sizeof(T)));
#pragma omp simd
           for (int64_t i = 0; i < length; ++i) step(first + i, data[offset + i]);
         } else {
           for (int64_t i = 0; i < length; ++i) step(first + i, data[offset + i * stride]);
         }
       });
}

// Picks the element's type: call(T{}) with a value of it.
template <class Call>
inline void with_type(int64_t dtype, Call call) {
  switch (dtype) {
    case FLOAT32: return call(float{});
    case BFLOAT16: return call(Bf16{});
    case FLOAT16: return call(Half{});
    case FLOAT64: return call(double{});
    case UINT8: return call(uint8_t{});
    case INT8: return call(int8_t{});
    case INT16: return call(int16_t{});
    case INT32: return call(int32_t{});
    default: return call(int64_t{});
  }
}

inline void load(const Size& size, const View& view, int64_t n, int64_t c, int64_t begin, int64_t count, float* out) {
  with_type(view.dtype, [&](auto kind) {
    using T = decltype(kind);
    each<T>(size, view, n, c, begin, count, [out](int64_t i, T& value) { out[i] = to_float(value); });
  });
}

inline void store(const Size& size, const View& view, int64_t n, int64_t c, int64_t begin, int64_t count,
                  const float* values) {
  switch (view.dtype) {
    case BFLOAT16:
      return each<Bf16>(size, view, n, c, begin, count, [=](int64_t i, Bf16& out) { from_float(values[i], out); });
    case FLOAT16:
      return each<Half>(size, view, n, c, begin, count, [=](int64_t i, Half& out) { from_float(values[i], out); });
    default:
      return each<float>(size, view, n, c, begin, count, [=](int64_t i, float& out) { out = values[i]; });
  }
}
