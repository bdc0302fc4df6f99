// Sums, gradient and map under softmax on label maps: one margin per pixel. As eager/softmax.py.
#pragma once

#include "call.h"

struct Softmax : Block {
  int32_t classes;
  float *x, *e, *scale, *pull;  // logits; exponentials of the wrong classes, 0 at the label; 1 / their sum
  static constexpr int64_t MASKED = 32;  // up to so many classes, sums by label are masked sums

  explicit Softmax(const Call& call) : Softmax(call, run_of(2 * call.size.channels)) {
    x = room(classes), e = room(classes);
  }
  Softmax(const Call& call, int64_t pixels) : Block(call, pixels), classes(int32_t(call.size.channels)) {
    scale = room(1), pull = room(1);
  }

  void read() {
    read_labels();
    for (int32_t c = 0; c < classes; ++c) {
      float* plane = x + c * length;
      load_logits(c, plane);
      if (call.has_ignore) loop(count, [=](int64_t i) { plane[i] = label[i] == IGNORED ? 0.0f : plane[i]; });
    }
  }

  void read_labels() {
    if (!load_weight(0)) std::fill_n(weight, count, 1.0f);
    load_labels(label);
    if (call.step == SUMS) add_count(INVALID, 0, tally(count, [=](int64_t i) { return label[i] == NO_LABEL; }));
    if (call.step == VALUES) loop(count, [=](int64_t i) { weight[i] = label[i] == NO_LABEL ? NAN : weight[i]; });
    loop(count, [=](int64_t i) { weight[i] = label[i] == IGNORED ? 0.0f : weight[i]; });
  }

  // Value of a table for every pixel, by its label; 0 where there is none.
  void look_up(const float* table, float* out, int32_t step = 1) const {
    loop(count, [=](int64_t i) { out[i] = label[i] < 0 ? 0.0f : table[(label[i] < 0 ? 0 : label[i]) * step]; });
  }
  void look_up(Field field, float* out) const {
    look_up(call.upstream + n * classes * call.widths[0] + call.column[field], out, int32_t(call.widths[0]));
  }

  void run(bool slopes) {
    float *largest = scale, *right = margin;
    std::fill_n(largest, count, -INFINITY);
    std::fill_n(right, count, 0.0f);
    for (int32_t c = 0; c < classes; ++c) {
      const float* plane = x + c * length;
      loop(count, [=](int64_t i) {
        bool hit = label[i] == c;
        float wrong = hit ? -INFINITY : plane[i];
        largest[i] = wrong > largest[i] ? wrong : largest[i];
        right[i] = hit ? plane[i] : right[i];
      });
    }
    float* total = pull;
    std::fill_n(total, count, 0.0f);
    loop(count, [=](int64_t i) {
      float limited = largest[i] < -FINITE ? -FINITE : largest[i];
      largest[i] = limited > FINITE ? FINITE : limited;
    });
    for (int32_t c = 0; c < classes; ++c) {
      const float* plane = x + c * length;
      float* power = e + c * length;
      loop(count, [=](int64_t i) {
        float below = plane[i] - largest[i];
        float found = exp_neg(below > 0 ? 0.0f : below);
        power[i] = label[i] == c ? 0.0f : found;
        total[i] += power[i];
      });
    }
    loop(count, [=](int64_t i) {
      float sum = total[i] < TINY ? TINY : total[i];
      margin[i] = (largest[i] - right[i]) + (log_scale(sum) + 0.0f * sum);  // NaN stays NaN
      scale[i] = 1.0f / sum;
    });
    curves(slopes);
  }

  // Runs the curve over the margins, with the numbers of each pixel's label.
  void curves(bool slopes) {
    if (call.columns > 1)
      for (int k = 0; k < ROWS[call.form]; ++k) {
        const float* table = call.curve + k * call.columns;  // no label: a gamma of 0 is none where it divides
        float* out = rate[k];
        loop(count, [=](int64_t i) { out[i] = table[label[i] < 0 ? 0 : label[i]]; });
      }
    run_curve(*this, margin, slopes);
  }

  void add_by_label(Field field, const float* values) const {
    if (classes <= MASKED) {
      for (int32_t c = 0; c < classes; ++c) add(field, c, sum_of_label(count, label, c, values));
    } else {
      for (int64_t i = 0; i < count; ++i)
        if (label[i] >= 0) add(field, label[i], values[i]);
    }
  }

  void sums(int64_t) {
    read();
    if (call.wants(LOSS) || call.wants(MODULATION) || call.wants_region()) {
      run(false);
      add_losses();
      predictions();
    }
    add_labels();
  }

  void add_losses() {
    losses();
    float* mass = slope;
    loop(count, [=](int64_t i) {
      value[i] = part(weight[i], value[i]), factor[i] *= weight[i], mass[i] = p[i] * weight[i];
    });
    if (call.wants(LOSS)) add_by_label(LOSS, value);
    if (call.wants(MODULATION)) add_by_label(MODULATION, factor);
    if (call.wants(INTERSECTION)) add_by_label(INTERSECTION, mass);
  }

  void add_labels() {
    for (Field field : {WEIGHT, TARGET, TARGET_SQUARED})
      if (call.wants(field)) add_by_label(field, weight);
    if (call.wants(COUNT) || call.wants(TP) || call.wants(FP) || call.wants(FN)) counts();
  }

  // Leaves alpha times loss in value.
  void losses() {
    if (!call.alpha) return;
    look_up(call.alpha, slope);
    loop(count, [=](int64_t i) { value[i] = part(slope[i], value[i]); });
  }

  void predictions() {
    bool plain = call.wants(PREDICTION), squared = call.wants(PREDICTION_SQUARED);
    if (!plain && !squared) return;
    loop(count, [=](int64_t i) { scale[i] *= u[i]; });
    for (int32_t c = 0; c < classes; ++c) {
      const float* power = e + c * length;
      auto at = [=](int64_t i) { return label[i] == c ? p[i] : power[i] * scale[i]; };
      if (plain) add(PREDICTION, c, sum(count, [=](int64_t i) { return weight[i] * at(i); }));
      if (squared) add(PREDICTION_SQUARED, c, sum(count, [=](int64_t i) { return weight[i] * (at(i) * at(i)); }));
    }
  }

  void counts() {
    bool decisions = call.wants(TP) || call.wants(FP) || call.wants(FN);
    if (!decisions && classes > MASKED) {
      for (int64_t i = 0; i < count; ++i)
        if (label[i] >= 0) add_count(COUNT, label[i], 1);
      return;
    }
    if (decisions) decide();
    const int32_t* winner = reinterpret_cast<int32_t*>(value);
    for (int32_t c = 0; c < classes; ++c) {
      int64_t total = tally(count, [=](int64_t i) { return label[i] == c; });
      if (call.wants(COUNT)) add_count(COUNT, c, total);
      if (!decisions) continue;
      int64_t right = tally(count, [=](int64_t i) { return (label[i] == c) & (winner[i] == c); });
      int64_t decided = tally(count, [=](int64_t i) { return (label[i] >= 0) & (winner[i] == c); });
      if (call.wants(TP)) add_count(TP, c, right);
      if (call.wants(FP)) add_count(FP, c, decided - right);
      if (call.wants(FN)) add_count(FN, c, total - right);
    }
  }

  // Leaves the class of the largest logit, the first of equals, in value.
  void decide() {
    float* best = margin;
    int32_t* winner = reinterpret_cast<int32_t*>(value);
    std::copy_n(x, count, best);
    std::fill_n(winner, count, 0);
    for (int32_t c = 1; c < classes; ++c) {
      const float* plane = x + c * length;
      loop(count, [=](int64_t i) {
        bool better = plane[i] > best[i];
        best[i] = better ? plane[i] : best[i];
        winner[i] = better ? int32_t(c) : winner[i];
      });
    }
  }

  void values(int64_t) {
    read();
    run(false);
    write_losses();
  }

  void write_losses() {
    losses();
    loop(count, [=](int64_t i) { value[i] = part(weight[i], value[i]); });
    write(0, value);
  }

  // The gradient that arrives at each pixel's margin, weight and alpha included.
  void pulls() {
    if (call.pull.data)
      load(call.size, call.pull, n, 0, begin, count, pull);
    else
      look_up(LOSS, pull);
    loop(count, [=](int64_t i) { pull[i] *= slope[i] * weight[i]; });
    if (!call.alpha) return;
    look_up(call.alpha, slope);
    loop(count, [=](int64_t i) { pull[i] *= slope[i]; });
  }

  void gradient(int64_t) {
    read();
    run(true);
    if (call.pull.data || call.wants(LOSS))
      pulls();
    else
      std::fill_n(pull, count, 0.0f);
    bool region = call.wants_region();
    float *mean = margin, *by_i = factor, *to_loss = slope;
    std::fill_n(mean, count, 0.0f);
    std::fill_n(by_i, count, 0.0f);
    if (call.wants(INTERSECTION)) look_up(INTERSECTION, by_i);
    loop(count, [=](int64_t i) {  // what the exponentials are multiplied with
      to_loss[i] = scale[i] * pull[i];
      scale[i] *= u[i];
    });
    auto arriving = [=](int64_t i, int32_t c, float q, float by_p, float by_square) {
      return by_p + by_square * q + (label[i] == c ? by_i[i] : 0.0f);
    };
    for (int32_t c = 0; region && c < classes; ++c) {
      float by_p = call.up(PREDICTION, n, c), by_square = 2 * call.up(PREDICTION_SQUARED, n, c);
      float *power = e + c * length, *probability = x + c * length;
      loop(count, [=](int64_t i) {
        float q = label[i] == c ? p[i] : power[i] * scale[i];
        probability[i] = q;
        mean[i] += q * arriving(i, c, q, by_p, by_square);
      });
    }
    for (int32_t c = 0; c < classes; ++c) {
      float by_p = call.up(PREDICTION, n, c), by_square = 2 * call.up(PREDICTION_SQUARED, n, c), *grad = value;
      float *power = e + c * length, *probability = x + c * length;
      loop(count, [=](int64_t i) { grad[i] = label[i] == c ? -pull[i] : power[i] * to_loss[i]; });
      if (region)
        loop(count, [=](int64_t i) {
          float q = probability[i];
          grad[i] += weight[i] * (q * (arriving(i, c, q, by_p, by_square) - mean[i]));
        });
      write(c, grad);
    }
  }
};
