"""The command line: ``fastnn train``, ``evaluate``, ``predict``, ``demo`` and others.

To add a command: a function that takes the parsed arguments, and its parser in
`_parser`. An error that a user can fix becomes one line on stderr.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

import numpy as np

from ._base.names import close_to, known_name
from ._base.version import __version__
from ._commands.data import (
    NAMES,
    is_image,
    load_data,
    load_image,
    load_rows,
    same_scaling,
)
from ._commands.export import export
from ._commands.network import OPTIMIZERS, SCHEDULES
from ._commands.recipe import PLAIN
from ._commands.report import bar, evaluation_of, network_sizes
from ._commands.table import (
    describe_schema,
    evaluate_table,
    is_table,
    predict_table,
    write_predictions,
)
from ._commands.train import train
from ._core.native.engine import build_info
from ._plan.plan import DTYPES
from ._plan.recipes import RECIPES
from .losses import LOSSES
from .network import Network, model_of
from .plotting._classes import two_columns

__all__ = ["main"]

_ERRORS = (ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
_PACKAGES = ("numpy", "safetensors", "tqdm", "pooch", "matplotlib", "pillow", "onnx")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 2 for an error, 130 after Ctrl-C, 143 after SIGTERM."""
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python's own flush at exit must
        # not complain about it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt as interrupt:
        print(f"fastnn: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return getattr(interrupt, "status", 130)
    except _ERRORS as error:
        print(f"fastnn: error: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _evaluate(options: argparse.Namespace) -> None:
    network = _load(options)
    plan = network.plan
    if _gives_several_labels(network):
        raise ValueError(
            f"the network gives a row any number of {plan.n_outputs} labels; expected "
            "one that gives it one class"
        )
    if network.schema is not None and is_table(options.dataset or ""):
        evaluate_table(options, network, network.schema)
        return
    name = options.dataset or _likely_dataset(network)
    data = load_data(name, options.data, options.label, not plan.loss.is_classifier)
    names = data.class_names
    if plan.loss.is_classifier != bool(names):
        raise ValueError(f"{data.name} does not fit its loss, {plan.loss.name}")
    n_classes = max(2, plan.n_outputs) if names else 0
    if len(names) > n_classes:
        raise ValueError(
            f"{data.name} has {len(names)} classes; expected {n_classes}, the outputs "
            "of the network"
        )
    names += tuple(map(str, range(len(names), n_classes)))
    rows, part = data.test, "test samples"
    if not data.has_test_part:
        # Only the training rows of the same file have their means and deviations.
        of_file = data.scale, data.shift
        if np.ndim(data.scale) and same_scaling(model_of(network), *of_file):
            part = "samples that were held out in the training"
        else:
            rows, part = data.all_rows, "samples, all rows of the file"
    evaluation = evaluation_of(network, rows, names)
    sizes = network_sizes(network)
    print(f"{options.model}: {sizes} on {data.name}, {len(rows[0]):,} {part}\n")
    print(evaluation.text())


def _predict(options: argparse.Namespace) -> None:
    network = _load(options)
    several = _gives_several_labels(network)
    schema = network.schema
    if options.output is not None or options.proba:
        _write(options, network)
        return
    for path in options.files:
        if is_image(path) and network.plan.loss.is_classifier:
            X = load_image(path, network, options.as_is)
            row = two_columns(network.predict_proba(X))[0]
            print(path)
            best = np.argsort(-row, kind="stable")
            best = best[row[best] > 0.5] if several else best[:3]
            for label in best:
                print(f"  {label:3}  {bar(row[label])} {row[label]:.3f}")
            if not len(best):
                print("  none")
            continue
        outputs = _outputs(path, network, options)
        if not network.plan.loss.is_classifier:
            for i, values in enumerate(outputs):
                print(f"{path}:{i}  {'  '.join(f'{value:.6g}' for value in values)}")
            continue
        names: Any = range(max(2, network.plan.n_outputs))
        if schema is not None and schema.target is not None:
            names = schema.target.classes
        for i, row in enumerate(two_columns(outputs)):
            labels: Any = np.flatnonzero(row > 0.5) if several else [row.argmax()]
            found = [f"{names[label]}  {row[label]:.3f}" for label in labels]
            print(f"{path}:{i}  {'  '.join(found) or 'none'}")


def _write(options: argparse.Namespace, network: Network) -> None:
    """Write the predictions for one file of rows as CSV."""
    if len(options.files) != 1 or is_image(options.files[0]):
        raise ValueError(
            "--output and --proba are for one file of rows, got "
            f"{', '.join(options.files)}"
        )
    if _gives_several_labels(network):
        raise ValueError("--output and --proba need a network that gives one class")
    outputs = _outputs(options.files[0], network, options)
    if network.plan.loss.is_classifier:
        outputs = two_columns(outputs)
    write_predictions(options.output, network, outputs, options.proba)


def _outputs(path: str, network: Network, options: argparse.Namespace) -> Any:
    """Probabilities or values for the rows of a file."""
    if network.schema is not None and is_table(path):
        return predict_table(path, network, network.schema)
    return network.predict_proba(load_rows(path, network, options.label))


def _gives_several_labels(network: Network) -> bool:
    """Whether a row may have any number of labels, rather than one class."""
    return network.plan.loss.is_classifier and network.plan.n_classes is None


def _bench(options: argparse.Namespace) -> None:
    from .bench import bench

    bench(options)


def _search(options: argparse.Namespace) -> None:
    from ._commands.search import search

    search(options)


def _demo(options: argparse.Namespace) -> None:
    from .demo import demo

    demo(options)


def _info(options: argparse.Namespace) -> None:
    if options.model is not None:
        _describe(options.model)
        return
    from importlib.metadata import PackageNotFoundError, version

    lines: dict[str, object] = {}
    for name, value in build_info().items():
        lines[name] = ", ".join(value) if isinstance(value, list) else value
    lines["python"] = f"{platform.python_version()} ({platform.machine()})"
    for name in _PACKAGES:
        try:
            lines[name] = version(name)
        except PackageNotFoundError:
            lines[name] = "not installed (optional)"
    for name in sorted(os.environ):
        if name.startswith("FASTNN_") or name == "OMP_NUM_THREADS":
            lines[name] = os.environ[name]
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:{width}}  {value}")


def _describe(path: str) -> None:
    """Print what a saved network is, with the names that it knows."""
    network = Network.load(path)
    print(f"{path}: trained for {network.epoch} epochs, seed {network.seed}")
    print(network.summary())
    if network.schema is not None:
        print("\ncolumns")
        for line in describe_schema(network.schema):
            print(line)


def _load(options: argparse.Namespace) -> Network:
    if options.model in NAMES and not os.path.exists(options.model):
        raise FileNotFoundError(
            f"{options.model} is a data set; expected a model first, a file that "
            "`fastnn train` saved"
        )
    return Network.load(
        options.model,
        backend=options.backend or "native",
        num_threads=options.threads,
    )


def _likely_dataset(network: Network) -> str:
    likely = {64: "digits", 784: "mnist"}.get(network.plan.n_inputs)
    if likely is None:
        raise ValueError(
            f"the network has {network.plan.n_inputs} inputs: name the data set to "
            "evaluate it on"
        )
    return likely


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"out of memory {error}".strip()
    text = str(error)
    # What to do about a failed download is on a line of its own.
    lines = text.splitlines() if isinstance(error, ConnectionError) else [text]
    return "\n".join(" ".join(each.split()) for each in lines) or type(error).__name__


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        hint = ""
        if found := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            hint = close_to(found[1], re.findall(r"[\w.-]+", found[2]))
        elif found := re.match(r"unrecognized arguments: (--[\w-]+)", message):
            names = self._all_options()
            hint = "" if found[1] in names else close_to(found[1], names)
        self.exit(2, f"fastnn: error: {message}{hint} (see {self.prog} --help)\n")

    def _all_options(self) -> list[str]:
        """Those of all commands, of which only the whole parser knows."""
        actions = list(self._actions)
        for action in self._actions:
            for parser in action.choices or () if action.nargs == "A..." else ():
                actions += action.choices[parser]._actions  # type: ignore[index]
        return [name for action in actions for name in action.option_strings]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastnn",
        description="Train and run multilayer perceptrons on the CPU.",
        epilog="Try `fastnn train`: it needs no download and takes a second.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    dataset = f"{', '.join(NAMES)}, FILE.npz or a table: FILE.csv, FILE.parquet"

    def add(run: Any, name: str, text: str) -> Callable[..., Any]:
        """Add a command; return what adds an option to it."""
        command = commands.add_parser(name, help=text, description=f"{text}.")
        command.set_defaults(run=run)
        return command.add_argument

    def one_of(names: Collection[str]) -> dict[str, Any]:
        """A choice of names, also as people write them elsewhere."""
        return {"type": lambda text: known_name(text, names), "choices": list(names)}

    training = add(train, "train", "Train a network and save it")
    training("dataset", nargs="?", help=dataset)
    training(
        "--recipe",
        choices=[*RECIPES, PLAIN],
        help="of a table: what chooses network and training, or plain for a network by "
        "the options below; default: default, plain if one of them is given",
    )
    training(
        "--layers",
        metavar="N,N,...",
        help="widths such as 784,128,10; those of inputs and outputs may be left out",
    )
    training("--activation", metavar="NAME", help="of the hidden layers")
    training("--loss", **one_of(LOSSES), help="default: softmax_cross_entropy")
    training(
        "--time",
        type=float,
        metavar="SECONDS",
        help="stop the training after this time",
    )
    training(
        "--calibrate",
        action="store_true",
        help="scale probabilities by rows that a network has not seen",
    )
    training("--epochs", type=int, help="passes over the data")
    training("--batch-size", type=int, metavar="ROWS", help="rows per step")
    training("--optimizer", **one_of(OPTIMIZERS), help="default: adam")
    training(
        "--lr", "--learning-rate", type=float, metavar="RATE", help="learning rate"
    )
    training("--lr-schedule", **one_of(SCHEDULES), help="of the rate, over all updates")
    training(
        "--validation-split",
        type=float,
        metavar="SHARE",
        help="of the training rows, held out at random",
    )
    training(
        "--patience",
        type=int,
        metavar="EPOCHS",
        help="stop after this many without a better validation loss; keep the best",
    )
    training("--dropout", type=float, metavar="RATE", help="after each hidden layer")
    training("--l2", type=float, metavar="FACTOR", help="penalty on squared weights")
    training(
        "--class-weight",
        metavar="WEIGHTS",
        help="balanced, or CLASS=WEIGHT,...; 1 for others",
    )
    training(
        "--metrics",
        metavar="NAME,...",
        help="to report as well: f1, roc_auc, top_3_accuracy, ...",
    )
    training(
        "--plot",
        metavar="PICTURE",
        help="draw a page: curves, confusions, mistakes, weights, ... (matplotlib)",
    )
    training(
        "--resume",
        metavar="FILE",
        help="go on from the checkpoint that Ctrl-C or SIGTERM left, to the same bits; "
        "other options are taken from it",
    )

    find = add(_search, "search", "Search the settings of a network, and save the best")
    find("dataset", nargs="?", help=dataset)
    find("--loss", **one_of(LOSSES), help="default: softmax_cross_entropy, or mse")
    find("--time", type=float, metavar="SECONDS", help="that the search may take")
    find("--settings", type=int, default=27, metavar="N", help="to try; default: 27")
    find(
        "--space",
        nargs="+",
        metavar="NAME=VALUE,...",
        help="your own values of settings, such as width=64,128 depth=2",
    )
    find(
        "--ensemble",
        type=int,
        default=1,
        metavar="N",
        help="make one network of the N that are best together; default: 1",
    )
    find("--resume", action="store_true", help="go on with a search after Ctrl-C")
    find("--markdown", metavar="FILE", help="write the report as Markdown")

    for option in (training, find):
        option("--drop", metavar="NAME,...", help="columns of a table not to use")
        option(
            "--test", metavar="FILE", help="a table to test on, not a fifth of the rows"
        )
        option("--seed", type=int, help="of weights and shuffles; default: 0")
        option("--dtype", choices=DTYPES)
        option("--save", metavar="FILE", help="default: fastnn-DATASET.safetensors")
        option("--quiet", action="store_true", help="print the result only")
        option("--json", action="store_true", help="print the result as JSON only")

    evaluate = add(_evaluate, "evaluate", "Evaluate a saved network")
    evaluate("model", help="a file that `fastnn train` saved")
    evaluate("dataset", nargs="?", help=dataset)

    predict = add(_predict, "predict", "Predict with a saved network")
    predict("model", help="a file that `fastnn train` saved")
    predict(
        "files",
        nargs="+",
        metavar="FILE",
        help="images (pillow), .npy, .npz or tables such as FILE.csv",
    )
    predict("--output", metavar="FILE", help="write the predictions as CSV")
    predict("--proba", action="store_true", help="with the probability of each class")
    predict(
        "--as-is",
        action="store_true",
        help="images are not digits: do not crop and centre them",
    )

    show = add(_demo, "demo", "Draw digits and train small networks in the browser")
    show(
        "--model",
        metavar="FILE",
        help="default: one for MNIST, trained if there is none",
    )
    show("--port", type=int, default=8765, help="default: 8765; 0: any that is free")
    show("--no-browser", action="store_true", help="print the address, open nothing")

    for option in (training, find, evaluate, show):
        option("--data", metavar="FOLDER", help="where the MNIST files are")
    for option in (training, find, evaluate, predict):
        option("--label", metavar="COLUMN", help="of a table: its name or number")
        option("--threads", type=int, metavar="N", help="at most this many")
        option(
            "--backend",
            choices=["native", "numpy"],
            help="the engine",
        )
    option = add(export, "export", "Write a saved network as an ONNX model or in C")
    option("model", help="a file that `fastnn train` saved")
    option(
        "--to", **one_of(["onnx", "c"]), required=True, help="onnx (package onnx), or c"
    )
    option("-o", "--output", metavar="FILE", help="default: MODEL with another suffix")
    option(
        "--encoded",
        action="store_true",
        help="of a table: take the inputs that its columns become, not the columns",
    )
    option("--name", help="of the C functions; default: that of the file")
    option(
        "--self-test", action="store_true", help="write a C program that tests it, too"
    )
    option = add(_bench, "bench", "Time fastnn and its alternatives that are installed")
    option("--quick", action="store_true", help="in about a minute")
    option(
        "--roofline",
        action="store_true",
        help="instead: compare with the FMA peak and bandwidths of this machine",
    )
    option(
        "--peers",
        metavar="NAME,...",
        help="numpy, torch, jax, scikit-learn, onnxruntime; default: those installed",
    )
    option(
        "--only", metavar="TEXT", nargs="+", default=[], help="lines with TEXT in them"
    )
    option("--dtype", default="float32", help="or float64; default: float32")
    option(
        "--seconds",
        type=float,
        metavar="S",
        help="for each line (default 12; with --roofline 4)",
    )
    option("--json", metavar="FILE", help="write all numbers")
    option("--markdown", metavar="FILE", help="write a Markdown table")
    option("--plot", metavar="PICTURE", help="draw the results")
    option = add(
        _info, "info", "Show versions, instruction sets and threads, or a model"
    )
    option("model", nargs="?", help="a file that `fastnn train` saved")
    return parser
