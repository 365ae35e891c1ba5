"""Fixtures of all tests, and which fastnn they test."""

import os
import sys
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).resolve().parent
SOURCE = TESTS.parent

# The source folder has a `fastnn` too, and `python -m pytest` looks there first. Unless
# it is built in place (`pip install -e .`), the installed package is what is tested.
BUILT_IN_PLACE = any(
    (SOURCE / "fastnn/_core/native" / f"engine{suffix}").exists()
    for suffix in EXTENSION_SUFFIXES
)
if not BUILT_IN_PLACE:
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != SOURCE]

import fastnn  # noqa: E402
from fastnn._core.native import engine as native  # noqa: E402

# Warnings of what tests do on purpose; documentation must not.
TRAPS = (
    "ignore:.*no more than one linear layer:UserWarning",
    "ignore:y has the standard deviation:UserWarning",
    "ignore:module returns . raw outputs:UserWarning",
    "ignore:validation_split holds out the last rows:UserWarning",
)
WITHOUT_TRAPS = ("test_traps", "test_docs", "test_doctests")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem not in WITHOUT_TRAPS:
            item.add_marker(pytest.mark.filterwarnings(*TRAPS), append=False)


@pytest.fixture(scope="session", autouse=True)
def children_find_the_same_fastnn():
    """A child started with `python -c` looks in the working directory first."""
    if not BUILT_IN_PLACE and Path.cwd() == SOURCE:
        if "FASTNN_DATA" in os.environ:
            os.environ["FASTNN_DATA"] = os.path.abspath(os.environ["FASTNN_DATA"])
        os.chdir(TESTS)


@pytest.fixture
def on_all_threads():
    """As many threads as are allowed, though there be fewer CPUs."""
    native._begin_on_all_threads(True)
    yield
    native._begin_on_all_threads(False)


@pytest.fixture(params=["native", "numpy"])
def backend(request):
    """Both engines: what is tested with this fixture is a promise of both."""
    return request.param


@pytest.fixture
def make_net(backend) -> Callable[..., fastnn.Network]:
    """Network(...) on the backend under test, with a seed."""

    def make(layers=(4, 8, 3), **arguments):
        arguments.setdefault("seed", 0)
        return fastnn.Network(list(layers), backend=backend, **arguments)

    return make


@pytest.fixture
def torch():
    """PyTorch on one thread, with all its scalars in float64."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # for arrays this small others only wait
    yield torch
    torch.set_default_dtype(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture
def blobs():
    """60 rows of 4 inputs in 3 classes that a small network can separate."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 4)).astype(np.float32) * 0.3
    X[np.arange(60), y] += 1.0
    return X, y
