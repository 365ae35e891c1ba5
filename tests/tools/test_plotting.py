"""Pictures: what is drawn is what the data and the network say."""

import inspect
import sys

import numpy as np
import pytest
from children import run_python
from matplotlib.figure import Figure

import fastnn
from fastnn import datasets, plotting, schedules
from fastnn.plotting._axes import class_colors, require_format


@pytest.fixture
def ax():
    return Figure(figsize=(6, 4)).subplots()


class Says:
    """A network that predicts by a function."""

    def __init__(self, function, n_inputs=2):
        self.predict = self.predict_proba = function
        self.plan = type("Plan", (), {"n_inputs": n_inputs})


HISTORY = {"loss": [0.9, 0.5, 0.4], "val_loss": [1.0, 0.6, 0.7], "accuracy": [0.1] * 3}


# --- curves ---------------------------------------------------------------------------


def test_the_curves_are_those_of_the_history(ax):
    assert plotting.plot_history(HISTORY, ax=ax, validation_label="test") is ax
    training, validation = ax.lines
    assert training.get_xdata().tolist() == [1, 2, 3]
    assert list(training.get_ydata()) == HISTORY["loss"]
    assert list(validation.get_ydata()) == HISTORY["val_loss"]
    assert [text.get_text() for text in ax.get_legend().texts] == ["training", "test"]
    assert (ax.get_title(loc="left"), ax.get_xlabel()) == ("loss", "epoch")


def test_a_curve_without_validation_and_the_object_of_fit(ax, blobs):
    history = fastnn.Network([4, 3], seed=0).fit(*blobs, epochs=5, verbose=0)
    plotting.plot_history(history, "accuracy", ax)
    (line,) = ax.lines
    assert list(line.get_ydata()) == history.history["accuracy"]


def test_the_restored_epoch_is_marked(ax):
    X, y, X_test, y_test = datasets.digits()
    net = fastnn.Network([64, 32, 10], input_scale=1 / 16, seed=0)
    stop = fastnn.EarlyStopping(patience=3)
    given = {"X_val": X_test, "y_val": y_test, "verbose": 0}
    history = net.fit(X[:200], y[:200], epochs=300, callbacks=[stop], **given)
    assert history.restored_epoch == stop.best_epoch < history.epochs[-1]
    plotting.plot_history(history, ax=ax)
    mark = ax.lines[-1]
    assert {*mark.get_xdata()} == {1 + stop.best_epoch}
    assert mark.get_label() == f"restored: {1 + stop.best_epoch}"
    page = plotting.plot_report(net, history, X_test, y_test)
    for panel in page.axes[:2]:  # loss and accuracy
        assert mark.get_label() in panel.get_legend_handles_labels()[1]
    again = net.fit(X[:200], y[:200], epochs=1, **given)  # nothing is restored
    assert again.restored_epoch is None
    plain = Figure().subplots()
    plotting.plot_history(again, ax=plain)
    assert len(plain.lines) == 2
    (many,) = fastnn.fit_many(
        [net], X[:200], y[:200], [{"callbacks": [stop]}], epochs=30, **given
    )
    assert many.restored_epoch == stop.best_epoch


@pytest.mark.parametrize(
    ("name", "values", "scale"),
    [
        ("loss", [1.0, 0.05], "log"),
        ("loss", [1.0, 0.5], "linear"),
        ("loss", [1.0, -0.05], "linear"),
        ("loss", [1.0, 0.0], "linear"),
        ("accuracy", [0.05, 0.99], "linear"),
    ],
)
def test_a_loss_that_falls_far_has_a_logarithmic_axis(ax, name, values, scale):
    plotting.plot_history({name: values}, name, ax)
    assert ax.get_yscale() == scale


def test_a_quantity_that_was_not_recorded_is_an_error(ax):
    with pytest.raises(
        ValueError, match=r"^name is 'f1'; expected one of the history: "
    ):
        plotting.plot_history(HISTORY, "f1", ax)


@pytest.mark.parametrize("steps", [1, 7, 5000])
def test_the_schedule_is_drawn_from_the_first_update_to_the_last(ax, steps):
    rate = schedules.Cosine(0.01, steps=steps)
    assert plotting.plot_schedule(rate, steps, ax) is ax
    t, rates = ax.lines[0].get_data()
    assert (t[0], t[-1]) == (0, steps - 1)
    np.testing.assert_allclose(rates, rate(t))


def test_a_number_is_a_constant_rate(ax):
    plotting.plot_schedule(0.1, 50, ax)
    assert {*ax.lines[0].get_ydata()} == {0.1}
    with pytest.raises(ValueError, match="steps must be an integer >= 1, got 0"):
        plotting.plot_schedule(0.1, 0, ax)


# --- classes --------------------------------------------------------------------------


def test_the_matrix_has_counts_and_shades_of_the_share(ax):
    matrix = [[8, 2, 0], [0, 5, 0], [0, 0, 0]]
    assert plotting.plot_confusion_matrix(matrix, ("a", "b", "c"), ax) is ax
    counts = {text.get_position(): text.get_text() for text in ax.texts}
    assert counts == {(0, 0): "8", (1, 0): "2", (1, 1): "5"}  # (predicted, true)
    np.testing.assert_allclose(
        ax.images[0].get_array(), [[0.8, 0.2, 0], [0, 1, 0], [0, 0, 0]]
    )
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")


def test_a_large_matrix_is_shades_only(ax):
    plotting.plot_confusion_matrix(np.eye(50, dtype=int), ax=ax)
    assert not ax.texts


@pytest.mark.parametrize("matrix", [[[1, 2]], [1, 2], np.zeros((0, 0)), 3])
def test_what_is_no_matrix_is_an_error(ax, matrix):
    with pytest.raises(
        ValueError, match=r"^matrix has shape .*; expected \(n_classes, "
    ):
        plotting.plot_confusion_matrix(matrix, ax=ax)


def test_names_must_be_enough(ax):
    with pytest.raises(ValueError, match="class_names has 1 names; expected 2"):
        plotting.plot_confusion_matrix(np.eye(2), ("a",), ax)


def test_misclassified_images_come_with_the_most_confident_first(ax):
    X = np.arange(40).reshape(10, 4)
    y = np.array([0, 1, 1, 0, 1, 0, 1, 0, 1, 0])
    sure = np.linspace(0.51, 0.99, 10)
    # Says 0 of all, so that the rows of class 1 are wrong.
    net = Says(lambda X: np.stack([sure, 1 - sure], axis=1), n_inputs=4)
    result = plotting.plot_misclassified(net, X, y, ("cat", "dog"), ax, n_images=3)
    assert result is ax
    assert ax.get_title(loc="left") == "5 of 10 misclassified, most confident first"
    shown = [image.get_array().ravel().tolist() for image in ax.images]
    assert shown == [X[8].tolist(), X[6].tolist(), X[4].tolist()]
    texts = [text.get_text() for text in ax.texts]
    assert texts[0] == f"predicted cat ({100 * sure[8]:.0f} %)\ntrue dog"


@pytest.mark.parametrize(("says", "y"), [(0, [2, 2]), (2, [0, 0])])
def test_misclassified_images_need_a_name_for_each_class_met(ax, says, y):
    net = Says(lambda X: np.eye(3)[[says, says]], n_inputs=4)
    with pytest.raises(ValueError, match="class_names has 2 names; expected 3"):
        plotting.plot_misclassified(net, np.zeros((2, 4)), y, ("a", "b"), ax)


def test_no_mistake_is_no_image(ax):
    net = Says(lambda X: np.array([[1.0], [0.0]]), n_inputs=4)  # of class 1
    plotting.plot_misclassified(net, np.zeros((2, 4)), [1, 0], ax=ax)
    assert not ax.images
    assert ax.get_title(loc="left").startswith("0 of 2 misclassified")
    ax.figure.canvas.draw()


def test_images_need_a_shape(ax):
    net = Says(lambda X: np.ones((1, 2)), n_inputs=6)
    with pytest.raises(
        ValueError, match="image_shape is not given, and 6 inputs are not"
    ):
        plotting.plot_misclassified(net, np.zeros((1, 6)), [0], ax=ax)
    with pytest.raises(
        ValueError, match="image_shape is 2 x 4; expected a product of 6"
    ):
        plotting.plot_misclassified(
            net, np.zeros((1, 6)), [0], ax=ax, image_shape=(2, 4)
        )
    with pytest.raises(ValueError, match=r"y has shape \(2,\); expected \(1,\)"):
        plotting.plot_misclassified(
            net, np.zeros((1, 6)), [0, 1], ax=ax, image_shape=(2, 3)
        )
    plotting.plot_misclassified(net, np.zeros((1, 6)), [1], ax=ax, image_shape=(2, 3))
    assert ax.images[0].get_array().shape == (2, 3)


def test_the_boundary_is_where_the_network_says():
    # Class 1 above the line x1 = 2, for one output and for two.
    X, y = np.array([[0.0, 1.0], [4.0, 3.0]]), np.array([0, 1])
    pictures = []
    for width in (1, 2):
        each = Figure().subplots()

        def proba(points, width=width):
            above = (points[:, 1:] > 2).astype(float)
            return above if width == 1 else np.hstack([1 - above, above])

        result = plotting.plot_decision_boundary(Says(proba), X, y, ("a", "b"), each)
        assert result is each
        pictures.append(each.images[0])
        points = each.collections[0]
        np.testing.assert_allclose(points.get_facecolors()[:, :3], class_colors(2))
        assert points.get_offsets().tolist() == X.tolist()
    shades = pictures[0].get_array()
    assert np.array_equal(shades, pictures[1].get_array())
    left, right, bottom, top = pictures[0].get_extent()
    assert left < 0 < 4 < right
    assert bottom < 1 < 3 < top
    assert shades[:140].max(axis=(0, 1))[2] > shades[:140].max(axis=(0, 1))[0]  # blue
    assert shades[160:].max(axis=(0, 1))[0] > shades[160:].max(axis=(0, 1))[2]


def test_misclassified_points_are_circled(ax):
    X, y = np.array([[0.0, 1.0], [4.0, 3.0], [2.0, 1.5]]), np.array([0, 1, 1])
    net = Says(lambda points: (points[:, 1:] > 2).astype(float))
    plotting.plot_decision_boundary(net, X, y, ax=ax)
    circles = ax.collections[1]
    assert circles.get_offsets().tolist() == [[2.0, 1.5]]
    assert not len(circles.get_facecolors())
    texts = [text.get_text() for text in ax.get_legend().texts]
    assert texts == ["misclassified", "0", "1"]


def test_hidden_units_are_lines(ax):
    # Scaled inputs (2 x - 1): unit 0 turns at x0 = 1, unit 1 at x1 = 0.5.
    net = fastnn.Network([2, 3, 2], input_scale=2.0, input_shift=-1.0, seed=0)
    (W, b), last = net.get_weights()
    W[:], b[:] = [[1, 0, 1], [0, 3, 0]], [-1, 0, 99]  # unit 2 turns far away
    net.set_weights([(W, b), last])
    X, y = np.array([[0.0, 0.0], [2.0, 2.0]]), np.array([0, 1])
    before = len(ax.collections)
    plotting.plot_decision_boundary(net, X, y, ax=ax, hidden_units=True)
    paths = [path for each in ax.collections for path in each.get_paths()]
    ends = [p.vertices for p in paths if len(p.vertices) == 2]
    assert before == 0
    assert len(ends) == 2
    np.testing.assert_allclose(ends[0][:, 0], 1.0, atol=1e-6)
    np.testing.assert_allclose(ends[1][:, 1], 0.5, atol=1e-6)
    other = fastnn.Network([2, fastnn.Dropout(0.5), 2], seed=0)
    with pytest.raises(ValueError, match="hidden_units needs a network whose first"):
        plotting.plot_decision_boundary(other, X, y, ax=ax, hidden_units=True)


@pytest.mark.parametrize(
    ("X", "y", "text"),
    [
        (np.zeros((3, 3)), [0] * 3, r"X has shape \(3, 3\); expected \(n, 2\)"),
        (np.zeros((0, 2)), [], r"X has shape \(0, 2\); expected \(n, 2\)"),
        (np.zeros((3, 2)), [0], r"y has shape \(1,\); expected \(3,\)"),
    ],
)
def test_only_points_of_the_plane_have_a_boundary(ax, X, y, text):
    with pytest.raises(ValueError, match=text):
        plotting.plot_decision_boundary(Says(None), X, y, ax=ax)


def test_many_classes_have_colors_of_their_own():
    for n in (3, 10, 11, 30):
        colors = class_colors(n)
        assert colors.shape == (n, 3)
        assert len({tuple(color) for color in colors}) == n


# --- quantities -----------------------------------------------------------------------


def test_the_fit_is_the_points_and_the_network(ax):
    X, y = np.array([[1.0], [3.0]]), np.array([[2.0], [6.0]])
    assert plotting.plot_fit(Says(lambda x: 2 * x), X, y, ax) is ax
    assert ax.collections[0].get_offsets().tolist() == [[1, 2], [3, 6]]
    line = ax.lines[0]
    np.testing.assert_allclose(line.get_ydata(), 2 * line.get_xdata())
    assert (line.get_xdata()[0], line.get_xdata()[-1]) == pytest.approx((0.9, 3.1))
    with pytest.raises(ValueError, match=r"X and y have shapes \(2, 1\) and \(2,\)"):
        plotting.plot_fit(Says(None), X, y[:, 0], ax)


def test_predictions_are_drawn_over_the_truth(ax):
    true = np.array([[1.0, 5], [2, 6]])
    assert plotting.plot_predictions(true, np.zeros((2, 2)), ax) is ax
    assert ax.collections[1].get_offsets().tolist() == [[5, 0], [6, 0]]
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(2,\); expected the same"):
        plotting.plot_predictions(true, np.zeros(2), ax)


def test_large_numbers_have_short_labels(ax):
    from matplotlib.ticker import FuncFormatter

    plotting.plot_predictions([0.0, 250_000], [1e5, 2e5], ax)
    ax.figure.canvas.draw()
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert {"0", "100k", "200k"} <= {*labels}
    small = Figure().subplots()
    plotting.plot_predictions([0.0, 2500], [100, 2000], small)
    assert not isinstance(small.xaxis.get_major_formatter(), FuncFormatter)
    updates = Figure().subplots()
    plotting.plot_schedule(0.1, 3_000_000, updates)
    assert updates.xaxis.get_major_formatter()(2_500_000, 0) == "2.5M"


# --- weights --------------------------------------------------------------------------


def test_the_weights_are_images_the_strongest_first(ax):
    net = fastnn.Network([16, 5, 2], seed=0)
    (W, b), *others = net.get_weights()
    W *= [1, 5, 3, 2, 4]
    net.set_weights([(W, b), *others])
    assert plotting.plot_weights(net, ax, n_units=2) is ax
    order = np.argsort(-np.linalg.norm(W, axis=0))
    for image, unit in zip(ax.images, order, strict=False):
        np.testing.assert_allclose(image.get_array(), W[:, unit].reshape(4, 4))
        low, high = image.get_clim()
        assert low == -high  # white is zero
    assert len(ax.images) == 2
    assert ax.get_title(loc="left") == "first-layer weights, 2 of 5 units"


def test_weights_have_a_bar_of_their_colours(ax):
    plotting.plot_weights(fastnn.Network([16, 5, 2], seed=0), ax)
    (bar,) = (each for each in ax.figure.axes if each is not ax)
    low, high = bar.get_ylim()
    assert (low, high) == ax.images[0].get_clim()


def test_weights_of_other_inputs_are_a_table(ax):
    net = fastnn.Network([3, 5, 2], seed=0)
    plotting.plot_weights(net, ax)
    W = net.get_weights()[0][0]
    shown = ax.images[0].get_array()
    assert shown.shape == (5, 3)
    assert sorted(map(tuple, shown.tolist())) == sorted(map(tuple, W.T.tolist()))


def test_images_that_are_not_square(ax):
    net = fastnn.Network([6, 5, 2], seed=0)
    plotting.plot_weights(net, ax, image_shape=(2, 3))
    assert {image.get_array().shape for image in ax.images} == {(2, 3)}


# --- all ------------------------------------------------------------------------------


def test_texts_of_tiles_do_not_overlap():
    d = datasets.digits()
    net = fastnn.Network([64, 10], input_scale=1 / 16, seed=0)
    names = [f"number {i:05}" for i in range(10)]  # long ones
    for size in ((4, 4), (12, 3), (3, 9)):
        each = Figure(figsize=size, layout="constrained").subplots()
        plotting.plot_misclassified(net, d.X_test, d.y_test, names, each)
        each.figure.canvas.draw()
        boxes = [text.get_window_extent() for text in each.texts]
        boxes += [image.get_window_extent() for image in each.images]
        clashes = [
            (a, b)
            for i, a in enumerate(boxes)
            for b in boxes[i + 1 :]
            if a.padded(-0.5).overlaps(b.padded(-0.5))
        ]
        assert not clashes


def test_every_picture_takes_axes_and_returns_them():
    names = [name for name in plotting.__all__ if name.startswith("plot_")]
    assert len(names) >= 8
    for name in names:
        parameters = inspect.signature(getattr(plotting, name)).parameters
        assert name == "plot_report" or parameters["ax"].default is None


def test_without_axes_there_is_a_figure_of_pyplot(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib import pyplot

    pyplot.close("all")  # those of other tests
    first = plotting.plot_history(HISTORY)
    second = plotting.plot_schedule(0.1, 3)
    assert first is not second
    assert pyplot.get_fignums() == [first.figure.number, second.figure.number]
    pyplot.close("all")


@pytest.mark.parametrize("wrong", [0, 3])
def test_a_report_without_mistakes_has_no_blank_panel(wrong):
    X = np.repeat(np.eye(16, dtype=np.uint8)[:2] * 9, 10, axis=0)
    y = np.repeat([0, 1], 10)
    net = fastnn.Network([16, 2], optimizer=fastnn.Adam(0.1), seed=0)
    history = net.fit(X, y, epochs=50, verbose=0)
    assert net.score(X, y) == 1
    y[:wrong] = 1
    figure = plotting.plot_report(net, history, X, y)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert any("misclassified" in title for title in titles) == (wrong > 0)


def test_a_report_leaves_pyplot_and_its_settings_alone(blobs):
    import matplotlib

    before = dict(matplotlib.rcParams)
    net = fastnn.Network([4, 3], seed=0)
    history = net.fit(*blobs, epochs=2, verbose=0)
    figure = plotting.plot_report(net, history, *blobs, title="blobs")
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "loss", "accuracy", "confusion matrix (counts)",
    ]  # fmt: skip
    assert dict(matplotlib.rcParams) == before
    code = "import fastnn.plotting, sys; assert 'matplotlib' not in sys.modules"
    run_python(code)


def test_rows_of_several_labels_are_curves_and_weights():
    net = fastnn.Network([16, 4, 3], loss="binary_cross_entropy", seed=0)
    X = np.random.default_rng(0).integers(0, 9, (20, 16), np.uint8)
    y = X[:, :3] > 4
    history = net.fit(X, y, epochs=2, verbose=0)
    figure = plotting.plot_report(net, history, X, y)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[0] == "loss"
    assert titles[-2:] == ["first-layer weights", ""]  # and its colour bar
    assert "confusion matrix (counts)" not in titles


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plotting.plot_history(HISTORY),
        lambda: plotting.plot_schedule(0.1, 5),
        lambda: plotting.plot_confusion_matrix(np.eye(2)),
        lambda: plotting.plot_weights(fastnn.Network([2, 2])),
        lambda: plotting.plot_report(None, HISTORY, [], []),
        lambda: require_format("p.png"),
    ],
)
def test_without_matplotlib_an_error_names_it(monkeypatch, draw):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"matplotlib: pip install matplotlib$"):
        draw()
