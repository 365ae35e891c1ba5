"""`fastnn search`: the settings of a network for a data set, within a time."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from fastnn._core.exchange.files import write_atomically
from fastnn._search.search import search as search_settings

from .checkpoint import Interrupts, fill_in
from .report import evaluation_of
from .train import check_outputs, load, show_next_commands

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["search"]

_SUFFIX = ".search"  # of the state, behind the name of the model


def search(options: argparse.Namespace) -> None:
    """Search as the options say, save the network, and show the result."""
    fill_in(options)
    data, loss = load(options, "default")
    path = options.save or f"fastnn-{data.name}.safetensors"
    state = path + _SUFFIX
    check_outputs(options, path, state, options.markdown)
    if options.resume and not os.path.exists(state):
        raise FileNotFoundError(f"--resume: there is no {state}")
    options.quiet |= options.json
    if not options.quiet:
        for line in data.description:
            print(line)
        print(
            f"{data.name}: {len(data.train[0]):,} training (of which some compare "
            f"settings) and {len(data.test[0]):,} test samples",
            flush=True,
        )
    X, y = data.train
    try:
        with Interrupts():
            result = search_settings(
                X,
                y,
                _space_of(options.space),
                loss=loss,
                n_settings=options.settings,
                ensemble=options.ensemble,
                time_limit=options.time,
                schema=data.schema,
                dtype=options.dtype,
                seed=options.seed,
                backend=options.backend,
                num_threads=options.threads,
                state=state,
                resume=options.resume,
                verbose=0 if options.quiet else 1,
            )
    except KeyboardInterrupt as interrupt:
        told = "interrupted; the same command goes on with --resume"
        raise type(interrupt)(told) from None
    evaluation = evaluation_of(result.network, data.test, data.class_names)
    result.network.save(path, include_optimizer=False)
    if options.markdown is not None:
        write_atomically(options.markdown, result.markdown().encode())
    os.unlink(state)
    if options.json:
        found: dict[str, Any] = {"model": path, "dataset": options.dataset}
        found |= {"test": evaluation.to_dict(), "search": result.to_dict()}
        print(json.dumps(found, indent=1, default=repr))
        return
    if options.quiet:
        print(f"test {evaluation.summary}, model saved to {path}")
        return
    print(f"\n{result}\n\n{evaluation.text('test ')}")
    print(f"model saved to {path} ({os.path.getsize(path) / 1e3:,.0f} kB)")
    show_next_commands(path, options, data)


def _space_of(given: Sequence[str] | None) -> dict[str, Any] | None:
    """The settings of NAME=VALUE,VALUE,..."""
    if given is None:
        return None
    space = {}
    for each in given:
        name, found, values = each.partition("=")
        if not found:
            raise ValueError(
                f"--space must be NAME=VALUE,... such as width=64,128, got {each!r}"
            )
        space[name.replace("-", "_")] = [_value(text) for text in values.split(",")]
    return space


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
