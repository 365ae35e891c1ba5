"""Schedules that count epochs: what `fit` makes of them, in both lanes."""

import numpy as np
import pytest

from fastnn import SGD, Adam, AdamW, Dense, Dropout, Network, fit_many
from fastnn._core.training.fit import counts_epochs
from fastnn.losses import OwnLoss
from fastnn.schedules import Cosine, FlatCosine, OneCycle, Step, Warmup

rng = np.random.default_rng(0)
X, y = rng.standard_normal((70, 4)), rng.integers(0, 3, 70)
# 70 rows: 5 updates an epoch of batches of 16, 3 with accumulate=2
EPOCHS = {
    "learning_rate": Warmup(Cosine(0.05, epochs=3), epochs=1),
    "weight_decay": FlatCosine(0.1, epochs=4),
}
STEPS = {
    "learning_rate": Warmup(Cosine(0.05, steps=15), steps=5),
    "weight_decay": FlatCosine(0.1, steps=20),
}


@pytest.fixture(params=["native", "numpy"])
def backend(request):
    return request.param


def make(backend, options, rate=0.2, **arguments):
    layers = [4, Dense(8, "tanh"), Dropout(rate), 3]
    optimizer = AdamW(**options)
    return Network(layers, optimizer=optimizer, seed=0, backend=backend, **arguments)


def bits(net):
    return [a.tobytes() for pair in net.get_weights() for a in pair]


def test_fit_knows_the_updates_of_an_epoch(backend):
    counted = make(backend, STEPS, FlatCosine(0.4, steps=10))
    counted.fit(X, y, epochs=4, batch_size=16, verbose=0)
    net = make(backend, EPOCHS, FlatCosine(0.4, epochs=2))
    net.fit(X, y, epochs=4, batch_size=16, verbose=0)
    assert bits(net) == bits(counted)
    assert net.plan == counted.plan
    assert net.step == 20
    # For good: a second fit goes on counting, whatever its batches.
    net.fit(X, y, epochs=1, batch_size=7, verbose=0)
    assert net.plan == counted.plan


@pytest.mark.parametrize(
    ("options", "updates"),
    [
        ({}, 5),
        ({"accumulate": 2}, 3),
        ({"validation_split": 0.2}, 4),
        ({"rows": np.arange(33)}, 3),
        ({"batch_size": 1000}, 1),
    ],
)
def test_what_an_epoch_is(backend, options, updates):
    optimizer = SGD(OneCycle(0.1, epochs=10))
    net = Network([4, 8, 3], optimizer=optimizer, seed=0, backend=backend)
    net.fit(X, y, **{"epochs": 1, "batch_size": 16, "verbose": 0, **options})
    assert net.step == updates
    assert net.optimizer.learning_rate == OneCycle(0.1, steps=10 * updates)


def test_saved_before_and_within_a_fit(backend, tmp_path):
    whole = make(backend, EPOCHS)
    whole.fit(X, y, epochs=4, batch_size=16, verbose=0)
    net = make(backend, EPOCHS)
    net.save(tmp_path / "before")
    net = Network.load(tmp_path / "before", backend=backend)
    assert net.optimizer == AdamW(**EPOCHS)

    class Stop(Exception):
        pass

    def stop(step, logs):
        if step == 7:
            raise Stop

    from fastnn import LambdaCallback

    with pytest.raises(Stop):
        net.fit(X, y, epochs=4, batch_size=16, verbose=0,
                callbacks=LambdaCallback(on_batch_end=stop))  # fmt: skip
    assert net.step == 8
    net.save(tmp_path / "within")
    net = Network.load(tmp_path / "within", backend=backend)
    net.fit(X, y, epochs=4, batch_size=16, verbose=0, resume=True)
    assert bits(net) == bits(whole)


def test_a_file_says_no_more_than_before(tmp_path):
    Network([2, 3], optimizer=Adam(Cosine(0.1, 7)), seed=0).save(tmp_path / "net")
    assert b"epochs" not in (tmp_path / "net").read_bytes()


def test_without_a_fit_the_updates_are_not_known(backend):
    net = make(backend, EPOCHS)
    before = bits(net)
    for call in (
        lambda: net.train_on_batch(X, y),
        lambda: net.apply_gradients(net.get_weights()),
        lambda: net.fit_chunks([(X, y)], verbose=0),
    ):
        with pytest.raises(ValueError, match="counts epochs"):
            call()
        assert (bits(net), net.step, net.optimizer) == (before, 0, AdamW(**EPOCHS))
    net = make(backend, {"learning_rate": Cosine(0.05, epochs=3).in_steps(5)})
    net.train_on_batch(X, y)


def test_a_fit_that_fails_leaves_the_epochs(backend):
    net = make(backend, EPOCHS)

    from fastnn import LambdaCallback

    def fail():
        assert not counts_epochs(net.plan)  # a callback sees the updates
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        net.fit(X, y, verbose=0, callbacks=LambdaCallback(on_train_begin=fail))
    assert net.optimizer == AdamW(**EPOCHS)
    assert net.plan == make(backend, EPOCHS).plan


def test_fit_many_and_a_loss_of_ones_own(backend):
    nets = [make(backend, EPOCHS) for _ in range(2)]
    fit_many(nets, X, y, [{"batch_size": 16}, {"batch_size": 35}], epochs=2, verbose=0)
    lengths = [net.optimizer.learning_rate.schedule.steps for net in nets]
    assert lengths == [15, 6]

    def square(outputs, targets):
        error = outputs - targets
        return (error**2).mean(axis=1), 2 * error / error.shape[1]

    net = make(backend, EPOCHS, loss=OwnLoss(square))
    net.fit(X, rng.standard_normal((70, 3)), epochs=2, batch_size=16, verbose=0)
    assert net.optimizer == AdamW(**STEPS)
    assert isinstance(net.plan.loss, OwnLoss)


def test_one_optimizer_object_serves_several_networks(backend):
    optimizer = SGD(Step(0.1, epochs=2))
    for n in (16, 35):
        net = Network([4, 3], optimizer=optimizer, seed=0, backend=backend)
        net.fit(X, y, epochs=1, batch_size=n, verbose=0)
        assert net.optimizer.learning_rate.interval == 2 * -(-70 // n)
