"""Headers for small CPUs: cross-compiled, and FASTNN_PLAIN on this machine."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest
from engines import relative_distance
from interchange import EACH_ACTIVATION, all_layers, make_net, make_rows

from fastnn import (
    Dense,
    Embedding,
    Network,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
)

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow", "-std=c99"]
M4F = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]


def program(name, package):
    return shutil.which(name) or pytest.skip(f"needs {name} (Debian: {package})")


def run(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def nets(dtype="float32"):
    """Every activation, and every kind of layer."""
    for activation in EACH_ACTIVATION:
        yield make_net(all_layers(activation, 3), input_shift=100.0, dtype=dtype)
    yield make_net([6, Dense(8, "tanh"), 1], loss="binary_cross_entropy", dtype=dtype)
    yield make_net([6, Dense(8, "tanh"), 2], loss="poisson", input_scale=0.5)


def embedded():
    bins = [[-1.0, -0.3, 0.2, 1.1], [-0.5, 0.5], [-2.0, 0.0, 0.1]]
    for layer in (PeriodicEmbedding(2, 3), PiecewiseLinearEmbedding(bins, 3)):
        yield Network([3, layer, Dense(4, "relu"), Dense(2)], loss="mse", seed=0)
    layers = [5, Embedding([4, 3], 3), Dense(9), ParametricActivation("gelu"), Dense(3)]
    yield Network(layers, seed=0)


def test_a_cortex_m4f_fuses_and_computes_in_float(tmp_path):
    compiler = program("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    (tmp_path / "empty.c").write_text("#include <math.h>\n")
    command = [compiler, "-c", tmp_path / "empty.c", "-o", tmp_path / "empty.o"]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs <math.h> for ARM (Debian: libnewlib-arm-none-eabi)")
    source = tmp_path / "use.c"
    for net in (*nets(), *embedded()):
        net.to_c(tmp_path / "m.h")
        source.write_text(
            '#include "m.h"\nvoid use(const float *x, float *out);\n'
            "void use(const float *x, float *out) { m_predict(x, out); }\n"
        )
        for plain in ([], ["-DFASTNN_PLAIN"]):
            flags = [*WARNINGS, "-Wdouble-promotion", "-O2", *M4F, *plain]
            run(compiler, *flags, "-c", source, "-o", tmp_path / "use.o")
            undefined = run("arm-none-eabi-nm", "-u", tmp_path / "use.o")
            assert not re.search(r"__aeabi_\w*d", undefined), (net, undefined)
            code = run("arm-none-eabi-objdump", "-d", tmp_path / "use.o")
            assert "vmla" in code or "vmul" in code or "vfma" in code
            assert plain or "vfma" in code, net


AVR_MAIN = """
#include "m.h"
volatile float value;
int main(void) {
  static float x[M_INPUTS], out[M_OUTPUTS];
  int j;
  for (j = 0; j < M_INPUTS; j++) x[j] = value;
  m_predict(x, out);
  value = out[M_OUTPUTS - 1];
  return 0;
}
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_avr_links_with_the_weights_in_flash(dtype, tmp_path):
    compiler = program("avr-gcc", "gcc-avr avr-libc")
    (tmp_path / "main.c").write_text(AVR_MAIN.replace("float", "REAL"))
    real = f"-DREAL={'float' if dtype == 'float32' else 'double'}"
    for net in (*nets(dtype), *(embedded() if dtype == "float32" else ())):
        if net.plan.dtype != dtype:
            continue
        net.to_c(tmp_path / "m.h")
        flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-mmcu=atmega2560", real]
        elf = tmp_path / "main.elf"
        run(compiler, *flags, "-Os", tmp_path / "main.c", "-o", elf, "-lm")
        sizes = run("avr-size", "-A", elf)
        data = int(re.search(r"^\.data +(\d+)", sizes, re.MULTILINE)[1])
        if dtype == "float32":
            assert data < 4 * net.n_parameters / 2
            names = run("avr-nm", elf)  # t: with the code, in flash
            assert {*re.findall(r" (\w) m_[wb]\d+", names)} == {"t"}


@pytest.mark.parametrize("flags", [["-O1"], ["-O3", "-march=native"]])
def test_plain_floats_predict_nearly_the_same(flags, tmp_path):
    """Also by the functions that small <math.h> lack."""
    compiler = program("cc", "gcc")
    source, numbers = tmp_path / "m.c", iter(range(100))
    for net in (*nets(), *embedded()):
        net.to_c(tmp_path / "m.h")
        source.write_text(
            "#define FASTNN_PLAIN\n"
            '#include "m.h"\nvoid rows(const float *x, float *out, size_t n);\n'
            "void rows(const float *x, float *out, size_t n) {\n"
            "  for (; n; n--, x += M_INPUTS, out += M_OUTPUTS) m_predict(x, out);\n}\n"
        )
        library = tmp_path / f"m{next(numbers)}.so"
        options = [*WARNINGS, "-Wdouble-promotion", *flags, "-shared", "-fPIC"]
        run(compiler, *options, source, "-o", library, "-lm")
        assert not re.search(
            r" (fmaf?|expm1f?|log1pf?|erfcf?|exp|sqrt)\b", run("nm", "-D", library)
        )
        X = np.ascontiguousarray(make_rows(net), np.float32)
        if net.plan.categories:
            X[:, 3:] = np.random.default_rng(0).integers(-1, [4, 3], (len(X), 2))
        out = np.zeros((len(X), net.plan.n_outputs), np.float32)
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (X, out))
        ctypes.CDLL(str(library)).rows(*pointers, ctypes.c_size_t(len(X)))
        assert relative_distance(out, net.predict_proba(X)) < 1e-5, net
