"""What the binaries need, and interpreters of other kinds that import them."""

import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap

import pytest
from children import environment, run_python

import fastnn._core.native.engine
import fastnn._core.native.functions

BINARIES = [
    module.__file__
    for module in (fastnn._core.native.engine, fastnn._core.native.functions)
]
# Of thread-local variables that glibc allocates when a thread first uses them, or ends
# the process where it cannot.
LAZY = re.compile(r"R_\w+_(DTPMOD|DTPREL|DTPOFF|TLSDESC)\w*")


def readelf(option, path):
    program = shutil.which("readelf")
    if program is None or sys.platform != "linux":
        pytest.skip("needs Linux and readelf (binutils)")
    command = [program, "--wide", option, path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("path", BINARIES)
def test_no_memory_for_a_thread_is_allocated_late(path):
    assert not LAZY.search(readelf("--relocs", path))


def test_late_memory_would_be_seen(tmp_path):
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler")
    source, library = tmp_path / "lazy.c", tmp_path / "lazy.so"
    source.write_text("_Thread_local int n; int *f(void) { return &n; }")
    command = [compiler, "-shared", "-fPIC", "-o", library, source]
    subprocess.run(command, check=True)
    assert LAZY.search(readelf("--relocs", library))


@pytest.mark.parametrize("path", BINARIES)
def test_only_the_c_library_is_needed(path):
    # No libgomp or other OpenMP, no BLAS, no libpython.
    dynamic = readelf("--dynamic", path)
    needed = set(re.findall(r"\(NEEDED\).*\[(.*?)\.so", dynamic))
    assert "libc" in needed
    assert needed <= {
        "libc",
        "libm",
        "libpthread",
        "ld-linux-x86-64",
        "ld-linux-aarch64",
    }
    # None but what the interpreter's own build adds to all extensions.
    own = sysconfig.get_config_var("LDSHARED") + sysconfig.get_config_var("LDFLAGS")
    paths = re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", dynamic)
    assert all(each in own for path in paths for each in path.split(":")), paths


USE = """
    import numpy as np
    import fastnn, fastnn.kernels, fastnn.callbacks, fastnn.datasets, fastnn.onnx
    X, y = np.eye(8, 4), np.arange(8) % 3
    for backend in ("native", "numpy"):
        net = fastnn.Network([4, 8, 3], seed=0, backend=backend)
        net.fit(X, y, 2, 4, validation_split=0.25, verbose=1)
        assert net.predict(X).shape == (8,)
    print("used")
"""


@pytest.mark.parametrize("options", [["-X", "dev", "-W", "error"], ["-OO"], ["-I"]])
def test_in_other_modes_of_the_interpreter(options):
    code = textwrap.dedent(USE)
    if "-I" in options:  # which looks at no variable
        code = f"import sys; sys.path[:0] = {sys.path}\n{code}"
    child = subprocess.run(
        [sys.executable, *options, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.endswith("used\n")
    assert "Warning" not in child.stderr


def test_subinterpreters_are_refused_or_work():
    """Never a crash: an ImportError, or the right answer; the first goes on."""
    child = run_python("""
        import textwrap, warnings
        warnings.simplefilter("ignore")
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        code = textwrap.dedent('''
            import warnings
            warnings.simplefilter("ignore")
            try:
                import fastnn
            except ImportError:
                pass
            else:
                import numpy as np
                net = fastnn.Network([2, 3, 2], seed=0)
                assert net.predict(np.eye(2)).shape == (2,)
        ''')
        import fastnn
        net = fastnn.Network([2, 3, 2], seed=0)
        before = net.predict_proba([[0, 1]]).tobytes()
        for _ in range(2):
            other = interpreters.create()
            error = interpreters.run_string(other, code)
            assert error is None, error
            interpreters.destroy(other)
        assert net.predict_proba([[0, 1]]).tobytes() == before
        print("goes on")
    """)
    assert child.stdout == "goes on"
