"""Python code in a process of its own: another environment, or a life of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import fastnn

# Also where the tests run from another folder than the package's.
_IMPORT_PATH = [str(Path(fastnn.__file__).parents[1]), str(Path(__file__).parent)]


def environment(**variables):
    """This process's environment without what steers fastnn, and with `variables`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FASTNN_", "OMP_", "PYTHON"))
    }
    for name in ("PYTHONMALLOC", "PYTHONHASHSEED"):  # set for sanitizers
        if name in os.environ:
            kept[name] = os.environ[name]
    path = os.pathsep.join(_IMPORT_PATH)
    return {**kept, "PYTHONPATH": path, **variables}


def run_python(code, *arguments, check=True, timeout=200, **variables):
    """Run code with warnings as errors; return the completed process, texts stripped.

    With `check`, a child that fails shows its traceback in the assertion.
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    child = subprocess.run(
        [*command, *map(str, arguments)],
        env=environment(**variables),
        cwd=Path(__file__).parent,  # `-c` looks for modules here first
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert not check or child.returncode == 0, child.stderr or child.stdout
    child.stdout, child.stderr = child.stdout.strip(), child.stderr.strip()
    return child


def run_pytest(file, *arguments, timeout=250, **variables):
    """Run the tests of a file in a child; they must pass, and there must be some."""
    file = Path(__file__).parents[2] / file
    child = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            file,
            *list(arguments),
        ],
        env=environment(**variables),
        cwd=file.parent,  # and not where there is a fastnn that is not built
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert child.returncode == 0, child.stdout + child.stderr
    assert " passed" in child.stdout, child.stdout


BUILT_ISAS = fastnn.build_info()["isa_built"]
_BEST = run_python("import fastnn; print(fastnn.build_info()['isa_active'])").stdout
# The best instruction set of this CPU, and all after it.
SUPPORTED_ISAS = BUILT_ISAS[BUILT_ISAS.index(_BEST) :]


def needs_isa(isa):
    """Skip where the instruction set cannot run."""
    reason = f"this CPU has no {isa}, or it is not built: {SUPPORTED_ISAS}"
    return pytest.mark.skipif(isa not in SUPPORTED_ISAS, reason=reason)


def _each(isas):
    return pytest.mark.parametrize(
        "isa", [pytest.param(isa, marks=needs_isa(isa)) for isa in isas]
    )


each_isa = _each(BUILT_ISAS)
# All but the one that this process tests anyway.
each_other_isa = _each(
    isa for isa in BUILT_ISAS if isa != fastnn.build_info()["isa_active"]
)
