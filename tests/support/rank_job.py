"""What the tests run on several ranks: `mpiexec -n 4 python rank_job.py NAME ...`."""

import hashlib
import json
import os
import signal
import sys
import time

import numpy as np
from mpi4py import MPI

import fastnn
from fastnn import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    BatchNorm,
    Dense,
    Dropout,
    EarlyStopping,
    Embedding,
    LambdaCallback,
    LayerNorm,
    Lion,
    ModelCheckpoint,
    NAdam,
    Network,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    RMSprop,
    Scale,
    rows_of_rank,
    schedules,
)
from fastnn.activations import OwnActivation

WORLD = MPI.COMM_WORLD
OPTIMIZERS = {
    "sgd": SGD(0.05),
    "momentum": SGD(0.05, 0.9),
    "nesterov": SGD(0.05, 0.9, nesterov=True),
    "rmsprop": RMSprop(1e-3),
    "adagrad": AdaGrad(1e-2),
    "adam": Adam(1e-2),
    "adamw": AdamW(1e-2, weight_decay=0.1),
    "nadam": NAdam(1e-2),
    "lion": Lion(1e-3),
    "clipped": SGD(0.05, clip_norm=0.1, clip_value=0.05, max_norm=0.9, l2=1e-3),
    "scheduled": Adam(schedules.Exponential(1e-2, 2)),
}
# Every kind of layer; the inputs are 4 numbers and the codes of 2 categories.
LAYERS = {
    "periodic": [PeriodicEmbedding(columns=2), Embedding([3, 2], size=2)],
    "piecewise": [PiecewiseLinearEmbedding([[-1, 0, 1], [-2, 0, 0.5, 2]])],
}
REST = [
    Scale(),
    Dense(33, "relu"),
    BatchNorm("gelu"),
    Dropout(schedules.Exponential(0.4, 9)),
    Dense(17),
    ParametricActivation("selu"),
    LayerNorm(),
    BatchNorm(trainable=False),
    Dense(5, "tanh", trainable=False),
    Dense(3),
]


def make(optimizer="adam", first="periodic", seed=3, **options):
    layers = [6, *LAYERS[first], *REST]
    return Network(layers, optimizer=OPTIMIZERS[optimizer], seed=seed, **options)


def data(n=107, seed=0):
    """All rows, and this rank's."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6)).astype("f4")
    X[:, 4], X[:, 5] = rng.integers(-1, 3, n), rng.integers(-1, 2, n)
    y, weight = rng.integers(0, 3, n), rng.random(n) * (rng.random(n) > 0.2)
    rows = rows_of_rank(n, WORLD)
    return X[rows], y[rows], weight[rows]


def fit(net, X, y, epochs=3, **options):
    arguments = dict(batch_size=32, verbose=0, communicator=WORLD) | options
    return net.fit(X, y, epochs=epochs, **arguments)


def shown(net, history):
    return {"digest": _digest(net), "logs": history.history}


def _digest(net):
    model = net._model.state()
    digest = hashlib.sha256(repr((model.step, net.epoch, net.cursor)).encode())
    pairs = [*model.weights, *filter(None, model.statistics)]
    for state in model.optimizer_state:
        pairs += state.values()
    for array in (array for pair in pairs for array in pair):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def bits(backend, dtype):
    """Train with every optimizer, half of the times with weights and validation."""
    X, y, weight = data()
    X_val, y_val, weight_val = data(41, seed=1)
    found = {}
    for i, name in enumerate(OPTIMIZERS):
        first = [*LAYERS][i // 2 % 2]
        net = make(name, first, backend=backend, dtype=dtype)
        options = dict(shuffle=i % 3 > 0)
        if i % 2:
            options |= dict(
                sample_weight=weight,
                class_weight={0: 2.0},
                X_val=X_val,
                y_val=y_val,
                sample_weight_val=weight_val,
                metrics=["f1", "roc_auc"],
                callbacks=[EarlyStopping("val_loss", patience=1)],
            )
        history = fit(net, X, y, epochs=4, **options)
        found[name] = shown(net, history)
    return found


def square(outputs, targets):
    error = outputs - targets
    return (error**2).mean(axis=1), 2 * error / error.shape[1]


def own():
    """With functions of one's own, beside fastnn's: the same but for roundings."""
    tanh = OwnActivation(np.tanh, lambda x, y: 1 - y * y)
    X, y, weight = data()
    T, found = np.eye(3)[y], {}
    for backend in ("native", "numpy"):
        for loss, own_loss, targets in (
            ("mse", square, T),
            ("softmax_cross_entropy", "softmax_cross_entropy", y),
        ):
            nets, logs = [], []
            for activation, of in (("tanh", loss), ("tanh", own_loss), (tanh, loss),
                                   (tanh, own_loss)):  # fmt: skip
                layers = [6, Dropout(0.3), Dense(9, activation), BatchNorm("relu"), 3]
                options = dict(optimizer="adam", dtype="float64", seed=0)
                net = Network(layers, loss=of, backend=backend, **options)
                net.set_weights((nets or [net])[0].get_weights())
                nets.append(net)
            start = nets[0].get_weights()
            for i, net in enumerate(nets):
                net.set_weights(start)
                history = fit(
                    net, X, targets, sample_weight=weight, X_val=X, y_val=targets
                )
                logs.append(history.history)
                found[f"{backend} {loss} {i}"] = shown(net, history)
            for net, log in zip(nets[1:], logs[1:], strict=True):
                for name, values in logs[0].items():
                    np.testing.assert_allclose(log[name], values, rtol=1e-6)
                for pair, other in zip(
                    nets[0].get_weights(), net.get_weights(), strict=True
                ):
                    for a, b in zip(pair, other, strict=True):
                        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)
    return found


def accumulated():
    """The shards of one update are mini-batches that are accumulated."""
    X, y, weight = data(64)
    options = dict(sample_weight=weight, epochs=3, shuffle=False)
    one, other = make("momentum"), make("momentum")
    start = other._model.engine.get_statistics()
    fit(one, X, y, **options, batch_size=64)
    other.fit(X, y, **options, batch_size=8, accumulate=8, verbose=0)
    for pair, expected in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(pair[0], expected[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(pair[1], expected[1], rtol=1e-4, atol=1e-6)
    # The statistics are the mean of those that each shard would have made of them.
    one, found = make("sgd"), []
    for k in range(8):
        rows = slice(8 * k, 8 * k + 8)
        other = make("sgd")
        other.train_on_batch(X[rows], y[rows])
        found.append(other._model.engine.get_statistics())
    fit(one, X, y, 1, shuffle=False, batch_size=64)
    for i, pair in enumerate(one._model.engine.get_statistics()):
        if pair is not None:
            for j in range(2):
                expected = np.mean([each[i][j] for each in found], axis=0)
                np.testing.assert_allclose(pair[j], expected, rtol=1e-5, atol=1e-6)
    now = one._model.engine.get_statistics()
    changed = [
        pair is not None and not np.array_equal(pair, old)
        for pair, old in zip(now, start, strict=True)
    ]
    return sum(changed)


def whole(epochs):
    X, y, weight = data()
    net = make()
    history = fit(net, X, y, int(epochs), sample_weight=weight)
    return shown(net, history)


def part(path):
    """Stop in the middle of the second epoch."""
    X, y, weight = data()
    net = make()
    save = ModelCheckpoint(path + "-{epoch}")
    fit(net, X, y, 1, sample_weight=weight, callbacks=[save])
    assert (save.saved is None) == (WORLD.rank > 0)
    fit(net, X, y, 2, sample_weight=weight, time_limit=1e-9, callbacks=[save])
    assert 0 < net.cursor < 107
    if WORLD.rank == 0:
        net.save(path)
    return sorted(os.listdir(os.path.dirname(path)))


def resumed(path, epochs):
    X, y, weight = data()
    net = Network.load(path)
    fit(net, X, y, int(epochs), sample_weight=weight, resume=True)
    return _digest(net)


def fails(where):
    """Rank 1 alone has something wrong."""
    X, y, _ = data()
    net = make(seed=3 + (where == "seed" and WORLD.rank == 1))
    wrong = WORLD.rank == 1
    options = {}

    def stop(*_):
        if wrong and where == "raises":
            raise OSError("no room on the disk")
        if wrong and where == "stops":
            net.stop_training = True
        if wrong and where == "changes":
            net.optimizer = SGD(0.1)
        if wrong and where == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if wrong and where == "late":
            net.set_weights([(w + 1, b) for w, b in net.get_weights()])

    if where == "rows" and wrong:
        X, y = X[:-1], y[:-1]
    if where == "value" and wrong:
        X = X.copy()
        X[3, 2] = np.nan
    if where == "batch" and wrong:
        options["batch_size"] = 64
    if where == "shards" and wrong:
        options["shards"] = 16
    if where == "targets":
        net = Network([6, 3], loss="mse", target_scale=(0.0, 1.0 + wrong), seed=3)
        y = np.eye(3)[y]
    if where == "diverges":
        net = make("sgd")
        net.optimizer = SGD(1e30)
    callback = LambdaCallback(
        on_train_end=stop if where == "late" else lambda: None,
        on_epoch_end=stop if where != "late" else lambda *_: None,
    )
    step = 0
    try:
        fit(net, X, y, 5, callbacks=[callback], **options)
    except (Exception, KeyboardInterrupt) as error:
        result = f"{type(error).__name__}: {error}"
    else:
        result = f"{net.epoch} epochs"
    step = net.step
    return WORLD.allgather([result, step])


def dies():
    """Rank 1 is killed as it trains."""
    X, y, _ = data()

    def kill(epoch, logs):
        if WORLD.rank == 1 and epoch == 2:
            print("killed", time.time(), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    fit(make(), X, y, 10**6, callbacks=[LambdaCallback(on_epoch_end=kill)])


def spin(path):
    X, y, weight = data()
    net = make()

    def say(epoch, logs):
        if WORLD.rank == 0 and epoch == 0:
            print("going", flush=True)

    hooks = [LambdaCallback(on_epoch_end=say)]
    try:
        fit(net, X, y, 10**6, sample_weight=weight, callbacks=hooks)
    finally:
        if WORLD.rank == 0:
            net.save(path)


def replays(path):
    """Train as far as the network in the file came."""
    X, y, weight = data()
    net, end = make(), Network.load(path)
    if end.epoch:
        fit(net, X, y, end.epoch, sample_weight=weight)
    while net.cursor < end.cursor:
        fit(net, X, y, 1, sample_weight=weight, resume=net.cursor > 0, time_limit=1e-9)
    return [net.step, end.step, _digest(net), _digest(end)]


def breaks():
    """Rank 1 fails in the middle of an exchange."""
    from fastnn._core.training.ranks import Ranks

    X, y, _ = data()
    add = Ranks._add_up

    def fail(*arguments):
        if WORLD.rank == 1:
            raise MemoryError("no room for what comes in")
        add(*arguments)

    Ranks._add_up = fail
    fit(make(), X, y)


def threads():
    net, (X, y, _) = make(), data()
    seen = set()
    watch = LambdaCallback(on_epoch_begin=lambda *_: seen.add(net.num_threads))
    fit(net, X, y, 1, callbacks=[watch])
    after = net.num_threads == fastnn.get_num_threads()
    own = make(num_threads=2)
    watch = LambdaCallback(on_epoch_begin=lambda *_: seen.add(-own.num_threads))
    fit(own, X, y, 1, callbacks=[watch])
    return WORLD.allgather([sorted(seen), after]), fastnn.get_num_threads()


if __name__ == "__main__":
    # A shell without job control makes what it runs in the background deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    result = globals()[sys.argv[1]](*sys.argv[2:])
    if WORLD.rank == 0:
        print(json.dumps(result), flush=True)
