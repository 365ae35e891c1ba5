"""Predicting is safe from many threads; training wants the network for itself."""

import threading
import time

import numpy as np
import pytest
from helpers import same_bits, training_state

import fastnn
from fastnn import BusyError

LAYERS = [64, 128, 10]


def data(n=400):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, LAYERS[0])).astype("f4"), rng.integers(10, size=n)


def in_threads(functions, timeout=60):
    """Run the functions at the same time; raise what any of them raised."""
    errors = []
    start = threading.Barrier(len(functions))

    def run(function):
        try:
            start.wait(timeout)
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    assert not any(thread.is_alive() for thread in threads), "a deadlock"
    if errors:
        raise errors[0]


def predict_together(net, seconds):
    """Eight threads predict with one network in every way; count wrong bits."""
    X, y = data()
    expected = {
        "predict": net.predict(X),
        "predict_proba": net.predict_proba(X),
        "predict_one": np.array([net.predict_one(x) for x in X[:20]]),
        "evaluate": np.array([*net.evaluate(X, y).values()]),
        "get_weights": net.get_weights()[0][0],
    }
    calls = {
        "predict": lambda: net.predict(X),
        "predict_proba": lambda: net.predict_proba(X),
        "predict_one": lambda: np.array([net.predict_one(x) for x in X[:20]]),
        "evaluate": lambda: np.array([*net.evaluate(X, y).values()]),
        "get_weights": lambda: net.get_weights()[0][0],
    }
    deadline, done = time.monotonic() + seconds, []

    def work(shift):
        names = [*calls][shift:] + [*calls][:shift]
        rounds = 0
        while time.monotonic() < deadline or rounds == 0:
            for name in names:
                assert same_bits(calls[name](), expected[name]), name
            rounds += 1
        done.append(rounds)

    in_threads([lambda shift=i % 5: work(shift) for i in range(8)], seconds + 60)
    assert len(done) == 8


def test_predictions_from_eight_threads_have_the_same_bits(backend):
    net = fastnn.Network(LAYERS, seed=0, backend=backend, num_threads=2)
    predict_together(net, 0.7)
    net.partial_fit(*data())  # and nobody holds the network


@pytest.mark.slow
def test_predictions_from_eight_threads_have_the_same_bits_at_length():
    predict_together(fastnn.Network(LAYERS, seed=0, num_threads=2), 60)


def test_networks_are_independent():
    # One thread team serves them all; whoever finds it taken works alone.
    X, y = data()
    arguments = dict(epochs=3, batch_size=100, verbose=0)
    alone = fastnn.Network(LAYERS, seed=1, num_threads=2)
    alone.fit(X, y, **arguments)
    nets = [fastnn.Network(LAYERS, seed=1, num_threads=2) for _ in range(4)]
    predictor = fastnn.Network(LAYERS, seed=2, num_threads=2)
    expected = predictor.predict_proba(X)

    def predict():
        for _ in range(20):
            assert same_bits(predictor.predict_proba(X), expected)

    in_threads([*(lambda net=net: net.fit(X, y, **arguments) for net in nets), predict])
    for net in nets:
        assert same_bits(training_state(net), training_state(alone))


USES = {
    "fit": lambda net, X, y: net.fit(X, y, verbose=0),
    "partial_fit": lambda net, X, y: net.partial_fit(X, y),
    "train_on_batch": lambda net, X, y: net.train_on_batch(X, y),
    "loss_and_gradients": lambda net, X, y: net.loss_and_gradients(X, y),
    "predict": lambda net, X, y: net.predict(X),
    "predict_proba": lambda net, X, y: net.predict_proba(X),
    "decision_function": lambda net, X, y: net.decision_function(X),
    "predict_one": lambda net, X, y: net.predict_one(X[0]),
    "evaluate": lambda net, X, y: net.evaluate(X, y),
    "score": lambda net, X, y: net.score(X, y),
    "get_weights": lambda net, X, y: net.get_weights(),
    "set_weights": lambda net, X, y: net.set_weights(
        fastnn.Network(LAYERS, seed=9).get_weights()
    ),
    "state_dict": lambda net, X, y: net.state_dict(),
    "optimizer": lambda net, X, y: setattr(net, "optimizer", "sgd"),
}


class Busy:
    """A network that another thread is training until the block ends."""

    def __init__(self, net, X, y):
        self.inside, self.done = threading.Event(), threading.Event()

        def on_progress(rows, logs):
            self.inside.set()

        def on_epoch_begin(epoch, logs):
            if self.done.is_set():
                net.stop_training = True

        callback = fastnn.LambdaCallback(
            on_progress=on_progress, on_epoch_begin=on_epoch_begin
        )
        self.thread = threading.Thread(
            target=net.fit,
            args=(X, y, 10**9),
            kwargs=dict(verbose=0, callbacks=[callback]),
        )

    def __enter__(self):
        self.thread.start()
        assert self.inside.wait(30)

    def __exit__(self, *error):
        self.done.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


def test_a_network_in_training_refuses_other_threads(backend):
    X, y = data()
    net = fastnn.Network(LAYERS, seed=0, backend=backend)
    with Busy(net, X, y):
        for use in USES.values():
            for _ in range(5):
                with pytest.raises(BusyError, match="another thread"):
                    use(net, X, y)
        other = fastnn.Network(LAYERS, seed=1, backend=backend)
        other.partial_fit(X, y)  # it is this network that is busy, not fastnn
    for use in USES.values():
        use(net, X, y)


def test_training_beside_refused_calls_has_the_same_bits(backend):
    X, y = data()
    arguments = dict(epochs=20, batch_size=32, verbose=0)
    alone, net = (fastnn.Network(LAYERS, seed=4, backend=backend) for _ in range(2))
    alone.fit(X, y, **arguments)
    training, over = threading.Event(), threading.Event()
    refused, allowed = [], []

    def disturb():
        training.wait(30)
        while not over.is_set():
            for name in ("fit", "predict_one", "set_weights", "train_on_batch"):
                try:
                    USES[name](net, X, y)
                    allowed.append(name)
                except BusyError:
                    refused.append(name)

    threads = [threading.Thread(target=disturb) for _ in range(2)]

    def end():  # still within fit
        over.set()
        for thread in threads:
            thread.join(30)

    def refuse_some(epoch, logs):
        """However busy the machine is: each epoch ends after a refusal or a minute."""
        before, late = len(refused), time.monotonic() + 60
        while len(refused) == before and time.monotonic() < late:
            time.sleep(1e-4)

    watch = fastnn.LambdaCallback(
        on_train_begin=training.set, on_epoch_end=refuse_some, on_train_end=end
    )
    for thread in threads:
        thread.start()
    net.fit(X, y, **arguments, callbacks=[watch])
    assert len(refused) > 10
    assert not allowed
    assert same_bits(training_state(net), training_state(alone))


def change_while_predicting(backend, n):
    """Try every change while a thread predicts n rows; False if that was too short."""
    net = fastnn.Network([100, 400, 10], seed=0, backend=backend)
    # One row very often: long to predict, no memory to hold.
    X = np.broadcast_to(np.random.default_rng(0).random(100, "f4"), (n, 100))
    X4, y4 = np.ones((4, 100), "f4"), np.arange(4)
    expected, before = net.predict(X[:1])[0], training_state(net)
    found = []

    def predict():
        while not found:
            try:
                found.append(net.predict(X))
            except BusyError:  # `acquire` below came first
                continue

    reader = threading.Thread(target=predict)

    def is_refused(call, *arguments):
        try:
            call(*arguments)
        except BusyError as error:
            assert "another thread is predicting" in str(error)
            return True
        return False

    def acquire():
        net._model.engine.acquire()
        net._model.engine.release()

    reader.start()
    while not found and not is_refused(acquire):
        pass
    changes = ("train_on_batch", "partial_fit", "fit", "optimizer", "set_weights")
    refused = [is_refused(USES_100[name], net, X4, y4) for name in changes]
    others = net.predict(X4)  # others may read
    was_long_enough = reader.is_alive()
    reader.join(60)
    if not was_long_enough:
        return False
    assert all(refused)
    assert others.shape == (4,)
    assert (found[0] == expected).all()
    assert same_bits(training_state(net), before)
    net.partial_fit(X4, y4)
    return True


USES_100 = {
    **USES,
    "set_weights": lambda net, X, y: net.set_weights(
        fastnn.Network([100, 400, 10], seed=9).get_weights()
    ),
}


def test_a_network_that_predicts_refuses_to_change(backend):
    rows = (10**exponent for exponent in (5, 5.5, 6, 6.5, 7, 7.5))
    assert any(change_while_predicting(backend, int(n)) for n in rows)


def test_the_thread_that_trains_may_predict_and_save(backend, tmp_path):
    X, y = data(100)
    arguments = dict(epochs=3, batch_size=32, verbose=0)
    alone, net = (fastnn.Network(LAYERS, seed=5, backend=backend) for _ in range(2))
    alone.fit(X, y, **arguments)
    seen = []

    def look(*_):
        seen.append(net.score(X, y))
        net.predict_one(X[0])
        net.get_weights()
        net.save(tmp_path / "net")

    watch = fastnn.LambdaCallback(
        on_train_begin=look,
        on_epoch_begin=look,
        on_progress=look,
        on_epoch_end=look,
        on_train_end=look,
    )
    net.fit(X, y, **arguments, callbacks=[watch])
    assert len(seen) >= 11
    assert same_bits(training_state(net), training_state(alone))


def test_an_error_gives_the_network_back(backend):
    X, y = data(100)
    net = fastnn.Network(LAYERS, seed=0, backend=backend)

    def fail(*_):
        raise ZeroDivisionError

    for hook in ("on_train_begin", "on_progress", "on_epoch_end", "on_train_end"):
        callback = fastnn.LambdaCallback(**{hook: fail})
        with pytest.raises(ZeroDivisionError):
            net.fit(X, y, callbacks=[callback], verbose=0)
        in_threads([lambda: net.partial_fit(X, y)])
    with pytest.raises(ValueError, match="X has"):
        net.predict(X[:, :3])
    with pytest.raises(ValueError, match="x must"):
        net.predict_one(X[0, :3])
    with pytest.raises(ValueError, match="y"):
        net.train_on_batch(X, y + 20)
    in_threads([lambda: net.partial_fit(X, y)])
