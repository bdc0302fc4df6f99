// Softmax on label maps where the classes of a pixel lie side by side: tokens (N, C), images with channels last.
// Vectors run along the classes, so that memory is read in order. Sums over all classes are left to Softmax.
#pragma once

#include "softmax.h"

struct Rows : Softmax {
  static constexpr int64_t FEWEST = 8, PLACES = 1 << 13;  // classes that pay; logits of a block
  int64_t width;  // classes, filled up to whole vectors

  static int64_t width_of(const Call& call) { return (call.size.channels + 15) / 16 * 16; }

  static bool serves(const Call& call) {
    bool decisions = call.step == SUMS && (call.wants(TP) || call.wants(FP) || call.wants(FN));
    bool out = call.step != GRADIENT || call.out.channel == 1;
    return call.logits.channel == 1 && out && call.size.channels >= FEWEST && !call.wants_region() && !decisions;
  }

  explicit Rows(const Call& call)
      : Softmax(call, std::clamp<int64_t>(PLACES / width_of(call), 1, 512)), width(width_of(call)) {
    for (float** array : {&rows, &powers}) {
      *array = static_cast<float*>(std::aligned_alloc(64, size_t(width * length) * sizeof(float)));
      memory.emplace_back(*array, &std::free);
    }
    std::fill_n(rows, width * length, -INFINITY);  // stays behind the last class
  }

  float *rows, *powers;  // logits and exponentials of the wrong classes, -infinity and 0 at the label: (length, width)

  // Calls body(i, row) for every pixel i of the block with the address of its first class.
  template <class T, class Body>
  void each_row(const View& view, Body body) const {
    T* data = static_cast<T*>(view.data);
    int64_t stride = view.space[call.size.axes - 1];
    runs(call.size, view, n * view.image, begin, count, [=](int64_t first, int64_t offset, int64_t many) {
      for (int64_t i = 0; i < many; ++i) body(first + i, data + offset + i * stride);
    });
  }

  // Each step runs over the whole block: a value is not read while it is still on its way to the cache.
  void run(bool slopes) {
    with_type(call.logits.dtype, [&](auto kind) {
      using T = decltype(kind);
      each_row<T>(call.logits, [&](int64_t i, const T* row) {
        float* x = rows + i * width;
        loop(classes, [=](int64_t c) { x[c] = to_float(row[c]); });
      });
    });
    for (int64_t i = 0; i < count; ++i) take_label(i);
    for (int64_t i = 0; i < count; ++i) exponentials(i);
    for (int64_t i = 0; i < count; ++i) {
      const float* values = powers + i * width;
      scale[i] = across(values, [](float a, float b) { return a + b; });
    }
    loop(count, [=](int64_t i) {
      float sum = scale[i] < TINY ? TINY : scale[i];
      margin[i] += log_scale(sum) + 0.0f * sum;  // NaN stays NaN
      scale[i] = 1.0f / sum;
    });
    curves(slopes);
  }

  // Leaves the logit of the label in margin; an ignored pixel holds zeros.
  void take_label(int64_t i) {
    float* x = rows + i * width;
    int32_t own = label[i];
    if (own == IGNORED) std::fill_n(x, classes, 0.0f);
    margin[i] = own < 0 ? 0.0f : x[own];
    if (own >= 0) x[own] = -INFINITY;
  }

  // Leaves the largest wrong logit minus the label's in margin.
  void exponentials(int64_t i) {
    const float* x = rows + i * width;
    float* e = powers + i * width;
    float largest = across(x, [](float a, float b) { return b > a ? b : a; });
    largest = largest < -FINITE ? -FINITE : largest > FINITE ? FINITE : largest;
    margin[i] = largest - margin[i];
    loop(width, [=](int64_t c) {
      float below = x[c] - largest;
      e[c] = exp_neg(below > 0 ? 0.0f : below);
    });
  }

  // Joins all places of a row; plain arrays, as vectors wider than the processor's are taken apart badly.
  template <class Join>
  float across(const float* values, Join join) const {
    alignas(64) float places[16];
    for (int j = 0; j < 16; ++j) places[j] = values[j];
    for (int64_t c = 16; c < width; c += 16) {
#pragma omp simd
      for (int j = 0; j < 16; ++j) places[j] = join(places[j], values[c + j]);
    }
    for (int j = 0; j < 8; ++j) places[j] = join(places[j], places[j + 8]);
    for (int j = 0; j < 4; ++j) places[j] = join(places[j], places[j + 4]);
    return join(join(places[0], places[2]), join(places[1], places[3]));
  }

  void sums(int64_t) {
    read_labels();
    if (call.wants(LOSS) || call.wants(MODULATION)) {
      run(false);
      add_losses();
    }
    add_labels();
  }

  void values(int64_t) {
    read_labels();
    run(false);
    write_losses();
  }

  void gradient(int64_t) {
    read_labels();
    run(true);
    if (call.pull.data || call.wants(LOSS))
      pulls();
    else
      std::fill_n(pull, count, 0.0f);
    switch (call.out.dtype) {
      case BFLOAT16: return write_rows<Bf16>();
      case FLOAT16: return write_rows<Half>();
      default: return write_rows<float>();
    }
  }

  template <class T>
  void write_rows() const {
    each_row<T>(call.out, [&](int64_t i, T* row) {
      const float* e = powers + i * width;
      float to_loss = scale[i] * pull[i];
      loop(classes, [=](int64_t c) { from_float(e[c] * to_loss, row[c]); });
      if (label[i] >= 0) from_float(-pull[i], row[label[i]]);
    });
  }
};
