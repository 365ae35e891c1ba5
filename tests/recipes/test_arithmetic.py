"""Experiments on the arithmetic itself: gradients, lanes, optimizers, files, stops.

A1, A2, A16, A32, A33 and A34 of the list of recipes, each with its threshold.
"""

import numpy as np
import pytest
from helpers import same_bits, training_state
from worked import (
    DTYPES,
    KERNELS,
    central_differences,
    gradients_of,
    largest_error,
    layer,
    line,
    random_biases,
)

from fastnn import (
    ELU,
    LBFGS,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    BatchNorm,
    Callback,
    Dense,
    Dropout,
    EarlyStopping,
    Huber,
    LeakyReLU,
    Lion,
    LossBelow,
    LossTolerance,
    NAdam,
    Network,
    RMSprop,
    cli,
)
from fastnn.activations import ACTIVATIONS
from fastnn.losses import LOSSES
from fastnn.schedules import Cosine

# --- A1: gradients are those of central differences -----------------------------------

# With parameters that are not the defaults, where there are some.
_ACTIVATIONS = {name: make() for name, make in ACTIVATIONS.items()}
_ACTIVATIONS |= {"leaky_relu": LeakyReLU(0.1), "elu": ELU(1.5)}
_LOSSES = {name: make() for name, make in LOSSES.items()}
_LOSSES |= {"huber": Huber(0.5)}


def targets_for(loss, n, n_outputs, rng):
    """Targets that leave no squared or absolute error near a kink."""
    if loss in ("softmax_cross_entropy", "focal", "hinge"):
        soft = rng.random((n, n_outputs)) + 0.1
        return soft / soft.sum(axis=1, keepdims=True)
    if loss == "binary_cross_entropy":
        return rng.random((n, n_outputs))
    n_targets = n_outputs // _LOSSES[loss].outputs_per_target
    return rng.integers(0, 4, (n, n_targets)) + 0.12345


def distance_to_kinks(net, X, y):
    """How near a value comes to where an activation or loss is not smooth."""
    (W, b), _ = net.get_weights()
    z, k = net.decision_function(X), net.plan.loss.outputs_per_target
    if net.plan.loss.name == "hinge":
        margins = 1 + z - z[np.arange(len(z)), y.argmax(axis=1)][:, np.newaxis]
        return min(np.abs(X @ W + b).min(), np.abs(margins).min())
    errors = np.abs(z - np.repeat(y, k, axis=1))
    return min(np.abs(X @ W + b).min(), errors.min(), np.abs(errors - 0.5).min())


@pytest.mark.filterwarnings("ignore:.*expects raw outputs")
@pytest.mark.parametrize("loss", _LOSSES)
@pytest.mark.parametrize("activation", _ACTIVATIONS)
def test_gradients_are_those_of_central_differences(backend, activation, loss):
    """A1: 4-5-3 (or 4), h = 1e-6, the absolute error at most 1e-7."""
    act = _ACTIVATIONS[activation]
    rng = np.random.default_rng(11)
    n = 4 if loss == "gaussian_nll" else 3
    X, y = 0.6 * rng.standard_normal((6, 4)), targets_for(loss, 6, n, rng)
    # Hidden; then on the output as well, in the loss or before it.
    for output in ("identity", act):
        net = Network(
            [4, Dense(5, act), Dense(n, output)],
            loss=_LOSSES[loss],
            dtype="float64",
            backend=backend,
            seed=4,
        )
        random_biases(net)
        assert distance_to_kinks(net, X, y) > 1e-4
        expected = central_differences(net, X, y)
        assert max(np.abs(each).max() for each in expected) > 1e-3
        assert largest_error(gradients_of(net, X, y), expected) <= 1e-7


# --- A2: both lanes train alike -------------------------------------------------------

OPTIMIZERS = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.05, 0.9),
    "nesterov": SGD(0.05, 0.9, nesterov=True),
    "rmsprop": RMSprop(1e-3),
    "adagrad": AdaGrad(0.02),
    "adam": Adam(3e-3),
    "adamw": AdamW(3e-3, weight_decay=0.1),
    "nadam": NAdam(3e-3),
    "lion": Lion(1e-3),
    "scheduled": SGD(Cosine(0.1, steps=40, growth=2.0)),
    "penalised": SGD(0.05, 0.9, l1=1e-3, l2=1e-2, weight_decay=0.05),
    "clipped": SGD(0.1, clip_value=0.02, clip_norm=0.1, max_norm=1.5),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)]
)
def test_both_lanes_take_the_same_steps(optimizer, dtype, tolerance):
    """A2: the weights after 1 and after 100 mini-batches agree to 1e-10 and 1e-4."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1600, 20))
    y = (X @ rng.standard_normal((20, 5))).argmax(axis=1)
    nets = [
        Network(
            [20, 32, Dense(17, "tanh"), 5],
            optimizer=OPTIMIZERS[optimizer],
            dtype=dtype,
            backend=backend,
            seed=1,
        )
        for backend in ("native", "numpy")
    ]
    start = nets[0].get_weights()
    assert same_bits(start, nets[1].get_weights())
    for rows in (slice(0, 16), slice(16, 1600)):
        for net in nets:
            net.fit(X[rows], y[rows], 1, batch_size=16, shuffle=False, verbose=0)
        for pair, expected in zip(*(net.get_weights() for net in nets), strict=True):
            for array, reference in zip(pair, expected, strict=True):
                assert relative(array, reference) <= tolerance
    assert nets[0].step == nets[1].step == 100
    assert relative(nets[0].get_weights()[0][0], start[0][0]) > 1e-2  # they did train


# In float32 the rounding of the loss decides where late line searches end: after 50
# iterations, on the flat ground of the minimum, the weights are 2e-3 apart.
@pytest.mark.parametrize(
    ("dtype", "iterations", "tolerance"),
    [("float64", 50, 1e-10), ("float32", 20, 1e-4)],
)
def test_both_lanes_take_the_same_iterations(dtype, iterations, tolerance):
    """A2: L-BFGS, whose steps are on all rows at once."""
    pytest.importorskip("scipy")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((160, 20))
    y = (X @ rng.standard_normal((20, 5))).argmax(axis=1)
    nets = [
        Network(
            [20, Dense(12, "tanh"), 5],
            optimizer=LBFGS(l2=1e-3),
            dtype=dtype,
            backend=backend,
            seed=1,
        )
        for backend in ("native", "numpy")
    ]
    for epochs in (1, iterations - 1):
        for net in nets:
            net.fit(X, y, epochs, verbose=0)
        for pair, expected in zip(*(net.get_weights() for net in nets), strict=True):
            for array, reference in zip(pair, expected, strict=True):
                assert relative(array, reference) <= tolerance
    assert nets[0].step == nets[1].step == iterations


def relative(array, reference):
    """|array - reference| / |reference|, as wholes."""
    array, reference = np.float64(array), np.float64(reference)
    return np.linalg.norm(array - reference) / np.linalg.norm(reference)


# --- A16: closed forms of the optimizers ----------------------------------------------


class Quadratic:
    """Mean squared error of 3 inputs and 2 outputs, its gradient in closed form."""

    def __init__(self):
        rng = np.random.default_rng(6)
        self.X = rng.standard_normal((8, 3))
        self.y = rng.standard_normal((8, 2))
        self.W = rng.standard_normal((3, 2))

    def gradient(self, W):
        return self.X.T @ (self.X @ W - self.y) / 8  # of the mean over 2 outputs

    def steps(self, backend, optimizer, n=30):
        """The weights after each of n steps."""
        net = Network(
            [3, layer(self.W, use_bias=False)],
            loss="mse",
            optimizer=optimizer,
            dtype="float64",
            backend=backend,
            seed=0,
        )
        for _ in range(n):
            net.train_on_batch(self.X, self.y)
            yield net.get_weights()[0][0]


def test_nesterovs_momentum_takes_the_steps_of_the_geometric_formula(backend):
    """A16: v := mu v - lr grad(W + mu v), W := W + v; the weights are W + mu v."""
    problem, rate, momentum = Quadratic(), 0.1, 0.9
    W, v = problem.W, np.zeros_like(problem.W)
    for weights in problem.steps(backend, SGD(rate, momentum, nesterov=True)):
        v = momentum * v - rate * problem.gradient(W + momentum * v)
        W = W + v
        assert np.abs(weights - (W + momentum * v)).max() <= 1e-12
    assert np.abs(weights - W).max() > 1e-3  # it is not W itself


def test_momentum_of_zero_is_plain_descent(backend):
    """A16: in both forms of momentum."""
    problem, W = Quadratic(), Quadratic().W
    for weights in problem.steps(backend, SGD(0.1, momentum=0.0)):
        W = W - 0.1 * problem.gradient(W)
        assert np.abs(weights - W).max() <= 1e-12

    kernels, rng = KERNELS[backend], np.random.default_rng(1)
    for update in ("momentum_update", "nesterov_update"):
        w, velocity = rng.standard_normal(9), np.zeros(9)
        plain = w.copy()
        for dw in rng.standard_normal((5, 9)):
            getattr(kernels, update)(w, dw, velocity, 0.1, momentum=0.0)
            kernels.sgd_update(plain, dw, 0.1)
            assert np.abs(w - plain).max() <= 1e-12


@pytest.mark.parametrize("optimizer", [Adam, AdamW])
def test_the_first_step_of_adam_is_the_rate_times_the_sign(backend, optimizer):
    """A16: m and sqrt(v), freed of their bias, are g and |g|; with epsilon near 0."""
    problem = Quadratic()
    options = {"weight_decay": 0.0, "epsilon": 1e-30}
    first = next(problem.steps(backend, optimizer(0.25, **options)))
    expected = problem.W - 0.25 * np.sign(problem.gradient(problem.W))
    assert np.abs(first - expected).max() <= 1e-12


# --- A32: files and pictures ----------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_loaded_network_predicts_the_same_bits(backend, blobs, tmp_path, dtype):
    """A32: save, load, predict."""
    net = Network(
        [4, Dense(16, "gelu"), Dropout(0.2), Dense(8), BatchNorm("relu"), 3],
        dtype=dtype,
        backend=backend,
        seed=2,
        input_scale=[1, 2, 3, 4],
    )
    net.fit(*blobs, epochs=3, verbose=0)
    path = tmp_path / "net.safetensors"
    net.save(path)
    loaded = Network.load(path, backend=backend)
    X = np.random.default_rng(8).standard_normal((50, 4))
    for predict in ("predict", "predict_proba", "decision_function"):
        assert same_bits(getattr(loaded, predict)(X), getattr(net, predict)(X))
    assert same_bits(loaded.predict_one(X[0]), net.predict_one(X[0]))


def rendered(digit, shift=(0, 0)):
    """A digit in white on black, uint8 (28, 28), drawn with Pillow's own font."""
    Image, ImageDraw, ImageFont = (
        pytest.importorskip(f"PIL.{name}")
        for name in ("Image", "ImageDraw", "ImageFont")
    )
    image = Image.new("L", (14, 14))
    # The bitmap font of 6 x 11: Pillow needs no other library for it.
    font = ImageFont.load_default_imagefont()
    ImageDraw.Draw(image).text((4 + shift[0], 1 + shift[1]), str(digit), 255, font)
    return np.asarray(image.resize((28, 28), Image.Resampling.NEAREST))


def test_a_picture_is_predicted_like_its_array(backend, tmp_path, capsys):
    """A32: `fastnn predict` on a PNG, and on its negative, prints what arrays give."""
    Image = pytest.importorskip("PIL.Image")
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    X = np.array([rendered(d, s).ravel() for d in range(10) for s in shifts])
    y = np.repeat(np.arange(10), len(shifts))
    net = Network(
        [784, 50, 10],
        optimizer=Adam(1e-2),
        backend=backend,
        seed=0,
        input_scale=1 / 255,
    )
    net.fit(X, y, epochs=30, batch_size=10, verbose=0)
    model, white, black = (
        str(tmp_path / name) for name in ("net.safetensors", "white.png", "black.png")
    )
    net.save(model)
    digit = rendered(8)
    Image.fromarray(digit).save(white)
    Image.fromarray(255 - digit).save(black)

    row = net.predict_proba(digit.reshape(1, -1))[0]
    assert row.argmax() == 8
    best = np.argsort(-row, kind="stable")[:3]
    assert cli.main(["predict", model, white, black, "--backend", backend]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, shown in ((white, lines[:4]), (black, lines[4:])):
        assert shown[0] == name
        found = [(int(line.split()[0]), line.split()[-1]) for line in shown[1:]]
        assert found == [(label, f"{row[label]:.3f}") for label in best]


# --- A33: the same seed, the same bits ------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_seed_decides_every_bit_on_any_number_of_threads(backend, dtype):
    """A33: twice the same, and the same on 1, 2 and 7 threads, in float32 as well.

    The network is large enough for the cost model to use several threads.
    """
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((209, 150)), rng.integers(10, size=209)

    def trained(seed, threads):
        net = Network(
            [150, 300, Dropout(0.3), Dense(90), BatchNorm("relu"), 10],
            optimizer=Adam(1e-3, clip_norm=1.0),
            dtype=dtype,
            backend=backend,
            seed=seed,
            num_threads=threads,
        )
        net.fit(X, y, epochs=3, batch_size=96, verbose=0)
        return [training_state(net), net.predict_proba(X)]

    once = trained(3, threads=1)
    for threads in (1, 2, 7) if backend == "native" else (1,):
        assert same_bits(trained(3, threads), once)
    assert not same_bits(trained(4, threads=1), once)


# --- A34: when training stops, and what regularisation does ---------------------------


def halving(backend, rate=0.25):
    """A network whose losses are 1, 1/4, 1/16, ... at this rate; at 1, always 1."""
    return line(backend, 1.0, optimizer=SGD(rate))


def losses_until(net, *callbacks, epochs=50):
    """The losses of the epochs that were trained."""
    history = net.fit([[1]], [[0]], epochs, 1, callbacks=callbacks, verbose=0)
    return history.history["loss"]


class Scripted(Callback):
    """Adds a quantity with given values to the logs."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, epoch, logs):
        logs["scripted"] = self.values[epoch]


def test_loss_below_stops_after_the_first_loss_that_is_below(backend):
    """A34: 1/16 is not below 1/16, the next loss is."""
    losses = losses_until(halving(backend), LossBelow(1 / 16))
    assert losses == [1, 1 / 4, 1 / 16, 1 / 64]
    assert losses_until(halving(backend), LossBelow(1 / 15)) == [1, 1 / 4, 1 / 16]


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_loss_tolerance_waits_for_more_than_its_patience(backend, patience):
    """A34: 1/64 is the first loss that is not 0.05 below the least one before."""
    stop = LossTolerance(tol=0.05, patience=patience)
    assert len(losses_until(halving(backend), stop)) == 3 + patience + 1
    # A loss that stays does not fall by 0.
    stop = LossTolerance(tol=1e-4, patience=patience)
    assert losses_until(halving(backend, rate=1.0), stop) == [1] * (1 + patience + 1)


@pytest.mark.parametrize("patience", [1, 3, 7])
def test_early_stopping_waits_for_its_patience(backend, patience):
    """A34: the loss stays 1, so the first epoch is the best."""
    stop = EarlyStopping("loss", patience)
    assert losses_until(halving(backend, rate=1.0), stop) == [1] * (1 + patience)
    assert (stop.best, stop.best_epoch, stop.stopped_epoch) == (1, 0, patience)


def test_early_stopping_counts_from_the_best_epoch_and_restores_it(backend):
    """A34: equal is not better; 3 epochs after the best one of them all."""
    values = [3, 2, 2.5, 2, 1.5, 1.75, 1.5, 2, 0, 0]
    stop = EarlyStopping("scripted", patience=3, mode="min")
    net = halving(backend)
    losses = losses_until(net, Scripted(values), stop, epochs=len(values))
    assert len(losses) == 8
    assert (stop.best, stop.best_epoch, stop.stopped_epoch) == (1.5, 4, 7)
    assert net.get_weights()[0][0].item() == 0.5**5  # after epoch 4

    # An improvement by exactly min_delta does not count either.
    stop = EarlyStopping("scripted", patience=3, mode="min", min_delta=1.0)
    losses = losses_until(halving(backend), Scripted(values), stop, epochs=len(values))
    assert (len(losses), stop.best_epoch) == (4, 0)
    stop = EarlyStopping("scripted", patience=4, mode="max", restore_best=False)
    net = halving(backend)
    assert len(losses_until(net, Scripted(values), stop, epochs=10)) == 5
    assert net.get_weights()[0][0].item() == 0.5**5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_is_nothing_in_evaluation_and_one_on_average(backend, rate, dtype):
    """A34: within three standard deviations of the mean of all values."""
    weights = layer(np.full((1000, 1), 1 / 1000), use_bias=False)
    options = {"loss": "mae", "dtype": dtype, "backend": backend, "seed": 0}
    net = Network([1000, Dropout(rate), weights], **options)
    plain = Network([1000, weights], **options)
    X, y = np.ones((40, 1000)), np.zeros((40, 1))
    noise = np.random.default_rng(0).standard_normal((5, 1000))
    assert same_bits(net.predict(noise), plain.predict(noise))
    assert net.evaluate(X, y) == plain.evaluate(X, y)

    # The loss in training is the mean of the values that dropout lets through.
    sigma = (rate / (1 - rate) / X.size) ** 0.5
    mean = net.train_on_batch(X, y)
    assert mean == pytest.approx(1, abs=3 * sigma)
    assert mean != 1

    y = KERNELS[backend].dropout(np.ones((200, 200), dtype), rate, key=9, step=0)
    assert set(np.unique(y)) == {0, np.dtype(dtype).type(1 / (1 - rate))}
    assert np.float64(y).mean() == pytest.approx(1, abs=sigma * 3)
    for mean_of in (y.mean(axis=0, dtype=float), y.mean(axis=1, dtype=float)):
        spread = (rate / (1 - rate) / 200) ** 0.5
        assert np.abs(mean_of - 1).max() < 5 * spread


@pytest.mark.parametrize("dtype", DTYPES)
def test_l2_adds_l2_times_the_weight_to_its_gradient(backend, dtype):
    """A34: the factor is 1, that of the penalty l2 / 2 w^2; biases have none.

    w = 2, b = 1, x = 1, t = 0: the gradient is 6 for both. All numbers are exact.
    """

    def after(**options):
        net = line(backend, 2.0, 1.0, optimizer=SGD(0.25, **options), dtype=dtype)
        loss = net.train_on_batch([[1]], [[0]])
        assert loss == 9.0  # of the data alone
        (W, b) = net.get_weights()[0]
        return W.item(), b.item()

    assert after() == (0.5, -0.5)
    assert after(l2=0.5) == (2 - 0.25 * (6 + 0.5 * 2), -0.5)
    assert after(l1=0.5) == (2 - 0.25 * (6 + 0.5), -0.5)
    assert after(weight_decay=0.5) == (2 * (1 - 0.25 * 0.5) - 0.25 * 6, -0.5)
    # Clipping comes before: the penalty is not part of what is clipped.
    assert after(l2=0.5, clip_value=4.0) == (2 - 0.25 * (4 + 0.5 * 2), 0.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clipping_is_exact(backend, dtype):
    """A34: x = 0.75 makes the gradients 6 and 8, which have the norm 10 together."""

    def step(**options):
        net = line(backend, 2.0, 0.5, optimizer=SGD(0.25, **options), dtype=dtype)
        net.train_on_batch([[0.75]], [[-2]])
        (W, b) = net.get_weights()[0]
        return (2.0 - W.item()) / 0.25, (0.5 - b.item()) / 0.25

    assert step() == (6.0, 8.0)
    assert step(clip_value=7.0) == (6.0, 7.0)
    assert step(clip_value=0.5) == (0.5, 0.5)
    assert step(clip_norm=5.0) == (3.0, 4.0)
    assert step(clip_norm=10.0) == (6.0, 8.0)  # not more than that: left alone
    assert step(clip_value=6.0, clip_norm=72**0.5 / 2) == pytest.approx((3.0, 3.0))
    # At most 1 for the weights of a unit: 2 - 0.25 * 6 = 0.5 stays, 2 - 0.25 does not.
    assert step(max_norm=1.0) == (6.0, 8.0)
    assert step(max_norm=1.0, clip_value=1.0) == (4.0, 1.0)
