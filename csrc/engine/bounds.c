/* The proof that an update cannot overflow, see fnn_bounds. */
#include "engine/bounds.h"

#include <math.h>

#include "base/values.h"
#include "engine/network.h"

/* |g| / (sqrt(s) + eps) where s >= share g^2, unless g^2 was flushed to zero. */
static double rooted(const fnn_update *u, double gradient, double share) {
  return fmin(gradient / u->epsilon, (2.0 + 0x1p-60 / u->epsilon) / sqrt(share));
}

int fnn_bounds_advance(fnn_bounds *b, const fnn_update *u, double gradient) {
  const double tame = 0x1p60, largest = 0x1p120; /* the latter of any real */
  const double g = fmin(gradient, u->clip) + u->l1 + u->l2 * b->weight;
  double step = u->rate * g, squares[FNN_STATES] = {1.0, 1.0};
  double quotient = 0.0; /* what is divided, before the rate brings it down */
  int divides = 0;       /* by epsilon, which float32 must be able to hold */
  switch (u->kind) {
    case FNN_SGD: break;
    case FNN_MOMENTUM:
    case FNN_NESTEROV:
      b->state[0] = u->momentum * b->state[0] + g;
      step = u->rate * (g + b->state[0]);
      break;
    case FNN_RMSPROP:
      divides = 1;
      squares[0] = tame;
      b->state[0] = fmax(b->state[0], g * g);
      quotient = rooted(u, g, 1.0 - u->beta_2);
      step = u->rate * quotient;
      break;
    case FNN_ADAGRAD:
      divides = 1;
      squares[0] = tame;
      b->state[0] += g * g;
      quotient = rooted(u, g, 1.0);
      step = u->rate * quotient;
      break;
    case FNN_ADAM:
    case FNN_NADAM:
      divides = 1;
      squares[1] = tame;
      b->state[0] = fmax(b->state[0], g);
      b->state[1] = fmax(b->state[1], g * g);
      step = (u->rate * b->state[0] + u->gradient_rate * g) / u->epsilon;
      /* NAdam divides what already has its rate. */
      quotient = u->kind == FNN_ADAM ? b->state[0] / u->epsilon : step;
      break;
    case FNN_LION:
      b->state[0] = fmax(b->state[0], g);
      step = u->rate;
      break;
  }
  /* Decay by more than 2 / learning_rate makes weights grow. */
  b->weight = b->weight * fmax(1.0, fabs(u->keep)) + step;
  /* Written so that a NaN fails. */
  return gradient <= tame && g <= tame && step <= tame && b->weight <= tame &&
         b->state[0] <= tame * squares[0] && b->state[1] <= tame * squares[1] &&
         u->rate <= tame && u->gradient_rate <= tame && u->root_scale <= tame &&
         fabs(u->keep) <= tame && u->l2 <= tame && quotient <= largest &&
         (!divides || u->epsilon >= 1.0 / largest);
}

/* Squares that were loaded may be negative, which only a check finds. */
static int has_negative(const fnn_network *network, const void *values, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (fnn_real_at(network->kernels->dtype, values, i) < 0.0) return 1;
  return 0;
}

fnn_bounds fnn_bounds_measure(const fnn_network *network) {
  const fnn_kernels *kernels = network->kernels;
  double part[FNN_PARTS] = {0.0};
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    for (size_t p = 0; stage->b_size && p <= network->states; p++) {
      part[p] += kernels->magnitude(stage->w[p], stage->w_size) +
                 kernels->magnitude(stage->b[p], stage->b_size);
      if (p > 0 && p == fnn_optimizer_states(network->optimizer.kind).squares &&
          (has_negative(network, stage->w[p], stage->w_size) ||
           has_negative(network, stage->b[p], stage->b_size)))
        part[p] = INFINITY;
    }
  }
  return (fnn_bounds){part[0], {part[1], part[2]}};
}
