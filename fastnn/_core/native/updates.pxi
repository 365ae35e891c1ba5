"""The stateless updates of optimizers."""

from fastnn._plan.functions import check_update
from fastnn.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, NAdam, RMSprop


cdef int update(
    object spec, object w, object dw, object state, object step=1, int kind=-1
) except -1:
    check_update(w, dw, **state)
    cdef uint64_t number = check_integer("step", step, 1)
    check_number(
        "learning_rate", spec.learning_rate, "a finite number > 0", lambda x: x > 0
    )
    check_number("weight_decay", spec.weight_decay, *NOT_NEGATIVE)
    cdef fnn_optimizer optimizer = describe_optimizer(spec)
    if kind >= 0:
        optimizer.kind = <fnn_optimizer_kind> kind
    if w.size == 0:
        return 0
    dw = plain(dw)
    first, second = (*state.values(), None, None)[:2]
    stateless().optimizer_update(
        dtype_of(w), &optimizer, number, address(w), address(dw), address(first),
        address(second), w.size,
    )
    return 0


def sgd_update(w, dw, learning_rate=0.01):
    """w := w - lr dw"""
    update(SGD(learning_rate), w, dw, {})


def momentum_update(w, dw, velocity, learning_rate=0.01, momentum=0.9):
    """v := mu v + dw;  w := w - lr v"""
    spec = SGD(learning_rate, momentum)
    # Also for momentum 0, which SGD takes as plain.
    update(spec, w, dw, {"velocity": velocity}, 1, FNN_MOMENTUM)


def nesterov_update(w, dw, velocity, learning_rate=0.01, momentum=0.9):
    """v := mu v + dw;  w := w - lr (dw + mu v)"""
    spec = SGD(learning_rate, momentum)
    update(spec, w, dw, {"velocity": velocity}, 1, FNN_NESTEROV)


def rmsprop_update(w, dw, mean_square, learning_rate=0.01, rho=0.99, epsilon=1e-8):
    """s := rho s + (1 - rho) dw^2;  w := w - lr dw / (sqrt(s) + epsilon)"""
    spec = RMSprop(learning_rate, rho, epsilon)
    update(spec, w, dw, {"mean_square": mean_square})


def adagrad_update(w, dw, sum_of_squares, learning_rate=0.01, epsilon=1e-10):
    """s := s + dw^2;  w := w - lr dw / (sqrt(s) + epsilon)"""
    spec = AdaGrad(learning_rate, epsilon)
    update(spec, w, dw, {"sum_of_squares": sum_of_squares})


def adam_update(
    w,
    dw,
    first_moment,
    second_moment,
    step,
    learning_rate=1e-3,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-8,
):
    """w := w - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)"""
    spec = Adam(learning_rate, beta_1, beta_2, epsilon)
    moments = {"first_moment": first_moment, "second_moment": second_moment}
    update(spec, w, dw, moments, step)


def adamw_update(
    w,
    dw,
    first_moment,
    second_moment,
    step,
    learning_rate=1e-3,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-8,
    weight_decay=0.01,
):
    """w := (1 - lr * weight_decay) w, then Adam"""
    spec = AdamW(learning_rate, beta_1, beta_2, epsilon, weight_decay=weight_decay)
    moments = {"first_moment": first_moment, "second_moment": second_moment}
    update(spec, w, dw, moments, step)


def nadam_update(
    w,
    dw,
    first_moment,
    second_moment,
    step,
    learning_rate=2e-3,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-8,
    momentum_decay=4e-3,
):
    """Adam with Nesterov's momentum"""
    spec = NAdam(learning_rate, beta_1, beta_2, epsilon, momentum_decay)
    moments = {"first_moment": first_moment, "second_moment": second_moment}
    update(spec, w, dw, moments, step)


def lion_update(w, dw, first_moment, learning_rate=1e-4, beta_1=0.9, beta_2=0.99):
    """w := w - lr sign(b1 m + (1 - b1) dw);  m := b2 m + (1 - b2) dw"""
    spec = Lion(learning_rate, beta_1, beta_2)
    update(spec, w, dw, {"first_moment": first_moment})
