"""Networks to PyTorch and back, and state_dict both ways."""

import pickle

import numpy as np
import pytest
from engines import relative_distance
from helpers import same_bits
from interchange import all_layers, all_nets, make_net, make_rows, plain_layers

from fastnn import BatchNorm, Dense, Dropout, Network

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from fastnn.torch import from_torch, to_torch  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def outputs(module, X):
    with torch.no_grad():
        return module(torch.tensor(X)).numpy()


@pytest.mark.parametrize("layers", [plain_layers, all_layers])
def test_every_network_agrees_and_comes_back(layers):
    for net in all_nets(layers):
        X = make_rows(net)
        module = to_torch(net)
        expected = net.decision_function(X)
        found = outputs(module, X)
        assert found.dtype == expected.dtype
        assert relative_distance(found, expected) <= 1e-6, net
        same = from_torch(module, loss=net.plan.loss)
        assert same.plan.layers == net.plan.layers
        assert (same.predict_proba(X) == net.predict_proba(X)).all()


@pytest.mark.parametrize("layers", [plain_layers, all_layers])
def test_state_dict_goes_both_ways(layers):
    for dtype in ("float32", "float64"):
        net = make_net(layers("gelu", 3), dtype=dtype)
        module = to_torch(Network(layers("gelu", 3), dtype=dtype, seed=5))
        state = {name: torch.tensor(array) for name, array in net.state_dict().items()}
        missing, unexpected = module.load_state_dict(state, strict=False)
        assert not unexpected
        assert all(name.endswith("num_batches_tracked") for name in missing)
        X = make_rows(net)
        expected = net.decision_function(X)
        assert relative_distance(outputs(module, X), expected) <= 1e-6
        other = Network(layers("gelu", 3), dtype=dtype, seed=7)
        other.load_state_dict(module.state_dict())
        assert same_bits(other.state_dict(), net.state_dict())


def test_the_input_scaling_is_no_part_of_the_state():
    net = make_net([6, 8, 3], input_scale=0.5, input_shift=100.0)
    module = to_torch(net)
    assert list(module.state_dict()) == list(net.state_dict())
    assert list(dict(module.named_children())) == ["input", "0", "1", "2"]
    same = pickle.loads(pickle.dumps(module))
    X = make_rows(net)
    assert (outputs(same, X) == outputs(module, X)).all()


def test_frozen_layers_stay_frozen():
    layers = [6, Dense(8, trainable=False), BatchNorm("relu", trainable=False), 3]
    net = make_net(layers)
    module = to_torch(net)
    assert [p.requires_grad for p in module.parameters()] == [False] * 4 + [True] * 2
    assert from_torch(module).plan.layers == net.plan.layers
    assert not module.training


def test_a_trained_module_is_taken():
    torch.manual_seed(0)
    X, y = torch.randn(64, 6), torch.randint(3, (64,))
    module = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU()),
        nn.Dropout(0.25),
        nn.Identity(),
        nn.Linear(8, 3, bias=False),
    )
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(X), y).backward()
        optimizer.step()
    module.eval()
    net = from_torch(module, loss="softmax_cross_entropy", seed=1)
    assert net.plan.layers == (
        Dense(8),
        BatchNorm("relu"),
        Dropout(0.25),
        Dense(3, use_bias=False),
    )
    found = net.decision_function(X.numpy())
    assert relative_distance(found, outputs(module, X.numpy())) <= 1e-6
    before = net.evaluate(X.numpy(), y.numpy())["loss"]
    net.fit(X.numpy(), y.numpy(), epochs=20, verbose=0)
    assert net.evaluate(X.numpy(), y.numpy())["loss"] < before


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (nn.Softmax(dim=-1), "softmax_cross_entropy"),
        (nn.LogSoftmax(dim=1), "softmax_cross_entropy"),
        (nn.Sigmoid(), "binary_cross_entropy"),
        (nn.Tanh(), "mse"),
    ],
)
def test_the_last_module_tells_the_loss(last, loss):
    module = nn.Sequential(nn.Linear(4, 3), last).eval()
    net = from_torch(module)
    assert net.plan.loss.name == loss
    X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    expected = outputs(module, X)
    if isinstance(last, nn.LogSoftmax):
        expected = np.exp(expected)
    assert relative_distance(net.predict_proba(X), expected) <= 1e-6


def test_activations_that_no_layer_precedes():
    X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    for module in (
        nn.Sequential(nn.LayerNorm(4), nn.Tanh(), nn.SiLU(), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.ReLU(), nn.Linear(3, 2)),
    ):
        net = from_torch(module.eval())
        assert relative_distance(net.predict(X), outputs(module, X)) <= 1e-6


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Linear(4, 3), "module must be a torch.nn.Sequential, got Linear"),
        (
            nn.Sequential(nn.Linear(4, 3), nn.PReLU()),
            r"module 1 \(PReLU\): expected one",
        ),
        (nn.Sequential(nn.Linear(4, 3), nn.Conv1d(3, 3, 1)), r"module 1 \(Conv1d\)"),
        (
            nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3)),
            "expects 4 columns, but is giv",
        ),
        (
            nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=0)),
            "dim is 0; expected 1 or -1",
        ),
        (nn.Sequential(nn.Linear(4, 3), nn.Softplus(beta=2)), "beta is 2"),
        (nn.Sequential(nn.Linear(4, 3), nn.ELU(-1.0)), "alpha must be"),
        (nn.Sequential(nn.Linear(4, 3), nn.LayerNorm((2, 3))), "normalized_shape is"),
        (nn.Sequential(nn.BatchNorm1d(4, momentum=None)), "and a momentum"),
        (nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)), "track_running"),
        (
            nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(dim=1), nn.ReLU()),
            "it follows Log",
        ),
        (nn.Sequential(nn.Flatten(0), nn.Linear(4, 3)), "expected start_dim=1"),
        (nn.Sequential(nn.Dropout(0.5)), "there is no dense layer"),
        (nn.Sequential(nn.ReLU(), nn.Linear(4, 3)), "number of columns is not known"),
    ],
)
def test_what_fastnn_does_not_have_is_named(module, message):
    with pytest.raises((TypeError, ValueError), match=message):
        from_torch(module)


def test_weights_that_are_not_finite_are_refused():
    module = nn.Sequential(nn.Linear(4, 3))
    with torch.no_grad():
        module[0].weight[1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"W of weights\[0\] is nan at \(2, 1\)"):
        Network.from_torch(module)


def test_a_module_in_several_places_is_a_layer_in_each():
    X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    relu, square = nn.ReLU(), nn.Linear(4, 4).requires_grad_(False)
    block = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    for module, layers in (
        (
            nn.Sequential(
                nn.Linear(4, 8), relu, nn.Linear(8, 8), relu, nn.Linear(8, 3)
            ),
            (Dense(8, "relu"), Dense(8, "relu"), Dense(3)),
        ),
        (
            nn.Sequential(square, square, nn.Linear(4, 3)),
            (Dense(4, trainable=False), Dense(4, trainable=False), Dense(3)),
        ),
        (nn.Sequential(block, block), (Dense(4, "tanh"),) * 2),
    ):
        net = from_torch(module)
        assert net.plan.layers == layers
        assert relative_distance(net.predict(X), outputs(module, X)) <= 1e-6


class Doubled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


class Named(nn.Sequential):
    """A subclass that computes the same."""


def hooked(module, kind="forward"):
    getattr(module, f"register_{kind}_hook")(lambda *arguments: None)
    return module


def own_forward():
    linear = nn.Linear(4, 3)
    linear.forward = lambda x: x
    return nn.Sequential(linear)


def test_modules_that_compute_something_else_are_refused():
    linear = nn.Linear(4, 3)
    for module, message in (
        (Doubled(linear), r"module \(Doubled\) has a forward of its own"),
        (nn.Sequential(Doubled(linear)), r"module 0 \(Doubled\): expected one of"),
        (hooked(nn.Sequential(linear)), r"module \(Sequential\) has forward hooks"),
        (
            nn.Sequential(nn.Sequential(hooked(nn.Linear(4, 3), "forward_pre"))),
            r"module 0.0 \(Linear\) has forward hooks",
        ),
        (own_forward(), r"module 0 \(Linear\) has a forward of its own"),
    ):
        with pytest.raises(TypeError, match=message):
            from_torch(module)
    assert from_torch(Named(linear)).plan.sizes == (4, 3)


def test_softplus_below_a_threshold_is_refused():
    with pytest.raises(ValueError, match=r"1 \(Softplus\): threshold is 0.1; expected"):
        from_torch(nn.Sequential(nn.Linear(4, 3), nn.Softplus(threshold=0.1)))
    net = from_torch(nn.Sequential(nn.Linear(4, 3), nn.Softplus()))
    assert net.plan.layers[0].activation == "softplus"


def test_log_softmax_allows_one_loss_and_what_does_nothing_after_it():
    linear, last = nn.Linear(4, 3), nn.LogSoftmax(dim=1)
    with pytest.raises(ValueError, match="LogSoftmax, which the loss 'mse' does not"):
        from_torch(nn.Sequential(linear, last), loss="mse")
    module = nn.Sequential(linear, last, nn.Identity(), nn.Dropout(0.5)).eval()
    net = from_torch(module, loss="softmax_cross_entropy")
    X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    expected = np.exp(outputs(module, X))
    assert relative_distance(net.predict_proba(X), expected) <= 1e-6


def test_weights_without_values_and_half_frozen_layers_are_refused():
    with pytest.raises(ValueError, match=r"module 0 \(Linear\): .* device meta"):
        from_torch(nn.Sequential(nn.Linear(4, 3, device="meta")))
    module = nn.Sequential(nn.Linear(4, 3))
    module[0].bias.requires_grad_(False)
    with pytest.raises(ValueError, match=r"module 0 \(Linear\): requires_grad is"):
        from_torch(module)


def test_networks_of_bfloat16_have_their_float32_weights():
    net = make_net(all_layers("gelu", 3), dtype="bfloat16", backend="numpy")
    same = make_net(all_layers("gelu", 3))
    X = make_rows(net)
    module = to_torch(net)
    found = outputs(module, X)
    assert found.dtype == np.float32
    assert relative_distance(found, same.decision_function(X)) <= 1e-6
    net.load_state_dict(module.state_dict())
    assert same_bits(net.state_dict(), same.state_dict())
    again = from_torch(module, dtype="bfloat16", backend="numpy")
    assert (again.decision_function(X) == net.decision_function(X)).all()
