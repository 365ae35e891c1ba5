"""One row in twenty-five

When a class is rare, choose the threshold by what a miss costs; weighting the classes
moves along the same curve, not to a better one.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastnn import Network, datasets, metrics

rng = np.random.default_rng(0)
y = (rng.random(12000) < 0.04).astype(int)
X = rng.normal(size=(len(y), 8)) + 0.8 * y[:, None]
X_train, X_test, y_train, y_test = datasets.train_test_split(X, y, seed=0)

ax = plt.subplots(layout="constrained")[1]
for weights in (None, "balanced"):
    net = Network([8, 32, 2], seed=0)
    net.fit(X_train, y_train, epochs=15, class_weight=weights, verbose=0)
    p = net.predict_proba(X_test)[:, 1]
    thresholds = np.quantile(p, np.linspace(0.5, 0.998, 120))
    recall = [metrics.recall(y_test, p >= t) for t in thresholds]
    precision = [metrics.precision(y_test, p >= t) for t in thresholds]
    label = "balanced weights" if weights else "no weights"
    (line,) = ax.plot(recall, precision, label=label)
    ax.plot(
        metrics.recall(y_test, p >= 0.5),
        metrics.precision(y_test, p >= 0.5),
        "o",
        color=line.get_color(),
        markersize=9,
    )
ax.axhline(y_test.mean(), color="0.6", linestyle="--", label="guessing")
ax.set(
    xlabel="recall: found, of the rare ones", ylabel="precision: right, of those found"
)
ax.set_title("dots: the threshold 0.5", loc="left")
ax.legend()
plt.show()
