"""One thread that trains, or any number that predict: whatever else is BusyError."""

import os
import threading

import numpy as np
import pytest

from fastnn._base.errors import BusyError
from fastnn._core.model.seeds import initial_weights
from fastnn._plan.plan import make_plan
from fastnn.optimizers import Adam
from fastnn.reference import Engine


def make_engine():
    plan = make_plan([4, 8, 3], dtype="float64")
    engine = Engine(plan)
    engine.set_weights(initial_weights(plan, 0))
    return engine


def in_other_thread(call):
    """Run a call in a thread and return what it raised, or None."""
    raised = []

    def run():
        try:
            call()
            raised.append(None)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=10)
    return raised[0]


X4, Y4 = np.eye(4), np.array([0, 1, 2, 0])
READING = {
    "forward": lambda engine: engine.forward(X4),
    "predict_one": lambda engine: engine.predict_one(X4[0]),
    "evaluate": lambda engine: engine.evaluate(X4, Y4),
    "loss_and_gradients": lambda engine: engine.loss_and_gradients(X4, Y4),
    "get_weights": lambda engine: engine.get_weights(),
    "get_optimizer_state": lambda engine: engine.get_optimizer_state(),
}
CHANGING = {
    "train_step": lambda engine: engine.train_step(X4, Y4),
    "set_weights": lambda engine: engine.set_weights(initial_weights(engine.plan, 1)),
    "set_optimizer": lambda engine: engine.set_optimizer(Adam(0.5)),
    "set_optimizer_state": lambda engine: engine.set_optimizer_state(
        [{"first_moment": pair, "second_moment": pair} for pair in ZEROS]
    ),
    "set_input_scaling": lambda engine: engine.set_input_scaling(None, None),
    "step": lambda engine: setattr(engine, "step", 3),
}
ZEROS = Engine(make_plan([4, 8, 3], dtype="float64")).get_weights()


@pytest.mark.parametrize("name", [*READING, *CHANGING])
def test_a_network_in_training_is_busy_for_other_threads(name):
    engine = make_engine()
    call = {**READING, **CHANGING}[name]
    engine.acquire()
    error = in_other_thread(lambda: call(engine))
    assert isinstance(error, BusyError)
    call(engine)  # but not for the thread that trains
    engine.release()
    assert in_other_thread(lambda: call(engine)) is None


def test_a_second_acquire_is_busy():
    engine = make_engine()
    engine.acquire()
    with pytest.raises(BusyError, match="this thread is already training"):
        engine.acquire()
    error = in_other_thread(engine.acquire)
    assert isinstance(error, BusyError)
    assert "another thread is already training" in str(error)
    assert isinstance(in_other_thread(engine.release), RuntimeError)
    engine.release()
    assert in_other_thread(engine.acquire) is None


@pytest.mark.parametrize("name", [*CHANGING, "acquire"])
def test_a_network_that_predicts_cannot_change(name, monkeypatch):
    engine = make_engine()
    call = {**CHANGING, "acquire": lambda engine: engine.acquire()}[name]
    inside, go_on = threading.Event(), threading.Event()
    gather = engine._gather

    def slow(rows):
        if threading.current_thread().name == "reader":
            inside.set()
            assert go_on.wait(10)
        return gather(rows)

    monkeypatch.setattr(engine, "_gather", slow)
    # integers are known to be finite, so that only the prediction itself gathers
    rows = np.ones((2, 4), np.int64)
    reader = threading.Thread(target=engine.forward, args=(rows,), name="reader")
    reader.start()
    assert inside.wait(10)
    with pytest.raises(BusyError, match="another thread is predicting"):
        call(engine)
    assert in_other_thread(lambda: engine.forward(rows)) is None  # others may predict
    go_on.set()
    reader.join(10)
    call(engine)


def test_an_error_while_predicting_gives_the_network_back(monkeypatch):
    engine = make_engine()
    monkeypatch.setattr("fastnn.reference._engine.forward_pass", None)
    with pytest.raises(TypeError):
        engine.forward(X4)
    monkeypatch.undo()
    engine.acquire()
    engine.release()


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_its_parents_threads():
    engine = make_engine()
    acquired, go_on = threading.Event(), threading.Event()

    def hold():
        engine.acquire()
        acquired.set()
        go_on.wait(10)
        engine.release()

    thread = threading.Thread(target=hold)
    thread.start()
    assert acquired.wait(10)
    child = os.fork()
    if child == 0:
        try:
            engine.forward(np.ones((1, 4)))
            engine.acquire()
            engine.release()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    with pytest.raises(BusyError):  # the parent's is as busy as before
        engine.acquire()
    go_on.set()
    thread.join(10)
    assert os.waitstatus_to_exitcode(status) == 0


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_of_the_training_thread_still_trains():
    engine = make_engine()
    engine.acquire()
    child = os.fork()
    if child == 0:
        try:
            engine.train(X4, Y4, None, None, 2, 0, np.zeros(3))
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    engine.release()
    assert os.waitstatus_to_exitcode(status) == 0
