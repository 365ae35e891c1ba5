"""The recipe "realmlp-s" is RealMLP-TD-S, as its paper describes it."""

from dataclasses import replace

import numpy as np
import pytest

from fastnn import Network
from fastnn._core.training.calibration import at_temperature
from fastnn._core.training.recipe import (
    Data,
    Job,
    fit_models,
    outputs_of,
    split_rows,
)
from fastnn._plan.recipes import RECIPES, RealMLP, Size
from fastnn.network import network_of

RNG = np.random.default_rng(0)
N, K = 120, 5
X = RNG.normal(size=(N, K))
LABELS = (X[:, 0] + 0.5 * RNG.normal(size=N) > 0).astype(np.int64) + (X[:, 1] > 1)
VALUES = X[:, 0] * X[:, 1] + 0.1 * RNG.normal(size=N)
SMALL = RealMLP(epochs=3, batch_size=32, width=8, depth=2)

SELU = 1.0507009873554805, 1.6732632423543772


def activate(x, is_value):
    """The activation and its derivative."""
    if is_value:  # Mish
        s = np.log1p(np.exp(x))
        t = np.tanh(s)
        return x * t, t + x * (1 - t * t) / (1 + np.exp(-x))
    scale, alpha = SELU
    e = alpha * np.exp(np.minimum(x, 0))
    return scale * np.where(x > 0, x, e - alpha), scale * np.where(x > 0, 1, e)


def by_the_paper(net, X, y, is_value, epochs, batch, rate):
    """The outputs after a training as the paper writes it, from a network's start."""
    (scale, _), *rest = [(w.copy(), b.copy()) for w, b in net.get_weights()]
    ws = [w * len(w) ** 0.5 for w, _ in rest]  # of deviation 1
    bs = [b for _, b in rest]
    params = [scale, *ws, *bs]
    factors = [6.0] + [1.0] * len(ws) + [0.1] * len(bs)
    m, v = ([np.zeros_like(p) for p in params] for _ in range(2))
    n_batches = -(-len(X) // batch)
    step = 0

    def forward(x):
        h, kept = x * scale, []
        for i, (w, b) in enumerate(zip(ws, bs, strict=True)):
            z = h @ w / len(w) ** 0.5 + b
            y, d = activate(z, is_value) if i < len(ws) - 1 else (z, 1.0)
            kept.append((h, d))
            h = y
        return h, kept

    for _ in range(epochs):
        for i in range(n_batches):
            x, t = X[i * batch :][:batch], y[i * batch :][:batch]
            z, kept = forward(x)
            if is_value:
                g = 2 * (z - t[:, None]) / len(x)
            else:
                p = np.exp(z - z.max(1, keepdims=True))
                p /= p.sum(1, keepdims=True)
                smooth = 0.9 * np.eye(z.shape[1])[t] + 0.1 / z.shape[1]
                g = (p - smooth) / len(x)
            dws, dbs = [], []
            for w, (h, d) in zip(ws[::-1], kept[::-1], strict=True):
                g = g * d
                dws.append(h.T @ g / len(w) ** 0.5)
                dbs.append(g.sum(0))
                g = g @ w.T / len(w) ** 0.5
            gradients = [(g * x).sum(0), *dws[::-1], *dbs[::-1]]
            share = step / (epochs * n_batches)
            lr = rate * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * share))) / 2
            step += 1
            for j, (p, d) in enumerate(zip(params, gradients, strict=True)):
                m[j] = 0.9 * m[j] + 0.1 * d
                v[j] = 0.95 * v[j] + 0.05 * d * d
                mean, root = m[j] / (1 - 0.9**step), (v[j] / (1 - 0.95**step)) ** 0.5
                p -= lr * factors[j] * mean / (root + 1e-8)
    return forward(X)[0]


@pytest.mark.parametrize("is_value", [False, True])
def test_it_trains_as_the_paper_writes_it(is_value):
    variant = replace(SMALL, held_out=0.0)
    recipe = variant.of(Size(N, K, K, 0 if is_value else 3))
    assert (recipe.batch_size, recipe.epochs) == (40, 3)
    net = Network(
        list(recipe.layers), loss=recipe.loss, optimizer=recipe.optimizer,
        dtype="float64", seed=0,
    )  # fmt: skip
    y = VALUES if is_value else LABELS
    rate = (0.04, 0.07)[is_value]
    expected = by_the_paper(net, X, y, is_value, 3, 40, rate)
    start = net(X)
    net.fit(X, y, epochs=3, batch_size=40, shuffle=False, verbose=0)
    assert abs(net(X) - start).max() > 0.1
    np.testing.assert_allclose(net(X), expected, rtol=1e-7, atol=1e-9)


def test_its_size_and_start():
    (variant,) = RECIPES["realmlp-s"]
    recipe = variant.of(Size(2000, 7, 7, 2))
    # 1600 rows are 6 batches of 256, and 64 rows that are spread over these.
    assert (recipe.epochs, recipe.batch_size, recipe.held_out) == (256, 267, 0.2)
    assert recipe.optimizer.learning_rate.steps == 256 * 6
    net = Network(list(recipe.layers), loss=recipe.loss, seed=0)
    assert net.plan.sizes == (7, 256, 256, 256, 2)
    (s, _), (w, b), *_, (last, c) = net.get_weights()
    assert (s == 1).all()
    assert not last.any()
    assert not c.any()
    assert w.std() == pytest.approx(7**-0.5, rel=0.05)
    assert b.std() == pytest.approx(1.0, rel=0.15)
    assert variant.of(Size(100, 7, 7)).batch_size == 80


def job_of(**options):
    options = {"variants": (SMALL,), "n_classes": 3, **options}
    return Job(
        n_numeric=K, seconds=np.inf, n_threads=1, network_of=network_of, **options
    )


def test_the_best_epoch_of_the_rows_held_out_is_kept():
    variant = replace(SMALL, epochs=40)
    data = Data(X.astype("float32"), LABELS, None)
    models, _, (history,), t = fit_models(
        job_of(variants=(variant,), calibrates=True), data, [None], [3]
    )
    aside, rest = split_rows(N, 0.2, 3)
    assert (len(aside), len(rest)) == (24, 96)
    best = max(history["val_accuracy"])
    assert best > history["val_accuracy"][-1] or best > min(history["val_accuracy"])
    p = outputs_of(models, data.X[aside])
    assert (p.argmax(axis=1) == LABELS[aside]).mean() == pytest.approx(best)
    # The temperature is the best one on these rows.
    losses = [
        -np.log(at_temperature(p, each)[np.arange(24), LABELS[aside]]).mean()
        for each in (t, 0.9 * t, 1.1 * t)
    ]
    assert losses[0] == min(losses)
    # Rows that are given are taken instead, and all others train.
    held_out = Data(data.X[:20], LABELS[:20], None)
    found = fit_models(
        job_of(variants=(variant,), held_out=held_out), data, [None], [3]
    )
    accuracy = (outputs_of(found.models, held_out.X).argmax(1) == LABELS[:20]).mean()
    assert accuracy == pytest.approx(max(found.histories[0]["val_accuracy"]))
    assert found.models[0].engine.step == 40 * 3


def test_a_temperature_of_rows_that_no_variant_has_seen():
    variants = tuple(
        replace(each, width=16, depth=2, frequencies=2, epochs=30)
        for each in RECIPES["default"]
    )
    rng = np.random.default_rng(1)
    noise = Data(X.astype("float32"), rng.integers(0, 3, N), None)
    options = {"variants": variants, "backend": "native"}
    plain = fit_models(job_of(**options), noise, [None], [0])
    assert plain.temperature == 1.0
    found = fit_models(job_of(**options, calibrates=True), noise, [None], [0])
    assert found.temperature > 1.5  # nothing is to be known
    for (w, b), (v, c) in zip(
        plain.models[0].engine.get_weights(),
        found.models[0].engine.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(w, v)
        np.testing.assert_array_equal(b, c)


def test_few_rows_hold_out_none():
    data = Data(X[:4].astype("float32"), LABELS[:4] % 2, None)
    found = fit_models(job_of(n_classes=2), data, [None], [0])
    assert "val_accuracy" not in found.histories[0]
