// One call of the backend, and the memory that a thread computes in.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <type_traits>
#include <vector>

#include "views.h"

// in the order of fields.FIELDS
enum Field { LOSS, INTERSECTION, PREDICTION, PREDICTION_SQUARED, MODULATION, WEIGHT, TARGET, TARGET_SQUARED, COUNT,
             TP, FP, FN, INVALID, FIELDS };
enum Step { SUMS, GRADIENT, VALUES };

struct Call {  // filled by call.py, in this order
  Size size;
  View logits, target, weight, out, pull;  // out: gradient or map; pull: gradient that arrives at a map
  int64_t step, sigmoid, masks, soft, has_ignore, ignore, form, power, columns, threads;
  int64_t column[FIELDS], widths[2];  // place of each field among the sums, -1 where not wanted
  double smoothing;  // negative where there is none
  const float* curve;  // (rows of the form, columns)
  const float* alpha;  // (C) or null
  const float* upstream;  // (N, C, widths[0]): gradient by the sums
  double* floats;  // (N, C, widths[0])
  int64_t* ints;   // (N, C, widths[1])

  bool wants(Field field) const { return column[field] >= 0; }
  bool wants_region() const { return wants(INTERSECTION) || wants(PREDICTION) || wants(PREDICTION_SQUARED); }
  float up(Field field, int64_t n, int64_t c, int64_t side = 0) const {
    return upstream && wants(field) ? upstream[(n * size.channels + c) * widths[0] + column[field] + side] : 0.0f;
  }
};

constexpr int64_t SPAN = 1 << 14;  // pixels a thread takes at a time: fixed, so that sums never depend on threads
constexpr int64_t SHORTEST = 1 << 7, TASK = 1 << 17;  // shorter where a span would hold more logits than this
constexpr int64_t IGNORED = -1, NO_LABEL = -2;
constexpr int ROWS[] = {1, 4, 2, 2, 3, 3};  // as curve.ROWS, in the order of Form

inline int64_t pixels_of(const Size& size) {
  int64_t count = 1;
  for (int64_t axis = 0; axis < size.axes; ++axis) count *= size.space[axis];
  return count;
}

// Pixels of a span: all classes of a pixel are one task, but under sigmoid.
inline int64_t span_of(const Call& call) {
  int64_t span = SPAN;
  while (!call.sigmoid && span > SHORTEST && span * call.size.channels > TASK) span /= 2;
  return span;
}

// Pixels of a block that holds so many planes.
inline int64_t run_of(int64_t planes) { return std::clamp<int64_t>(4096 / planes, 64, 512) / 64 * 64; }

// A run of pixels of one image: short enough that all its arrays stay in the processor's cache.
struct Block {
  const Call& call;
  double* floats = nullptr;  // where this run's sums go: (C, widths[0])
  int64_t* ints = nullptr;   // (C, widths[1])
  int64_t length;  // room
  int64_t n = 0, begin = 0, count = 0;
  std::vector<std::unique_ptr<float[], decltype(&std::free)>> memory;
  float *weight, *margin, *p, *u, *value, *slope, *factor, *rate[4];
  int32_t* label;

  Block(const Call& c, int64_t pixels) : call(c), length(pixels) {
    for (float** array : {&weight, &margin, &p, &u, &value, &slope, &factor}) *array = room(1);
    for (float*& array : rate) array = room(1);
    label = reinterpret_cast<int32_t*>(room(1));
    fill_rates(0);
  }

  float* room(int64_t planes) {
    int64_t places = (planes * length + 15) / 16 * 16;
    memory.emplace_back(static_cast<float*>(std::aligned_alloc(64, size_t(places) * sizeof(float))), &std::free);
    std::fill_n(memory.back().get(), places, 0.0f);
    return memory.back().get();
  }

  void fill_rates(int64_t c) {
    int64_t column = call.columns == 1 ? 0 : c;
    for (int k = 0; k < ROWS[call.form]; ++k) std::fill_n(rate[k], length, call.curve[k * call.columns + column]);
  }

  void load_logits(int64_t c, float* x) const { load(call.size, call.logits, n, c, begin, count, x); }
  void write(int64_t c, const float* values) const { store(call.size, call.out, n, c, begin, count, values); }

  bool load_weight(int64_t c) const {
    if (call.weight.data) load(call.size, call.weight, n, c, begin, count, weight);
    return call.weight.data;
  }

  // label, or IGNORED, or NO_LABEL
  void load_labels(int32_t* out) const {
    with_type(call.target.dtype, [&](auto kind) {
      using T = decltype(kind);
      using Whole = std::conditional_t<sizeof(T) < 8, int32_t, int64_t>;
      if constexpr (std::is_integral_v<T>) {
        bool has = call.has_ignore;
        Whole ignore = Whole(call.ignore), classes = Whole(call.size.channels);
        each<T>(call.size, call.target, n, 0, begin, count, [=](int64_t i, T& stored) {
          Whole v = Whole(stored);
          Whole checked = (v < 0) | (v >= classes) ? Whole(NO_LABEL) : v;
          out[i] = int32_t(has & (v == ignore) ? Whole(IGNORED) : checked);
        });
      }
    });
  }

  // share of the class, or IGNORED, or NO_LABEL where a hard mask is neither 0 nor 1 or a soft one outside [0, 1]
  void load_masks(int64_t c, float* out) const {
    with_type(call.target.dtype, [&](auto kind) {
      using T = decltype(kind);
      bool has = call.has_ignore;
      if constexpr (std::is_integral_v<T>) {
        using Whole = std::conditional_t<sizeof(T) < 8, int32_t, int64_t>;
        Whole ignore = Whole(call.ignore);
        each<T>(call.size, call.target, n, c, begin, count, [=](int64_t i, T& stored) {
          Whole v = Whole(stored);
          Whole checked = (v < 0) | (v > 1) ? Whole(NO_LABEL) : v;
          out[i] = float(int32_t(has & (v == ignore) ? Whole(IGNORED) : checked));
        });
      } else {
        using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;  // 1 + 1e-12 is no share
        Wide ignore = Wide(call.ignore);
        each<T>(call.size, call.target, n, c, begin, count, [=](int64_t i, T& stored) {
          Wide v = wide(stored);
          float checked = (v >= 0) & (v <= 1) ? float(v) : float(NO_LABEL);
          out[i] = has & (v == ignore) ? float(IGNORED) : checked;
        });
      }
    });
  }

  void add(Field field, int64_t c, double value, int64_t side = 0) const {
    floats[c * call.widths[0] + call.column[field] + side] += value;
  }
  void add_count(Field field, int64_t c, int64_t value, int64_t side = 0) const {
    ints[c * call.widths[1] + call.column[field] + side] += value;
  }
};

// Sums short runs of float or int32 in sixteen lanes: an array, as a vector type wider than the processor's is
// taken apart into the narrowest ones (AVX2: three times as slow).
template <class Value, class Term>
inline Value add_lanes(int64_t count, Term term) {
  constexpr int64_t WIDTH = 64 / sizeof(Value);
  alignas(64) Value total[WIDTH] = {};
  int64_t whole = count / WIDTH * WIDTH;
  for (int64_t i = 0; i < whole; i += WIDTH) {
#pragma omp simd
    for (int64_t j = 0; j < WIDTH; ++j) total[j] += term(i + j);
  }
  Value sum = 0;
  for (int64_t j = 0; j < WIDTH; ++j) sum += total[j];
  for (int64_t i = whole; i < count; ++i) sum += term(i);
  return sum;
}

// Of the values whose label is c; the rest may be anything.
inline float sum_of_label(int64_t count, const int32_t* label, int32_t c, const float* values) {
  return add_lanes<float>(count, [=](int64_t i) { return label[i] == c ? values[i] : 0.0f; });
}

template <class Term>
inline float sum(int64_t count, Term term) {
  return add_lanes<float>(count, term);
}

template <class Test>
inline int64_t tally(int64_t count, Test test) {
  return add_lanes<int32_t>(count, [=](int64_t i) { return test(i) ? 1 : 0; });
}

template <class Body>
inline void loop(int64_t count, Body body) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) body(i);
}

// Runs split and the pixel loss over a block's margins: p, u, and loss with factor, or slope.
template <Form FORM, int POWER>
void curve_loop(Block& b, const float* margin, bool slopes) {
  const float *g = b.rate[0], *x = b.rate[1], *y = b.rate[2], *z = b.rate[3];
  float *p = b.p, *u = b.u, *value = b.value, *slope = b.slope, *factor = b.factor;
  auto at = [=](int64_t i) {
    Parts parts = split(margin[i]);
    p[i] = parts.p;
    u[i] = parts.u;
    return pixel_loss<FORM, POWER>(parts, g[i], x[i], y[i], z[i]);
  };
  if (slopes)
    return loop(b.count, [=](int64_t i) { slope[i] = at(i).slope; });
  loop(b.count, [=](int64_t i) {
    Found found = at(i);
    value[i] = found.loss;
    factor[i] = found.factor;
  });
}

// Picks the loop of the form and of gamma.
inline void run_curve(Block& b, const float* margin, bool slopes) {
  switch (b.call.form) {
    case KNEE: return curve_loop<KNEE, ANY>(b, margin, slopes);
    case TAIL: return curve_loop<TAIL, ANY>(b, margin, slopes);
    case POLY: return curve_loop<POLY, ANY>(b, margin, slopes);
    case REDUCED: return curve_loop<REDUCED, ANY>(b, margin, slopes);
    case CONVEX: return curve_loop<CONVEX, ANY>(b, margin, slopes);
  }
  switch (b.call.power) {
    case 0: return curve_loop<FOCAL, 0>(b, margin, slopes);
    case 1: return curve_loop<FOCAL, 1>(b, margin, slopes);
    case 2: return curve_loop<FOCAL, 2>(b, margin, slopes);
    case 3: return curve_loop<FOCAL, 3>(b, margin, slopes);
  }
  curve_loop<FOCAL, ANY>(b, margin, slopes);
}
