"""Do probabilities mean what they say?

Of the rows that a calibrated network gives 80 %, 80 % are right. Training on and on
makes a network too sure of itself; early stopping keeps it honest.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastnn import EarlyStopping, Network, datasets, metrics

X, y = datasets.moons(3000, noise=0.4, seed=0)
X_train, X_test, y_train, y_test = datasets.train_test_split(
    X, y, test_size=2400, seed=0
)


def trained(**options):
    net = Network([2, 128, 128, 1], loss="binary_cross_entropy", seed=0)
    net.fit(X_train, y_train, batch_size=32, verbose=0, **options)
    return net


nets = {
    "300 epochs": trained(epochs=300),
    "early stopping": trained(
        epochs=300, validation_split=0.25, callbacks=[EarlyStopping(patience=20)]
    ),
}

ax = plt.subplots(figsize=(5, 4.4), layout="constrained")[1]
ax.plot([0, 1], [0, 1], color="0.6", linewidth=1)
for name, net in nets.items():
    p = net.predict_proba(X_test)[:, 0]
    bins = np.digitize(p, np.linspace(0, 1, 11)[1:-1])
    said = [p[bins == i].mean() for i in range(10)]
    seen = [y_test[bins == i].mean() for i in range(10)]
    loss = metrics.log_loss(y_test, np.stack([1 - p, p], axis=1))
    ax.plot(said, seen, "o-", label=f"{name}: log loss {loss:.2f}")
ax.set(xlabel="predicted probability", ylabel="how often it is class 1")
ax.set_title("calibration on 2400 test rows", loc="left")
ax.legend()
plt.show()
