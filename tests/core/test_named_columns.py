"""Networks that know the names of the columns they were trained on."""

import json
import pickle

import numpy as np
import pytest
from attacks import dump, forge, take_apart

import fastnn
from fastnn import ModelFormatError, Network, Schema

ROWS = 60
RNG = np.random.default_rng(0)
NUMBERS = {"a": RNG.normal(size=ROWS), "b": RNG.normal(size=ROWS) * 9 + 4}
Y = (NUMBERS["a"] * 9 > NUMBERS["b"] - 4).astype(int)


def net_of(X=None, n_inputs=2, **options):
    net = Network([n_inputs, 8, 2], seed=0, **options)
    if X is not None:
        net.fit(X, Y, epochs=5, verbose=0)
    return net


@pytest.fixture(params=["pandas", "polars", "pyarrow"])
def frame(request):
    library = pytest.importorskip(request.param)
    make = getattr(library, "DataFrame", None) or library.table
    return lambda columns: make(columns)


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_numbers_with_names_give_the_bits_of_an_array(frame, backend):
    plain = net_of(np.column_stack([*NUMBERS.values()]), backend=backend)
    named = net_of(frame(NUMBERS), backend=backend)
    assert plain.schema is None
    assert named.schema.column_names == ("a", "b")
    assert named.schema.encoding == "none"
    for (w, b), (v, c) in zip(plain.get_weights(), named.get_weights(), strict=True):
        assert (w == v).all()
        assert (b == c).all()
    X = np.column_stack([*NUMBERS.values()])
    swapped = frame({"b": NUMBERS["b"], "a": NUMBERS["a"]})
    for table in (frame(NUMBERS), swapped, {**NUMBERS}):
        assert (named.predict_proba(table) == plain.predict_proba(X)).all()
        assert (named.predict(table) == plain.predict(X)).all()
        assert (named.decision_function(table) == plain.decision_function(X)).all()
        assert named.evaluate(table, Y) == plain.evaluate(X, Y)
        assert named.score(table, Y) == plain.score(X, Y)
    assert (named.predict(X) == plain.predict(X)).all()
    assert named.train_on_batch(swapped, Y) == plain.train_on_batch(X, Y)
    named.partial_fit(swapped, Y)
    plain.partial_fit(X, Y)
    assert named.loss_and_gradients(swapped, Y)[0] == plain.loss_and_gradients(X, Y)[0]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_missing_column_is_named():
    net = net_of(NUMBERS)
    with pytest.raises(ValueError, match="X has no column 'b'; it has a, c"):
        net.predict({"a": [1.0], "c": [2.0]})
    with pytest.raises(ValueError, match="X has no column 'a'; it has b"):
        net.fit({"b": NUMBERS["b"]}, Y, verbose=0)
    with pytest.raises(ValueError, match="X_val has no column 'b'"):
        net.fit(NUMBERS, Y, X_val={"a": [1.0]}, y_val=[0], verbose=0)
    with pytest.raises(ValueError, match="chunk 0: X has no column 'b'"):
        net.fit_chunks([({"a": [1.0]}, [0])], verbose=0)
    with pytest.warns(UserWarning, match="are ignored: c"):
        net.predict({**NUMBERS, "c": NUMBERS["a"]})


MIXED = {
    "a": [*NUMBERS["a"][:-1], None],
    "when": ["2026-01-02", "2026-02-03", "2026-03-04"] * 20,
    "kind": ["u", "v", "w"] * 20,
}


def test_text_dates_and_missing_values_are_encoded(frame):
    schema = Schema.from_table(frame(MIXED))
    assert schema.n_inputs == 9
    net = net_of(frame(MIXED), 9)
    assert net.schema == schema
    by_hand = net_of(schema.encode(MIXED), 9)
    p = by_hand.predict_proba(schema.encode(MIXED))
    assert (net.predict_proba(frame(MIXED)) == p).all()
    kinds = {**MIXED, "kind": ["u", "new", None] * 20}
    assert np.isfinite(net.predict_proba(kinds)).all()


def test_raw_numbers_are_not_taken_for_encoded_ones():
    table = {"size": np.arange(ROWS) * 1000.0, "age": NUMBERS["b"]}
    schema = Schema.from_table(table)
    net = Network([2, 8, 2], seed=0)
    net.schema = schema
    net.fit(table, Y, epochs=2, verbose=0)
    raw = np.column_stack([*table.values()])
    for call in (net.predict, net.predict_proba, net.decision_function):
        with pytest.raises(
            ValueError, match=r"X is an array whose column 0 holds 1000"
        ):
            call(raw)
    for call in (net.fit, net.evaluate, net.train_on_batch, net.loss_and_gradients):
        with pytest.raises(ValueError, match=r"'size' is between -3 and 3; expected"):
            call(raw, Y)
    assert (net.predict(schema.encode(table)) == net.predict(table)).all()


def test_the_validation_rows_of_the_first_fit_are_matched():
    net = net_of(n_inputs=9)
    X_val = {name: MIXED[name][:5] for name in reversed(MIXED)}
    history = net.fit(MIXED, Y, epochs=2, X_val=X_val, y_val=Y[:5], verbose=0)
    assert len(history.history["val_loss"]) == 2
    split = net_of(n_inputs=9).fit(MIXED, Y, validation_split=0.5, verbose=0)
    assert len(split.history["val_loss"]) == 10


def test_the_wrong_number_of_inputs(frame):
    with pytest.raises(
        ValueError, match="X has 3 columns that make 9 inputs .*; expected 2"
    ):
        net_of(frame(MIXED))
    with pytest.raises(ValueError, match=r"X has 2 columns \(shape \(60, 2\)\)"):
        net_of(frame(NUMBERS), 3)
    net = net_of()
    with pytest.raises(ValueError, match=r"is nan; expected finite values"):
        net.fit(frame({"a": [1.0, np.nan], "b": [1.0, 2.0]}), [0, 1], verbose=0)
    assert net.schema is None  # a call that raised changes nothing
    with pytest.raises(ValueError, match="schema has 2 inputs; expected 3"):
        net_of(n_inputs=3).schema = Schema.from_table(NUMBERS)
    with pytest.raises(TypeError, match="schema must be a Schema or None, got 'a'"):
        net.schema = "a"
    three = Schema.from_table({**NUMBERS, "y": [0, 1, 2] * 20}, label="y")
    with pytest.raises(ValueError, match="3 classes, but the network tells 2 apart"):
        net.schema = three


def test_a_fit_that_fails_at_once_leaves_no_schema():
    class Broken(fastnn.Callback):
        def on_train_begin(self, logs=None):
            raise RuntimeError("no")

    net = net_of()
    with pytest.raises(RuntimeError, match="no"):
        net.fit(NUMBERS, Y, callbacks=[Broken()], verbose=0)
    assert net.schema is None


def test_a_schema_may_be_set_before(frame):
    table = frame({**MIXED, "y": ["no", "yes"] * 30})
    schema = Schema.from_table(table, label="y")
    net = net_of(n_inputs=9)
    net.schema = schema
    net.fit(table, schema.encode_target(table), verbose=0)
    names = schema.decode(net.predict(table))
    assert {*names.tolist()} <= {"no", "yes"}
    net.schema = None
    with pytest.raises((TypeError, ValueError)):
        net.predict(table)


def test_files_keep_the_schema():
    net = net_of(MIXED, 9)
    net.save("model")
    for same in (Network.load("model"), pickle.loads(pickle.dumps(net))):
        assert same.schema == net.schema
        assert (same.predict_proba(MIXED) == net.predict_proba(MIXED)).all()
    with open("model", "rb") as file:
        good = file.read()
    same.save("again")
    with open("again", "rb") as file:
        assert file.read() == good
    # A network of arrays has none, and its file no word of it.
    net_of(np.eye(60, 2)).save("plain")
    with open("plain", "rb") as file:
        assert b"schema" not in file.read()


@pytest.mark.parametrize(
    "edit",
    [
        lambda schema: schema.update(columns=[]),
        lambda schema: schema["columns"].pop(),
        lambda schema: schema["columns"][0].update(kind="code"),
        lambda schema: schema["columns"][0].update(more=1),
        lambda schema: schema.update(
            target={
                "name": "y",
                "classes": ["a", "b", "c"],
                "mean": 0.0,
                "deviation": 0.0,
                "min": 0.0,
                "max": 0.0,
            }
        ),
    ],
)
def test_files_with_another_schema(edit):
    net_of(MIXED, 9).save("model")
    with open("model", "rb") as file:
        header, network, tensors = take_apart(file.read())
    edit(network["schema"])
    with open("model", "wb") as file:
        file.write(forge(header, json.loads(dump(network)), tensors))
    with pytest.raises(ModelFormatError, match="schema: "):
        Network.load("model")


def test_more_names_than_a_file_holds():
    names = {f"column {i:0100}": [1.0, 2.0] for i in range(8000)}
    net = Network([8000, 2], seed=0)
    net.fit(names, [0, 1], epochs=1, verbose=0)
    with pytest.raises(ValueError, match="a model file holds 1,048,576"):
        net.save("model")
