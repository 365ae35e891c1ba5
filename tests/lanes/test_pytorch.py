"""Gradients, updates and whole trainings against PyTorch, in float64."""

from dataclasses import replace

import numpy as np
import pytest
from activations import ACTIVATIONS
from cases import factors
from engines import ENGINES, batch, data_for, flat, make_engine, relative_distance
from samples import EXTRAS, LOSSES, NETWORKS, OPTIMIZERS, SCHEDULES

from fastnn import SGD, AdamW, BatchNorm, Dense, Dropout, LayerNorm, NAdam

torch = pytest.importorskip("torch", reason="PyTorch is one of the oracles")
pytorch = pytest.importorskip("pytorch")

pytestmark = pytest.mark.filterwarnings("ignore:.*expects raw outputs:UserWarning")

# One at a time is what the optimizers' tests against the reference are for.
SOME_EXTRAS = [
    extra if extra in ("plain", "all") else pytest.param(extra, marks=pytest.mark.slow)
    for extra in EXTRAS
]


@pytest.fixture(autouse=True)
def float64_on_one_thread():
    """Also of the products of momenta that NAdam keeps in the default dtype."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)


CURVE = 1e-8
STATE = 1e-10


def assert_close(found, tensors, allowed):
    for array, tensor in zip(flat(found), flat(tensors), strict=True):
        expected = tensor.detach().numpy()
        if np.linalg.norm(expected) < 1e-12:  # a gradient that is 0 but for roundings
            assert np.linalg.norm(array) < 1e-12
        else:
            assert relative_distance(array, expected) <= allowed


def gradients_agree(backend, layers, name, **arguments):
    engine = make_engine(backend, layers, loss=LOSSES[name][0], **arguments)
    twin = pytorch.Twin(engine)
    data = data_for(engine, 31, name, weighted=True)
    loss, gradients = engine.loss_and_gradients(*data)
    assert loss == pytest.approx(twin.backward(*data), rel=1e-12, abs=1e-12)
    assert_close(gradients, twin.gradients(), 1e-10)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_gradients(backend, activation, name):
    n_outputs = LOSSES[name][1]
    gradients_agree(
        backend, [4, Dense(19, activation), Dense(n_outputs, activation)], name
    )


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
@pytest.mark.parametrize("norm", [BatchNorm, LayerNorm])
def test_gradients_of_norms(backend, norm, activation):
    layers = [4, Dense(19, "tanh"), norm(activation), Dense(7, "tanh"), Dense(3)]
    gradients_agree(backend, layers, "softmax_cross_entropy")


def train_all(layers, name="softmax_cross_entropy", **arguments):
    """100 steps: each loss, the state after the first step and after the last."""
    optimizer = arguments.setdefault("optimizer", SGD(0.05, 0.9))
    engines = [
        make_engine(backend, layers, loss=LOSSES[name][0], **arguments)
        for backend in ENGINES
    ]
    twin = pytorch.Twin(engines[0])
    data = data_for(engines[0], 70, name, weighted=True)
    rate = optimizer.learning_rate
    rate_at = rate if callable(rate) else lambda step: rate
    update = pytorch.Update(optimizer, twin, rate_at(0))
    for step in range(100):
        rows = batch(data, step)
        expected = twin.backward(*rows)
        update.step(rate_at(step))
        for engine in engines:
            loss = engine.train_step(*rows)
            assert loss == pytest.approx(expected, rel=CURVE, abs=CURVE), step
            if step in (0, 99):
                assert_close(engine.get_weights(), twin.pairs, STATE)
    values = twin.forward(torch.tensor(data[0]), training=False).detach().numpy()
    for engine in engines:
        found = [pair for pair in engine.get_statistics() if pair is not None]
        assert_close(found, [p for p in twin.statistics if p is not None], STATE)
        logits = engine.forward(data[0], "logits")
        assert relative_distance(logits, values) <= STATE


@pytest.mark.parametrize("name", LOSSES)
def test_trainings_with_every_loss(name):
    layers = [4, Dense(19, "tanh"), Dense(9, "gelu"), Dense(LOSSES[name][1])]
    train_all(layers, name)


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_trainings_with_every_activation(activation):
    train_all([4, Dense(19, activation), Dense(9, activation), Dense(3)])


@pytest.mark.parametrize("extra", SOME_EXTRAS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_trainings_with_every_optimizer(name, extra):
    layers = [4, Dense(19, "tanh"), Dense(5, "gelu"), Dense(3)]
    optimizer = replace(OPTIMIZERS[name], **EXTRAS[extra])
    train_all(layers, optimizer=optimizer)


def test_a_training_with_a_schedule_of_the_decay():
    optimizer = AdamW(0.01, weight_decay=SCHEDULES["flat_cosine"])
    train_all([4, Dense(19, "tanh"), Dense(3)], optimizer=optimizer)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_trainings_with_factors(name):
    optimizer = replace(OPTIMIZERS[name], weight_decay=0.1)
    train_all(factors((4, 19, 5, 3), optimizer), optimizer=optimizer)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_trainings_with_every_schedule(schedule):
    optimizer = replace(OPTIMIZERS["momentum"], learning_rate=schedule)
    train_all([4, Dense(19, "tanh"), Dense(3)], optimizer=optimizer)


# PyTorch's dropout draws other masks: see test_dropout.py.
WITHOUT_DROPOUT = {
    name: layers
    for name, layers in NETWORKS.items()
    if not any(isinstance(layer, Dropout) for layer in layers)
    and name != "frozen all"  # which has no gradients
}


@pytest.mark.parametrize("layers", WITHOUT_DROPOUT.values(), ids=WITHOUT_DROPOUT)
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_trainings_with_every_layer(layers, optimizer):
    train_all(layers, optimizer=OPTIMIZERS[optimizer])


# PyTorch's own penalties, clipping and limits, where it has them.


def one_step(backend, optimizer, seed=0):
    layers = [4, Dense(19, "tanh"), Dense(3)]
    engine = make_engine(backend, layers, optimizer=optimizer, seed=seed)
    twin = pytorch.Twin(engine)
    data = data_for(engine, 12)
    twin.backward(*data)
    engine.train_step(*data)
    return engine, twin


# Weights and biases apart: only the former are penalised.
def groups(twin, **options):
    weights, biases = twin.parameters[::2], twin.parameters[1::2]
    return [{"params": weights, **options}, {"params": biases}]


OWN_DECAYS = {
    "sgd, l2": (
        SGD(0.1, 0.9, l2=0.2),
        lambda t: torch.optim.SGD(groups(t, weight_decay=0.2), 0.1, momentum=0.9),
    ),
    "adamw, decoupled": (
        AdamW(0.01, weight_decay=0.2),
        lambda t: torch.optim.AdamW(
            groups(t, weight_decay=0.2), 0.01, weight_decay=0.0
        ),
    ),
    "nadam, decoupled": (
        NAdam(0.01, weight_decay=0.2),
        lambda t: torch.optim.NAdam(
            groups(t, weight_decay=0.2), 0.01, decoupled_weight_decay=True
        ),
    ),
    "nadam, l2": (
        NAdam(0.01, l2=0.2),
        lambda t: torch.optim.NAdam(groups(t, weight_decay=0.2), 0.01),
    ),
}


@pytest.mark.parametrize("name", OWN_DECAYS)
def test_decays_of_pytorch(backend, name):
    optimizer, make = OWN_DECAYS[name]
    engine, twin = one_step(backend, optimizer)
    make(twin).step()
    assert_close(engine.get_weights(), twin.pairs, 1e-12)


def test_clipping_of_pytorch(backend):
    engine, twin = one_step(backend, SGD(0.1, clip_value=0.02, clip_norm=0.1))
    torch.nn.utils.clip_grad_value_(twin.parameters, 0.02)
    norm = torch.nn.utils.clip_grad_norm_(twin.parameters, 0.1)
    assert norm > 0.11
    torch.optim.SGD(twin.parameters, 0.1).step()
    assert_close(engine.get_weights(), twin.pairs, 1e-5)


def test_renorm_of_pytorch(backend):
    engine, twin = one_step(backend, SGD(0.1, max_norm=1.0))
    torch.optim.SGD(twin.parameters, 0.1).step()
    norms = torch.cat([torch.linalg.vector_norm(W, dim=0) for W, _ in twin.pairs])
    assert 0 < (norms > 1).sum() < len(norms)
    with torch.no_grad():
        for W, _ in twin.pairs:
            W.copy_(torch.renorm(W, 2, 1, 1.0))
    assert_close(engine.get_weights(), twin.pairs, 1e-6)
