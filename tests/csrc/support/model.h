/* The results that the engine should compute, written down plainly in long double. */
#ifndef MODEL_H
#define MODEL_H

#include "support/network.h"

/* -sum_j t'_j ln softmax(z)_j with t' = (1 - s) t + s / n, and its gradient in z. */
long double model_loss(const long double *z, const long double *t, size_t n,
                       long double smoothing, long double *dz);

/* Loss sum, weight sum and correct sum of some rows of a problem, and the gradients of
 * the weighted mean loss; row-major dw[i] (k, n) and db[i] (n). */
typedef struct model {
  size_t n_layers;
  size_t sizes[MAX_LAYERS + 1];
  long double *w[MAX_LAYERS], *b[MAX_LAYERS];
  long double *dw[MAX_LAYERS], *db[MAX_LAYERS];
  double totals[FNN_TOTALS];
  long double least_input; /* of a ReLU, by magnitude: how close the nearest kink is */
} model;
/* With the weights of the network as they are. */
model model_new(const fnn_network *network, const problem *p);
/* Rows [begin, end) in the problem's order; end > begin. */
void model_run(model *m, const problem *p, size_t begin, size_t end);
void model_free(model *m);

#endif
