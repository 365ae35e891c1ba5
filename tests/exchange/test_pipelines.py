"""Whole pipelines, from the columns of a table, as one ONNX model or C header."""

import numpy as np
import pytest

import fastnn
from fastnn import Network, Schema

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
