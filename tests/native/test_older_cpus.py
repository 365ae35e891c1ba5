"""Python, NumPy and fastnn on emulated CPUs of 2008 and 2013: the bits that are here.

The whole driver of the C core runs on them by `make -C tests/csrc older_cpus`.
"""

import platform
import shutil
import subprocess
import sys

import pytest
from children import environment

QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")

# Without a function of the C library, which has others on other CPUs.
CODE = """
import hashlib
import numpy as np
import fastnn

X = (np.arange(60 * 20) * 37 % 101 / 101 - 0.5).reshape(60, 20).astype("f4")
y = np.arange(60) % 3
net = fastnn.Network([20, 33, 3], optimizer=fastnn.SGD(0.1), seed=0)
W = (np.arange(20 * 33) * 53 % 97 / 97 - 0.5).reshape(20, 33)
V = (np.arange(33 * 3) * 41 % 89 / 89 - 0.5).reshape(33, 3)
net.set_weights([(W, np.zeros(33)), (V, np.zeros(3))])
net.fit(X, y, epochs=5, batch_size=16, shuffle=False, verbose=0)
bits = [a.tobytes() for pair in net.get_weights() for a in pair]
bits.append(net.predict_proba(X).tobytes())
print(fastnn.build_info()["isa_active"], hashlib.sha256(b"".join(bits)).hexdigest())
"""


def run(*emulator, **variables):
    return subprocess.run(
        [*emulator, sys.executable, "-c", CODE],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.mark.skipif(
    QEMU is None or platform.machine() != "x86_64", reason="needs qemu-user-static"
)
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("cpu", "isa"), [("Nehalem", "scalar"), ("Haswell", "avx2")])
def test_the_bits_are_those_of_this_cpu(cpu, isa):
    here, there = run(FASTNN_ISA=isa), run(QEMU, "-cpu", cpu)
    assert there.returncode == 0, there.stderr
    assert there.stdout.split()[0] == isa
    assert there.stdout == here.stdout
