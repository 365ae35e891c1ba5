"""Data-parallel training on real ranks of MPI: `Network.fit(communicator=...)`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
from children import environment, run_python

pytest.importorskip("mpi4py")

JOB = Path(__file__).parents[1] / "support" / "rank_job.py"
# With packages of PyPI it lies next to the interpreter.
_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
MPIEXEC = shutil.which("mpiexec", path=_PATH)


def start(n, *arguments, **options):
    # Open MPI refuses root, and more ranks than cores, unless it is told.
    variables = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    assert MPIEXEC, "mpi4py is here, but no mpiexec: pip install mpich"
    return subprocess.Popen(
        [MPIEXEC, "-n", str(n), sys.executable, *map(str, arguments)],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(n, name, *arguments):
    """Return what the job returns on rank 0."""
    job = start(n, JOB, name, *arguments)
    out, errors = job.communicate(timeout=200)
    assert job.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


@cache
def one_rank(*arguments):
    return run(1, *arguments)


@pytest.mark.parametrize("n", [2, 4, 8])
def test_any_number_of_ranks_gives_the_same_bits(n):
    found = run(n, "bits", "native", "float32")
    assert found == one_rank("bits", "native", "float32")
    assert len(found) == 11
    assert "val_roc_auc" in found["momentum"]["logs"]


@pytest.mark.parametrize(
    ("backend", "dtype"), [("native", "float64"), ("numpy", "float32")]
)
def test_so_do_other_types_and_the_reference(backend, dtype):
    assert run(4, "bits", backend, dtype) == one_rank("bits", backend, dtype)


def test_both_lanes_mean_the_same():
    native, numpy = (one_rank("bits", each, "float64") for each in ("native", "numpy"))
    for optimizer, found in numpy.items():
        # Batch norms of the last update's one or two rows enlarge roundings.
        expected = native[optimizer]["logs"]["loss"]
        assert found["logs"]["loss"] == pytest.approx(expected, rel=1e-3)


def test_functions_of_ones_own():
    assert run(4, "own") == one_rank("own")


def test_shards_are_mini_batches_that_are_accumulated():
    assert run(1, "accumulated") == 1  # one batch norm has learnt, the frozen one not


def test_a_fit_on_four_ranks_goes_on_on_two(tmp_path):
    model = tmp_path / "model"
    assert run(4, "part", model) == ["model", "model-1"]  # rank 0 wrote them
    digest = run(2, "resumed", model, 2)
    assert digest == one_rank("whole", 3)["digest"]


def test_ranks_of_a_machine_divide_its_threads():
    seen, threads = run(2, "threads")
    each = max(1, threads // 2)
    assert seen == [[[-2, each], True]] * 2  # -2: as the network was told


ONE_IS_WRONG = {
    "rows": ("ValueError: X of rank 1 has 26 rows; expected 27 of the 106",) * 2,
    "value": (
        "RuntimeError: rank 1 has failed: ValueError: X[3, 2] is nan",
        "ValueError: X[3, 2] is nan",
    ),
    "batch": ("ValueError: batch_size of rank 1 is 64; expected 32, as on rank 0",) * 2,
    "shards": ("ValueError: shards of rank 1 is 16; expected the same power",) * 2,
    "seed": ("ValueError: the seed of rank 1 is 4; expected 3, as on rank 0",) * 2,
    "targets": ("ValueError: the scaling of targets of rank 1 is",) * 2,
    "raises": (
        "RuntimeError: rank 1 has failed: OSError: no room on the disk",
        "OSError: no room on the disk",
    ),
    "changes": ("RuntimeError: the networks of ranks 0 and 1 differ",) * 2,
    "late": ("RuntimeError: the networks of ranks 0 and 1 differ",) * 2,
    "diverges": ("TrainingDiverged: a loss",) * 2,
    "interrupt": ("KeyboardInterrupt",) * 2,
    "stops": ("1 epochs",) * 2,
}


@pytest.mark.parametrize("wrong", ONE_IS_WRONG)
def test_what_ends_one_rank_ends_all(wrong):
    others, itself = ONE_IS_WRONG[wrong]
    found = run(4, "fails", wrong)
    for rank, (text, _) in enumerate(found):
        assert text.startswith(itself if rank == 1 else others)
    if wrong != "changes":  # rank 1 itself has begun afresh there
        assert len({step for _, step in found}) == 1


@pytest.mark.parametrize("how", ["dies", "breaks"])
def test_no_rank_waits_for_one_that_is_gone(how):
    job = start(4, JOB, how)
    out, errors = job.communicate(timeout=200)
    ended = time.time()
    assert job.returncode != 0
    if how == "dies":
        killed = out.split("killed ")[1].split()[0]
        # Some 0.1 s where nothing else runs; the others would wait for ever.
        assert ended - float(killed) < 5
    else:
        assert "MemoryError: no room for what comes in" in errors


def test_ctrl_c_stops_all_ranks_at_the_same_step(tmp_path):
    job = start(2, JOB, "spin", tmp_path / "model", start_new_session=True)
    assert job.stdout.readline() == "going\n"
    time.sleep(0.2)  # somewhere in a later epoch
    job.send_signal(signal.SIGINT)  # mpiexec hands it on
    _, errors = job.communicate(timeout=200)
    assert job.returncode != 0
    assert "KeyboardInterrupt" in errors
    step, expected, digest, digest_expected = run(1, "replays", tmp_path / "model")
    assert step == expected > 0
    assert digest == digest_expected


REFUSED = """
import numpy as np
from mpi4py import MPI
import fastnn

X, y = np.zeros((16, 2)), np.arange(16) % 2

def refused(expected, optimizer="adam", X=X, y=y, communicator=MPI.COMM_WORLD,
            network={}, **options):
    net = fastnn.Network([2, 2], seed=0, optimizer=optimizer, **network)
    try:
        net.fit(X, y, **{"batch_size": 8, "verbose": 0, "communicator": communicator,
                         **options})
    except (TypeError, ValueError) as error:
        assert str(error).startswith(expected), error
        assert net.step == 0
        return
    raise AssertionError(expected)

refused("communicator must be one of mpi4py", communicator=4)
refused("shards of rank 0 is 3; expected the same power of two", shards=3)
refused("batch_size is 12; expected a multiple of the number of shards, 8",
        batch_size=12)
refused("accumulate is 2 although there is a communicator", accumulate=2)
refused("validation_split is 0.5 although there is", validation_split=0.5)
refused("class_weight is 'balanced'; expected a dict", class_weight="balanced")
refused("the optimizer LBFGS takes all data at once", optimizer="lbfgs")
refused("target_scale or target_range is 'auto' although there is", y=np.eye(2)[y],
        network={"loss": "mse", "target_scale": "auto"})
refused("X is a table although there is", X={"a": np.arange(16.0), "b": ["x"] * 16})
print("fine")
"""


def test_what_is_not_possible_is_refused():
    assert run_python(REFUSED).stdout == "fine"


def test_the_command_line_trains_on_all_ranks(tmp_path):
    def train(n, *options):
        path = tmp_path / f"{n}.safetensors"
        arguments = ["train", "digits", "--epochs", "3", "--save", path, *options]
        job = start(n, "-m", "fastnn", *arguments)
        out, errors = job.communicate(timeout=100)
        return job.returncode, path, out, errors

    code, path, out, errors = train(2, "--validation-split", "0.1")
    assert code == 0, errors
    assert "on 2 ranks" in out
    assert out.count("model saved") == 1  # by rank 0
    code, other, out, errors = train(4, "--validation-split", "0.1", "--quiet")
    assert code == 0, errors
    assert len(out.splitlines()) == 1
    assert path.read_bytes() == other.read_bytes()
    code, path, _, errors = train(8, "--batch-size", "20")
    assert code != 0
    assert "error: batch_size is 20; expected a multiple" in errors
    assert not path.exists()
