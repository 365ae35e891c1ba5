"""ModelCheckpoint and CSVLogger."""

import csv
import os

import pytest
from helpers import same_bits, training_state

import fastnn
from fastnn import CSVLogger, ModelCheckpoint
from fastnn._core.training import loop as training


def scripted(values):
    def on_epoch_end(epoch, logs):
        logs["loss"] = values[epoch]

    return fastnn.LambdaCallback(on_epoch_end=on_epoch_end)


def interrupt_at(epoch):
    def on_epoch_begin(now, logs):
        if now == epoch:
            raise KeyboardInterrupt

    return fastnn.LambdaCallback(on_epoch_begin=on_epoch_begin)


# --- ModelCheckpoint ------------------------------------------------------------------


def test_each_epoch_has_its_file(make_net, blobs, tmp_path):
    net = make_net()
    save = ModelCheckpoint(tmp_path / "net-{epoch:02}-{loss:.2f}")
    net.fit(*blobs, epochs=3, callbacks=[scripted([3, 2, 1]), save], verbose=0)
    names = ["net-01-3.00", "net-02-2.00", "net-03-1.00"]
    assert sorted(os.listdir(tmp_path)) == names
    assert save.saved == str(tmp_path / names[-1])
    loaded = [fastnn.Network.load(tmp_path / name) for name in names]
    assert [each.epoch for each in loaded] == [1, 2, 3]
    assert same_bits(training_state(loaded[-1]), training_state(net))


def test_a_checkpoint_resumes_to_the_bit(make_net, backend, blobs, tmp_path):
    whole, net = make_net(), make_net()
    whole.fit(*blobs, epochs=4, verbose=0)
    save = ModelCheckpoint(tmp_path / "net")
    with pytest.raises(KeyboardInterrupt):
        net.fit(*blobs, epochs=4, callbacks=[save, interrupt_at(2)], verbose=0)
    net = fastnn.Network.load(tmp_path / "net", backend=backend)
    assert net.epoch == 2
    net.fit(*blobs, epochs=4, resume=True, verbose=0)
    assert same_bits(training_state(net), training_state(whole))


def test_only_the_best_is_saved(make_net, blobs, tmp_path):
    net = make_net()
    save = ModelCheckpoint(tmp_path / "{epoch}", "loss", save_best_only=True)
    values = scripted([3, 4, float("nan"), 2, 2, 1])
    net.fit(*blobs, epochs=6, callbacks=[values, save], verbose=0)
    assert sorted(os.listdir(tmp_path)) == ["1", "4", "6"]
    assert save.best == 1
    net.fit(*blobs, epochs=1, callbacks=[scripted([9] * 7), save], verbose=0)
    assert save.best == 9  # a fit begins anew


def test_the_best_is_remembered_by_a_resumed_fit(make_net, blobs, tmp_path):
    net = make_net()
    save = ModelCheckpoint(tmp_path / "{epoch}", "loss", save_best_only=True)
    hooks = [scripted([3, 1, 2, 0]), save]
    with pytest.raises(KeyboardInterrupt):
        net.fit(*blobs, epochs=4, callbacks=[*hooks, interrupt_at(2)], verbose=0)
    net.fit(*blobs, epochs=4, callbacks=hooks, resume=True, verbose=0)
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "4"]


def test_the_optimizer_may_be_left_out(make_net, blobs, tmp_path):
    for include in (True, False):
        save = ModelCheckpoint(tmp_path / f"{include}", include_optimizer=include)
        make_net().fit(*blobs, epochs=1, callbacks=[save], verbose=0)
    sizes = [(tmp_path / f"{include}").stat().st_size for include in (True, False)]
    assert sizes[0] > sizes[1]
    assert fastnn.Network.load(tmp_path / "False").step == 0


def test_checkpoint_refusals(make_net, blobs, tmp_path):
    def fit(save):
        net.fit(*blobs, epochs=1, callbacks=[save], verbose=0)

    net = make_net()
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        fit(ModelCheckpoint(tmp_path / "no" / "net"))
    with pytest.raises(ValueError, match="'val_loss' but there is no validation data"):
        fit(ModelCheckpoint(tmp_path / "net", save_best_only=True))
    for name in (
        "{speed}", "{}", "{epoch", "{loss.foo}", "{loss[0]}", "{loss:d}", "{val_loss}",
    ):  # fmt: skip
        with pytest.raises(
            ValueError, match="expected fields of epoch, loss, accuracy"
        ):
            fit(ModelCheckpoint(tmp_path / name))
    assert net.step == 0
    hooks = [scripted([1]), ModelCheckpoint(tmp_path / "{speed}")]
    with pytest.raises(ValueError, match="expected fields of epoch, loss, accuracy"):
        net.fit(*blobs, epochs=1, callbacks=hooks, verbose=0)
    with pytest.raises(TypeError, match="path must be text"):
        ModelCheckpoint(b"net")
    with pytest.raises(TypeError, match="save_best_only"):
        ModelCheckpoint("net", save_best_only=1)
    with pytest.raises(ValueError, match="mode is 'auto'"):
        ModelCheckpoint("net", "speed", save_best_only=True)
    assert os.listdir(tmp_path) == []


# --- CSVLogger ------------------------------------------------------------------------


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_is_the_history(make_net, blobs, tmp_path):
    path = tmp_path / "log.csv"
    history = make_net().fit(
        *blobs, epochs=3, validation_split=0.2, callbacks=[CSVLogger(path)], verbose=0
    )
    rows = read(path)
    assert list(rows[0]) == ["epoch", *history.history]
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    for name, values in history.history.items():
        assert [float(row[name]) for row in rows] == values


def test_every_row_is_there_as_its_epoch_ends(make_net, blobs, tmp_path):
    path = tmp_path / "log.csv"
    lengths = []
    look = fastnn.LambdaCallback(
        on_epoch_end=lambda epoch, logs: lengths.append(len(read(path)))
    )
    logger = CSVLogger(path)
    with pytest.raises(KeyboardInterrupt):
        make_net().fit(
            *blobs, callbacks=[logger, look, interrupt_at(3)], epochs=9, verbose=0
        )
    assert lengths == [1, 2, 3]
    assert len(read(path)) == 3
    assert logger._file is None  # closed


def test_a_resumed_fit_adds_its_rows(make_net, blobs, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    path = tmp_path / "log.csv"
    net, logger = make_net(), CSVLogger(path)
    with pytest.raises(KeyboardInterrupt):
        net.fit(*blobs, epochs=4, callbacks=[logger, interrupt_at(2)], verbose=0)
    net.fit(*blobs, epochs=4, callbacks=[logger], resume=True, verbose=0)
    assert [row["epoch"] for row in read(path)] == ["0", "1", "2", "3"]
    net.fit(*blobs, epochs=1, callbacks=[logger], verbose=0)  # replaces
    assert [row["epoch"] for row in read(path)] == ["4"]


def test_append_goes_on_with_any_file(make_net, blobs, tmp_path):
    path = tmp_path / "log.csv"
    for _ in range(2):
        logger = CSVLogger(str(path), append=True)
        make_net().fit(*blobs, epochs=2, callbacks=[logger], verbose=0)
    assert [row["epoch"] for row in read(path)] == ["0", "1", "0", "1"]
    net = make_net()
    for hooks, steps in (([logger], 0), ([scripted([1]), logger], 1)):
        with pytest.raises(
            ValueError, match="has the columns epoch, loss, accuracy, but"
        ):
            net.fit(*blobs, epochs=1, validation_split=0.5, callbacks=hooks, verbose=0)
        assert net.step == steps  # before the first, if nobody adds to the logs
    assert len(read(path)) == 4


def test_logger_refusals(make_net, blobs, tmp_path):
    net = make_net()
    logger = CSVLogger(tmp_path / "no" / "log.csv")
    with pytest.raises(FileNotFoundError):
        net.fit(*blobs, callbacks=[logger], verbose=0)
    assert net.step == 0
    with pytest.raises(TypeError, match="append"):
        CSVLogger("log.csv", append=1)
    with pytest.raises(TypeError, match="path must be text"):
        CSVLogger(b"log.csv")


@pytest.mark.parametrize("append", [False, True])
def test_epochs_that_are_made_again_are_logged_once(
    make_net, backend, blobs, tmp_path, append
):
    path = tmp_path / "log.csv"
    if append:  # of a fit before, which stays
        make_net().fit(*blobs, epochs=3, callbacks=[CSVLogger(path)], verbose=0)
    net = make_net()
    save = ModelCheckpoint(tmp_path / "net-{epoch}")
    logger = CSVLogger(path, append=append)
    hooks = [save, logger, interrupt_at(3)]
    with pytest.raises(KeyboardInterrupt):
        net.fit(*blobs, epochs=5, callbacks=hooks, verbose=0)
    net = fastnn.Network.load(tmp_path / "net-1", backend=backend)
    logger = CSVLogger(path, append=append)
    net.fit(*blobs, epochs=5, callbacks=[logger], resume=True, verbose=0)
    before = ["0", "1", "2"] if append else []
    assert [row["epoch"] for row in read(path)] == [*before, *"01234"]


def test_rows_that_are_not_of_fastnn_stay(make_net, blobs, tmp_path):
    path = tmp_path / "log.csv"
    net = make_net()
    net.fit(*blobs, epochs=1, verbose=0)
    path.write_text("epoch,loss,accuracy\n0,1,0\nnote,,\n1,1,0\n")
    net.fit(*blobs, epochs=2, callbacks=[CSVLogger(path)], resume=True, verbose=0)
    assert [row["epoch"] for row in read(path)] == ["0", "note", "1"]
