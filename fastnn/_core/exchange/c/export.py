"""Networks as C: one header with weights and code, and a program that tests it.

The code is C99, and C++11 too: no allocation, no state, and of the library only
<math.h>. It does what the engine does in the same order, with the same roundings (but
see `MACROS`): in float32, two other orders of the sums of 784 products differ by
more than 1e-6.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fastnn._base.version import __version__
from fastnn._core.exchange.files import write_atomically
from fastnn._core.exchange.pipeline import Pipeline, pipeline_of
from fastnn._core.exchange.stages import (
    EMBEDDINGS,
    Activate,
    Affine,
    Clamp,
    Lookup,
    Normalize,
    Parametric,
    Periodic,
    PiecewiseLinear,
    Scale,
    Stage,
    stages_of,
    width_after,
)
from fastnn._core.model.model import Model
from fastnn._plan.inputs import check_X

from .functions import FUNCTIONS, LACKING, MACROS
from .table import is_numeric, make_row_functions, used_columns

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastnn._base.types import Array
    from fastnn._core.model.state import ModelState
    from fastnn.activations import Activation


__all__ = ["write_c"]

_TOLERANCE = 1e-6  # of the self-test, relative to the largest output

_N_ROWS = 16

_HEADER = """\
/* Made by fastnn {version}: a multilayer perceptron, to be included in one C file.

     {what}

   {name}_predict(x, out) reads {inputs} inputs, as they were given in training, and
   writes {outputs} {values} to out, which must not overlap x. It allocates
   nothing, any number of threads may call it, and it takes {scratch} numbers of stack:
   {name}_predict_with(x, out, scratch) takes them from the caller instead.
   Needs C99 or C++11; link with -lm. Where the CPU can fuse products and sums,
   -march=native makes it about twice as fast. */
#ifndef {name}_H
#define {name}_H

#include <math.h>
#include <stddef.h>

#define {NAME}_INPUTS {inputs}
#define {NAME}_OUTPUTS {outputs}
#define {NAME}_SCRATCH {scratch}
{names}
{macros}
{arrays}

{functions}
static inline void {name}_predict_with(const {real} *x, {real} *out, {real} *scratch) {{
{body}
}}

static inline void {name}_predict(const {real} *x, {real} *out) {{
  {real} scratch[{NAME}_SCRATCH];
  {name}_predict_with(x, out, scratch);
}}
{label}{table}
#endif
"""

_LABEL_OF_SEVERAL = """
/* Return the most probable class, from what was written to out. */
static inline size_t {name}_label(const {real} *out) {{
  size_t j, best = 0;
  for (j = 1; j < {NAME}_OUTPUTS; j++) best = out[j] > out[best] ? j : best;
  return best;
}}
"""

_LABEL_OF_ONE = """
/* Return the more probable class, 0 or 1, from what was written to out. */
static inline size_t {name}_label(const {real} *out) {{ return {above}; }}
"""

_SELF_TEST = """\
/* Made by fastnn {version}: compares {header} with what fastnn predicts.

     cc -std=c99 -O2 {stem}_test.c -lm && ./a.out

   Returns 0 if they agree. */
#include <stdio.h>

#include "{header}"

#define ROWS {rows}

{arrays}

int main(void) {{
  const double allowed = {allowed};
  double largest = 0;
  int good = 1;
  size_t i, j;
  static {real} out[{NAME}_OUTPUTS], scratch[{NAME}_SCRATCH];
  for (i = 0; i < ROWS; i++) {{
    {name}_predict_with(inputs + i * {NAME}_INPUTS, out, scratch);
    for (j = 0; j < {NAME}_OUTPUTS; j++) {{
      const double d = fabs((double)out[j] - (double)expected[i * {NAME}_OUTPUTS + j]);
      if (!(d <= allowed)) good = 0;
      if (d > largest) largest = d;
    }}
  }}
  printf("{name}: %d rows, differences up to %.2g, allowed %.2g: %s\\n", ROWS, largest,
         allowed, good ? "ok" : "FAILED");
  return good ? 0 : 1;
}}
"""


def check_c_name(name: str) -> str:
    """Return the name if all that the header defines may begin with it."""
    if not isinstance(name, str) or not re.fullmatch(
        "[A-Za-z][A-Za-z0-9_]{0,40}", name
    ):
        raise ValueError(
            "name must be up to 41 letters, digits and underscores, the first of them "
            f"a letter, got {name!r}"
        )
    return name


def write_c(
    state: ModelState,
    path: str | os.PathLike[str],
    name: str | None,
    self_test: bool,
    rows: ArrayLike | None,
    pipeline: Pipeline | None = None,
) -> None:
    """Write a header, and its self-test; see `Network.to_c`.

    By default the pipeline is that of the network, if it is one of numbers.
    """
    folder, file = os.path.split(os.fspath(path))
    stem, suffix = os.path.splitext(file)
    if suffix != ".h":
        raise ValueError(f"path must end with '.h', got {os.fspath(path)!r}")
    if rows is not None and not self_test:
        raise ValueError("rows is given, but self_test is False")
    if self_test and (not file.isprintable() or {*file} & {*'"\\'}):
        raise ValueError(
            "path must have a file name that #include can have, without quotes, "
            f"backslashes and line ends, got {file!r}"
        )
    name = stem if name is None else name
    if pipeline is None and state.schema is not None and is_numeric(state.schema):
        pipeline = pipeline_of(state)
    texts = {path: make_header(state, name, pipeline)}
    if self_test:
        test_path = os.path.join(folder, f"{stem}_test.c")
        texts[test_path] = make_self_test(state, name, file, rows)
    for each, text in texts.items():
        write_atomically(each, text.encode())


def make_header(state: ModelState, name: str, pipeline: Pipeline | None = None) -> str:
    """Return the text of ``name.h``, which predicts as the network does."""
    plan = state.plan
    writer = _Writer(check_c_name(name), plan.array_dtype)
    writer.write(stages_of(state, fold=False), plan.n_inputs)
    if plan.output_activation != "identity":
        writer.call(plan.output_activation, "out", plan.n_outputs)
    label = ""
    is_probable = plan.output_activation in ("softmax", "sigmoid")
    if plan.n_classes:
        label = _LABEL_OF_ONE if plan.n_outputs == 1 else _LABEL_OF_SEVERAL
    layers = ", ".join([f"{plan.n_inputs} inputs", *map(repr, plan.layers)])
    fields = {
        "version": __version__,
        "what": textwrap.fill(layers, 80, subsequent_indent=" " * 5),
        "name": name,
        "NAME": name.upper(),
        "inputs": plan.n_inputs,
        "outputs": plan.n_outputs,
        "values": "probabilities" if is_probable else "values",
        "above": "2 * out[0] > 1" if is_probable else "out[0] > 0",
        "scratch": writer.scratch,
        "names": _names(state, name, pipeline),
        "real": writer.real,
        "macros": MACROS[writer.real].replace("@", f"{name}_"),
        "arrays": "\n".join(writer.arrays),
        "functions": "\n".join(writer.functions()),
        "body": "\n".join(f"  {line}" for line in writer.lines),
    }
    table = ""
    if pipeline is not None:
        table = make_row_functions(pipeline, name, writer.real)
    return _HEADER.format(**fields, label=label.format(**fields), table=table)


def _names(state: ModelState, name: str, pipeline: Pipeline | None) -> str:
    """Arrays of the names of inputs and classes, if the network knows them."""
    schema = state.schema
    if schema is None:
        return ""
    arrays = {"input_names": (f"{name.upper()}_INPUTS", schema.input_names)}
    if schema.target is not None and schema.target.classes:
        classes = schema.target.classes
        arrays["class_names"] = (str(len(classes)), tuple(map(str, classes)))
    if pipeline is not None:
        columns = tuple(each.name for each in used_columns(schema))
        arrays["column_names"] = (str(len(columns)), columns)
    text = "\n/* What the inputs are, and the classes that are 0, 1, ... */\n"
    for array, (size, names) in arrays.items():
        strings = ",\n  ".join(map(_c_string, names))
        text += (
            f"static const char *const {name}_{array}[{size}] = {{\n  {strings}}};\n"
        )
    return text


def _c_string(text: str) -> str:
    """A string literal of the UTF-8 bytes, in ASCII."""
    plain = {*range(32, 127)} - {*b'"\\?'}  # ??/ is a trigraph
    codes = text.encode("utf-8", "replace")
    return '"{}"'.format("".join(chr(c) if c in plain else f"\\{c:03o}" for c in codes))


def make_self_test(
    state: ModelState, name: str, header: str, rows: ArrayLike | None = None
) -> str:
    """Return the text of a program that compares the header with the network.

    By default on rows drawn such that the scaled inputs are standard normal. Of dtype
    "bfloat16", what is expected does not round the operands of products either.
    """
    plan = replace(state.plan, dtype=state.plan.array_dtype)
    model = Model.from_state(replace(state, plan=plan, optimizer_state=None))
    if rows is None:
        X = _draw_rows(state)
    else:
        X = check_X(rows, plan.n_inputs, "rows").astype(plan.array_dtype)
        model.require_finite(X, "rows")
    expected = model.outputs(X)
    if not np.isfinite(expected).all():
        row = int(np.flatnonzero(~np.isfinite(expected).all(axis=1))[0])
        raise ValueError(
            f"rows[{row}] has a prediction that is not finite, which cannot be "
            "compared; expected others"
        )
    allowed = _TOLERANCE * float(np.abs(expected).max())
    writer = _Writer(check_c_name(name), plan.array_dtype)
    arrays = [writer.array_text("inputs", X), writer.array_text("expected", expected)]
    return _SELF_TEST.format(
        version=__version__,
        header=header,
        stem=header.removesuffix(".h"),
        name=name,
        NAME=name.upper(),
        rows=len(X),
        real=writer.real,
        arrays="\n".join(arrays),
        allowed=repr(allowed),
    )


def _draw_rows(state: ModelState) -> Array:
    """Rows (16, n_inputs) whose values are representable in the network's dtype."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(_N_ROWS, state.plan.n_inputs))
    scale, shift = state.scaling
    if scale is not None and shift is not None:
        X = (X - shift) / np.where(scale == 0, np.inf, scale)
    if counts := state.plan.categories:
        X[:, -len(counts) :] = rng.integers(-1, counts, (_N_ROWS, len(counts)))
    return X.astype(state.plan.array_dtype)


class _Writer:
    """Arrays, and the lines of a function, in the making."""

    def __init__(self, name: str, dtype: str) -> None:
        self._name = name
        self._dtype = dtype
        self.real = {"float32": "float", "float64": "double"}[dtype]
        self.arrays: list[str] = []
        self.lines: list[str] = []
        self.scratch = 1
        self._spare = ""
        self._used: set[str] = set()

    def functions(self) -> list[str]:
        """Return the functions that are called."""
        used = [text for name, text in FUNCTIONS.items() if name in self._used]
        all_used = "".join(used)
        used = [t for name, t in LACKING.items() if f"@{name}(" in all_used] + used
        return [
            self._code(text).replace("@", f"{self._name}_").replace("REAL", self.real)
            for text in used
        ]

    def call(self, function: str, *arguments: object) -> None:
        """Add a line that calls one of FUNCTIONS."""
        self._used.add(function)
        self.lines.append(f"{self._name}_{function}({', '.join(map(str, arguments))});")

    def write(self, stages: list[Stage], n_inputs: int) -> None:
        """Add the lines that take x through the stages to out."""
        widths, n = [], n_inputs
        for stage in stages:
            n = width_after(stage, n)
            if isinstance(stage, (Affine, *EMBEDDINGS)):
                widths.append(n)
        # Two parts that layers write to in turn.
        copied = [] if isinstance(stages[0], (Affine, *EMBEDDINGS)) else [n_inputs]
        part = max([*copied, *widths[:-1]], default=0)
        buffers = [f"scratch + {part}", "scratch"]
        if not part:
            self.lines.append(
                "(void)scratch; /* of one layer, there is nothing to keep */"
            )
        self.scratch = max(1, 2 * part)
        if any(isinstance(stage, Parametric) for stage in stages):
            self._spare = f"scratch + {2 * part}"  # another, for f(x)
            self.scratch = 2 * part + max([n_inputs, *widths])
        x, n, left = "x", n_inputs, len(widths)
        for stage in stages:
            if isinstance(stage, (Affine, *EMBEDDINGS)):
                left -= 1
                y = buffers[left % 2] if left else "out"
                self._write_layer(stage, x, n, y)
                x, n = y, width_after(stage, n)
                continue
            if x == "x":
                x = buffers[left % 2]
                self.call("copy", "x", n, x)
            self._write_in_place(stage, x, n)

    def _write_layer(self, stage: Stage, x: str, n: int, y: str) -> None:
        if isinstance(stage, Affine):
            m = stage.weights.shape[1]
            biases = np.zeros(m) if stage.biases is None else stage.biases
            w, b = self._array("w", stage.weights), self._array("b", biases)
            self.call("dense", x, n, w, b, m, y)
            return
        if isinstance(stage, PiecewiseLinear):
            columns = *stage.biases.shape, self._counts(len(e) - 1 for e in stage.edges)
            arrays = np.concatenate(stage.edges), stage.weights, stage.biases
            self.call(
                "piecewise_linear", x, n, *columns, *map(self._array, "ewb", arrays), y
            )
            return
        if isinstance(stage, Lookup):
            columns = len(stage.counts), stage.weights.shape[1]
            counts, w = self._counts(stage.counts), self._array("w", stage.weights)
            self.call("lookup", x, n, *columns, counts, w, y)
            return
        assert isinstance(stage, Periodic)
        n_terms, n_values, n_columns = stage.weights.shape
        waves = stage.frequencies, stage.phases, stage.weights, stage.biases
        names = map(self._array, "fcwb", waves)
        self.call("periodic", x, n, n_columns, n_terms, n_values + 1, *names, y)

    def _write_in_place(self, stage: Stage, y: str, n: int) -> None:
        if isinstance(stage, Scale):
            pair = stage.scale, stage.shift
            if stage.center is not None:
                arrays = map(self._array, "msb", (stage.center, *pair))
                self.call("batch_norm", y, n, *arrays)
            elif all((each == each[0]).all() for each in pair):
                numbers = (self._number(each.astype(self._dtype)[0]) for each in pair)
                self.call("scale_all", y, n, *numbers)
            else:
                self.call("scale", y, n, *map(self._array, "sb", pair))
        elif isinstance(stage, Normalize):
            arrays = map(self._array, "sb", (stage.scale, stage.shift))
            epsilon = f"({self._name}_WIDE){stage.epsilon!r}"
            self.call("normalize", y, n, *arrays, epsilon)
        elif isinstance(stage, Activate):
            self._activate(stage.activation, y, n)
        elif isinstance(stage, Clamp):
            self.call("clamp", y, n, *map(self._array, "lh", (stage.low, stage.high)))
        elif isinstance(stage, Parametric):
            self.call("copy", y, n, self._spare)
            self._activate(stage.function, self._spare, n)
            self.call("mix", y, n, self._spare, self._array("a", stage.factors))

    def _activate(self, activation: Activation, y: str, n: int) -> None:
        if activation.name != "identity":
            parameter = [self._number(activation.parameter)] if vars(activation) else []
            self.call(activation.name, y, n, *parameter)

    def _counts(self, counts: Iterable[int]) -> str:
        name = f"{self._name}_n{len(self.arrays)}"
        numbers = [str(count) for count in counts]
        self.arrays.append(
            f"static const size_t {name}[{len(numbers)}] = {{\n  "
            + ",\n  ".join(
                ", ".join(numbers[i : i + 12]) for i in range(0, len(numbers), 12)
            )
            + "};"
        )
        return name

    def _array(self, letter: str, array: Array) -> str:
        name = f"{self._name}_{letter}{len(self.arrays)}"
        self.arrays.append(self.array_text(name, array, f"{self._name}_FLASH "))
        return name

    def array_text(self, name: str, array: Array, where: str = "") -> str:
        """Return the definition of a constant array, as exact as the dtype."""
        numbers = [
            self._number(value) for value in array.astype(self._dtype).ravel().tolist()
        ]
        rows = [", ".join(numbers[i : i + 6]) for i in range(0, len(numbers), 6)]
        text = ",\n  ".join(rows)
        return (
            f"static const {where}{self.real} {name}[{len(numbers)}] = {{\n  {text}}};"
        )

    def _number(self, value: float) -> str:
        is_float = self.real == "float"
        text = format(value, ".9g" if is_float else ".17g")
        text = text if "." in text or "e" in text else f"{text}.0"
        return f"{text}f" if is_float else text

    def _code(self, text: str) -> str:
        """Give functions of <math.h> and numbers the suffix of float."""
        if self.real == "double":
            return text
        text = re.sub(
            r"(?<![@\w])(cos|expm1|exp|log1p|log|tanh|erfc|fabs)\(", r"\1f(", text
        )
        return re.sub(r"\b\d+\.\d+\b", r"\g<0>f", text)
