"""Automatic differentiation in NumPy, in the form of a tape: reverse mode, complete.

Every operation records its result, what it was computed from, and for each of these a
function from the gradient wrt the result to that wrt it. `gradients` reads the tape
backwards. That is all there is to it; frameworks add speed and more operations.

>>> x = Variable(np.array([1.0, 2.0, 3.0]))
>>> gradients((x * x).sum(), [x])
[array([2., 4., 6.])]
"""

import numpy as np


class Variable:
    """An array that knows how it was computed."""

    __array_ufunc__ = None  # NumPy's arrays leave `array + variable` to us

    def __init__(self, value, parents=()):
        self.value = np.asarray(value, dtype=float)
        self.parents = parents  # (variable, function from d_result to d_variable)

    @property
    def shape(self):
        return self.value.shape

    def __add__(self, other):
        other = as_variable(other)
        return record(
            self.value + other.value,
            (self, lambda d: fit(d, self.shape)),
            (other, lambda d: fit(d, other.shape)),
        )

    def __mul__(self, other):
        other = as_variable(other)
        return record(
            self.value * other.value,
            (self, lambda d: fit(d * other.value, self.shape)),
            (other, lambda d: fit(d * self.value, other.shape)),
        )

    def __pow__(self, exponent):
        return record(
            self.value**exponent,
            (self, lambda d: d * exponent * self.value ** (exponent - 1)),
        )

    def __matmul__(self, other):
        other = as_variable(other)
        return record(
            self.value @ other.value,
            (self, lambda d: d @ other.value.T),
            (other, lambda d: self.value.T @ d),
        )

    def __rmatmul__(self, other):
        return as_variable(other) @ self

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -as_variable(other)

    def __truediv__(self, other):
        return self * as_variable(other) ** -1

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other):
        return -self + other

    def __rtruediv__(self, other):
        return self**-1 * other

    def exp(self):
        y = np.exp(self.value)
        return record(y, (self, lambda d: d * y))

    def log(self):
        return record(np.log(self.value), (self, lambda d: d / self.value))

    def tanh(self):
        y = np.tanh(self.value)
        return record(y, (self, lambda d: d * (1 - y * y)))

    def relu(self):
        y = np.maximum(self.value, 0)
        return record(y, (self, lambda d: np.where(y > 0, d, 0)))

    def sum(self, axis=None):
        def spread(d):
            return np.broadcast_to(
                d if axis is None else np.expand_dims(d, axis), self.shape
            )

        return record(self.value.sum(axis=axis), (self, spread))

    def mean(self):
        return self.sum() / self.value.size

    def __getitem__(self, index):
        def scatter(d):
            out = np.zeros(self.shape)
            np.add.at(out, index, d)  # an element may be taken several times
            return out

        return record(self.value[index], (self, scatter))


def as_variable(value):
    return value if isinstance(value, Variable) else Variable(value)


def record(value, *parents):
    return Variable(value, parents)


def fit(d, shape):
    """Sum the gradient over what broadcasting has repeated."""
    d = d.sum(axis=tuple(range(d.ndim - len(shape))))
    ones = tuple(i for i, n in enumerate(shape) if n == 1)
    return d.sum(axis=ones, keepdims=True)


def in_order(result):
    """All that a result was computed from, each variable after its parents."""
    order, seen, stack = [], set(), [(result, False)]
    while stack:  # no recursion: a tape may be long
        variable, is_done = stack.pop()
        if is_done:
            order.append(variable)
        elif id(variable) not in seen:
            seen.add(id(variable))
            stack.append((variable, True))
            stack += [(parent, False) for parent, _ in variable.parents]
    return order


def gradients(result, variables):
    """Return the gradients of a scalar result wrt these variables."""
    found = {id(result): np.ones(result.shape)}
    for variable in reversed(in_order(result)):
        d = found[id(variable)]
        for parent, pull in variable.parents:
            # A variable that is used twice has the sum of both gradients.
            found[id(parent)] = found.get(id(parent), 0) + pull(d)
    return [found.get(id(each), np.zeros(each.shape)) for each in variables]
