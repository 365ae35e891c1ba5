"""`Network.fit`: what it learns, what it refuses, and that it resumes to the bit."""

import signal
import threading
import time

import numpy as np
import pytest
from helpers import same_bits, training_state

import fastnn
from fastnn._core.model.seeds import row_order
from fastnn._core.training import loop as training


class InterruptAt(fastnn.Callback):
    """Ctrl-C after that many slices; with SLICE_SECONDS = 0 these are steps."""

    def __init__(self, slices):
        self.slices = slices

    def on_progress(self, rows, logs):
        self.slices -= 1
        if self.slices == 0:
            raise KeyboardInterrupt


@pytest.fixture
def one_step_slices(monkeypatch):
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)


# --- learning -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "optimizer",
    [
        fastnn.SGD(0.5),
        fastnn.SGD(0.1, momentum=0.9),
        fastnn.SGD(0.1, momentum=0.9, nesterov=True),
        fastnn.Adam(0.02),
        fastnn.AdamW(0.02),
    ],
    ids=repr,
)
def test_it_learns(make_net, blobs, optimizer, dtype):
    net = make_net(optimizer=optimizer, dtype=dtype)
    before = net.evaluate(*blobs)
    history = net.fit(*blobs, epochs=40, batch_size=10, verbose=0)
    after = net.evaluate(*blobs)
    assert after["accuracy"] >= 0.95
    assert after["loss"] < 0.5 * before["loss"]
    assert (net.epoch, net.step, net.cursor) == (40, 240, 0)
    assert len(history.history["loss"]) == len(history.history["accuracy"]) == 40


def test_the_loss_of_an_epoch_is_that_of_the_rows_as_they_came(make_net, blobs):
    X, y = blobs
    net = make_net(dtype="float64", optimizer=fastnn.SGD(1e-12))
    whole = net.evaluate(X, y)
    logged = net.fit(X, y, epochs=1, batch_size=7, verbose=0).history
    # 60 rows in batches of 7 and a rest of 4: a mean of batch means would differ.
    np.testing.assert_allclose(logged["loss"][0], whole["loss"], rtol=1e-9)
    assert logged["accuracy"][0] == whole["accuracy"]


def test_two_fits_are_one(make_net, blobs):
    parts, whole = make_net(), make_net()
    parts.fit(*blobs, epochs=2, verbose=0)
    parts.fit(*blobs, epochs=3, verbose=0)
    whole.fit(*blobs, epochs=5, verbose=0)
    assert same_bits(parts.get_weights(), whole.get_weights())


def test_partial_fit_is_an_epoch_of_fit(make_net, blobs):
    parts, whole = make_net(), make_net()
    for _ in range(3):
        assert parts.partial_fit(*blobs, batch_size=16) is parts
    whole.fit(*blobs, epochs=3, batch_size=16, verbose=0)
    assert same_bits(training_state(parts)[:3], training_state(whole)[:3])


def test_the_seed_decides_everything(make_net, blobs):
    nets = [make_net(seed=seed) for seed in (1, 1, 2)]
    for net in nets:
        net.fit(*blobs, epochs=2, batch_size=16, verbose=0)
    assert same_bits(nets[0].get_weights(), nets[1].get_weights())
    assert not same_bits(nets[0].get_weights(), nets[2].get_weights())


def test_shuffle_reorders_rows_and_no_shuffle_keeps_them(make_net, blobs):
    X, y = blobs
    by_hand, kept, shuffled = make_net(), make_net(), make_net()
    for start in range(0, 60, 16):
        by_hand.train_on_batch(X[start : start + 16], y[start : start + 16])
    kept.fit(X, y, epochs=1, batch_size=16, shuffle=False, verbose=0)
    shuffled.fit(X, y, epochs=1, batch_size=16, verbose=0)
    assert same_bits(by_hand.get_weights(), kept.get_weights())
    assert not same_bits(by_hand.get_weights(), shuffled.get_weights())


def test_each_epoch_has_an_order_of_its_own():
    orders = [row_order(7, 50, epoch).tolist() for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))


def test_the_data_is_not_touched(make_net, blobs):
    X, y = blobs
    weight = np.linspace(0, 1, 60)
    for array in (X, y, weight):
        array.setflags(write=False)
    before = [array.tobytes() for array in (X, y, weight)]
    make_net().fit(X, y, epochs=2, sample_weight=weight, verbose=0)
    assert [array.tobytes() for array in (X, y, weight)] == before


def test_any_layout_and_dtype_trains_like_its_clean_copy(make_net):
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (120, 12))
    y = rng.integers(0, 3, 60)
    clean = make_net()
    clean.fit(base[::2, ::3].astype("f4"), y, epochs=2, verbose=0)
    for dtype in ("u1", "i8", "f2", ">f4", "f8"):
        net = make_net()
        X = base.astype(dtype)[::2, ::3]
        net.fit(X, y.astype(">i2"), epochs=2, verbose=0)
        assert same_bits(net.get_weights(), clean.get_weights()), dtype
    net = make_net()
    net.fit(np.asfortranarray(base[::2, ::3].astype("f4")), y, epochs=2, verbose=0)
    assert same_bits(net.get_weights(), clean.get_weights())


def test_input_scale_of_fit_replaces_that_of_the_network(make_net):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (60, 4), dtype=np.uint8)
    y = (X[:, 0] > 127).astype(int)
    scaled = make_net()
    scaled.fit(X / np.float32(256), y, epochs=2, verbose=0)
    net = make_net(input_scale=3.0, input_shift=1.0)
    net.fit(X, y, epochs=1, input_scale=1 / 256, input_shift=0, verbose=0)
    net.fit(X, y, epochs=1, verbose=0)  # kept
    assert same_bits(net.get_weights(), scaled.get_weights())
    assert same_bits(net.predict_proba(X), scaled.predict_proba(X / np.float32(256)))


# --- weights and validation -----------------------------------------------------------


def test_class_weight_is_a_sample_weight(make_net, blobs):
    X, y = blobs
    own = np.linspace(0.5, 1.5, 60)
    a, b = make_net(), make_net()
    a.fit(X, y, epochs=2, sample_weight=own, class_weight={1: 4.0}, verbose=0)
    b.fit(X, y, epochs=2, sample_weight=np.where(y == 1, 4 * own, own), verbose=0)
    assert same_bits(a.get_weights(), b.get_weights())


def test_balanced_classes_help_the_rare_one(make_net):
    rng = np.random.default_rng(0)
    y = (np.arange(400) < 20).astype(int)
    X = (rng.normal(size=(400, 4)) + y[:, None] * 0.8).astype("f4")
    recall = []
    for class_weight in (None, "balanced"):
        net = make_net((4, 8, 2), optimizer=fastnn.Adam(0.01))
        net.fit(X, y, epochs=20, class_weight=class_weight, verbose=0)
        recall.append((net.predict(X[y == 1]) == 1).mean())
    assert recall[1] > recall[0] + 0.2


def test_soft_targets_of_one_hot_rows_are_labels(make_net, blobs):
    X, y = blobs
    a, b = make_net(), make_net()
    la = a.fit(X, y, epochs=3, verbose=0).history
    lb = b.fit(X, np.eye(3)[y], epochs=3, verbose=0).history
    np.testing.assert_allclose(la["loss"], lb["loss"], rtol=1e-5)
    assert la["accuracy"] == lb["accuracy"]


def test_validation_is_evaluated_after_each_epoch(make_net, blobs):
    X, y = blobs
    weight = np.linspace(0, 1, 20)
    net = make_net()
    history = net.fit(
        X[:40],
        y[:40],
        epochs=3,
        X_val=X[40:],
        y_val=y[40:],
        sample_weight_val=weight,
        verbose=0,
    )
    assert sorted(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    last = net.evaluate(X[40:], y[40:], weight)
    assert history.history["val_loss"][-1] == last["loss"]
    assert history.history["val_accuracy"][-1] == last["accuracy"]


def test_validation_split_takes_the_last_rows(make_net, blobs):
    X, y = blobs
    weight = np.linspace(0, 1, 60)
    a, b = make_net(), make_net()
    ha = a.fit(X, y, epochs=2, sample_weight=weight, validation_split=0.25, verbose=0)
    hb = b.fit(
        X[:45],
        y[:45],
        epochs=2,
        sample_weight=weight[:45],
        X_val=X[45:],
        y_val=y[45:],
        sample_weight_val=weight[45:],
        verbose=0,
    )
    assert ha.history == hb.history
    assert same_bits(a.get_weights(), b.get_weights())


def test_validation_changes_no_bit_of_the_training(make_net, blobs):
    a, b = make_net(), make_net()
    a.fit(*blobs, epochs=3, verbose=0)
    b.fit(*blobs, epochs=3, X_val=blobs[0], y_val=blobs[1], verbose=0)
    assert same_bits(training_state(a), training_state(b))


# --- refusals -------------------------------------------------------------------------

X_OK = np.zeros((60, 4), np.float32)
X_OK[::2] = 1.0
Y_OK = np.arange(60) % 3


def with_nan(array):
    array = array.copy()
    array[41, 2] = np.nan
    return array


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"X": X_OK[:, :3]}, ValueError, "X has 3 columns"),
        ({"X": with_nan(X_OK)}, ValueError, r"X\[41, 2\] is nan"),
        ({"y": Y_OK + 1}, ValueError, r"y\[2\] is 3"),
        ({"y": Y_OK[:59]}, ValueError, "y has 59 rows"),
        ({"epochs": 0}, ValueError, "epochs"),
        ({"epochs": 1.5}, TypeError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": True}, TypeError, "batch_size"),
        ({"shuffle": "yes"}, TypeError, "shuffle"),
        ({"resume": 1}, TypeError, "resume"),
        ({"verbose": 3}, ValueError, "verbose"),
        ({"sample_weight": -np.ones(60)}, ValueError, r"sample_weight\[0\]"),
        ({"class_weight": {7: 1.0}}, ValueError, "class_weight"),
        ({"X_val": X_OK}, ValueError, "X_val is given but y_val is None"),
        ({"y_val": Y_OK}, ValueError, "y_val is given but X_val is None"),
        ({"X_val": with_nan(X_OK), "y_val": Y_OK}, ValueError, r"X_val\[41, 2\]"),
        ({"X_val": X_OK, "y_val": Y_OK - 1}, ValueError, r"y_val\[0\] is -1"),
        ({"X_val": X_OK[:0], "y_val": Y_OK[:0]}, ValueError, "X_val has no rows"),
        ({"sample_weight_val": np.ones(60)}, ValueError, "sample_weight_val is given"),
        (
            {"X_val": X_OK, "y_val": Y_OK, "sample_weight_val": np.zeros(60)},
            ValueError,
            "sample_weight_val sums to 0",
        ),
        (
            {"X_val": X_OK, "y_val": Y_OK, "validation_split": 0.1},
            ValueError,
            "expected one of them",
        ),
        ({"validation_split": 1.0}, ValueError, "validation_split"),
        ({"validation_split": -0.1}, ValueError, "validation_split"),
        ({"validation_split": "a"}, TypeError, "validation_split"),
        ({"validation_split": 0.999}, ValueError, "leaves 0 for training"),
        (
            {"validation_split": 0.5, "sample_weight": np.arange(60) < 30},
            ValueError,
            "sample_weight is zero for every validation sample",
        ),
        ({"callbacks": 3}, TypeError, "callbacks must be"),
        ({"callbacks": [print]}, TypeError, r"callbacks\[0\]"),
        ({"callbacks": [fastnn.ProgressBar]}, TypeError, r"callbacks\[0\]"),
        ({"input_scale": np.ones(3)}, ValueError, "input_scale has shape"),
        ({"input_shift": np.nan}, ValueError, "input_shift is nan"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_refused_argument_changes_nothing(make_net, arguments, error, text):
    net = make_net(input_scale=0.5)
    net.fit(X_OK, Y_OK, epochs=1, verbose=0)
    before = training_state(net), net.predict_proba(X_OK)
    arguments = {"X": X_OK, "y": Y_OK, "input_scale": 2.0, "verbose": 0, **arguments}
    with pytest.raises(error, match=text):
        net.fit(**arguments)
    assert same_bits(before, (training_state(net), net.predict_proba(X_OK)))
    net.fit(X_OK, Y_OK, epochs=1, verbose=0)  # and the network is free


def test_divergence_keeps_the_last_finite_weights(make_net, blobs, one_step_slices):
    X, y = blobs
    net = make_net(optimizer=fastnn.SGD(0.01))
    net.fit(X, y, epochs=1, verbose=0)
    net.optimizer = fastnn.SGD(1e30)
    ended = []
    with pytest.raises(fastnn.TrainingDiverged):
        net.fit(
            X * np.float32(1e3),
            y,
            epochs=5,
            batch_size=8,
            verbose=0,
            callbacks=[fastnn.LambdaCallback(on_train_end=lambda: ended.append(1))],
        )
    assert ended == [1]
    assert all(np.isfinite(array).all() for pair in net.get_weights() for array in pair)
    assert net.cursor == 0
    net.optimizer = fastnn.SGD(0.01)
    net.set_weights(make_net().get_weights())
    net.fit(X, y, epochs=1, verbose=0)  # usable


# --- interrupt and resume -------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("through_file", [False, True])
def test_resumed_is_uninterrupted(
    make_net,
    backend,
    blobs,
    tmp_path,
    one_step_slices,
    optimizer,
    shuffle,
    through_file,
):
    X, y = blobs
    arguments = dict(
        epochs=3,
        batch_size=16,
        shuffle=shuffle,
        sample_weight=np.linspace(0.1, 1, 60),
        class_weight={0: 2.0},
        validation_split=0.1,
        verbose=0,
    )
    whole = make_net(optimizer=optimizer)
    expected = whole.fit(X, y, **arguments).history
    for slices in range(1, 13):  # three epochs of four steps
        net = make_net(optimizer=optimizer)
        with pytest.raises(KeyboardInterrupt):
            net.fit(X, y, **arguments, callbacks=[InterruptAt(slices)])
        assert net.epoch == (slices - 1) // 4
        assert net.cursor == min(((slices - 1) % 4 + 1) * 16, 54)
        assert net.predict(X).shape == (60,)
        if through_file:
            net.save(tmp_path / "net")
            net = fastnn.Network.load(tmp_path / "net", backend=backend)
        rest = net.fit(X, y, **arguments, resume=True)
        assert same_bits(training_state(net), training_state(whole))
        assert rest.epochs == [0, 1, 2][net.epoch - len(rest.epochs) :]
        for name, values in rest.history.items():
            assert values == expected[name][-len(values) :]


def test_a_signal_at_any_time_leaves_a_resumable_network(make_net):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 4)).astype("f4")
    y = (X[:, 0] > 0).astype(int)
    arguments = dict(epochs=10, batch_size=16, verbose=0)
    whole = make_net()
    start = time.perf_counter()
    whole.fit(X, y, **arguments)
    seconds = time.perf_counter() - start
    armed = False

    def ctrl_c(signum, frame):
        if armed:
            raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, ctrl_c)
    interrupted = 0
    try:
        for share in rng.uniform(0.01, 0.9, 20):
            net, delay = make_net(), share * seconds
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, delay)
                net.fit(X, y, **arguments)
                armed = False
                seconds *= 0.8  # it was over before the signal came
            except KeyboardInterrupt:
                interrupted += 1
            net.fit(X, y, **arguments, resume=True)
            assert same_bits(training_state(net), training_state(whole))
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert interrupted >= 5


def test_resume_without_an_interrupted_fit(make_net, blobs):
    whole, net = make_net(), make_net()
    whole.fit(*blobs, epochs=5, verbose=0)
    # A script that always says resume=True begins, is done, and can be extended.
    assert net.fit(*blobs, epochs=3, verbose=0, resume=True).epochs == [0, 1, 2]
    assert net.fit(*blobs, epochs=3, verbose=0, resume=True).epochs == []
    assert net.fit(*blobs, epochs=5, verbose=0, resume=True).epochs == [3, 4]
    assert same_bits(net.get_weights(), whole.get_weights())


def test_a_fit_after_an_interrupt_begins_a_new_epoch(make_net, blobs, one_step_slices):
    net = make_net()
    with pytest.raises(KeyboardInterrupt):
        net.fit(*blobs, batch_size=16, callbacks=[InterruptAt(2)], verbose=0)
    assert net.cursor == 32
    assert net.fit(*blobs, epochs=2, verbose=0).epochs == [0, 1]
    assert (net.epoch, net.cursor) == (2, 0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"batch_size": 8}, "batch_size is 8; expected 16"),
        ({"shuffle": False}, "shuffle is False; expected True"),
        ({"validation_split": 0.5}, "number of training samples is 30; expected 60"),
    ],
)
def test_resume_wants_the_arguments_of_the_interrupted_epoch(
    make_net, blobs, one_step_slices, arguments, text
):
    net = make_net()
    with pytest.raises(KeyboardInterrupt):
        net.fit(*blobs, batch_size=16, callbacks=[InterruptAt(2)], verbose=0)
    before = training_state(net)
    with pytest.raises(ValueError, match=text):
        net.fit(*blobs, **{"batch_size": 16, **arguments}, verbose=0, resume=True)
    assert same_bits(before, training_state(net))


# --- threads --------------------------------------------------------------------------


def test_others_are_told_that_the_network_is_busy(make_net, blobs):
    net = make_net()
    raised = []

    def use_from_outside():
        X, y = blobs
        for use in (
            lambda: net.fit(X, y, verbose=0),
            lambda: net.train_on_batch(X, y),
            lambda: net.predict(X),
            lambda: net.predict_one(X[0]),
            lambda: net.evaluate(X, y),
            lambda: net.get_weights(),
            lambda: net.state_dict(),
        ):
            try:
                use()
            except fastnn.BusyError:
                raised.append(True)
            else:
                raised.append(False)

    def on_epoch_end(epoch, logs):
        net.predict(blobs[0])  # the thread that trains may
        net.get_weights()
        thread = threading.Thread(target=use_from_outside)
        thread.start()
        thread.join()

    net.fit(
        *blobs,
        epochs=1,
        verbose=0,
        callbacks=[fastnn.LambdaCallback(on_epoch_end=on_epoch_end)],
    )
    assert raised == [True] * 7
    net.fit(*blobs, epochs=1, verbose=0)


def test_a_busy_network_is_refused_before_its_state_is_read(make_net, blobs):
    net = make_net()
    acquired, done = threading.Event(), threading.Event()

    class Slow:  # another thread trains while this array is being read
        def __array__(self, dtype=None, copy=None):
            acquired.set()
            done.wait(10)
            return blobs[0]

    thread = threading.Thread(
        target=lambda: net.fit(Slow(), blobs[1], epochs=1, verbose=0)
    )
    thread.start()
    acquired.wait(10)
    with pytest.raises(fastnn.BusyError):
        net.fit(*blobs, epochs=3, verbose=0)
    done.set()
    thread.join()
    assert net.epoch == 1


def test_a_fit_within_a_fit_is_refused(make_net, blobs):
    net = make_net()
    nested = fastnn.LambdaCallback(
        on_epoch_end=lambda epoch, logs: net.fit(*blobs, verbose=0)
    )
    with pytest.raises(fastnn.BusyError):
        net.fit(*blobs, epochs=2, verbose=0, callbacks=[nested])
    assert net.fit(*blobs, epochs=1, verbose=0).epochs == [1]
