/* Every kernel once.  Included by isa_<isa>.c inside its target region, once per dtype
 * (FNN_DOUBLE 0 and 1), after the vocabulary of that ISA; ends with the table. */
#include "kernels/vocabulary.inc.h"
#include "kernels/math.inc.h"
#include "kernels/ops/activations.inc.h"
#include "kernels/ops/optimizers.inc.h"
#include "kernels/dense/gemm.inc.h"
#include "kernels/dense/weights.inc.h"
#include "kernels/dense/sparse.inc.h"
#include "kernels/ops/narrow_losses.inc.h"
#include "kernels/ops/losses.inc.h"
#include "kernels/ops/arrays.inc.h"
#include "kernels/ops/dropout.inc.h"
#include "kernels/ops/norms.inc.h"
#include "kernels/ops/scale.inc.h"
#include "kernels/ops/embeddings.inc.h"
#include "kernels/ops/parametric.inc.h"
#include "kernels/roofline.inc.h"
#if !FNN_DOUBLE
#include "kernels/dense/rounded.inc.h"
#endif

#define FNN_STRING2(x) #x
#define FNN_STRING(x) FNN_STRING2(x)

const fnn_kernels KERNEL(kernels) = {
    .isa = FNN_STRING(FNN_ISA),
    .dtype = FNN_DOUBLE ? FNN_F64 : FNN_F32,
    .itemsize = sizeof(real),
    .lanes = VL,
    .nr = NR,
    .mr = MR,
    .dense_forward = KERNEL(dense_forward),
    .dense_backward_input = KERNEL(dense_backward_input),
    .dense_backward_weights = KERNEL(dense_backward_weights),
    .sparse_forward = KERNEL(sparse_forward),
    .sparse_backward_weights = KERNEL(sparse_backward_weights),
    .dense_backward_bias = KERNEL(dense_backward_bias),
    .activation_forward = KERNEL(activation_forward),
    .activation_backward = KERNEL(activation_backward),
    .softmax = KERNEL(softmax),
    .softmax_backward = KERNEL(softmax_backward),
    .loss = KERNEL(loss),
    .predict_values = KERNEL(predict_values),
    .dropout = KERNEL(dropout),
    .batch_norm_forward = KERNEL(batch_norm_forward),
    .batch_norm_backward = KERNEL(batch_norm_backward),
    .fixed_norm_forward = KERNEL(fixed_norm_forward),
    .fixed_norm_backward = KERNEL(fixed_norm_backward),
    .layer_norm_forward = KERNEL(layer_norm_forward),
    .layer_norm_backward = KERNEL(layer_norm_backward),
    .periodic_forward = KERNEL(periodic_forward),
    .periodic_backward = KERNEL(periodic_backward),
    .periodic_backward_weights = KERNEL(periodic_backward_weights),
    .piecewise_forward = KERNEL(piecewise_forward),
    .piecewise_backward = KERNEL(piecewise_backward),
    .piecewise_backward_weights = KERNEL(piecewise_backward_weights),
    .table_forward = KERNEL(table_forward),
    .table_backward = KERNEL(table_backward),
    .table_backward_weights = KERNEL(table_backward_weights),
    .parametric_forward = KERNEL(parametric_forward),
    .parametric_backward = KERNEL(parametric_backward),
    .parametric_backward_weights = KERNEL(parametric_backward_weights),
    .fold_norm = KERNEL(fold_norm),
    .layer_norm_backward_weights = KERNEL(layer_norm_backward_weights),
    .scale_forward = KERNEL(scale_forward),
    .scale_backward = KERNEL(scale_backward),
    .scale_backward_weights = KERNEL(scale_backward_weights),
    .update = KERNEL(update),
    .square_sums = KERNEL(square_sums),
    .limit_columns = KERNEL(limit_columns),
    .gather = KERNEL(gather),
    .magnitude = KERNEL(magnitude),
    .pack = KERNEL(pack),
    .unpack = KERNEL(unpack),
    .step_values = KERNEL(chains) * VL,
    .multiply_adds = KERNEL(multiply_adds),
    .read = KERNEL(read),
    .copy = KERNEL(copy),
};

#undef FNN_STRING
#undef FNN_STRING2
