"""Python that has only what Windows has of it: a stand-in, as no Windows is here.

The C core is built for Windows and run under wine by `.ci/run windows`.
"""

import sys

import pytest
from children import run_python

# Names that Python's documentation of `os` and `signal` has for Unix alone, and what
# Windows refuses: to rename or remove a file that is open, to open a folder.
PREPARE = """
    import io, os, signal, sys, time
    import multiprocessing, subprocess, tempfile, numpy, safetensors.numpy, tqdm
    for name in ("fcntl", "resource", "termios", "pwd", "grp"):
        sys.modules[name] = None  # ImportError
    for name in ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fchmod",
                 "fork", "register_at_fork", "sched_getaffinity", "getuid", "uname"):
        delattr(os, name)
    for name in ("SIGALRM", "SIGHUP", "SIGKILL", "pthread_sigmask", "setitimer"):
        delattr(signal, name)
    os.O_BINARY = 0x8000
    real = {name: getattr(os, name) for name in ("open", "replace", "unlink")}

    def is_open(path):
        links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
        return os.path.realpath(path) in map(os.path.realpath, links)

    def refuse(path):
        if is_open(path):
            raise PermissionError(13, "it is open", path)

    def open_file(path, flags, mode=0o777):
        if os.path.isdir(path):
            raise PermissionError(13, "a folder", path)
        assert flags & os.O_BINARY, "text: line ends are translated"
        return real["open"](path, flags & ~os.O_BINARY, mode)

    def replace(a, b):
        refuse(a), refuse(b)
        real["replace"](a, b)

    def unlink(path):
        refuse(path)
        real["unlink"](path)

    os.open, os.replace, os.unlink = open_file, replace, unlink
    folder = sys.argv[1]
    path = os.path.join(folder, "net.safetensors")
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_a_network_is_trained_saved_and_loaded(tmp_path):
    child = run_python(
        PREPARE
        + """
    import fastnn
    from fastnn._commands import checkpoint
    X, y = numpy.eye(8, 4), numpy.arange(8) % 3
    for backend in ("native", "numpy"):
        net = fastnn.Network([4, 8, 3], seed=0, backend=backend)
        net.fit(X, y, 2, 4, verbose=0)
        for _ in range(2):  # new, then in place of a file
            net.save(path)
        same = fastnn.Network.load(path)
        assert numpy.allclose(same.predict_proba(X), net.predict_proba(X), 1e-5)
    print(os.listdir(folder))
    """,
        tmp_path,
    )
    assert child.stdout == "['net.safetensors']"


def test_what_a_killed_process_left_is_removed_when_it_is_old(tmp_path):
    child = run_python(
        PREPARE
        + """
    from fastnn._core.exchange import files
    prefix = files._temporary_prefix("net.safetensors")
    for name, age in ("old", 700), ("new", 0):
        left, fd = files._create_temporary(folder, prefix)
        os.close(fd)
        os.rename(left, os.path.join(folder, f"{prefix}{name}.fastnn-tmp"))
        now = time.time()
        os.utime(os.path.join(folder, f"{prefix}{name}.fastnn-tmp"), (now - age,) * 2)
    files.write_atomically(path, b"content")
    print(sorted(os.listdir(folder)))
    """,
        tmp_path,
    )
    assert child.stdout == "['.net.safetensors.new.fastnn-tmp', 'net.safetensors']"


def test_a_failed_save_leaves_the_old_file_alone(tmp_path):
    child = run_python(
        PREPARE
        + """
    from fastnn._core.exchange import files
    files.write_atomically(path, b"old")
    with open(path):
        try:
            files.write_atomically(path, b"new")
        except PermissionError:
            print("refused")
    print(len(io.FileIO(path).readall()), os.listdir(folder))
    """,
        tmp_path,
    )
    assert child.stdout == "refused\n3 ['net.safetensors']"
