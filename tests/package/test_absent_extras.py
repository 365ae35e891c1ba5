"""Packages that are optional: without one, a line that names it, and nothing broken."""

import pytest
from children import run_python

# In a child, so that it does not matter what is installed here.
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import fastnn
net = fastnn.Network([4, 3], seed=0)
try:
    {code}
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "code", "name"),
    [
        ("onnx", "net.to_onnx('net.onnx')", "onnx"),
        ("onnx", "fastnn.Network.from_onnx('net.onnx')", "onnx"),
        ("onnx", "import fastnn.onnx; fastnn.onnx.to_onnx(net)", "onnx"),
        ("torch", "net.to_torch()", "torch"),
        ("torch", "fastnn.Network.from_torch(None)", "torch"),
        ("torch", "import fastnn.torch", "torch"),
        ("sklearn", "net.to_sklearn()", "scikit-learn"),
        ("pyarrow", "fastnn.datasets.read_table('t.parquet')", "pyarrow"),
        ("mpi4py", "net.fit([[1] * 4], [1], communicator=object())", "mpi4py"),
        (
            "scipy",
            "net.optimizer = 'lbfgs'; net.fit([[1] * 4], [1], verbose=0)",
            "scipy",
        ),
        (
            "matplotlib",
            "from fastnn.plotting import _axes; _axes.require_matplotlib()",
            "matplotlib",
        ),
    ],
)
def test_the_message_names_the_package(package, code, name):
    out = run_python(WITHOUT.format(package=package, code=code)).stdout
    assert out.endswith(f": pip install {name}"), out
    assert "\n" not in out


@pytest.mark.parametrize("package", ["onnx", "torch", "sklearn"])
def test_weights_go_both_ways_without_any_of_them(package):
    code = "net.load_state_dict(net.state_dict()); print(len(net.state_dict()))"
    assert run_python(WITHOUT.format(package=package, code=code)).stdout == "2"


def test_the_command_line_says_it_in_one_line(tmp_path):
    code = f"""
    from fastnn import cli
    net.save({str(tmp_path / "m")!r})
    print(cli.main(["export", {str(tmp_path / "m")!r}, "--to", "onnx"]))
    """
    lines = [line.strip() for line in code.strip().splitlines()]
    child = run_python(WITHOUT.format(package="onnx", code="\n    ".join(lines)))
    assert child.stdout == "2"
    assert (
        child.stderr == "fastnn: error: ONNX needs the package onnx: pip install onnx"
    )
