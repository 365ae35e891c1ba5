"""`Network.fit(rows=..., rows_val=...)` is a fit of these rows, which are not taken."""

import numpy as np
import pytest
from helpers import same_bits, training_state

import fastnn
from fastnn import BatchNorm, Dropout

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
Y = (X[:, :3] + RNG.normal(size=(120, 3))).argmax(axis=1)
WEIGHT = RNG.random(120)
SOME = RNG.permutation(120)[:70]
MASK = np.isin(np.arange(120), SOME)
LAYERS = [4, 8, Dropout(0.2), BatchNorm(), 3]


def same(a, b):
    return same_bits(training_state(a), training_state(b))


@pytest.mark.parametrize(
    "rows",
    [
        SOME,
        np.isin(np.arange(120), SOME),
        RNG.integers(0, 120, 150),
        range(30, 90),
        [7],
    ],
    ids=["numbers", "mask", "repeated", "range", "one"],
)
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("weigh", [False, True])
def test_bits_of_a_fit_of_these_rows(make_net, rows, shuffle, weigh):
    options = dict(epochs=3, batch_size=16, shuffle=shuffle, verbose=0)
    numbers = np.arange(120)[rows if isinstance(rows, np.ndarray) else [*rows]]
    weight = WEIGHT if weigh else None
    if weigh:
        options["class_weight"] = "balanced"
    net, expected = make_net(LAYERS), make_net(LAYERS)
    history = net.fit(X, Y, sample_weight=weight, rows=rows, **options)
    weight = weight[numbers] if weigh else None
    alike = expected.fit(X[numbers], Y[numbers], sample_weight=weight, **options)
    assert history.history == alike.history
    assert same(net, expected)


@pytest.mark.parametrize("rows_val", [range(20, 60), SOME], ids=["view", "copy"])
def test_validation_rows(make_net, rows_val):
    options = dict(epochs=2, metrics=["f1", "roc_auc"][:1], verbose=0)
    numbers = [*rows_val]
    net, expected = make_net(), make_net()
    history = net.fit(X, Y, sample_weight=WEIGHT, rows_val=rows_val, **options)
    alike = expected.fit(
        X, Y, sample_weight=WEIGHT, X_val=X[numbers], y_val=Y[numbers],
        sample_weight_val=WEIGHT[numbers], **options,
    )  # fmt: skip
    assert history.history == alike.history
    assert {"val_loss", "val_f1"} <= {*history.history}


def test_goes_on_after_a_time_limit(make_net):
    net, whole = make_net(), make_net()
    options = dict(epochs=30, batch_size=1, rows=SOME, verbose=0)
    whole.fit(X, Y, **options)
    for _ in range(10_000):
        net.fit(X, Y, resume=True, time_limit=1e-3, **options)
        if net.epoch == 30:
            break
    assert same(net, whole)


def test_lbfgs(make_net):
    options = dict(epochs=5, verbose=0)
    nets = [make_net(optimizer=fastnn.LBFGS()) for _ in "ab"]
    nets[0].fit(X, Y, rows=SOME, **options)
    nets[1].fit(X[SOME], Y[SOME], **options)
    assert same(*nets)


def test_tables():
    """The schema must not be learnt from rows that are not trained on."""
    numbers = {"a": X[:, 0], "b": X[:, 1]}
    table = {"a": X[:, 0], "b": np.where(X[:, 1] > 0, "yes", "no")}
    nets = [fastnn.Network([2, 8, 3], seed=0) for _ in range(4)]
    nets[0].fit(numbers, Y, rows=SOME, verbose=0)
    nets[1].fit(
        {name: part[SOME] for name, part in numbers.items()}, Y[SOME], verbose=0
    )
    assert same(*nets[:2])
    with pytest.raises(ValueError, match=r"no schema yet.*assign net\.schema"):
        nets[2].fit(table, Y, rows=SOME, verbose=0)
    some = {name: part[SOME] for name, part in table.items()}
    nets[2].schema = fastnn.Schema.from_table(some)
    nets[2].fit(table, Y, rows=SOME, verbose=0)
    nets[3].fit(some, Y[SOME], verbose=0)
    assert same(*nets[2:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rows": []},
            r"dtype float64 and shape \(0,\); expected the num",
        ),
        ({"rows": [0.0]}, "rows has dtype float64"),
        ({"rows": [[1]]}, r"shape \(1, 1\)"),
        ({"rows": 3}, r"shape \(\)"),
        ({"rows": [True] * 3}, "a mask of 120 bools"),
        ({"rows": [False] * 120}, r"shape \(0,\)"),
        ({"rows": [5, 120]}, r"rows\[1\] is 120; expected a row of X, 0..119"),
        ({"rows_val": [-1]}, r"rows_val\[0\] is -1"),
        ({"rows": SOME, "validation_split": 0.5}, "split is not 0 although"),
        (
            {"rows_val": SOME, "X_val": X, "y_val": Y},
            "is given although X_val",
        ),
        ({"rows": [3], "sample_weight": np.arange(120) != 3}, "zero for every row"),
    ],
)
def test_wrong_rows(make_net, change, message):
    net = make_net()
    with pytest.raises(ValueError, match=message):
        net.fit(X, Y, verbose=0, **change)
    assert net.step == 0
