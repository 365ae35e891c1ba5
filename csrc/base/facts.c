#include "base/facts.h"

#define ROW(KIND, name, ...) name,
static const char *const activations[] = {FNN_ACTIVATIONS(ROW) "softmax"};
static const char *const losses[] = {"softmax_cross_entropy",
                                     FNN_OUTPUT_LOSSES(ROW) FNN_ROW_LOSSES(ROW)};
static const char *const optimizers[] = {FNN_OPTIMIZERS(ROW)};
#undef ROW

#define NAME(of, kind) ((kind) < sizeof(of) / sizeof *(of) ? (of)[kind] : NULL)
const char *fnn_activation_name(size_t kind) { return NAME(activations, kind); }
const char *fnn_loss_name(size_t kind) { return NAME(losses, kind); }
const char *fnn_optimizer_name(size_t kind) { return NAME(optimizers, kind); }
