"""Extending it: losses of one's own, a hook a batch, averages, a search of rates."""

import pickle

import numpy as np
import pytest

import fastnn
from fastnn import SGD, Adam, Callback, Dense, Dropout, Network, WeightAverage
from fastnn.losses import OwnLoss

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 3))
T = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)


@pytest.fixture(params=["native", "numpy"])
def backend(request):
    return request.param


def square(outputs, targets):
    error = outputs - targets
    return (error**2).mean(axis=1), 2 * error / error.shape[1]


def make(loss, backend="native", **arguments):
    layers = [3, Dense(16, "tanh"), Dropout(0.1), Dense(2)]
    arguments = {"optimizer": Adam(0.01), "dtype": "float64", **arguments}
    return Network(layers, loss=loss, seed=0, backend=backend, **arguments)


def weights_of(net):
    return np.concatenate([a.ravel() for pair in net.get_weights() for a in pair])


@pytest.mark.parametrize("weight", [None, rng.integers(0, 3, 60) * 0.5])
def test_a_loss_of_ones_own_trains_as_that_of_fastnn(backend, weight):
    nets = [make(square, backend), make("mse", backend)]
    histories = [
        net.fit(X, T, epochs=3, batch_size=16, sample_weight=weight, verbose=0,
                X_val=X, y_val=T).history
        for net in nets
    ]  # fmt: skip
    assert histories[0].keys() == histories[1].keys()
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-8)
    np.testing.assert_allclose(*map(weights_of, nets), rtol=1e-7, atol=1e-10)
    assert nets[0].step == nets[1].step == 12
    for call in ("train_on_batch", "evaluate", "loss_and_gradients", "score"):
        a, b = (getattr(net, call)(X, T, weight) for net in nets)
        a, b = (each["loss"] if isinstance(each, dict) else each for each in (a, b))
        a, b = (each[0] if isinstance(each, tuple) else each for each in (a, b))
        assert a == pytest.approx(b, rel=1e-7)
    np.testing.assert_array_equal(nets[0].predict(X), nets[0](X))


def test_it_can_be_resumed_and_fitted_by_lbfgs(backend):
    whole, halves = make(square, backend), make(square, backend)
    whole.fit(X, T, epochs=4, batch_size=16, verbose=0)
    for _ in range(2):
        halves.fit(X, T, epochs=2, batch_size=16, verbose=0)
    np.testing.assert_array_equal(weights_of(whole), weights_of(halves))
    net = Network([3, Dense(8, "tanh"), 2], loss=square, optimizer="lbfgs", seed=0,
                  dtype="float64", backend=backend)  # fmt: skip
    losses = net.fit(X, T, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]


def test_a_wrong_gradient_is_found_before_anything_changes(backend):
    def wrong(outputs, targets):
        loss, gradient = square(outputs, targets)
        return loss, gradient / len(outputs)

    net = make(wrong, backend)
    before = weights_of(net)
    with pytest.raises(ValueError, match="gradient of the loss wrong by output 0 is"):
        net.fit(X, T, epochs=1, verbose=0)
    np.testing.assert_array_equal(weights_of(net), before)
    assert net.step == 0


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda z, t: 0.0, TypeError, "expected a tuple"),
        (lambda z, t: (0.0, z), ValueError, r"has shape \(\)"),
        (lambda z, t: (z[:, 0], z[:, :1]), ValueError, r"gradient of .* \(\d+, 1\)"),
    ],
)
def test_what_is_no_loss_is_named(backend, function, error, message):
    with pytest.raises(error, match=message):
        make(function, backend).fit(X, T, epochs=1, verbose=0)


def test_it_may_work_in_place_and_diverge(backend):
    def in_place(outputs, targets):
        outputs -= targets
        return (outputs**2).mean(axis=1), outputs

    net = make(in_place, backend)
    assert net.train_on_batch(X, T) == pytest.approx(
        make("mse", backend).train_on_batch(X, T)
    )
    net = make(lambda z, t: (z[:, 0] * np.inf, z), backend)
    object.__setattr__(net.plan.loss, "checked", True)
    before = weights_of(net)
    with pytest.raises(fastnn.TrainingDiverged):
        net.fit(X, T, epochs=1, verbose=0)
    np.testing.assert_array_equal(weights_of(net), before)


def test_it_cannot_be_stored(tmp_path):
    net = make(square)
    assert isinstance(net.plan.loss, OwnLoss)
    for store in (lambda: net.save(tmp_path / "net"), lambda: pickle.dumps(net)):
        with pytest.raises(ValueError, match="square is a function, which cannot be"):
            store()
    twin = make(square)
    twin.load_state_dict(net.state_dict())
    net.to_c(tmp_path / "net.h")


class Steps(Callback):
    def __init__(self):
        self.seen, self.losses = [], []

    def on_batch_end(self, step, logs):
        self.seen.append(step)
        self.losses.append(logs["loss"])


def test_on_batch_end_is_called_for_each_update(backend):
    steps, functions = Steps(), []
    watch = fastnn.LambdaCallback(
        on_batch_end=lambda step, logs: functions.append(step)
    )
    nets = [make("mse", backend) for _ in range(2)]
    nets[0].fit(X, T, epochs=3, batch_size=16, callbacks=[steps, watch], verbose=0)
    nets[1].fit(X, T, epochs=3, batch_size=16, verbose=0)
    assert steps.seen == functions == [*range(12)]
    np.testing.assert_array_equal(*map(weights_of, nets))
    weight = np.repeat([0.0, 1.0], [32, 28])
    nets[0].fit(X, T, epochs=1, batch_size=16, shuffle=False, callbacks=steps,
                sample_weight=weight, verbose=0)  # fmt: skip
    assert steps.seen[12:] == [12, 13]


def test_the_average_is_that_of_the_definition(backend):
    class Record(Callback):
        def on_batch_end(self, step, logs):
            weights.append(weights_of(self.network))

    weights = []
    net = make("mse", backend)
    average = WeightAverage(0.9)
    net.fit(X, T, epochs=3, batch_size=16, callbacks=[Record(), average], verbose=0)
    expected = weights[0]
    for each in weights[1:]:
        expected = 0.9 * expected + 0.1 * each
    np.testing.assert_allclose(weights_of(net), expected, rtol=1e-9)
    with pytest.raises(ValueError, match="decay must be"):
        WeightAverage(1.0)


def test_another_rate_keeps_the_state_of_the_optimizer(backend):
    net = make("mse", backend)
    net.train_on_batch(X, T)
    before = fastnn.network.model_of(net).state().optimizer_state
    net.optimizer = Adam(lr=1e-4)
    after = fastnn.network.model_of(net).state()
    assert after.step == 1
    np.testing.assert_array_equal(
        before[0]["first_moment"][0]
        if "first_moment" in before[0]
        else next(iter(before[0].values()))[0],
        next(iter(after.optimizer_state[0].values()))[0],
    )
    assert SGD(lr=0.1) == SGD(0.1)


def test_a_search_of_the_learning_rate(backend):
    from matplotlib.figure import Figure

    net = make("mse", backend)
    net.fit(X, T, epochs=1, verbose=0)
    before, rate = weights_of(net), net.optimizer
    found = net.find_learning_rate(X, T, batch_size=16, stop=1e4)
    np.testing.assert_array_equal(weights_of(net), before)
    assert net.optimizer == rate
    assert found.rates[0] == pytest.approx(1e-6)
    assert (np.diff(np.log(found.rates)) > 0).all()
    assert len(found.rates) == len(found.losses) < 200  # it ended where it diverged
    assert 1e-5 < found.suggestion < 1
    assert repr(found).startswith(f"RateSearch(suggestion={found.suggestion:.3g}, ")
    again = net.find_learning_rate(X, T, batch_size=16, stop=1e4)
    np.testing.assert_array_equal(found.losses, again.losses)
    ax = Figure().subplots()
    assert found.plot(ax) is ax
    assert list(ax.lines[0].get_ydata()) == list(found.losses)
    with pytest.raises(ValueError, match="stop must be a number > 1"):
        net.find_learning_rate(X, T, start=1.0, stop=0.1)
    whole = Network([3, 2], loss="mse", optimizer="lbfgs", backend=backend)
    with pytest.raises(ValueError, match="LBFGS has no learning rate"):
        whole.find_learning_rate(X, T)
