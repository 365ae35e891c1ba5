"""`fastnn train`: from its options to a trained network, a report and a picture."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from typing import TYPE_CHECKING

import numpy as np

from fastnn._plan import recipes
from fastnn._plan.schema import MAX_CATEGORIES
from fastnn.losses import LOSSES
from fastnn.plotting._axes import require_format

from .checkpoint import Checkpoint, fill_in
from .data import NAMES, load_data
from .data_set import Data
from .job import Job, metrics_of
from .ranks import world
from .recipe import RecipeJob, recipe_of
from .report import evaluation_of
from .table import is_table, load_table

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn.network import Network

    from .report import Evaluation

__all__ = ["check_outputs", "load", "show_next_commands", "train"]


def train(options: argparse.Namespace) -> None:
    """Train as the options say, save the network, and show the result.

    On several ranks of an MPI, the first of them does so, with the help of the others.
    """
    communicator = world()
    if communicator is None:
        _train(options, True)
        return
    try:
        _train(options, communicator.Get_rank() == 0)
    except Exception as error:  # Ctrl-C ends all ranks by itself
        print(f"fastnn: error: {error}", file=sys.stderr, flush=True)
        communicator.Abort(2)  # nobody waits for this rank


def _train(options: argparse.Namespace, is_first: bool) -> None:
    if options.plot is not None:
        require_format(options.plot)
    checkpoint = None
    if options.resume is not None:
        checkpoint = Checkpoint(options.resume)
        checkpoint.take_options(options)
    fill_in(options)
    options.quiet |= options.json
    recipe = recipe_of(options)
    data, loss = load(options, recipe)
    path = options.save or f"fastnn-{data.name}.safetensors"
    if is_first:  # not after an hour of training
        check_outputs(options, path, options.plot)
    if recipe is None:
        job = Job(options, data, loss, path, checkpoint)
    elif world() is not None:
        raise ValueError(
            "--recipe trains many networks, each on one rank; expected one"
        )
    else:
        job = RecipeJob(options, data, loss, recipe)
    if is_first and not options.quiet:
        job.show_start()
    seconds = job.run()
    if not is_first:
        return
    job.save(path)
    metrics = metrics_of(options)
    result = evaluation_of(job.network, data.test, data.class_names, metrics)
    if options.plot:
        job.plot(options.plot, result)
    if options.json:
        print(_json(job, result, path))
        return
    if options.quiet:
        print(f"test {result.summary}{result.others}, model saved to {path}")
        return
    print()
    print(result.text("test ", fresh=data.generated and data.name != "xor"))
    for line in _lesson(job.network, data):
        print(line)
    job.show_end(seconds)
    if options.plot:
        print(f"pictures drawn in {options.plot}")
    print(f"model saved to {path} ({os.path.getsize(path) / 1e3:,.0f} kB)")
    show_next_commands(path, options, data)


def load(options: argparse.Namespace, recipe: str | None) -> tuple[Data, str]:
    """Return the data, and the loss that suits it unless one is given."""
    data, loss = _load(options, recipe)
    if LOSSES[loss].is_classifier == (not data.class_names):
        kind = "classes" if data.class_names else "a quantity"
        raise ValueError(f"{data.name} has {kind}: --loss {loss} is for another kind")
    return data, loss


def _json(job: Job, result: Evaluation, path: str) -> str:
    """Return the result as JSON."""
    network = job.network
    found = {
        "model": path,
        "dataset": job.options.dataset,
        "layers": network.plan.sizes,
        "parameters": network.n_parameters,
        "epochs": network.epoch,
        "seconds": job.seconds,
        "training_samples": len(job.train[0]),
        "test": result.to_dict(),
        "history": job.history,
    }
    if isinstance(job, RecipeJob) and job.options.calibrate:
        found["temperature"] = job.temperature
    # JSON has no NaN.
    text = json.dumps(found)
    plain = json.loads(text, parse_constant=lambda name: None)
    return json.dumps(plain, indent=1)


def _load(options: argparse.Namespace, recipe: str | None) -> tuple[Data, str]:
    loss = options.loss
    quantities = loss is not None and not LOSSES[loss].is_classifier
    if is_table(options.dataset):
        task = "values" if quantities else "classes"
        data = load_table(
            options.dataset,
            label=options.label,
            drop=options.drop,
            test=options.test,
            task=None if loss is None else task,
            max_categories=MAX_CATEGORIES if recipe is None else recipes.MAX_CATEGORIES,
        )
        return data, loss or ("softmax_cross_entropy" if data.class_names else "mse")
    for name in ("drop", "test"):
        if getattr(options, name) is not None:
            raise ValueError(
                f"--{name} is for tables such as FILE.csv, but {options.dataset!r} is "
                "none"
            )
    if loss is None:
        loss = "mse" if options.dataset == "line" else "softmax_cross_entropy"
        quantities = loss == "mse"
    data = load_data(options.dataset, options.data, options.label, quantities)
    return data, loss


def check_outputs(options: argparse.Namespace, *paths: str | None) -> None:
    """Refuse files that cannot be written, or that are another one of the command."""
    given = filter(None, (options.dataset, options.test))
    taken = {os.path.realpath(path) for path in given}
    for path in filter(None, paths):
        _check_writable(path)
        if os.path.realpath(path) in taken:
            raise ValueError(f"{path} is named twice; what is written would replace it")
        taken.add(os.path.realpath(path))


def _check_writable(path: str) -> None:
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write {path}: the folder is not writable")


def _lesson(network: Network, data: Data) -> list[str]:
    """Lines on what the network has learnt about a problem whose answer is known."""
    if data.name == "xor" and data.generated:
        return [
            f"{a:.0f} xor {b:.0f} = {label}   (probability of 1: {_of_one(p):.3f})"
            for (a, b), label, p in zip(
                data.test[0],
                network.predict(data.test[0]),
                network.predict_proba(data.test[0]),
                strict=True,
            )
        ]
    if data.name == "line" and data.generated:
        x = data.test[0][:, 0]
        slope, intercept = np.polyfit(x, network.predict(data.test[0])[:, 0], 1)
        return [
            f"learned y = {slope:.3f} x + {intercept:.3f}; "
            "the points are y = 3 x + 5 with noise of deviation 1"
        ]
    return []


def _of_one(p: Array) -> float:
    return float(p[-1])  # of two outputs, or the only one


def show_next_commands(path: str, options: argparse.Namespace, data: Data) -> None:
    model, dataset = shlex.quote(path), shlex.quote(options.dataset)
    folder = f" --data {shlex.quote(options.data)}" if options.data else ""
    print(f"\nnext:\n  fastnn evaluate {model} {dataset}{folder}")
    if options.dataset not in NAMES:
        output = " --output predictions.csv" if data.schema else ""
        print(f"  fastnn predict {model} {dataset}{output}")
        return
    if data.generated:
        rows = data.test[0][:2].round(2).tolist()
    else:
        print(f"  fastnn predict {model} IMAGE.png")
    if (model, folder) == (path, f" --data {options.data}" if options.data else ""):
        load = f"datasets.{dataset}({repr(options.data) if folder else ''})"
        names, rows = (
            ("Network", rows)
            if data.generated
            else ("Network, datasets", f"{load}.X_test[:10]")
        )
        print(
            f'  python -c "from fastnn import {names}; '
            f"print(Network.load('{path}').predict({rows}))\""
        )
