"""python -m tests.campaign.mutants: which tests notice a small mistake.

From the root of a source folder that is built in place. One-line mutants of csrc and
fastnn, chosen by a seed, and those of `named.py`, which tests once missed, are applied
one by one to a copy, in which the tests are run that should notice: the C driver for
csrc (one object is built anew, and linked), files of pytest for fastnn. First comes the
test that `killed.txt` names, then those nearest to the file, then, in C, the same with
sanitizers, then the whole driver. Prints each mutant with the first test that fails,
and a table by folder. A mutant that does not compile counts as none; one that
`equivalent.txt` lists is not run, as its line there says why nothing can notice it; nor
is one of `elsewhere.txt`, for which this needs another CPU. Results are kept in a file,
and the next run goes on from there; --write puts what was killed into `killed.txt`.
"""

import argparse
import json
import os
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

# Less optimized than a release, which takes longer to build, and with the same bits.
FLAGS = "-std=gnu11 -O1 -fno-math-errno -ffp-contract=off -fvisibility=hidden"
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"
# Tests of the driver that are run first: most mutants need no others.
FIRST = {
    "csrc/base": ["failing_allocations", "losses_of_outputs"],
    "csrc/kinds.h": ["activations_grow_as_said", "activations", "update"],
    "csrc/engine/bounds.c": [
        "updates_stay_within_their_bounds",
        "gradients_stay_within_their_bounds",
        "bounds_hold_after_training",
        "bounds_of_norms",
        "bounds_of_accumulated_gradients",
    ],
    "csrc/engine/network.c": ["tables", "training_bits_on_any_thread_count"],
    "csrc/engine/rounding.c": ["bfloat16_where_it_is", "bfloat16_forward"],
    "csrc/engine": ["steps_that_are_left", "training_bits_in_blocks", "bounds_hold"
                    "_after_training", "gradients_match_model", "rates", "clipping"],
    "csrc/run/finite.c": ["all_finite"],
    "csrc/run/predict.c": ["prediction_bits", "evaluation", "calls_that_are_left"],
    "csrc/run/fold.c": ["folded_batch_norm"],
    "csrc/run": ["steps_that_are_left", "training_bits_in_blocks", "loss_decreases",
                 "careful_steps_give_the_same_bits", "calls_that_are_left",
                 "bounds_of_accumulated_gradients", "zero_weight_batch_is_skipped"],
    "csrc/stateless": ["stateless_dense", "stateless_loss"],
    "csrc/threads/stop.c": ["looks_in_time", "calls_that_are_left"],
    "csrc/threads": ["training_bits_on_any_thread_count", "fork_after_use"],
    "csrc/kernels/dense": ["dense_forward", "dense_backward_input",
                           "dense_backward_weights", "dense_backward_bias",
                           "training_bits_on_any_thread_count"],
    "csrc/kernels/ops": ["update", "activations", "losses_of_outputs", "norms",
                         "dropout", "gather_types", "tables", "clipping",
                         "softmax", "trained_stage_gradients"],
    "csrc/kernels/math": ["exp", "log", "tanh", "sin", "activations"],
    "csrc/kernels/roofline": ["multiply_adds", "streams"],
    "csrc/": ["loss_decreases"],
}  # fmt: skip
KILLED = "Mutants, and a test that notices each: name || test; made by --write\n"
# Of Python: the tests that should notice, by the longest beginning of the path.
TESTS = {
    "fastnn/__init__": "core/test_network package/test_light users/test_names",
    "fastnn/__main__": "tools/test_cli",
    "fastnn/activations": "core/test_activations core/test_frozen core/test_plan",
    "fastnn/cli": "users/test_names tools/test_cli_export tools/test_cli "
    "tools/test_cli_tables",
    "fastnn/demo": "tools/test_demo",
    "fastnn/initializers": "core/test_initializers",
    "fastnn/kernels": "native/test_kernels",
    "fastnn/torch": "exchange/test_torch",
    "fastnn/layers": "core/test_layers core/test_initializers exchange/test_embeddings",
    "fastnn/losses": "core/test_losses core/test_frozen sklearn/test_tabular",
    "fastnn/network": "core/test_network users/test_inside training/test_fit_options "
    "core/test_target_scale training/test_freezing training/test_ranks "
    "exchange/test_onnx exchange/test_torch",
    "fastnn/onnx": "exchange/test_onnx",
    "fastnn/optimizers": "core/test_optimizers core/test_frozen",
    "fastnn/schedules": "core/test_schedules core/test_frozen",
    "fastnn/callbacks/_display": "training/test_callbacks training/test_recording "
    "training/test_fit_options",
    "fastnn/callbacks": "training/test_callbacks training/test_stopping "
    "training/test_recording core/test_frozen reliability/test_resume",
    "fastnn/datasets/_mnist": "data/test_mnist",
    "fastnn/datasets": "data",
    "fastnn/metrics": "core/test_metrics",
    "fastnn/_plan/arrays": "core/test_inputs reliability/test_data_as_it_lies "
    "reliability/test_nonfinite",
    "fastnn/_plan/column": "data/test_schema core/test_named_columns "
    "sklearn/test_tabular",
    "fastnn/_plan/functions": "reference/test_reference native/test_kernels "
    "lanes/test_functions",
    "fastnn/_plan/inputs": "core/test_layers core/test_inputs core/test_network "
    "data/test_schema "
    "reliability/test_nonfinite reliability/test_labels training/test_fit_options",
    "fastnn/_plan/labels": "data/test_schema tools/test_cli_tables "
    "sklearn/test_tabular",
    "fastnn/_plan/own_loss": "users/test_extend",
    "fastnn/_plan/plan": "core/test_plan core/test_network",
    "fastnn/_plan/recipes": "sklearn/test_tabular tools/test_cli_tables",
    "fastnn/_plan/rows": "training/test_ranks training/test_fit_rows",
    "fastnn/_plan/schema": "data/test_schema core/test_named_columns "
    "tools/test_cli_tables",
    "fastnn/_plan/tables": "data/test_schema data/test_tables core/test_named_columns",
    "fastnn/_plan/targets": "core/test_inputs core/test_network core/test_losses",
    "fastnn/_plan/traps": "training/test_traps",
    "fastnn/_core/exchange/c": "exchange/test_c_export",
    "fastnn/_core/exchange/onnx/table": "exchange/test_pipelines",
    "fastnn/_core/exchange/onnx": "exchange/test_onnx exchange/test_onnx_foreign "
    "reliability/test_error_types",
    "fastnn/_core/exchange/sklearn": "exchange/test_sklearn",
    "fastnn/_core/exchange/st": "exchange/test_sklearn exchange/test_torch "
    "exchange/test_names exchange/test_onnx exchange/test_onnx_foreign "
    "exchange/test_c_export",
    "fastnn/_core/exchange/torch": "exchange/test_torch",
    "fastnn/_core/exchange": "exchange/test_model_file exchange/test_names",
    "fastnn/_core/model": "users/test_inside users/test_extend core/test_network "
    "core/test_initializers training/test_training reliability/test_resume "
    "exchange/test_model_file",
    "fastnn/_core/model/threadpools": "native/test_nthreads",
    "fastnn/_core/native": "native/test_nthreads",
    "fastnn/_core/training/calibration": "sklearn/test_tabular",
    "fastnn/_core/training/chunks": "training/test_chunks",
    "fastnn/_core/training/lbfgs": "training/test_lbfgs",
    "fastnn/_core/training/many": "training/test_fit_many",
    "fastnn/_core/training/rate_search": "users/test_inside training/test_fit_options "
    "tools/test_cli_train",
    "fastnn/_core/training/ra": "training/test_ranks",
    "fastnn/_core/training/recipe": "sklearn/test_tabular tools/test_cli_tables",
    "fastnn/_core/training/rows": "training/test_fit_rows",
    "fastnn/_core/training/shards": "training/test_ranks",
    "fastnn/_core/training": "training/test_fit_options training/test_training "
    "training/test_stopping reliability/test_resume",
    "fastnn/reference/functions": "reference/test_reference reference/test_updates "
    "reference/test_layers reference/test_losses lanes/test_functions",
    "fastnn/reference/_r": "native/test_bfloat16",
    "fastnn/reference": "reference lanes/test_dropout lanes/test_extremes "
    "native/test_engine lanes/test_lanes",
}


def sources(kind: str) -> dict[str, str]:
    """Files to be changed, with their text."""
    patterns = {
        "c": ["csrc/base/*.c", "csrc/engine/*.c", "csrc/run/*.c", "csrc/stateless/*.c",
              "csrc/threads/threads.c", "csrc/threads/stop.c", "csrc/kinds.h",
              "csrc/kernels/**/*.inc.h"],
        "python": ["fastnn/*.py", "fastnn/_plan/*.py", "fastnn/_core/**/*.py",
                   "fastnn/reference/**/*.py", "fastnn/callbacks/*.py",
                   "fastnn/metrics/*.py", "fastnn/datasets/*.py", "fastnn/demo/*.py"],
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
        self.make = ["make", "-s", "-C", "tests/csrc", f"BUILD={build / 'c'}",
                     f"FLAGS={FLAGS}"]  # fmt: skip

    def run(self, *command: str, timeout: float = 600) -> tuple[int, str]:
        # Children of the tests find the copy, too.
        env = {**os.environ, "PYTHONPATH": str(self.root)}
        try:
            done = subprocess.run(
                command, cwd=self.root, env=env, capture_output=True, text=True,
                timeout=timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return -1, "TIME OUT"
        return done.returncode, done.stdout + done.stderr

    def build_driver(self) -> None:
        code, output = self.run(*self.make, str(self.objects / "driver"), timeout=7200)
        if code:
            raise SystemExit(output)

    def objects_of(self, path: str) -> list[str]:
        kernels = f"core/simd/isa_{self.isa}.o"
        if path == "csrc/kinds.h":  # what its columns become
            tests = ["tests/engine/test_bounds.o", "tests/support/formulas.o"]
            return [kernels, "core/engine/bounds.o", *tests]
        if path.endswith(".h"):
            return [kernels]
        return ["core/" + path.removeprefix("csrc/")[:-1] + "o"]

    def killer(self, mutant: Mutant, likely: str = "") -> str:
        """The first test that fails; "" if none does, "-" if it does not compile."""
        path = self.root / mutant.path
        text = path.read_text()
        path.write_text(mutant.apply(text))
        try:
            if mutant.path.startswith("csrc/"):
                return self._in_c(mutant.path, likely)
            return (likely and self._pytest(likely)) or self._in_python(mutant.path)
        finally:
            path.write_text(text)

    def _in_c(self, path: str, likely: str) -> str:
        targets = [self.objects / name for name in self.objects_of(path)]
        kept = [target.read_bytes() for target in targets]
        first = next(tests for part, tests in FIRST.items() if path.startswith(part))
        is_kernel = not path.endswith(".c")  # with sanitizers it builds for minutes
        try:
            if not self._build(targets):
                return "-"
            found = self._driver([likely] if likely.isidentifier() else [])
            found = found or self._driver(first)
            if not found and not is_kernel and self._build(targets, SANITIZERS):
                if found := self._driver(first):
                    return f"{found}, with sanitizers"
                self._build(targets)
            return found or self._driver([""])
        finally:
            for target, data in zip(targets, kept, strict=True):
                target.write_bytes(data)

    def _build(self, targets: list[Path], sanitizers: str = "") -> bool:
        """Build these objects anew, and a driver with them."""
        for target in targets:
            target.unlink(missing_ok=True)
        flags = [f"RELEASE={FLAGS} {sanitizers}"] if sanitizers else []
        if self.run(*self.make, *flags, *map(str, targets))[0]:
            return False
        objects = sorted(map(str, self.objects.glob("*/**/*.o")))
        options = ["-pthread", *sanitizers.split()]
        driver = str(self.objects.parent / "mutant")
        return self.run("cc", *options, *objects, "-lm", "-o", driver)[0] == 0

    def _driver(self, tests: list[str]) -> str:
        """The first of these tests that fails; "" is all of them."""
        driver = str(self.objects.parent / "mutant")
        for test in tests:
            only = ["--only", test] if test else []
            code, output = self.run(driver, "--quick", *only, self.isa, timeout=900)
            if code:
                found = re.search(r"^\S+:\d+: (\S+)", output, re.M)
                return found.group(1) if found else f"{test or 'driver'}: exit {code}"
        return ""

    def _in_python(self, path: str) -> str:
        prefix = max(filter(path.startswith, TESTS), key=len)
        tests = [f"tests/{name}" for name in TESTS[prefix].split()]
        return self._pytest(*(f"{t}.py" if "/" in t[6:] else t for t in tests))

    def _pytest(self, *tests: str) -> str:
        code, output = self.run(
            sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
            "--timeout=100", *tests,
        )  # fmt: skip
        found = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.M)
        is_there = code != 5 and "not found: " not in output
        if found or (code and is_there):
            return found.group(1) if found else f"{tests[0]}: exit {code}"
        return ""


def lines_of(name: str) -> dict[str, str]:
    """Mutants, and what a file says of each."""
    path = HERE / name
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.rsplit(" || ", 1) for line in lines if " || " in line)


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
    parser.add_argument("--out", type=Path, help="results; build/mutants.json")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin none later")
    parser.add_argument("--again", action="store_true", help="those that survived, too")
    parser.add_argument("--write", action="store_true", help="killed.txt, too")
    parser.add_argument("--list", action="store_true", help="only say which")
    options = parser.parse_args()
    texts = sources(options.kind)
    mutants = select(texts, 0 if options.named else options.count, options.seed)
    mutants = [m for m in mutants if options.only in m.path]
    if options.named:
        mutants = [m for m in mutants if m.operator == "named"]
    reasons, elsewhere = lines_of("equivalent.txt"), lines_of("elsewhere.txt")
    likely = lines_of("killed.txt")
    if options.list:
        for mutant in mutants:
            print(mutant.operator, mutant.name(texts[mutant.path]))
        print(len(mutants), "mutants")
        return
    results: dict[str, str] = {}
    out = options.out or options.build.with_suffix(".json")
    if out.exists():
        results = json.loads(out.read_text())
    if options.again:
        results = {name: killer for name, killer in results.items() if killer}
    copy = Copy(options.build.resolve(), options.isa)
    if any(m.path.startswith("csrc/") for m in mutants):
        copy.build_driver()
    deadline = time.monotonic() + 60 * options.minutes
    for mutant in mutants:
        name = mutant.name(texts[mutant.path])
        start = time.monotonic()
        if name in {**results, **reasons, **elsewhere} or start > deadline:
            continue
        results[name] = copy.killer(mutant, likely.get(name, ""))
        print(f"{time.monotonic() - start:4.0f} s  {name}\n        "
              f"{results[name] or 'SURVIVED'}", flush=True)  # fmt: skip
        out.write_text(json.dumps(results, indent=1))
    if options.write:
        named = [m.name(texts[m.path]) for m in mutants]
        killers = {name: results.get(name) or likely.get(name, "") for name in named}
        lines = [f"{n} || {k}\n" for n, k in killers.items() if k not in ("", "-")]
        (HERE / "killed.txt").write_text(KILLED + "".join(lines))
    report(mutants, texts, results, reasons, elsewhere)


def report(
    mutants: list[Mutant],
    texts: dict[str, str],
    results: dict[str, str],
    reasons: dict[str, str],
    elsewhere: dict[str, str],
) -> None:
    """The table by folder; ends with status 1 if less than 95 % were killed."""
    tables: dict[str, Counter[str]] = {}
    for mutant in mutants:
        name = mutant.name(texts[mutant.path])
        parts = mutant.path.split("/")[:-1]
        folder = "/".join(parts if parts[0] == "csrc" else parts[:3])
        row = tables.setdefault(f"`{folder}`", Counter())
        result = results.get(name, "not run")
        named = {"": "survived", "-": "none", "not run": "not run"}
        kind = "equivalent" if name in reasons else "elsewhere"
        is_given = name in reasons or name in elsewhere
        row[kind if is_given else named.get(result, "killed")] += 1
    columns = ["killed", "survived", "equivalent", "elsewhere", "none", "not run"]
    print(f"\n| {'files':26} |", *(f"{column:>10} |" for column in columns))
    total: Counter[str] = Counter()
    for path, row in sorted(tables.items()):
        total += row
        print(f"| {path:26} |", *(f"{row[column]:10} |" for column in columns))
    print(f"| {'all':26} |", *(f"{total[column]:10} |" for column in columns))
    decided = total["killed"] + total["survived"]
    print(f"{total['killed']} of {decided} killed, {total['equivalent']} equivalent")
    sys.exit(total["killed"] < 0.95 * decided)


if __name__ == "__main__":
    main()
