"""Signals within long calls: a KeyboardInterrupt in time, and a network as before."""

import subprocess
import sys

from interrupts import delays

from tests.reliability import test_sigint
from tests.training import test_leaving_steps

from . import Try, part

LONGEST = 0.5  # seconds
# The child, what it does, and the latest second at which the signal comes.
WAYS = [(test_sigint.CHILD, what, 0.25) for what in test_sigint.WAYS]
WAYS += [(test_leaving_steps.CHILD, what, 1.0) for what in test_leaving_steps.ALL_WAYS]


@part(share=2, slowest=400, least=6)
def signals(t: Try):
    """Ctrl-C at random moments of every long call, beside a process that is busy."""
    code, what, longest = WAYS[t.seed % len(WAYS)]
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            found = delays(code, what, 10, t.seed, longest)
        finally:
            neighbour.kill()
    assert max(found) <= LONGEST, (what, max(found))
    return len(found)


@part(slowest=600, least=30)
def interrupted_and_resumed(t: Try):
    """Fits that signals interrupt and that go on, through files: the same bits."""
    test_sigint.resume(3, t.folder, t.seed)
    return 9
