"""`fit_many`: the bits of each fit, errors apart, and one Ctrl-C and bar for all."""

import _thread
import os
import signal
import threading
import time
import tracemalloc

import numpy as np
import pytest
from children import run_python
from helpers import same_bits, training_state

import fastnn
from fastnn import Dense, Dropout, LambdaCallback, Network
from fastnn.activations import OwnActivation

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6)).astype("f4")
y = (X[:, :3] + 0.3 * RNG.normal(size=(300, 3))).argmax(axis=1)


def mixed(backend):
    """Networks that differ in everything, and the arguments of their fits."""
    rng = np.random.default_rng(1)
    balanced = {"class_weight": "balanced", "batch_size": 17}
    repeated = {"rows": rng.integers(0, 300, 300), "shuffle": False, **balanced}
    kinds = [
        ([6, 8, 3], "adam", {"epochs": 3}),
        (
            [6, 24, Dropout(0.3), 3],
            "sgd",
            balanced,
        ),
        ([6, 4, fastnn.BatchNorm(), 3], "lion", {"rows": rng.permutation(300)[:200]}),
        (
            [6, 40, 40, 3],
            "adamw",
            repeated,
        ),
        ([6, 5, 3], "adam", {"rows_val": np.arange(30), "metrics": ["f1"]}),
        ([6, 9, 3], "rmsprop", {"sample_weight": rng.random(300), "accumulate": 2}),
        ([6, 3], fastnn.LBFGS(), {"rows": np.arange(300) % 5 != 0}),
    ]
    networks, each = [], []
    for seed, (layers, optimizer, options) in enumerate(kinds):
        networks.append(
            Network(layers, optimizer=optimizer, seed=seed, backend=backend)
        )
        each.append({"epochs": 2, **options})
    return networks, each


def one_by_one(networks, each):
    return [
        network.fit(X, y, verbose=0, **options)
        for network, options in zip(networks, each, strict=True)
    ]


def tiny(n, **options):
    return [Network([6, 4, 3], seed=seed, **options) for seed in range(n)]


@pytest.mark.parametrize(("num_threads", "turn"), [(1, 0), (2, 3), (3, 5), (16, 1)])
def test_each_has_the_bits_of_its_own_fit(backend, num_threads, turn, on_all_threads):
    alone, each = mixed(backend)
    expected = [history.history for history in one_by_one(alone, each)]
    networks, each = mixed(backend)
    order = np.roll(np.arange(len(networks)), turn)
    histories = fastnn.fit_many(
        [networks[i] for i in order],
        X,
        y,
        [each[i] for i in order],
        verbose=0,
        num_threads=num_threads,
    )
    for i, history in zip(order, histories, strict=True):
        assert history.history == expected[i]
        assert history.error is None
        assert same_bits(training_state(networks[i]), training_state(alone[i]))
    assert same_bits(
        [n.predict_proba(X) for n in networks], [n.predict_proba(X) for n in alone]
    )


def test_functions_of_ones_own(backend):
    """They run in the threads of the crew, where they may meet."""

    def square(outputs, targets):
        error = outputs - targets
        return (error**2).mean(axis=1), 2 * error / error.shape[1]

    tanh = OwnActivation(np.tanh, lambda x, y: 1 - y * y)
    T = np.eye(3)[y]

    def made():
        layers = [6, Dense(8, tanh), fastnn.BatchNorm(), Dropout(0.2), 3]
        options = [{"loss": square}, {"loss": square}, {"loss": "mse"}] * 2
        return [
            Network(layers if i % 3 else [6, 8, 3], seed=i, backend=backend, **each)
            for i, each in enumerate(options)
        ]

    alone, networks = made(), made()
    each = [{"epochs": 2 + i % 2, "rows": np.arange(i, 300)} for i in range(6)]
    for network, options in zip(alone, each, strict=True):
        network.fit(X, T, verbose=0, **options)
    fastnn.fit_many(networks, X, T, each, num_threads=3, verbose=0)
    assert same_bits(*([training_state(n) for n in many] for many in (alone, networks)))


def test_options_of_all_and_of_each():
    networks = tiny(3)
    histories = fastnn.fit_many(
        networks, X, y, [{}, {"epochs": 1}, {}], epochs=4, verbose=0
    )
    assert [len(history.epochs) for history in histories] == [4, 1, 4]
    assert fastnn.fit_many([], X, y, verbose=1) == []


def test_two_at_a_time():
    """Each waits for the other in its first epoch."""
    meeting = threading.Barrier(2, timeout=30)
    hooks = [[LambdaCallback(on_epoch_begin=lambda *_: meeting.wait())] for _ in "ab"]
    each = [{"callbacks": hook, "epochs": 1} for hook in hooks]
    fastnn.fit_many(tiny(2), X, y, each, num_threads=2, verbose=0)


def test_numpy_one_after_the_other():
    running, most = set(), []

    def enter(i):
        running.add(i)
        most.append(len(running))

    each = [
        {
            "callbacks": [
                LambdaCallback(
                    on_train_begin=lambda i=i: enter(i),
                    on_train_end=lambda i=i: running.remove(i),
                )
            ]
        }
        for i in range(4)
    ]
    networks = tiny(4, backend="numpy")
    fastnn.fit_many(networks, X, y, each, epochs=2, num_threads=4, verbose=0)
    assert most == [1, 1, 1, 1]


def test_the_most_work_first():
    begun = []
    epochs, widths = [1, 9, 1, 1], [4, 4, 64, 8]
    networks = [Network([6, width, 3], seed=0) for width in widths]
    each = [
        {
            "epochs": n,
            "callbacks": [LambdaCallback(on_train_begin=lambda i=i: begun.append(i))],
        }
        for i, n in enumerate(epochs)
    ]
    fastnn.fit_many(networks, X, y, each, num_threads=1, verbose=0)
    assert begun == [1, 2, 3, 0]


def test_threads_of_a_network():
    """One while the others need them, all for the last one; then as before."""
    seen = {i: [] for i in range(3)}
    networks = [*tiny(2), Network([6, 4, 3], seed=2, num_threads=3)]
    begun = threading.Event()

    def look(i):
        seen[i].append(networks[i].num_threads)
        if i == 2:  # the longest
            begun.set()
            time.sleep(0.001)
        else:
            begun.wait(30)

    each = [
        {
            "epochs": 1 if i < 2 else 300,
            "callbacks": [LambdaCallback(on_progress=lambda *_, i=i: look(i))],
        }
        for i in range(3)
    ]
    before = fastnn.get_num_threads()
    fastnn.fit_many(networks, X, y, each, num_threads=2, verbose=0)
    assert seen[0] + seen[1] == [1, 1]
    assert seen[2][0] == 1
    assert seen[2][-1] == 2
    assert [network.num_threads for network in networks] == [before, before, 3]


def test_rows_are_not_copied():
    wide = np.broadcast_to(np.float32(1), (200_000, 6)).copy()
    labels = np.zeros(len(wide), np.int64)
    rows = np.arange(0, len(wide), 2)
    networks = tiny(2)
    tracemalloc.start()
    fastnn.fit_many(
        networks, wide, labels, epochs=1, batch_size=1000, rows=rows, verbose=0
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # What is made: an order for each network at work, and its permutation.
    assert peak < 2 * 2.2 * rows.nbytes < 1.5 * wide.nbytes


# Errors


def raising(error):
    def hook(epoch, logs):
        if epoch == 1:
            raise error

    return {"callbacks": [LambdaCallback(on_epoch_end=hook)]}


def test_errors_of_one_network_are_kept_apart(backend):
    networks = tiny(5, backend=backend)
    networks[2].optimizer = fastnn.SGD(1e30)
    each = [{}, raising(OSError("full")), {}, {"X_val": X}, {}]
    with pytest.warns(
        RuntimeWarning, match=r"3 of 5 networks failed.*networks\[1\]: OSError: full"
    ) as caught:
        histories = fastnn.fit_many(networks, X, y, each, epochs=3, verbose=0)
    assert caught[0].filename == __file__
    kinds = [type(history.error) for history in histories]
    none = type(None)
    assert kinds == [none, OSError, fastnn.TrainingDiverged, ValueError, none]
    assert len(histories[1].history["loss"]) == 1 + (histories[1].epochs == [0, 1])
    assert [network.epoch for network in networks] == [3, 2, 0, 0, 3]
    for network in networks:  # none is left taken
        network.set_weights(network.get_weights())


def test_if_all_fail_the_first_error_is_raised():
    each = [raising(OSError("first")), raising(OSError("second"))]
    with pytest.raises(OSError, match="first"):
        fastnn.fit_many(tiny(2), X, y, each, epochs=3, verbose=0)


def test_exit_of_a_callback_ends_all():
    each = [raising(SystemExit(3)), {}]
    networks = tiny(2)
    for num_threads in (1, 2):
        with pytest.raises(SystemExit):
            fastnn.fit_many(
                networks, X, y, each, epochs=10**6, num_threads=num_threads, verbose=0
            )
        for network in networks:
            network.partial_fit(X[:10], y[:10])
        networks = tiny(2)


NO = [{}, {}]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"networks": [1]}, TypeError, r"networks\[0\] must be a fastnn.Network"),
        ({"networks": 3}, TypeError, r"networks\[0\] must be a fastnn.Network, got 3"),
        ({"networks": [Network([6, 3])] * 2}, ValueError, "networks has .* twice"),
        ({"y": 3}, ValueError, "y has no rows"),
        ({"each": {}}, TypeError, "each must be a sequence of dicts"),
        ({"each": [{}]}, ValueError, "each has 1 entries; expected 2"),
        ({"each": [{}, 7]}, TypeError, r"each\[1\] must be a dict, got 7"),
        ({"each": [{}, {"epoch": 1}]}, TypeError, r"networks\[1\]: 'epoch' is no arg"),
        ({"each": [{"verbose": 1}, {}]}, TypeError, r"networks\[0\]: 'verbose' is no"),
        ({"communicator": 1}, TypeError, "'communicator' is no argument"),
        ({"epochs": 0}, ValueError, r"of networks\[0\]: epochs must be"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be an integer"),
        ({"rows": [300]}, ValueError, r"rows\[0\] is 300; expected a row of X, 0..299"),
        ({"rows_val": [3, -1]}, ValueError, r"rows_val\[1\] is -1"),
        ({"callbacks": 3}, TypeError, "callbacks must be a sequence"),
        ({"callbacks": [fastnn.EarlyStopping("loss")]}, ValueError, "an object of its"),
        ({"num_threads": 0}, ValueError, "num_threads must be an integer >= 1"),
        ({"verbose": 2}, ValueError, "verbose must be an integer from 0 to 1"),
    ],
)
def test_bad_arguments_are_refused_before_anything_changes(change, error, message):
    networks = tiny(2)
    arguments = {"networks": networks, "X": X, "y": y, "verbose": 0, **change}
    with pytest.raises(error, match=message):
        fastnn.fit_many(**arguments)
    assert [network.step for network in networks] == [0, 0]


# Ctrl-C, threads, processes


@pytest.mark.parametrize("num_threads", [1, 2])
def test_ctrl_c_stops_all_and_resume_goes_on(backend, num_threads):
    def fit(networks, hooks=None, **options):
        each = [{"epochs": 40 + i} for i in range(4)]
        if hooks:
            each[0]["callbacks"] = hooks
        fastnn.fit_many(
            networks, X, y, each, num_threads=num_threads, verbose=0, **options
        )

    whole, networks = tiny(4, backend=backend), tiny(4, backend=backend)
    fit(whole)
    count = threading.active_count()

    def interrupt(epoch, _):
        if epoch == 20:
            # A real one, which also ends the waiting for other threads.
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        if epoch >= 20:
            time.sleep(0.25)  # so that the main thread has five seconds to notice

    stop = LambdaCallback(on_epoch_end=interrupt)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(networks, [stop])
    finally:
        signal.signal(signal.SIGINT, handler)
    assert 20 <= networks[0].epoch < 40
    assert threading.active_count() == count
    fit(networks, resume=True)
    assert [network.epoch for network in networks] == [40, 41, 42, 43]
    assert same_bits(*([training_state(n) for n in each] for each in (whole, networks)))


def test_ctrl_c_waits_for_those_at_work():
    """Also if the thread of the caller has nothing left to do."""
    over = threading.Event()

    def interrupt(epoch, _):
        over.wait(30)
        if epoch == 1:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.1)

    each = [
        {"epochs": 50, "callbacks": [LambdaCallback(on_epoch_end=interrupt)]},
        {"epochs": 1, "callbacks": [LambdaCallback(on_train_end=over.set)]},
    ]
    networks = tiny(2)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fastnn.fit_many(networks, X, y, each, num_threads=2, verbose=0)
    finally:
        signal.signal(signal.SIGINT, handler)
    networks[0].set_weights(networks[0].get_weights())  # it is free


def test_fits_within_a_callback_use_its_thread():
    threads = []

    def nested():
        hooks = [
            [LambdaCallback(on_train_begin=lambda: threads.append(_thread.get_ident()))]
            for _ in range(3)
        ]
        each = [{"callbacks": hook} for hook in hooks]
        fastnn.fit_many(tiny(3), X, y, each, epochs=1, num_threads=3, verbose=0)
        threads.append(_thread.get_ident())

    each = [{}, {"callbacks": [LambdaCallback(on_train_begin=nested)]}]
    fastnn.fit_many(tiny(2), X, y, each, epochs=1, num_threads=2, verbose=0)
    assert len(threads) == 4
    assert len({*threads}) == 1


def test_a_refused_thread_means_fewer(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    networks = tiny(3)
    fastnn.fit_many(networks, X, y, epochs=2, num_threads=3, verbose=0)
    assert [network.epoch for network in networks] == [2, 2, 2]


def test_the_context_of_the_caller_is_that_of_all():
    """NumPy's settings of floating-point errors, for one."""
    seen = []
    each = [
        {"callbacks": [LambdaCallback(on_train_begin=lambda: seen.append(np.geterr()))]}
        for _ in range(4)
    ]
    with np.errstate(divide="raise"):
        fastnn.fit_many(tiny(4), X, y, each, epochs=1, num_threads=2, verbose=0)
    assert [state["divide"] for state in seen] == ["raise"] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
def test_a_forked_child_fits_many():
    run_python(
        """
        import os, warnings
        import numpy as np
        import fastnn
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        X, y = np.eye(8, dtype="f4"), np.arange(8) % 3
        def fit():
            nets = [fastnn.Network([8, 64, 3], seed=i) for i in range(4)]
            fastnn.fit_many(nets, X, y, epochs=30, num_threads=2, verbose=0)
            return [n.predict_proba(X).tobytes() for n in nets]
        expected = fit()
        child = os.fork()
        if child == 0:
            os._exit(0 if fit() == expected else 1)
        assert os.waitpid(child, 0)[1] == 0
        """
    )


def test_one_bar_for_all(capfd):
    stopping = [fastnn.LossBelow(10.0)]  # after the first epoch; the bar is full
    each = [{}, {"callbacks": stopping}, {"rows": np.arange(100)}]
    fastnn.fit_many(tiny(3), X, y, each, epochs=5, verbose=1)
    out, err = capfd.readouterr()
    last = err.rstrip().rpartition("\r")[2]
    assert out == ""
    assert err.count("\n") == 1
    assert "3/3 networks" in last
    assert "100%" in last


def test_time_limit_of_each():
    networks = tiny(3)
    histories = fastnn.fit_many(networks, X, y, epochs=10**6, time_limit=0.1, verbose=0)
    assert all(0 < len(history.epochs) < 10**6 for history in histories)
