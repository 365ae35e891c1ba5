"""python -m tests.campaign.mutants: which tests notice a small mistake.

From the root of a source folder that is built in place. One-line mutants of csrc and
fastnn, chosen by a seed, and those of `named.py`, which tests once missed, are applied
one by one to a copy, in which the tests are run that should notice: the C driver for
csrc (one object is built anew, and linked), files of pytest for fastnn. Prints each
mutant with the first test that fails, and a table by file. A mutant that does not
compile counts as none; one that `equivalent.txt` lists is not run, as its line there
says why nothing can notice it.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from .named import NAMED
from .operators import Mutant, chosen

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent

# Files of csrc and what they are built into; kernels are tested on scalars alone.
KERNELS = "simd/isa_scalar.o"
# Tests of the driver that are run first: most mutants need no others.
FIRST = {
    "csrc/base": ["failing_allocations", "losses_of_outputs"],
    "csrc/kinds.h": ["activations_grow_as_said", "activations", "update"],
    "csrc/engine/bounds.c": [
        "updates_stay_within_their_bounds",
        "gradients_stay_within_their_bounds",
        "bounds_hold_after_training",
        "bounds_of_accumulated_gradients",
    ],
    "csrc/engine": ["steps_that_are_left", "training_bits_in_blocks", "bounds_hold"
                    "_after_training", "gradients_match_model", "rates", "clipping"],
    "csrc/run/finite.c": ["all_finite"],
    "csrc/run/predict.c": ["prediction_bits", "evaluation", "calls_that_are_left"],
    "csrc/run/fold.c": ["folded_batch_norm"],
    "csrc/run": ["steps_that_are_left", "training_bits_in_blocks", "loss_decreases",
                 "careful_steps_give_the_same_bits", "calls_that_are_left",
                 "bounds_of_accumulated_gradients", "zero_weight_batch_is_skipped"],
    "csrc/stateless": ["stateless_dense", "stateless_loss"],
    "csrc/threads": ["training_bits_on_any_thread_count", "fork_after_use"],
    "csrc/kernels/dense": ["dense_forward", "dense_backward_input",
                           "dense_backward_weights", "dense_backward_bias"],
    "csrc/kernels/ops": ["update", "activations", "losses_of_outputs", "norms",
                         "dropout", "gather_types"],
    "csrc/": ["loss_decreases"],
}  # fmt: skip
# Of Python: the tests that should notice, by the beginning of the path.
TESTS = {
    "fastnn/_plan": "tests/core tests/data tests/native/test_engine.py",
    "fastnn/_core/model": "tests/training tests/reliability/test_resume.py",
    "fastnn/_core/training": "tests/training tests/reliability/test_resume.py",
    "fastnn/_core/exchange": "tests/exchange",
    "fastnn/reference": "tests/reference tests/lanes",
    "fastnn/callbacks": "tests/training",
    "fastnn/metrics": "tests/core tests/tools",
    "fastnn/datasets": "tests/data",
    "fastnn/sklearn": "tests/sklearn",
    "fastnn/demo": "tests/tools/test_demo.py",
    "fastnn/": "tests/core tests/training tests/exchange",
}


def sources(kind: str) -> dict[str, str]:
    """Files to be changed, with their text."""
    patterns = {
        "c": ["csrc/base/*.c", "csrc/engine/*.c", "csrc/run/*.c", "csrc/stateless/*.c",
              "csrc/threads/threads.c", "csrc/threads/stop.c", "csrc/kinds.h",
              "csrc/kernels/**/*.inc.h"],
        "python": ["fastnn/*.py", "fastnn/_plan/*.py", "fastnn/_core/**/*.py",
                   "fastnn/reference/**/*.py", "fastnn/callbacks/*.py",
                   "fastnn/metrics/*.py", "fastnn/datasets/*.py"],
    }  # fmt: skip
    kinds = [kind] if kind in patterns else list(patterns)
    paths = [p for k in kinds for g in patterns[k] for p in sorted(ROOT.glob(g))]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def select(texts: dict[str, str], count: int, seed: int) -> list[Mutant]:
    """Mutants of all files by their length, and the named ones among these files."""
    total = sum(map(len, texts.values()))
    found = []
    for path, text in texts.items():
        found += chosen(path, text, max(1, round(count * len(text) / total)), seed)
    for path, old, new in NAMED:
        if path not in texts:
            continue
        at = texts[path].find(old)
        if at < 0:
            raise SystemExit(f"named.py: {path} no longer has {old!r}")
        line = texts[path].count("\n", 0, at) + 1
        column = at - texts[path].rfind("\n", 0, at) - 1
        found.append(Mutant(path, line, column, old, new, "named"))
    return found


class Copy:
    """A copy of the sources, in which one mutant at a time is applied."""

    def __init__(self, build: Path, isa: str) -> None:
        self.root, self.isa = build / "tree", isa
        shutil.rmtree(self.root, ignore_errors=True)
        ignore = shutil.ignore_patterns("*.c.dep", "__pycache__", "build", ".git")
        for name in ("csrc", "tests", "fastnn", "pyproject.toml", "README.md", "docs"):
            source, target = ROOT / name, self.root / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignore)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        self.objects = build / "c/test"
        self.make = ["make", "-s", "-C", "tests/csrc", f"BUILD={build / 'c'}"]

    def run(self, *command: str, timeout: float = 1200) -> tuple[int, str]:
        try:
            done = subprocess.run(
                command, cwd=self.root, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            return -1, "TIME OUT"
        return done.returncode, done.stdout + done.stderr

    def build_driver(self) -> None:
        code, output = self.run(*self.make, str(self.objects / "driver"), timeout=7200)
        if code:
            raise SystemExit(output)

    def object_of(self, path: str) -> str:
        if path == "csrc/kinds.h" or path.endswith(".inc.h"):
            return KERNELS
        return path.removeprefix("csrc/")[:-1] + "o"

    def killer(self, mutant: Mutant) -> str:
        """The first test that fails; "" if none does, "-" if it does not compile."""
        path = self.root / mutant.path
        text = path.read_text()
        path.write_text(mutant.apply(text))
        try:
            return (self._in_c if mutant.path.startswith("csrc/") else self._in_python)(
                mutant.path
            )
        finally:
            path.write_text(text)

    def _in_c(self, path: str) -> str:
        target = self.objects / "core" / self.object_of(path)
        kept = target.read_bytes()
        try:
            target.unlink()
            code, _ = self.run(*self.make, str(target))
            if code:
                return "-"
            objects = sorted(map(str, self.objects.glob("*/**/*.o")))
            driver = str(self.objects.parent / "mutant")
            code, output = self.run("cc", "-pthread", *objects, "-lm", "-o", driver)
            if code:
                return "-"
            isa = "scalar" if target.name == Path(KERNELS).name else self.isa
            first = next(
                tests for part, tests in FIRST.items() if path.startswith(part)
            )
            for only in [*(["--only", test] for test in first), []]:
                code, output = self.run(driver, "--quick", *only, isa, timeout=900)
                if code:
                    found = re.search(r"^\S+:\d+: (\S+)", output, re.M)
                    return found.group(1) if found else f"exit {code}"
            return ""
        finally:
            target.write_bytes(kept)

    def _in_python(self, path: str) -> str:
        tests = next(t for prefix, t in TESTS.items() if path.startswith(prefix))
        code, output = self.run(
            sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
            *tests.split(), timeout=1800,
        )  # fmt: skip
        found = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.M)
        return found.group(1) if found else f"exit {code}" if code else ""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaign.mutants", description=__doc__
    )
    parser.add_argument(
        "--count", type=int, default=160, help="by chance (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=["c", "python", "all"], default="all")
    parser.add_argument("--only", default="", help="in the path")
    parser.add_argument("--named", action="store_true", help="only those of named.py")
    parser.add_argument("--isa", default="avx2", help="for the engine's files in C")
    parser.add_argument("--build", type=Path, default=Path("build/mutants"))
    parser.add_argument("--out", type=Path, help="results, which are gone on from")
    parser.add_argument("--list", action="store_true", help="only say which")
    options = parser.parse_args()
    texts = sources(options.kind)
    mutants = select(texts, 0 if options.named else options.count, options.seed)
    mutants = [m for m in mutants if options.only in m.path]
    if options.named:
        mutants = [m for m in mutants if m.operator == "named"]
    reasons = dict(
        line.split(" || ", 1)
        for line in (HERE / "equivalent.txt").read_text().splitlines()
        if " || " in line
    )
    if options.list:
        for mutant in mutants:
            print(mutant.operator, mutant.name(texts[mutant.path]))
        print(len(mutants), "mutants")
        return
    results: dict[str, str] = {}
    if options.out and options.out.exists():
        results = json.loads(options.out.read_text())
    copy = Copy(options.build.resolve(), options.isa)
    if any(m.path.startswith("csrc/") for m in mutants):
        copy.build_driver()
    for mutant in mutants:
        name = mutant.name(texts[mutant.path])
        if name in results or name in reasons:
            continue
        start = time.monotonic()
        results[name] = copy.killer(mutant)
        print(f"{time.monotonic() - start:4.0f} s  {name}\n        "
              f"{results[name] or 'SURVIVED'}", flush=True)  # fmt: skip
        if options.out:
            options.out.write_text(json.dumps(results, indent=1))
    report(mutants, texts, results, reasons)


def report(
    mutants: list[Mutant],
    texts: dict[str, str],
    results: dict[str, str],
    reasons: dict[str, str],
) -> None:
    """The table by file; ends with status 1 if less than 95 % were killed."""
    tables: dict[str, Counter[str]] = {}
    for mutant in mutants:
        name = mutant.name(texts[mutant.path])
        row = tables.setdefault(mutant.path, Counter())
        result = results.get(name)
        row["equivalent" if name in reasons else "not compiled" if result == "-"
            else "killed" if result else "survived"] += 1  # fmt: skip
    print(f"\n{'file':48}  killed  survived  equivalent  not compiled")
    total: Counter[str] = Counter()
    for path, row in sorted(tables.items()):
        total += row
        print(f"{path:48} {row['killed']:7} {row['survived']:9} {row['equivalent']:11} "
              f"{row['not compiled']:13}")  # fmt: skip
    decided = total["killed"] + total["survived"]
    print(f"{total['killed']} of {decided} killed, {total['equivalent']} equivalent")
    sys.exit(total["killed"] < 0.95 * decided)


if __name__ == "__main__":
    main()
