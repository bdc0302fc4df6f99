// The primitive on the CPU: every image is cut into spans of pixels, threads take spans, and what they found is
// added up in the order of the spans, so that the sums do not depend on the number of threads.
#include "distribution.h"
#include "rows.h"
#include "sigmoid.h"
#include "softmax.h"

namespace {

struct Task {
  int64_t n, c, span;
};

template <class Kind>
void run(Kind& block, const Task& task) {
  const Call& call = block.call;
  int64_t span = span_of(call), end = std::min((task.span + 1) * span, pixels_of(call.size));
  block.n = task.n;
  for (block.begin = task.span * span; block.begin < end; block.begin += block.length) {
    block.count = std::min(block.length, end - block.begin);
    if (call.step == SUMS) block.sums(task.c);
    if (call.step == GRADIENT) block.gradient(task.c);
    if (call.step == VALUES) block.values(task.c);
  }
}

// Adds up the spans of every image; an image with values that are no labels has no sums.
template <class Value>
void add_up(const Call& call, const std::vector<Value>& parts, int64_t spans, int64_t width, Value* out) {
  int64_t row = call.size.channels * width;
  std::fill_n(out, call.size.images * row, Value(0));
  for (int64_t n = 0; n < call.size.images; ++n)
    for (int64_t span = 0; span < spans; ++span)
      for (int64_t k = 0; k < row; ++k) out[n * row + k] += parts[(n * spans + span) * row + k];
}

void poison(const Call& call) {
  int64_t channels = call.size.channels, row = channels * call.widths[0];
  for (int64_t n = 0; n < call.size.images; ++n)
    for (int64_t c = 0; c < channels; ++c)
      if (call.ints[(n * channels + c) * call.widths[1] + call.column[INVALID]])
        std::fill_n(call.floats + n * row, row, double(NAN));
}

template <class Kind>
void run_all(const Call& call) {
  int64_t span = span_of(call), spans = (pixels_of(call.size) + span - 1) / span, channels = call.size.channels;
  int64_t each = call.sigmoid ? channels : 1, tasks = call.size.images * each * spans;
  int64_t rows = call.step == SUMS ? call.size.images * spans * channels : 0;
  std::vector<double> floats(size_t(rows * call.widths[0]));
  std::vector<int64_t> ints(size_t(rows * call.widths[1]));
#pragma omp parallel num_threads(int(std::max<int64_t>(1, std::min(call.threads, tasks))))
  {
    Kind block(call);
#pragma omp for schedule(static)
    for (int64_t t = 0; t < tasks; ++t) {
      Task task{t / spans / each, t / spans % each, t % spans};
      int64_t row = (task.n * spans + task.span) * channels;
      block.floats = floats.data() + row * call.widths[0];
      block.ints = ints.data() + row * call.widths[1];
      run(block, task);
    }
  }
  if (call.step != SUMS) return;
  add_up(call, floats, spans, call.widths[0], call.floats);
  add_up(call, ints, spans, call.widths[1], call.ints);
  poison(call);
}

}  // namespace

extern "C" void segfocal_run(const Call* call) {
  if (call->sigmoid) return run_all<Sigmoid>(*call);
  if (call->masks || call->smoothing >= 0) return run_all<Distribution>(*call);
  if (Rows::serves(*call)) return run_all<Rows>(*call);
  run_all<Softmax>(*call);
}

extern "C" int64_t segfocal_size() { return sizeof(Call); }
