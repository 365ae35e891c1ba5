"""The rounding error of the three products of a dense layer, element by element.

The error ratio is ``r = |C - C64| / (u (|A| |B|) + k 2^-126)`` with the unit roundoff
u, C64 computed in float64 from the same inputs, and the last term for flushed
subnormals. ``r <= k + 2`` holds for any order of summation (N. Higham, "Accuracy and
Stability of Numerical Algorithms", 2002, section 3.5) and is never missed by a right
kernel. For inputs of both signs the roundings of a chain average out, and r <= 8 up to
k = 4096 is what a good kernel reaches; where all products have one sign, a single chain
drifts by up to sqrt(k), which the first bound covers.

FASTNN_ISA chooses the kernels: `test_other_instruction_sets` runs this file for all
that are not active.
"""

import itertools

import numpy as np
import pytest
from children import each_other_isa, run_pytest

from fastnn import kernels

UNIT = 2.0**-24
SIZES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127, 129, 133]
# (batch, inputs, outputs) of layers for images
LARGE = [(64, 784, 128), (64, 128, 10), (33, 512, 512), (2, 4096, 40), (40, 4096, 3)]

SIGNS = {
    "both": lambda rng, shape: rng.standard_normal(shape),
    "positive": lambda rng, shape: rng.random(shape),  # as pixels are
    "wide": lambda rng, shape: (
        rng.standard_normal(shape) * 10.0 ** rng.uniform(-15, 15, shape)
    ),  # many orders of magnitude apart
}


def shapes():
    """A sample of all triples of sizes: every size in every place, twice or more."""
    every = list(itertools.product(SIZES, repeat=3))
    picked = np.random.default_rng(0).permutation(len(every))[:100]
    diagonal = [(s, SIZES[i - 5], SIZES[i - 9]) for i, s in enumerate(SIZES)]
    return [every[i] for i in picked] + diagonal


def error_ratio(found, left, right):
    """The largest r of found = left @ right, computed in float32."""
    left, right = np.float64(left), np.float64(right)
    depth = left.shape[1]
    scale = UNIT * (abs(left) @ abs(right)) + depth * 2.0**-126
    return (abs(found - left @ right) / scale).max()


def ratios(m, k, n, draw):
    """(depth, r) of the forward product and of the two backward ones."""
    rng = np.random.default_rng(m * 10**6 + k * 10**3 + n)
    x, w, dy = (
        draw(rng, shape).astype(np.float32) for shape in ((m, k), (k, n), (m, n))
    )
    zero = np.zeros(n, np.float32)
    dx, dw, db = kernels.dense_backward(dy, x, w)
    yield k, error_ratio(kernels.dense_forward(x, w, zero), x, w)
    yield n, error_ratio(dx, dy, w.T)
    yield m, error_ratio(dw, x.T, dy)
    yield m, error_ratio(db[np.newaxis], np.ones((1, m)), dy)


@pytest.mark.parametrize("signs", SIGNS)
def test_error_is_within_the_bound(signs):
    worst = 0.0
    for shape in [*shapes(), *LARGE]:
        for depth, ratio in ratios(*shape, SIGNS[signs]):
            assert ratio <= depth + 2, shape
            if signs == "both":
                assert ratio <= 8, shape
            elif signs == "positive":
                assert ratio <= 8 + 1.5 * depth**0.5, shape
            worst = max(worst, ratio)
    assert worst > 0.5  # float32 is rounded, so that this did measure something


def test_bias_is_one_more_rounding():
    rng = np.random.default_rng(0)
    for m, k, n in shapes():
        x, w, b = (
            rng.standard_normal(shape).astype(np.float32)
            for shape in ((m, k), (k, n), (n,))
        )
        y = kernels.dense_forward(x, w, b)
        left = np.hstack([x, np.ones((m, 1), np.float32)])
        assert error_ratio(y, left, np.vstack([w, b])) <= k + 3


def test_a_product_with_one_step_left_out_is_caught():
    # The bounds are so tight that a chain without its smallest product fails.
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((5, 200), (200, 7)))
    y = kernels.dense_forward(x, w, np.zeros(7, np.float32))
    assert error_ratio(y, x, w) <= 8
    smallest = abs(np.float64(x)[:, :, None] * w).min(axis=1)
    assert error_ratio(y - smallest, x, w) > 8


@each_other_isa
def test_other_instruction_sets(isa):
    run_pytest(__file__, "-k", "not other_instruction_sets", FASTNN_ISA=isa)
