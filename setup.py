"""Builds the two extension modules; everything else is in pyproject.toml."""

import os
import subprocess
import sys
from glob import glob
from shutil import which

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# FASTNN_DEBUG=1: sanitizers, asserts and Cython's bounds checks.
debug = os.environ.get("FASTNN_DEBUG") == "1"

# Baseline flags only: an instruction set is switched on inside its own isa_*.c, so one
# binary runs on every CPU. No fast-math: it changes the floating-point state of the
# whole process. fp-contract=off: a multiply and an add stay two roundings unless the
# source says fma, so that all instruction sets agree to the bit. O2: O3 makes binaries
# that are a fifth larger and no faster, as the kernels say what is to be unrolled. g0:
# Python's own flags ask for debug information, which is seven eighths of the package.
# Without tables to unwind by, one percent more, debuggers lose their way in a kernel,
# and find it in a build for debugging.
flags = [
    "-std=gnu11",
    "-O2",
    "-ftree-vectorize",
    "-fno-math-errno",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-g0",
    "-fno-asynchronous-unwind-tables",
]
link = ["-pthread"]
if sys.platform == "linux":
    link += ["-Wl,-z,noseparate-code"]  # pages that are half empty are not installed
macros = [("NDEBUG", None)]
if debug:
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    flags = [
        flag
        for flag in flags
        if flag not in ("-O2", "-g0", "-fno-asynchronous-unwind-tables")
    ]
    flags += ["-O1", "-g1", "-fno-omit-frame-pointer", "-UNDEBUG", *sanitizers]
    link += sanitizers
    macros = []

native = "fastnn/_core/native"
headers = sorted(glob("csrc/**/*.h", recursive=True))


def extension(name: str, sources: list[str], *more: str) -> Extension:
    return Extension(
        f"fastnn._core.native.{name}",
        [f"{native}/{name}.pyx", *sources],
        include_dirs=["csrc"],
        depends=[*headers, *glob(f"{native}/*.px[di]")],
        extra_compile_args=[*flags, *more, "-pthread"],
        extra_link_args=link,
        define_macros=macros,
    )


class BuildAndStrip(build_ext):
    """Drops all names from the binaries but those of kernels, for profilers."""

    def build_extension(self, ext: Extension) -> None:
        super().build_extension(ext)
        if sys.platform == "linux" and which("strip") and not debug:
            strip = ["strip", "-s", "-w", "-K", "fnn_*__*"]
            subprocess.run([*strip, self.get_ext_fullpath(ext.name)], check=False)


if sys.platform == "win32":
    # The C core passes its tests as MinGW-w64 builds it (`make -C tests/csrc windows`);
    # the extension modules were never built there, and cl.exe has no GNU C.
    raise SystemExit("fastnn is not built for Windows yet: it needs Linux or macOS")

setup(
    cmdclass={"build_ext": BuildAndStrip},
    ext_modules=cythonize(
        # The C core is linked into engine; functions, all of it glue (Os takes a third
        # off; as for engine's glue, it would cost a tenth of predict_one), reaches it
        # through engine.pxd.
        [
            extension("engine", sorted(glob("csrc/*/*.c"))),
            extension("functions", [], *([] if debug else ["-Os"])),
        ],
        compiler_directives={
            "language_level": 3,
            "boundscheck": debug,
            "cdivision": True,
            "auto_pickle": False,
        },
    ),
)
