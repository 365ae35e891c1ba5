"""Gradients and training of whole networks: central differences and PyTorch."""

import numpy as np
import pytest
from networks import ALL, OPTIMIZERS, make_data, make_engine

from fastnn.activations import ACTIVATIONS, LeakyReLU
from fastnn.layers import BatchNorm, Dense, Dropout, LayerNorm
from fastnn.losses import Huber, SoftmaxCrossEntropy
from fastnn.optimizers import SGD, Adam, Lion, NAdam, RMSprop

# Central differences through everything.


def differences_of_engine(engine, *data):
    """The gradient wrt every parameter; the dropout masks stay those of the step."""
    weights = engine.get_weights()
    gradients = []
    for array in (array for pair in weights for array in pair):
        gradient = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            value, losses = array[index], []
            for shifted in (value + 1e-5, value - 1e-5):
                array[index] = shifted
                engine.set_weights(weights)
                losses.append(engine.loss_and_gradients(*data)[0])
            array[index] = value
            gradient[index] = (losses[0] - losses[1]) / 2e-5
        gradients.append(gradient)
    engine.set_weights(weights)
    return gradients


def assert_gradients_are_differences(engine, *data, trained=lambda index, part: True):
    _, gradients = engine.loss_and_gradients(*data)
    numeric = iter(differences_of_engine(engine, *data))
    for index, pair in zip(engine.plan.parametric_layers, gradients, strict=True):
        for part, analytic in enumerate(pair):
            expected = next(numeric)
            if not trained(index, part):
                assert not analytic.any()
                continue
            allowed = 1e-6 * np.maximum(abs(analytic), abs(expected)) + 1e-9
            assert (abs(analytic - expected) <= allowed).all()


@pytest.mark.parametrize(
    "loss",
    [
        SoftmaxCrossEntropy(0.1),
        "binary_cross_entropy",
        "mse",
        "mae",
        Huber(0.3),
        "poisson",
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_against_differences(loss, weighted):
    engine = make_engine(loss=loss)
    X, y = make_data(engine, 7)
    weight = np.array([1.0, 2.0, 0.0, 0.5, 1.0, 3.0, 1.0]) if weighted else None
    data = (X, y) if weight is None else (X, y, weight)
    assert_gradients_are_differences(
        engine, *data, trained=lambda index, part: (index, part) != (3, 1)
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layer", [Dense, BatchNorm, LayerNorm])
def test_gradients_of_every_activation(layer, activation):
    under = Dense(5, activation) if layer is Dense else layer(activation)
    engine = make_engine((Dense(5), under, Dense(2)), loss="mse")
    assert_gradients_are_differences(engine, *make_data(engine, 6))


@pytest.mark.parametrize("activation", ["tanh", "softmax", "gelu", "relu"])
def test_gradients_of_a_last_layer_with_an_activation(activation):
    engine = make_engine((Dense(4, "elu"), Dense(3, activation)), loss="mse")
    assert_gradients_are_differences(engine, *make_data(engine, 6))


def test_a_last_layer_may_be_any():
    for last in (Dropout(0.5), LayerNorm(), BatchNorm("tanh")):
        engine = make_engine((Dense(4), last), loss="mse")
        assert_gradients_are_differences(engine, *make_data(engine, 6))


# PyTorch.


def torch_net(torch, engine):
    """The same network in evaluation mode, without the layers of dropout."""
    net = torch.nn.Sequential()
    plan, weights = engine.plan, iter(engine.get_weights())
    double = {"dtype": torch.float64}
    for layer, statistics, width in zip(
        plan.layers, engine.get_statistics(), plan.widths[1:], strict=True
    ):
        if isinstance(layer, Dropout):
            continue
        W, b = next(weights)
        if isinstance(layer, Dense):
            module = torch.nn.Linear(*W.shape, bias=layer.use_bias, **double)
        elif isinstance(layer, LayerNorm):
            module = torch.nn.LayerNorm(width, eps=layer.epsilon, **double)
        else:
            module = torch.nn.BatchNorm1d(
                width, eps=layer.epsilon, momentum=layer.momentum, **double
            )
            module.running_mean.copy_(torch.tensor(statistics[0]))
            module.running_var.copy_(torch.tensor(statistics[1]))
        module.weight.data = torch.tensor(W.T)
        if module.bias is not None:
            module.bias.data = torch.tensor(b)
        net.append(module)
        if isinstance(layer.activation, LeakyReLU):
            net.append(torch.nn.LeakyReLU(layer.activation.slope))
        elif layer.activation != "identity":
            modules = {"tanh": "Tanh", "gelu": "GELU", "silu": "SiLU", "relu": "ReLU"}
            net.append(
                torch.nn.Softmax(dim=1)
                if layer.activation == "softmax"
                else getattr(torch.nn, modules[layer.activation])()
            )
    return net.eval()


def with_parameters(net):
    return [module for module in net if hasattr(module, "weight")]


def assert_like_torch(engine, net, rtol, atol=1e-12):
    modules = with_parameters(net)
    for (W, b), module in zip(engine.get_weights(), modules, strict=True):
        np.testing.assert_allclose(W.T, module.weight.detach().numpy(), rtol, atol)
        if module.bias is not None:
            np.testing.assert_allclose(b, module.bias.detach().numpy(), rtol, atol)
    norms = [module for module in modules if hasattr(module, "running_mean")]
    statistics = [pair for pair in engine.get_statistics() if pair is not None]
    for (mean, variance), module in zip(statistics, norms, strict=True):
        np.testing.assert_allclose(mean, module.running_mean.numpy(), rtol, atol)
        np.testing.assert_allclose(variance, module.running_var.numpy(), rtol, atol)


def torch_optimizer(torch, net, optimizer):
    """PyTorch's optimizer, with what is for weights alone in a group of its own."""
    weights, others = [], []
    for module in with_parameters(net):
        matrix = isinstance(module, torch.nn.Linear)
        (weights if matrix else others).append(module.weight)
        if module.bias is not None:
            others.append(module.bias)
    decay = optimizer.l2 or optimizer.weight_decay
    groups = [
        {"params": weights, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]
    options = {"lr": optimizer.learning_rate}
    for ours, theirs in (("epsilon", "eps"), ("rho", "alpha"), ("momentum",) * 2):
        if hasattr(optimizer, ours):
            options[theirs] = getattr(optimizer, ours)
    if hasattr(optimizer, "beta_1"):
        options["betas"] = optimizer.beta_1, optimizer.beta_2
    if isinstance(optimizer, SGD):
        options["nesterov"] = bool(optimizer.nesterov)
    if isinstance(optimizer, NAdam):
        options["decoupled_weight_decay"] = bool(optimizer.weight_decay)
        options["momentum_decay"] = optimizer.momentum_decay
    names = {"adagrad": "Adagrad", "rmsprop": "RMSprop", "nadam": "NAdam"}
    name = names.get(optimizer.name, type(optimizer).__name__)
    return getattr(torch.optim, name)(groups, **options)


WITHOUT_DROPOUT = tuple(layer for layer in ALL if not isinstance(layer, Dropout))


def test_prediction_against_torch(torch):
    engine = make_engine()
    X, _ = make_data(engine)
    net = torch_net(torch, engine)
    z = engine.forward(X, output="logits")
    np.testing.assert_allclose(z, net(torch.tensor(X)).detach().numpy(), rtol=1e-11)


OPTIONS = [
    *(each for each in OPTIMIZERS if not isinstance(each, Lion)),
    SGD(0.1, l2=0.3),
    Adam(1e-2, l2=0.3),
    RMSprop(1e-2, l2=0.2),
    NAdam(1e-2, weight_decay=0.2),
    SGD(0.1, 0.9, clip_value=0.01),
    Adam(1e-2, clip_value=0.003),
    SGD(0.1, 0.9, l2=0.3, clip_value=0.02, clip_norm=0.05),
]


@pytest.mark.parametrize("optimizer", OPTIONS, ids=repr)
@pytest.mark.parametrize("steps", [1, 30])
def test_training_against_torch(torch, optimizer, steps):
    engine = make_engine(WITHOUT_DROPOUT, optimizer=optimizer)
    net = torch_net(torch, engine).train()
    theirs = torch_optimizer(torch, net, optimizer)
    for step in range(steps):
        X, y = make_data(engine, 16, step, labels=True)
        loss = torch.nn.functional.cross_entropy(net(torch.tensor(X)), torch.tensor(y))
        theirs.zero_grad()
        loss.backward()
        if optimizer.clip_value:
            torch.nn.utils.clip_grad_value_(net.parameters(), optimizer.clip_value)
        if optimizer.clip_norm:  # theirs adds 1e-6 to the norm
            norm = torch.nn.utils.get_total_norm([p.grad for p in net.parameters()])
            limit = optimizer.clip_norm * (norm + 1e-6) / norm
            torch.nn.utils.clip_grad_norm_(net.parameters(), limit)
        theirs.step()
        assert engine.train_step(X, y) == pytest.approx(loss.item(), rel=1e-7)
    # The weights below a batch norm have a gradient of rounding errors in a direction,
    # which Adam and its relatives make as large as any other.
    assert_like_torch(engine, net, *((1e-7, 1e-7) if steps == 1 else (1e-4, 1e-5)))
