/* What is known of a kind of activation, loss or optimizer, from its row in kinds.h. */
#ifndef FNN_FACTS_H
#define FNN_FACTS_H

#include <math.h>

#include "fastnn.h"

/* Whether the derivative of an activation is computed from its input, which is saved
 * for the backward pass; else from its output. */
static inline int fnn_saves_input(fnn_activation_kind kind) {
  enum { INPUT = 1, OUTPUT = 0 };
  switch (kind) {
#define ROW(KIND, name, growth, TAKES, ...) \
  case FNN_##KIND: return TAKES;
    FNN_ACTIVATIONS(ROW)
#undef ROW
    case FNN_SOFTMAX: break;
  }
  return 0;
}

/* Whether it is worked out while a tile of the product is in registers. */
static inline int fnn_is_fused(fnn_activation_kind kind) {
  return kind == FNN_IDENTITY || kind == FNN_RELU;
}

/* |act(z)| <= c (|z| + 1) and |act'| <= c. */
static inline double fnn_activation_growth(fnn_activation activation) {
  const double parameter = activation.parameter;
  switch (activation.kind) {
#define ROW(KIND, name, growth, TAKES, ...) \
  case FNN_##KIND: return growth;
    FNN_ACTIVATIONS(ROW)
#undef ROW
    case FNN_SOFTMAX: return 1.0;
  }
  return INFINITY;
}

/* The divisor of the sum over n outputs. */
static inline size_t fnn_loss_divisor(fnn_loss_kind kind, size_t n) {
  enum { NOTHING, OUTPUTS };
  switch (kind) {
#define ROW(KIND, name, DIVISOR) \
  case FNN_##KIND: return DIVISOR == OUTPUTS ? n : 1;
    FNN_OUTPUT_LOSSES(ROW)
#undef ROW
    default: break;
  }
  return 1;
}

/* The outputs of a target: those of target j are next to one another. */
static inline size_t fnn_loss_outputs(fnn_loss loss) {
  switch (loss.kind) {
#define ROW(KIND, name, outputs) \
  case FNN_##KIND: return outputs;
    FNN_ROW_LOSSES(ROW)
#undef ROW
    default: break;
  }
  return 1;
}

/* Whether the sign of an output says which of two classes it is. */
static inline int fnn_is_yes_or_no(fnn_loss_kind kind, size_t n) {
  return kind == FNN_BINARY_CROSS_ENTROPY ||
         (n == 1 && (kind == FNN_FOCAL || kind == FNN_HINGE));
}

/* The state arrays of an optimizer. */
typedef struct fnn_states {
  size_t count;
  int family;     /* optimizers of one family understand each other's state */
  size_t squares; /* the part (1, 2) that holds squares, 0 if none does */
} fnn_states;
static inline fnn_states fnn_optimizer_states(fnn_optimizer_kind kind) {
  switch (kind) {
#define ROW(KIND, name, states, family, squares) \
  case FNN_##KIND: return (fnn_states){states, family, squares};
    FNN_OPTIMIZERS(ROW)
#undef ROW
  }
  return (fnn_states){0, 0, 0};
}

#endif
