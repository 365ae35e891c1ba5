"""`fastnn.search`: the same bits however it runs, and never less than it has found."""

import json
import time

import numpy as np
import pytest

import fastnn
from fastnn import Dense, Dropout, Network, PeriodicEmbedding
from fastnn._core.model.merge import merge
from fastnn._plan.inputs import standard_scaling
from fastnn._plan.recipes import Size
from fastnn._search import course
from fastnn._search.space import recipe_of
from fastnn.network import model_of, network_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5))
y = (X[:, :3] + 0.5 * RNG.normal(size=(300, 3))).argmax(axis=1)
VALUES = 1000 + 50 * X[:, 0] * X[:, 1] + RNG.normal(size=300)
SPACE = {
    "width": [4, 8], "depth": [1, 2], "epochs": 9, "activation": "relu",
    "frequencies": [0, 2],
}  # fmt: skip


def search(X=X, y=y, space=SPACE, **options):
    options = {"n_settings": 5, "verbose": 0, "refit": False, **options}
    return fastnn.search(X, y, space, **options)


def content(result, tmp_path):
    """All that does not depend on time."""
    result.network.save(tmp_path / "m")
    trials = [{**vars(trial), "seconds": 0} for trial in result.trials]
    return (tmp_path / "m").read_bytes(), trials, result.members, result.loss


def test_settings_are_halved_twice():
    result = search(n_settings=10)
    counts = [[t.rung for t in result.trials].count(rung) for rung in range(3)]
    assert counts == [10, 4, 2]
    assert [{t.epochs for t in result.trials if t.rung == r} for r in range(3)] == [
        {1}, {3}, {9},
    ]  # fmt: skip
    for rung in range(2):  # the best go on
        losses = {t.setting: t.loss for t in result.trials if t.rung == rung}
        on = sorted(t.setting for t in result.trials if t.rung == rung + 1)
        assert on == sorted(sorted(losses, key=losses.get)[: counts[rung + 1]])
    best = min((t for t in result.trials if t.rung), key=lambda t: t.loss)
    assert (best.loss, best.score) == (result.loss, result.score)
    assert result.members == {best.setting: 1.0}
    assert result.best == result.settings[best.setting]


@pytest.mark.parametrize("ensemble", [1, 3])
def test_the_same_bits_on_any_number_of_threads(ensemble, tmp_path, on_all_threads):
    one, three = (
        content(search(num_threads=n, ensemble=ensemble), tmp_path) for n in (1, 3)
    )
    assert one == three


def test_other_seeds_are_other_searches():
    assert search(seed=1).settings != search(seed=2).settings


@pytest.mark.parametrize("ensemble", [1, 3])
def test_resumed_after_every_training(ensemble, tmp_path, monkeypatch):
    whole = content(search(ensemble=ensemble), tmp_path)
    whole_number = 5 + 2 + ensemble - 1
    assert len(whole[1]) == whole_number
    path = tmp_path / "state"
    written = course.write_atomically
    stops = []

    def stop(*arguments):
        written(*arguments)
        if not stops:
            stops.append(1)
            raise KeyboardInterrupt

    monkeypatch.setattr(course, "write_atomically", stop)
    monkeypatch.setattr(course, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(course, "PAUSE", 0.0)
    trained = -1  # the first write is before all trainings
    for _ in range(100):
        stops.clear()
        try:
            result = search(ensemble=ensemble, state=path, resume=True, num_threads=1)
            break
        except KeyboardInterrupt:
            with np.load(path) as archive:
                n = len(json.loads(archive["record"].tobytes())["trials"])
            assert n > trained
            trained = n
            if n == whole_number:
                monkeypatch.setattr(course, "write_atomically", written)
    assert trained == whole_number
    assert content(result, tmp_path) == whole
    # What is complete is read, not trained.
    monkeypatch.setattr(course, "fit_all", None)
    again = search(ensemble=ensemble, state=path, resume=True)
    assert content(again, tmp_path) == whole


def test_a_state_of_another_search_is_refused(tmp_path):
    path = tmp_path / "state"
    search(state=path)
    for options, name in [
        ({"seed": 1}, "seed"),
        ({"n_settings": 4}, "settings"),
        ({"ensemble": 2}, "ensemble"),
        ({"X": X + 1}, "data"),
        ({"dtype": "float64"}, "dtype"),
    ]:
        with pytest.raises(ValueError, match=f"{path} .* other {name}; expected"):
            search(state=path, resume=True, **options)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(ValueError, match="state is no state of a search"):
        search(state=path, resume=True)


def test_the_time_limit_ends_what_would_take_hours():
    space = {**SPACE, "epochs": 10**8, "row_epochs": 10**12}
    begin = time.monotonic()
    result = search(space=space, time_limit=2.0)
    assert time.monotonic() - begin < 60
    assert result.seconds < 60
    assert result.network.score(X, y) > 0.5


def test_a_time_that_is_over_at_once_still_gives_a_network():
    result = search(time_limit=1e-4)
    assert len(result.trials) == 1
    assert result.network.predict(X).shape == (300,)


def test_time_enough_changes_nothing(tmp_path):
    plenty = search(time_limit=1e7)
    assert content(plenty, tmp_path) == content(search(), tmp_path)


def test_little_time_means_fewer_settings(monkeypatch):
    """By an estimate: an epoch of any network takes an hour."""
    monkeypatch.setattr(course.Course, "_work_of", lambda self, *_: 3600.0)
    monkeypatch.setattr(course, "work_of", lambda *_: 3600.0)
    fit = Network.fit

    def measured(self, *arguments, **options):
        monkeypatch.setattr(Network, "fit", fit)
        now = time.monotonic()
        monkeypatch.setattr(course.time, "monotonic", lambda: now + 3600.0)

    monkeypatch.setattr(Network, "fit", measured)
    result = search(n_settings=27, time_limit=6 * 3600.0, num_threads=1)
    assert {t.setting for t in result.trials if t.rung == 0} < {*range(5)}


def test_an_ensemble_is_at_least_as_good_as_the_best():
    space = {**SPACE, "width": 32, "epochs": 90, "learning_rate": 0.02}
    one, several = (search(space=space, n_settings=9, ensemble=most) for most in (1, 4))
    assert len(several.members) > 1  # of this data
    assert several.loss < one.loss
    assert sum(several.members.values()) == pytest.approx(1)
    known = several.network.loss_and_gradients  # a network like any other
    assert np.isfinite(known(X, y)[0])


def members_of(backend, dtype="float32"):
    def make(seed, *layers):
        return Network([5, *layers, 3], seed=seed, backend=backend, dtype=dtype)

    def embedding(frequencies, size):
        return PeriodicEmbedding(frequencies, size, columns=3, sigma=0.5)

    return [
        make(0, embedding(4, 4), Dense(8, "selu"), Dropout(0.2), Dense(6, "selu")),
        make(1, Dense(5, "selu"), Dense(4, "selu")),
        make(2, embedding(2, 3), Dense(7, "selu"), Dense(3, "selu")),
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("numbers", [[0, 1, 2], [1, 2], [1, 1], [2]])
def test_merged_networks_give_the_sum_of_their_shares(
    backend, dtype, numbers, tmp_path
):
    networks = [members_of(backend, dtype)[i] for i in numbers]
    shares = [0.5, 0.3, 0.2][: len(networks)]
    merged = network_of(merge([*map(model_of, networks)], shares))
    expected = sum(
        s * net.decision_function(X) for s, net in zip(shares, networks, strict=True)
    )
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(
        merged.decision_function(X), expected, rtol=tolerance, atol=tolerance
    )
    merged.save(tmp_path / "m")
    loaded = Network.load(tmp_path / "m", backend=backend)
    assert (loaded.predict(X) == merged.predict(X)).all()


def test_linear_networks_merge():
    networks = [Network([5, 3], seed=seed) for seed in (0, 1)]
    merged = network_of(merge([*map(model_of, networks)], [0.25, 0.75]))
    assert merged.n_parameters == networks[0].n_parameters
    expected = sum(
        s * net.decision_function(X)
        for s, net in zip([0.25, 0.75], networks, strict=True)
    )
    np.testing.assert_allclose(merged.decision_function(X), expected, atol=1e-6)


def test_members_are_alike():
    """Of one depth and activation, with few enough cosines to be one layer."""
    space = {"depth": [1, 2], "activation": ["relu", "selu"], "epochs": 30}
    space |= {"frequencies": [64, 100], "width": 8}
    result = search(space=space, n_settings=9, ensemble=9)
    own = [result.settings[i] for i in result.members]
    assert len({(each["depth"], each["activation"]) for each in own}) == 1
    assert 2 * 100 <= 256 < 3 * 100
    assert len(own) <= 2


@pytest.mark.parametrize("loss", ["mse", "mae", "quantile", "gaussian_nll"])
@pytest.mark.parametrize("ensemble", [1, 3])
def test_numbers_come_out_as_they_were(loss, ensemble):
    space = {**SPACE, "width": 32, "epochs": 90, "learning_rate": 0.02}
    result = search(y=VALUES, space=space, loss=loss, ensemble=ensemble)
    predicted = result.network.predict(X)[:, result.network.plan.point]
    assert result.score_name == "R2"
    assert fastnn.metrics.r2(VALUES, predicted) > 0.5


def test_the_score_is_that_of_the_rows_held_out():
    rows = np.arange(300) % 4 == 0
    result = search(rows_val=rows)
    assert result.score == result.network.score(X[rows], y[rows])


def test_what_was_chosen_is_trained_again_on_all_rows(tmp_path):
    kept, again = search(ensemble=2), search(ensemble=2, refit=True)
    assert (kept.is_refit, again.is_refit) == (False, True)
    assert (kept.loss, kept.members) == (again.loss, again.members)
    assert "trained again on all rows" in str(again)
    one = search(n_settings=1, refit=True)
    recipe = recipe_of(one.best, Size(300, 5, 5, 3))
    scale, shift = standard_scaling(X)
    network = Network(
        recipe.layers, loss=recipe.loss, optimizer=recipe.optimizer, seed=0,
        input_scale=scale, input_shift=shift,
    )  # fmt: skip
    network.fit(X, y, recipe.epochs, recipe.batch_size, verbose=0)
    assert (network.predict_proba(X) == one.network.predict_proba(X)).all()
    assert content(again, tmp_path) == content(
        search(ensemble=2, refit=True, num_threads=1, time_limit=1e7), tmp_path
    )


def test_tables_keep_their_columns(tmp_path):
    table = {f"c{i}": X[:, i] for i in range(5)}
    table["kind"] = np.where(X[:, 0] > 0, "a", "b")
    result = search(X=table)
    result.network.save(tmp_path / "m")
    rows = {name: values[:7] for name, values in reversed(table.items())}
    assert Network.load(tmp_path / "m").predict(rows).shape == (7,)


def test_pixels_are_scaled_and_not_embedded():
    pixels = RNG.integers(0, 200, (300, 5)).astype(np.uint8)
    pixels[0, 0] = 250
    result = search(X=pixels, space=None, n_settings=3)
    assert not any("frequencies" in each for each in result.settings)
    assert model_of(result.network).scaling[0].tolist() == [1 / 250] * 5


def test_the_recipe_comes_first():
    result = search(space=None, n_settings=2)
    assert [s["weight_decay"] for s in result.settings] == [1.0, 0.3]
    assert [s["activation"] for s in result.settings] == ["selu", "selu"]
    assert [s["sigma"] for s in result.settings] == [0.1, 0.3]


def test_distributions_are_drawn_from():
    class Uniform:
        def rvs(self, random_state):
            return random_state.uniform(0.001, 0.01)

    rates = [
        [each["learning_rate"] for each in result.settings]
        for result in (search(space={**SPACE, "learning_rate": Uniform()}),) * 2
    ]
    assert len({*rates[0]}) == 5
    assert all(0.001 < rate < 0.01 for rate in rates[0])
    assert rates[0] == rates[1]


def test_a_small_space_is_tried_whole():
    space = {
        "learning_rate": [0.01, 0.02], "weight_decay": 0, "dropout": 0, "width": 4,
        "depth": 1, "activation": "relu", "batch_size": 50, "label_smoothing": 0,
        "frequencies": 0, "sigma": 1, "epochs": 2,
    }  # fmt: skip
    assert len(search(space=space, n_settings=20).settings) == 2


def test_settings_that_fail_are_left_behind():
    space = {**SPACE, "learning_rate": [0.01, 1e30]}
    result = search(space=space, n_settings=8)
    failed = [trial for trial in result.trials if trial.error]
    assert failed
    assert all(trial.error.startswith("TrainingDiverged") for trial in failed)
    assert all(trial.rung == 0 for trial in failed)
    assert result.best["learning_rate"] == 0.01
    assert f"{len(failed)} trainings failed; the first" in str(result)


def test_all_fail(tmp_path):
    space, path = {**SPACE, "learning_rate": 1e30}, tmp_path / "state"
    with pytest.raises(fastnn.TrainingDiverged):
        search(space=space, state=path)
    with pytest.raises(RuntimeError, match="TrainingDiverged"):
        search(space=space, state=path, resume=True)


def test_a_trial_for_the_time_may_fail():
    space = {**SPACE, "learning_rate": [1e30, 1e-3], "width": 4, "depth": 1}
    options = {"loss": "mse", "n_settings": 2, "seed": 1}
    result = search(y=VALUES, space=space, time_limit=60, **options)
    assert sorted(trial.error is None for trial in result.trials) == [False, True]


def test_a_state_is_not_replaced_by_another_search(tmp_path):
    path = tmp_path / "s"
    search(n_settings=1, state=path)
    written = path.read_bytes()
    with pytest.raises(FileExistsError, match="resume=True goes on with it"):
        search(n_settings=1, state=path, seed=1)
    assert path.read_bytes() == written
    with pytest.raises(ValueError, match="with other backend"):
        search(n_settings=1, state=path, resume=True, backend="numpy")
    with pytest.raises(FileNotFoundError):  # before anything is trained
        search(state=tmp_path / "no" / "s", space={**SPACE, "epochs": 10**9})


def test_an_error_of_the_last_training_is_told(monkeypatch):
    fit_all, calls = course.fit_all, []

    def failing(fits, *others):
        calls.append(fits)
        if len(calls) > 1:  # what was chosen, on all rows
            monkeypatch.setattr(Network, "fit", lambda *a, **k: 1 / 0)
        fit_all(fits, *others)

    monkeypatch.setattr(course, "fit_all", failing)
    with pytest.warns(UserWarning, match="again on all rows: division by zero"):
        assert not search(n_settings=1, refit=True).is_refit


def test_the_numpy_lane_searches_too():
    result = search(backend="numpy", n_settings=3)
    assert result.network.backend == "numpy"


def test_one_screen(capsys):
    result = search(n_settings=27, space=None, ensemble=2)
    lines = str(result).splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 120
    assert " settings with larger losses" in lines[-1]
    data = json.loads(json.dumps(result.to_dict()))
    assert len(data["trials"]) == 27 + 9 + 3 + 1
    assert data["loss"] == result.loss
    table = [row for row in result.markdown().splitlines() if row.startswith("|")]
    assert len(table) == 14
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": {"widths": [1]}}, "'widths'; expected .*; did you mean 'width'"),
        ({"space": {"width": []}}, r"space\['width'\] is empty"),
        ({"space": {"width": 2.5}}, "of the settings .* width must be an integer"),
        ({"space": {"depth": -1}}, "depth must be an integer >= 0, got -1"),
        ({"space": {"activation": "reul"}}, "of the settings .*'reul'"),
        ({"space": ["width"]}, "space must be a dict of settings"),
        ({"n_settings": 0}, "n_settings must be an integer >= 1, got 0"),
        ({"ensemble": 0}, "ensemble must be an integer from 1 to 21, got 0"),
        ({"ensemble": 22}, "ensemble must be an integer from 1 to 21, got 22"),
        (
            {"space": {"schedule": "cosine"}},
            "schedule is 'cosine'; expected 'one_cycle'",
        ),
        (
            {"space": {"sigma": 1.0}, "X": np.ones((300, 5), "u1")},
            "for numeric columns",
        ),
        (
            {"space": {"label_smoothing": 0.1}, "y": VALUES, "loss": "mse"},
            "'label_smoothing', which is for classes",
        ),
        ({"loss": fastnn.losses.SoftmaxCrossEntropy(0.3)}, "a setting of the search"),
        ({"y": VALUES * 1e300, "loss": "mse", "dtype": "float64"}, "y is not finite"),
        ({"state": 3}, "state must be a path, got 3"),
        ({"time_limit": 0}, "time_limit must be a finite number > 0, got 0"),
        ({"seed": -1}, "seed must be an integer"),
        ({"num_threads": 0}, "num_threads must be an integer >= 1"),
        ({"resume": True}, "resume is True, but state is None"),
        ({"refit": 1}, "refit must be True or False, got 1"),
        ({"loss": "hinge"}, "loss is 'hinge'; expected 'softmax_cross_entropy'"),
        ({"loss": lambda z, t: 0}, "expected 'softmax_cross_entropy'"),
        ({"y": VALUES}, "y has .* among 300 rows; expected labels of classes"),
        ({"y": y - 1}, r"y\[\d+\] is -1; expected integer labels"),
        ({"y": np.eye(3)[y]}, r"y has shape \(300, 3\)"),
        ({"y": VALUES[:9], "loss": "mse"}, "y has 9 rows but X has 300"),
        ({"y": X, "loss": "mse"}, r"y has shape \(300, 5\)"),
        ({"X": X[:, 0]}, "X has 1 dimensions"),
        ({"X": np.where(X > 2, np.nan, X)}, "X.*nan"),
        ({"X": X[:5], "y": y[:5]}, "X has 5 rows; expected at least 10"),
        ({"rows_val": np.ones(300, bool)}, "rows_val has all rows of X"),
        ({"rows_val": [300]}, r"rows_val\[0\] is 300"),
    ],
)
def test_wrong_input(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        search(**options)
