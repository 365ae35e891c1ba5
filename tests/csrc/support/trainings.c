/* The trainings whose bits are compared: plain networks, and some with every layer,
 * activation and step of an update. */
#include "support/network.h"

#define ACTIVATED(name, value) .activation = {name, value}

/* Large and small dense layers between all the others; the activations of the first
 * panels are followed by stages that take rows, and the other way round. */
static const fnn_layer everything[] = {
    {.kind = FNN_DENSE, .units = 40, .use_bias = 1, .trainable = 1},
    {.kind = FNN_BATCH_NORM,
     ACTIVATED(FNN_RELU, 0.0),
     .momentum = 0.1,
     .epsilon = 1e-5,
     .trainable = 1},
    {.kind = FNN_DROPOUT, .rate = 0.3, .key = UINT64_C(0x123456789abcdef)},
    {.kind = FNN_DENSE,
     .units = 450,
     ACTIVATED(FNN_GELU, 0.0),
     .use_bias = 1,
     .trainable = 1},
    {.kind = FNN_LAYER_NORM, ACTIVATED(FNN_TANH, 0.0), .epsilon = 1e-5, .trainable = 1},
    {.kind = FNN_SCALE, .trainable = 1},
    {.kind = FNN_DENSE, .units = 150, ACTIVATED(FNN_SILU, 0.0), .trainable = 1},
    {.kind = FNN_BATCH_NORM, .momentum = 0.1, .epsilon = 1e-3},
    {.kind = FNN_DROPOUT, .rate = 0.5, .key = 7},
    {.kind = FNN_DENSE,
     .units = 12,
     ACTIVATED(FNN_SOFTMAX, 0.0),
     .use_bias = 1,
     .trainable = 1},
    {.kind = FNN_DENSE, .units = 5, .use_bias = 1, .trainable = 1},
};

/* The input normalised, an activation in front of the loss. */
static const fnn_layer normed[] = {
    {.kind = FNN_SCALE, .trainable = 1},
    {.kind = FNN_BATCH_NORM, .momentum = 0.5, .epsilon = 1e-5, .trainable = 1},
    {.kind = FNN_DENSE,
     .units = 33,
     ACTIVATED(FNN_LEAKY_RELU, 0.1),
     .use_bias = 1,
     .trainable = 1},
    {.kind = FNN_LAYER_NORM, ACTIVATED(FNN_MISH, 0.0), .epsilon = 1e-5, .trainable = 1},
    {.kind = FNN_DENSE,
     .units = 20,
     ACTIVATED(FNN_ELU, 1.5),
     .use_bias = 1,
     .trainable = 1},
    {.kind = FNN_DENSE,
     .units = 4,
     ACTIVATED(FNN_SIGMOID, 0.0),
     .use_bias = 1,
     .trainable = 1},
};

/* The backward pass ends in the middle, at a batch norm. */
static const fnn_layer frozen[] = {
    {.kind = FNN_DROPOUT, .rate = 0.2, .key = 99},
    {.kind = FNN_DENSE, .units = 30, ACTIVATED(FNN_TANH, 0.0), .use_bias = 1},
    {.kind = FNN_BATCH_NORM,
     ACTIVATED(FNN_SELU, 0.0),
     .momentum = 0.3,
     .epsilon = 1e-5,
     .trainable = 1},
    {.kind = FNN_DENSE, .units = 30, ACTIVATED(FNN_SOFTPLUS, 0.0), .use_bias = 1},
    {.kind = FNN_DENSE,
     .units = 3,
     ACTIVATED(FNN_GELU_TANH, 0.0),
     .use_bias = 1,
     .trainable = 1},
    {.kind = FNN_LAYER_NORM,
     ACTIVATED(FNN_SOFTMAX, 0.0),
     .epsilon = 1e-5,
     .trainable = 1},
};

/* What becomes of single columns, more than a panel of them, and of units. */
static const size_t bins[] = {3, 1, 2};
static const double edges[] = {-1.0, -0.3, 0.2, 1.1, -0.5, 0.5, -2.0, 0.0, 1.0};
static const fnn_layer columns[] = {
    {.kind = FNN_PERIODIC,
     .units = 55,
     .use_bias = 1,
     .trainable = 1,
     .columns = 18,
     .size = 3,
     .terms = 5},
    {.kind = FNN_PIECEWISE,
     .units = 109,
     .use_bias = 1,
     .trainable = 1,
     .columns = 3,
     .size = 19,
     .counts = bins,
     .edges = edges},
    {.kind = FNN_DENSE, .units = 150, .use_bias = 1, .trainable = 1},
    {.kind = FNN_PARAMETRIC, ACTIVATED(FNN_MISH, 0.0), .trainable = 1},
    {.kind = FNN_DENSE, .units = 33, .use_bias = 1, .trainable = 1},
    {.kind = FNN_PARAMETRIC, ACTIVATED(FNN_SELU, 0.0), .trainable = 1},
    {.kind = FNN_DENSE, .units = 4, .use_bias = 1, .trainable = 1},
};

#define LAYERS(which) .layers = which, .n_layers = sizeof which / sizeof *which

static const fnn_optimizer nadam = {.kind = FNN_NADAM,
                                    .learning_rate = 2e-3,
                                    .beta_1 = 0.9,
                                    .beta_2 = 0.999,
                                    .epsilon = 1e-8,
                                    .momentum_decay = 4e-3};
static const fnn_optimizer rmsprop = {.kind = FNN_RMSPROP,
                                      .learning_rate = 1e-2,
                                      .beta_2 = 0.99,
                                      .epsilon = 1e-8,
                                      .clip_norm = 0.5,
                                      .max_norm = 1.5};
static const fnn_optimizer lion = {.kind = FNN_LION,
                                   .learning_rate = 1e-2,
                                   .beta_1 = 0.9,
                                   .beta_2 = 0.99,
                                   .l1 = 1e-4,
                                   .l2 = 1e-3,
                                   .clip_value = 0.05,
                                   .weight_decay = 0.1};

static const spec trained[] = {{.name = "sgd, in place",
                                .dtype = FNN_F32,
                                .sizes = {20, 33, 10},
                                .kind = FNN_SGD,
                                .learning_rate = 0.1,
                                .x_type = FNN_FLOAT32,
                                .rows = 100,
                                .batch = 32},
                               {.name = "adam, u8, wide",
                                .dtype = FNN_F32,
                                .sizes = {50, 200, 150, 10},
                                .kind = FNN_ADAM,
                                .learning_rate = 1e-3,
                                .x_type = FNN_U8,
                                .rows = 70,
                                .batch = 32,
                                .shuffled = 1,
                                .weighted = 1,
                                .smoothing = 0.1},
                               {.name = "adamw",
                                .dtype = FNN_F32,
                                .sizes = {9, 64, 64, 4},
                                .kind = FNN_ADAM,
                                .learning_rate = 1e-2,
                                .weight_decay = 0.1,
                                .x_type = FNN_FLOAT32,
                                .rows = 75,
                                .batch = 16,
                                .shuffled = 1},
                               {.name = "one layer",
                                .dtype = FNN_F32,
                                .sizes = {31, 7},
                                .kind = FNN_SGD,
                                .learning_rate = 0.1,
                                .x_type = FNN_FLOAT32,
                                .rows = 65,
                                .batch = 64,
                                .weighted = 1},
                               {.name = "batch of one",
                                .dtype = FNN_F32,
                                .sizes = {5, 300, 3},
                                .kind = FNN_NESTEROV,
                                .learning_rate = 0.01,
                                .x_type = FNN_FLOAT64,
                                .rows = 6,
                                .batch = 1,
                                .shuffled = 1,
                                .soft = 1},
                               {.name = "momentum, soft",
                                .dtype = FNN_F64,
                                .sizes = {17, 40, 3},
                                .kind = FNN_MOMENTUM,
                                .learning_rate = 0.05,
                                .x_type = FNN_FLOAT64,
                                .rows = 90,
                                .batch = 30,
                                .soft = 1,
                                .smoothing = 0.2},
                               {.name = "nesterov, wide",
                                .dtype = FNN_F64,
                                .sizes = {30, 130, 90, 5},
                                .kind = FNN_NESTEROV,
                                .learning_rate = 0.02,
                                .x_type = FNN_FLOAT32,
                                .rows = 66,
                                .batch = 33,
                                .shuffled = 1,
                                .weighted = 1},
                               {.name = "adam",
                                .dtype = FNN_F64,
                                .sizes = {8, 20, 20, 20, 2},
                                .kind = FNN_ADAM,
                                .learning_rate = 1e-2,
                                .x_type = FNN_FLOAT64,
                                .rows = 64,
                                .batch = 16},
                               {.name = "sgd, u8",
                                .dtype = FNN_F64,
                                .sizes = {65, 17},
                                .kind = FNN_SGD,
                                .learning_rate = 0.1,
                                .x_type = FNN_U8,
                                .rows = 50,
                                .batch = 7,
                                .shuffled = 1,
                                .weighted = 1,
                                .soft = 1},
                               /* Rows are gathered ahead: see train.c. */
                               {.name = "adam, u8, first layer wide",
                                .dtype = FNN_F32,
                                .sizes = {176, 96, 10},
                                .kind = FNN_ADAM,
                                .learning_rate = 1e-3,
                                .x_type = FNN_U8,
                                .rows = 200,
                                .batch = 32,
                                .shuffled = 1,
                                .weighted = 1},
                               {.name = "sgd, in place, first layers wide",
                                .dtype = FNN_F64,
                                .sizes = {88, 96, 130, 5},
                                .kind = FNN_SGD,
                                .learning_rate = 0.05,
                                .x_type = FNN_FLOAT64,
                                .rows = 100,
                                .batch = 16},
                               {.name = "momentum, soft, one wide layer",
                                .dtype = FNN_F64,
                                .sizes = {88, 96},
                                .kind = FNN_MOMENTUM,
                                .learning_rate = 0.05,
                                .x_type = FNN_FLOAT32,
                                .rows = 120,
                                .batch = 20,
                                .shuffled = 1,
                                .soft = 1},
#define LAYERED(type, x)                    \
  {.name = "everything, " x,                \
   .dtype = type,                           \
   .sizes = {20},                           \
   LAYERS(everything),                      \
   .optimizer = &nadam,                     \
   .loss = {FNN_BINARY_CROSS_ENTROPY, 0.0}, \
   .x_type = FNN_FLOAT32,                   \
   .rows = 41,                              \
   .batch = 8,                              \
   .accumulate = 2,                         \
   .shuffled = 1,                           \
   .weighted = 1,                           \
   .soft = 1},                              \
      {.name = "normed, " x,                \
       .dtype = type,                       \
       .sizes = {19},                       \
       LAYERS(normed),                      \
       .optimizer = &rmsprop,               \
       .loss = {FNN_MSE, 0.0},              \
       .x_type = FNN_U8,                    \
       .rows = 60,                          \
       .batch = 20,                         \
       .weighted = 1,                       \
       .soft = 1},                          \
      {.name = "columns, " x,               \
       .dtype = type,                       \
       .sizes = {19},                       \
       LAYERS(columns),                     \
       .optimizer = &rmsprop,               \
       .loss = {FNN_MSE, 0.0},              \
       .x_type = FNN_FLOAT32,               \
       .rows = 60,                          \
       .batch = 20,                         \
       .shuffled = 1,                       \
       .soft = 1},                          \
      {.name = "frozen, " x,                \
       .dtype = type,                       \
       .sizes = {17},                       \
       LAYERS(frozen),                      \
       .optimizer = &lion,                  \
       .loss = {FNN_HUBER, 0.1},            \
       .x_type = FNN_FLOAT64,               \
       .rows = 50,                          \
       .batch = 7,                          \
       .accumulate = 3,                     \
       .soft = 1},
                               LAYERED(FNN_F32, "f32") LAYERED(FNN_F64, "f64") LAYERED(
                                   FNN_BF16, "bf16"){.name = "sgd, in place, bf16",
                                                     .dtype = FNN_BF16,
                                                     .sizes = {21, 133, 150, 9},
                                                     .kind = FNN_SGD,
                                                     .learning_rate = 0.1,
                                                     .x_type = FNN_FLOAT32,
                                                     .rows = 100,
                                                     .batch = 33},
                               {.name = "adamw, u8, bf16",
                                .dtype = FNN_BF16,
                                .sizes = {51, 200, 150, 10},
                                .kind = FNN_ADAM,
                                .learning_rate = 1e-3,
                                .weight_decay = 0.1,
                                .x_type = FNN_U8,
                                .rows = 70,
                                .batch = 32,
                                .shuffled = 1,
                                .weighted = 1},
                               {.name = "batch of one, bf16",
                                .dtype = FNN_BF16,
                                .sizes = {5, 301, 3},
                                .kind = FNN_MOMENTUM,
                                .learning_rate = 0.01,
                                .x_type = FNN_FLOAT64,
                                .rows = 6,
                                .batch = 1,
                                .accumulate = 3,
                                .soft = 1}};

size_t trained_cases(void) { return sizeof trained / sizeof *trained; }
const spec *trained_spec(size_t i) { return &trained[i]; }
