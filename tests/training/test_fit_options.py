"""Options of `Network.fit`: metrics, time limit, accumulation; losses of quantities."""

import time
from functools import partial

import numpy as np
import pytest
from helpers import same_bits, training_state

import fastnn
from fastnn import metrics
from fastnn._core.model.seeds import row_order
from fastnn._core.training import loop as training
from fastnn.losses import LOSSES

needs_all_losses = pytest.mark.skipif(
    "mse" not in LOSSES, reason="only classes can be learned"
)


@pytest.fixture
def split(blobs):
    """Training and validation data."""
    X, y = blobs
    return dict(X=X[:40], y=y[:40], X_val=X[40:], y_val=y[40:], verbose=0)


def named(name):
    """A metric of the user with this name."""

    def own(y_true, y_pred):
        return 0.0

    own.__name__ = name
    return own


# --- metrics --------------------------------------------------------------------------


def test_named_metrics_are_those_of_the_validation_data(make_net, split):
    names = ["accuracy", "precision", "recall", "f1", "roc_auc", "top_2_accuracy"]
    weight = np.linspace(0, 1, 20)
    net = make_net()
    logged = net.fit(**split, sample_weight_val=weight, epochs=2, metrics=names).history
    y, label = split["y_val"], net.predict(split["X_val"])
    p = net.predict_proba(split["X_val"])
    w = {"sample_weight": weight}
    assert {name: logged[f"val_{name}"][-1] for name in names} == {
        "accuracy": metrics.accuracy(y, label, **w),
        "precision": metrics.precision(y, label, average="macro", **w),
        "recall": metrics.recall(y, label, average="macro", **w),
        "f1": metrics.f1(y, label, average="macro", **w),
        "roc_auc": metrics.roc_auc(y, p, **w),
        "top_2_accuracy": metrics.top_k_accuracy(y, p, k=2, **w),
    }
    expected = ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert list(logged) == expected + [f"val_{name}" for name in names[1:]]
    assert all(len(values) == 2 for values in logged.values())


def test_of_two_classes_the_second_is_positive(make_net, blobs):
    X, y = blobs[0], (blobs[1] == 1).astype(int)
    net = make_net((4, 8, 2))
    names = ["precision", "recall", "f1", "roc_auc"]
    logged = net.fit(
        X, y, epochs=1, validation_split=0.5, metrics=names, verbose=0
    ).history
    label, p = net.predict(X[30:]), net.predict_proba(X[30:])
    assert logged["val_precision"] == [metrics.precision(y[30:], label)]
    assert logged["val_f1"] == [metrics.f1(y[30:], label)]
    assert logged["val_roc_auc"] == [metrics.roc_auc(y[30:], p[:, 1])]


def test_functions_get_true_and_predicted_labels(make_net, split):
    given = []

    def share(y_true, y_pred, power=1):
        given.append((y_true, y_pred))
        return np.float32((y_true == y_pred).mean() ** power)

    class Own:
        def __call__(self, y_true, y_pred):
            return 3

    split["y_val"] = np.eye(3)[split["y_val"]] * 0.8 + 0.2 / 3  # soft targets
    net = make_net()
    both = [partial(share, power=2), Own()]
    logged = net.fit(**split, epochs=1, metrics=both).history
    assert np.array_equal(given[0][0], split["y_val"].argmax(axis=1))
    assert np.array_equal(given[0][1], net.predict(split["X_val"]))
    assert logged["val_share"] == [pytest.approx(logged["val_accuracy"][0] ** 2)]
    assert type(logged["val_share"][0]) is float
    assert logged["val_Own"] == [3.0]


def test_metrics_change_no_bit_and_may_be_monitored(make_net, split):
    a, b = make_net(), make_net()
    a.fit(**split, epochs=3)
    stop = fastnn.EarlyStopping("val_f1", patience=99, restore_best=False)
    b.fit(**split, epochs=3, metrics=["f1"], callbacks=[stop])
    assert stop.best_epoch is not None
    assert same_bits(training_state(a), training_state(b))


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ("f1", TypeError, "metrics must be a sequence of names"),
        (f"{3}", TypeError, "metrics must be a sequence of names"),
        (3, TypeError, "metrics must be a sequence of names"),
        ([3], TypeError, r"metrics\[0\] must be a name or a function"),
        (["f1", "speed"], ValueError, r"metrics\[1\] is 'speed'; expected a function"),
        (["top_k_accuracy"], ValueError, "top_<k>_accuracy"),
        (["top_0_accuracy"], ValueError, "top_<k>_accuracy"),
        (
            ["r2"],
            ValueError,
            "'r2'; expected a function of your own, or with the loss",
        ),
        (["f1", "f1"], ValueError, "metrics has 'f1' twice"),
        ([max, max], ValueError, "metrics has 'max' twice"),
        (["f1", metrics.f1], ValueError, "metrics has 'f1' twice"),
        ([metrics.r2], ValueError, "'r2'; expected a function of your own, or with"),
        ([metrics.confusion_matrix], ValueError, "'confusion_matrix'; expected a fun"),
        ([named("accuracy")], ValueError, "'accuracy', but val_accuracy is logged alr"),
        ([partial(metrics.accuracy, sample_weight=[1])], ValueError, "is logged alr"),
        ([named("loss")], ValueError, "'loss', but val_loss is logged already"),
    ],
)
def test_metrics_are_checked(make_net, split, given, error, text):
    net = make_net()
    with pytest.raises(error, match=text):
        net.fit(**split, metrics=given)
    assert net.step == 0


def test_metrics_need_validation_data_and_are_numbers(make_net, blobs, split):
    net = make_net()
    with pytest.raises(ValueError, match="metrics are those of validation data"):
        net.fit(*blobs, metrics=["f1"], verbose=0)
    assert net.step == 0
    with pytest.raises(
        TypeError, match="metric 'equal' returned an array of shape .20,.; expe"
    ):
        net.fit(**split, metrics=[np.equal])


def test_functions_of_fastnn_are_as_their_names(make_net, split):
    weight = np.linspace(0, 1, 20)
    names = ["accuracy", "precision", "recall", "f1", "roc_auc", "top_2_accuracy"]
    own = [metrics.accuracy, metrics.precision, metrics.recall, metrics.f1,
           metrics.roc_auc, metrics.top_k_accuracy]  # fmt: skip
    logged = [
        make_net().fit(**split, sample_weight_val=weight, epochs=2, metrics=m).history
        for m in (names, own)
    ]
    assert logged[0] == logged[1]


def test_functions_of_fastnn_take_options(make_net, split):
    net, weight = make_net(), np.linspace(1, 0, 20)
    own = [partial(metrics.f1, average="micro"), partial(metrics.top_k_accuracy, k=1),
           partial(metrics.recall, sample_weight=weight)]  # fmt: skip
    logged = net.fit(**split, epochs=1, metrics=own).history
    y, label = split["y_val"], net.predict(split["X_val"])
    p = net.predict_proba(split["X_val"])
    assert logged["val_f1"] == [metrics.f1(y, label, average="micro")]
    assert logged["val_top_1_accuracy"] == [metrics.top_k_accuracy(y, p, k=1)]
    assert logged["val_recall"] == [
        metrics.recall(y, label, average="macro", sample_weight=weight)
    ]


@pytest.mark.parametrize("value", [None, "good", [1.0]])
def test_a_metric_that_returns_no_number_is_named(make_net, split, value):
    def own(y_true, y_pred):
        return value

    with pytest.raises(TypeError, match="metric 'own' returned .*; expected a number"):
        make_net().fit(**split, metrics=[own])


# --- time_limit -----------------------------------------------------------------------


def test_a_fit_that_ran_out_of_time_is_resumed_to_the_bit(
    make_net, blobs, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    arguments = dict(epochs=3, batch_size=16, verbose=0)
    whole = make_net()
    expected = whole.fit(*blobs, **arguments).history
    net = make_net()
    losses = []
    for fits in range(1, 100):
        # Each does one update: no time is left after it.
        history = net.fit(*blobs, **arguments, time_limit=1e-9, resume=fits > 1)
        losses += history.history.get("loss", [])
        assert net.step == fits
        if net.epoch == 3:
            break
        assert net.cursor == fits % 4 * 16
        if fits == 5:
            net.save(tmp_path / "net")
            net = fastnn.Network.load(tmp_path / "net", backend=net.backend)
    assert fits == 12
    assert losses == expected["loss"]
    assert same_bits(training_state(net), training_state(whole))


def test_the_time_limit_is_kept(make_net, blobs, monkeypatch):
    monkeypatch.setattr(training, "SLICE_SECONDS", 60.0)  # the limit cuts it
    X, y = np.tile(blobs[0], (2000, 1)), np.tile(blobs[1], 2000)
    ended = []
    hook = fastnn.LambdaCallback(on_train_end=lambda: ended.append(True))
    net = make_net()
    start = time.perf_counter()
    # 120,000 updates take longer. Some 0.01 s where nothing else runs.
    net.fit(X, y, batch_size=1, time_limit=0.005, callbacks=[hook], verbose=0)
    assert 0.005 <= time.perf_counter() - start < 2.0
    assert ended == [True]
    assert 0 < net.step == net.cursor < 120_000
    net.fit(*blobs, epochs=1, time_limit=1000, verbose=0)  # more than enough
    assert net.cursor == 0


def test_time_is_looked_at_between_epochs_too(make_net, blobs):
    net = make_net()
    hook = fastnn.LambdaCallback(on_epoch_end=lambda epoch, logs: time.sleep(0.05))
    history = net.fit(*blobs, epochs=100, time_limit=0.12, callbacks=[hook], verbose=0)
    assert 1 <= len(history.epochs) <= 3
    assert net.epoch == len(history.epochs)


def test_out_of_time_is_no_end_that_restores_the_best(make_net, blobs):
    net = make_net()
    stop = fastnn.EarlyStopping("accuracy", mode="min", patience=99)
    net.fit(*blobs, epochs=9, time_limit=1e-9, callbacks=[stop], verbose=0)
    net.fit(*blobs, epochs=9, time_limit=1e-9, callbacks=[stop], verbose=0, resume=True)
    assert (net.epoch, stop.best_epoch) == (2, 0)
    last = net.get_weights()
    stop.restore()
    assert not same_bits(net.get_weights(), last)


def test_out_of_time_within_an_epoch_restores_nothing_either(
    make_net, blobs, monkeypatch
):
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    net = make_net()
    stop = fastnn.EarlyStopping("accuracy", patience=99)

    def end(epoch, logs):
        net.stop_training = True  # too late: the time is up before the epoch is

    hook = fastnn.LambdaCallback(on_epoch_begin=end)
    net.fit(*blobs, epochs=1, batch_size=30, callbacks=[stop], verbose=0)
    net.fit(*blobs, epochs=2, batch_size=30, callbacks=[stop], verbose=0)
    best, arguments = stop.best_epoch, dict(batch_size=30, time_limit=1e-9, verbose=0)
    net.fit(*blobs, epochs=4, callbacks=[hook, stop], resume=True, **arguments)
    assert (best is not None, net.cursor) == (True, 30)
    last = net.get_weights()
    stop.restore()
    assert not same_bits(net.get_weights(), last)


def test_no_limit_is_none(make_net, blobs):
    with pytest.raises(ValueError, match="None or a finite number of seconds > 0, got"):
        make_net().fit(*blobs, time_limit=np.inf, verbose=0)


@pytest.mark.parametrize("limit", [0, -1, np.nan, "1 s"])
def test_a_time_limit_is_a_positive_number(make_net, blobs, limit):
    with pytest.raises((TypeError, ValueError), match="time_limit must be None or"):
        make_net().fit(*blobs, time_limit=limit, verbose=0)


# --- accumulate -----------------------------------------------------------------------


class Accumulating:
    """An engine that is told what `train` is given, and cuts at whole updates."""

    def __init__(self, engine):
        self._engine = engine
        self.accumulate, self.checked = [], []

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def train(self, *arguments, accumulate=None, checked, **others):
        self.accumulate.append(accumulate)
        self.checked.append(checked)
        return self._engine.train(*arguments, checked=checked, **others)


def test_data_are_checked_once_in_an_epoch(make_net, blobs, monkeypatch):
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    net = make_net()
    net._model.engine = Accumulating(net._model.engine)
    net.fit(*blobs, epochs=2, batch_size=20, verbose=0)
    assert net._model.engine.checked == [False, True, True] * 2


def test_accumulate_is_given_to_the_engine_and_kept(make_net, blobs, monkeypatch):
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    net = make_net()
    net._model.engine = Accumulating(net._model.engine)
    net.fit(*blobs, epochs=1, batch_size=30, verbose=0)
    assert net._model.engine.accumulate == [None] * 2
    net.fit(*blobs, batch_size=10, accumulate=2, time_limit=1e-9, verbose=0)
    assert net._model.engine.accumulate == [None] * 2 + [2]
    assert net._model.progress.accumulate == 2
    with pytest.raises(ValueError, match="accumulate is 3; expected 2, as in the"):
        net.fit(*blobs, batch_size=10, accumulate=3, resume=True, verbose=0)
    net.fit(*blobs, batch_size=10, accumulate=2, resume=True, verbose=0)
    for accumulate in (0, 1.5):
        with pytest.raises((TypeError, ValueError), match="accumulate must be"):
            net.fit(*blobs, accumulate=accumulate, verbose=0)


# --- the order of rows ----------------------------------------------------------------


def test_seeds_and_epochs_do_not_share_their_orders():
    orders = {
        tuple(row_order(seed, 20, *place).tolist())
        for seed in (0, 1, 2, 2**32, 2**33 + 1, 2**64 - 1)
        for place in ((0,), (1,), (2,), (0, 0), (0, 1), (1, 0))
    }
    assert len(orders) == 36


# --- losses without classes -----------------------------------------------------------


@pytest.fixture
def line():
    X = np.random.default_rng(0).normal(size=(80, 4)).astype("f4")
    return X, X @ [1.0, -2.0, 0.5, 0.0] + 1.0


@needs_all_losses
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_quantities_have_a_loss_and_r2_but_no_accuracy(make_net, line, loss):
    X, y = line
    net = make_net((4, 1), loss=loss, optimizer=fastnn.Adam(0.1))
    names = ["r2", "mean_squared_error", "mean_absolute_error"]
    seen = []
    hook = fastnn.LambdaCallback(on_progress=lambda rows, logs: seen.append([*logs]))
    logged = net.fit(
        X, y, epochs=100, batch_size=16, validation_split=0.25, metrics=names,
        callbacks=[hook], verbose=0,
    ).history  # fmt: skip
    assert list(logged) == ["loss", "val_loss", *(f"val_{name}" for name in names)]
    assert seen[0] == ["loss"]
    assert list(net.evaluate(X, y)) == ["loss"]
    values = net.predict(X)
    assert values.shape == (80, 1)
    assert net.score(X, y) == metrics.r2(y.astype("f4"), values) > 0.95
    assert logged["val_r2"][-1] == metrics.r2(y[60:].astype("f4"), values[60:])
    with pytest.raises(
        ValueError, match="expected a function of your own, or with the"
    ):
        net.fit(X, y, validation_split=0.5, metrics=["accuracy"], verbose=0)


@needs_all_losses
def test_a_score_is_weighed(make_net, line):
    X, y = line
    net = make_net((4, 1), loss="mse")
    weight = np.arange(80.0)
    expected = metrics.r2(y.astype("f4"), net.predict(X), sample_weight=weight)
    assert net.score(X, y, weight) == expected


@needs_all_losses
def test_class_weight_needs_labels(make_net, line, blobs):
    X, y = line
    for loss, targets in (
        ("mse", np.stack([y, y], 1)),
        ("binary_cross_entropy", np.stack([y > 0, y > 1], 1)),
    ):
        net = make_net((4, 2), loss=loss)
        for weight in ("balanced", {0: 2.0}):
            with pytest.raises(ValueError, match="needs integer class labels, one per"):
                net.fit(X, targets, class_weight=weight, verbose=0)
        assert net.step == 0
    weight = np.where(y > 0, 3.0, 1.0)
    for targets in (y > 0, (y > 0)[:, np.newaxis]):
        a, b = (make_net((4, 1), loss="binary_cross_entropy") for _ in range(2))
        a.fit(X, targets, epochs=2, class_weight={1: 3.0}, verbose=0)
        b.fit(X, targets, epochs=2, sample_weight=weight, verbose=0)
        assert same_bits(a.get_weights(), b.get_weights())


@needs_all_losses
def test_metrics_of_labels_that_are_columns(make_net, line):
    X, y = line
    targets = np.stack([y > 0, y > 1, X[:, 0] > 0], 1)
    net = make_net((4, 3), loss="binary_cross_entropy")
    names = ["precision", "f1", "roc_auc", "accuracy"]
    logged = net.fit(
        X, targets, epochs=2, validation_split=0.5, metrics=names, verbose=0
    ).history
    labels, p = net.predict(X[40:]), net.predict_proba(X[40:])
    true = targets[40:].astype(int)
    assert logged["val_f1"][-1] == metrics.f1(true, labels, average="macro")
    assert logged["val_roc_auc"][-1] == metrics.roc_auc(true, p)
    assert logged["val_accuracy"][-1] == metrics.accuracy(true, labels)
    with pytest.raises(ValueError, match="'top_2_accuracy'; expected a function"):
        net.fit(X, targets, validation_split=0.5, metrics=["top_2_accuracy"], verbose=0)
