/* Every kernel once.  Included by isa_<isa>.c inside its target region, once per dtype
 * (FNN_DOUBLE 0 and 1), after the vocabulary of that ISA; ends with the table. */
#include "vocabulary.inc.h"
#include "math.inc.h"
#include "activations.inc.h"
#include "optimizers.inc.h"
#include "gemm.inc.h"
#include "losses.inc.h"
#include "arrays.inc.h"

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
    .dense_backward_bias = KERNEL(dense_backward_bias),
    .activation_forward = KERNEL(activation_forward),
    .activation_backward = KERNEL(activation_backward),
    .softmax = KERNEL(softmax),
    .softmax_cross_entropy = KERNEL(softmax_cross_entropy),
    .update = KERNEL(update),
    .gather = KERNEL(gather),
    .magnitude = KERNEL(magnitude),
    .pack = KERNEL(pack),
    .unpack = KERNEL(unpack),
};

#undef FNN_STRING
#undef FNN_STRING2
