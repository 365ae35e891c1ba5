"""The value of a few operators on one tensor x, in a form that can be compared.

``recognize(segment) -> Meaning``: the importer meets, say, GELU as five operators in
whatever order their exporter had them. They are brought into a normal form, in which
sums and products have no order, and looked up among the same of the exporter's recipes
and of others'.

An expression is a sum, {monomial: coefficient}; a monomial is a sorted tuple of
(factor, exponent), () for the constant; a factor is x, a function of expressions, or a
sum that stands in a product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from fastnn.activations import ACTIVATIONS

from .recipes import RECIPES, Operators, write_normalization

__all__ = ["Expressions", "NotAnExpression", "recognize"]

Expression = dict[Any, float]

# Written out as a tree, what shares parts can be exponentially large; fastnn's own GELU
# in float64 has 250.
_MAX_SIZE = 1000
_CLOSE = 1e-4  # constants as others round them: 0.044715, 0.7979, 1.4142

# Functions of one expression that are nothing but themselves here.
_FUNCTIONS = frozenset(
    {"Abs", "Erf", "Exp", "Log", "ReduceMean", "Relu", "Softplus", "Tanh"}
)


@dataclass(frozen=True)
class _Factor:
    """x, a sum, or a function of one: its terms are (monomial, coefficient)."""

    name: str
    terms: tuple[Any, ...] = ()
    size: int = field(default=1, compare=False)


def _factor_of(name: str, terms: list[tuple[Any, float]], divisor: float) -> _Factor:
    size = 1 + sum(f.size for monomial, _ in terms for f, _ in monomial) + len(terms)
    if size > _MAX_SIZE:
        raise NotAnExpression(name)
    # The same for 1 - 1e-16 as for 1: factors must be equal to be collected.
    rounded = tuple((m, float(f"{c / divisor:.12g}")) for m, c in terms)
    return _Factor(name, rounded, size)


_X = _Factor("x")


@dataclass(frozen=True)
class Meaning:
    """``factor * f(x)`` of the function f with this name and parameter."""

    name: str  # of an activation, or "normalize", as LayerNorm does
    parameter: float
    factor: float


class NotAnExpression(Exception):
    """An operator, or its arguments, that no activation is made of."""


class Expressions:
    """Operators (see `recipes.Operators`) that return expressions."""

    x: ClassVar[Expression] = {((_X, 1),): 1.0}

    def __call__(self, op_type: str, *inputs: Any, **attributes: Any) -> Expression:
        arguments = [{(): float(x)} if not isinstance(x, dict) else x for x in inputs]
        rule = _RULES.get(op_type)
        try:
            if rule is not None:
                result = rule(*arguments)
            elif op_type in _FUNCTIONS:
                (argument,) = arguments
                result = _function(op_type, argument)
            else:
                raise NotAnExpression(op_type)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise NotAnExpression(op_type) from error
        # Sums and products, too, must not outgrow what a factor may be.
        _factor_of(op_type, list(result.items()), 1.0)
        return result


def recognize(expression: Expression) -> Meaning | None:
    """Return what the expression is; None if it is nothing that a network has."""
    for template in _templates().get(_shape(expression), ()):
        meaning = template.match(expression)
        if meaning is not None:
            return meaning
    return None


# Arithmetic.


def _constant(e: Expression) -> float | None:
    return e.get((), 0.0) if not e.keys() - {()} else None


def _scaled(e: Expression, factor: float) -> Expression:
    return {m: c * factor for m, c in e.items() if c * factor}


def _add(a: Expression, b: Expression) -> Expression:
    total = dict(a)
    for monomial, coefficient in b.items():
        total[monomial] = total.get(monomial, 0.0) + coefficient
    return {m: c for m, c in total.items() if c}


def _multiply(a: Expression, b: Expression) -> Expression:
    for first, second in ((a, b), (b, a)):
        if (constant := _constant(first)) is not None:
            return _scaled(second, constant)
    exponents: dict[Any, int] = {}
    coefficient = 1.0
    for e in (a, b):
        coefficient *= _collect(e, 1, exponents)
    return _product(exponents, coefficient)


def _power(e: Expression, exponent: int) -> Expression:
    if (constant := _constant(e)) is not None:
        return {(): constant**exponent}
    exponents: dict[Any, int] = {}
    coefficient = _collect(e, exponent, exponents)
    return _product(exponents, coefficient**exponent)


def _collect(e: Expression, exponent: int, exponents: dict[Any, int]) -> float:
    """Add the factors of e to the exponents; return its coefficient."""
    if len(e) == 1:
        ((monomial, coefficient),) = e.items()
        for factor, power in monomial:
            exponents[factor] = exponents.get(factor, 0) + power * exponent
        return coefficient
    terms = _sorted(e)
    leading = terms[0][1]
    factor = _factor_of("sum", terms, leading)
    exponents[factor] = exponents.get(factor, 0) + exponent
    return leading


def _product(exponents: dict[Any, int], coefficient: float) -> Expression:
    powers = [(factor, power) for factor, power in exponents.items() if power]
    if len(powers) == 1 and powers[0][1] == 1 and powers[0][0].name == "sum":
        return {m: c * coefficient for m, c in powers[0][0].terms}
    monomial = tuple(sorted(powers, key=_key))
    return {monomial: coefficient} if coefficient else {}


def _function(name: str, argument: Expression) -> Expression:
    return {((_factor_of(name, _sorted(argument), 1.0), 1),): 1.0}


def _integer_power(base: Expression, exponent: Expression) -> Expression:
    n = _constant(exponent)
    if n == 0.5:
        return _function("Sqrt", base)
    if n is None or n != int(n) or not 1 <= abs(n) <= 8:
        raise NotAnExpression("Pow")
    return _power(base, int(n))


def _sigmoid(e: Expression) -> Expression:
    return _power(_add(_function("Exp", _scaled(e, -1.0)), {(): 1.0}), -1)


def _maximum(a: Expression, b: Expression) -> Expression:
    if _constant(a) == 0:
        a, b = b, a
    if _constant(b) != 0:
        raise NotAnExpression("Max")
    return _function("Relu", a)


def _where(condition: Expression, a: Expression, b: Expression) -> Expression:
    # PyTorch's softplus is x above 20, the same to 2e-9.
    above = _function("Greater", _add(a, {(): -20.0}))
    if (condition, b) != (above, _function("Softplus", a)):
        raise NotAnExpression("Where")
    return b


_RULES: dict[str, Callable[..., Expression]] = {
    "Add": _add,
    "Sub": lambda a, b: _add(a, _scaled(b, -1.0)),
    "Mul": _multiply,
    "Div": lambda a, b: _multiply(a, _power(b, -1)),
    "Neg": lambda a: _scaled(a, -1.0),
    "Reciprocal": lambda a: _power(a, -1),
    "Pow": _integer_power,
    "Sqrt": lambda a: _function("Sqrt", a),
    "Sigmoid": _sigmoid,
    "Max": _maximum,
    "Min": lambda a, b: _scaled(_maximum(_scaled(a, -1.0), _scaled(b, -1.0)), -1.0),
    "Identity": lambda a: a,
    "Greater": lambda a, b: _function("Greater", _add(a, _scaled(b, -1.0))),
    "Where": _where,
}


# Shapes: expressions without their numbers. They decide the order of terms.


def _sorted(e: Expression) -> list[tuple[Any, float]]:
    return sorted(e.items(), key=lambda item: _text_of_monomial(item[0]))


@lru_cache(maxsize=4096)
def _text(factor: _Factor) -> str:
    return f"{factor.name}({'+'.join(_text_of_monomial(m) for m, _ in factor.terms)})"


def _text_of_monomial(monomial: Any) -> str:
    return "*".join(map(_key, monomial))


def _key(power: tuple[_Factor, int]) -> str:
    return f"{_text(power[0])}^{power[1]}"


def _shape(e: Expression) -> str:
    return "+".join(_text_of_monomial(monomial) for monomial, _ in _sorted(e))


def _numbers(terms: Iterable[tuple[Any, float]]) -> Iterator[float]:
    """All coefficients, each after those within its monomial."""
    for monomial, coefficient in terms:
        for factor, _ in monomial:
            yield from _numbers(factor.terms)
        yield coefficient


def _all_numbers(e: Expression) -> list[float]:
    return list(_numbers(_sorted(e)))


# Templates.


@dataclass(frozen=True)
class _Template:
    """An expression whose numbers are ``fixed + slopes * parameter``."""

    name: str
    fixed: list[float]
    slopes: list[float]

    def match(self, expression: Expression) -> Meaning | None:
        numbers = _all_numbers(expression)
        if not any(self.slopes):
            # The coefficients of the terms share one factor, what is within does not.
            factor = _ratio(expression, numbers, self.fixed)
            numbers = _all_numbers(_scaled(expression, 1 / factor))
            close = map(_is_close, numbers, self.fixed)
            return Meaning(self.name, 0.0, factor) if all(close) else None
        at = max(range(len(numbers)), key=lambda i: abs(self.slopes[i]))
        parameter = (numbers[at] - self.fixed[at]) / self.slopes[at]
        expected = [
            fixed + slope * parameter
            for fixed, slope in zip(self.fixed, self.slopes, strict=True)
        ]
        close = map(_is_close, numbers, expected)
        return Meaning(self.name, parameter, 1.0) if all(close) else None


def _ratio(e: Expression, numbers: list[float], expected: list[float]) -> float:
    """The ratio of the coefficients of the first term."""
    at = len(list(_numbers(_sorted(e)[:1]))) - 1
    return numbers[at] / expected[at]


def _is_close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_CLOSE)


@lru_cache(maxsize=1)
def _templates() -> dict[str, list[_Template]]:
    """All that a segment may be, by shape."""
    op = Expressions()
    recipes: list[tuple[str, Callable[..., Any]]] = [
        ("normalize", write_normalization),
        *_FOREIGN,
    ]
    for table in RECIPES.values():
        recipes += [(name, table[name]) for name in ACTIVATIONS if name in table]
    templates: dict[str, list[_Template]] = {}
    for name, write in recipes:
        try:
            two, four = (write(op, op.x, p) for p in (2.0, 4.0))
        except NotAnExpression:  # an operator of its own, which needs no template
            continue
        slopes = [
            (b - a) / 2
            for a, b in zip(_all_numbers(two), _all_numbers(four), strict=True)
        ]
        fixed = [
            a - 2 * slope for a, slope in zip(_all_numbers(two), slopes, strict=True)
        ]
        templates.setdefault(_shape(two), []).append(_Template(name, fixed, slopes))
    return templates


def _gelu_by_tanh(op: Operators, x: Any, p: float) -> Any:
    u = op("Mul", op("Add", x, op("Mul", op("Pow", x, 3.0), 0.044715)), 0.7978845608)
    return op("Mul", op("Mul", x, 0.5), op("Add", op("Tanh", u), 1.0))


def _gelu_expanded(op: Operators, x: Any, p: float) -> Any:
    # x (1 + 0.044715 x^2) for x + 0.044715 x^3
    inner = op("Add", op("Mul", op("Mul", x, x), 0.044715), 1.0)
    u = op("Mul", op("Mul", inner, x), 0.7978845608)
    return op("Mul", op("Mul", x, 0.5), op("Add", op("Tanh", u), 1.0))


def _mish_by_log(op: Operators, x: Any, p: float) -> Any:
    return op("Mul", x, op("Tanh", op("Log", op("Add", op("Exp", x), 1.0))))


def _softplus_by_log(op: Operators, x: Any, p: float) -> Any:
    return op("Log", op("Add", op("Exp", x), 1.0))


# As other exporters write them; the order of sums and products does not matter.
_FOREIGN: list[tuple[str, Callable[..., Any]]] = [
    ("gelu_tanh", _gelu_by_tanh),
    ("gelu_tanh", _gelu_expanded),
    ("mish", _mish_by_log),
    ("softplus", _softplus_by_log),
]
