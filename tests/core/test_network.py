"""`Network` apart from training: construction, prediction, weights, description."""

import copy
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import same_bits, training_state

import fastnn
from fastnn import BatchNorm, Dense, Dropout, Network

# --- the package ----------------------------------------------------------------------


def test_every_public_name_is_there():
    for name in fastnn.__all__:
        assert getattr(fastnn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fastnn.nothing


def test_an_unbuilt_folder_says_what_to_run(tmp_path):
    source = Path(fastnn.__file__).parent
    package = tmp_path / "fastnn"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("*.so"))
    done = subprocess.run(
        [sys.executable, "-c", "import fastnn"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        f"ImportError: fastnn is not built in {str(package)!r}. Run `pip install -e .` "
        "in the source folder; or, if fastnn is installed, start Python from another "
        "folder."
    )


# --- construction ---------------------------------------------------------------------


def test_ints_and_layers_describe_the_same_network(make_net):
    a = make_net([4, 8, 3])
    b = make_net([4, Dense(8, "relu"), Dense(3)])
    assert a.plan == b.plan
    assert same_bits(a.get_weights(), b.get_weights())
    assert a.n_parameters == 4 * 8 + 8 + 8 * 3 + 3


def test_the_properties_of_a_new_network(make_net, backend):
    net = make_net(seed=7, dtype="float64", num_threads=1)
    assert net.seed == 7
    assert net.dtype == np.float64
    assert net.backend == backend
    assert (net.step, net.epoch, net.cursor) == (0, 0, 0)
    assert net.num_threads == 1
    assert net.optimizer == fastnn.Adam()
    assert net.stop_training is False


def test_without_a_seed_networks_differ_and_tell_their_seed(backend):
    a, b = (Network([4, 3], backend=backend) for _ in range(2))
    assert a.seed != b.seed
    again = Network([4, 3], backend=backend, seed=a.seed)
    assert same_bits(a.get_weights(), again.get_weights())


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"layers": [4]}, ValueError, "layers"),
        ({"layers": [4, 0]}, ValueError, r"layers\[1\]"),
        ({"loss": "mean"}, ValueError, "loss"),
        ({"optimizer": "best"}, ValueError, "optimizer"),
        ({"dtype": "float16"}, ValueError, "dtype"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": 2**64}, ValueError, "seed"),
        ({"seed": 1.0}, TypeError, "seed"),
        ({"backend": "cuda"}, ValueError, "backend must be one of 'native', 'numpy'"),
        ({"num_threads": 0}, ValueError, "num_threads"),
        ({"num_threads": "2"}, TypeError, "num_threads"),
        ({"input_scale": [1, 2]}, ValueError, "input_scale has shape"),
        ({"input_shift": np.inf}, ValueError, "input_shift is inf"),
    ],
)
def test_construction_is_refused(arguments, error, text):
    arguments = {"layers": [4, 3], **arguments}
    with pytest.raises(error, match=text):
        Network(arguments.pop("layers"), **arguments)


# --- prediction -----------------------------------------------------------------------


def logits_by_hand(net, X):
    (w1, b1), (w2, b2) = net.get_weights()
    return np.maximum(X @ w1 + b1, 0) @ w2 + b2


def test_predictions_are_those_of_the_formula(make_net, blobs):
    X = blobs[0].astype(np.float64)
    net = make_net(dtype="float64")
    z = logits_by_hand(net, X)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(net.decision_function(X), z, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(net.predict_proba(X), p, rtol=1e-12)
    assert net.predict(X).dtype == np.int64
    assert net.predict(X).tolist() == z.argmax(axis=1).tolist()


def test_one_row_is_the_row_of_many(make_net, blobs):
    X = blobs[0]
    for net in (make_net(), make_net(input_scale=0.5, input_shift=[0, 1, 2, 3])):
        one = net.predict_one(X[3])
        assert one.shape == (3,)
        assert one.dtype == np.float32
        assert same_bits(one, net.predict_proba(X[3:4])[0])


def test_predict_one_writes_to_out(make_net, blobs):
    net, x = make_net(), blobs[0][0]
    out = np.empty(3, np.float32)
    assert net.predict_one(x, out) is out
    assert same_bits(out, net.predict_one(x))
    readonly = np.empty(3, np.float32)
    readonly.setflags(write=False)
    shared = np.zeros(7, np.float32)
    for bad, error in [
        (np.empty(3), TypeError),
        (np.empty(4, np.float32), ValueError),
        (np.empty(6, np.float32)[::2], ValueError),
        (readonly, ValueError),
        ([0, 0, 0], TypeError),
    ]:
        with pytest.raises(error, match="out"):
            net.predict_one(x, bad)
    with pytest.raises(ValueError, match="out"):
        net.predict_one(shared[:4], shared[3:6])


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "decision_function", "predict_one"]
)
def test_bad_input_is_refused_by_name(make_net, method):
    net = make_net()
    one = method == "predict_one"
    name = "x" if one else "X"
    good = np.zeros(4) if one else np.zeros((2, 4))
    bad_values = good.copy()
    bad_values[..., 2] = np.nan
    for bad, error in [
        (bad_values, ValueError),
        (np.zeros(5) if one else np.zeros((2, 5)), ValueError),
        (np.zeros((1, 1, 4)), ValueError),
        (good.astype(complex), TypeError),
        (good.astype(object), TypeError),
    ]:
        with pytest.raises(error, match=rf"\b{name}\b"):
            getattr(net, method)(bad)


def test_evaluate_and_score_are_weighted_means(make_net, blobs):
    X, y = blobs
    net = make_net(dtype="float64")
    weight = np.linspace(0, 2, 60)
    z = logits_by_hand(net, X.astype(np.float64))
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    loss = -np.average(log_p[np.arange(60), y], weights=weight)
    accuracy = np.average(z.argmax(axis=1) == y, weights=weight)
    result = net.evaluate(X, y, sample_weight=weight)
    assert sorted(result) == ["accuracy", "loss"]
    np.testing.assert_allclose(result["loss"], loss, rtol=1e-12)
    np.testing.assert_allclose(result["accuracy"], accuracy, rtol=1e-12)
    assert net.score(X, y, sample_weight=weight) == result["accuracy"]
    assert net.score(X, y) == (net.predict(X) == y).mean()


@pytest.mark.parametrize("method", ["evaluate", "score", "loss_and_gradients"])
def test_rows_are_checked_everywhere(make_net, blobs, method):
    X, y = blobs
    call = getattr(make_net(), method)
    with pytest.raises(ValueError, match=r"y\[0\] is 3"):
        call(X, y + 3)
    with pytest.raises(ValueError, match=r"X\[0, 0\] is nan"):
        call(X * np.nan, y)
    with pytest.raises(ValueError, match="sample_weight has shape"):
        call(X, y, np.ones(5))


# --- one step -------------------------------------------------------------------------


def test_train_on_batch_is_a_step_of_sgd_on_the_gradients(make_net, blobs):
    X, y = blobs
    net = make_net(dtype="float64", optimizer=fastnn.SGD(0.1))
    weight = np.linspace(0, 2, 60)
    before = net.get_weights()
    loss, gradients = net.loss_and_gradients(X, y, weight)
    assert net.step == 0
    assert net.train_on_batch(X, y, weight) == pytest.approx(loss, rel=1e-12)
    assert net.step == 1
    for (w0, b0), (dw, db), (w1, b1) in zip(
        before, gradients, net.get_weights(), strict=True
    ):
        np.testing.assert_allclose(w1, w0 - 0.1 * dw, rtol=1e-12)
        np.testing.assert_allclose(b1, b0 - 0.1 * db, rtol=1e-12)


def test_a_refused_step_changes_nothing(make_net, blobs):
    X, y = blobs
    net = make_net()
    before = training_state(net)
    for arguments in [
        (X * np.nan, y),
        (X, y + 1),
        (X, y, -np.ones(60)),
        (X[:0], y[:0]),
        (X[:, :2], y),
    ]:
        with pytest.raises(ValueError):
            net.train_on_batch(*arguments)
    assert same_bits(before, training_state(net))


def test_a_new_optimizer_keeps_the_state_it_can_use(make_net, blobs):
    net = make_net()
    net.fit(*blobs, epochs=2, verbose=0)
    state = net._model.engine.get_optimizer_state()
    net.optimizer = fastnn.Adam(1e-4)
    assert net.optimizer == fastnn.Adam(1e-4)
    assert same_bits(state, net._model.engine.get_optimizer_state())
    assert net.step > 0
    net.optimizer = "sgd"
    assert net.plan.optimizer == fastnn.SGD()
    assert net.step == 0
    net.fit(*blobs, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="optimizer"):
        net.optimizer = "best"


def test_a_new_optimizer_is_no_reason_to_warn_of_the_layers_again(make_net):
    with pytest.warns(UserWarning, match="the last one, has activation 'relu'"):
        net = make_net([4, 8, Dense(3, "relu")])
    net.optimizer = fastnn.Adam(1e-4)
    assert net.optimizer == fastnn.Adam(1e-4)
    net = make_net([4, 8, Dropout(0.5), 3])
    with pytest.raises(ValueError, match=r"layers\[1\] is Dropout.*LBFGS"):
        net.optimizer = fastnn.optimizers.LBFGS()


def test_a_second_fit_goes_on_with_the_schedule(make_net, blobs):
    schedule = fastnn.schedules.Step(0.1, interval=1, factor=0.5)
    net = make_net(optimizer=fastnn.SGD(schedule))
    net.fit(*blobs, epochs=1, batch_size=60, verbose=0)
    assert net.step == 1
    gradients = net.loss_and_gradients(*blobs)[1]
    before = net.get_weights()
    net.fit(*blobs, epochs=1, batch_size=60, shuffle=False, verbose=0)
    step = before[0][0] - net.get_weights()[0][0]
    np.testing.assert_allclose(step, 0.05 * gradients[0][0], atol=1e-6)


def test_every_prediction_of_quantities_is_the_values(make_net, blobs):
    X = blobs[0]
    for loss, values_of in [("mse", np.asarray), ("poisson", np.exp)]:
        net = make_net(loss=loss)
        values = net.predict(X)
        assert same_bits(values, net.predict_proba(X))
        assert same_bits(values[3], net.predict_one(X[3].astype("f4")))
        raw = net.decision_function(X)
        np.testing.assert_allclose(values, values_of(raw), rtol=1e-5)


def test_gradients_are_those_of_the_next_update(make_net, blobs):
    X, y = blobs
    layers = [4, Dense(8), BatchNorm("relu"), Dropout(0.5), 3]
    net = make_net(layers, optimizer=fastnn.SGD(0.1), dtype="float64")
    before = training_state(net), net.state_dict()
    loss, gradients = net.loss_and_gradients(X, y)
    assert same_bits(before, (training_state(net), net.state_dict()))
    assert net.evaluate(X, y)["loss"] != pytest.approx(loss, rel=1e-3)
    weights = net.get_weights()
    assert net.train_on_batch(X, y) == pytest.approx(loss, rel=1e-12)
    for old, new, (dW, _) in zip(weights, net.get_weights(), gradients, strict=True):
        np.testing.assert_allclose(new[0], old[0] - 0.1 * dW, rtol=1e-9, atol=1e-12)


# --- weights --------------------------------------------------------------------------


def test_weights_are_copies_both_ways(make_net):
    a, b = make_net(seed=1), make_net(seed=2)
    weights = a.get_weights()
    b.set_weights(weights)
    assert same_bits(a.get_weights(), b.get_weights())
    for pair in weights:
        for array in pair:
            array[...] = 99.0
    assert same_bits(a.get_weights(), b.get_weights())
    assert not same_bits(a.get_weights(), weights)


def test_refused_weights_change_nothing(make_net):
    net = make_net()
    before = net.get_weights()
    bad = net.get_weights()
    bad[1][0][0, 0] = np.inf
    with pytest.raises(ValueError, match=r"W of weights\[1\] is inf at \(0, 0\)"):
        net.set_weights(bad)
    with pytest.raises(ValueError, match="weights has 1 entries"):
        net.set_weights(before[:1])
    assert same_bits(before, net.get_weights())


def test_state_dict_is_that_of_pytorch(make_net, blobs):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    net = make_net()
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    )
    state = net.state_dict()
    model.load_state_dict({name: torch.tensor(a) for name, a in state.items()})
    expected = model(torch.tensor(blobs[0])).detach().numpy()
    np.testing.assert_allclose(net.decision_function(blobs[0]), expected, atol=1e-5)
    other = make_net(seed=1)
    other.load_state_dict(model.state_dict())
    assert same_bits(other.get_weights(), net.get_weights())


def test_state_dict_skips_no_place_without_an_activation(make_net):
    net = make_net([4, Dense(5), Dense(6, "relu"), Dense(3)])
    assert list(net.state_dict()) == [
        f"{i}.{kind}" for i in (0, 1, 3) for kind in ("weight", "bias")
    ]


def test_the_statistics_of_a_state_dict_are_checked_by_name(make_net):
    net = make_net([4, Dense(5, use_bias=False), BatchNorm("relu"), 3])
    state = net.state_dict()
    assert list(state)[:5] == [
        "0.weight", *(f"1.{each}" for each in ("weight", "bias")),
        "1.running_mean", "1.running_var",
    ]  # fmt: skip
    for name, value, message in [
        ("1.running_var", -np.ones(5), "has negative values"),
        ("1.running_var", np.ones((5, 1)), "has shape"),
        ("1.running_mean", np.full(5, np.inf), "is inf at"),
        ("1.weight", np.ones(4), "has shape"),
    ]:
        with pytest.raises(ValueError, match=rf"state\['{name}'\] {message}"):
            net.load_state_dict({**state, name: value})
    assert same_bits(state, net.state_dict())
    net.load_state_dict({**state, "1.running_var": np.full(5, 4.0)})
    assert (net.state_dict()["1.running_var"] == 4).all()


def test_a_refused_state_dict_changes_nothing(make_net):
    net = make_net()
    before = net.get_weights()
    state = net.state_dict()
    with pytest.raises(ValueError, match=r"state has the names .*; expected \['0.wei"):
        net.load_state_dict({**state, "1.weight": state["0.weight"]})
    shapes = r"state\['0.weight'\] has shape \(4, 8\); expected \(8, 4\)"
    with pytest.raises(ValueError, match=shapes):
        net.load_state_dict({**state, "0.weight": state["0.weight"].T})
    weight = state["2.weight"].copy()
    weight[1, 5] = np.nan
    with pytest.raises(ValueError, match=r"state\['2.weight'\] is nan at \(1, 5\)"):
        net.load_state_dict({**state, "2.weight": weight})
    with pytest.raises(ValueError, match=r"state\['2.bias'\] has shape \(1,\)"):
        net.load_state_dict({**state, "2.bias": [1.0]})
    with pytest.raises(TypeError, match="state must be a dict"):
        net.load_state_dict(list(state.items()))
    assert same_bits(before, net.get_weights())


# --- description and copies -----------------------------------------------------------


def test_summary_is_a_table(make_net):
    lines = make_net([784, 128, 10]).summary().splitlines()
    assert lines == [
        "layer  type   inputs  outputs  activation  parameters",
        "0      dense     784      128  relu           100,480",
        "1      dense     128       10  identity         1,290",
        "101,770 parameters (float32, 0.41 MB), softmax_cross_entropy, adam",
    ]


def test_repr_makes_the_same_network(make_net):
    net = make_net(optimizer=fastnn.SGD(0.1, momentum=0.9), dtype="float64", seed=5)
    again = eval(repr(net), vars(fastnn).copy())
    assert again.plan == net.plan
    assert same_bits(again.get_weights(), net.get_weights())


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))]
)
def test_a_copy_goes_on_like_the_original(make_net, blobs, duplicate):
    net = make_net(input_scale=0.5, num_threads=1)
    net.fit(*blobs, epochs=2, verbose=0)
    twin = duplicate(net)
    assert (twin.backend, twin.num_threads) == (net.backend, net.num_threads)
    assert same_bits(training_state(net), training_state(twin))
    for each in (net, twin):
        each.fit(*blobs, epochs=2, verbose=0)
    assert same_bits(training_state(net), training_state(twin))
    net.train_on_batch(*blobs)
    assert twin.step == net.step - 1  # nothing is shared


def test_a_damaged_pickle_is_refused(make_net):
    net = make_net()
    state = net.__getstate__()
    state["model"] = state["model"][:-1]
    with pytest.raises(fastnn.ModelFormatError):
        Network.__new__(Network).__setstate__(state)
