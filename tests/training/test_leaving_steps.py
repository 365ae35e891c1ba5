"""A step that takes long is left in the middle, by Ctrl-C and by a time limit.

Within half a second, beside a busy process as well, and with nothing changed: the next
step is, to the bit, that of a network that was never interrupted.
"""

import subprocess
import sys

import pytest
from children import run_python
from interrupts import delays

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="sends the signal of a terminal"
)

CHILD = """
import signal, sys, time, warnings
import numpy as np
import fastnn
from fastnn import BatchNorm, Dense, Dropout, Network
from helpers import same_bits, training_state

signal.signal(signal.SIGINT, signal.default_int_handler)
warnings.simplefilter("ignore", UserWarning)  # bfloat16 may be slow here
what = sys.argv[1].split()
rows = int(what.pop()) if what[-1].isdigit() else 40_000
X = np.broadcast_to(np.random.default_rng(0).random(1000, "f4"), (rows, 1000))
if "copied" in what:
    X = np.full((rows, 1000), 0.5)
y = np.arange(rows) % 1000
few, few_y = np.array(X[:50]), y[:50]

def make():
    layers = [1000, Dense(1000, "relu"), Dense(1000)]
    if "norms" in what:
        layers = [1000, Dense(1000), BatchNorm("relu"), Dropout(0.5), Dense(1000)]
    if "one" in what:
        layers = [1000, Dense(1000)]
    return Network(
        layers, seed=0, dtype="float64" if "float64" in what else
        "bfloat16" if "bfloat16" in what else "float32",
        backend="numpy" if "numpy" in what else "native",
    )

def statistics(net):
    return [a for pair in net._model.engine.get_statistics() if pair for a in pair]

net, other = make(), make()
if "huge" in what:  # not proven harmless: the careful step
    for each in net, other:
        W, b = each.get_weights()[0]
        W[0, 0] = 1e30
        each.set_weights([(W, b), *each.get_weights()[1:]])
for each in net, other:
    if "huge" not in what:
        each.train_on_batch(few, few_y)
before = training_state(net), statistics(net)
arguments = dict(epochs=1, batch_size=rows, shuffle="copied" in what, verbose=0)

def use():
    if "fit" in what:
        net.fit(X, y, **arguments)
    elif "accumulate" in what:
        net.fit(X, y, **{**arguments, "batch_size": 100}, accumulate=rows // 100)
    elif "train_on_batch" in what:
        net.train_on_batch(X, y)
    elif "gradients" in what:
        net.loss_and_gradients(X, y)
    elif "evaluate" in what:
        while True:
            net.evaluate(X, y)
    else:
        while True:
            net.predict(X)

for _ in sys.stdin:
    noticed = None
    try:
        print("going", flush=True)
        use()
    except KeyboardInterrupt:
        noticed = time.monotonic()
    if noticed is None:
        print("early", flush=True)
        raise SystemExit("the step took too little time to be interrupted")
    assert same_bits(before, (training_state(net), statistics(net)))
    print(noticed, flush=True)
if "huge" not in what:
    for each in net, other:
        each.train_on_batch(few, few_y)
assert same_bits(training_state(net)[:2], training_state(other)[:2])
assert same_bits(statistics(net), statistics(other))
"""


@pytest.fixture
def busy_neighbour():
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield
    neighbour.kill()
    neighbour.wait()


WAYS = [
    "fit",
    "fit norms",
    "fit copied",
    "fit huge",
    "fit bfloat16",
    "fit numpy",
    "accumulate",
    "train_on_batch float64",
    "gradients",
    "gradients numpy",
    "evaluate",
    "predict numpy",
]
ALL_WAYS = [*WAYS, "fit one 200000", "gradients one 200000"]


@pytest.mark.parametrize("what", WAYS)
@pytest.mark.usefixtures("busy_neighbour")
def test_a_step_is_left_within_half_a_second(what):
    found = delays(CHILD, what, 2, longest=1.0)
    assert max(found) <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("what", ALL_WAYS)
@pytest.mark.usefixtures("busy_neighbour")
def test_a_step_is_left_within_half_a_second_at_length(what):
    found = delays(CHILD, what, 15, seed=1, longest=2.0)
    assert max(found) <= 0.5


TIME_LIMIT = """
import sys
import numpy as np
from fastnn import Dense, Network
from helpers import same_bits, training_state

backend = sys.argv[1]
rows = 200_000 if backend == "native" else 80_000
X = np.broadcast_to(np.random.default_rng(0).random(1000, "f4"), (rows, 1000))
y = np.arange(rows) % 1000
net = Network([1000, Dense(1000)], seed=0, backend=backend)
before = training_state(net)
net.fit(X, y, batch_size=rows, epochs=3, time_limit=1e-3, shuffle=False, verbose=0)
assert same_bits(training_state(net)[:2], before[:2]) and net.step == net.cursor == 0
net.fit(X[:9], y[:9], time_limit=1e-9, verbose=0)
assert net.step == 1
"""


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_a_time_limit_leaves_a_step(backend):
    # Which takes more than the half second that it is given.
    run_python(TIME_LIMIT, backend, timeout=300)
