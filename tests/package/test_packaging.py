"""The sdist, the wheel and the installed package, and rules for the whole source."""

import contextlib
import importlib.metadata
import marshal
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import fastnn

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {"build", "dist", "__pycache__", ".git", ".venv", ".ci"}

# Writes what -o names and a line of the log, so that a build takes a second. The tests
# that the real binaries work are all the others.
FAKE_COMPILER = """\
#!/bin/sh
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then : > "$2"; echo "$2" >> "$FAKE_LOG"; fi
  shift
done
"""


@pytest.fixture
def source(tmp_path) -> Path:
    """A copy of the source folder without anything built."""
    return Path(
        shutil.copytree(
            ROOT,
            tmp_path / "source",
            ignore=lambda folder, names: [
                name
                for name in names
                if name in SKIPPED
                or name.endswith((".so", ".egg-info", "_cache"))
                or (Path(folder).name == "fastnn" and name.endswith(".c"))
            ],
        )
    )


@pytest.fixture
def setup(source, tmp_path):
    """Run setup.py with a fake compiler; returns the files that it compiled."""
    compiler, log = tmp_path / "cc", tmp_path / "log"
    compiler.write_text(FAKE_COMPILER)
    compiler.chmod(0o755)

    def setup(*arguments, **variables):
        log.write_text("")
        done = subprocess.run(
            [sys.executable, "setup.py", "--quiet", *arguments],
            cwd=source,
            env={
                **os.environ,
                "CC": str(compiler),
                "LDSHARED": str(compiler),
                "FAKE_LOG": str(log),
                **variables,
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [Path(line).name.split(".")[0] for line in log.read_text().split()]

    return setup


def test_a_version_is_in_one_place():
    versions = re.findall(
        r'__version__ = "(.*)"', (ROOT / "fastnn/_base/version.py").read_text()
    )
    assert versions == [fastnn.__version__]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # not installed
        assert importlib.metadata.version("fastnn") == fastnn.__version__
    for name in ("setup.py", "pyproject.toml", "fastnn/__init__.py", "CITATION.cff"):
        assert fastnn.__version__ not in (ROOT / name).read_text()
    assert f"## [{fastnn.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_sdist_has_what_a_build_needs(setup, source):
    setup("sdist")
    (archive,) = (source / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    needed = [*source.glob("csrc/**/*.*"), *source.glob("fastnn/**/*.py*")]
    needed = {str(path.relative_to(source)) for path in needed}
    needed = {name for name in needed if "__pycache__" not in name}
    needed |= {"fastnn/py.typed", "fastnn/datasets/digits.npz", "fastnn/demo/page.html"}
    needed |= {"fastnn/demo/playground.html", "fastnn/demo/style.css"}
    needed |= {"tests/conftest.py"}
    needed |= {str(path.relative_to(source)) for path in source.glob("docs/**/*.*")}
    needed |= {"README.md", "LICENSE", "CHANGELOG.md", "setup.py", "pyproject.toml"}
    needed |= {"CITATION.cff", "SECURITY.md", "mkdocs.yml"}
    assert needed <= names
    assert not [name for name in names if name.endswith((".so", ".o"))]
    assert not [name for name in names if re.fullmatch(r"fastnn/.*\.c", name)]


def test_the_wheel_has_stubs_data_and_licence_but_no_c(setup, source):
    setup("bdist_wheel")
    (wheel,) = (source / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    wanted = {"fastnn/py.typed", "fastnn/_core/native/engine.pyi"}
    wanted |= {"fastnn/_core/native/functions.pyi"}
    wanted |= {"fastnn/demo/page.html", "fastnn/datasets/digits.npz"}
    wanted |= {"fastnn/demo/playground.html", "fastnn/demo/style.css"}
    assert wanted | {"fastnn/datasets/README.md"} <= {*names}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert all(
        name.startswith(("fastnn/", f"fastnn-{fastnn.__version__}.dist-info/"))
        for name in names
    )
    assert not [name for name in names if name.endswith((".c", ".h", ".o"))]


def test_what_is_installed_is_small(setup, source):
    """5 MB with the bytecode that pip adds; the binaries are those under test."""
    setup("bdist_wheel")
    (wheel,) = (source / "dist").glob("*.whl")
    package = Path(fastnn.__file__).parent
    sizes = {}
    for file in zipfile.ZipFile(wheel).infolist():
        folder, _, name = file.filename.partition("/")
        real = folder == "fastnn"
        sizes[file.filename] = (
            (package / name).stat().st_size if real else file.file_size
        )
        if name.endswith(".py"):
            code = compile((package / name).read_bytes(), name, "exec")
            sizes[f"{file.filename}c"] = len(marshal.dumps(code))
    assert any(name.endswith(".so") and size > 1e5 for name, size in sizes.items())
    assert sum(sizes.values()) <= 5e6, sorted(sizes.items(), key=lambda item: -item[1])


@pytest.mark.parametrize(
    "touched", ["csrc/kernels/dense/gemm.inc.h", "fastnn/_core/native/fastnn.pxd"]
)
def test_a_touched_header_is_compiled_again(setup, source, touched):
    assert {"engine", "train", "isa_scalar"} <= {*setup("build_ext")}
    assert setup("build_ext") == []
    later = (source / "build").stat().st_mtime + 10
    os.utime(source / touched, (later, later))
    assert "engine" in setup("build_ext")


def test_every_header_is_a_dependency(setup, source):
    # The test above for all of them would take a minute.
    code = (
        "from distutils.core import run_setup\n"
        "setup = run_setup('setup.py', stop_after='init')\n"
        "print(*setup.ext_modules[0].depends)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import setuptools\n{code}"],
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
    )
    headers = {str(path.relative_to(source)) for path in source.glob("csrc/**/*.h")}
    assert headers <= {*done.stdout.split()}


def test_an_unbuilt_source_folder_says_what_to_run(source):
    done = subprocess.run(
        [sys.executable, "-c", "import fastnn"],
        cwd=source,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: fastnn is not built in ")
    assert "pip install -e ." in last


# The rules of the source --------------------------------------------------------------


def lines(*patterns):
    """(file name, line) of all lines of the files that match."""
    for pattern in patterns:
        files = sorted(ROOT.glob(pattern))
        assert files, pattern
        for path in files:
            for line in path.read_text().splitlines():
                yield path.name, line


def test_no_flag_changes_arithmetic_or_the_cpu():
    # fast-math alters the floating-point state of the process and deletes NaN checks,
    # -march builds what other CPUs cannot run, OpenMP hangs after a fork.
    banned = (
        r"-ffast-math|-Ofast|-ffinite-math|-funsafe-math|-march|-mtune|-flto|-fopenmp"
    )
    found = [
        (name, line)
        for name, line in lines(
            "setup.py", "pyproject.toml", "csrc/**/*.[ch]", ".ci/run"
        )
        if re.search(banned, line)
    ]
    assert found == []


def test_the_driver_of_the_core_is_built_with_the_flags_of_setup():
    makefile = (ROOT / "tests/csrc/Makefile").read_text()
    driver = re.search(r"^FLAGS = (.*)$", makefile, re.M)[1].split()
    own = re.search(r"^flags = \[(.*?)\]", (ROOT / "setup.py").read_text(), re.M | re.S)
    # These change no code.
    tables = "-g0", "-fno-asynchronous-unwind-tables"
    assert driver == [f for f in re.findall(r'"(.*?)"', own[1]) if f not in tables]


def test_intrinsics_are_in_the_vocabularies_only():
    intrinsic = r"\b_mm\d*_\w+\s*\(|\b__m(128|256|512)|\bv\w+q_(f|s|u)(32|64)\s*\("
    found = {
        name for name, line in lines("csrc/**/*.[ch]") if re.search(intrinsic, line)
    }
    assert {"simd_avx2.h", "simd_avx512.h", "simd_neon.h"} <= found
    assert found - {"fpstate.h"} == {name for name in found if name.startswith("simd_")}


@pytest.mark.parametrize(
    ("pattern", "home"),
    [
        (r"\b(pthread_\w+|sched_\w+|thrd_\w+|_beginthreadex)\s*\(", "system.h"),
        (
            r"\b(malloc|calloc|realloc|aligned_alloc|posix_memalign|free)\s*\(",
            "memory.c",
        ),
    ],
    ids=["threads", "allocation"],
)
def test_is_in_one_file(pattern, home):
    found = {name for name, line in lines("csrc/**/*.[ch]") if re.search(pattern, line)}
    assert found == {home}


def test_the_core_does_not_print_or_exit():
    pattern = r"\b(printf|fprintf|puts|perror|exit|_exit|abort|signal|sigaction)\s*\("
    assert [
        line for _, line in lines("csrc/**/*.[ch]") if re.search(pattern, line)
    ] == []


def test_no_one_is_told_to_install_another_project():
    # The name on PyPI belongs to somebody else.
    patterns = ["*.md", "docs/**/*.md", "fastnn/**/*.py", "fastnn/**/*.py[xi]"]
    patterns += ["fastnn/datasets/*.md"]
    patterns += ["csrc/**/*.[ch]", "tests/*.py", "CITATION.cff", ".ci/run"]
    wrong = r"pip3? install\s+(-U\s+|--upgrade\s+)?['\"]?" + "fastnn"
    assert [line for _, line in lines(*patterns) if re.search(wrong, line)] == []


def test_names_of_tracked_files():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = done.stdout.splitlines()
    top = {name.split("/")[0] for name in names}
    assert top <= {
        *("setup.py", "pyproject.toml", "README.md", "LICENSE", ".ci", "fastnn"),
        *("csrc", "tests", "CHANGELOG.md", "CONTRIBUTING.md", "MANIFEST.in"),
        *(".clang-format", ".gitignore", "docs", "mkdocs.yml"),
        *("CITATION.cff", "SECURITY.md"),
    }
    generated = r".*\.(so|o|a|pyc|egg-info|safetensors)|fastnn/.*\.c"
    assert [name for name in names if re.fullmatch(generated, name)] == []
    assert [name for name in names if not re.fullmatch(r"[\w./-]+", name)] == []


# README and .ci/run -------------------------------------------------------------------


def section(title, page="README.md"):
    text = (ROOT / page).read_text()
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1]


def test_the_two_commands_of_the_readme_are_the_ones_that_are_run():
    blocks = re.findall(r"^```sh\n(.*?)^```", section("Two commands"), re.M | re.S)
    commands = "".join(blocks).splitlines()
    assert len(commands) == 2
    script = (ROOT / ".ci/run").read_text()
    code = re.search(r"^readme_commands\(\) \{\n.*?^\}\n", script, re.M | re.S)[0]
    done = subprocess.run(
        ["bash", "-euc", f"root={ROOT}\n{code}readme_commands"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == commands


def test_the_readme_example_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"^```python\n(.*?)^```", section("Example"), re.M | re.S)
    assert len([line for line in example.splitlines() if line]) <= 12
    exec(compile(example, "README.md", "exec"), {})
    assert "0.9" in capsys.readouterr().out


def test_the_schedule_of_the_readme_ends_with_the_training(monkeypatch):
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    (example,) = (block for block in blocks if "OneCycle(" in block)
    fits = []
    fit = fastnn.Network.fit

    def fit_once(net, X, y, epochs, callbacks, **arguments):
        fit(net, X, y, epochs=1, verbose=0, **arguments)
        fits.append((net, epochs))

    monkeypatch.setattr(fastnn.Network, "fit", fit_once)
    exec(compile(example, "README.md", "exec"), {})
    ((net, epochs),) = fits
    assert net.optimizer.learning_rate.steps == net.step * epochs


def test_the_docs_say_where_every_folder_is():
    table = section("What's where", "docs/engine.md")
    files = [*ROOT.glob("fastnn/**/__init__.py"), *ROOT.glob("csrc/**/*.[ch]")]
    folders = {file.parent.relative_to(ROOT).as_posix() for file in files}
    assert {f for f in folders if f"| `{f}` |" not in table} == {"fastnn", "csrc"}
