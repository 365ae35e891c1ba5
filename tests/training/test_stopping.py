"""Callbacks that end a training, or lower its learning rate."""

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
from helpers import same_bits

import fastnn
from fastnn import EarlyStopping, LossBelow, LossTolerance, ReduceOnPlateau, layers
from fastnn._core.training import loop as training


class Script(fastnn.Callback):
    """Puts values of a list into the logs, one per epoch."""

    def __init__(self, values, name="loss"):
        self.values = values
        self.name = name

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.values[epoch]


class Weights(fastnn.Callback):
    """Keeps the weights after each epoch."""

    def on_train_begin(self):
        self.kept = []

    def on_epoch_end(self, epoch, logs):
        self.kept.append(self.network.get_weights())


def follow(net, blobs, values, *callbacks, name="loss", **arguments):
    """Train for as long as the callbacks want; return the epochs."""
    arguments = {"epochs": len(values), "verbose": 0, **arguments}
    script = Script(values, name)
    return net.fit(*blobs, callbacks=[script, *callbacks], **arguments).epochs


# --- EarlyStopping --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([5, 4, 3, 2, 1], {}, 5, 4),
        ([5, 4, 4, 4, 4], {}, 4, 1),
        ([5, 4, 6, 3, 6, 7], {}, 6, 3),
        ([5, 6, 6, 6], {"patience": 1}, 2, 0),
        ([5, 4.9, 4.8, 4.7], {"min_delta": 0.15}, 4, 2),
        ([5, 4.9, 4.9, 4.7], {"min_delta": 0.15}, 3, 0),
        ([1, 5, 6, 7], {"mode": "max"}, 4, 3),
        ([1, 5, 5, 5], {"mode": "max"}, 4, 1),
        ([1, 9, 8, 9, 9, 9], {"start_from_epoch": 2}, 5, 2),
        ([np.nan, np.nan, 1, 2], {}, 2, None),
        ([1, np.nan, 0.5, np.nan, np.nan], {}, 5, 2),
    ],
)
def test_it_stops_after_patience_and_restores_the_best(
    make_net, blobs, values, options, epochs, best
):
    net, weights = make_net(), Weights()
    stop = EarlyStopping("loss", **{"patience": 2, **options})
    ran = follow(net, blobs, values, weights, stop)
    assert len(ran) == epochs
    assert stop.best_epoch == best
    assert stop.stopped_epoch == (epochs - 1 if net.stop_training else None)
    if best is not None:
        assert stop.best == values[best]
    expected = weights.kept[-1 if best is None else best]
    assert same_bits(net.get_weights(), expected)


def test_without_restore_the_last_weights_stay(make_net, blobs):
    net, weights = make_net(), Weights()
    stop = EarlyStopping("loss", patience=2, restore_best=False)
    follow(net, blobs, [1, 2, 3, 4], weights, stop)
    assert len(weights.kept) == 3
    assert same_bits(net.get_weights(), weights.kept[2])
    stop.restore()  # nothing was kept
    assert same_bits(net.get_weights(), weights.kept[2])


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([5, 3, 4, 3, 6, 3, 4], {"patience": None}, 7, 5),
        ([5, 3, 4, 3, 6, 3, 4], {"patience": None, "ties": "first"}, 7, 1),
        ([5, 3, 4, 3, 6, 2, 4], {"patience": 3}, 5, 3),
        ([3, 3, 3, 3], {"patience": 2}, 3, 2),
        ([np.nan, np.nan, 1], {"patience": None}, 3, 2),
        ([1, 5, 2, 5, 4], {"patience": None, "mode": "max"}, 5, 3),
        ([5, 4.9, 4.9, 5], {"patience": None, "min_delta": 0.2}, 4, 3),
    ],
)
def test_the_last_of_the_best_epochs(make_net, blobs, values, options, epochs, best):
    net, weights = make_net(), Weights()
    stop = EarlyStopping("loss", **{"ties": "last", **options})
    ran = follow(net, blobs, values, weights, stop, epochs=len(values))
    assert (len(ran), stop.best_epoch) == (epochs, best)
    assert stop.best == values[best]
    assert same_bits(net.get_weights(), weights.kept[best])
    assert pickle.loads(pickle.dumps(stop)).best == stop.best


def test_a_second_fit_begins_anew(make_net, blobs):
    net, stop = make_net(), EarlyStopping("loss", patience=2)
    follow(net, blobs, [1, 2, 3], stop)
    ran = follow(net, blobs, [0, 0, 0, 7, 6, 5, 4], stop, epochs=4)
    assert ran == [3, 4, 5, 6]
    assert stop.best == 4


def test_the_name_says_which_direction_is_better():
    better = [
        EarlyStopping(name)._monitor.is_better(2.0, 1.0)
        for name in ("val_accuracy", "f1", "val_top_5_accuracy", "val_r2", "roc_auc")
    ]
    assert all(better)
    worse = [
        EarlyStopping(name)._monitor.is_better(2.0, 1.0)
        for name in ("loss", "val_loss", "val_mean_squared_error")
    ]
    assert not any(worse)


def test_a_function_is_monitored_too(make_net, blobs):
    seen = []

    def own(network, logs):
        seen.append((network.epoch, logs["loss"]))
        return -network.epoch

    stop = EarlyStopping(own, mode="max", patience=3)
    assert follow(make_net(), blobs, [9, 8, 7, 6, 5], stop) == [0, 1, 2, 3]
    assert seen == [(1, 9), (2, 8), (3, 7), (4, 6)]


def test_validation_loss_is_what_it_watches_by_default(make_net, blobs):
    stop = EarlyStopping(patience=3)
    net = make_net(optimizer=fastnn.Adam(0.05))
    X, y = blobs[0], np.where(np.arange(60) % 7 == 0, 0, blobs[1])  # some are wrong
    history = net.fit(
        X, y, epochs=300, validation_split=0.3, callbacks=[stop], verbose=0
    )
    values = history.history["val_loss"]
    assert len(values) < 300
    assert stop.best == min(values)
    assert values.index(stop.best) == len(values) - 4
    again = net.evaluate(X[42:], y[42:])
    assert again["loss"] == stop.best


def test_a_resumed_fit_stops_where_it_would_have(make_net, blobs, monkeypatch):
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    values = [5, 4, 3, 4, 4, 2, 4, 4, 4, 4]
    whole, expected = make_net(), EarlyStopping("loss", patience=3)
    follow(whole, blobs, values, expected, batch_size=16)
    for slices in (1, 4, 11, 14, 17, 33):
        net, stop = make_net(), EarlyStopping("loss", patience=3)
        left = iter(range(slices))

        def interrupt(rows, logs, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt

        hook = fastnn.LambdaCallback(on_progress=interrupt)
        with pytest.raises(KeyboardInterrupt):
            follow(net, blobs, values, stop, hook, batch_size=16)
        follow(net, blobs, values, stop, batch_size=16, resume=True)
        assert same_bits(net.get_weights(), whole.get_weights())
        assert (stop.best, stop.best_epoch, stop.stopped_epoch) == (2, 5, 8)
        # Once stopped, it stays so.
        assert follow(net, blobs, values, stop, batch_size=16, resume=True) == []


def test_what_cannot_be_monitored_is_said_before_or_after_the_first_epoch(
    make_net, blobs
):
    net = make_net()
    with pytest.raises(ValueError, match="'val_loss' but there is no validation"):
        net.fit(*blobs, callbacks=[EarlyStopping()], verbose=0)
    assert net.step == 0
    stop = EarlyStopping("speed", mode="max")
    metric, nothing = EarlyStopping("val_f1"), fastnn.LambdaCallback()
    for own, data in ((stop, {}), (metric, {"X_val": blobs[0], "y_val": blobs[1]})):
        hooks = [nothing, fastnn.History(), own, Script([0], "later")]
        with pytest.raises(ValueError, match="which is not logged; expected one of"):
            net.fit(*blobs, callbacks=hooks, verbose=0, **data)
    assert net.step == 0
    with pytest.raises(ValueError, match="'speed', which is not logged; expected one"):
        net.fit(*blobs, callbacks=[Script([0]), stop], verbose=0)
    assert net.epoch == 1  # a callback before it might have logged it
    rate = EarlyStopping("learning_rate", mode="max")
    net.fit(*blobs, epochs=1, callbacks=[ReduceOnPlateau("loss"), rate], verbose=0)
    assert rate.best == 0.001


def test_what_a_monitoring_function_returns_is_a_number(make_net, blobs):
    def forgot(network, logs):
        pass

    stop = EarlyStopping(forgot, mode="max")
    with pytest.raises(
        TypeError, match="'forgot' that EarlyStopping monitors returned"
    ):
        make_net().fit(*blobs, callbacks=[stop], verbose=0)


def test_one_that_stopped_a_network_does_not_stop_another(make_net, blobs, tmp_path):
    stop = EarlyStopping("loss", patience=1)
    net = make_net()
    follow(net, blobs, [1, 2, 3, 4], stop)
    net.save(tmp_path / "net")
    same = fastnn.Network.load(tmp_path / "net", backend=net.backend)
    assert follow(same, blobs, [1, 2, 3, 4], stop, resume=True) == []
    other, never = make_net((4, 5, 3)), np.arange(9.0)[::-1]
    follow(other, blobs, never, epochs=3)
    assert follow(other, blobs, never, stop, epochs=5, resume=True) == [3, 4]
    assert (stop.best_epoch, stop.stopped_epoch) == (4, None)


def test_another_seed_is_another_network(make_net, blobs):
    stop, values = EarlyStopping("loss", patience=1), [1, 2, 1, 0]
    follow(make_net(), blobs, values, stop)
    other = make_net(seed=1)
    follow(other, blobs, values, epochs=2)
    assert follow(other, blobs, values, stop, resume=True) == [2, 3]


def test_an_error_after_the_stop_is_no_end_that_restores_the_best(make_net, blobs):
    def fail(epoch, logs):
        if epoch == 1:
            raise ZeroDivisionError

    net, weights = make_net(), Weights()
    stop = EarlyStopping("loss", patience=1)
    hook = fastnn.LambdaCallback(on_epoch_end=fail)
    with pytest.raises(ZeroDivisionError):
        follow(net, blobs, [1, 2, 3], weights, stop, hook)
    assert same_bits(net.get_weights(), weights.kept[1])
    assert follow(net, blobs, [1, 2, 3], stop, resume=True) == []
    assert same_bits(net.get_weights(), weights.kept[0])


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: EarlyStopping("speed"), ValueError, "mode is 'auto' but"),
        (lambda: EarlyStopping(lambda n, g: 1.0), ValueError, "mode is 'auto' but"),
        (lambda: EarlyStopping(3), TypeError, "monitor must be"),
        (lambda: EarlyStopping(mode="best"), ValueError, "mode must be one of"),
        (lambda: EarlyStopping(patience=0), ValueError, "patience"),
        (lambda: EarlyStopping(min_delta=-1), ValueError, "min_delta"),
        (lambda: EarlyStopping(ties="all"), ValueError, "ties must be one of"),
        (lambda: EarlyStopping(restore_best=1), TypeError, "restore_best"),
        (lambda: EarlyStopping(start_from_epoch=-1), ValueError, "start_from_epoch"),
        (lambda: LossTolerance(-1), ValueError, "tol"),
        (lambda: LossTolerance(patience=0), ValueError, "patience"),
        (lambda: LossBelow("a"), TypeError, "loss"),
        (lambda: ReduceOnPlateau(factor=1), ValueError, "factor"),
        (lambda: ReduceOnPlateau(min_rate=-1), ValueError, "min_rate"),
        (lambda: ReduceOnPlateau(cooldown=-1), ValueError, "cooldown"),
        (lambda: ReduceOnPlateau(patience=0), ValueError, "patience"),
    ],
)
def test_parameters_are_checked(make, error, text):
    with pytest.raises(error, match=text):
        make()


# --- LossTolerance and LossBelow ------------------------------------------------------


def test_loss_tolerance_by_hand(make_net, blobs):
    stop = LossTolerance(tol=0.5, patience=2)
    # Better by less than tol counts as none, but lowers the mark.
    assert len(follow(make_net(), blobs, [9, 8.6, 8.2, 7.8, 7, 6], stop)) == 4
    assert len(follow(make_net(), blobs, [9, 8.6, 8.2, 7, 6.9, 6.8], stop)) == 6


def test_loss_tolerance_is_the_rule_of_sklearn(make_net, blobs):
    neural_network = pytest.importorskip("sklearn.neural_network")
    for tol, patience in ((1e-2, 3), (1e-3, 5), (0.05, 1)):
        model = neural_network.MLPClassifier(
            (8,), tol=tol, n_iter_no_change=patience, max_iter=2000, random_state=1,
            learning_rate_init=0.02,
        )  # fmt: skip
        losses = model.fit(*blobs).loss_curve_
        stop = LossTolerance(tol, patience)
        ran = follow(make_net(), blobs, [*losses, 0.0], stop)
        assert len(ran) == len(losses)


def test_loss_tolerance_counts_on_after_an_interrupt(make_net, blobs):
    net, stop = make_net(), LossTolerance(tol=0.0, patience=3)
    values = [1, 2, 2, 2, 2, 2, 2]

    def interrupt(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    hook = fastnn.LambdaCallback(on_epoch_begin=interrupt)
    with pytest.raises(KeyboardInterrupt):
        follow(net, blobs, values, stop, hook)
    assert follow(net, blobs, values, stop, resume=True) == [2, 3, 4]


def test_loss_below_stops_at_once(make_net, blobs):
    assert follow(make_net(), blobs, [3, 2, 1, 0.5], LossBelow(2)) == [0, 1, 2]


# --- ReduceOnPlateau ------------------------------------------------------------------


@dataclass(frozen=True)
class AnyOptimizer:
    learning_rate: object


class FakeNetwork:
    """What the callback needs of a network."""

    def __init__(self, learning_rate):
        self.optimizer = AnyOptimizer(learning_rate)
        self.epoch = self.cursor = self.step = 0


def rates(plateau, values, learning_rate=1.0):
    """The rate after each epoch with these values of the loss."""
    plateau.network = FakeNetwork(learning_rate)
    plateau.params = {"first_epoch": 0, "last_epoch": len(values)}
    plateau.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        plateau.network.step = 10 * (epoch + 1)
        logs = {"loss": value}
        plateau.on_epoch_end(epoch, logs)
        rates.append(logs["learning_rate"])
    return rates


def test_plateau_by_hand():
    half = {"factor": 0.5, "patience": 2}
    values = [5, 5, 5, 5, 5, 4, 5, 5]
    plateau = ReduceOnPlateau("loss", **half)
    assert rates(plateau, values) == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
    plateau = ReduceOnPlateau("loss", **half, cooldown=1)
    assert rates(plateau, values) == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25]
    plateau = ReduceOnPlateau("loss", **half, min_rate=0.3)
    assert rates(plateau, values) == [1, 1, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3]
    plateau = ReduceOnPlateau("loss", **half, min_delta=2.0)
    assert rates(plateau, [5, 4, 3, 2, 1]) == [1, 1, 0.5, 0.5, 0.5]
    plateau = ReduceOnPlateau("loss", **half, mode="max")
    assert rates(plateau, [5, 6, 7, 7, 7]) == [1, 1, 1, 1, 0.5]
    plateau = ReduceOnPlateau("loss", **half, min_rate=2.0)
    assert rates(plateau, [5, 5, 5]) == [1, 1, 1]  # never raised


def test_plateau_is_that_of_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for _ in range(30):
        values = np.cumsum(rng.normal(0, 1, 60)).round(1).tolist()
        patience, cooldown = (int(n) for n in rng.integers((1, 0), (5, 4)))
        low = float(rng.choice([0.0, 0.01]))
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([weight], lr=1.0)
        # There, it is lowered after more than `patience` bad epochs.
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=patience - 1, cooldown=cooldown,
            min_lr=low, threshold=0.15, threshold_mode="abs", eps=0.0,
        )  # fmt: skip
        expected = []
        for value in values:
            scheduler.step(value)
            expected.append(optimizer.param_groups[0]["lr"])
        plateau = ReduceOnPlateau(
            "loss", factor=0.5, patience=patience, cooldown=cooldown, min_rate=low,
            min_delta=0.15,
        )  # fmt: skip
        assert rates(plateau, values) == expected


def test_a_schedule_is_scaled_once_however_often():
    step = fastnn.schedules.Step(1.0, interval=40, factor=0.1)
    plateau = ReduceOnPlateau("loss", factor=0.5, patience=2, min_rate=0.02)
    # Constant up to update 39; the plateau halves at epochs 2, 4, 6, ...
    found = rates(plateau, [5] * 9, step)
    np.testing.assert_allclose(
        found, [1, 1, 0.5, 0.05, 0.025, 0.025, 0.02, 0.002, 0.002]
    )
    learning_rate = plateau.network.optimizer.learning_rate
    assert learning_rate.schedule is step
    np.testing.assert_allclose(learning_rate.factor, 0.2)


def test_the_optimizer_of_a_network_gets_the_lower_rate_and_keeps_its_state(
    make_net, blobs
):
    optimizer = fastnn.SGD(0.1, momentum=0.9)
    net, by_hand = (make_net(optimizer=optimizer) for _ in range(2))
    plateau = ReduceOnPlateau("loss", factor=0.5, patience=1)
    follow(net, blobs, [1, 1, 1], plateau)
    for rate in (0.1, 0.1, 0.05):
        by_hand.optimizer = replace(optimizer, learning_rate=rate)
        by_hand.fit(*blobs, epochs=1, verbose=0)
    assert same_bits(net.get_weights(), by_hand.get_weights())
    assert net.optimizer == fastnn.SGD(0.025, momentum=0.9)


def test_plateau_without_its_metric_is_refused(make_net, blobs):
    net = make_net()
    with pytest.raises(ValueError, match="ReduceOnPlateau monitors 'val_loss' but"):
        net.fit(*blobs, callbacks=[ReduceOnPlateau()], verbose=0)
    assert net.step == 0


def test_the_best_epoch_has_its_statistics_too(make_net, blobs):
    net = make_net([4, 8, layers.BatchNorm("relu"), 3])
    stop = EarlyStopping("loss", patience=9)
    seen = []
    look = fastnn.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(net.predict_proba(blobs[0]))
    )
    follow(net, blobs, [3, 1, 2, 2], look, stop)
    assert same_bits(net.predict_proba(blobs[0]), seen[1])
