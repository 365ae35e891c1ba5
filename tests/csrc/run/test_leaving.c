/* Steps in blocks have the same bits, and a step that is left has changed nothing. */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "support/network.h"
#include "support/support.h"
#include "tests.h"
#include "threads/stop.h"

static long asked, leave_at;
static int look(void) { return ++asked == leave_at; }

/* Every step counts as long, with a factor that gives small blocks too. */
static const double factors[] = {1e9, 1e6};

void test_training_bits_in_blocks(fnn_dtype dtype) {
  for (size_t i = 0; i < trained_cases(); i++) {
    if (trained_spec(i)->dtype != dtype) continue;
    problem p = problem_new(trained_spec(i));
    snapshot expected = train(&p, &(run_options){.threads = 1, .fused = 1});
    for (int threads = 1; threads < 4; threads += 2) {
      fnn_leave_early(factors[i % 2]);
      snapshot now =
          train(&p, &(run_options){.threads = threads, .fused = 1, .sliced = 1});
      fnn_leave_early(1.0);
      CHECK(same_snapshots(&now, &expected), "%s: in blocks, %d threads", p.spec.name,
            threads);
      snapshot_free(&now);
    }
    snapshot_free(&expected);
    problem_free(&p);
  }
}

/* A step that is asked to leave at its n-th chance, for every n, and then is done; 0 if
 * it was left. */
static int step_asked_at(fnn_network *network, const problem *p, long n) {
  double totals[FNN_TOTALS] = {0.0};
  size_t start = 0;
  snapshot before = snapshot_of(network, p, totals);
  asked = 0;
  leave_at = n;
  const fnn_status status = train_rows(network, p, &start, totals, 0.0, 1);
  snapshot after = snapshot_of(network, p, totals);
  if (status == FNN_INTERRUPTED)
    CHECK(start == 0 && asked == n && same_snapshots(&before, &after),
          "%s: left at chance %ld, and changed", p->spec.name, n);
  else
    CHECK(status == FNN_OK && start > 0 && asked < n,
          "%s: status %d, %zu rows, asked %ld times, of %ld", p->spec.name, (int)status,
          start, asked, n);
  snapshot_free(&before);
  snapshot_free(&after);
  return status == FNN_OK;
}

void test_steps_that_are_left(fnn_dtype dtype) {
  fnn_set_check(look);
  for (size_t i = 0; i < trained_cases(); i++) {
    if (trained_spec(i)->dtype != dtype) continue;
    problem p = problem_new(trained_spec(i));
    double totals[2][FNN_TOTALS] = {{0.0}};
    fnn_network *network = network_new(&p), *other = network_new(&p);
    size_t start = 0;
    leave_at = 0;
    CHECK(train_rows(other, &p, &start, totals[0], 0.0, 1) == FNN_OK, "failed");
    fnn_leave_early(factors[1]);
    fnn_network_set_threads(network, 1 + (int)i % 3);
    long n = 1;
    while (n < 10000 && !step_asked_at(network, &p, n))
      n += 1 + n / (long)samples(8, 2);
    CHECK(n > 3, "%s: %ld chances", p.spec.name, n);
    fnn_leave_early(1.0);
    snapshot now = snapshot_of(network, &p, totals[1]);
    snapshot expected = snapshot_of(other, &p, totals[1]);
    CHECK(same_snapshots(&now, &expected), "%s: another step than without",
          p.spec.name);
    snapshot_free(&now);
    snapshot_free(&expected);
    fnn_network_free(network);
    fnn_network_free(other);
    problem_free(&p);
  }
  fnn_set_check(NULL);
}

/* Gradients and predictions likewise. */
void test_calls_that_are_left(fnn_dtype dtype) {
  const spec s = {.name = "left",
                  .dtype = dtype,
                  .sizes = {20, 40, 3},
                  .kind = FNN_SGD,
                  .learning_rate = 0.1,
                  .x_type = dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32,
                  .rows = 300,
                  .batch = 300};
  problem p = problem_new(&s);
  fnn_network *network = network_new(&p);
  void *out = calloc(300 * 3, 8), *dw[2], *db[2];
  if (!out) abort();
  for (size_t i = 0; i < 2; i++) {
    dw[i] = calloc(sizes_of(&p, i).w, 8);
    db[i] = calloc(sizes_of(&p, i).b, 8);
    if (!dw[i] || !db[i]) abort();
  }
  fnn_set_check(look);
  fnn_leave_early(1e9);
  for (int threads = 1; threads < 4; threads++)
    for (int call = 0; call < 3; call++) {
      fnn_network_set_threads(network, threads);
      int left = 0;
      for (long n = 1; n < 10000; n += 1 + n / 4, left++) {
        double totals[FNN_TOTALS] = {0.0};
        size_t start = 0;
        asked = 0;
        leave_at = n;
        const fnn_status status =
            call == 0   ? fnn_gradients(network, &p.data, NULL, totals, dw, db)
            : call == 1 ? fnn_predict(network, &p.data.x, FNN_LOGITS, out, &start, 1e9)
                        : fnn_evaluate(network, &p.data, &start, totals, 1e9);
        if (status == FNN_OK) break;
        CHECK(status == FNN_INTERRUPTED && asked == n, "call %d, chance %ld: status %d",
              call, n, (int)status);
      }
      CHECK(left > 1 || threads > 1, "call %d on %d threads: left %d times", call,
            threads, left);
    }
  fnn_leave_early(1.0);
  fnn_set_check(NULL);
  for (size_t i = 0; i < 2; i++) {
    free(dw[i]);
    free(db[i]);
  }
  free(out);
  fnn_network_free(network);
  problem_free(&p);
}

/* Work that asks at each of its steps looks for signals many times a second, and hears
 * of one. */
void test_looks_in_time(void) {
  fnn_stop stop;
  asked = leave_at = 0;
  fnn_set_check(look);
  fnn_stop_begin(&stop, 0.0);
  const double begin = fnn_now();
  while (asked < 3 && fnn_now() < begin + 1.0)
    CHECK(!fnn_stop_asked(&stop, 1), "left too early");
  CHECK(asked == 3, "looked %ld times in a second", asked);
  leave_at = 4;
  while (!fnn_stop_asked(&stop, 1) && fnn_now() < begin + 60.0) continue;
  fnn_set_check(NULL);
  CHECK(fnn_stop_asked(&stop, 0) == FNN_INTERRUPT, "did not leave");
}
