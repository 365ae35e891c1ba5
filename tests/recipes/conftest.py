"""The fixture by which experiments report their figures."""

import numpy as np
import pytest


@pytest.fixture
def measured(request):
    """Print figures next to those expected (see `pytest -rP`), and record them."""

    def record(name, expected, **figures):
        text = ", ".join(f"{key} {_show(value)}" for key, value in figures.items())
        print(f"{name}: {text} (expected: {expected})")
        # Not `record_property`, which warns with --junitxml.
        request.node.user_properties.append((name, f"{expected} | {text}"))

    return record


def _show(value):
    """A text, a number, or the range of several numbers."""
    if isinstance(value, str):
        return value
    if np.size(value) == 0:
        return "none"
    low, high = f"{np.min(value):.5g}", f"{np.max(value):.5g}"
    return low if low == high else f"{low}..{high}"
