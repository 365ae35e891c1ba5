"""Networks in C: compiled without a warning, and the same predictions."""

import ctypes
import itertools
import re
import shutil
import subprocess

import numpy as np
import pytest
from engines import relative_distance
from interchange import (
    EACH_LOSS,
    EACH_SCALING,
    all_layers,
    all_nets,
    make_net,
    make_rows,
    plain_layers,
)

import fastnn
from fastnn import BatchNorm, Dense, Dropout, LayerNorm, Network

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
if not COMPILERS:
    COMPILERS = ["cc"]  # which must be there to build fastnn
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-std=c99", "-pedantic"]
# Not asked for, and clean all the same.
WARNINGS += ["-Wconversion", "-Wshadow", "-Wdouble-promotion"]

REAL = {"float32": "float", "float64": "double"}
LIBRARY = """\
#include "name.h"
void rows(const REAL *x, REAL *out, size_t n);
void rows(const REAL *x, REAL *out, size_t n) {
  for (; n; n--, x += NAME_INPUTS, out += NAME_OUTPUTS) name_predict(x, out);
}
"""
_numbers = itertools.count()


def compile_c(compiler, *arguments):
    done = subprocess.run(
        [compiler, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr


@pytest.fixture
def in_c(tmp_path):
    """The header's predictions of rows, by a library that includes it."""

    def in_c(net, X, compiler=COMPILERS[0], flags=("-O1", *WARNINGS)):
        name = f"net{next(_numbers)}"
        net.to_c(tmp_path / f"{name}.h")
        source, library = tmp_path / f"{name}.c", tmp_path / f"{name}.so"
        source.write_text(
            LIBRARY.replace("REAL", REAL[net.plan.dtype])
            .replace("NAME", name.upper())
            .replace("name", name)
        )
        compile_c(compiler, *flags, "-shared", "-fPIC", source, "-o", library, "-lm")
        X = np.ascontiguousarray(X, net.dtype)
        out = np.zeros((len(X), net.plan.n_outputs), net.dtype)
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (X, out))
        ctypes.CDLL(str(library)).rows(*pointers, ctypes.c_size_t(len(X)))
        return out

    return in_c


def some_nets():
    """Each activation and each loss once, in both dtypes, with every scaling."""
    nets = list(all_nets(all_layers, dtypes=["float32"]))
    yield from nets[:: len(EACH_LOSS) + 1]
    nets = list(all_nets(plain_layers, dtypes=["float64"]))
    yield from nets[:: len(EACH_LOSS) + 1]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_self_test_compiles_without_a_warning_and_passes(compiler, tmp_path):
    for net in some_nets():
        net.to_c(tmp_path / "net.h", self_test=True)
        program = tmp_path / "net_test"
        compile_c(compiler, *WARNINGS, tmp_path / "net_test.c", "-o", program, "-lm")
        done = subprocess.run([program], capture_output=True, text=True)
        assert done.returncode == 0, (net, done.stdout)
        assert re.fullmatch(r"net: 16 rows, differences up to .*: ok\n", done.stdout)


def test_no_memory_is_touched_that_is_not_its_own(tmp_path):
    (tmp_path / "empty.c").write_text("int main(void) { return 0; }\n")
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
    command = [COMPILERS[0], *flags, tmp_path / "empty.c", "-o", tmp_path / "empty"]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"{COMPILERS[0]} has no sanitizers here")
    for layers, shift in (
        ([30, 4, 3], 0.5),  # the inputs are copied, and wider than all layers
        ([30, LayerNorm("relu"), Dense(40), Dense(3)], 0),
        ([5, Dense(3)], 0),
        ([5, 7, 20, 30, 2, 40], 0),
        ([5, BatchNorm(), Dense(8, "softmax"), Dropout(0.5), 2], 0.5),
    ):
        net = make_net(layers, input_shift=shift)
        net.to_c(tmp_path / "net.h", self_test=True)
        program = tmp_path / "net_test"
        compile_c(COMPILERS[0], *flags, tmp_path / "net_test.c", "-o", program, "-lm")
        done = subprocess.run([program], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("layers", [plain_layers, all_layers])
def test_every_network_agrees(layers, in_c):
    for net in all_nets(layers):
        X = make_rows(net)
        expected = net.predict_proba(X)
        assert relative_distance(in_c(net, X), expected) <= 1e-6, net


def test_the_order_of_operations_is_the_engines(in_c):
    """In float32, and before functions such as exp, to the bit.

    But for the portable kernels, which round products on their own.
    """
    is_fused = fastnn.build_info()["isa_active"] != "scalar"
    for layers in (
        [200, 40, 5],
        [200, Dense(40), BatchNorm("relu"), Dense(5)],
        [200, Dense(40, "relu"), BatchNorm(), Dense(5)],
        [200, Dense(40), Dropout(0.5), BatchNorm("relu"), Dense(5)],
        [200, BatchNorm(), Dense(5, use_bias=False), BatchNorm()],
    ):
        for scale, shift in EACH_SCALING:
            net = make_net(layers, loss="mse", input_scale=scale, input_shift=shift)
            X = make_rows(net, 20)
            found, expected = in_c(net, X), net.predict(X)
            assert relative_distance(found, expected) <= 1e-6
            assert not is_fused or (found == expected).all(), net


def test_optimizing_compilers_that_fuse_agree_too(in_c):
    net = make_net(
        [200, Dense(40, "relu"), BatchNorm("gelu"), Dense(5)], input_scale=0.1
    )
    X = make_rows(net)
    flags = ["-O3", "-march=native", "-std=gnu11"]
    assert relative_distance(in_c(net, X, flags=flags), net.predict_proba(X)) <= 1e-6


def test_a_wrong_weight_fails_the_self_test(tmp_path):
    net = make_net([6, 8, 3])
    net.to_c(tmp_path / "net.h", self_test=True)
    text = (tmp_path / "net.h").read_text()
    first = re.search(r"net_w0\[48\] = {\n  (\S+)f,", text)[1]
    (tmp_path / "net.h").write_text(
        text.replace(first, f"{float(first) + 1e-3:.9g}", 1)
    )
    compile_c(COMPILERS[0], tmp_path / "net_test.c", "-o", tmp_path / "t", "-lm")
    done = subprocess.run([tmp_path / "t"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "FAILED" in done.stdout


def test_labels_scratch_and_rows_of_ones_own(tmp_path):
    """A program as users write it, in C and in C++."""
    for loss, n_outputs in (("softmax_cross_entropy", 3), ("binary_cross_entropy", 1)):
        net = make_net([6, 8, n_outputs], loss=loss)
        X = make_rows(net, 5)
        net.to_c(tmp_path / "m.h", name="iris", self_test=True, rows=X)
        assert "#define ROWS 5" in (tmp_path / "m_test.c").read_text()
        rows = ",".join(f"{value:.9g}" for value in X.ravel().tolist())
        (tmp_path / "main.c").write_text(
            f"""\
#include <stdio.h>
#include "m.h"
static const double rows[] = {{{rows}}};
int main(void) {{
  static float scratch[IRIS_SCRATCH];
  int i, j;
  for (i = 0; i < 5; i++) {{
    float x[IRIS_INPUTS], out[IRIS_OUTPUTS];
    for (j = 0; j < IRIS_INPUTS; j++) x[j] = (float)rows[i * IRIS_INPUTS + j];
    iris_predict_with(x, out, scratch);
    printf("%d\\n", (int)iris_label(out));
  }}
  return 0;
}}
"""
        )
        languages = [["-std=c99"]]
        if COMPILERS[0] == "gcc" and shutil.which("g++"):
            languages.append(["-x", "c++", "-std=c++11"])
        for language in languages:
            program = tmp_path / "main"
            flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", *language]
            compile_c(COMPILERS[0], *flags, tmp_path / "main.c", "-o", program, "-lm")
            done = subprocess.run([program], capture_output=True, text=True)
            assert [*map(int, done.stdout.split())] == net.predict(X).tolist()


def test_several_headers_in_one_file(tmp_path):
    make_net([6, Dense(8, "gelu"), 3]).to_c(tmp_path / "a.h")
    make_net([6, LayerNorm("tanh"), Dense(3)], dtype="float64").to_c(tmp_path / "b.h")
    (tmp_path / "c.c").write_text('#include "a.h"\n#include "b.h"\n#include "a.h"\n')
    compile_c(COMPILERS[0], *WARNINGS, "-c", tmp_path / "c.c", "-o", tmp_path / "c.o")


def test_numbers_are_written_without_loss(in_c):
    W = np.array([[2.0**-149, 3.4028235e38, 1.0, -0.1, 1e-10]], "float32")
    net = Network([1, Dense(5)], loss="mse", seed=0)
    net.set_weights([(W, np.zeros(5))])
    assert (in_c(net, np.ones((1, 1))) == W).all()


def test_the_same_network_gives_the_same_files(tmp_path):
    net = make_net(all_layers("gelu", 3))
    texts = set()
    for _ in range(2):
        net.to_c(tmp_path / "net.h", self_test=True)
        texts.add(
            (tmp_path / "net.h").read_text() + (tmp_path / "net_test.c").read_text()
        )
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        ("net.c", {}, "path must end with '.h'"),
        ("9.h", {}, "name must be up to 41 letters"),
        ("my-net.h", {}, "name must be up to 41 letters"),
        ("net.h", dict(name=""), "name must be"),
        ("net.h", dict(rows=np.ones((2, 6))), "rows is given, but self_test is False"),
        ("net.h", dict(self_test=True, rows=np.ones((2, 5))), "rows"),
        (
            "net.h",
            dict(self_test=True, rows=np.full((2, 6), np.nan)),
            "rows.0, 0. is nan",
        ),
    ],
)
def test_arguments_are_checked(path, arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make_net([6, 8, 3]).to_c(tmp_path / path, **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_mnist(compiler, in_c):
    X, y, X_test, _ = fastnn.datasets.mnist()
    for layers, scaling in (
        ([784, 128, 10], dict(input_scale=1 / 255)),
        (
            [
                784,
                Dense(128),
                BatchNorm("relu"),
                Dropout(0.2),
                Dense(64, "gelu"),
                Dense(10),
            ],
            dict(input_scale=1 / 255 / 0.3081, input_shift=-0.1307 / 0.3081),
        ),
    ):
        net = Network(layers, seed=0, **scaling)
        net.fit(X, y, epochs=3, verbose=0)
        found = in_c(net, X_test, compiler, ["-O2", *WARNINGS])
        assert np.abs(found - net.predict_proba(X_test)).max() <= 1e-6


def test_networks_of_bfloat16_are_written_as_float(in_c, tmp_path):
    net = make_net([6, Dense(8, "gelu"), 3], dtype="bfloat16", backend="numpy")
    same = make_net([6, Dense(8, "gelu"), 3])
    texts = []
    for each in (net, same):
        each.to_c(tmp_path / "half.h", self_test=True)
        texts.append((tmp_path / "half_test.c").read_text())
    assert texts[0] == texts[1]
    program = tmp_path / "half_test"
    compile_c(COMPILERS[0], *WARNINGS, f"{program}.c", "-o", program, "-lm")
    assert subprocess.run([program], capture_output=True).returncode == 0
    assert "bfloat16" not in (tmp_path / "half.h").read_text()


def test_rows_whose_predictions_are_not_finite_are_refused(tmp_path):
    net = make_net([2, 1], loss="poisson")
    net.set_weights([(np.ones((2, 1)), np.zeros(1))])
    rows = [[0, 1], [100, 100]]
    with pytest.raises(ValueError, match=r"rows\[1\] has a prediction that is not fin"):
        net.to_c(tmp_path / "net.h", self_test=True, rows=rows)
    assert not list(tmp_path.iterdir())


def test_names_that_differ_in_case_have_guards_of_their_own(tmp_path):
    net = make_net([6, 8, 3])
    for name in ("ab", "aB"):
        net.to_c(tmp_path / f"{name}_.h", name=name)
    (tmp_path / "c.c").write_text(
        '#include "ab_.h"\n#include "aB_.h"\n'
        "void f(float *x, float *y) { ab_predict(x, y); aB_predict(x, y); }\n"
    )
    compile_c(COMPILERS[0], *WARNINGS, "-c", tmp_path / "c.c", "-o", tmp_path / "c.o")


def test_the_self_test_takes_no_stack_for_wide_layers(tmp_path):
    make_net([2, 600_000, 2]).to_c(tmp_path / "net.h", self_test=True)
    text = (tmp_path / "net_test.c").read_text()
    assert "static float out[NET_OUTPUTS], scratch[NET_SCRATCH];" in text
    assert "net_predict(" not in text


@pytest.mark.parametrize("file", ['a"b.h', "a\nb.h", "a\\b.h"])
def test_files_that_cannot_be_included_are_refused(file, tmp_path):
    with pytest.raises(ValueError, match="that #include can have"):
        make_net([6, 3]).to_c(tmp_path / file, name="net", self_test=True)
    assert not list(tmp_path.iterdir())


def test_the_header_is_written_before_its_test(tmp_path):
    (tmp_path / "net.h").mkdir()
    with pytest.raises(OSError):
        make_net([6, 3]).to_c(tmp_path / "net.h", self_test=True)
    assert [each.name for each in tmp_path.iterdir()] == ["net.h"]
