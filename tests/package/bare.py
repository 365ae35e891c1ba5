"""Every optional package that is absent is asked for in one line: run it as a script.

For an environment that has what fastnn needs and nothing else, as `.ci/run bare` makes
it; so it uses no pytest.
"""

import os
import subprocess
import sys
import tempfile

COMMAND = [sys.executable, "-m", "fastnn"]
PYTHON = [sys.executable, "-c"]
NETWORK = "import fastnn; net = fastnn.Network([4, 3], seed=0); "
# The package, and what needs it.
CASES = [
    ("pooch", [*COMMAND, "train", "mnist"]),
    ("matplotlib", [*COMMAND, "train", "--plot", "curves.png"]),
    ("pillow", [*COMMAND, "predict", "fastnn-digits.safetensors", "digit.png"]),
    ("onnx", [*COMMAND, "export", "fastnn-digits.safetensors", "--to", "onnx"]),
    ("onnx", [*PYTHON, NETWORK + "net.to_onnx('net.onnx')"]),
    ("onnx", [*PYTHON, "import fastnn.onnx; fastnn.onnx.from_onnx('net.onnx')"]),
    ("torch", [*PYTHON, NETWORK + "net.to_torch()"]),
    ("torch", [*PYTHON, "import fastnn.torch"]),
    ("scikit-learn", [*PYTHON, "import fastnn.sklearn"]),
    ("scikit-learn", [*PYTHON, NETWORK + "net.to_sklearn()"]),
    (
        "scipy",
        [*PYTHON, NETWORK + "net.optimizer = 'lbfgs'; net.fit([[1] * 4], [1])"],
    ),
]


def run(command: list[str], environment: dict[str, str]) -> tuple[int, list[str]]:
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.returncode, done.stderr.splitlines()


def main() -> None:
    environment = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        environment["XDG_CACHE_HOME"] = folder  # without MNIST
        status, lines = run([*COMMAND, "train", "--quiet"], environment)
        assert status == 0, lines
        for package, command in CASES:
            status, lines = run(command, environment)
            what = f"{' '.join(command[1:])}: status {status}, {lines}"
            assert status != 0, what
            assert f"pip install {package}" in lines[-1], what
            if command[1:3] == COMMAND[1:]:
                assert lines[-1].startswith("fastnn: error: "), what
                assert len(lines) == 1, what
            else:
                assert lines[-1].startswith("ImportError: "), what
            print(lines[-1])
    print(f"{len(CASES)} passed")


if __name__ == "__main__":
    main()
