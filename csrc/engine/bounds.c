/* The proof that an update cannot overflow: docs/engine.md. */
#include "engine/bounds.h"

#include <math.h>

#include "base/values.h"
#include "engine/network.h"

static double magnitude_sum(const fnn_network *network, int threads, size_t slot) {
  double sum = 0.0;
  for (int thread = 0; thread < threads; thread++)
    sum += network->magnitudes[(size_t)thread * network->magnitude_row + slot];
  return sum;
}

/* Of the parameter gradients of a stage, from the sums of |x| and |dz| and of the weights
 * of periodic stages.  (A bound of these would be far too large: it grows by what Adam
 * might do at worst, and half of all steps would be taken with care.) */
static double gradient_bound(const fnn_network *network, const fnn_stage *stage,
                             double inputs, double own, double periodic) {
  double factor = network->rounded_growth;
  /* A norm's input is multiplied by 1 / sqrt(variance + epsilon), centred. */
  if (fnn_is_norm(stage)) factor *= 4.0 / sqrt(stage->epsilon);
  if (stage->kind == FNN_STAGE_PERIODIC) { /* 2 pi x sin(angle) W dz, or without x */
    factor = 8.0 * (1.0 + periodic);
    inputs += 1.0;
  }
  if (stage->kind == FNN_STAGE_PIECEWISE) { /* bins at the ends are open */
    factor = 1.0 + stage->steepest;
    inputs += 1.0;
  }
  if (stage->kind == FNN_STAGE_PARAMETRIC) { /* f(x) - x */
    factor = 1.0 + fnn_activation_growth(stage->function);
    inputs += 1.0;
  }
  return fmax(own, inputs * factor * own);
}

int fnn_bounds_of_batch(const fnn_network *network, size_t rows, int threads,
                        double *gradient) {
  const size_t stages = network->n_stages;
  const double periodic = magnitude_sum(network, threads, 2 * stages + 2);
  double inputs = magnitude_sum(network, threads, 0), largest = 0.0;
  if (!(magnitude_sum(network, threads, 2 * stages + 1) <= 0x1p60)) return 0;
  if (!(periodic <= 0x1p60)) return 0;
  for (size_t i = 0; i < stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    const double growth = fnn_activation_growth(stage->activation);
    const double outputs = magnitude_sum(network, threads, 2 * i + 1);
    if (!(inputs <= 0x1p60 && outputs <= 0x1p60)) return 0;
    if (i >= network->lowest) {
      const double own = growth * magnitude_sum(network, threads, 2 * i + 2);
      if (!(own <= 0x1p60)) return 0;
      if (stage->trainable)
        largest = fmax(largest, gradient_bound(network, stage, inputs, own, periodic));
    }
    inputs = outputs;
    if (!fnn_is_fused(stage->activation.kind))
      inputs = growth * (outputs + (double)rows * (double)stage->n);
  }
  *gradient += largest;
  return 1;
}

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
