"""Callbacks: what is called when, and what users see."""

import contextlib
import fcntl
import os
import pickle
import pty
import re
import struct
import sys
import termios

import numpy as np
import pytest
from helpers import same_bits, training_state

import fastnn
from fastnn._core.training import loop as training


class Recorder(fastnn.Callback):
    """Writes down every call, and what the network says at the time."""

    def __init__(self):
        self.calls = []

    def note(self, name, *details):
        self.calls.append((name, *details, self.network.epoch))

    def on_train_begin(self):
        self.note("train_begin", self.params)

    def on_epoch_begin(self, epoch, logs):
        self.note("epoch_begin", epoch, dict(logs))

    def on_progress(self, rows, logs):
        self.note("progress", rows, sorted(logs))

    def on_epoch_end(self, epoch, logs):
        self.note("epoch_end", epoch, sorted(logs))

    def on_train_end(self):
        self.note("train_end")


def test_hooks_are_called_in_order(make_net, blobs):
    net, recorder = make_net(), Recorder()
    net.fit(*blobs, epochs=1, verbose=0)
    net.fit(*blobs, epochs=2, batch_size=32, verbose=0, callbacks=[recorder])
    params = {"n_samples": 60, "batch_size": 32, "first_epoch": 1, "last_epoch": 3}
    names = ["accuracy", "loss"]
    assert recorder.calls == [
        ("train_begin", params, 1),
        ("epoch_begin", 1, {}, 1),
        ("progress", 60, names, 1),
        ("epoch_end", 1, names, 2),
        ("epoch_begin", 2, {}, 2),
        ("progress", 60, names, 2),
        ("epoch_end", 2, names, 3),
        ("train_end", 3),
    ]


def test_progress_is_told_in_rows_that_add_up(make_net, blobs, monkeypatch):
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    recorder = Recorder()
    make_net().fit(*blobs, epochs=1, batch_size=25, verbose=0, callbacks=[recorder])
    rows = [call[1] for call in recorder.calls if call[0] == "progress"]
    assert rows == [25, 25, 10]


def test_the_history_has_one_value_per_epoch(make_net, blobs):
    net = make_net()
    own = fastnn.History()
    first = net.fit(*blobs, epochs=2, verbose=0, callbacks=[own])
    second = net.fit(*blobs, epochs=1, validation_split=0.5, verbose=0, callbacks=[own])
    assert first.epochs == [0, 1]
    assert second.epochs == [2]
    assert sorted(second.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert own.history["loss"] == first.history["loss"] + second.history["loss"]
    assert all(type(value) is float for value in own.history["loss"])
    assert re.fullmatch(
        r"History\(2 epochs, last: {'loss': [\d.]+, 'accuracy': [\d.]+}\)", repr(first)
    )


def test_the_history_records_what_callbacks_add(make_net, blobs):
    def add(epoch, logs):
        logs["twice"] = 2 * logs["loss"]

    hook = fastnn.LambdaCallback(on_epoch_end=add)
    history = make_net().fit(*blobs, epochs=3, verbose=0, callbacks=[hook]).history
    assert history["twice"] == [2 * loss for loss in history["loss"]]


def test_stop_training_ends_after_the_epoch(make_net, blobs):
    net = make_net()

    def stop(epoch, logs):
        net.stop_training = epoch == 1

    hook = fastnn.LambdaCallback(on_epoch_end=stop)
    assert net.fit(*blobs, epochs=9, verbose=0, callbacks=[hook]).epochs == [0, 1]
    assert net.fit(*blobs, epochs=2, verbose=0).epochs == [2, 3]  # it is reset


def test_a_network_saved_by_a_hook_resumes_at_the_next_epoch(
    make_net, backend, blobs, tmp_path
):
    path = tmp_path / "net"

    def checkpoint(epoch, logs):
        if epoch == 1:
            net.save(path)

    net = make_net()
    hook = fastnn.LambdaCallback(on_epoch_end=checkpoint)
    net.fit(*blobs, epochs=4, verbose=0, callbacks=[hook])
    other = fastnn.Network.load(path, backend=backend)
    assert other.fit(*blobs, epochs=4, verbose=0, resume=True).epochs == [2, 3]
    assert other.state_dict().keys() == net.state_dict().keys()
    for name, array in other.state_dict().items():
        assert array.tobytes() == net.state_dict()[name].tobytes()


@pytest.mark.parametrize(
    "hook", ["on_train_begin", "on_epoch_begin", "on_progress", "on_epoch_end"]
)
def test_an_error_in_a_hook_ends_the_training_in_order(make_net, blobs, hook):
    def fail(*_):
        raise ZeroDivisionError

    net, recorder = make_net(), Recorder()
    callbacks = [recorder, fastnn.LambdaCallback(**{hook: fail})]
    with pytest.raises(ZeroDivisionError):
        net.fit(*blobs, epochs=3, verbose=0, callbacks=callbacks)
    assert recorder.calls[-1][0] == "train_end"
    assert net.epoch == (1 if hook == "on_epoch_end" else 0)
    net.fit(*blobs, epochs=1, verbose=0)


def test_all_callbacks_end_even_if_one_fails(make_net, blobs):
    def fail():
        raise ZeroDivisionError

    first, last = Recorder(), Recorder()
    hook = fastnn.LambdaCallback(on_train_end=fail)
    with pytest.raises(ZeroDivisionError):
        make_net().fit(*blobs, epochs=1, verbose=0, callbacks=[first, hook, last])
    assert first.calls[-1][0] == last.calls[-1][0] == "train_end"


@pytest.mark.parametrize("value", ["fast", np.str_("1"), None, np.zeros(2)])
def test_what_is_logged_is_a_number(make_net, blobs, value):
    def add(epoch, logs):
        logs["speed"] = value

    hook = fastnn.LambdaCallback(on_epoch_end=add)
    with pytest.raises(TypeError, match="LambdaCallback logged 'speed': .*; expected"):
        make_net().fit(*blobs, callbacks=[hook], verbose=2)


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin"])
def test_an_error_before_the_first_update_changes_nothing(
    make_net, blobs, monkeypatch, hook
):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    arguments = dict(epochs=2, batch_size=16, verbose=0)
    whole, net = make_net(), make_net()
    whole.fit(*blobs, **arguments)
    net.fit(*blobs, **arguments, time_limit=1e-9)
    assert net.cursor == 16
    bad = fastnn.LambdaCallback(**{hook: fail})
    with pytest.raises(ZeroDivisionError):
        net.fit(*blobs, input_scale=3.0, callbacks=[bad], verbose=0)
    with pytest.raises(TypeError, match="chunks returned None"):
        net.fit_chunks(lambda: None, verbose=0)
    assert net._model.scaling == (None, None)
    net.fit(*blobs, **arguments, resume=True)
    assert same_bits(training_state(net), training_state(whole))


def test_ctrl_c_before_the_first_update_ends_a_fit_that_has_begun(make_net, blobs):
    def interrupt():
        raise KeyboardInterrupt

    net = make_net()
    net.fit(*blobs, epochs=2, verbose=0)
    hook = fastnn.LambdaCallback(on_train_begin=interrupt)
    with pytest.raises(KeyboardInterrupt):
        net.fit(*blobs, epochs=2, callbacks=[hook], verbose=0)
    assert net.fit(*blobs, epochs=2, resume=True, verbose=0).epochs == [2, 3]


def test_a_history_is_pickled_without_the_network(make_net, blobs):
    history = make_net().fit(*blobs, epochs=2, verbose=0)
    stored = pickle.dumps(history)
    same = pickle.loads(stored)
    assert (same.history, same.epochs) == (history.history, history.epochs)
    assert not hasattr(same, "network")
    assert history.network.epoch == 2


def test_lambda_callback_refuses_what_is_no_hook():
    with pytest.raises(TypeError, match="'on_step_end' is no hook"):
        fastnn.LambdaCallback(on_step_end=print)
    with pytest.raises(TypeError, match="on_epoch_end must be callable"):
        fastnn.LambdaCallback(on_epoch_end=3)


# --- what users see -------------------------------------------------------------------


def test_verbose_0_says_nothing(make_net, blobs, capfd):
    make_net().fit(*blobs, epochs=2, verbose=0)
    assert capfd.readouterr() == ("", "")


def test_verbose_1_is_one_bar_on_stderr(make_net, blobs, capfd):
    make_net().fit(*blobs, epochs=3, validation_split=0.1)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1  # one bar, whose line is ended
    last = err.strip().split("\r")[-1]
    assert re.fullmatch(
        r"epoch 3/3 \|.+\| 100% \d\d:\d\d [\d.]+k? samples/s, loss \d\.\d{4}, "
        r"accuracy \d\.\d{4}, val_loss \d\.\d{4}, val_accuracy \d\.\d{4}\s*",
        last,
    ), last


def bar_on_a_terminal(columns, **arguments):
    """The last bar that a training draws on a terminal of this width."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        with (
            os.fdopen(os.dup(theirs), "w") as terminal,
            pytest.MonkeyPatch.context() as m,
        ):
            m.setattr(sys, "stderr", terminal)
            X, y = np.eye(20), np.arange(20) % 2
            fastnn.Network([20, 2], seed=0).fit(X, y, epochs=3, **arguments)
    finally:
        os.close(theirs)
    text = b""
    with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as end:
        while part := end.read(1 << 16):  # an error says that there is no more
            text += part
    return [line for line in re.split(r"[\r\n]", text.decode()) if line.strip()][
        -1
    ].rstrip()


def test_on_a_narrow_terminal_the_values_of_validation_are_shown():
    last = bar_on_a_terminal(80, validation_split=0.2)
    assert len(last) < 80
    assert re.search(r"samples/s, val_loss \d\.\d{4}, val_accuracy \d\.\d{4}$", last)
    last = bar_on_a_terminal(80)
    assert re.search(r"samples/s, loss \d\.\d{4}, accuracy \d\.\d{4}$", last), last
    last = bar_on_a_terminal(150, validation_split=0.2)
    assert re.search(r"/s, loss .*, accuracy .*, val_loss .*, val_accuracy ", last), (
        last
    )


def test_the_bar_ends_its_line_when_training_fails(make_net, blobs, capfd):
    net = make_net(optimizer=fastnn.SGD(1e30))
    with pytest.raises(fastnn.TrainingDiverged):
        net.fit(blobs[0] * np.float32(1e10), blobs[1], epochs=3)
    assert capfd.readouterr().err.endswith("\n")


def test_the_bar_of_a_resumed_fit_starts_where_it_was(
    make_net, blobs, capfd, monkeypatch
):
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)

    def interrupt(rows, logs):
        if net.epoch == 1:
            raise KeyboardInterrupt

    net = make_net()
    hook = fastnn.LambdaCallback(on_progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        net.fit(*blobs, epochs=2, batch_size=30, verbose=0, callbacks=[hook])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # a log has no first bar
    net.fit(*blobs, epochs=2, batch_size=30, resume=True)
    first = capfd.readouterr().err.strip().split("\r")[0]
    assert " 75% " in first, first


def test_verbose_2_is_one_line_per_epoch_on_stdout(make_net, blobs, capfd):
    make_net().fit(*blobs, epochs=12, verbose=2, X_val=blobs[0], y_val=blobs[1])
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert len(lines) == 12
    for i, line in enumerate(lines, start=1):
        assert re.fullmatch(
            rf"epoch {i:2}/12  loss \d\.\d{{4}}  accuracy \d\.\d{{4}}  "
            r"val_loss \d\.\d{4}  val_accuracy \d\.\d{4}  \d+\.\d\d s  "
            r"[1-9][\d,]* samples/s",
            line,
        ), line
