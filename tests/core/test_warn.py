"""Warnings name the user's line, however deep in fastnn they arise."""

import warnings

import pytest

from fastnn import Dense, Network
from fastnn._base.warn import warn_user


def test_the_line_outside_fastnn_is_named():
    with pytest.warns(UserWarning, match="raw outputs") as record:
        Network([2, Dense(2, "relu")])  # this line
    assert record[0].filename == __file__
    with open(__file__) as file:
        assert file.readlines()[record[0].lineno - 1].rstrip().endswith("# this line")


@pytest.mark.parametrize("depth", [0, 1, 30])
@pytest.mark.parametrize("module", ["fastnn", "fastnn.anything", "sklearn.base"])
def test_frames_of_fastnn_and_scikit_learn_are_passed_over(depth, module):
    space = {"__name__": module, "warn_user": warn_user}
    exec("def inside(depth):\n inside(depth - 1) if depth else warn_user('hm')", space)
    with pytest.warns(UserWarning, match="hm") as record:
        space["inside"](depth)
    assert record[0].filename == __file__


def test_names_that_only_begin_alike_are_others():
    space = {"__name__": "fastnn_extras", "warn_user": warn_user}
    exec(compile("def outside():\n warn_user('hm')", "extras.py", "exec"), space)
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        space["outside"]()
    assert record[0].filename == "extras.py"
