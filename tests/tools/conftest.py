"""Command lines, run in a folder of their own."""

import os
import shlex

import pytest

from fastnn import cli

# The user's folder of data, which tests do not see unless they ask.
DATA = os.environ.get("FASTNN_DATA") and os.path.abspath(os.environ["FASTNN_DATA"])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test in a folder of its own, and without the user's folder of data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def user_data():
    """The user's folder that holds MNIST, or the test is skipped."""
    if not DATA:
        pytest.skip("set FASTNN_DATA to a folder that holds MNIST")
    return DATA


@pytest.fixture
def run(capsys):
    """Run a command line: (exit code, stdout, stderr)."""

    def run(line):
        try:
            code = cli.main(shlex.split(line))
        except SystemExit as end:  # argparse ends that way
            code = end.code
        return code, *capsys.readouterr()

    return run
