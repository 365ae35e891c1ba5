"""Mistakes of five networks from scratch, around their training: none of them here.

Each test is named after the mistake; R1 to R31 are its numbers in the list of recipes.
The figure that the mistake gave is shown to fail where that is cheap.
"""

import hashlib
import pickle
import warnings

import numpy as np
import pytest
from attacks import dump, forge, take_apart
from children import run_python
from helpers import same_bits, training_state
from worked import DTYPES, layer, line

import fastnn
from fastnn import SGD, Dense, LeakyReLU, ModelFormatError, Network, datasets
from fastnn.initializers import Normal
from fastnn.schedules import InverseTime


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_learning_rate_decays_with_every_update(backend, dtype):
    """R6: 1 / (1 + t / 1000) was computed once, for t = 0, and stayed 1.

    With a constant gradient of 1 and the rate 1 the weight would come to -10000.
    """
    schedule = InverseTime(1.0, decay=1e-3)
    assert schedule(1000) == 0.5
    net = line(backend, 0.0, loss="mae", optimizer=SGD(schedule), dtype=dtype)
    net.fit([[1]] * 10_000, [[-1e6]] * 10_000, 1, batch_size=1, verbose=0)
    assert net.get_weights()[0][0].item() == pytest.approx(-2398.35, abs=0.05)


def last_rms(weight_init, seed):
    """Root mean square of the last of 8 ReLU layers of 64, on N(0, 1)."""
    layers = [Dense(64, "relu", weight_init) for _ in range(8)]
    net = Network([64, *layers], loss="mse", seed=seed)
    X = np.random.default_rng(seed).standard_normal((500, 64))
    return float(np.sqrt(np.square(net.predict(X), dtype=np.float64).mean()))


def he_weights(weight_init, seed=0):
    """The initial weights 784 x 512 of a ReLU layer."""
    net = Network([784, Dense(512, "relu", weight_init), 10], seed=seed)
    return net.get_weights()[0][0]


@pytest.mark.parametrize("weight_init", ["auto", "he_normal", "he_uniform"])
def test_the_variance_of_he_is_not_taken_for_the_standard_deviation(weight_init):
    """R7: 2 / n is the variance: 784 inputs have the deviation 0.05051, not 0.00255."""
    assert he_weights(weight_init).std() == pytest.approx(0.05051, rel=0.01)
    assert min(last_rms(weight_init, seed) for seed in range(10)) > 0.35
    assert last_rms(Normal(2 / 64), seed=0) < 1e-5  # the signal dies


@pytest.mark.parametrize("weight_init", ["auto", "he_normal", "he_uniform"])
def test_the_gain_of_he_is_the_root_of_two(weight_init):
    """R8: with the gain 2, 784 inputs had the deviation 0.07143; sqrt(2) is right."""
    assert he_weights(weight_init).std() == pytest.approx(0.05051, rel=0.01)
    assert max(last_rms(weight_init, seed) for seed in range(10)) < 2.2
    assert last_rms(Normal(2 / 64**0.5), seed=0) > 6  # the signal grows


@pytest.mark.parametrize("clip", ["clip_value", "clip_norm"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_clipped_before_the_learning_rate(backend, dtype, clip):
    """R14: clip 1, gradient 10, rate 0.1: a step of 0.1; clipped after it, 1."""
    net = line(backend, 0.0, optimizer=SGD(0.1, **{clip: 1.0}), dtype=dtype)
    assert net.loss_and_gradients([[1]], [[-5]])[1][0][0].item() == 10.0
    net.train_on_batch([[1]], [[-5]])
    assert net.get_weights()[0][0].item() == pytest.approx(-0.1, rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_linear_output_stays_linear_whatever_the_hidden_activation(backend, dtype):
    """R16: leaky ReLU was forced on the output, which turned -5 into -0.5."""
    layers = [layer([[1, -1]], LeakyReLU(0.1)), layer([[-4], [10]])]
    net = Network([1, *layers], loss="mse", dtype=dtype, backend=backend, seed=0)
    assert net.predict([[1.25]]).tolist() == [[-5 - 1.25]]
    assert line(backend, -5.0, dtype=dtype).predict([[1]]).tolist() == [[-5.0]]
    from_int = Network([1, Dense(2, LeakyReLU(0.1)), 1], loss="mse", backend=backend)
    assert from_int.plan.layers[-1].activation == "identity"


def test_a_file_has_all_of_the_network_and_must_fit_it(backend, blobs, tmp_path):
    """R17: loading ignored the architecture, sizes were not checked, slopes dropped."""
    path = tmp_path / "net.safetensors"

    def new():
        return Network(
            [4, Dense(8, LeakyReLU(0.25)), 3],
            optimizer=SGD(InverseTime(0.1, 1e-2), momentum=0.75, nesterov=True),
            backend=backend,
            seed=5,
        )

    net = new()
    net.fit(*blobs, epochs=2, verbose=0)
    net.save(path)
    loaded = Network.load(path, backend=backend)
    assert loaded.plan == net.plan
    assert loaded.plan.layers[0].activation == LeakyReLU(0.25)
    assert loaded.optimizer.momentum == 0.75
    assert same_bits(training_state(loaded), training_state(net))

    loaded.fit(*blobs, epochs=3, verbose=0)
    uninterrupted = new()
    uninterrupted.fit(*blobs, epochs=5, verbose=0)
    assert same_bits(training_state(loaded), training_state(uninterrupted))

    header, network, tensors = take_apart(path.read_bytes())
    text = dump(network).replace('"units":8', '"units":9')
    assert text != dump(network)
    path.write_bytes(forge(header, text, tensors))
    with pytest.raises(ModelFormatError, match=r"layers\.0\.bias.*\[8\].*\[9\]"):
        Network.load(path, backend=backend)


def test_the_size_of_a_split_is_named_after_its_part():
    """R18: split_size was the share of training here, and of the test elsewhere."""
    X, y = np.arange(200).reshape(100, 2), np.arange(100)
    X_train, X_test, y_train, y_test = datasets.train_test_split(X, y, test_size=0.3)
    assert (len(X_train), len(X_test)) == (70, 30)
    assert sorted([*y_train, *y_test]) == y.tolist()  # disjoint, and nothing lost
    assert np.array_equal(X_train, X[y_train])
    assert np.array_equal(X_test, X[y_test])
    with pytest.raises(TypeError):
        datasets.train_test_split(X, y, split_size=0.3)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.05, 0.9),
        SGD(0.05, 0.9, nesterov=True),
        fastnn.Adam(0.01),
    ],
    ids=lambda optimizer: optimizer.rule,
)
def test_fit_goes_on_where_the_last_one_ended(backend, blobs, optimizer):
    """R19: each fit began with a velocity of 0; an unknown mode was no error."""

    def trained(*parts):
        net = Network([4, 8, 3], optimizer=optimizer, backend=backend, seed=0)
        for epochs in parts:
            net.fit(*blobs, epochs=epochs, batch_size=16, verbose=0)
        return net

    assert same_bits(training_state(trained(2, 3)), training_state(trained(5)))

    # A fresh velocity would give something else.
    fresh = trained(2)
    fresh.optimizer = SGD(0.5)
    fresh.optimizer = optimizer
    fresh.fit(*blobs, epochs=3, batch_size=16, verbose=0)
    assert not same_bits(fresh.get_weights(), trained(5).get_weights())

    net = trained(1)
    for unknown in (
        lambda: fastnn.EarlyStopping(mode="percent"),
        lambda: net.fit(*blobs, metrics=["percent"], validation_split=0.5),
        lambda: net.fit(*blobs, class_weight="percent"),
        lambda: Network([4, 3], loss="percent"),
    ):
        with pytest.raises(ValueError, match="percent"):
            unknown()


@pytest.mark.parametrize("dtype", DTYPES)
def test_fit_leaves_the_data_and_the_global_generator_alone(backend, blobs, dtype):
    """R24: the caller's list was shuffled, by a generator that nobody seeded."""
    X, y = blobs
    weight = np.linspace(1, 2, len(X))

    def checksum():
        parts = [each.tobytes() for each in (X, y, weight)]
        return hashlib.sha256(b"".join(parts)).hexdigest()

    before, state = checksum(), pickle.dumps(np.random.get_state())
    runs = []
    for _ in range(2):
        net = Network([4, 8, 3], dtype=dtype, backend=backend, seed=7)
        net.fit(X, y, epochs=3, batch_size=7, sample_weight=weight, verbose=0)
        runs.append(net.get_weights())
        np.random.random(5)  # not part of it
    np.random.set_state(pickle.loads(state))
    assert checksum() == before
    assert same_bits(*runs)
    rows, labels = X.tolist(), y.tolist()
    Network([4, 3], backend=backend, seed=7).fit(rows, labels, epochs=1, verbose=0)
    assert (rows, labels) == (X.tolist(), y.tolist())
    assert pickle.dumps(np.random.get_state()) == state


def test_a_model_file_holds_weights_and_no_code(backend, blobs, tmp_path, monkeypatch):
    """R25: a pickle of the object had three times the size, and ran code on loading."""
    path = tmp_path / "net.safetensors"
    net = Network([4, 300, 3], backend=backend, seed=0)
    net.fit(*blobs, epochs=1, verbose=0)
    net.save(path, include_optimizer=False)
    assert path.stat().st_size <= net.n_parameters * net.dtype.itemsize + 4096

    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "code was run"), "w"))

    hostile = tmp_path / "hostile.safetensors"
    hostile.write_bytes(pickle.dumps(Payload()))
    rows = tmp_path / "rows.npz"
    np.savez(rows, X=np.array([[Payload()]], dtype=object), y=np.zeros(1))

    def refuse(*arguments, **options):
        raise AssertionError("pickle was used")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    loaded = Network.load(path, backend=backend)
    assert same_bits(loaded.get_weights(), net.get_weights())
    with pytest.raises(ModelFormatError):
        Network.load(hostile, backend=backend)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        datasets.load_npz(rows)
    assert not (tmp_path / "code was run").exists()


def test_wrong_sizes_are_errors_with_names_and_training_needs_no_screen(backend):
    """R26: a mismatch ended the process; windows and input() stopped the training."""
    net = Network([4, 8, 3], backend=backend, seed=0)
    weights = net.get_weights()
    W, b = weights[1]
    with pytest.raises(ValueError, match=r"weights\[1\].*\(7, 3\).*\(8, 3\)"):
        net.set_weights([weights[0], (W[:7], b)])
    with pytest.raises(ValueError, match=r"weights\[1\].*\(2,\).*\(3,\)"):
        net.set_weights([weights[0], (W, b[:2])])
    with pytest.raises(ValueError, match=r"X has 5 columns.*expected 4"):
        net.fit(np.ones((2, 5)), [0, 1])
    with pytest.raises(ValueError, match=r"layers\[2\].*\(8, 3\).*\(9, 3\)"):
        Network([4, 8, Dense(3, weight_init=np.ones((9, 3)))], backend=backend)

    code = f"""
        import sys
        import fastnn
        X, y, X_test, y_test = fastnn.datasets.digits()
        net = fastnn.Network([64, 10], backend={backend!r}, seed=0)
        net.fit(X[:50], y[:50], 1, X_val=X_test[:9], y_val=y_test[:9], verbose=0)
        shown = {{"matplotlib", "tkinter"}} & set(sys.modules)
        print("trained", shown or "without a window")
    """
    # Standard input is empty: a call of input() would raise EOFError.
    assert run_python(code, DISPLAY="").stdout == "trained without a window"


@pytest.mark.parametrize("header", ["label,first,second\n", ""])
@pytest.mark.parametrize("n", [60_000, 10_000])
def test_the_first_row_of_a_table_is_no_header_unless_it_is_one(tmp_path, n, header):
    """R29: the first image was taken for a header: 59,999 and 9,999 rows; no / 255."""
    path = tmp_path / "images.csv"
    path.write_text(header + "5,0,255\n" + "7,128,0\n" * (n - 1))
    X, y, _ = datasets.load_csv(path, label=0)
    assert X.shape == (n, 2)
    assert (X[0].tolist(), y[0], y[1]) == ([0.0, 255.0], 5, 7)
    if n == 10_000:
        # Pixels are read as they are; scaling them is an argument, saved with the net.
        assert "input_scale=1/255" in Network.__doc__
        scaled = Network([2, 10], dtype="float64", input_scale=1 / 255, seed=0)
        plain = Network([2, 10], dtype="float64", seed=0)
        np.testing.assert_allclose(
            scaled.predict_proba(X), plain.predict_proba(X / 255), rtol=1e-12
        )


def test_circles_are_seeded_and_centred(backend):
    """R30: squeezed into 0.8 to 1.2 by (x + 5) / 5 they cannot be told apart."""
    X, y = datasets.circles(5000, noise=0.06, factor=0.1, seed=0)

    def accuracy(points, rate):
        net = Network([2, 16, 2], optimizer=SGD(rate), backend=backend, seed=0)
        net.fit(points, y, epochs=10, batch_size=50, verbose=0)
        return net.score(points, y)

    assert accuracy(X, 0.1) == 1.0
    squeezed = (X + 5) / 5
    assert 0.7 < squeezed.min() < squeezed.max() < 1.3
    assert accuracy(squeezed, 0.5) < 0.6

    state = pickle.dumps(np.random.get_state())
    for generate in (datasets.circles, datasets.blobs, datasets.moons):
        once, again, other = (generate(50, seed=seed) for seed in (1, 1, 2))
        assert same_bits(once, again)
        if generate is datasets.blobs:  # the centres too
            assert not same_bits(once[0], other[0])
    assert pickle.dumps(np.random.get_state()) == state


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_numbers_in_any_layout_are_the_same_numbers(backend, dtype):
    """R31: integers were mixed with float biases, and only np.matrix was taken."""
    net = Network([3, 8, 2], dtype=dtype, backend=backend, seed=0)
    rows = [[1, 2, 3], [40, 5, 6], [7, 80, 9]]
    y = [0, 1, 1]
    plain = np.array(rows, dtype=dtype)
    expected = net.predict_proba(plain)
    assert expected.dtype == dtype
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        matrix = np.matrix(rows)
    given = [
        rows,
        tuple(map(tuple, rows)),
        matrix,
        *(np.array(rows, kind) for kind in ("i8", "u1", "i2", "f2", "f4", ">f8")),
        np.asfortranarray(plain),
        np.repeat(np.repeat(plain, 2, axis=0), 3, axis=1)[::2, ::3],
        plain[::-1, ::-1].copy()[::-1, ::-1],
    ]
    reference = net.loss_and_gradients(plain, y)
    for X in given:
        assert same_bits(net.predict_proba(X), expected)
        loss, gradients = net.loss_and_gradients(X, y)
        assert loss == reference[0]
        assert same_bits(gradients, reference[1])
    for labels in (np.array(y, "u1"), np.array(y, "f4"), np.array(y)[:, np.newaxis]):
        assert net.loss_and_gradients(plain, labels)[0] == reference[0]

    # One row is not guessed to be many, or the other way round.
    with pytest.raises(ValueError, match=r"1 dimensions.*reshape\(1, -1\)"):
        net.predict([1, 2, 3])
    assert same_bits(net.predict_one([1, 2, 3]), net.predict_proba([[1, 2, 3]])[0])

    integers = [
        (np.ones(W.shape, int), np.arange(b.size)) for W, b in net.get_weights()
    ]
    net.set_weights(integers)
    assert all(array.dtype == dtype for pair in net.get_weights() for array in pair)
