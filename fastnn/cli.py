"""The command line: ``fastnn train``, ``evaluate``, ``predict`` and ``info``.

To add a command: a function that takes the parsed arguments, and its parser in
`_parser`. Whatever a command raises that a user can mend becomes one line on stderr.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import _cli_data, build_info, plotting
from ._cli_data import Data, load_data
from ._cli_report import bar, confusion_matrix, confusion_text
from ._version import __version__
from .network import Network
from .optimizers import SGD, Adam, AdamW, Optimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["main"]

# name: (optimizer by learning rate, its default)
_OPTIMIZERS: dict[str, tuple[Any, float]] = {
    "sgd": (SGD, 0.1),
    "momentum": (lambda lr: SGD(lr, momentum=0.9), 0.02),
    "nesterov": (lambda lr: SGD(lr, momentum=0.9, nesterov=True), 0.02),
    "adam": (Adam, 1e-3),
    "adamw": (AdamW, 1e-3),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 2 for an error, 130 for Ctrl-C."""
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
        return 130
    except (
        ImportError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as e:
        print(f"fastnn: error: {_one_line(e)}", file=sys.stderr)
        return 2
    return 0


def _train(options: argparse.Namespace) -> None:
    if options.plot is not None:
        plotting.require_matplotlib()
    data = load_data(options.dataset, options.data)
    path = options.save or f"fastnn-{data.name}.safetensors"
    for each in filter(None, (path, options.plot)):  # not after an hour of training
        _check_writable(each)
    epochs = data.epochs if options.epochs is None else options.epochs
    batch_size = data.batch_size if options.batch_size is None else options.batch_size
    network = Network(
        _layers(options.layers, data),
        optimizer=_optimizer(options.optimizer, options.lr),
        dtype=options.dtype,
        seed=options.seed,
        backend=options.backend,
        num_threads=options.threads,
        input_scale=data.scale,
        input_shift=data.shift,
    )
    if not options.quiet:
        _show_start(network, data, batch_size)
    X_val, y_val = data.test if options.plot else (None, None)
    start = time.perf_counter()
    try:
        history = network.fit(
            *data.train,
            epochs=epochs,
            batch_size=batch_size,
            verbose=0 if options.quiet else 1,
            X_val=X_val,
            y_val=y_val,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_far(network, epochs)) from None
    seconds = time.perf_counter() - start
    result, matrix = _evaluation(network, data.test, data.class_names)
    network.save(path)
    summary = f"test accuracy {result['accuracy']:.4f}"
    if options.plot:
        title = f"{data.name}: {_sizes(network)}, {summary}"
        plotting.save_training_plot(
            options.plot, history.history, matrix, data.class_names, title
        )
    if options.quiet:
        print(f"{summary}, model saved to {path}")
        return
    _show_evaluation(result, matrix, data.class_names, "test ")
    rate = epochs * len(data.train[0]) / seconds
    print(f"training took {seconds:.2f} s ({epochs} epochs, {rate:,.0f} samples/s)")
    if options.plot:
        print(f"curves drawn in {options.plot}")
    print(f"model saved to {path} ({os.path.getsize(path) / 1e3:,.0f} kB)")
    _show_next_commands(path, options)


def _evaluate(options: argparse.Namespace) -> None:
    network = _load(options)
    data = load_data(options.dataset or _likely_dataset(network), options.data)
    if len(data.class_names) > network.plan.n_outputs:
        raise ValueError(
            f"{data.name} has {len(data.class_names)} classes; "
            f"expected {network.plan.n_outputs}, the outputs of the network"
        )
    names = data.class_names + tuple(
        map(str, range(len(data.class_names), network.plan.n_outputs))
    )
    rows = data.test if data.has_test_part else data.all_rows
    part = "test samples" if data.has_test_part else "samples, all rows of the file"
    evaluation = _evaluation(network, rows, names)
    print(f"{options.model}: {_sizes(network)} on {data.name}, {len(rows[0]):,} {part}")
    _show_evaluation(*evaluation, names)


def _predict(options: argparse.Namespace) -> None:
    network = _load(options)
    for path in options.files:
        if _cli_data.is_image(path):
            row = network.predict_proba(_cli_data.load_image(path, network))[0]
            print(path)
            for label in np.argsort(-row, kind="stable")[:3]:
                print(f"  {label:3}  {bar(row[label])} {row[label]:.3f}")
            continue
        rows = network.predict_proba(_cli_data.load_rows(path, network))
        for i, row in enumerate(rows):
            label = int(row.argmax())
            print(f"{path}:{i}  {label}  {row[label]:.3f}")


def _info(options: argparse.Namespace) -> None:
    from importlib.metadata import PackageNotFoundError, version

    lines: dict[str, object] = {}
    for name, value in build_info().items():
        lines[name] = ", ".join(value) if isinstance(value, list) else value
    lines["python"] = f"{platform.python_version()} ({platform.machine()})"
    for name in ("numpy", "safetensors", "tqdm", "pooch", "matplotlib", "pillow"):
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


def _load(options: argparse.Namespace) -> Network:
    return Network.load(
        options.model, backend=options.backend, num_threads=options.threads
    )


def _layers(text: str | None, data: Data) -> list[int]:
    """Widths from the inputs to the classes; both ends may be left out."""
    n_classes = len(data.class_names)
    try:
        sizes = [data.hidden] if text is None else [int(n) for n in text.split(",")]
    except ValueError:
        raise ValueError(
            f"--layers must be widths such as 784,128,10, got {text!r}"
        ) from None
    if len(sizes) == 1:  # hidden, even if it is as wide as the inputs
        return [data.n_inputs, *sizes, n_classes]
    start = [] if sizes[0] == data.n_inputs else [data.n_inputs]
    end = [] if sizes[-1] == n_classes else [n_classes]
    return start + sizes + end


def _optimizer(name: str, learning_rate: float | None) -> Optimizer:
    make, default = _OPTIMIZERS[name]
    optimizer: Optimizer = make(default if learning_rate is None else learning_rate)
    return optimizer


def _check_writable(path: str) -> None:
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write {path}: the folder is not writable")


def _likely_dataset(network: Network) -> str:
    likely = {64: "digits", 784: "mnist"}.get(network.plan.n_inputs)
    if likely is None:
        raise ValueError(
            f"the network has {network.plan.n_inputs} inputs: name the data set to "
            "evaluate it on"
        )
    return likely


def _sizes(network: Network) -> str:
    return "-".join(map(str, network.plan.sizes))


def _show_start(network: Network, data: Data, batch_size: int) -> None:
    optimizer = network.optimizer
    engine = "NumPy"
    if network.backend == "native":
        threads = network.num_threads
        engine = f"{build_info()['isa_active']}, up to {threads} thread"
        engine += "s" if threads > 1 else ""
    print(
        f"{data.name}: {len(data.train[0]):,} training and {len(data.test[0]):,} test "
        f"samples, {data.n_inputs} inputs, {len(data.class_names)} classes\n"
        f"network {_sizes(network)}: {network.n_parameters:,} parameters, "
        f"{network.dtype}, seed {network.seed}\n"
        f"{optimizer.name}, learning rate {optimizer.learning_rate:g}, "  # type: ignore[attr-defined]
        f"batches of {batch_size}; {engine}",
        flush=True,
    )


def _evaluation(
    network: Network, rows: tuple[Array, Array], class_names: Sequence[str]
) -> tuple[dict[str, float], Array]:
    matrix = confusion_matrix(rows[1], network.predict(rows[0]), len(class_names))
    return network.evaluate(*rows), matrix


def _show_evaluation(
    result: dict[str, float], matrix: Array, class_names: Sequence[str], part: str = ""
) -> None:
    print(f"\n{confusion_text(matrix, class_names)}\n")
    print(
        f"{part}accuracy {result['accuracy']:.4f} ({np.trace(matrix):,} of "
        f"{matrix.sum():,}), loss {result['loss']:.4f}"
    )


def _show_next_commands(path: str, options: argparse.Namespace) -> None:
    model, dataset = shlex.quote(path), shlex.quote(options.dataset)
    folder = f" --data {shlex.quote(options.data)}" if options.data else ""
    print(f"\nnext:\n  fastnn evaluate {model} {dataset}{folder}")
    if options.dataset not in _cli_data.NAMES:
        print(f"  fastnn predict {model} {dataset}")
        return
    print(f"  fastnn predict {model} IMAGE.png")
    if (model, folder) == (path, f" --data {options.data}" if options.data else ""):
        load = f"datasets.{dataset}({repr(options.data) if folder else ''})"
        print(
            f'  python -c "from fastnn import Network, datasets; '
            f"print(Network.load('{path}').predict({load}.X_test[:10]))\""
        )


def _how_far(network: Network, epochs: int) -> str:
    text = f"interrupted after {network.epoch} of {epochs} epochs"
    if network.cursor:
        text += f" and {network.cursor:,} samples of the next"
    return f"{text}; nothing was saved"


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"out of memory {error}".strip()
    return " ".join(str(error).split()) or type(error).__name__


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"fastnn: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastnn",
        description="Train and run multilayer perceptrons on the CPU.",
        epilog="Try `fastnn train`: it needs no download and takes a second.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    dataset = f"{', '.join(_cli_data.NAMES)}, FILE.npz or FILE.csv"

    def add(run: Any, name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"{text}.")
        command.set_defaults(run=run)
        return command

    train = add(_train, "train", "Train a network and save it")
    train.add_argument("dataset", nargs="?", default="digits", help=dataset)
    train.add_argument(
        "--layers",
        metavar="N,N,...",
        help="widths such as 784,128,10; those of inputs and classes may be left out",
    )
    train.add_argument("--epochs", type=int, help="passes over the data")
    train.add_argument("--batch-size", type=int, metavar="ROWS", help="rows per step")
    train.add_argument("--optimizer", choices=list(_OPTIMIZERS), default="adam")
    train.add_argument("--lr", type=float, metavar="RATE", help="learning rate")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    train.add_argument(
        "--save", metavar="FILE", help="default: fastnn-DATASET.safetensors"
    )
    train.add_argument(
        "--plot", metavar="PICTURE", help="draw curves and confusions (matplotlib)"
    )
    train.add_argument("--quiet", action="store_true", help="print the result only")

    evaluate = add(_evaluate, "evaluate", "Evaluate a saved network")
    evaluate.add_argument("model", help="a file that `fastnn train` saved")
    evaluate.add_argument("dataset", nargs="?", help=dataset)

    predict = add(_predict, "predict", "Predict with a saved network")
    predict.add_argument("model", help="a file that `fastnn train` saved")
    predict.add_argument(
        "files", nargs="+", metavar="FILE", help="images (pillow), .npy, .npz or .csv"
    )

    for command in (train, evaluate):
        command.add_argument(
            "--data", metavar="FOLDER", help="where the MNIST files are"
        )
    for command in (train, evaluate, predict):
        command.add_argument("--threads", type=int, metavar="N", help="at most so many")
        command.add_argument(
            "--backend",
            choices=["native", "numpy"],
            default="native",
            help="the engine",
        )
    add(_info, "info", "Show versions, instruction sets and threads")
    return parser
