"""Ctrl-C: KeyboardInterrupt within half a second, and a network as good as before."""

import _thread
import contextlib
import sys
from functools import partial
from operator import methodcaller
from pathlib import Path

import numpy as np
import pytest
from children import run_python
from interrupts import delays

import fastnn

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="sends the signal of a terminal"
)

# The child starts when told to, is interrupted, and says when it noticed (the clock is
# the system's), after it made sure that all is well.
CHILD = """
import signal, sys, time
import numpy as np
import fastnn

# A shell without job control makes what it runs in the background deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
what = sys.argv[1]
rng = np.random.default_rng(0)
# Rows of no memory, more than there is time for.
X = np.broadcast_to(rng.random(784, "f4"), (10**6, 784))
y = np.arange(10**6) % 10
net = fastnn.Network([784, 512, 512, 10], seed=0)
few = np.array(X[:50])
net.partial_fit(few, y[:50])

def use():
    if what == "fit":
        net.fit(X, y, epochs=100, batch_size=256, verbose=0)
    elif what == "validation":
        net.fit(X[:10], y[:10], epochs=100, X_val=X, y_val=y, verbose=0)
    elif what == "progress bar":
        net.fit(X, y, epochs=100, batch_size=256, verbose=1)
    elif what == "large batches":
        net.fit(X[:9000], y[:9000], epochs=1000, batch_size=1000, verbose=0)
    else:
        while True:
            getattr(net, what)(*[X, y][: 1 + (what == "evaluate")])

for _ in sys.stdin:
    try:
        try:
            print("going", flush=True)
            use()
        except KeyboardInterrupt:
            noticed = time.monotonic()
        weights = net.get_weights()
        assert all(np.isfinite(W).all() for W, _ in weights)
        assert net.predict_proba(few).shape == (50, 10)
        step = net.step
        net.train_on_batch(few, y[:50])
        assert net.step == step + 1
        net.set_weights(weights)
        print(noticed, flush=True)
    except KeyboardInterrupt:
        print("late", flush=True)
        raise
"""


WAYS = [
    "fit",
    "validation",
    "progress bar",
    "large batches",
    "predict",
    "predict_proba",
    "evaluate",
]


@pytest.mark.parametrize("what", WAYS)
def test_it_stops_within_half_a_second(what):
    found = delays(CHILD, what, 3)
    assert max(found) <= 0.5
    assert min(found) >= 0


@pytest.mark.slow
@pytest.mark.parametrize("what", WAYS)
def test_it_stops_within_half_a_second_at_length(what):
    found = delays(CHILD, what, 100, seed=1)
    assert max(found) <= 0.5
    assert np.median(found) <= 0.1


RESUME = """
import os, signal, sys, threading, time
sys.path.append({tests!r})
import numpy as np
import fastnn
from helpers import same_bits, training_state

rng = np.random.default_rng(int(sys.argv[1]))
X = rng.normal(size=(6000, 64)).astype("f4")
y = rng.integers(10, size=6000)
arguments = dict(epochs=6, batch_size=50, verbose=0)

def make():
    return fastnn.Network([64, 128, 10], seed=0)

whole = make()
whole.fit(X, y, **arguments)
start = time.perf_counter()
make().fit(X, y, **arguments)
seconds = time.perf_counter() - start

class Interrupter:
    "Sends this process real signals, one after each time that `arm` is called."

    def __init__(self):
        self.armed = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            self.armed.wait()
            self.armed.clear()
            time.sleep(self.delay)
            os.kill(os.getpid(), signal.SIGINT)

    def arm(self, delay):
        self.delay = delay
        self.armed.set()

ctrl_c = Interrupter()
interrupts = 0
for trial in range(int(sys.argv[2])):
    net = make()
    for _ in range(3):
        ctrl_c.arm(rng.uniform(0, 0.6) * seconds)
        try:
            net.fit(X, y, **arguments, resume=True)
            seconds *= 0.8  # it took less than the machine needed at first
            time.sleep(60)  # the signal comes after the end
        except KeyboardInterrupt:
            interrupts += net.cursor > 0
        if trial % 2:
            net.save("net")
            net = fastnn.Network.load("net")
    net.fit(X, y, **arguments, resume=True)
    assert same_bits(training_state(net), training_state(whole)), trial
print(interrupts)
"""


def resume(trials, tmp_path, seed=0):
    code = RESUME.format(tests=str(Path(__file__).parents[1] / "support"))
    code = f"import os; os.chdir({str(tmp_path)!r})\n" + code
    return int(run_python(code, seed, trials, timeout=600).stdout)


def test_resumed_is_uninterrupted(tmp_path):
    assert resume(6, tmp_path) >= 6  # of 18 signals, so many hit the middle of an epoch


@pytest.mark.slow
def test_resumed_is_uninterrupted_at_length(tmp_path):
    assert resume(100, tmp_path, seed=1) >= 100


def test_the_handler_of_the_caller_is_the_one_that_runs():
    # No handler of fastnn's own: whatever the caller installed decides.
    code = """
        import os, signal, threading
        import numpy as np
        import fastnn

        class Stop(Exception):
            pass

        def handler(signum, frame):
            raise Stop

        signal.signal(signal.SIGTERM, handler)
        X = np.broadcast_to(np.float32(0.5), (10**6, 300))
        net, ended = fastnn.Network([300, 300, 10], seed=0), []
        for use in (
            lambda: net.fit(X, np.zeros(10**6, int), epochs=99, verbose=0),
            lambda: [ended.append(net.predict(X)) for _ in range(1000)],
        ):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
            try:
                use()
            except Stop:
                print(net.epoch, len(ended))
    """
    # Within the first epoch, and the first prediction: each takes seconds.
    assert run_python(code).stdout.split() == ["0"] * 4


# The moment between taking the network and being ready to give it back.


class InterruptedAfterAcquire:
    """An engine for which Ctrl-C comes while `acquire` is returning.

    The interpreter looks for signals when a call has returned. Nothing here runs in the
    interpreter between the two calls, so it looks after both.
    """

    def __init__(self, engine):
        calls = [engine.acquire, _thread.interrupt_main]
        self.acquire = partial(list, map(methodcaller("__call__"), calls))
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)


def is_free(engine):
    """Whether nobody has the network, not even this thread."""
    try:
        engine.acquire()
    except fastnn.BusyError:
        return False
    engine.release()
    return True


X, Y = np.eye(8, 4, dtype="f4"), np.arange(8) % 3


def test_an_interrupt_while_the_network_is_taken_leaves_it_free(make_net):
    net = make_net()
    engine = net._model.engine
    net._model.engine = InterruptedAfterAcquire(engine)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, verbose=0)
    net._model.engine = engine
    assert is_free(engine)
    net.fit(X, Y, epochs=1, verbose=0)


# Frames of other modules have no state of a network, but for context managers.
OURS = (str(Path(fastnn.__file__).parent), contextlib.__file__)


def interrupted_at(n, function):
    """Run a function with Ctrl-C at the n-th time that the interpreter looks for it.

    It looks when a function of Python's begins and when one of C's has returned, which
    is when a profiler is called. Returns False if the function looked less often.
    """
    left = n

    def profiler(frame, event, argument):
        nonlocal left
        path = frame.f_code.co_filename
        if event in ("call", "c_return") and path.startswith(OURS):
            left -= 1
            if left == 0:
                sys.setprofile(None)
                raise KeyboardInterrupt

    old = sys.getprofile()
    sys.setprofile(profiler)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(old)
    return False


CALLS = {
    "fit": lambda net: net.fit(X, Y, epochs=1, verbose=0),
    "train_on_batch": lambda net: net.train_on_batch(X, Y),
    "loss_and_gradients": lambda net: net.loss_and_gradients(X, Y),
    "set_weights": lambda net: net.set_weights(net.get_weights()),
    "optimizer": lambda net: setattr(net, "optimizer", "sgd"),
    "predict": lambda net: net.predict(X),
    "predict_one": lambda net: net.predict_one(X[0]),
    "evaluate": lambda net: net.evaluate(X, Y),
    "get_weights": lambda net: net.get_weights(),
}


# Of the native lane: in the NumPy one, taking and giving back are Python themselves.
@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_anywhere_leaves_the_network_free(name):
    net, n = fastnn.Network([4, 8, 3], seed=0), 1
    CALLS[name](net)  # imports what it needs
    while interrupted_at(n, lambda: CALLS[name](net)):
        assert is_free(net._model.engine), f"after interrupt {n}"
        assert np.isfinite(net.predict_proba(X)).all()
        n += 1
    assert n > 1
