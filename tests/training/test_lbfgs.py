"""L-BFGS: against scikit-learn's and closed forms, and within `Network.fit`."""

import numpy as np
import pytest

import fastnn
from fastnn import LBFGS, Dense, Network, TrainingDiverged

pytest.importorskip("scipy")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = X @ RNG.standard_normal((4, 2)) + 1 + 0.1 * RNG.standard_normal((60, 2))
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)

BACKENDS = pytest.mark.parametrize("backend", ["native", "numpy"])


def network(layers, backend, loss="mse", dtype="float64", **parameters):
    optimizer = LBFGS(**parameters)
    return Network(layers, loss=loss, optimizer=optimizer, dtype=dtype, seed=0,
                   backend=backend)  # fmt: skip


@BACKENDS
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_ridge_regression_in_closed_form(backend, l2):
    net = network([4, 2], backend, l2=l2, tolerance=1e-10)
    weight = np.arange(60) % 3 + 1.0
    history = net.fit(X, Y, epochs=500, sample_weight=weight, verbose=0)
    # The gradient of 1/2 sum_i w_i |x_i W + b - y_i|^2 / sum_i w_i + 1/2 l2 |W|^2 is 0.
    design = np.column_stack([X, np.ones(60)])
    scaled = design * (weight / weight.sum())[:, np.newaxis]
    penalty = np.diag([l2] * 4 + [0.0])
    expected = np.linalg.solve(scaled.T @ design + penalty, scaled.T @ Y)
    (W, b), = net.get_weights()  # fmt: skip
    np.testing.assert_allclose(W, expected[:4], atol=1e-7)
    np.testing.assert_allclose(b, expected[4], atol=1e-7)
    assert len(history.epochs) == net.epoch == net.step < 100


@BACKENDS
def test_loss_falls_in_every_iteration(backend):
    net = network([4, 8, 3], backend, "softmax_cross_entropy")
    losses = []
    log = fastnn.LambdaCallback(on_epoch_end=lambda epoch, logs: losses.append(logs))
    history = net.fit(
        X, LABELS, epochs=30, callbacks=[log], validation_split=0.2, verbose=0
    )
    assert (np.diff(history.history["loss"]) < 0).all()
    assert sorted(losses[0]) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert net.evaluate(X[:48], LABELS[:48])["loss"] == history.history["loss"][-1]


def test_scikit_learn_finds_the_same_minimum():
    neural = pytest.importorskip("sklearn.neural_network")
    theirs = neural.MLPClassifier(
        (6,), "tanh", solver="lbfgs", alpha=0.6, max_iter=5000, tol=1e-9, random_state=0
    ).fit(X, LABELS)
    net = network(
        [4, Dense(6, "tanh"), 3], "native", "softmax_cross_entropy", l2=0.6 / 60,
        tolerance=1e-9,
    )  # fmt: skip
    start = neural.MLPClassifier((6,), "tanh", random_state=0, max_iter=1)
    with pytest.warns(UserWarning, match="iterations"):
        start.fit(X, LABELS)
    net.set_weights(list(zip(theirs.coefs_, theirs.intercepts_, strict=True)))
    at_theirs = net.evaluate(X, LABELS)["loss"]
    net.fit(X, LABELS, epochs=1000, verbose=0)
    np.testing.assert_allclose(net.predict_proba(X), theirs.predict_proba(X), atol=1e-3)
    assert net.evaluate(X, LABELS)["loss"] == pytest.approx(at_theirs, rel=1e-3)


@BACKENDS
def test_frozen_layers_and_absent_biases_stay(backend):
    layers = [4, Dense(5, "tanh", trainable=False), Dense(2, use_bias=False)]
    net = network(layers, backend)
    (frozen, _), (last, _) = net.get_weights()
    net.fit(X, Y, epochs=10, verbose=0)
    (after, _), (trained, bias) = net.get_weights()
    assert (frozen == after).all()
    assert (last != trained).any()
    assert not bias.any()


@BACKENDS
def test_an_interrupt_leaves_the_last_iteration(backend):
    net = network([4, 6, 3], backend, "softmax_cross_entropy")
    kept = []

    def interrupt(epoch, logs):
        kept.append(net.get_weights())
        if epoch == 3:
            raise KeyboardInterrupt

    callback = fastnn.LambdaCallback(on_epoch_end=interrupt)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, LABELS, epochs=50, callbacks=[callback], verbose=0)
    assert net.epoch == net.step == 4
    for (W, b), (W_kept, b_kept) in zip(net.get_weights(), kept[-1], strict=True):
        assert (W == W_kept).all()
        assert (b == b_kept).all()
    net.fit(X, LABELS, epochs=2, verbose=0)  # it is free again
    assert net.epoch == 6


@BACKENDS
def test_it_can_be_stopped(backend):
    net = network([4, 6, 3], backend, "softmax_cross_entropy")
    history = net.fit(
        X, LABELS, epochs=50, callbacks=[fastnn.LossBelow(0.5)], verbose=0
    )
    assert history.history["loss"][-1] < 0.5 <= history.history["loss"][-2]
    stop = fastnn.EarlyStopping("loss", mode="max", patience=2)
    arguments = dict(epochs=50, callbacks=[stop], verbose=0)
    assert len(net.fit(X, LABELS, **arguments).epochs) == 3
    assert net.fit(X, LABELS, **arguments, resume=True).epochs == []


@BACKENDS
def test_float32(backend):
    net = network([4, 2], backend, dtype="float32")
    net.fit(X, Y, epochs=100, verbose=0)
    assert net.score(X, Y) > 0.98
    assert net.get_weights()[0][0].dtype == np.float32


@BACKENDS
def test_divergence_keeps_finite_weights(backend):
    net = network([1, 1], backend, "poisson")
    big = np.full((1, 1), 700.0)
    before = net.get_weights()
    net.set_weights([(np.full((1, 1), 2.0), np.zeros(1))])
    with pytest.raises(TrainingDiverged, match="iteration 1 is not finite"):
        net.fit(big, np.ones((1, 1)), epochs=5, verbose=0)
    assert net.get_weights()[0][0] == 2.0
    assert np.isfinite(before[0][0]).all()


@BACKENDS
def test_what_has_no_meaning_is_refused(backend):
    net = network([4, 2], backend)
    before = net.get_weights()
    for call in (
        lambda: net.train_on_batch(X, Y),
        lambda: net.fit_chunks([(X, Y)], verbose=0),
    ):
        with pytest.raises(ValueError, match="LBFGS takes all data at once"):
            call()
    assert (net.get_weights()[0][0] == before[0][0]).all()
    with pytest.raises(ValueError, match="layers\\[1\\] is Dropout"):
        network([4, 3, fastnn.Dropout(), 2], backend)


@BACKENDS
def test_the_best_is_restored_if_it_converges_early(backend):
    net = network([4, 2], backend)
    kept = []
    keep = fastnn.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kept.append(net.get_weights())
    )
    stop = fastnn.EarlyStopping("loss", mode="max", patience=999)
    net.fit(X, Y, epochs=500, callbacks=[keep, stop], verbose=0)
    assert len(kept) < 500
    assert stop.best_epoch == 0
    assert (net.get_weights()[0][0] == kept[0][0][0]).all()


@BACKENDS
def test_an_iteration_that_runs_out_of_time_restores_nothing(backend):
    net = network([4, 6, 3], backend, "softmax_cross_entropy")
    stop = fastnn.EarlyStopping("loss", mode="max", patience=999)
    arguments = dict(epochs=50, callbacks=[stop], time_limit=1e-9, verbose=0)
    net.fit(X, LABELS, **arguments)
    net.fit(X, LABELS, **arguments, resume=True)
    assert (net.epoch, stop.best_epoch) == (2, 0)
    last = net.get_weights()[0][0]
    stop.restore()
    assert (net.get_weights()[0][0] != last).any()


def test_it_has_no_rate_to_lower():
    net = network([4, 2], "numpy")
    with pytest.raises(ValueError, match="LBFGS.* has none"):
        net.fit(X, Y, callbacks=[fastnn.ReduceOnPlateau("loss")], verbose=0)
    assert net.step == 0


@BACKENDS
def test_a_search_that_ends_early_warns(backend):
    net = network([4, 6, 3], backend, "softmax_cross_entropy", max_evaluations=5)
    with pytest.warns(UserWarning, match="without having converged: .*EVAL") as seen:
        net.fit(X, LABELS, epochs=50, verbose=0)
    assert seen[0].filename == __file__
    assert 0 < net.epoch < 50


@BACKENDS
def test_a_search_that_finds_no_better_point_warns(backend):
    class Uphill:
        """An engine whose gradients have the wrong sign."""

        def __init__(self, engine):
            self._engine = engine

        def __getattr__(self, name):
            return getattr(self._engine, name)

        def loss_and_gradients(self, *rows):
            loss, gradients = self._engine.loss_and_gradients(*rows)
            return loss, [(-dW, -db) for dW, db in gradients]

    net = network([4, 2], backend)
    before = net.get_weights()[0][0]
    net._model.engine = Uphill(net._model.engine)
    with pytest.warns(UserWarning, match="ABNORMAL.* .the line search found no bett"):
        history = net.fit(X, Y, epochs=50, verbose=0)
    assert history.epochs == [0]
    assert (net.get_weights()[0][0] == before).all()


@BACKENDS
def test_a_search_that_begins_at_the_minimum_has_a_record(backend):
    net = network([4, 2], backend, tolerance=1e-3)
    net.fit(X, Y, epochs=500, verbose=0)
    steps, epochs, weights = net.step, net.epoch, net.get_weights()
    assert net.fit(X, Y, epochs=500, resume=True, verbose=0).epochs == []
    logged = net.fit(X, Y, epochs=9, validation_split=0.0, verbose=0)
    assert logged.history["loss"] == [net.evaluate(X, Y)["loss"]]
    assert (net.step, net.epoch) == (steps, epochs + 1)
    assert (net.get_weights()[0][0] == weights[0][0]).all()


@BACKENDS
def test_nothing_to_train_is_a_minimum(backend):
    net = network([4, Dense(2, trainable=False)], backend)
    history = net.fit(X, Y, epochs=9, verbose=0)
    assert history.history["loss"] == [net.evaluate(X, Y)["loss"]]


@BACKENDS
def test_a_frozen_batch_norm_is_a_function_of_the_weights(backend):
    norm = fastnn.BatchNorm("tanh", trainable=False)
    net = network([4, 6, norm, 2], backend)
    history = net.fit(X, Y, epochs=20, verbose=0).history
    assert (np.diff(history["loss"]) < 0).all()
    assert history["loss"][-1] == net.evaluate(X, Y)["loss"]
    for layer in (fastnn.BatchNorm(), fastnn.Dropout()):
        with pytest.raises(ValueError, match="layers\\[1\\] is "):
            network([4, 3, layer, 2], backend)


def test_it_is_saved(tmp_path):
    net = network([4, 2], "native", l2=0.1)
    net.fit(X, Y, epochs=3, verbose=0)
    net.save(tmp_path / "net")
    same = Network.load(tmp_path / "net")
    assert same.optimizer == LBFGS(l2=0.1)
    assert same.epoch == same.step == 3
    assert (same.predict(X) == net.predict(X)).all()
