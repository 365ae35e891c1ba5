"""Run the campaign: `python -m tests.campaign --minutes 60`.

Each part's tries are made by a process of its own, so that a crash or a hang is a
failure with a seed, after which the next seed is tried.
"""

import argparse
import importlib
import json
import os
import pkgutil
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from . import PARTS, Skip, Try, __path__, conftest


def load_parts():
    for module in pkgutil.iter_modules(__path__):
        if module.name != "__main__":
            importlib.import_module(f"{__package__}.{module.name}")


# --- the process that makes the tries -------------------------------------------------


def work(name, seed, tries, seconds):
    """Make tries and write a line of JSON about each; ends after a failure."""
    with os.fdopen(os.dup(1), "w", buffering=1) as out:
        os.dup2(2, 1)  # whatever else is printed
        make_tries(name, seed, tries, seconds, out)


def make_tries(name, seed, tries, seconds, out):
    part, deadline = PARTS[name], time.monotonic() + seconds
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("error")
    while tries and time.monotonic() < deadline:
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


# --- the process that counts ----------------------------------------------------------


class Worker:
    """The other process, and what it says."""

    def __init__(self, name, seed, tries, seconds, log):
        arguments = map(str, (name, seed, tries, seconds))
        self.process = subprocess.Popen(
            [sys.executable, "-m", __package__, "--work", *arguments],
            cwd=conftest.SOURCE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # so that its children end with it
        )
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def says(self, patience):
        """The next line; None at the end, and an empty dict after so many seconds."""
        if not self.selector.select(patience):
            return {}
        line = self.process.stdout.readline()
        if line.endswith(b"\n"):
            return json.loads(line)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        return None

    def end(self):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.stdout.close()
        return self.process.wait()


def campaign(name, seed, tries, seconds, log):
    """Run a part; its tries, its failures as (seed, text), and why it was skipped."""
    part, deadline = PARTS[name], time.monotonic() + seconds
    made, failures, skipped = 0, [], ""
    if seconds < part.least:
        return 0, [], f"a try takes {part.least:.0f} s or more"
    while len(failures) < 10 and not skipped:
        left = deadline - time.monotonic()
        if (left <= 0 and made + len(failures)) or not tries:
            break
        worker, now, failed = Worker(name, seed, tries, max(left, 0.01), log), None, ""
        while (said := worker.says(part.slowest)) is not None:
            if not said:
                failed = f"no end after {part.slowest} s"
                break
            if "began" in said:
                now = said["began"]
                continue
            failed, skipped = said.get("failed", ""), said.get("skipped", "")
            made += said.get("tries", 0)
            seed, tries, now = now + 1, tries - 1, None
            if failed:
                now = seed - 1
        code = worker.end()
        if now is not None:
            failures.append((now, failed or f"the process ended with {code}"))
            made, seed = made + 1, now + 1
        elif code != 0 and not skipped and not failed:
            failures.append((seed, f"the process ended with {code}"))
            break
    return made, failures, skipped


def main():
    parser = argparse.ArgumentParser("python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="for all parts")
    parser.add_argument("--only", metavar="NAME", action="append", choices=PARTS)
    parser.add_argument("--seed", type=int, default=0, help="of each part's first try")
    parser.add_argument("--tries", type=int, default=10**9, help="of each part")
    parser.add_argument("--list", action="store_true", help="the parts")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        name, seed, tries, seconds = options.work
        return work(name, int(seed), int(tries), float(seconds))
    if options.list:
        for name, part in PARTS.items():
            print(f"{name:20} {part.run.__doc__.splitlines()[0]}")
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
            print("{:20} {:8} tries {:4} failures {:7.1f} s".format(*rows[-1]), end="")
            print(f"  skipped: {skipped}" if skipped else "", flush=True)
            log.seek(0)
            if failures:
                print(log.read()[-20000:])
        for seed, text in failures:
            print(f"--- {name}: again by --only {name} --seed {seed} --tries 1\n{text}")
    print(f"\n| {'part':18} | {'tries':>8} | {'failures':>8} | {'seconds':>8} |")
    print(f"| {'-' * 18} | {'-' * 7}: | {'-' * 7}: | {'-' * 7}: |")
    rows.append(("total", *(sum(row[i] for row in rows) for i in (1, 2, 3))))
    for name, made, failed, seconds in rows:
        print(f"| {name:18} | {made:8} | {failed:8} | {seconds:8.0f} |")
    return min(rows[-1][2], 1)


if __name__ == "__main__":
    load_parts()
    sys.exit(main())
