"""No memory, at any time: MemoryError, nothing changed, and the next call works."""

import numpy as np
import pytest
from children import run_python
from helpers import same_bits, training_state

import fastnn
from fastnn import SGD, Adam, kernels
from fastnn._core.native import engine as _engine

X = np.random.default_rng(0).normal(size=(150, 20))
Y = np.arange(150) % 5


@pytest.fixture(autouse=True)
def no_failure_is_left():
    yield
    _engine._fail_allocation(0)


def make_net(**arguments):
    return fastnn.Network([20, 30, 5], seed=0, num_threads=3, **arguments)


def careful_net(**arguments):
    """Every step of this one is checked value by value: see test_nonfinite."""
    net = make_net(optimizer=Adam(), **arguments)
    weights = net.get_weights()
    weights[0][0][0] = 1e30
    net.set_weights(weights)
    return net


X0 = X.copy()
X0[:, 0] = 0  # so that the huge weights are harmless

# What is to be called on which network; a fresh one each time.
CALLS = {
    "train_on_batch": (make_net, lambda net: net.train_on_batch(X, Y)),
    "fit": (make_net, lambda net: net.fit(X, Y, 2, 40, verbose=0)),
    "fit, float64": (
        lambda: make_net(dtype="float64"),
        lambda net: net.fit(X, Y, 2, 40, validation_split=0.3, verbose=0),
    ),
    "loss_and_gradients": (make_net, lambda net: net.loss_and_gradients(X, Y)),
    "predict": (make_net, lambda net: net.predict(X)),
    "predict_proba": (make_net, lambda net: net.predict_proba(X.astype("f4"))),
    "predict_one": (
        lambda: fastnn.Network([20, 9000, 5], seed=0),  # too wide for the stack
        lambda net: net.predict_one(X[0]),
    ),
    "evaluate": (make_net, lambda net: net.evaluate(X, Y, np.ones(150))),
    "another optimizer": (
        lambda: make_net(optimizer=SGD(0.1, 0.9)),
        lambda net: setattr(net, "optimizer", "adam"),
    ),
    "input scaling": (
        make_net,
        lambda net: net._model.engine.set_input_scaling(np.ones(20), np.ones(20)),
    ),
    "careful step": (careful_net, lambda net: net.train_on_batch(X0, Y)),
    "careful steps": (careful_net, lambda net: net.fit(X0, Y, 2, 40, verbose=0)),
}


def state(net):
    scaled = net._model.engine.forward(np.ones((1, 20)), "logits")
    return [*training_state(net), scaled]


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("name", CALLS)
def test_memory_error_and_nothing_changed(name, forever):
    make, call = CALLS[name]
    expected = make()
    call(expected)
    expected = state(expected)
    failures = 0
    for n in range(1, 200):
        net = make()
        before = state(make())  # net has no memory for it yet
        _engine._fail_allocation(n, forever)
        try:
            call(net)
        except MemoryError as error:
            _engine._fail_allocation(0)
            assert str(error)
            failures += 1
            # Steps of a fit that were done before count.
            assert "fit" in name or "steps" in name or same_bits(state(net), before), n
            retry(name, call, net)
            assert same_bits(state(net), expected), n
        else:
            # Either there was nothing left to fail, or it was not needed: a thread.
            _engine._fail_allocation(0)
            assert same_bits(state(net), expected), n
            if n > failures + 5:
                break
    assert 0 < failures < 199


def retry(name, call, net):
    """The same call again, which for a fit means to go on with it."""
    if name in ("fit", "careful steps"):
        rows = X0 if name == "careful steps" else X
        net.fit(rows, Y, 2, 40, verbose=0, resume=True)
    elif name == "fit, float64":
        net.fit(X, Y, 2, 40, validation_split=0.3, verbose=0, resume=True)
    else:
        call(net)


def until_it_works(call, forever):
    """Fail at each allocation in turn; how many there are, and the first result."""
    for n in range(1, 100):
        _engine._fail_allocation(n, forever)
        try:
            result = call()
        except MemoryError:
            continue
        finally:
            _engine._fail_allocation(0)
        return n - 1, result
    raise AssertionError("it never worked")


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
def test_a_network_that_finds_no_memory_is_not_made(forever, tmp_path):
    # 2 blocks for itself, then weights, biases and Adam's two moments of each layer.
    count, net = until_it_works(make_net, forever)
    assert count >= 2 + 2 * 2 * 3
    assert same_bits(net.get_weights(), make_net().get_weights())
    net.save(tmp_path / "net")
    count, loaded = until_it_works(
        lambda: fastnn.Network.load(tmp_path / "net"), forever
    )
    assert count >= 14
    assert same_bits(loaded.get_weights(), net.get_weights())


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
def test_stateless_functions(forever):
    x, w, b = X, np.ones((20, 7)), np.zeros(7)
    dy = np.ones((150, 7))
    for call in (
        lambda: kernels.dense_forward(x, w, b),
        lambda: kernels.dense_backward(dy, x, w),
        lambda: kernels.softmax(x),
        lambda: kernels.softmax_cross_entropy(x, Y),
    ):
        count, _ = until_it_works(call, forever)
        assert count == 1


def test_memory_for_threads_is_not_needed():
    # A thread's descriptor: without it there is one thread less, and no error.
    child = run_python("""
        import os
        import numpy as np
        import fastnn
        from fastnn._core.native import engine as _engine
        X, y = np.ones((512, 300), "f4"), np.arange(512) % 10
        net = fastnn.Network([300, 300, 10], seed=0, num_threads=1)
        net.partial_fit(X, y, batch_size=512)  # its own memory is there now
        net.num_threads = 4
        for n in range(1, 9):
            _engine._fail_allocation(n)
            try:
                net.partial_fit(X, y, batch_size=512)
            except MemoryError:
                pass
        _engine._fail_allocation(0)
        print(np.isfinite(net.predict_proba(X)).all())
    """)
    assert child.stdout == "True"


def test_the_system_runs_out():
    # The real thing: no address space for a network that would not fit.
    child = run_python("""
        import resource
        import numpy as np
        import fastnn
        X, y = np.ones((64, 20), "f4"), np.arange(64) % 5
        net = fastnn.Network([20, 30, 5], seed=0)
        net.partial_fit(X, y)
        before = net.predict_proba(X).tobytes()
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + (200 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for use in (
            lambda: fastnn.Network([20_000, 20_000]),
            lambda: net.predict_proba(np.broadcast_to(X[:1], (2**24, 20))),
            lambda: net.train_on_batch(
                np.broadcast_to(X[:1], (2**21, 20)), np.zeros(2**21, int)),
            lambda: net.loss_and_gradients(
                np.broadcast_to(X[:1], (2**21, 20)), np.zeros(2**21, int)),
        ):
            try:
                use()
            except MemoryError as error:
                print("MemoryError" if net.predict_proba(X).tobytes() == before else "")
        assert net.step == 1
        net.partial_fit(X, y)
    """)
    assert child.stdout.split() == ["MemoryError"] * 4


def test_saving_and_loading_where_memory_ends():
    # The library that parses files panics where it finds none: a MemoryError here.
    child = run_python("""
        import os, resource, sys, tempfile
        import fastnn
        path = os.path.join(tempfile.mkdtemp(), "net")
        net = fastnn.Network([500, 800, 10], seed=0)
        fastnn.Network([9, 9]).save(path)
        fastnn.Network.load(path)  # imports what it needs

        def within(room, use):
            child = os.fork()
            if child == 0:
                pages = int(open("/proc/self/statm").read().split()[0])
                limit = pages * resource.getpagesize() + room
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
                code = 2
                try:
                    use(path)
                    code = 0
                except MemoryError:
                    code = 1
                finally:
                    os._exit(code)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

        for prepare, use in (
            (lambda path: None, lambda path: net.save(path)),
            (net.save, fastnn.Network.load),
        ):
            prepare(path)
            print(*sorted({within(room << 18, use) for room in range(0, 140, 3)}))
    """)
    assert child.stdout.split() == ["0", "1"] * 2
