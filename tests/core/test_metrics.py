"""Metrics: worked by hand, and against scikit-learn where it is installed."""

import numpy as np
import pytest

from fastnn import metrics

AVERAGES = ["macro", "micro", "weighted", None]


@pytest.fixture
def sklearn_metrics():
    return pytest.importorskip("sklearn.metrics")


def weights_of(rng, n, kind):
    """None, random ones with zeros among them, or counts."""
    if kind == "zeros":
        return rng.uniform(0, 2, n) * (rng.random(n) < 0.7) + np.eye(1, n)[0]
    return {"none": None, "counts": rng.integers(1, 5, n)}[kind]


def cases(n_classes):
    """(true, predicted, weight): random, degenerate, absent classes, one row."""
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 200):
        for kind in ("none", "zeros", "counts"):
            draws = [rng.integers(0, n_classes, n) for _ in range(2)]
            yield *draws, weights_of(rng, n, kind)
            yield draws[0], draws[0], weights_of(rng, n, kind)
            yield draws[0] * 0, draws[1], weights_of(rng, n, kind)
            yield draws[0], draws[1] * 0, weights_of(rng, n, kind)
            yield draws[0] * 0, draws[1] * 0 + n_classes - 1, weights_of(rng, n, kind)


# --- labels ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 5])
def test_label_metrics_are_those_of_sklearn(sklearn_metrics, n_classes):
    for true, predicted, weight in cases(n_classes):
        args = true, predicted
        np.testing.assert_allclose(
            metrics.accuracy(*args, sample_weight=weight),
            sklearn_metrics.accuracy_score(*args, sample_weight=weight),
            rtol=1e-12,
        )
        matrix = metrics.confusion_matrix(
            *args, sample_weight=weight, labels=range(n_classes)
        )
        expected = sklearn_metrics.confusion_matrix(
            *args, sample_weight=weight, labels=range(n_classes)
        )
        np.testing.assert_allclose(matrix, expected, rtol=1e-12)
        for name in ("precision", "recall", "f1"):
            own = getattr(metrics, name)
            theirs = getattr(sklearn_metrics, f"{name}_score")
            for average in AVERAGES:
                for labels in (None, list(range(n_classes)), [1]):
                    options = dict(average=average, labels=labels, sample_weight=weight)
                    np.testing.assert_allclose(
                        own(*args, **options),
                        theirs(*args, **options, zero_division=0),
                        rtol=1e-12,
                        err_msg=f"{name} {options} {true} {predicted}",
                    )


def test_the_binary_average_is_that_of_sklearn(sklearn_metrics):
    for true, predicted, weight in cases(2):
        for name in ("precision", "recall", "f1"):
            for pos_label in (0, 1):
                options = dict(pos_label=pos_label, sample_weight=weight)
                theirs = getattr(sklearn_metrics, f"{name}_score")
                try:
                    expected = theirs(true, predicted, **options, zero_division=0)
                except ValueError:  # one label, and pos_label is another one
                    expected = 0.0
                own = getattr(metrics, name)(true, predicted, **options)
                np.testing.assert_allclose(own, expected, rtol=1e-12)


def test_columns_of_labels_are_those_of_sklearn(sklearn_metrics):
    rng = np.random.default_rng(1)
    for n in (1, 50):
        for kind in ("none", "zeros"):
            true, predicted = rng.integers(0, 2, (2, n, 4))
            true[:, 3] = 0
            weight = weights_of(rng, n, kind)
            np.testing.assert_allclose(
                metrics.accuracy(true, predicted, sample_weight=weight),
                sklearn_metrics.accuracy_score(true, predicted, sample_weight=weight),
            )
            for name in ("precision", "recall", "f1"):
                for average in AVERAGES:
                    options = dict(average=average, sample_weight=weight)
                    theirs = getattr(sklearn_metrics, f"{name}_score")
                    np.testing.assert_allclose(
                        getattr(metrics, name)(true, predicted, **options),
                        theirs(true, predicted, **options, zero_division=0),
                        rtol=1e-12,
                    )


def test_names_are_labels_too(sklearn_metrics):
    true = np.array(["b", "a", "c", "a", "b", "c"])
    predicted = np.array(["b", "c", "c", "a", "c", "b"])
    for labels in (None, ["c", "a", "b"], ["a", "c"]):
        assert np.array_equal(
            metrics.confusion_matrix(true, predicted, labels=labels),
            sklearn_metrics.confusion_matrix(true, predicted, labels=labels),
        )
    assert metrics.f1(true, predicted, average="macro") == pytest.approx(
        sklearn_metrics.f1_score(true, predicted, average="macro")
    )


def test_label_metrics_by_hand():
    true, predicted = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
    weight = [1, 2, 1, 4, 1, 1]
    assert metrics.accuracy(true, predicted) == 4 / 6
    assert metrics.accuracy(true, predicted, sample_weight=weight) == 8 / 10
    counts = metrics.confusion_matrix(true, predicted)
    assert counts.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert counts.dtype == np.int64
    weighed = metrics.confusion_matrix(true, predicted, sample_weight=weight)
    assert weighed.tolist() == [[3, 1, 0], [0, 4, 1], [0, 0, 1]]
    assert metrics.precision(true, predicted, average=None).tolist() == [1, 0.5, 0.5]
    assert metrics.recall(true, predicted, average=None).tolist() == [2 / 3, 0.5, 1]
    assert metrics.precision(true, predicted, average="macro") == 2 / 3
    assert metrics.recall(true, predicted, average="weighted") == 4 / 6
    assert metrics.f1(true, predicted, average="micro") == 4 / 6
    assert metrics.precision([1, 0], [0, 0]) == 0.0  # and no warning


# --- scores ---------------------------------------------------------------------------


def score_cases(n_classes):
    rng = np.random.default_rng(2)
    for n in (12, 200):
        for digits in (9, 1):  # with one digit, many are equal
            for kind in ("none", "zeros", "counts"):
                true = np.concatenate(
                    [np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)]
                )
                p = rng.dirichlet(np.ones(n_classes), n).round(digits)
                p[:, -1] = np.maximum(1 - p[:, :-1].sum(axis=1), 0)
                yield true, p / p.sum(axis=1, keepdims=True), weights_of(rng, n, kind)


@pytest.mark.parametrize("n_classes", [3, 6])
def test_scores_of_classes_are_those_of_sklearn(sklearn_metrics, n_classes):
    for true, p, weight in score_cases(n_classes):
        for k in (1, 2, n_classes - 1):
            assert metrics.top_k_accuracy(
                true, p, k=k, sample_weight=weight
            ) == pytest.approx(
                sklearn_metrics.top_k_accuracy_score(
                    true, p, k=k, sample_weight=weight
                ),
                rel=1e-12,
            )
        assert metrics.log_loss(true, p, sample_weight=weight) == pytest.approx(
            sklearn_metrics.log_loss(true, p, sample_weight=weight), rel=1e-12
        )
        for average in ("macro", "weighted", None):
            np.testing.assert_allclose(
                metrics.roc_auc(true, p, average=average, sample_weight=weight),
                sklearn_metrics.roc_auc_score(
                    true, p, average=average, sample_weight=weight, multi_class="ovr"
                ),
                rtol=1e-12,
            )
        member = (p > 1 / n_classes).astype(int)
        member[0], member[1] = 1, 0
        for average in ("macro", "weighted", None):
            options = dict(average=average, sample_weight=weight)
            np.testing.assert_allclose(
                metrics.roc_auc(member, p[:, ::-1], **options),
                sklearn_metrics.roc_auc_score(member, p[:, ::-1], **options),
                rtol=1e-12,
            )


def test_scores_of_two_classes_are_those_of_sklearn(sklearn_metrics):
    for true, p, weight in score_cases(2):
        expected = sklearn_metrics.roc_auc_score(true, p[:, 1], sample_weight=weight)
        for score in (p[:, 1], p[:, 1:], p):
            own = metrics.roc_auc(true, score, sample_weight=weight)
            assert own == pytest.approx(expected, rel=1e-12)
        loss = sklearn_metrics.log_loss(true, p[:, 1], sample_weight=weight)
        for score in (p[:, 1], p):
            own = metrics.log_loss(true, score, sample_weight=weight)
            assert own == pytest.approx(loss, rel=1e-12)


def test_scores_by_hand():
    p = [[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]
    assert metrics.top_k_accuracy([2, 0], p, k=1) == 0.0
    assert metrics.top_k_accuracy([2, 0], p, k=2) == 1.0
    assert metrics.top_k_accuracy([2, 1], p, k=1, sample_weight=[1, 3]) == 0.75
    assert metrics.log_loss([0, 1], [[1.0, 0.0], [1.0, 0.0]]) == pytest.approx(
        -0.5 * np.log(np.finfo(float).eps)
    )
    # 2 x 2 pairs: won, lost, won, equal.
    assert metrics.roc_auc([0, 0, 1, 1], [1, 3, 2, 3]) == 2.5 / 4
    assert metrics.roc_auc([0, 1, 1], [2, 1, 3], sample_weight=[1, 1, 3]) == 0.75
    assert np.isnan(metrics.roc_auc([1, 1], [0.1, 0.2]))
    absent = metrics.roc_auc([0, 1], [[0.6, 0.2, 0.2], [0.1, 0.8, 0.1]], average=None)
    assert absent[:2].tolist() == [1.0, 1.0]
    assert np.isnan(absent[2])


# --- values ---------------------------------------------------------------------------


def test_values_are_those_of_sklearn(sklearn_metrics):
    rng = np.random.default_rng(3)
    for shape in ((50,), (50, 1), (50, 3), (2, 2)):
        for kind in ("none", "zeros", "counts"):
            weight = weights_of(rng, shape[0], kind)
            true = rng.normal(3, 2, shape)
            for predicted in (true, true + rng.normal(0, 1, shape), true * 0):
                for targets in (true, true * 0 + 4):
                    for own, theirs in (
                        (metrics.r2, sklearn_metrics.r2_score),
                        (metrics.mean_squared_error, None),
                        (metrics.mean_absolute_error, None),
                    ):
                        theirs = theirs or getattr(sklearn_metrics, own.__name__)
                        np.testing.assert_allclose(
                            own(targets, predicted, sample_weight=weight),
                            theirs(targets, predicted, sample_weight=weight),
                            rtol=1e-9,
                            atol=1e-12,
                        )


def test_values_by_hand():
    assert metrics.r2([1, 2, 3], [1, 2, 3]) == 1.0
    assert metrics.r2([1, 2, 3], [2, 2, 2]) == 0.0
    assert metrics.r2([1, 2, 3], [[3], [2], [1]]) == -3.0
    assert metrics.r2([5, 5], [5, 5]) == 1.0
    assert metrics.r2([5, 5], [5, 6]) == 0.0
    assert metrics.r2([[1, 5], [3, 5]], [[1, 5], [3, 6]]) == 0.5
    assert np.isnan(metrics.r2([1], [1]))
    assert metrics.r2([1, 3, 9], [1, 3, 0], sample_weight=[1, 1, 0]) == 1.0
    assert metrics.mean_squared_error([[1, 2]], [[3, 2]]) == 2.0
    assert metrics.mean_absolute_error([1, 2], [3, 2], sample_weight=[3, 1]) == 1.5


# --- refusals -------------------------------------------------------------------------


def test_labels_of_one_kind_are_compared():
    text = np.array(["a", "b"], object)
    assert metrics.accuracy(text, ["a", "c"]) == 0.5
    assert metrics.accuracy([True, False], [1.0, 1.0]) == 0.5
    days = np.array(["2020-01-01", "2020-01-02"], "M8[D]")
    assert metrics.accuracy(days, days) == 1.0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: metrics.accuracy([0, 1], [0]), "y_true has shape"),
        (lambda: metrics.accuracy([], []), "at least one row"),
        (lambda: metrics.accuracy([0.0, np.nan], [0, 1]), "y_true has NaN"),
        (lambda: metrics.accuracy([0], [0], sample_weight=[-1]), "sample_weight"),
        (lambda: metrics.accuracy(["0", "1"], [0, 1]), "y_pred has labels of numbers"),
        (lambda: metrics.accuracy([0, 1], np.array(["0", "1"], object)), "of text"),
        (
            lambda: metrics.f1(["a", "b"], [b"a", b"b"]),
            "labels of bytes, y_true of text",
        ),
        (
            lambda: metrics.confusion_matrix(["0"], ["0"], labels=[0, 1]),
            "labels has labels of numbers, y_true of text",
        ),
        (lambda: metrics.confusion_matrix([[0, 1]], [[0, 1]]), "expected labels"),
        (lambda: metrics.precision([0, 1], [0, 1], average="mean"), "average must be"),
        (lambda: metrics.recall([0, 1, 2], [0, 1, 2]), "there are 3 classes"),
        (lambda: metrics.f1([0, 2], [0, 2]), "pos_label is 1; expected one of"),
        (lambda: metrics.f1([[0, 1]], [[0, 1]]), "several labels per row"),
        (lambda: metrics.top_k_accuracy([0, 3], np.eye(2)), r"y_true\[1\] is 3"),
        (lambda: metrics.top_k_accuracy([0, 1], np.eye(2), k=0), "k must be"),
        (lambda: metrics.top_k_accuracy([0, 1], [0.1, 0.2]), "expected"),
        (lambda: metrics.roc_auc([0, 1, 2], [1, 2, 3]), "has 3 classes"),
        (lambda: metrics.roc_auc([0, 1], [0.5, np.nan]), "y_score has NaN"),
        (lambda: metrics.roc_auc([0, 1], [1, 2], average="micro"), "average must be"),
        (lambda: metrics.log_loss([0, 0.5], np.eye(2)), r"y_true\[1\] is 0.5"),
        (lambda: metrics.log_loss([0, 1], [[np.nan, 1], [0, 1]]), "has NaN"),
        (lambda: metrics.r2([1, 2], [1, np.inf]), "y_pred has NaN or infinity"),
        (lambda: metrics.mean_squared_error([1, 2], [[1, 2]]), "y_true has shape"),
        (lambda: metrics.mean_absolute_error([1], [1], sample_weight=[0]), "sums to 0"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(ValueError, match=text):
        call()
