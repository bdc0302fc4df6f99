// Sums, gradient and map under sigmoid: every channel is a two-class problem of its own. As eager/sigmoid.py.
#pragma once

#include "call.h"

struct Sigmoid : Block {
  float *x, *y, *negative, *positive;
  float alpha_0 = 1, alpha_1 = 1, moved;
  int64_t ignored = 0;   // elements of the block
  bool touched = true;   // whether weights differ from 1
  bool one_sided;  // one margin serves a hard label; a soft or smoothed one needs the loss of either side

  explicit Sigmoid(const Call& call)
      : Block(call, run_of(1)), moved(call.smoothing < 0 ? 0.0f : float(call.smoothing / 2)),
        one_sided(!call.soft && call.smoothing < 0) {
    for (float** array : {&x, &y, &negative, &positive}) *array = room(1);
  }

  void read(int64_t c) {
    load_logits(c, x);
    if (!load_weight(c) && touched) std::fill_n(weight, length, 1.0f);
    if (call.masks) {
      load_masks(c, y);
    } else {
      load_labels(label);
      loop(count, [=](int64_t i) { y[i] = label[i] < 0 ? float(label[i]) : label[i] == c ? 1.0f : 0.0f; });
    }
    touched = false, ignored = 0;
    if (tally(count, [=](int64_t i) { return y[i] < 0; })) leave_out(c);
    if (call.columns > 1) fill_rates(c);
    if (call.alpha) alpha_1 = call.alpha[c], alpha_0 = 1 - alpha_1;
  }

  // Takes out of the block what is ignored; marks what is no label. Most blocks hold neither.
  void leave_out(int64_t c) {
    bool mark = call.step == VALUES;
    if (call.step == SUMS && (call.masks || c == 0))  // one label map serves all channels
      add_count(INVALID, c, tally(count, [=](int64_t i) { return y[i] == NO_LABEL; }));
    ignored = tally(count, [=](int64_t i) { return y[i] == IGNORED; });
    loop(count, [=](int64_t i) {
      bool out = y[i] == IGNORED, no_label = y[i] == NO_LABEL;
      x[i] = out ? 0.0f : x[i];
      weight[i] = out ? 0.0f : mark && no_label ? NAN : weight[i];
      y[i] = y[i] < 0 ? 0.0f : y[i];
    });
    touched = true;
  }

  void along(float sign, bool slopes) {
    loop(count, [=](int64_t i) { margin[i] = sign * x[i]; });
    run_curve(*this, margin, slopes);
  }

  void along_label(bool slopes) {
    loop(count, [=](int64_t i) { margin[i] = y[i] > 0 ? -x[i] : x[i]; });
    run_curve(*this, margin, slopes);
  }

  // Leaves p of the positive class in u, its complement in p.
  void probabilities() {
    if (!one_sided) return along(1.0f, true);
    loop(count, [=](int64_t i) {
      float of_label = p[i];
      p[i] = y[i] > 0 ? u[i] : of_label;
      u[i] = y[i] > 0 ? of_label : u[i];
    });
  }

  // Writes each value's shares.
  void divide(const float* as_0, const float* as_1) {
    loop(count, [=](int64_t i) {
      float v0 = as_0[i], v1 = as_1[i];
      negative[i] = part(1.0f - y[i], v0);
      positive[i] = part(y[i], v1);
    });
  }

  // Leaves the loss of both sides, alpha applied.
  void losses() {
    float a0 = alpha_0, a1 = alpha_1, e = moved, kept = 1.0f - moved;
    along(1.0f, false);
    loop(count, [=](int64_t i) { negative[i] = part(a0, value[i]); });
    along(-1.0f, false);
    loop(count, [=](int64_t i) {
      float as_0 = negative[i], as_1 = part(a1, value[i]);
      slope[i] = kept * as_0 + part(e, as_1);
      value[i] = kept * as_1 + part(e, as_0);
    });
    divide(slope, value);
  }

  void modulations() {
    along(1.0f, false);
    std::copy_n(factor, count, slope);
    along(-1.0f, false);
    divide(slope, factor);
  }

  void add_sides(Field field, int64_t c) {
    add(field, c, sum(count, [=](int64_t i) { return part(weight[i], negative[i]); }), 0);
    add(field, c, sum(count, [=](int64_t i) { return part(weight[i], positive[i]); }), 1);
  }

  // Of a value of hard labels.
  void add_hard(Field field, int64_t c, const float* v, double scale_0 = 1, double scale_1 = 1) {
    double of_0 = sum(count, [=](int64_t i) { return y[i] > 0 ? 0.0f : part(weight[i], v[i]); });
    double of_1 = sum(count, [=](int64_t i) { return y[i] > 0 ? part(weight[i], v[i]) : 0.0f; });
    add(field, c, scale_0 == 0 && of_0 == INFINITY ? 0 : scale_0 * of_0, 0);
    add(field, c, scale_1 == 0 && of_1 == INFINITY ? 0 : scale_1 * of_1, 1);
  }

  void sums(int64_t c) {
    read(c);
    bool region = call.wants_region(), loss = call.wants(LOSS), factors = call.wants(MODULATION);
    if (one_sided && (region || loss || factors)) along_label(false);
    if (loss && one_sided) add_hard(LOSS, c, value, alpha_0, alpha_1);
    if (loss && !one_sided) losses(), add_sides(LOSS, c);
    if (factors && !call.soft && !one_sided) along_label(false);
    if (factors && !call.soft) add_hard(MODULATION, c, factor);
    if (factors && call.soft) modulations(), add_sides(MODULATION, c);
    if (region) probabilities();
    masses(c);
    counts(c);
  }

  void masses(int64_t c) {
    auto put = [&](Field field, auto term) { if (call.wants(field)) add(field, c, sum(count, term)); };
    put(INTERSECTION, [=](int64_t i) { return weight[i] * (u[i] * y[i]); });
    put(PREDICTION, [=](int64_t i) { return weight[i] * u[i]; });
    put(PREDICTION_SQUARED, [=](int64_t i) { return weight[i] * (u[i] * u[i]); });
    put(TARGET, [=](int64_t i) { return weight[i] * y[i]; });
    put(TARGET_SQUARED, [=](int64_t i) { return weight[i] * (y[i] * y[i]); });
    if (!call.wants(WEIGHT)) return;
    add(WEIGHT, c, sum(count, [=](int64_t i) { return weight[i] * (1.0f - y[i]); }), 0);
    add(WEIGHT, c, sum(count, [=](int64_t i) { return weight[i] * y[i]; }), 1);
  }

  void counts(int64_t c) {
    auto put = [&](Field field, auto test) { if (call.wants(field)) add_count(field, c, tally(count, test)); };
    put(TP, [=](int64_t i) { return (x[i] > 0) & (y[i] > 0.5f); });
    put(FP, [=](int64_t i) { return (x[i] > 0) & !(y[i] > 0.5f); });
    put(FN, [=](int64_t i) { return !(x[i] > 0) & (y[i] > 0.5f); });
    if (!call.wants(COUNT)) return;
    if (call.soft) {
      float positives = sum(count, [=](int64_t i) { return y[i]; });
      add(COUNT, c, double(count - ignored) - positives, 0);
      add(COUNT, c, positives, 1);
    } else {
      int64_t positives = tally(count, [=](int64_t i) { return y[i] > 0.0f; });
      add_count(COUNT, c, count - ignored - positives, 0);
      add_count(COUNT, c, positives, 1);
    }
  }

  void values(int64_t c) {
    read(c);
    float a0 = alpha_0, a1 = alpha_1;
    if (one_sided) {
      along_label(false);
      loop(count, [=](int64_t i) { value[i] = part(weight[i] * (y[i] > 0 ? a1 : a0), value[i]); });
    } else {
      losses();
      loop(count, [=](int64_t i) { value[i] = part(weight[i], negative[i] + positive[i]); });
    }
    write(c, value);
  }

  void gradient(int64_t c) {
    read(c);
    float by_i = call.up(INTERSECTION, n, c), by_p = call.up(PREDICTION, n, c);
    float by_square = 2 * call.up(PREDICTION_SQUARED, n, c);
    if (one_sided)
      one_sided_gradient(c);
    else
      two_sided_gradient(c);
    if (call.wants_region()) {
      probabilities();
      loop(count, [=](int64_t i) {
        value[i] += weight[i] * (u[i] * p[i] * (by_p + y[i] * by_i + u[i] * by_square));
      });
    }
    write(c, value);
  }

  void one_sided_gradient(int64_t c) {
    float up_0 = alpha_0 * call.up(LOSS, n, c, 0), up_1 = -alpha_1 * call.up(LOSS, n, c, 1);
    along_label(true);
    if (!call.pull.data)
      return loop(count, [=](int64_t i) { value[i] = weight[i] * (slope[i] * (y[i] > 0 ? up_1 : up_0)); });
    float a0 = alpha_0, a1 = -alpha_1;
    load(call.size, call.pull, n, c, begin, count, negative);
    loop(count, [=](int64_t i) { value[i] = weight[i] * (slope[i] * (negative[i] * (y[i] > 0 ? a1 : a0))); });
  }

  // The gradient that arrives at each element's loss, as a negative and as a positive.
  void upstream(int64_t c) {
    if (call.pull.data) {
      load(call.size, call.pull, n, c, begin, count, negative);
      std::copy_n(negative, count, positive);
    } else {
      std::fill_n(negative, count, call.up(LOSS, n, c, 0));
      std::fill_n(positive, count, call.up(LOSS, n, c, 1));
    }
  }

  void two_sided_gradient(int64_t c) {
    upstream(c);
    float a0 = alpha_0, a1 = alpha_1, e = moved;
    loop(count, [=](int64_t i) {
      float pull_0 = negative[i] * (1.0f - y[i]), pull_1 = positive[i] * y[i];
      negative[i] = a0 * (pull_0 + e * (pull_1 - pull_0));
      positive[i] = a1 * (pull_1 + e * (pull_0 - pull_1));
    });
    along(1.0f, true);
    loop(count, [=](int64_t i) { value[i] = negative[i] * slope[i]; });
    along(-1.0f, true);
    loop(count, [=](int64_t i) { value[i] = weight[i] * (value[i] - positive[i] * slope[i]); });
  }
};
