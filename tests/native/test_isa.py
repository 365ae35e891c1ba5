"""Instruction sets: the one asked for runs, nothing else uses it, and all agree."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from children import (
    BUILT_ISAS,
    SUPPORTED_ISAS,
    each_isa,
    each_other_isa,
    needs_isa,
    run_pytest,
    run_python,
)

import fastnn._core.native.engine
import fastnn._core.native.functions


@each_isa
def test_the_one_asked_for_is_active(isa):
    code = "import fastnn; print(fastnn.build_info()['isa_active'])"
    assert run_python(code, FASTNN_ISA=isa).stdout == isa
    assert run_python(code, FASTNN_ISA="").stdout == SUPPORTED_ISAS[0]


@pytest.mark.parametrize("name", ["nonsense", "AVX2", "avx", "neon ", "sse2"])
def test_an_unknown_name_is_an_import_error(name):
    child = run_python("import fastnn", FASTNN_ISA=name, check=False)
    assert child.returncode == 1
    error = child.stderr.splitlines()[-1]
    assert error.startswith("ImportError: ")
    assert f"FASTNN_ISA is {name!r}" in error
    assert error.endswith(", ".join(SUPPORTED_ISAS))


# Kernels that pass on one instruction set can be wrong on another.


@each_other_isa
def test_the_kernels_are_right(isa):
    run_pytest("tests/native/test_kernels.py", FASTNN_ISA=isa)


@each_other_isa
def test_the_engine_is_right(isa):
    run_pytest(
        "tests/native/test_engine.py", "-k", "native and not pytorch", FASTNN_ISA=isa
    )


# One binary runs on every CPU: what needs AVX stands only in functions for it.

# A function's name, as gcc or clang may have split or cloned it.
MARKED = re.compile(r"__(avx2|avx512)(\.[\w.]+)?$")
WIDE_REGISTER = re.compile(r"%([yz])mm|%xmm(1[6-9]|2\d|3[01])|%k[0-7]")
# All instructions of AVX begin with v, also those on 128 bits, but for these two.
VEX_INSTRUCTION = re.compile(r"v(?!err|erw)")


def offenders(disassembly):
    """(function, instruction) that an x86-64 CPU without AVX would stumble over."""
    function = "?"
    for line in disassembly.splitlines():
        if header := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            function = header[1]
        elif (parts := line.split("\t"))[1:]:
            instruction = parts[1].strip()
            needs_avx = VEX_INSTRUCTION.match(instruction) or WIDE_REGISTER.search(
                instruction
            )
            if needs_avx and not MARKED.search(function):
                yield function, instruction


def modules():
    """The shared objects of the package."""
    return [fastnn._core.native.engine.__file__, fastnn._core.native.functions.__file__]


@pytest.mark.skipif("avx2" not in BUILT_ISAS, reason="only x86-64 has optional vectors")
def test_wide_registers_stay_in_their_kernels():
    objdump = shutil.which("objdump")
    if objdump is None:
        pytest.skip("needs objdump (binutils)")
    seen = set()
    for path in modules():
        listing = subprocess.run(
            [objdump, "-d", "--no-show-raw-insn", path],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert list(offenders(listing)) == []
        seen |= {isa for isa in ("avx2", "avx512") if f"__{isa}>:" in listing}
        seen |= set(re.findall(r"%([yz])mm", listing))
    # The listing shows what the test is about: a stripped binary would show nothing.
    assert seen == {"avx2", "avx512", "y", "z"}


def test_the_search_for_wide_registers_finds_them():
    listing = """
0000 <fnn_exp_f32__avx2>:
   0:\tvmulps %ymm0,%ymm1,%ymm2
0010 <fnn_exp_f32__avx512.constprop.0>:
  10:\tvmulps %zmm0,%zmm1,%zmm2
0020 <fnn_train>:
  20:\tmulps  %xmm0,%xmm1
  24:\tverr   %ax
"""
    assert list(offenders(listing)) == []
    for bad in ("vmulps %ymm0,%ymm1,%ymm2", "vmovss (%rax),%xmm0", "kmovw  %k1,%eax"):
        assert list(offenders(f"{listing}  28:\t{bad}\n")) == [("fnn_train", bad)]


# Agreement.

TRAIN = """
import hashlib, sys
import numpy as np
from fastnn import Network, Adam, SGD
from fastnn.layers import Dense

rng = np.random.default_rng(0)
X = rng.normal(size=(150, 37))
y = rng.integers(7, size=150)
weight = rng.random(150)
digest = hashlib.sha256()
for dtype in ("float32", "float64"):
    for optimizer in (SGD(0.1), SGD(0.1, 0.9), SGD(0.1, 0.9, True), "adam", "adamw"):
        net = Network(
            [37, 50, 21, 7], dtype=dtype, optimizer=optimizer, seed=1, input_scale=0.5
        )
        net.fit(X, y, epochs=2, batch_size=32, sample_weight=weight, verbose=0)
        for W, b in net.get_weights():
            digest.update(W.tobytes() + b.tobytes())
        digest.update(net.predict_proba(X).tobytes())
        digest.update(repr(net.evaluate(X, y)).encode())
        np.save(sys.argv[1] + f"-{dtype}.npy", net.get_weights()[0][0])
print(digest.hexdigest())
"""


@needs_isa("avx512")
def test_avx2_and_avx512_give_the_same_bits(tmp_path):
    digests = {
        isa: run_python(TRAIN, tmp_path / isa, FASTNN_ISA=isa).stdout
        for isa in ("avx2", "avx512")
    }
    assert digests["avx2"] == digests["avx512"]
    assert len(digests["avx2"]) == 64


@pytest.mark.skipif(len(SUPPORTED_ISAS) < 2, reason="this CPU has one instruction set")
def test_scalar_agrees_with_the_best_one(tmp_path):
    # No fused multiply-add, so other bits: within the rounding of a short training.
    digests = {
        isa: run_python(TRAIN, tmp_path / isa, FASTNN_ISA=isa).stdout
        for isa in (SUPPORTED_ISAS[0], "scalar")
    }
    assert len(set(digests.values())) == 2
    for dtype, allowed in (("float32", 1e-4), ("float64", 1e-10)):
        best, scalar = (np.load(tmp_path / f"{isa}-{dtype}.npy") for isa in digests)
        assert np.linalg.norm(best - scalar) <= allowed * np.linalg.norm(best)
