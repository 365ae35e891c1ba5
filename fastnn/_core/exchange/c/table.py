"""In a header: from the columns of a table, all of them numbers, to the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn._core.training.calibration import LEAST

if TYPE_CHECKING:
    from fastnn._core.exchange.pipeline import Pipeline
    from fastnn._plan.column import Column
    from fastnn._plan.schema import Schema

__all__ = ["is_numeric", "make_row_functions", "require_numeric", "used_columns"]

_TEXT = """
/* The columns of the table that are used. */
#define {NAME}_COLUMNS {n}

static inline double {name}_scaled(double x, double median, double factor) {{
  const double u = x == x ? (x - median) * factor : 0;
  return u / sqrt(1 + (u / 3) * (u / 3));
}}

/* x := the inputs that the columns are; NAN is missing, truth values are 1 and 0. */
static inline void {name}_encode(const double *row, {real} *x) {{
{lines}
}}

/* Predict from the columns of {name}_column_names as they are in the table. */
static inline void {name}_predict_row(const double *row, double *out) {{
  {real} x[{NAME}_INPUTS], y[{NAME}_OUTPUTS];
  size_t j;
  {name}_encode(row, x);
  {name}_predict(x, y);
  for (j = 0; j < {NAME}_OUTPUTS; j++) out[j] = (double)y[j];{end}
}}
"""

_TEMPERATURE = """
  {{
    double total = 0;
    for (j = 0; j < {NAME}_OUTPUTS; j++) {{
      out[j] = pow(out[j] > {least!r} ? out[j] : {least!r}, 1 / {temperature!r});
      total += out[j];
    }}
    for (j = 0; j < {NAME}_OUTPUTS; j++) out[j] /= total;
  }}"""

_SORT = """
  for (j = 1; j < {NAME}_OUTPUTS; j++) {{
    double value = out[j];
    size_t k = j;
    for (; k > 0 && out[k - 1] > value; k--) out[k] = out[k - 1];
    out[k] = value;
  }}"""

_TARGET = """
  out[0] = out[{point}] * {deviation!r} + {mean!r};
  out[0] = out[0] < {low!r} ? {low!r} : out[0] > {high!r} ? {high!r} : out[0];"""


def used_columns(schema: Schema) -> list[Column]:
    """Return the columns that become inputs."""
    return [each for each in schema.columns if each.n_inputs]


def is_numeric(schema: Schema) -> bool:
    """Whether the columns that are used hold numbers or truth values."""
    kinds = {each.kind for each in used_columns(schema)}
    return kinds <= {"numeric", "boolean"} and schema.encoding == "robust"


def require_numeric(schema: Schema) -> None:
    """Raise ValueError with the name of a column that C cannot take as it is."""
    for each in used_columns(schema):
        if each.kind not in ("numeric", "boolean"):
            raise ValueError(
                f"column {each.name!r} is {each.kind}; expected numbers and truth "
                "values, which C can take as they are"
            )


def make_row_functions(pipeline: Pipeline, name: str, real: str) -> str:
    """Return the C text of ``NAME_predict_row``."""
    numbers: list[str] = []
    flags: list[str] = []
    columns = used_columns(pipeline.schema)
    for i, each in enumerate(columns):
        if each.kind == "numeric":
            of = each.statistics[0]
            numbers.append(f"{name}_scaled(row[{i}], {of.median!r}, {of.factor!r})")
            if each.has_indicator:
                flags.append(f"(row[{i}] != row[{i}])")
        else:
            flags.append(f"(row[{i}] == row[{i}] ? 2 * row[{i}] - 1 : 0)")
    parts = enumerate([*numbers, *flags])
    of_all = {"name": name, "NAME": name.upper(), "real": real}
    end = ""
    if pipeline.temperature != 1.0:
        end = _TEMPERATURE.format(
            temperature=pipeline.temperature, least=LEAST, **of_all
        )
    if pipeline.target is not None:
        fields = ("mean", "deviation", "low", "high")
        numbers_of = dict(zip(fields, pipeline.target, strict=True))
        if pipeline.states[0].plan.loss.name == "quantile":
            end = _SORT.format(**of_all)
        end += _TARGET.format(point=pipeline.point, **numbers_of)
    return _TEXT.format(
        n=len(columns),
        lines="\n".join(f"  x[{j}] = ({real}){part};" for j, part in parts),
        end=end,
        **of_all,
    )
