// Softmax on label maps where the classes of a pixel lie side by side: tokens (N, C), images with channels last.
// Vectors run along the classes, so that memory is read in order. Sums over all classes are left to Softmax.
#pragma once

#include "softmax.h"

struct Rows : Softmax {
  static constexpr int64_t FEWEST = 8, PLACES = 1 << 14;  // classes that pay; exponentials of a block
  int64_t width;  // classes, filled up to whole vectors

  static int64_t width_of(const Call& call) { return (call.size.channels + 15) / 16 * 16; }

  static bool serves(const Call& call) {
    bool decisions = call.step == SUMS && (call.wants(TP) || call.wants(FP) || call.wants(FN));
    bool out = call.step != GRADIENT || call.out.channel == 1;
    return call.logits.channel == 1 && out && call.size.channels >= FEWEST && !call.wants_region() && !decisions;
  }

  explicit Rows(const Call& call)
      : Softmax(call, std::clamp<int64_t>(PLACES / width_of(call), 1, 512)), width(width_of(call)) {
    rows = static_cast<float*>(std::aligned_alloc(64, size_t(width * length) * sizeof(float)));
    memory.emplace_back(rows, &std::free);
  }

  float* rows;  // exponentials of the wrong classes, 0 at the label: (length, width)

  // Calls body(i, row) for every pixel i of the block with the address of its first class.
  template <class T, class Body>
  void each_row(const View& view, Body body) const {
    T* data = static_cast<T*>(view.data);
    int64_t stride = view.space[call.size.axes - 1];
    runs(call.size, view, n * view.image, begin, count, [=](int64_t first, int64_t offset, int64_t many) {
      for (int64_t i = 0; i < many; ++i) body(first + i, data + offset + i * stride);
    });
  }

  void run(bool slopes) {
    with_type(call.logits.dtype, [&](auto kind) {
      using T = decltype(kind);
      each_row<T>(call.logits, [&](int64_t i, const T* row) { exponentials(i, row); });
    });
    loop(count, [=](int64_t i) {
      float sum = scale[i] < TINY ? TINY : scale[i];
      margin[i] += log_scale(sum) + 0.0f * sum;  // NaN stays NaN
      scale[i] = 1.0f / sum;
    });
    curves(slopes);
  }

  // Leaves largest wrong logit minus the label's in margin, and the sum of the exponentials in scale.
  template <class T>
  void exponentials(int64_t i, const T* row) {
    float* e = rows + i * width;
    int32_t own = label[i];
    if (own == IGNORED) {
      std::fill_n(e, width, 0.0f);
      margin[i] = 0, scale[i] = 1;
      return;
    }
    loop(classes, [=](int64_t c) { e[c] = to_float(row[c]); });
    std::fill_n(e + classes, width - classes, -INFINITY);
    float right = own < 0 ? 0.0f : e[own];
    if (own >= 0) e[own] = -INFINITY;
    float largest = largest_of(e);
    largest = largest < -FINITE ? -FINITE : largest > FINITE ? FINITE : largest;
    margin[i] = largest - right;
    scale[i] = sum(width, [=](int64_t c) {
      float below = e[c] - largest;
      e[c] = exp_neg(below > 0 ? 0.0f : below);
      return e[c];
    });
  }

  float largest_of(const float* values) const {
    Lanes<float> best = *reinterpret_cast<const Lanes<float>*>(values);
    for (int64_t c = 16; c < width; c += 16) {
      Lanes<float> next = *reinterpret_cast<const Lanes<float>*>(values + c);
      best = next > best ? next : best;
    }
    float found = -INFINITY;  // a NaN is never the largest
    for (int j = 0; j < 16; ++j) found = best[j] > found ? best[j] : found;
    return found;
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
      const float* e = rows + i * width;
      float to_loss = scale[i] * pull[i];
      loop(classes, [=](int64_t c) { from_float(e[c] * to_loss, row[c]); });
      if (label[i] >= 0) from_float(-pull[i], row[label[i]]);
    });
  }
};
