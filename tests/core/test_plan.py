import json
import warnings

import numpy as np
import pytest

from fastnn._base.errors import ModelFormatError
from fastnn._plan.plan import Plan, make_plan
from fastnn.activations import LeakyReLU, ReLU
from fastnn.initializers import Normal
from fastnn.layers import BatchNorm, Dense, Dropout, LayerNorm, Scale
from fastnn.losses import SoftmaxCrossEntropy
from fastnn.optimizers import SGD, Adam, AdamW, RMSprop
from fastnn.schedules import Cosine, Scaled, Warmup


def test_ints_are_dense_layers_with_relu_between():
    plan = make_plan([784, 128, 64, 10])
    assert plan.n_inputs == 784
    assert plan.layers == (Dense(128, "relu"), Dense(64, "relu"), Dense(10))
    assert plan.sizes == (784, 128, 64, 10)
    assert plan.n_outputs == 10
    assert plan.n_parameters == 785 * 128 + 129 * 64 + 65 * 10


def test_defaults():
    plan = make_plan([2, 3])
    assert plan.loss == SoftmaxCrossEntropy()
    assert plan.optimizer == Adam()
    assert plan.dtype == "float32"


def test_objects_are_kept():
    plan = make_plan(
        (np.int32(2), Dense(3, weight_init="zeros"), np.int64(4)),
        loss=SoftmaxCrossEntropy(0.1),
        optimizer=SGD(0.1, 0.9),
    )
    assert plan.layers == (Dense(3, weight_init="zeros"), Dense(4))
    assert plan.loss == SoftmaxCrossEntropy(0.1)
    assert plan.optimizer == SGD(0.1, 0.9)


@pytest.mark.parametrize(
    "dtype", ["float64", np.float64, np.dtype(np.float64), "f8", float]
)
def test_dtype_becomes_its_name(dtype):
    assert make_plan([2, 3], dtype=dtype).dtype == "float64"


@pytest.mark.parametrize("dtype", ["float16", int, None, "fast", np.complex64, 5])
def test_other_dtypes(dtype):
    with pytest.raises(ValueError, match="dtype must be float32, float64 or bfloat16"):
        make_plan([2, 3], dtype=dtype)


def test_softmax_on_the_last_layer_is_the_losses():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = make_plan([2, Dense(3, "softmax")])
    assert plan == make_plan([2, 3])


def test_other_activations_of_the_last_layer_are_kept():
    assert make_plan([2, Dense(3, "softmax"), 3]).layers[0].activation == "softmax"
    for loss in ("mse", "huber"):
        plan = make_plan([2, Dense(3, "sigmoid")], loss)
        assert plan.layers[-1].activation == "sigmoid"
    plan = make_plan([2, Dense(3, "sigmoid")], "binary_cross_entropy")
    assert plan.layers[-1].activation == "identity"
    assert make_plan([2, Dense(3, LeakyReLU(0.1))]).layers[-1].activation


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "softplus"])
def test_squashing_before_softmax_warns(name):
    with pytest.warns(UserWarning, match=f"the last one, has activation '{name}'"):
        plan = make_plan([2, Dense(3, name)])
    assert plan.layers[-1].activation == name


def test_sizes_of_mixed_layers():
    plan = make_plan(
        [5, Dense(4, "relu", use_bias=False), BatchNorm(), Dropout(), LayerNorm(), 3]
    )
    assert plan.widths == (5, 4, 4, 4, 4, 3)
    assert plan.sizes == (5, 4, 3)
    assert plan.parametric_layers == (0, 1, 3, 4)
    assert plan.shapes == (((5, 4), (4,)), ((4,), (4,)), ((4,), (4,)), ((4, 3), (3,)))
    assert plan.parameter_counts == (20, 8, 0, 8, 15)
    assert plan.n_parameters == 51


@pytest.mark.parametrize(
    ("loss", "n_outputs", "n_classes"),
    [
        ("softmax_cross_entropy", 3, 3),
        ("binary_cross_entropy", 1, 2),
        ("binary_cross_entropy", 3, None),
        ("mse", 1, None),
    ],
)
def test_number_of_classes(loss, n_outputs, n_classes):
    assert make_plan([2, n_outputs], loss).n_classes == n_classes


def test_given_values_are_for_the_beginning():
    plan = make_plan([1, Dense(2, weight_init=[[1, 2]], bias_init=[1, 2])])
    assert plan.without_values() == make_plan([1, Dense(2)])


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([], ValueError, "number of inputs and at least one layer"),
        ([2], ValueError, "number of inputs and at least one layer"),
        ("23", TypeError, "layers must be a list"),
        (5, TypeError, "layers must be a list"),
        ([0, 3], ValueError, r"layers\[0\] \(the number of inputs\) .*got 0"),
        ([Dense(2), 3], TypeError, r"layers\[0\] \(the number of inputs\)"),
        ([2, 0, 3], ValueError, r"layers\[1\] must be .* got 0"),
        ([2, 3, 2**24 + 1], ValueError, r"layers\[2\] must be .* got 16777217"),
        (
            [2, 3.0],
            TypeError,
            r"layers\[1\] must be an int or one of Dense, Dropout, .* got 3.0",
        ),
        (
            [2, True],
            TypeError,
            r"layers\[1\] must be an int or one of Dense, Dropout, .* got True",
        ),
        (
            [2, "relu", 3],
            TypeError,
            r"layers\[1\] must be an int or one of Dense, Dropout",
        ),
        (
            [2, Dense, 3],
            TypeError,
            r"layers\[1\] must be an int or one of Dense, Dropout",
        ),
        ([2, ReLU(), 3], TypeError, r"belongs to a layer: Dense\(n, 'relu'\)"),
        ([2, ReLU, 3], TypeError, r"belongs to a layer: Dense\(n, 'relu'\)"),
        ([2, LeakyReLU(0.3), 3], TypeError, r"Dense\(n, LeakyReLU\(.*0\.3\)\)"),
    ],
)
def test_wrong_layers_are_named(layers, error, message):
    with pytest.raises(error, match=message):
        make_plan(layers)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loss": "mse?"}, ValueError, "loss must be one of 'softmax_cross_entropy'"),
        ({"loss": Adam}, TypeError, "loss must be a loss such as"),
        ({"loss": None}, TypeError, "loss must be a loss such as"),
        (
            {"optimizer": "adamant"},
            ValueError,
            "optimizer must be one of 'sgd', 'rmsprop'",
        ),
        (
            {"optimizer": SoftmaxCrossEntropy},
            TypeError,
            r"optimizer must be .* such as SGD\(\)",
        ),
        ({"optimizer": 0.1}, TypeError, "optimizer must be .* got 0.1"),
    ],
)
def test_wrong_parts_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        make_plan([2, 3], **arguments)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", SoftmaxCrossEntropy(0.1)])
@pytest.mark.parametrize("layers", [[4, 8, 1], [4, Dense(1, "softmax")], [1, 2, 1]])
def test_softmax_of_one_output_is_refused(layers, loss):
    with pytest.raises(ValueError, match="one output.*'binary_cross_entropy'.*'mse'"):
        make_plan(layers, loss)
    make_plan([*layers[:-1], 1], "mse")


@pytest.mark.parametrize(
    ("factors", "optimizer", "message"),
    [
        ({"epsilon_factors": 2}, "sgd", "epsilon_factors is 2.0, but SGD has no eps"),
        ({"epsilon_factors": (1, 3)}, "lion", r"is \(1.0, 3.0\), but Lion has no eps"),
        ({"rate_factors": (1, 0)}, "lbfgs", "but LBFGS has no learning rate"),
        ({"epsilon_factors": 1e-23}, "adam", "makes 1e-31 of the epsilon of Adam"),
    ],
)
def test_factors_of_what_the_optimizer_does_not_have(factors, optimizer, message):
    with pytest.raises(ValueError, match=rf"layers\[1\]: .*{message}"):
        make_plan([2, 3, Dense(4, **factors)], optimizer=optimizer)
    layers = [2, 3, Dense(4, **factors, decay_factors=3)]
    make_plan(layers, optimizer=Adam(epsilon=1e-3))


def test_plan_checks_itself():
    parts = (SoftmaxCrossEntropy(), Adam(), "float32")
    with pytest.raises(ValueError, match="at least one Dense layer"):
        Plan(2, (), *parts)
    with pytest.raises(TypeError, match=r"layers\[0\] must be a layer"):
        Plan(2, (3,), *parts)
    with pytest.raises(ValueError, match="'softmax' is a part of the loss"):
        Plan(2, (Dense(3, "softmax"),), *parts)
    with pytest.raises(ValueError, match="n_inputs"):
        Plan(0, (Dense(3),), *parts)


@pytest.mark.parametrize(
    "plan",
    [
        make_plan([2, 3]),
        make_plan(
            [784, Dense(8, "relu", "he_uniform"), Dense(4)],
            SoftmaxCrossEntropy(0.1),
            AdamW(1e-2, weight_decay=0.3),
            "float64",
        ),
        make_plan([1, 1], "mse", optimizer=SGD(0.1, 0.9, nesterov=True)),
        make_plan(
            [
                3,
                Dense(4, LeakyReLU(0.3), Normal(0.1), use_bias=False, seed=3),
                Dropout(0.3),
                BatchNorm("gelu", trainable=False),
                LayerNorm(rate_factors=(0, 0.5), epsilon_factors=(3, 4)),
                Scale(0.5, rate_factors=6, decay_factors=(1, 2)),
                Dense(2, "tanh"),
            ],
            "huber",
            RMSprop(Warmup(Cosine(1.0, steps=10), 2), clip_norm=1.0, l1=0.1),
        ),
    ],
)
def test_dict_goes_through_json_and_back(plan):
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_dict_layout():
    assert make_plan([2, 3], optimizer="sgd").to_dict() == {
        "n_inputs": 2,
        "layers": [
            {
                "type": "dense",
                "units": 3,
                "activation": "identity",
                "weight_init": "auto",
                "bias_init": "zeros",
                "use_bias": True,
                "trainable": True,
                "seed": None,
                "rate_factors": 1.0,
                "epsilon_factors": 1.0,
                "decay_factors": 1.0,
            }
        ],
        "loss": {"type": "softmax_cross_entropy", "label_smoothing": 0.0},
        "optimizer": {
            "type": "sgd",
            "learning_rate": 0.01,
            "weight_decay": 0.0,
            "l1": 0.0,
            "l2": 0.0,
            "clip_value": None,
            "clip_norm": None,
            "max_norm": None,
            "momentum": 0.0,
            "nesterov": False,
        },
        "dtype": "float32",
    }


def test_missing_parameters_take_their_defaults():
    data = make_plan([2, 3]).to_dict()
    data["loss"] = {"type": "softmax_cross_entropy"}
    assert Plan.from_dict(data) == make_plan([2, 3])


def deep(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["n_inputs"], 0),
        (["n_inputs"], 2**24 + 1),
        (["n_inputs"], 10**1000),
        (["n_inputs"], "2"),
        (["n_inputs"], 2.0),
        (["n_inputs"], True),
        (["n_inputs"], None),
        (["layers"], []),
        (["layers"], {}),
        (["layers"], "dense"),
        (["layers"], [3]),
        (["layers"], [None]),
        (["layers", 0], ["type", "dense"]),
        (["layers", 0], [["type", "dense"], ["units", 3]]),
        (["layers", 0, "type"], "conv"),
        (["layers", 0, "type"], ["dense"]),
        (["layers", 0, "type"], {"dense": 1}),
        (["layers", 0, "type"], None),
        (["layers", 0, "units"], -1),
        (["layers", 0, "units"], 2**63),
        (["layers", 0, "units"], deep(900)),
        (["layers", 0, "activation"], "os.system"),
        (["layers", 0, "activation"], "softmax"),
        (["layers", 0, "activation"], ["relu"]),
        (["layers", 0, "activation"], {"type": "leaky_relu", "slope": -1}),
        (["layers", 0, "activation"], {"type": "cosine", "rate": 1.0, "steps": 1}),
        (["layers", 0, "activation"], {"type": "relu", "evil": 1}),
        (["layers", 0, "weight_init"], "__class__"),
        (["layers", 0, "weight_init"], {"type": "values", "values": [[1.0]]}),
        (["layers", 0, "use_bias"], 1),
        (["layers", 0, "seed"], 0.5),
        (["layers", 0, "rate_factors"], deep(900)),
        (["layers", 0, "rate_factors"], [1.0]),
        (["layers", 0, "decay_factors"], [1.0, {}]),
        (["layers", 0, "epsilon_factors"], [1.0, 0.0]),
        (["layers", 0, "epsilon_factors"], {"first": 1.0}),
        (["layers", 0], {"type": "dropout", "rate": 1.0}),
        (["layers", 0], {"type": "batch_norm"}),
        (["layers", 0, "evil"], 1),
        (["loss"], "softmax_cross_entropy"),
        (["loss"], deep(900)),
        (["loss", "label_smoothing"], 2),
        (["loss", "label_smoothing"], float("nan")),
        (["loss", "label_smoothing"], True),
        (["optimizer"], None),
        (["optimizer", "learning_rate"], 10**400),
        (["optimizer", "learning_rate"], float("inf")),
        (["optimizer", "learning_rate"], "0.1"),
        (["optimizer", "beta_1"], 1),
        (["optimizer", "learning_rate"], {"type": "cosine"}),
        (["optimizer", "learning_rate"], {"type": "step", "rate": 1.0, "interval": 0}),
        (["optimizer", "clip_norm"], 0),
        (["optimizer", "nesterov"], True),
        (["dtype"], "float16"),
        (["dtype"], ["float32"]),
        (["evil"], 1),
    ],
)
def test_hostile_dicts(path, value):
    data = make_plan([2, 3]).to_dict()
    part = data
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ModelFormatError):
        Plan.from_dict(data)


def test_schedules_nested_too_deep():
    schedule = Cosine(1.0, steps=10)
    for _ in range(6):
        schedule = Scaled(schedule, 0.5)
    data = make_plan([2, 3], optimizer=SGD(schedule)).to_dict()
    assert Plan.from_dict(data).optimizer == SGD(schedule)
    rate = data["optimizer"]["learning_rate"]
    for _ in range(300):
        rate = {"type": "scaled", "schedule": rate, "factor": 0.999}
    data["optimizer"]["learning_rate"] = rate
    with pytest.raises(ModelFormatError, match="nested more than 8 times"):
        Plan.from_dict(data)


@pytest.mark.parametrize(
    "path",
    [["n_inputs"], ["layers"], ["loss"], ["layers", 0, "units"], ["loss", "type"]],
)
def test_missing_parts(path):
    data = make_plan([2, 3]).to_dict()
    part = data
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    with pytest.raises(ModelFormatError):
        Plan.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "plan", 3, [["n_inputs", 2]]])
def test_not_a_dict(data):
    with pytest.raises(ModelFormatError, match="network: expected an object"):
        Plan.from_dict(data)
