"""The stateless updates of optimizers."""

from fastnn._plan.functions import check_update
from fastnn.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, NAdam, RMSprop


cdef fnn_optimizer rule_of(object spec) except *:
    check_number(
        "learning_rate", spec.learning_rate, "a finite number > 0", lambda x: x > 0
    )
    return describe_optimizer(spec)


cdef int update(
    fnn_optimizer *optimizer, uint64_t step, object w, object dw, list state
) except -1:
    if w.size == 0:
        return 0
    dw = plain(dw)
    stateless().optimizer_update(
        dtype_of(w), optimizer, step, address(w), address(dw),
        address(state[0]) if state else NULL,
        address(state[1]) if len(state) > 1 else NULL,
        w.size,
    )
    return 0


def sgd_update(w, dw, learning_rate=0.01):
    """w := w - lr dw"""
    check_update(w, dw)
    cdef fnn_optimizer optimizer = rule_of(SGD(learning_rate))
    update(&optimizer, 1, w, dw, [])


def momentum_update(w, dw, velocity, learning_rate=0.01, momentum=0.9):
    """v := mu v + dw;  w := w - lr v"""
    check_update(w, dw, velocity=velocity)
    cdef fnn_optimizer optimizer = rule_of(SGD(learning_rate, momentum))
    optimizer.kind = FNN_MOMENTUM  # also for momentum 0, which SGD takes as plain
    update(&optimizer, 1, w, dw, [velocity])


def nesterov_update(w, dw, velocity, learning_rate=0.01, momentum=0.9):
    """v := mu v + dw;  w := w - lr (dw + mu v)"""
    check_update(w, dw, velocity=velocity)
    cdef fnn_optimizer optimizer = rule_of(SGD(learning_rate, momentum))
    optimizer.kind = FNN_NESTEROV
    update(&optimizer, 1, w, dw, [velocity])


def rmsprop_update(w, dw, mean_square, learning_rate=0.01, rho=0.99, epsilon=1e-8):
    """s := rho s + (1 - rho) dw^2;  w := w - lr dw / (sqrt(s) + epsilon)"""
    check_update(w, dw, mean_square=mean_square)
    spec = RMSprop(learning_rate, rho, epsilon)
    cdef fnn_optimizer optimizer = rule_of(spec)
    update(&optimizer, 1, w, dw, [mean_square])


def adagrad_update(w, dw, sum_of_squares, learning_rate=0.01, epsilon=1e-10):
    """s := s + dw^2;  w := w - lr dw / (sqrt(s) + epsilon)"""
    check_update(w, dw, sum_of_squares=sum_of_squares)
    cdef fnn_optimizer optimizer = rule_of(AdaGrad(learning_rate, epsilon))
    update(&optimizer, 1, w, dw, [sum_of_squares])


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
    check_update(w, dw, first_moment=first_moment, second_moment=second_moment)
    step = check_integer("step", step, 1)
    spec = Adam(learning_rate, beta_1, beta_2, epsilon)
    cdef fnn_optimizer optimizer = rule_of(spec)
    update(&optimizer, step, w, dw, [first_moment, second_moment])


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
    check_update(w, dw, first_moment=first_moment, second_moment=second_moment)
    step = check_integer("step", step, 1)
    spec = AdamW(
        learning_rate, beta_1, beta_2, epsilon, weight_decay=weight_decay
    )
    cdef fnn_optimizer optimizer = rule_of(spec)
    update(&optimizer, step, w, dw, [first_moment, second_moment])


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
    check_update(w, dw, first_moment=first_moment, second_moment=second_moment)
    step = check_integer("step", step, 1)
    spec = NAdam(learning_rate, beta_1, beta_2, epsilon, momentum_decay)
    cdef fnn_optimizer optimizer = rule_of(spec)
    update(&optimizer, step, w, dw, [first_moment, second_moment])


def lion_update(w, dw, first_moment, learning_rate=1e-4, beta_1=0.9, beta_2=0.99):
    """w := w - lr sign(b1 m + (1 - b1) dw);  m := b2 m + (1 - b2) dw"""
    check_update(w, dw, first_moment=first_moment)
    cdef fnn_optimizer optimizer = rule_of(
        Lion(learning_rate, beta_1, beta_2)
    )
    update(&optimizer, 1, w, dw, [first_moment])
