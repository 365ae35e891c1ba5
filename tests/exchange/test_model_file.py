"""Model files: nothing is lost, nothing damaged is taken, nothing hostile acts."""

import hashlib
import json
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
from attacks import attacks, forge, take_apart
from helpers import same_bits, training_state

import fastnn
from fastnn import ModelFormatError, Network
from fastnn._core.exchange import files
from fastnn._core.exchange import model_file as serialization
from fastnn._core.training import loop as training
from fastnn.losses import LOSSES

OPTIMIZERS = [
    fastnn.SGD(0.1),
    fastnn.SGD(0.1, momentum=0.9, nesterov=True),
    fastnn.AdamW(weight_decay=0.1),
]


@pytest.fixture
def net(blobs):
    """A trained network whose file has everything: Adam's state, a scaling by input."""
    net = Network([4, 8, 3], seed=3, backend="numpy", input_scale=[1, 2, 1, 1])
    net.fit(*blobs, epochs=2, verbose=0)
    return net


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def load(path, **arguments):
    return Network.load(path, backend="numpy", **arguments)


# --- nothing is lost ------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_network_is_the_saved_one(
    make_net, backend, blobs, path, optimizer, dtype
):
    net = make_net(optimizer=optimizer, dtype=dtype, input_scale=0.3, input_shift=0.1)
    net.fit(*blobs, epochs=2, verbose=0)
    net.save(path)
    other = Network.load(path, backend=backend, num_threads=1)
    assert other.plan == net.plan
    assert (other.seed, other.backend) == (net.seed, backend)
    assert same_bits(training_state(net), training_state(other))
    X, y = blobs
    assert same_bits(net.predict_proba(X), other.predict_proba(X))
    for each in (net, other):
        each.fit(X, y, epochs=2, verbose=0)
    assert same_bits(training_state(net), training_state(other))


def test_backends_read_each_others_files(blobs, path):
    for writer, reader in [("native", "numpy"), ("numpy", "native")]:
        net = Network([4, 8, 3], seed=1, backend=writer, input_scale=[1, 2, 3, 4])
        net.fit(*blobs, epochs=1, verbose=0)
        net.save(path)
        other = Network.load(path, backend=reader)
        assert same_bits(training_state(net), training_state(other))


def test_without_the_optimizer_state_training_starts_afresh(net, blobs, path):
    net.save(path, include_optimizer=False)
    other = load(path)
    assert same_bits(net.get_weights(), other.get_weights())
    assert (other.step, other.epoch, other.cursor) == (0, 2, 0)
    zeros = other._model.engine.get_optimizer_state()
    assert not any(a.any() for layer in zeros for pair in layer.values() for a in pair)
    other.fit(*blobs, epochs=1, verbose=0)


def test_without_the_optimizer_state_an_interrupted_epoch_begins_again(
    net, blobs, path, monkeypatch
):
    def interrupt(rows, logs):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    hook = fastnn.LambdaCallback(on_progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        net.fit(*blobs, batch_size=16, callbacks=[hook], verbose=0)
    for include, cursor in [(True, 16), (False, 0)]:
        net.save(path, include_optimizer=include)
        assert load(path).cursor == cursor
    assert net.cursor == 16


@pytest.mark.parametrize("loss", LOSSES)
def test_an_interrupted_epoch_of_every_loss_goes_on_after_loading(
    backend, path, monkeypatch, loss
):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(54, 4))
    n_outputs = {"quantile": 3, "gaussian_nll": 2, "softmax_cross_entropy": 3}
    n_outputs = n_outputs.get(loss, 1)
    y = rng.integers(0, 2, 54)
    if loss == "poisson":  # whose loss is negative where a count is expected
        y = y + 20
    arguments = dict(loss=loss, seed=0, backend=backend, optimizer=fastnn.Adam(0.1))
    fits = dict(epochs=3, batch_size=16, verbose=0)
    straight = Network([4, 8, n_outputs], **arguments)
    straight.fit(X, y, **fits)

    def interrupt(rows, logs):
        if net.epoch == 2 and net.cursor == 32:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    hook = fastnn.LambdaCallback(on_progress=interrupt)
    net = Network([4, 8, n_outputs], **arguments)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, **fits, callbacks=[hook])
    assert (net._model.progress.totals[0] < 0) == (loss == "poisson")
    net.save(path)
    other = Network.load(path, backend=backend)
    assert other.cursor == 32
    other.fit(X, y, **fits, resume=True)
    assert same_bits(training_state(straight), training_state(other))


def test_a_network_that_changes_while_it_is_saved_is_not_saved(net, path):
    engine = net._model.engine
    get_weights = engine.get_weights

    def train_first():  # as another thread could
        engine.train_step(np.zeros((1, 4)), [0])
        return get_weights()

    engine.get_weights = train_first
    with pytest.raises(fastnn.BusyError, match="while it was saved"):
        net.save(path)
    assert not path.exists()


@pytest.mark.parametrize("layers", [[784, 128, 10], [4, 8, 3], [10, 20, 20, 20, 2]])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_files_are_small(path, layers, dtype):
    net = Network(layers, seed=0, dtype=dtype, backend="numpy", input_scale=1 / 255)
    weights = net.n_parameters * net.dtype.itemsize
    net.save(path, include_optimizer=False)
    assert weights <= path.stat().st_size <= weights + 4096
    net.save(path)  # Adam keeps two numbers for each weight
    assert path.stat().st_size <= 3 * weights + 4096


def test_the_same_network_makes_the_same_bytes(net, path):
    net.save(path)
    code = (
        "import sys; from fastnn import Network; "
        "Network.load(sys.argv[1], backend='numpy').save(sys.argv[2])"
    )
    for i in range(3):  # the hash seed of each process orders dicts and sets anew
        copy = path.with_name(f"copy{i}")
        subprocess.run([sys.executable, "-c", code, path, copy], check=True)
        assert copy.read_bytes() == path.read_bytes()


def test_the_file_is_safetensors_with_the_names_documented(net, path):
    from safetensors import safe_open

    net.save(path)
    with safe_open(path, "np") as file:
        assert set(file.metadata()) == {
            "fastnn.format",
            "fastnn.network",
            "fastnn.sha256",
        }
        prefixes = ["", "optimizer.first_moment.", "optimizer.second_moment."]
        assert set(file.keys()) == {"input.scale", "input.shift"} | {
            f"{prefix}layers.{i}.{kind}"
            for prefix in prefixes
            for i in range(2)
            for kind in ("weight", "bias")
        }
        w = file.get_tensor("layers.0.weight")
    assert same_bits(w, net.get_weights()[0][0])
    assert len_header(path) % 8 == 0


def len_header(path):
    return int.from_bytes(path.read_bytes()[:8], "little")


# --- nothing damaged is taken ---------------------------------------------------------


def test_every_truncation_is_detected(net, path):
    net.save(path)
    data = path.read_bytes()
    for n in [*range(0, len(data), 7), len(data) - 1]:
        with pytest.raises(ModelFormatError):
            serialization.from_bytes(data[:n])
        if n % 5 == 0:
            path.write_bytes(data[:n])
            with pytest.raises(ModelFormatError, match=str(path)):
                load(path)


def test_every_flipped_bit_is_detected(net, path):
    net.save(path)
    data = path.read_bytes()
    header = 8 + len_header(path)
    # Each bit of the header, its padding included, and bits all over the tensors.
    bits = [*range(8 * header), *range(8 * header, 8 * len(data), 41)]
    for bit in bits:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ModelFormatError):
            serialization.from_bytes(bytes(damaged))


def test_swapped_tensors_are_detected(net):
    data = serialization.to_bytes(net._model.state())
    header, _, tensors = take_apart(data)
    a, b = (header[f"optimizer.{n}_moment.layers.0.bias"] for n in ("first", "second"))
    a["data_offsets"], b["data_offsets"] = b["data_offsets"], a["data_offsets"]
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    swapped = data[:8] + text.ljust(len(data) - len(tensors) - 8) + tensors
    with pytest.raises(ModelFormatError, match="SHA-256"):
        serialization.from_bytes(swapped)


def test_a_pinned_file_is_the_only_one_taken(net, path):
    net.save(path)
    pin = hashlib.sha256(path.read_bytes()).hexdigest()
    load(path, sha256=pin)
    load(path, sha256=pin.upper())
    net.train_on_batch(np.zeros((1, 4)), [0])
    net.save(path)
    with pytest.raises(ModelFormatError, match=f"SHA-256 is .*; expected {pin}"):
        load(path, sha256=pin)
    with pytest.raises(ValueError, match="sha256 must be 64 hexadecimal digits"):
        load(path, sha256="abc")


# --- nothing hostile acts -------------------------------------------------------------


@pytest.fixture(scope="module")
def good():
    net = Network([4, 8, 3], seed=0, backend="numpy")
    return serialization.to_bytes(net._model.state())


def test_a_forgery_without_an_edit_is_a_good_file(good):
    header, network, tensors = take_apart(good)
    assert forge(header, network, tensors) == good
    serialization.from_bytes(good)


def test_attacks_are_refused(good, path):
    names = []
    for name, data in attacks(good):
        names.append(name)
        path.write_bytes(data)
        tracemalloc.start()
        start = time.process_time()  # of this process: machines have other work
        try:
            with pytest.raises(ModelFormatError) as caught:
                load(path)
            seconds = time.process_time() - start
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert str(path) in str(caught.value), name
        assert len(str(caught.value)) < 1000, name
        assert seconds < 1.0, name  # most take 4 ms
        assert peak <= 2 * len(data) + (64 << 20), name
    assert len(names) == len(set(names)) > 100


def test_each_attack_is_refused_for_what_it_does(good):
    reasons = {
        "a weight is NaN": "layers.0.weight' has non-finite values",
        "a second moment is negative": "has negative values",
        "units of a million": "tensor 'layers.0.bias' is .*; expected",
        "n_inputs beyond 2\\*\\*24": "n_inputs",
        "activation unknown": "activation .*'exec'",
        "cursor within a step": "cursor is not on the boundary of an update",
        "a key more": "unknown key 'code'",
        "step of 64 bits": "step is",
        "hash of zeros": "does not match its SHA-256",
        "padding of tabs": "not in the form",
        "format 2": "format '2' is unknown",
        "bytes after the end": "bytes long; expected",
        "header over the cap": "not a safetensors file",
        "optimizer with other state": "no such tensor",
        "shape transposed": r"tensor 'layers.0.weight' is \('F32', \[8, 4\]\)",
    }
    files = dict(attacks(good))
    for name, reason in reasons.items():
        with pytest.raises(ModelFormatError, match=reason):
            serialization.from_bytes(files[name.replace("\\", "")])


def test_non_finite_weights_are_taken_on_request(good, path):
    path.write_bytes(dict(attacks(good))["a weight is NaN"])
    net = load(path, allow_non_finite=True)
    assert np.isnan(net.get_weights()[0][0][0, 0])
    path.write_bytes(dict(attacks(good))["a second moment is negative"])
    with pytest.raises(ModelFormatError):
        load(path, allow_non_finite=True)


def with_a_value(net, name, value):
    """The bytes of a network's file whose tensor begins with another value."""
    header, network, tensors = take_apart(serialization.to_bytes(net._model.state()))
    begin = header[name]["data_offsets"][0]
    dtype = {"F32": np.float32, "F64": np.float64}[header[name]["dtype"]]
    data = dtype(value).tobytes()
    rest = tensors[begin + len(data) :]
    return forge(header, network, tensors[:begin] + data + rest)


@pytest.mark.parametrize("name", ["input.scale", "input.shift"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_scaling_is_finite_whatever_is_asked_for(path, name, value):
    # Weights may be what they are on request; with such inputs nothing can be computed.
    net = Network([4, 3], seed=0, input_scale=[1, 2, 1, 1], input_shift=[0, 1, 0, 0])
    path.write_bytes(with_a_value(net, name, 0.5))
    load(path)
    path.write_bytes(with_a_value(net, name, value))
    for allowed in (False, True):
        with pytest.raises(ModelFormatError, match=f"'{name}' has non-finite values"):
            load(path, allow_non_finite=allowed)


def test_a_layer_without_bias_has_none_in_a_file(path):
    # The engine would add what no update, and no `use_bias`, knows of.
    net = Network([4, fastnn.Dense(3, use_bias=False)], seed=0)
    path.write_bytes(with_a_value(net, "layers.0.bias", 0.0))
    load(path)
    path.write_bytes(with_a_value(net, "layers.0.bias", 0.5))
    with pytest.raises(ModelFormatError, match=r"'layers\.0\.bias' of a layer without"):
        load(path)


def test_random_damage_raises_nothing_else(good):
    rng = random.Random(0)
    end = 8 + int.from_bytes(good[:8], "little")
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(rng.choice([1, 2, 5, 20])):
            at = rng.randrange(end if rng.random() < 0.8 else len(data))
            kind = rng.randrange(3)
            if kind == 0:
                data[at] = rng.randrange(256)
            elif kind == 1:
                del data[at : at + rng.randrange(1, 30)]
            else:
                data[at:at] = bytes(data[at : at + rng.randrange(1, 30)])
            if not data:
                break
            end = min(end, len(data))
        if bytes(data) != good:
            with pytest.raises(ModelFormatError):
                serialization.from_bytes(bytes(data))


def test_a_forged_huge_network_is_refused_before_it_is_read(good, path):
    header, network, _ = take_apart(good)
    network["plan"]["n_inputs"] = 2**24
    network["optimizer_state"] = False
    header = {"__metadata__": header["__metadata__"]}
    at = 0
    for name, shape in [
        ("layers.0.bias", [8]),
        ("layers.0.weight", [2**24, 8]),
        ("layers.1.bias", [3]),
        ("layers.1.weight", [8, 3]),
    ]:
        size = 4 * int(np.prod(shape))
        header[name] = {"data_offsets": [at, at + size], "dtype": "F32", "shape": shape}
        at += size
    path.write_bytes(forge(header, network, b"\0" * 100))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFormatError, match="bytes long; expected"):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(60)  # a pipe without a writer would wait for ever
def test_only_regular_files_are_read(net, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, "/dev/zero"):
        with pytest.raises(ModelFormatError, match=f"{path}: not a regular file"):
            load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


# --- saving is all or nothing ---------------------------------------------------------


def entries(folder):
    return sorted(entry.name for entry in folder.iterdir())


class Disk:
    """Counts the system calls of a save and fails the n-th."""

    NAMES = ("open", "fchmod", "write", "fsync", "replace", "stat", "listdir")

    def __init__(self, fail_at):
        self.fail_at = fail_at
        self.calls = []

    def __getattr__(self, name):
        original = getattr(os, name)
        if name not in self.NAMES:
            return original

        def call(*arguments):
            self.calls.append(name)
            if len(self.calls) == self.fail_at:
                raise OSError(28, "No space left on device")
            return original(*arguments)

        return call


def test_whatever_fails_leaves_the_old_file_or_the_new_one(net, path, monkeypatch):
    net.save(path)
    old = path.read_bytes()
    net.train_on_batch(np.zeros((1, 4)), [0])
    seen = []
    for n in range(1, 100):
        path.write_bytes(old)
        disk = Disk(n)
        monkeypatch.setattr(files, "os", disk)
        try:
            net.save(path)
        except OSError as error:
            assert error.errno == 28
        else:
            break
        finally:
            monkeypatch.undo()
        if disk.calls.count("replace") == 0 or disk.calls[-1] == "replace":
            assert path.read_bytes() == old, disk.calls
        load(path)
        assert entries(path.parent) == [path.name], disk.calls
        seen = disk.calls
    assert seen.index("write") < seen.index("fsync") < seen.index("replace")
    assert seen[seen.index("replace") :] == ["replace", "open", "fsync"]


def test_short_writes_are_continued(net, path, monkeypatch):
    class SlowDisk:
        def __getattr__(self, name):
            return getattr(os, name)

        def write(self, fd, data):
            return os.write(fd, data[:1000])

    monkeypatch.setattr(files, "os", SlowDisk())
    net.save(path)
    assert same_bits(load(path).get_weights(), net.get_weights())


@pytest.mark.parametrize("limit", [0, 1, 4096, 8192])
def test_a_full_disk_leaves_the_old_file(path, limit):
    net = Network([100, 30, 3], seed=0, backend="numpy")
    net.save(path)
    old = path.read_bytes()
    net.train_on_batch(np.zeros((1, 100)), [0])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError):
            net.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == old
    assert entries(path.parent) == [path.name]


def test_permission_bits_are_those_of_a_new_file_or_of_the_old_one(net, path):
    old_mask = os.umask(0o027)
    try:
        net.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        net.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(old_mask)


def test_a_symbolic_link_stays_one(net, tmp_path):
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    net.save(link)
    net.save(link)
    assert link.is_symlink()
    assert not target.is_symlink()
    load(link)
    assert entries(target.parent) == ["target"]


def test_what_is_no_regular_file_is_not_replaced(net, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="not a regular file"):
        net.save(fifo)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    with pytest.raises(IsADirectoryError):
        net.save(tmp_path)
    with pytest.raises(FileNotFoundError):
        net.save(tmp_path / "nothing" / "net")


def test_leftovers_of_dead_savers_go_and_those_of_living_ones_stay(net, path):
    dead = path.parent / f".{path.name}.0123456789abcdef.fastnn-tmp"
    dead.write_bytes(b"half a fi")
    other = path.parent / ".other.0123456789abcdef.fastnn-tmp"
    other.write_bytes(b"of another path")
    prefix = files._temporary_prefix(path.name)
    living, fd = files._create_temporary(str(path.parent), prefix)
    net.save(path)
    os.close(fd)
    assert not dead.exists()
    assert other.exists()
    assert os.path.exists(living)
    net.save(path)
    assert not os.path.exists(living)  # its lock went with its writer


def test_no_link_is_written_through(net, path, monkeypatch):
    # In a folder that others write to, a link may lie where the temporary file goes.
    victim = path.parent / "victim"
    victim.write_bytes(b"mine")
    monkeypatch.setattr(files.secrets, "token_hex", lambda n: "0" * 2 * n)
    trap = path.parent / f".{path.name}.{'0' * 16}.fastnn-tmp"
    trap.symlink_to(victim)
    with pytest.raises(FileExistsError):
        net.save(path)
    assert victim.read_bytes() == b"mine"
    assert not path.exists()


def test_a_link_that_is_named_like_a_leftover_is_left_alone(net, path):
    victim = path.parent / "victim"
    victim.write_bytes(b"mine")
    link = path.parent / f".{path.name}.0123456789abcdef.fastnn-tmp"
    link.symlink_to(victim)
    net.save(path)
    assert link.is_symlink()
    assert victim.read_bytes() == b"mine"


def test_threads_that_save_to_one_path_do_not_disturb_each_other(net, path):
    errors = []

    def save():
        try:
            for _ in range(20):
                net.save(path)
                load(path)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert entries(path.parent) == [path.name]


SAVE_FOR_EVER = """
import sys
from fastnn import Network
import numpy as np
net = Network.load(sys.argv[1], backend="numpy")
X, y = np.zeros((1, 200), "f4"), [0]
print("ready", flush=True)
while True:
    net.train_on_batch(X, y)
    net.save(sys.argv[1])
"""


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_saver_leaves_a_loadable_file(path, kills):
    rng = random.Random(0)
    Network([200, 100, 3], seed=0, backend="numpy").save(path)
    step = 0
    for _ in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOR_EVER, path], stdout=subprocess.PIPE
        )
        with child:
            assert child.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0, 0.02))
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
        net = load(path)
        assert net.step >= step
        step = net.step
    net.save(path)
    assert step > 0
    assert entries(path.parent) == [path.name]
