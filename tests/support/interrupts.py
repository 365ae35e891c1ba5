"""Ctrl-C in a process of its own, and how long it took to be noticed."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from children import environment


class Heartbeat:
    """Tells whether this machine, rather than the child, stood still for a while."""

    def __init__(self):
        self.beats, self.stopped = [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped:
            self.beats.append(time.monotonic())
            time.sleep(0.01)

    def longest_pause(self, start, end):
        within = [start, *(beat for beat in self.beats if start < beat < end), end]
        return max(b - a for a, b in pairwise(within))


def starved(pid):
    """The most seconds that a thread of a process has waited for a CPU (Linux)."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return max((int(f.read_text().split()[1]) * 1e-9 for f in files), default=0.0)


def delays(code, what, trials, seed=0, longest=0.25):
    """How long a child took to notice each of several signals.

    For each line that it reads it prints "going", does `what`, and prints the time at
    which it noticed the signal, by the system's clock. The signals come up to
    `longest` seconds after it has begun.
    """
    rng = np.random.default_rng(seed)
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, what],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    heartbeat, found, tried = Heartbeat(), [], 0
    try:
        while len(found) < trials and (tried < 10 * trials or not found):
            child.stdin.write("go\n")
            child.stdin.flush()
            line = child.stdout.readline().strip()
            assert line == "going", line + child.communicate(timeout=10)[1]
            time.sleep(rng.uniform(0.01, longest))
            before = starved(child.pid)
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            answer = child.stdout.readline().split()
            assert len(answer) == 1, child.communicate(timeout=10)[1]
            noticed = float(answer[0])
            # A virtual machine may be halted for seconds, and one busy process takes a
            # third of two CPUs from two threads, not half: such a trial says nothing.
            waited, seconds = starved(child.pid) - before, time.monotonic() - sent
            tried += 1
            if heartbeat.longest_pause(sent, noticed) < 0.2 and waited < 0.5 * seconds:
                found.append(noticed - sent)
            elif tried >= 10 * trials and not found:
                pytest.skip("other processes leave too little of the CPUs")
        child.stdin.close()
        errors = child.stderr.read()
        assert child.wait(30) == 0, errors
        assert "ignored" not in errors  # no exception was swallowed
    finally:
        heartbeat.stopped = True
        child.kill()
        child.wait()
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        child.stdout.close()
        child.stderr.close()
    return found
