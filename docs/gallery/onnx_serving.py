"""Serve with ONNX Runtime, or with fastnn

The same network as an ONNX model gives the same probabilities; the histogram shows how
long one row takes in each.
"""

import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime

from fastnn import Network, datasets

X, y, X_test, y_test = datasets.digits()
net = Network([64, 64, 10], input_scale=1 / 16, seed=0)
net.fit(X, y, epochs=30, verbose=0)

with tempfile.TemporaryDirectory() as folder:
    net.to_onnx(Path(folder, "digits.onnx"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the fastest for one row
    session = onnxruntime.InferenceSession(Path(folder, "digits.onnx"), options)
rows = X_test.astype("float32")
label, probabilities = session.run(None, {"X": rows})
assert np.allclose(probabilities, net.predict_proba(X_test), atol=1e-6)


def times(predict):
    for row in rows:  # warm up
        predict(row)
    found = []
    for row in np.tile(rows, (6, 1)):
        start = time.perf_counter()
        predict(row)
        found.append(1e6 * (time.perf_counter() - start))
    return found


ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")[1]
bins = np.geomspace(0.3, 300, 90)
for name, predict in {
    "fastnn: predict_one": net.predict_one,
    "ONNX Runtime": lambda row: session.run(None, {"X": row[None]}),
}.items():
    found = times(predict)
    median = np.median(found)
    ax.hist(found, bins, alpha=0.7, label=f"{name}, median {median:.1f} µs")
ax.margins(y=0.35)
ax.set(xscale="log", xlabel="microseconds for a row", ylabel="rows")
ax.set_title("one row at a time, one process", loc="left")
ax.legend()
plt.show()
