"""The recipes "realmlp-s" and "realmlp" are RealMLP-TD-S and -TD of the paper."""

from dataclasses import replace

import numpy as np
import pytest

from fastnn import Network
from fastnn._core.training.calibration import at_temperature, fit_temperature
from fastnn._core.training.recipe import (
    Data,
    Job,
    fit_models,
    outputs_of,
    split_rows,
)
from fastnn._core.training.start import fit_start
from fastnn._plan.recipes import RECIPES, RealMLP, Size
from fastnn.network import model_of, network_of
from fastnn.schedules import CosLog, FlatCosine

RNG = np.random.default_rng(0)
N, K = 120, 5
X = RNG.normal(size=(N, K))
LABELS = (X[:, 0] + 0.5 * RNG.normal(size=N) > 0).astype(np.int64) + (X[:, 1] > 1)
VALUES = X[:, 0] * X[:, 1] + 0.1 * RNG.normal(size=N)
SMALL = RealMLP(epochs=3, batch_size=32, width=8, depth=2)
LARGE = replace(  # masks are random: without dropout
    *RECIPES["realmlp"], epochs=3, batch_size=32, width=8, depth=2, dropout=0.0
)

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


def stages_of(net, is_value):
    """What a network consists of: kind, arrays, factors of the rate and of decay."""
    stages = []
    layers = [layer for layer in net.plan.layers if layer.has_parameters]
    for layer, pair in zip(layers, net.get_weights(), strict=True):
        first, second = (array.copy() for array in pair)
        if layer.name == "periodic_embedding":
            n = layer.frequencies
            arrays = [first[:, 0], first[:, 1:], second[:n], second[n:]]
            stages.append(("cosines", arrays, [0.1] * 4, [0.01] * 4))
        elif layer.name == "scale":
            stages.append(("scale", [first], [6.0], [36.0]))
        elif layer.name == "dense":  # W of deviation 1
            arrays = [first * len(first) ** 0.5, second]
            stages.append(("dense", arrays, [1.0, 0.1], [1.0, 0.0]))
            if layer.activation != "identity":
                stages.append(("activation", [np.ones(layer.units)], [0.0], [0.0]))
        else:
            stages.append(("activation", [first], [0.1], [0.01]))
    return stages


def outputs_and_gradients(stages, x, d_outputs_of, is_value):
    """The outputs, and the gradients of all arrays of the stages."""
    kept = []
    for kind, arrays, *_ in stages:
        kept.append(x)
        if kind == "cosines":
            w, into, phases, biases = arrays
            n = w.shape[1]
            u = 2 * np.pi * x[:, None, :n] * w + phases
            e = np.einsum("mfk,fsk->mks", np.cos(u), into) + biases.T
            e = np.concatenate([e, x[:, :n, None]], axis=2).reshape(len(x), -1)
            x = np.concatenate([e, x[:, n:]], axis=1)
        elif kind == "scale":
            x = x * arrays[0]
        elif kind == "dense":
            x = x @ arrays[0] / len(arrays[0]) ** 0.5 + arrays[1]
        else:
            x = x + arrays[0] * (activate(x, is_value)[0] - x)
    g, gradients = d_outputs_of(x), []
    for (kind, arrays, *_), below in zip(stages[::-1], kept[::-1], strict=True):
        if kind == "cosines":
            w, into, phases, _ = arrays
            n, m = w.shape[1], into.shape[1] + 1
            own = g[:, : n * m].reshape(len(g), n, m)[:, :, :-1]
            u = 2 * np.pi * below[:, None, :n] * w + phases
            du = -np.sin(u) * np.einsum("mks,fsk->mfk", own, into)
            d_w = (2 * np.pi * below[:, None, :n] * du).sum(0)
            d_into = np.einsum("mfk,mks->fsk", np.cos(u), own)
            gradients.append([d_w, d_into, du.sum(0), own.sum(0).T])
        elif kind == "scale":
            gradients.append([(g * below).sum(0)])
            g = g * arrays[0]
        elif kind == "dense":
            root = len(arrays[0]) ** 0.5
            gradients.append([below.T @ g / root, g.sum(0)])
            g = g @ arrays[0].T / root
        else:
            value, slope = activate(below, is_value)
            gradients.append([(g * (value - below)).sum(0)])
            g = g * (1 + arrays[0] * (slope - 1))
    return x, gradients[::-1]


def by_the_paper(net, X, y, is_value, epochs, batch, rate, decay=0.0):
    """The outputs after a training as the paper writes it, from a network's start."""
    stages = stages_of(net, is_value)
    params = [each for _, arrays, *_ in stages for each in arrays]
    factors = [each for _, _, rates, _ in stages for each in rates]
    decays = [each for *_, of_decay in stages for each in of_decay]
    m, v = ([np.zeros_like(p) for p in params] for _ in range(2))
    n_batches = -(-len(X) // batch)
    step = 0
    for _ in range(epochs):
        for i in range(n_batches):
            x, t = X[i * batch :][:batch], y[i * batch :][:batch]

            def d_outputs_of(z, t=t):
                if is_value:
                    return 2 * (z - t[:, None]) / len(t)
                p = np.exp(z - z.max(1, keepdims=True))
                p /= p.sum(1, keepdims=True)
                smooth = 0.9 * np.eye(z.shape[1])[t] + 0.1 / z.shape[1]
                return (p - smooth) / len(t)

            _, nested = outputs_and_gradients(stages, x, d_outputs_of, is_value)
            share = step / (epochs * n_batches)
            lr = rate * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * share))) / 2
            flat_cos = (1 + np.cos(np.pi * max(0, 2 * share - 1))) / 2
            step += 1
            for j, d in enumerate(each for group in nested for each in group):
                p = params[j]
                p *= 1 - lr * decay * flat_cos * decays[j]
                m[j] = 0.9 * m[j] + 0.1 * d
                v[j] = 0.95 * v[j] + 0.05 * d * d
                mean, root = m[j] / (1 - 0.9**step), (v[j] / (1 - 0.95**step)) ** 0.5
                p -= lr * factors[j] * mean / (root + 1e-8)
    return outputs_and_gradients(stages, X, np.zeros_like, is_value)[0]


@pytest.mark.parametrize("is_value", [False, True])
@pytest.mark.parametrize("variant", [SMALL, LARGE], ids=["realmlp-s", "realmlp"])
def test_it_trains_as_the_paper_writes_it(variant, is_value):
    variant = replace(variant, held_out=0.0)
    recipe = variant.of(Size(N, K, K - 1, 0 if is_value else 3))
    assert (recipe.batch_size, recipe.epochs) == (40, 3)
    net = Network(
        list(recipe.layers), loss=recipe.loss, optimizer=recipe.optimizer,
        dtype="float64", seed=0,
    )  # fmt: skip
    if recipe.fits_start:
        fit_start(model_of(net), X)
    y = VALUES if is_value else LABELS
    rate = variant.rates[is_value]
    expected = by_the_paper(net, X, y, is_value, 3, 40, rate, variant.weight_decay)
    start = net(X)
    net.fit(X, y, epochs=3, batch_size=40, shuffle=False, verbose=0)
    assert abs(net(X) - start).max() > 0.1
    np.testing.assert_allclose(net(X), expected, rtol=1e-7, atol=1e-9)


def test_its_size_and_start():
    (variant,) = RECIPES["realmlp-s"]
    recipe = variant.of(Size(2000, 7, 7, 2))
    # 1600 rows are 6 batches of 256, and 64 rows that are spread over these.
    assert (recipe.epochs, recipe.batch_size, recipe.held_out) == (256, 267, 0.2)
    assert recipe.optimizer.learning_rate == CosLog(0.04, 256 * 6)
    assert recipe.optimizer.weight_decay == 0.0
    assert variant.of(Size(2000, 7, 7)).optimizer.learning_rate.rate == 0.07
    net = Network(list(recipe.layers), loss=recipe.loss, seed=0)
    assert net.plan.sizes == (7, 256, 256, 256, 2)
    (s, _), (w, b), *_, (last, c) = net.get_weights()
    assert (s == 1).all()
    assert not last.any()
    assert not c.any()
    assert w.std() == pytest.approx(7**-0.5, rel=0.05)
    assert b.std() == pytest.approx(1.0, rel=0.15)
    assert variant.of(Size(100, 7, 7)).batch_size == 80


def test_the_size_of_the_larger_one():
    (variant,) = RECIPES["realmlp"]
    recipe = variant.of(Size(2000, 7, 5))
    steps = 256 * 6
    assert (recipe.epochs, recipe.batch_size, recipe.held_out) == (256, 267, 0.2)
    assert recipe.optimizer.learning_rate == CosLog(0.2, steps)
    assert recipe.optimizer.weight_decay == FlatCosine(0.02, steps)
    assert variant.of(Size(2000, 7, 5, 3)).optimizer.learning_rate.rate == 0.04
    net = Network(list(recipe.layers), loss=recipe.loss, seed=0)
    assert net.plan.widths[:4] == (7, 22, 22, 256)
    assert [layer.name for layer in net.plan.layers] == [
        "periodic_embedding", "scale",
        *["dense", "parametric_activation", "dropout"] * 3, "dense",
    ]  # fmt: skip
    drops = {layer.rate for layer in net.plan.layers if layer.name == "dropout"}
    assert drops == {FlatCosine(0.15, steps)}
    assert net.plan.layers[3].function == "mish"
    # Without numbers there is nothing to embed.
    assert variant.of(Size(2000, 7, 0)).layers[1].name == "scale"


def test_a_start_that_is_fitted_to_the_rows():
    (variant,) = RECIPES["realmlp"]
    rows = np.random.default_rng(1).normal(3.0, 5.0, (500, 4)).astype("float32")
    rows[:, 3] = 0.0
    recipe = variant.of(Size(500, 4, 2, 3))
    net, other, wider = (
        Network(list(recipe.layers), loss=recipe.loss, seed=seed) for seed in (0, 0, 1)
    )
    drawn = net.get_weights()
    for each in (net, other, wider):
        fit_start(model_of(each), rows)
    weights = net.get_weights()
    for (w, b), (v, c) in zip(weights, other.get_weights(), strict=True):
        np.testing.assert_array_equal(w, v)
        np.testing.assert_array_equal(b, c)
    places = [
        place
        for place, index in enumerate(net.plan.parametric_layers)
        if net.plan.layers[index].name == "dense"
    ]
    for place in range(len(weights)):
        (w, b), (v, c) = weights[place], drawn[place]
        if place not in places:
            np.testing.assert_array_equal(w, v)
            np.testing.assert_array_equal(b, c)
            continue
        # Of each unit, the weights drawn times a factor, so that the deviation is 1.
        np.testing.assert_allclose(w / v, np.broadcast_to(w[:1] / v[:1], v.shape), 1e-4)
        layers = list(recipe.layers)[: net.plan.parametric_layers[place] + 2]
        part = Network(layers, loss="mse", seed=0)
        part.set_weights([*weights[:place], (w, 0 * b)])
        z = part(rows)
        np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-4)
        assert ((-b >= z.min(axis=0)) & (-b <= z.max(axis=0))).all()
        # The mean of five with random shares has a deviation of sqrt(1/3) of one.
        if len(b) > 100:
            spread = (z.mean(axis=0) + b).std()
            assert spread == pytest.approx(3**-0.5, rel=0.2)
    assert not np.array_equal(wider.get_weights()[2][1], weights[2][1])


def job_of(**options):
    options = {"variants": (SMALL,), "n_classes": 3, **options}
    return Job(
        n_numeric=K, seconds=np.inf, n_threads=1, network_of=network_of, **options
    )


@pytest.mark.filterwarnings("ignore:the temperature of")
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


@pytest.mark.filterwarnings("ignore:the temperature of")
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


def test_a_temperature_of_few_rows_warns():
    p, labels = np.full((49, 2), 0.5), np.zeros(49, int)
    with pytest.warns(UserWarning, match="temperature .* is that of 49 rows, too few"):
        fit_temperature(p, labels, None)
    data = Data(X[:4].astype("float32"), LABELS[:4] % 2, None)
    with pytest.warns(UserWarning, match="is that of 0 rows"):
        found = fit_models(job_of(n_classes=2, calibrates=True), data, [None], [0])
    assert found.temperature == 1.0
