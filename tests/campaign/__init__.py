"""A campaign against fastnn's promises: random tries, by the thousand, for hours.

`python -m tests.campaign` runs it. A part makes one try after another, each of another
seed, until its time is over; what was promised is asserted, so that a failed try is an
exception, a crash or a hang of the process that makes the tries. What a test can hold
in seconds is a test, elsewhere; here is what wants many tries. Parts use the helpers
and the children of those tests.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests import conftest  # chooses which fastnn is tested

sys.path.insert(0, str(conftest.TESTS / "support"))


class Try(NamedTuple):
    """What a part gets for one try: numbers from its seed, and an empty folder."""

    seed: int
    rng: np.random.Generator
    folder: Path

    def pick(self, values):
        """One of a dict's values, or of a sequence."""
        values = list(values.values() if isinstance(values, dict) else values)
        return values[self.rng.integers(len(values))]


class Part(NamedTuple):
    run: Callable[[Try], int | None]  # how many tries it made, if it was not one
    share: float  # of the time
    slowest: float  # seconds that a try may take before it counts as a hang
    least: float  # seconds without which there is no point in a try


PARTS: dict[str, Part] = {}


def part(share=1.0, slowest=120.0, least=0.0):
    """Register a function as a part, by its name."""

    def register(function):
        PARTS[function.__name__] = Part(function, share, slowest, least)
        return function

    return register


class Skip(Exception):
    """This machine lacks what a part needs."""


def in_child(function, *arguments, seconds=60.0, killed_after=None):
    """Run a function in a forked child, which must end well and in time.

    With `killed_after`, the child is killed after that many seconds instead.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function(*arguments)
            code = 0
        except BaseException:
            # Whatever limits the child has set itself, its words still get out.
            with suppress(BaseException):
                import traceback

                traceback.print_exc()
        finally:
            os._exit(code)
    if killed_after is not None:
        time.sleep(killed_after)
        os.kill(child, signal.SIGKILL)
    late = time.monotonic() + seconds
    while time.monotonic() < late:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            expected = (0, -signal.SIGKILL) if killed_after is not None else (0,)
            assert code in expected, f"the child ended with {code}"
            return code
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"the child did not end within {seconds} s")
