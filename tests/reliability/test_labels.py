"""A label that is none never reaches the arithmetic, whichever way it comes."""

import re

import numpy as np
import pytest
from children import run_python
from helpers import same_bits, training_state

import fastnn
from fastnn import kernels, reference

CLASSES = 3
X = np.random.default_rng(0).normal(size=(8, 4)).astype("f4")
GOOD = np.arange(8) % CLASSES


def with_bad(value, dtype=None, row=5):
    """Good labels but for one row."""
    labels = GOOD.astype(np.result_type(np.min_scalar_type(value), "i1"))
    labels = labels if dtype is None else labels.astype(dtype)
    labels[row] = value
    return labels


BAD = {
    "-1": with_bad(-1),
    "-1 as int64": with_bad(-1, "i8"),
    "K": with_bad(CLASSES),
    "K as uint8": with_bad(CLASSES, "u1"),
    "K as int64": with_bad(CLASSES, "i8"),
    "127": with_bad(127),
    "2^31": with_bad(2**31, "i8"),
    "2^32": with_bad(2**32, "i8"),  # 0 in 32 bits
    "2^63 - 1": with_bad(2**63 - 1, "i8"),
    "-2^63": with_bad(-(2**63), "i8"),
    "2^64 - 1": with_bad(2**64 - 1, "u8"),  # -1 in int64
    "big-endian": with_bad(CLASSES, ">i8"),
    "strided": np.repeat(with_bad(CLASSES, "i8"), 2)[::2],
    "NaN": with_bad(np.nan, "f8"),
    "inf": with_bad(np.inf, "f4"),
    "1.5": with_bad(1.5, "f8"),
    "1 + 2^-52": with_bad(1 + 2.0**-52, "f8"),
    "1e300": with_bad(1e300, "f8"),
    "a list": with_bad(-1).tolist(),
    "a column": with_bad(CLASSES)[:, np.newaxis],
    "first row": with_bad(CLASSES, row=0),
    "last row": with_bad(CLASSES, "i8", row=7),
    "negative share": np.eye(CLASSES)[GOOD] * [1.5, 1, 1] - [0, 0, 0.5],
    "NaN share": np.where(np.eye(CLASSES)[GOOD] > 0, np.nan, 0.0),
    "sum of 2": np.eye(CLASSES)[GOOD] * 2,
}

# Every way for labels to come in; the last one is after validation_split.
ENTRIES = {
    "fit": lambda net, y: net.fit(X, y, verbose=0),
    "fit, resumed": lambda net, y: net.fit(X, y, verbose=0, resume=True),
    "fit, y_val": lambda net, y: net.fit(X, GOOD, X_val=X, y_val=y, verbose=0),
    "fit, split": lambda net, y: net.fit(X, y, validation_split=0.5, verbose=0),
    "partial_fit": lambda net, y: net.partial_fit(X, y),
    "train_on_batch": lambda net, y: net.train_on_batch(X, y),
    "loss_and_gradients": lambda net, y: net.loss_and_gradients(X, y),
    "evaluate": lambda net, y: net.evaluate(X, y),
    "score": lambda net, y: net.score(X, y),
    "an engine's train_step": lambda net, y: net._model.engine.train_step(X, y),
    "an engine's evaluate": lambda net, y: net._model.engine.evaluate(X, y),
    "an engine's gradients": lambda net, y: net._model.engine.loss_and_gradients(X, y),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_bad_labels_are_refused_with_their_row(make_net, entry):
    net = make_net([4, 6, CLASSES])
    net.partial_fit(X, GOOD)
    before = training_state(net)
    for name, y in BAD.items():
        with pytest.raises(ValueError, match=r"^y(_val)?\[\d") as caught:
            ENTRIES[entry](net, y)
        row = int(re.search(r"\d+", str(caught.value))[0])
        assert row == {"first row": 0, "last row": 7}.get(name, row)
        if "share" not in name and "sum" not in name and "row" not in name:
            assert row == 5, name
        assert same_bits(training_state(net), before), name
    ENTRIES[entry](net, GOOD)  # and the network is as usable as before


def test_loaded_and_copied_networks_check_as_well(make_net, tmp_path, backend):
    import pickle

    net = make_net([4, 6, CLASSES])
    net.save(tmp_path / "net")
    for copy in (
        fastnn.Network.load(tmp_path / "net", backend=backend),
        pickle.loads(pickle.dumps(net)),
    ):
        for y in BAD.values():
            with pytest.raises(ValueError, match="^y"):
                copy.partial_fit(X, y)
        copy.partial_fit(X, GOOD)


def test_good_labels_of_any_kind_are_taken(make_net):
    expected = make_net([4, 6, CLASSES]).train_on_batch(X, GOOD)
    for y in (
        GOOD.astype("u1"),
        GOOD.astype(">i2"),
        GOOD.astype("f2"),
        GOOD[:, np.newaxis],
        GOOD.tolist(),
        np.repeat(GOOD, 3)[::3],
        -0.0 + GOOD,
    ):
        assert make_net([4, 6, CLASSES]).train_on_batch(X, y) == expected


@pytest.mark.parametrize("module", [kernels, reference], ids=["native", "numpy"])
def test_stateless_functions_refuse_them(module):
    z = np.zeros((8, CLASSES))
    for name, y in BAD.items():
        if not isinstance(y, np.ndarray) or y.ndim != 1 or "row" in name:
            continue
        with pytest.raises((TypeError, ValueError), match="^labels "):
            module.softmax_cross_entropy(z, y)


@pytest.mark.parametrize(
    ("array", "bad"),
    # 2^40 is far outside of what is mapped, on either side.
    [("y", 2**40), ("y", -(2**40)), ("sample_weight", 0.0), ("sample_weight", np.nan)],
)
def test_labels_that_change_while_they_are_used_harm_nobody(array, bad):
    """Another thread writes to the arrays of a fit that already checked them.

    What is computed is then undefined, but the process lives, and the call ends.
    """
    code = """
        import sys, threading
        import numpy as np
        import fastnn

        name, bad = sys.argv[1], np.float64(sys.argv[2])
        rng = np.random.default_rng(0)
        X = rng.normal(size=(20_000, 20)).astype("f4")
        y, weight = rng.integers(3, size=20_000), np.ones(20_000)
        given = {"y": y, "sample_weight": weight}[name]
        good = given.copy()
        bad = good.dtype.type(bad)
        done = threading.Event()

        def spoil():
            while not done.is_set():
                given[:] = bad
                given[:] = good

        thread = threading.Thread(target=spoil)
        net = fastnn.Network([20, 30, 3], optimizer=fastnn.SGD(1e-3), seed=0)
        thread.start()
        called = refused = 0
        try:
            while called < 15 and refused < 300:
                try:
                    net.evaluate(X, y, weight)
                    net.fit(X, y, 1, 512, sample_weight=weight, shuffle=called % 2 > 0,
                            verbose=0)
                    called += 1
                except (ValueError, ArithmeticError, fastnn.TrainingDiverged):
                    refused += 1
        finally:
            done.set()
            thread.join()
        print("lives", called, refused)
    """
    child = run_python(code, array, bad, check=False)
    assert child.returncode == 0, child.stderr or f"signal {-child.returncode}"
    assert child.stdout.startswith("lives")
