/* In place of csrc/threads/cost.c and csrc/threads/pace.c, which have their own tests:
 * as many threads as are allowed, always, so that small networks meet every way of
 * splitting work. */
#include <stddef.h>

#include "threads/cost.h"
#include "threads/pace.h"

int fnn_choose_threads(double multiply_adds, double cost, int barriers, int *most) {
  (void)multiply_adds;
  (void)cost;
  (void)barriers;
  return *most;
}

fnn_pace *fnn_pace_take(fnn_paces *paces, double multiply_adds) {
  (void)multiply_adds;
  return atomic_exchange(&paces->taken, 1) ? NULL : &paces->of[0];
}
void fnn_pace_give(fnn_paces *paces) { atomic_store(&paces->taken, 0); }
int fnn_pace_threads(fnn_pace *pace, double multiply_adds, int likely, int most,
                     double now) {
  (void)pace;
  (void)multiply_adds;
  (void)likely;
  (void)now;
  return most;
}
double fnn_pace_seconds(const fnn_pace *pace) {
  (void)pace;
  return 10e-3;
}
void fnn_pace_add(fnn_pace *pace, double multiply_adds, double seconds, double now) {
  (void)pace;
  (void)multiply_adds;
  (void)seconds;
  (void)now;
}
