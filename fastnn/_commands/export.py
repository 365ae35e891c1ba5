"""``fastnn export``: a saved network for software that is not fastnn."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from dataclasses import replace

from fastnn._core.exchange.model_file import load
from fastnn._core.exchange.onnx.model import require_onnx
from fastnn._core.model.model import Model
from fastnn.network import Network, network_of

__all__ = ["export"]


def export(options: argparse.Namespace) -> None:
    """Write the network in the format that --to names, and say what to do with it."""
    if options.to == "onnx":
        for name in ("name", "self_test"):
            if getattr(options, name) not in (None, False):
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} is for --to c")
        if (options.output or "").endswith(".h"):
            raise ValueError(
                f"--output ends with .h, which is for --to c, got {options.output}"
            )
        require_onnx()  # before a large model is read
    elif options.encoded:
        raise ValueError("--encoded is for --to onnx")
    network = _load(options.model)
    stem = os.path.splitext(options.model)[0]
    path = options.output or f"{stem}{'.onnx' if options.to == 'onnx' else '.h'}"
    if os.path.realpath(path) == os.path.realpath(options.model):
        raise ValueError(f"--output is the model itself, {path}")
    if options.to == "onnx":
        # What a schema encodes, other software cannot.
        schema = network.schema
        columns = schema is not None and not options.encoded
        network.to_onnx(path, columns=columns)
        print(f"{path}: {_size(path)}{', one input per column' if columns else ''}")
        return
    if not path.endswith(".h"):
        raise ValueError(f"--output must end with .h, got {path}")
    name = options.name
    if name is None:
        name = _identifier(os.path.basename(path)[:-2])
    network.to_c(path, name=name, self_test=options.self_test)
    print(f"{path}: {_size(path)}, {name}_predict(x, out)")
    if options.self_test:
        test = shlex.quote(f"{path[:-2]}_test.c")
        print(f"next:\n  cc -std=c99 -O2 {test} -lm -o {name}_test && ./{name}_test")


def _load(path: str) -> Network:
    """Read a model, one of bfloat16 as the float32 that exports have."""
    state = load(path)
    plan = replace(state.plan, dtype=state.plan.array_dtype)
    return network_of(Model.from_state(replace(state, plan=plan)))


def _identifier(stem: str) -> str:
    """Return a C identifier made from the name of the file."""
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)[:40]
    return name if re.match("[A-Za-z]", name) else f"net_{name}"[:40]


def _size(path: str) -> str:
    return f"{os.path.getsize(path) / 1000:,.0f} kB"
