"""`Network.fit_chunks`: data that comes in parts."""

import re

import numpy as np
import pytest
from helpers import same_bits, training_state

import fastnn
from fastnn._core.model.seeds import row_order
from fastnn._core.training import loop as training


def cut(X, y, size, weight=None):
    arrays = [X, y] if weight is None else [X, y, weight]
    for start in range(0, len(X), size):
        yield tuple(array[start : start + size] for array in arrays)


@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_in_order_are_the_whole_in_order(make_net, blobs, weighted):
    X, y = blobs
    weight = np.linspace(0.1, 1, 60) if weighted else None
    whole, parts = make_net(), make_net()
    a = whole.fit(
        X, y, epochs=2, batch_size=10, shuffle=False, sample_weight=weight, verbose=0
    )
    b = parts.fit_chunks(
        lambda: cut(X, y, 20, weight), epochs=2, batch_size=10, shuffle=False, verbose=0
    )
    assert same_bits(training_state(parts)[:3], training_state(whole)[:3])
    assert a.epochs == b.epochs == [0, 1]
    assert a.history["accuracy"] == b.history["accuracy"]
    np.testing.assert_allclose(a.history["loss"], b.history["loss"], rtol=1e-12)


def test_the_loss_is_the_weighted_mean_over_all_rows(make_net, blobs):
    X, y = blobs
    net = make_net(dtype="float64", optimizer=fastnn.SGD(1e-12))
    weight = np.arange(60.0)
    whole = net.evaluate(X, y, weight)
    logged = net.fit_chunks(cut(X, y, 25, weight), batch_size=7, verbose=0).history
    np.testing.assert_allclose(logged["loss"], whole["loss"], rtol=1e-9)
    np.testing.assert_allclose(logged["accuracy"], whole["accuracy"], rtol=1e-9)


def test_rows_are_shuffled_within_their_chunk(make_net, blobs):
    X, y = blobs
    net, by_hand = make_net(seed=3), make_net(seed=3)
    net.fit_chunks(list(cut(X, y, 40)), epochs=2, batch_size=8, verbose=0)
    for epoch in range(2):
        for index, (x, t) in enumerate(cut(X, y, 40)):
            order = row_order(3, len(x), epoch, index)
            assert sorted(order) == list(range(len(x)))
            for start in range(0, len(x), 8):
                rows = order[start : start + 8]
                by_hand.train_on_batch(x[rows], t[rows])
    assert same_bits(net.get_weights(), by_hand.get_weights())
    assert (net.epoch, net.cursor) == (2, 0)


def test_a_generator_is_read_once_and_a_function_is_called_each_epoch(make_net, blobs):
    calls = []

    def chunks():
        calls.append(True)
        return cut(*blobs, 20)

    net = make_net()
    assert net.fit_chunks(chunks(), verbose=0).epochs == [0]
    assert net.fit_chunks(chunks, epochs=2, verbose=0).epochs == [1, 2]
    assert len(calls) == 3
    with pytest.raises(ValueError, match="chunks is an iterator, which can be read on"):
        net.fit_chunks(chunks(), epochs=2, verbose=0)


def test_chunks_of_a_memory_map(make_net, blobs, tmp_path):
    X, y = blobs
    stored = np.memmap(tmp_path / "X", np.uint8, "w+", shape=(60, 4))
    stored[:] = (X * 100).clip(0, 255)
    mapped, loaded = make_net(), make_net()
    mapped.fit_chunks(cut(stored, y, 32), verbose=0)
    loaded.fit_chunks(cut(np.array(stored), y, 32), verbose=0)
    assert same_bits(mapped.get_weights(), loaded.get_weights())


def test_it_takes_the_options_of_fit(make_net, blobs):
    X, y = blobs
    seen = []
    net = make_net()
    hook = fastnn.LambdaCallback(on_progress=lambda rows, logs: seen.append(rows))
    stop = fastnn.EarlyStopping("val_f1", patience=1, mode="min")
    history = net.fit_chunks(
        lambda: cut(X, y, 20), epochs=50, class_weight={1: 2.0}, X_val=X, y_val=y,
        metrics=["f1"], callbacks=[hook, stop], verbose=0,
    )  # fmt: skip
    assert len(history.epochs) < 50
    assert stop.best == min(history.history["val_f1"])
    assert sum(seen) == 60 * len(history.epochs)
    assert hook.params["n_samples"] is None
    weighed = make_net()
    weight = np.where(y == 1, 2.0, 1.0)
    weighed.fit_chunks(lambda: cut(X, y, 20, weight), epochs=2, verbose=0)
    net = make_net()
    net.fit_chunks(lambda: cut(X, y, 20), epochs=2, class_weight={1: 2}, verbose=0)
    assert same_bits(net.get_weights(), weighed.get_weights())


@pytest.mark.parametrize(
    ("chunk", "error", "text"),
    [
        ((np.zeros((3, 5)), [0, 1, 2]), ValueError, "chunk 1: X has 5 columns"),
        ((np.full((3, 4), np.nan), [0, 1, 2]), ValueError, r"chunk 1: X\[0, 0\] is na"),
        ((np.zeros((3, 4)), [0, 1, 3]), ValueError, r"chunk 1: y\[2\] is 3"),
        ((np.zeros((3, 4)), [0, 1]), ValueError, "chunk 1: y has 2 rows but X has 3"),
        ((np.zeros((0, 4)), []), ValueError, "chunk 1: X has no rows"),
        ((np.zeros((3, 4)), list("abc")), TypeError, "chunk 1: y has dtype"),
        ((np.zeros((1, 4)), [0], [-1]), ValueError, r"chunk 1: sample_weight\[0\]"),
        ((np.zeros((1, 4)),), TypeError, r"chunk 1 must be \(X, y\)"),
        (np.zeros((2, 4)), TypeError, r"chunk 1 must be .*, got ndarray"),
    ],
)
def test_a_bad_chunk_is_named_and_those_before_it_stay(
    make_net, blobs, chunk, error, text
):
    net, first = make_net(), make_net()
    with pytest.raises(error, match=text):
        net.fit_chunks([blobs, chunk], shuffle=False, verbose=0)
    first.fit(*blobs, epochs=1, shuffle=False, verbose=0)
    assert same_bits(net.get_weights(), first.get_weights())
    assert (net.epoch, net.cursor) == (0, 0)
    net.fit_chunks([blobs], verbose=0)  # usable


def test_class_weight_is_checked_before_a_chunk_is_asked_for(make_net):
    def chunks():
        raise AssertionError

    with pytest.raises(ValueError, match="class_weight"):
        make_net().fit_chunks(chunks, class_weight={7: 1.0}, verbose=0)
    with pytest.raises(ValueError, match="class_weight needs integer class labels"):
        make_net(loss="mse").fit_chunks(chunks, class_weight={0: 1.0}, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"chunks": 3}, TypeError, "chunks must be an iterable"),
        ({"epochs": 0}, ValueError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"shuffle": 1}, TypeError, "shuffle"),
        ({"accumulate": 0}, ValueError, "accumulate"),
        ({"class_weight": "balanced"}, ValueError, "expected a dict of weights"),
        ({"class_weight": {7: 1.0}}, ValueError, "class_weight .*7"),
        ({"class_weight": {0: -1.0}}, ValueError, "class_weight"),
        ({"class_weight": 3}, TypeError, "class_weight is 3"),
        ({"chunks": lambda: None}, TypeError, "the function chunks returned None"),
        ({"time_limit": 0}, ValueError, "time_limit"),
        ({"metrics": ["f1"]}, ValueError, "metrics are those of validation"),
        ({"callbacks": [print]}, TypeError, r"callbacks\[0\]"),
        ({"X_val": np.zeros((2, 4))}, ValueError, "y_val is None"),
        ({"chunks": []}, ValueError, "chunks has no chunk"),
    ],
)
def test_a_refused_argument_changes_nothing(make_net, blobs, arguments, error, text):
    net = make_net()
    before = training_state(net)
    with pytest.raises(error, match=text):
        net.fit_chunks(**{"chunks": [blobs], "verbose": 0, **arguments})
    assert same_bits(before, training_state(net))
    net.fit(*blobs, epochs=1, verbose=0)


def test_divergence_names_the_chunk(make_net, blobs):
    X, y = blobs
    net = make_net(optimizer=fastnn.SGD(1e30))
    big = X * np.float32(1e10)
    with pytest.raises(fastnn.TrainingDiverged, match="^chunk 0: "):
        net.fit_chunks([(big, y)], verbose=0)
    assert all(np.isfinite(array).all() for pair in net.get_weights() for array in pair)


def test_an_interrupted_epoch_does_not_count(make_net, blobs, tmp_path):
    def chunks():
        yield blobs
        raise KeyboardInterrupt

    net = make_net()
    with pytest.raises(KeyboardInterrupt):
        net.fit_chunks(chunks, verbose=0)
    assert (net.epoch, net.cursor, net.step) == (0, 0, 1)
    net.save(tmp_path / "net")
    loaded = fastnn.Network.load(tmp_path / "net", backend=net.backend)
    assert same_bits(training_state(loaded), training_state(net))
    assert loaded.fit(*blobs, epochs=2, resume=True, verbose=0).epochs == [0, 1]


def test_the_time_limit_ends_an_epoch(make_net, blobs, monkeypatch):
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    net = make_net()
    history = net.fit_chunks([blobs, blobs], batch_size=30, time_limit=1e-9, verbose=0)
    assert (history.epochs, net.epoch, net.step) == ([], 0, 1)
    history = net.fit_chunks([blobs, blobs], batch_size=60, time_limit=1e-9, verbose=0)
    assert (history.epochs, net.step) == ([], 2)
    history = net.fit_chunks([blobs], batch_size=60, time_limit=1e-9, verbose=0)
    assert (history.epochs, net.step) == ([0], 3)


def test_what_users_see(make_net, blobs, capfd):
    X, y = blobs
    net = make_net()
    net.fit_chunks(lambda: cut(X, y, 20), epochs=2, verbose=2)
    out, err = capfd.readouterr()
    assert err == ""
    for i, line in enumerate(out.splitlines(), start=1):
        assert re.fullmatch(
            rf"epoch {i}/2  loss \d\.\d{{4}}  accuracy \d\.\d{{4}}  \d+\.\d\d s  "
            r"[1-9][\d,]* samples/s",
            line,
        ), line
    net.fit_chunks(lambda: cut(X, y, 20), epochs=2)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    last = err.strip().split("\r")[-1]
    assert re.fullmatch(
        r"epoch 2/2 +120 samples \d\d:\d\d [\d.]+k? samples/s, loss \d\.\d{4}, "
        r"accuracy \d\.\d{4}\s*",
        last,
    ), last


def test_another_thread_is_told_that_the_network_is_busy(make_net, blobs):
    net = make_net()

    def chunks():
        with pytest.raises(fastnn.BusyError):
            net.fit_chunks([blobs], verbose=0)
        yield blobs

    net.fit_chunks(chunks, verbose=0)
    net.fit_chunks([blobs], verbose=0)
