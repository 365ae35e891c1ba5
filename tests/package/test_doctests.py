"""The examples of the docstrings, in the package that is installed."""

import doctest
import importlib
import pkgutil
import re

import pytest

import fastnn
from fastnn._core.native import functions

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fastnn.__path__, "fastnn.")
    # The first runs the command line, the others import packages that are optional.
    if not re.search(r"__main__$|bench\.peers\.", module.name)
)

# What modules need that is optional.
NEEDS = {
    "fastnn.onnx": "onnx",
    "fastnn.sklearn": "sklearn",
    "fastnn._core.exchange.onnx": "onnx",
    "fastnn.torch": "torch",
    "fastnn._core.exchange.torch": "torch",
}


@pytest.mark.parametrize("name", ["fastnn", *MODULES])
def test_examples(name, tmp_path, monkeypatch, capsys):
    for beginning, package in NEEDS.items():
        if name.startswith(beginning):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(module, name):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out


def test_kernels_have_the_examples_of_the_reference():
    examples = doctest.DocTestFinder().find(functions)
    with_examples = {test.name.rpartition(".")[2] for test in examples if test.examples}
    assert with_examples == {*fastnn.kernels.__all__}
