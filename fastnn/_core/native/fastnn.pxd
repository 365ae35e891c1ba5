# csrc/fastnn.h as Cython sees it.
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from "fastnn.h" nogil:
    ctypedef enum fnn_status:
        FNN_OK, FNN_NO_MEMORY, FNN_BAD_INPUT, FNN_INTERRUPTED, FNN_DIVERGED
    ctypedef enum fnn_dtype:
        FNN_F32, FNN_F64, FNN_BF16
    # Those that are named in Cython; the others are found by their names.
    ctypedef enum fnn_activation_kind:
        FNN_IDENTITY, FNN_SOFTMAX
    ctypedef enum fnn_loss_kind:
        pass
    ctypedef enum fnn_optimizer_kind:
        FNN_MOMENTUM, FNN_NESTEROV
    ctypedef struct fnn_activation:
        fnn_activation_kind kind
        double parameter
    ctypedef struct fnn_loss:
        fnn_loss_kind kind
        double parameter
    ctypedef enum fnn_layer_kind:
        FNN_DENSE, FNN_DROPOUT, FNN_BATCH_NORM, FNN_LAYER_NORM, FNN_SCALE, FNN_PERIODIC
        FNN_PIECEWISE, FNN_TABLE, FNN_PARAMETRIC
    ctypedef enum fnn_type:
        FNN_U8, FNN_I8, FNN_U16, FNN_I16, FNN_U32, FNN_I32, FNN_U64, FNN_I64
        FNN_FLOAT16, FNN_FLOAT32, FNN_FLOAT64
    ctypedef enum fnn_output:
        FNN_LOGITS, FNN_VALUES, FNN_LABELS

    ctypedef struct fnn_array:
        const void *data
        size_t rows, cols
        ptrdiff_t row_stride, col_stride
        fnn_type type
        int swapped
        const int64_t *starts
        const int32_t *columns
    ctypedef struct fnn_layer:
        fnn_layer_kind kind
        size_t units
        fnn_activation activation
        int use_bias, trainable
        double rate, momentum, epsilon
        uint64_t key
        size_t columns, size, terms
        const size_t *counts
        const double *edges
    ctypedef struct fnn_plan:
        fnn_dtype dtype
        size_t n_inputs, n_layers
        const fnn_layer *layers
        fnn_loss loss
        const double *levels
    ctypedef struct fnn_optimizer:
        fnn_optimizer_kind kind
        double learning_rate, momentum, beta_1, beta_2, epsilon
        int epsilon_hat
        double momentum_decay, weight_decay, l1, l2, clip_value, clip_norm, max_norm
    ctypedef struct fnn_factors:
        double rate, epsilon, decay
    ctypedef struct fnn_steps:
        size_t batch_size, accumulate
        const double *rates
        const double *decays
        const double *dropout_rates
        double max_seconds, limit
        int fused
    ctypedef struct fnn_data:
        fnn_array x
        const int64_t *labels
        fnn_array targets
        const double *weights
        const int64_t *order
        size_t rows
        size_t first_row
        double weight_sum
    ctypedef struct fnn_network:
        pass
    ctypedef struct fnn_stateless:
        fnn_status (*dense_forward)(
            fnn_dtype, const void *x, const void *w, const void *b, size_t m, size_t k,
            size_t n, fnn_activation, void *y) noexcept nogil
        fnn_status (*dense_backward)(
            fnn_dtype, const void *dy, const void *x, const void *w, const void *y,
            size_t m, size_t k, size_t n, fnn_activation, void *dx, void *dw,
            void *db) noexcept nogil
        void (*activation)(
            fnn_dtype, fnn_activation, const void *dy, const void *x, void *out,
            size_t count) noexcept nogil
        fnn_status (*softmax)(
            fnn_dtype, const void *dp, const void *x, size_t m, size_t n,
            void *out) noexcept nogil
        fnn_status (*loss)(
            fnn_dtype, fnn_loss, const double *levels, const void *z,
            const int64_t *labels, const void *targets, const double *weights,
            size_t m, size_t n, double *mean, void *dz) noexcept nogil
        void (*dropout)(
            fnn_dtype, const void *x, double rate, uint64_t key, uint64_t step,
            size_t m, size_t n, void *y) noexcept nogil
        fnn_status (*norm)(
            fnn_dtype, fnn_layer_kind, const void *dy, const void *x, const void *scale,
            const void *shift, double epsilon, size_t m, size_t n, void *out,
            void *first, void *second) noexcept nogil
        void (*optimizer_update)(
            fnn_dtype, const fnn_optimizer *, uint64_t step, void *w, const void *g,
            void *s0, void *s1, size_t count) noexcept nogil
        void (*round_to_bfloat16)(
            const float *x, float *y, size_t count) noexcept nogil

    const char *fnn_activation_name(size_t kind)
    const char *fnn_loss_name(size_t kind)
    const char *fnn_optimizer_name(size_t kind)
    int fnn_select_isa(const char *name)
    const char *fnn_active_isa()
    const char *fnn_built_isa(size_t i)
    double fnn_multiply_add_rate(size_t values)
    const char *fnn_compiler()
    void fnn_set_num_threads(int threads)
    int fnn_get_num_threads()
    int fnn_threads_refused()
    void fnn_set_spin(double seconds)
    void fnn_set_check(int (*function)() noexcept nogil)
    void fnn_fail_allocation(long n, int forever)
    void fnn_refuse_thread(long n, int forever)
    void fnn_begin_on_all_threads(int yes)

    fnn_network *fnn_network_new(const fnn_plan *plan)
    void fnn_network_free(fnn_network *network)
    fnn_status fnn_network_set_optimizer(fnn_network *network, const fnn_optimizer *)
    void fnn_network_set_factors(
        fnn_network *network, size_t layer, const fnn_factors *w, const fnn_factors *b)
    void fnn_network_set_trainable(fnn_network *network, size_t layer, int trainable)
    fnn_status fnn_network_set_scaling(
        fnn_network *network, const double *scale, const double *shift)
    void fnn_network_set_threads(fnn_network *network, int threads)
    double fnn_network_squares(const fnn_network *)
    int fnn_takes_sparse(const fnn_network *)
    size_t fnn_network_bytes(const fnn_network *network)
    uint64_t fnn_network_get_step(const fnn_network *network)
    void fnn_network_set_step(fnn_network *network, uint64_t step)
    fnn_status fnn_network_prepare(fnn_network *network)
    void fnn_network_get_statistics(
        const fnn_network *network, size_t layer, void *mean, void *variance)
    void fnn_network_pending_statistics(
        const fnn_network *network, size_t layer, void *mean, void *variance)
    void fnn_network_set_statistics(
        fnn_network *network, size_t layer, const void *mean, const void *variance)
    void fnn_network_get(
        const fnn_network *network, size_t layer, int part, void *w, void *b)
    void fnn_network_set(
        fnn_network *network, size_t layer, int part, const void *w, const void *b)
    fnn_status fnn_train(
        fnn_network *network, const fnn_data *data, const fnn_steps *steps,
        size_t *start, double *totals)
    fnn_status fnn_gradients(
        fnn_network *network, const fnn_data *data, const double *dropout_rates,
        double *totals, void **dw, void **db)
    fnn_status fnn_backward(
        fnn_network *network, const fnn_data *data, const double *dropout_rates,
        void **dw, void **db, void *dx)
    fnn_status fnn_training_outputs(
        fnn_network *network, const fnn_data *data, const double *dropout_rates,
        void *out)
    fnn_status fnn_apply_gradients(
        fnn_network *network, double rate, double decay, const void *const *dw,
        const void *const *db)
    fnn_status fnn_predict(
        const fnn_network *network, const fnn_array *x, fnn_output kind, void *out,
        size_t *start, double max_seconds)
    fnn_status fnn_evaluate(
        const fnn_network *network, const fnn_data *data, size_t *start,
        double *totals, double max_seconds)
    fnn_status fnn_predict_one(const fnn_network *network, const void *x, void *out)
    fnn_status fnn_all_finite(
        const fnn_network *network, const fnn_array *x, int *finite)
    const fnn_stateless *fnn_stateless_functions()

    ctypedef enum fnn_roof:
        FNN_MULTIPLY_ADD, FNN_READ, FNN_COPY
    double fnn_measure_roof(
        fnn_roof, fnn_dtype, int threads, void *memory, size_t bytes, size_t repeats,
        double *work)
