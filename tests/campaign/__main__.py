"""Run the campaign: `python -m tests.campaign --minutes 60`.

Each part's tries are made by a process of its own, so that a crash or a hang is a
failure with a seed, after which the next seed is tried.
"""

import argparse
import importlib
import json
import os
import pkgutil
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from . import PARTS, Skip, Try, __path__


def load_parts():
    for module in pkgutil.iter_modules(__path__):
        if module.name != "__main__":
            importlib.import_module(f"{__package__}.{module.name}")


class Worker:
    """The process that makes the tries: what it says, a line of JSON each."""

    def __init__(self, log, *arguments):
        read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()  # so that its children end with it
            for standard in (1, 2):
                os.dup2(log.fileno(), standard)
            try:
                with os.fdopen(write, "w", buffering=1) as out:
                    make_tries(out, *arguments)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(write)
        self.out = os.fdopen(read, "rb", 0)  # so that select sees all there is

    def says(self, patience):
        """The next line; None at the end, and an empty dict after so many seconds."""
        if not select.select([self.out], [], [], patience)[0]:
            return {}
        line = self.out.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def end(self, at_once):
        """Its exit code; without `at_once`, it is given the time to end itself."""
        late, done = time.monotonic() + (0 if at_once else 10), 0
        while time.monotonic() < late and not done:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            time.sleep(0.001)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if not done:
            _, status = os.waitpid(self.pid, 0)
        self.out.close()
        return os.waitstatus_to_exitcode(status)


def make_tries(out, name, seed, tries, deadline):
    """Make tries and say so; ends after a failure."""
    part, first = PARTS[name], seed
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
    while tries and (seed == first or time.monotonic() < deadline):
        print(json.dumps({"began": seed}), file=out)
        folder = Path(tempfile.mkdtemp(prefix="campaign-"))
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        try:
            made = part.run(Try(seed, rng, folder))
            said = {"tries": 1 if made is None else made}
        except Skip as reason:
            said = {"skipped": str(reason)}
        except BaseException:
            said = {"failed": traceback.format_exc()}
        shutil.rmtree(folder, ignore_errors=True)
        print(json.dumps(said), file=out)
        if "tries" not in said:
            break
        seed, tries = seed + 1, tries - 1


def campaign(name, seed, tries, seconds, log):
    """Run a part; its tries, its failures as (seed, text), and why it was skipped."""
    part, deadline = PARTS[name], time.monotonic() + seconds
    made, failures, skipped = 0, [], ""
    if seconds < part.least:
        return 0, [], f"a try takes {part.least:.0f} s or more"
    while len(failures) < 10 and not skipped and tries:
        if made and time.monotonic() > deadline:
            break
        worker, now, failed = Worker(log, name, seed, tries, deadline), None, ""
        while said := worker.says(part.slowest):
            if "began" in said:
                now = said["began"]
                continue
            failed, skipped = said.get("failed", ""), said.get("skipped", "")
            made += said.get("tries", 0)
            seed, tries = now + 1, tries - 1
            if not failed:
                now = None
        if said == {}:
            failed = f"no end after {part.slowest} s"
        code = worker.end(at_once=said == {})
        if now is not None:
            failures.append((now, failed or f"the process ended with {code}"))
            made, seed = made + 1, now + 1
    return made, failures, skipped


def main():
    parser = argparse.ArgumentParser("python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="for all parts")
    parser.add_argument("--only", metavar="NAME", action="append", choices=PARTS)
    parser.add_argument("--seed", type=int, default=0, help="of each part's first try")
    parser.add_argument("--tries", type=int, default=10**9, help="of each part")
    parser.add_argument("--list", action="store_true", help="the parts")
    options = parser.parse_args()
    if options.list:
        for name, part in PARTS.items():
            print(f"{name:24} {part.run.__doc__.splitlines()[0]}")
        return 0
    names = options.only or [*PARTS]
    shares = sum(PARTS[name].share for name in names)
    rows = []
    for name in names:
        seconds = options.minutes * 60 * PARTS[name].share / shares
        start = time.monotonic()
        with tempfile.TemporaryFile("w+") as log:
            found = campaign(name, options.seed, options.tries, seconds, log)
            made, failures, skipped = found
            rows.append((name, made, len(failures), time.monotonic() - start))
            print("{:24} {:8} tries {:4} failures {:7.1f} s".format(*rows[-1]), end="")
            print(f"  skipped: {skipped}" if skipped else "", flush=True)
            log.seek(0)
            if failures:
                print(log.read()[-20000:])
        for seed, text in failures:
            print(f"--- {name}: again by --only {name} --seed {seed} --tries 1\n{text}")
    print(f"\n| {'part':24} | {'tries':>8} | {'failures':>8} | {'seconds':>8} |")
    print(f"| {'-' * 24} | {'-' * 7}: | {'-' * 7}: | {'-' * 7}: |")
    rows.append(("total", *(sum(row[i] for row in rows) for i in (1, 2, 3))))
    for name, made, failed, seconds in rows:
        print(f"| {name:24} | {made:8} | {failed:8} | {seconds:8.0f} |")
    return min(rows[-1][2], 1)


if __name__ == "__main__":
    load_parts()
    sys.exit(main())
