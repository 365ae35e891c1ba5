"""Looking inside: layers, activations, parts, pictures and what a notebook shows."""

import io
import pickle
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

import fastnn
from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    Dense,
    Dropout,
    EarlyStopping,
    Network,
    ReduceOnPlateau,
    datasets,
    plotting,
    schedules,
)

rng = np.random.default_rng(0)
X, y = rng.standard_normal((60, 4)), rng.integers(0, 3, 60)


@pytest.fixture(params=["native", "numpy"])
def net(request):
    layers = [4, Dense(8, "tanh"), Dropout(0.3), BatchNorm("relu"), Dense(3)]
    made = Network(layers, seed=0, input_scale=0.5, backend=request.param)
    made.fit(X, y, epochs=2, verbose=0)
    return made


def test_layers_and_activations(net):
    assert net.layers == net.plan.layers
    outputs = net.activations(X)
    assert [each.shape for each in outputs] == [(60, 8)] * 3 + [(60, 3)]
    W, b = net.get_weights()[0]
    np.testing.assert_allclose(outputs[0], np.tanh(X * 0.5 @ W + b), rtol=1e-4)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_allclose(outputs[-1], net(X), rtol=1e-4, atol=1e-5)
    for layer in (2, -2):
        np.testing.assert_array_equal(net.activations(X, layer), outputs[2])
    with pytest.raises(ValueError, match="layer must be an integer from -4 to 3"):
        net.activations(X, 4)
    with pytest.raises(ValueError, match="X has 3 columns"):
        net.activations(X[:, :3])


def test_slices_are_networks(net):
    low, high = net[:2], net[2:]
    np.testing.assert_allclose(high(low(X)), net(X), rtol=1e-4, atol=1e-5)
    assert high.plan.loss == net.plan.loss
    assert low.plan.loss.name == "mse"
    before = net.get_weights()[0][0].copy()
    low.fit(X, np.zeros((60, 8)), epochs=1, verbose=0)
    np.testing.assert_array_equal(net.get_weights()[0][0], before)
    assert net[0] is net.layers[0]
    assert net[-1] is net.layers[-1]
    np.testing.assert_array_equal(net[:](X), net(X))
    for empty in (slice(2, 2), slice(None, None, 2), slice(None, None, -1)):
        with pytest.raises(ValueError, match="not one or more in a row"):
            net[empty]
    with pytest.raises(ValueError, match="at least one Dense"):
        net[1:2]
    with pytest.raises(IndexError):
        net[9]


class Closed(HTMLParser):
    """Every tag that is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text = [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        assert tag not in ("script", "img", "link")

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + " "


def test_what_a_notebook_shows(net):
    text = Closed(net._repr_html_()).text
    for each in ("batch_norm", "tanh", "parameters", "softmax_cross_entropy"):
        assert each in text
    history = net.fit(X, y, epochs=3, validation_split=0.2, verbose=0)
    html = history._repr_html_()
    assert "<svg" in html
    assert "History of 3 epochs" in Closed(html).text
    history.history["<b>&"] = [1.0, np.nan, 2.0]
    assert "<b>&" in Closed(history._repr_html_()).text
    assert "<b>" not in history._repr_html_()
    assert Closed(fastnn.History()._repr_html_()).text
    text = Closed(datasets.digits()._repr_html_()).text
    assert "(1437, 64)" in text
    assert "10 classes" in text


def test_reprs_say_what_was_given():
    assert repr(Adam()) == "Adam(learning_rate=0.001)"
    assert repr(SGD(0.1, 0.9)) == "SGD(learning_rate=0.1, momentum=0.9)"
    assert repr(Adam(l2=1e-4)) == "Adam(learning_rate=0.001, l2=0.0001)"
    assert repr(fastnn.LBFGS()) == "LBFGS()"
    for made in (Adam(), SGD(0.1), Adam(schedules.Cosine(0.1, 10)), fastnn.LBFGS()):
        names = {**vars(fastnn), **vars(schedules)}
        assert eval(repr(made), names) == made
    assert repr(schedules.Cosine(0.1, 10)) == "Cosine(rate=0.1, steps=10)"
    assert repr(schedules.Step(0.1, epochs=2)) == "Step(epochs=2.0, rate=0.1)"
    assert repr(schedules.Warmup(schedules.Constant(1), 5, start=0.5)) == (
        "Warmup(schedule=Constant(rate=1.0), steps=5, start=0.5)"
    )
    stop = EarlyStopping("loss", patience=5)
    assert repr(stop) == "EarlyStopping(monitor='loss', patience=5)"
    assert repr(pickle.loads(pickle.dumps(stop))) == repr(stop)
    assert repr(ReduceOnPlateau()) == "ReduceOnPlateau()"
    assert repr(fastnn.LambdaCallback()) == "LambdaCallback()"

    class Mine(fastnn.Callback):
        def __init__(self, a):
            self.a = a

    assert repr(Mine(3)) == "Mine()"


def test_a_log_has_no_stale_line(capfd):
    Network([4, 3], seed=0).fit(X, y, epochs=3)
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(r"epoch 3/3 \|.*100%.*\n", err)
    assert "\r" not in err


def test_a_notebook_has_the_bar_on_stdout(monkeypatch, capfd):
    shell = type("ZMQInteractiveShell", (), {})
    ipython = type("IPython", (), {"get_ipython": staticmethod(shell)})
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    Network([4, 3], seed=0).fit(X, y, epochs=3)
    out, err = capfd.readouterr()
    assert err == ""
    assert "epoch 3/3" in out.split("\r")[-1]


def test_a_history_plots_itself(net):
    from matplotlib import pyplot

    history = net.fit(X, y, epochs=3, validation_split=0.2, verbose=0)
    loss, accuracy = history.plot()
    assert (loss.get_title(loc="left"), accuracy.get_title(loc="left")) == (
        "loss",
        "accuracy",
    )
    ax = Figure().subplots()
    assert history.plot("accuracy", ax) is ax
    assert list(ax.lines[1].get_ydata()) == history.history["val_accuracy"]
    pyplot.close("all")


def test_histograms(net):
    for draw, data, n in (
        (plotting.plot_weight_histogram, (), 3),
        (plotting.plot_activation_histogram, (X,), 4),
        (plotting.plot_gradient_histogram, (X, y), 3),
    ):
        ax = Figure().subplots()
        assert draw(net, *data, ax=ax) is ax
        assert len(ax.get_legend().texts) == n
        outlines = [patch for patch in ax.patches if not patch.get_fill()]
        assert len(outlines) == n
        for each in outlines:  # of the area 1
            values, edges, _ = each.get_data()
            assert (values * np.diff(edges)).sum() == pytest.approx(1)
        ax.figure.savefig(io.BytesIO())
    frozen = Network([4, Dense(3, trainable=False)], seed=0)
    plotting.plot_gradient_histogram(frozen, X, y, ax=Figure().subplots())


def test_the_diagram_has_the_units_and_weights(net):
    def drawn(network):
        ax = plotting.plot_network(network, ax=Figure().subplots())
        lines = [c for c in ax.collections if isinstance(c, LineCollection)]
        units = [c for c in ax.collections if c not in lines]
        counts = [len(c.get_segments()) for c in lines]
        return [len(c.get_offsets()) for c in units], counts, ax

    assert drawn(net)[:2] == ([4, 8, 8, 8, 3], [32, 8, 8, 24])
    units, lines, ax = drawn(Network([100, 30, 2], seed=0))
    assert (units, lines) == ([12, 12, 2], [144, 24])
    assert [text.get_text() for text in ax.texts].count("⋮") == 2
