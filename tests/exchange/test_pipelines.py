"""Whole pipelines, from the columns of a table, as one ONNX model or C header."""

import shutil
import subprocess

import numpy as np
import pytest

import fastnn
from fastnn import Network, Schema, cli

N = 300


def table_of(n=N, seed=0):
    """Columns of every kind, with gaps."""
    rng = np.random.default_rng(seed)
    first = np.datetime64("1890-01-01T00:00:00", "s")
    dates = first + rng.integers(0, 7_000_000_000, n)
    dates[::13] = np.datetime64("NaT")
    size = rng.lognormal(3, 4, n)
    size[::7] = np.nan
    city = rng.choice(np.array(["Rome", "Os\nlo", "\u00e4", "3"], dtype=object), n)
    city[::11] = None
    return {
        "size": size,
        "label": rng.normal(size=n),  # a name that outputs have
        "count": rng.integers(-5, 100, n),
        "fastnn.c0": rng.choice(np.array(["a", "b"], dtype=object), n),
        "city": city,
        "when": dates,
        "on": rng.random(n) < 0.5,
        "perhaps": rng.choice(np.array([True, False, None], dtype=object), n),
        "name": np.array([f"row {i}" for i in range(n)], dtype=object),
        "constant": np.full(n, 2.5),
    }


def raw(schema, columns):
    """The inputs of an ONNX model that the columns are."""
    fed = {}
    for each in schema.columns:
        values = columns[each.name]
        if not each.n_inputs:
            continue
        if each.kind == "categorical":
            values = np.array(["" if v is None else v for v in values], dtype=object)
        elif values.dtype.kind == "M":
            seconds = values.astype(np.int64).astype(float)
            values = np.where(np.isnat(values), np.nan, seconds)
        else:
            values = values.astype(float)
        fed[each.name] = values[:, np.newaxis]
    return fed


def run(model, schema, columns):
    onnxruntime = pytest.importorskip("onnxruntime")
    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, raw(schema, columns))


def network_of(dtype="float32", encoding="robust", **of):
    columns = table_of()
    if encoding == "none":
        columns = {name: columns[name] for name in ("label", "count", "on")}
    y = np.where(columns["label"] > 0, "up", "down").astype(object)
    schema = Schema.from_table({**columns, "y": y}, label="y", encoding=encoding)
    net = Network([schema.n_inputs, 16, 2], dtype=dtype, seed=0, **of)
    net.schema = schema
    net.fit(columns, schema.encode_target(y), epochs=3, verbose=0)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("encoding", ["robust", "none"])
def test_a_network_takes_the_columns_as_they_are(dtype, encoding):
    pytest.importorskip("onnx")
    import fastnn.onnx

    net = network_of(dtype, encoding)
    model = fastnn.onnx.to_onnx(net, columns=True)
    new = table_of(seed=1)
    new["city"][0] = "Bonn"  # unknown
    columns = {each.name: new[each.name] for each in net.schema.columns}
    label, p = run(model, net.schema, columns)
    np.testing.assert_allclose(p, net.predict_proba(columns), rtol=0, atol=1e-6)
    assert label.tolist() == net.schema.decode(net.predict(columns)).tolist()
    assert p.dtype == dtype
    names = [each.name for each in model.graph.output]
    assert names == ["label_", "probabilities"]
    inputs = [each.name for each in model.graph.input]
    assert inputs == [each.name for each in net.schema.columns if each.n_inputs]


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "hinge"])
def test_the_class_of_a_single_output_has_its_name(loss):
    pytest.importorskip("onnx")
    import fastnn.onnx

    columns = {"a": np.linspace(-1, 1, 50)}
    y = np.where(columns["a"] > 0, "up", "down").astype(object)
    net = Network([1, 4, 1], loss=loss, seed=0)
    net.schema = Schema.from_table({**columns, "y": y}, label="y")
    net.fit(columns, net.schema.encode_target(y), epochs=300, verbose=0)
    model = fastnn.onnx.to_onnx(net, columns=True)
    label, values = run(model, net.schema, columns)
    assert {*label} == {"up", "down"}
    assert label.tolist() == net.schema.decode(net.predict(columns)).tolist()
    np.testing.assert_allclose(values, net.predict_proba(columns), rtol=0, atol=1e-6)


def test_every_date_is_taken_apart_as_by_the_schema():
    pytest.importorskip("onnx")
    import fastnn.onnx

    days = np.arange("1580-01-01", "2420-01-01", 7, dtype="datetime64[D]")
    seconds = np.arange(len(days)) * 7919 % 86400
    columns = {"when": days.astype("datetime64[s]") + seconds}
    schema = Schema.from_table(columns)
    net = Network([schema.n_inputs, schema.n_inputs], loss="mse", seed=0)
    net.schema = schema
    net.set_weights([(np.eye(schema.n_inputs), np.zeros(schema.n_inputs))])
    (values,) = run(fastnn.onnx.to_onnx(net, columns=True), schema, columns)
    np.testing.assert_allclose(values, schema.encode(columns), rtol=1e-6, atol=1e-6)


def test_what_has_no_such_model_is_told(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="knows no table"):
        Network([4, 2], seed=0).to_onnx(tmp_path / "m.onnx", columns=True)
    assert [*tmp_path.iterdir()] == []
    net = Network([1, 2], seed=0)
    net.schema = Schema.from_table({"": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="a column has the name ''"):
        net.to_onnx(tmp_path / "m.onnx", columns=True)
    path = tmp_path / "m.onnx"
    network_of().to_onnx(path, columns=True)
    with pytest.raises(fastnn.ModelFormatError):
        Network.from_onnx(path)


def cross(model):
    """Turn the order of the quantiles that the networks predict."""
    for network in model.networks_:
        *inner, (w, b) = network.get_weights()
        network.set_weights([*inner, (w[:, ::-1], b[::-1])])


@pytest.mark.parametrize("options", [{}, {"members": 2}, {"n_folds": 2}])
def test_estimators_are_one_model_from_columns_to_answers(options, tmp_path):
    pytest.importorskip("onnx")
    sklearn = pytest.importorskip("fastnn.sklearn")
    columns, new = table_of(), table_of(seed=1)
    path = tmp_path / "m.onnx"
    for kind, names in (
        ("Classifier", np.array(["down", "up"])),
        ("Classifier", np.array([7, -1])),
        ("Regressor", None),
        ("Regressor", "quantile"),
    ):
        y = columns["label"] * 1e4 + 1e6
        if kind == "Classifier":
            y = names[(columns["label"] > 0).astype(int)]
        model = getattr(sklearn, f"Tabular{kind}")(random_state=0, **options)
        if isinstance(names, str):
            model.set_params(loss=names, levels=[0.1, 0.2, 0.6])
        with pytest.raises(ValueError, match="not fitted"):
            model.to_onnx(path)
        model.fit(columns, y)
        if isinstance(names, str):
            cross(model)
        model.to_onnx(path)
        *label, values = run(path.read_bytes(), model.schema_, new)
        expected = model.predict(new)
        if kind == "Regressor":
            assert values.shape == (N, 1)
            allowed = 1e-6 * np.ptp(y)
            np.testing.assert_allclose(values[:, 0], expected, rtol=0, atol=allowed)
            assert values.min() >= y.min()
            assert values.max() <= y.max()
        else:
            p = model.predict_proba(new)
            np.testing.assert_allclose(values, p, rtol=0, atol=1e-6)
            assert label[0].tolist() == expected.tolist()
            assert (model.temperature_ != 1.0) == ("n_folds" in options)


def test_the_command_line_exports_the_pipeline(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    net = network_of()
    path = tmp_path / "m.safetensors"
    net.save(path)
    assert cli.main(["export", str(path), "--to", "onnx"]) == 0
    assert "m.onnx: " in (out := capsys.readouterr().out)
    assert out.endswith(" kB, one input per column\n")
    model = onnx.load(tmp_path / "m.onnx")
    assert len(model.graph.input) == 9
    columns = table_of()
    _, p = run(model, net.schema, columns)
    np.testing.assert_allclose(p, net.predict_proba(columns), rtol=0, atol=1e-6)
    assert cli.main(["export", str(path), "--to", "onnx", "--encoded"]) == 0
    assert Network.from_onnx(tmp_path / "m.onnx").schema == net.schema
    assert cli.main(["export", str(path), "--to", "c", "--encoded"]) == 2
    assert "--encoded is for --to onnx" in capsys.readouterr().err


PROGRAM = """
#include <stdio.h>
#include "m.h"
int main(void) {
  double row[M_COLUMNS], out[M_OUTPUTS];
  size_t j;
  for (;;) {
    for (j = 0; j < M_COLUMNS; j++)
      if (scanf("%lf", row + j) != 1) return 0;
    m_predict_row(row, out);
    for (j = 0; j < M_OUTPUTS; j++) printf("%.17g\\n", out[j]);
  }
}
"""


def predictions_of_c(folder, columns):
    (folder / "m.c").write_text(PROGRAM)
    flags = ["-std=c99", "-O1", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    made = [str(folder / "m.c"), "-lm", "-o", str(folder / "m")]
    subprocess.run(["cc", *flags, *made], check=True)
    rows = np.column_stack([np.asarray(each, dtype=float) for each in columns])
    text = "\n".join(" ".join(map(repr, row)) for row in rows.tolist())
    done = subprocess.run(
        [folder / "m"], input=text, capture_output=True, text=True, check=True
    )
    return np.array(done.stdout.split(), dtype=float).reshape(len(rows), -1)


needs_cc = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
NUMERIC = ("size", "label", "on", "perhaps", "constant")


@needs_cc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_header_takes_columns_of_numbers_as_they_are(dtype, tmp_path):
    columns = {name: table_of()[name] for name in NUMERIC}
    schema = Schema.from_table(columns)
    net = Network([schema.n_inputs, 16, 3], dtype=dtype, seed=0)
    net.schema = schema
    net.to_c(tmp_path / "m.h", self_test=True)
    out = predictions_of_c(tmp_path, columns.values())
    np.testing.assert_allclose(out, net.predict_proba(columns), rtol=0, atol=1e-6)
    text = (tmp_path / "m.h").read_text()
    assert '"size",\n  "label",\n  "on",\n  "perhaps",\n  "constant"' in text
    network_of().to_c(tmp_path / "m.h")  # which has text
    assert "predict_row" not in (tmp_path / "m.h").read_text()


@needs_cc
def test_an_estimator_of_numbers_is_a_header(tmp_path):
    pytest.importorskip("sklearn")
    sklearn = pytest.importorskip("fastnn.sklearn")
    columns = {name: table_of(100)[name] for name in NUMERIC}
    path = tmp_path / "m.h"
    y = np.nan_to_num(columns["size"]) + columns["label"] * 100
    model = sklearn.TabularRegressor(random_state=0).fit(columns, y)
    model.to_c(path)
    out = predictions_of_c(tmp_path, columns.values())[:, 0]
    allowed = 1e-6 * np.ptp(y)
    np.testing.assert_allclose(out, model.predict(columns), rtol=0, atol=allowed)
    model = sklearn.TabularRegressor(loss="quantile", random_state=0).fit(columns, y)
    cross(model)
    model.to_c(path)
    out = predictions_of_c(tmp_path, columns.values())[:, 0]
    np.testing.assert_allclose(out, model.predict(columns), rtol=0, atol=allowed)
    val = {"X_val": columns, "y_val": y > 0}
    model = sklearn.TabularClassifier(random_state=0).fit(columns, y > 0, **val)
    assert model.temperature_ != 1.0
    model.to_c(path)
    out = predictions_of_c(tmp_path, columns.values())
    np.testing.assert_allclose(out, model.predict_proba(columns), rtol=0, atol=1e-6)
    several = sklearn.TabularClassifier(members=2).fit(columns, y > 0)
    with pytest.raises(ValueError, match="there are 2 networks; expected one"):
        several.to_c(path)
    columns["city"] = table_of(100)["city"]
    with_text = sklearn.TabularClassifier().fit(columns, y > 0)
    with pytest.raises(ValueError, match="column 'city' is categorical"):
        with_text.to_c(path)
