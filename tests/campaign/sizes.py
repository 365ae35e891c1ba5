"""More than 2**31 and 2**32 elements, of which memory holds few."""

import numpy as np
from helpers import same_bits

from fastnn import Network

from . import Skip, Try, part


@part(least=30, slowest=600)
def large_arrays(t: Try):
    """Rows at both ends of sparse files and of views of more than 2**32 elements."""
    columns = int(t.rng.integers(500, 5000))
    rows = int(t.rng.choice([2**31, 2**32]) * (1 + t.rng.random() / 20)) // columns
    path = t.folder / "X"
    with open(path, "wb") as file:
        file.truncate(rows * columns)
    if path.stat().st_blocks:
        raise Skip("no sparse files here")
    X = np.memmap(path, np.uint8, "r+", shape=(rows, columns))
    ends = np.r_[np.arange(3), rows - np.arange(1, 4), t.rng.integers(rows, size=3)]
    X[ends] = t.rng.integers(256, size=(9, columns))
    net = Network([columns, 5, 3], seed=t.seed, input_scale=1 / 255)
    clean = np.array(X[ends])
    expected = net.predict_proba(clean)
    step = int(t.rng.integers(10_000, 300_000))
    for at, row in zip(ends, expected, strict=True):
        begin = min(at // step * step, rows - 1)
        found = net.predict_proba(X[begin : begin + step])
        assert same_bits(found[at - begin], row), at
    far = X[:: rows - 1]
    assert same_bits(net.predict_proba(far), net.predict_proba(np.array(far)))
    y = np.arange(rows, dtype=np.uint8) % 3
    # A view of one row, 2**32 elements and more, and labels past 2**31 rows.
    one = np.broadcast_to(clean[:1], (2**32 // columns + 9, columns))
    assert len(np.unique(net.predict(one[: 10**5]))) == 1
    with np.errstate(all="raise"):
        net.fit(X, y, 1, 4096, verbose=0, time_limit=1.0)
    return len(ends) + 5
