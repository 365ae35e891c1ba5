"""Specs of the plan as structs of C: names to numbers, fields to fields."""

from fastnn.activations import storable
from fastnn.schedules import first_rate, rates

cdef dict numbers(const char *(*name_of)(size_t) noexcept nogil):
    """Of the kinds that csrc/kinds.h lists, by their names."""
    cdef dict found = {}
    cdef size_t kind = 0
    while name_of(kind) != NULL:
        found[name_of(kind).decode()] = kind
        kind += 1
    return found


cdef dict ACTIVATIONS = numbers(fnn_activation_name)
cdef dict LOSSES = numbers(fnn_loss_name)
cdef dict OPTIMIZERS = numbers(fnn_optimizer_name)
OPTIMIZERS["lbfgs"] = OPTIMIZERS["sgd"]  # makes no steps here: see training/lbfgs.py
cdef dict LAYERS = {
    "dense": FNN_DENSE,
    "dropout": FNN_DROPOUT,
    "batch_norm": FNN_BATCH_NORM,
    "layer_norm": FNN_LAYER_NORM,
    "scale": FNN_SCALE,
    "periodic_embedding": FNN_PERIODIC,
    "piecewise_linear_embedding": FNN_PIECEWISE,
    "embedding": FNN_TABLE,
    "parametric_activation": FNN_PARAMETRIC,
}
cdef dict DTYPES = {"float32": FNN_F32, "float64": FNN_F64, "bfloat16": FNN_BF16}
cdef dict OUTPUTS = {"logits": FNN_LOGITS, "values": FNN_VALUES, "labels": FNN_LABELS}

cdef fnn_activation describe_activation(object spec) except *:
    """The engine's form of the name of an activation, or of its object."""
    cdef fnn_activation activation
    resolved = storable(spec)  # no function of Python
    activation.kind = ACTIVATIONS[resolved.name]
    activation.parameter = resolved.parameter
    return activation


cdef fnn_loss describe_loss(object spec) except *:
    cdef fnn_loss loss
    loss.kind = LOSSES[spec.name]
    loss.parameter = spec.parameter
    return loss


cdef object levels_of(object loss):
    return np.array(getattr(loss, "levels", (0.0,)), np.double)


cdef fnn_optimizer describe_optimizer(object spec) except *:
    cdef fnn_optimizer optimizer
    optimizer.kind = OPTIMIZERS[spec.rule]
    # What schedules say is given with each call.
    optimizer.learning_rate = first_rate(spec.learning_rate)
    optimizer.momentum = getattr(spec, "momentum", 0.0)
    optimizer.beta_1 = getattr(spec, "beta_1", 0.0)
    optimizer.beta_2 = getattr(spec, "beta_2", getattr(spec, "rho", 0.0))
    optimizer.epsilon = getattr(spec, "epsilon", 1.0)
    optimizer.epsilon_hat = getattr(spec, "epsilon_hat", False)
    optimizer.momentum_decay = getattr(spec, "momentum_decay", 0.0)
    optimizer.weight_decay = first_rate(spec.weight_decay)
    optimizer.l1 = spec.l1
    optimizer.l2 = spec.l2
    optimizer.clip_value = spec.clip_value or 0.0
    optimizer.clip_norm = spec.clip_norm or 0.0
    optimizer.max_norm = spec.max_norm or 0.0
    return optimizer


cdef fnn_layer describe_layer(
    object spec, size_t n_inputs, uint64_t key, list kept
) except *:
    """The engine's form of a layer, valid as long as what is added to `kept`."""
    cdef fnn_layer layer
    layer.kind = LAYERS[spec.name]
    layer.units = spec.n_outputs(n_inputs)
    layer.activation = describe_activation(getattr(spec, "function", spec.activation))
    layer.use_bias = getattr(spec, "use_bias", True)
    layer.trainable = spec.trainable
    layer.rate = first_rate(getattr(spec, "rate", 0.0))
    layer.momentum = getattr(spec, "momentum", 0.0)
    layer.epsilon = getattr(spec, "epsilon", 0.0)
    layer.key = key
    layer.columns = layer.size = layer.terms = 0
    layer.counts = NULL
    layer.edges = NULL
    if hasattr(spec, "n_columns"):
        layer.columns = spec.n_columns(n_inputs)
        layer.size = spec.size
        layer.terms = getattr(spec, "frequencies", 0)
    if hasattr(spec, "counts"):
        counts = np.array(spec.counts, np.uintp)
        layer.counts = <const size_t *> address(counts)
        kept.append(counts)
    if hasattr(spec, "bins"):
        edges = np.concatenate(spec.bins, dtype=np.double)
        layer.edges = <const double *> address(edges)
        kept.append(edges)
    return layer
