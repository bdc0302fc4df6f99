// Softmax where the target is a distribution over the classes: masks, or smoothed labels. As eager/soft.py.
#pragma once

#include "call.h"

struct Distribution : Block {
  int32_t classes;
  float *x, *q, *z, *phi, *probability, *rest;  // per class; z: margins, then ratios; rest: 1 - probability
  float *total, *other;
  int32_t *best, *likely;  // class of the largest logit, of the largest share
  float smoothed, kept;

  explicit Distribution(const Call& call)
      : Block(call, run_of(6 * call.size.channels)), classes(int32_t(call.size.channels)),
        smoothed(call.smoothing < 0 ? 0.0f : float(call.smoothing)), kept(1.0f - smoothed) {
    for (float** planes : {&x, &q, &z, &phi, &probability, &rest}) *planes = room(classes);
    total = room(1), other = room(1);
    best = reinterpret_cast<int32_t*>(room(1)), likely = reinterpret_cast<int32_t*>(room(1));
  }

  float alpha(int64_t c) const { return call.alpha ? call.alpha[c] : 1.0f; }

  void read() {
    if (!load_weight(0)) std::fill_n(weight, count, 1.0f);
    std::fill_n(label, count, 1);  // 1 where the pixel counts
    if (!call.masks) load_labels(best);
    for (int32_t c = 0; c < classes; ++c) {
      float *share = q + c * length, *plane = x + c * length;
      load_logits(c, plane);
      if (call.masks)
        load_masks(c, share);
      else
        loop(count, [=](int64_t i) { share[i] = best[i] < 0 ? float(best[i]) : best[i] == c ? 1.0f : 0.0f; });
      bool mark = call.step == VALUES;
      loop(count, [=](int64_t i) {
        label[i] = share[i] == IGNORED ? 0 : label[i];
        weight[i] = mark && share[i] == NO_LABEL ? NAN : weight[i];
      });
    }
    loop(count, [=](int64_t i) { weight[i] = label[i] ? weight[i] : 0.0f; });
    for (int32_t c = 0; c < classes; ++c) {
      float *share = q + c * length, *plane = x + c * length;
      if (call.step == SUMS && (call.masks || c == 0))  // one ignored channel takes the whole pixel out
        add_count(INVALID, c, tally(count, [=](int64_t i) { return (label[i] > 0) & (share[i] == NO_LABEL); }));
      loop(count, [=](int64_t i) {
        float limited = plane[i] > FINITE ? FINITE : plane[i] < -FINITE ? -FINITE : plane[i];
        plane[i] = label[i] ? limited : 0.0f;
        share[i] = label[i] && share[i] > 0 ? share[i] : 0.0f;
      });
    }
    winners(x, best);
  }

  // The first of the largest.
  void winners(const float* planes, int32_t* out) {
    std::copy_n(planes, count, margin);
    std::fill_n(out, count, 0);
    for (int32_t c = 1; c < classes; ++c) {
      const float* plane = planes + c * length;
      loop(count, [=](int64_t i) {
        bool better = plane[i] > margin[i];
        margin[i] = better ? plane[i] : margin[i];
        out[i] = better ? int32_t(c) : out[i];
      });
    }
  }

  // Margin of every class, as if it were the true one. Every class but the best has the best among its rivals,
  // so that nothing cancels; the best one's rivals are summed anew. For the gradient x becomes their softmax.
  void margins() {
    float *top = value, *second = slope;
    std::fill_n(top, count, -FINITE);
    std::fill_n(second, count, -FINITE);
    std::fill_n(total, count, 0.0f);
    std::fill_n(other, count, 0.0f);
    each_plane([=](int64_t i, int32_t c, float v) {
      top[i] = best[i] == c ? v : top[i];
      second[i] = best[i] != c && (v > second[i] || v != v) ? v : second[i];
    });
    each_plane([=](int64_t i, int32_t c, float v) {
      float share = exp_neg(v - top[i] > 0 ? 0.0f : v - top[i]);
      z[c * length + i] = share;
      total[i] += share;
      float below = exp_neg(v - second[i] > 0 ? 0.0f : v - second[i]);
      other[i] += best[i] == c ? 0.0f : below;
    });
    each_plane([=](int64_t i, int32_t c, float v) {
      float rivals = total[i] - z[c * length + i];
      float ordinary = (log_scale(rivals < TINY ? TINY : rivals) + 0.0f * rivals) - (v - top[i]);  // NaN stays NaN
      float winning = (second[i] - top[i]) + log_scale(other[i] < TINY ? TINY : other[i]);
      z[c * length + i] = best[i] == c ? winning : ordinary;
    });
    if (call.step != GRADIENT) return;
    for (int32_t c = 0; c < classes; ++c) {
      float* plane = x + c * length;
      loop(count, [=](int64_t i) {
        float below = exp_neg(plane[i] - second[i] > 0 ? 0.0f : plane[i] - second[i]);
        plane[i] = best[i] == c ? 0.0f : below / (other[i] < TINY ? TINY : other[i]);
      });
    }
  }

  template <class Body>
  void each_plane(Body body) {
    for (int32_t c = 0; c < classes; ++c) {
      const float* plane = x + c * length;
      loop(count, [=](int64_t i) { body(i, c, plane[i]); });
    }
  }

  // Runs the curve of one class; leaves alpha times loss or slope in phi, and its probability.
  void run(int64_t c, bool slopes) {
    if (call.columns > 1) fill_rates(c);
    run_curve(*this, z + c * length, slopes);
    float weighed = alpha(c), *found = phi + c * length, *here = probability + c * length, *wrong = rest + c * length;
    const float* from = slopes ? slope : value;
    loop(count, [=](int64_t i) { found[i] = weighed * from[i], here[i] = p[i], wrong[i] = u[i]; });
  }

  void sums(int64_t) {
    read();
    margins();
    std::fill_n(total, count, 0.0f);
    for (int32_t c = 0; c < classes; ++c) {
      const float* share = q + c * length;
      run(c, false);
      loop(count, [=](int64_t i) { total[i] += phi[c * length + i]; });
      if (!call.wants(MODULATION)) continue;
      add(MODULATION, c, sum(count, [=](int64_t i) { return weight[i] * (share[i] * factor[i]); }));
    }
    winners(q, likely);
    for (int32_t c = 0; c < classes; ++c) masses(c), counts(c);
  }

  float loss_at(int64_t i, int32_t c) const {
    float share = q[c * length + i], loss = phi[c * length + i];
    float moved = smoothed == 0.0f ? 0.0f : smoothed / float(classes) * total[i];
    return share == 0.0f ? 0.0f : share * (kept * loss + moved);
  }

  void masses(int32_t c) {
    const float *share = q + c * length, *here = probability + c * length;
    auto put = [&](Field field, auto term) { if (call.wants(field)) add(field, c, sum(count, term)); };
    put(LOSS, [=](int64_t i) { return weight[i] * loss_at(i, c); });
    put(INTERSECTION, [=](int64_t i) { return weight[i] * (here[i] * share[i]); });
    put(PREDICTION, [=](int64_t i) { return weight[i] * here[i]; });
    put(PREDICTION_SQUARED, [=](int64_t i) { return weight[i] * (here[i] * here[i]); });
    put(WEIGHT, [=](int64_t i) { return weight[i] * share[i]; });
    put(TARGET, [=](int64_t i) { return weight[i] * share[i]; });
    put(TARGET_SQUARED, [=](int64_t i) { return weight[i] * (share[i] * share[i]); });
  }

  void counts(int32_t c) {
    const float* share = q + c * length;
    auto put = [&](Field field, auto test) { if (call.wants(field)) add_count(field, c, tally(count, test)); };
    put(TP, [=](int64_t i) { return (label[i] > 0) & (best[i] == c) & (likely[i] == c); });
    put(FP, [=](int64_t i) { return (label[i] > 0) & (best[i] == c) & (likely[i] != c); });
    put(FN, [=](int64_t i) { return (label[i] > 0) & (best[i] != c) & (likely[i] == c); });
    if (!call.wants(COUNT)) return;
    if (call.soft)
      add(COUNT, c, sum(count, [=](int64_t i) { return share[i]; }));
    else
      add_count(COUNT, c, tally(count, [=](int64_t i) { return share[i] > 0; }));
  }

  void values(int64_t) {
    read();
    margins();
    std::fill_n(total, count, 0.0f);
    for (int32_t c = 0; c < classes; ++c) {
      run(c, false);
      loop(count, [=](int64_t i) { total[i] += phi[c * length + i]; });
    }
    std::fill_n(value, count, 0.0f);
    for (int32_t c = 0; c < classes; ++c) loop(count, [=](int64_t i) { value[i] += loss_at(i, c); });
    loop(count, [=](int64_t i) { value[i] *= weight[i]; });
    write(0, value);
  }

  void gradient(int64_t) {
    read();
    margins();
    for (int32_t c = 0; c < classes; ++c) run(c, true);
    float *pulled = total, *ratios = other, *mean = factor, *of_best = slope;
    for (float* array : {pulled, ratios, mean, of_best}) std::fill_n(array, count, 0.0f);
    if (call.pull.data) load(call.size, call.pull, n, 0, begin, count, margin);
    bool by_map = call.pull.data;
    auto pull = [=](int64_t i, int32_t c) { return q[c * length + i] * (by_map ? margin[i] : call.up(LOSS, n, c)); };
    for (int32_t c = 0; c < classes; ++c) loop(count, [=](int64_t i) { pulled[i] += pull(i, c); });
    auto arriving = [=](int64_t i, int32_t c) {
      int64_t at = c * length + i;
      float by_square = 2 * call.up(PREDICTION_SQUARED, n, c) * probability[at];
      return call.up(PREDICTION, n, c) + q[at] * call.up(INTERSECTION, n, c) + by_square;
    };
    for (int32_t c = 0; c < classes; ++c)
      loop(count, [=](int64_t i) {
        int64_t at = c * length + i;
        phi[at] *= kept * pull(i, c) + smoothed / float(classes) * pulled[i];
        // a class pulls all others by p / u; the best one, whose u may be nothing, by its rivals' softmax
        z[at] = best[i] == c ? 0.0f : phi[at] / rest[at];
        of_best[i] = best[i] == c ? phi[at] : of_best[i];
        ratios[i] += z[at];
        mean[i] += probability[at] * arriving(i, c);
      });
    for (int32_t c = 0; c < classes; ++c) {
      loop(count, [=](int64_t i) {
        int64_t at = c * length + i;
        float own = probability[at] * (ratios[i] - z[at]) + of_best[i] * x[at] - phi[at];
        value[i] = weight[i] * (own + probability[at] * (arriving(i, c) - mean[i]));
      });
      write(c, value);
    }
  }
};
