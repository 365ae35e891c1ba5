"""Twenty networks, and where they disagree

Networks fitted at the same time, each on rows drawn anew, agree where there are data
and differ where there are none: a cheap sign of what a model does not know.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastnn import Adam, Network, fit_many

rng = np.random.default_rng(0)
x = np.concatenate([rng.uniform(-4, -1, 60), rng.uniform(1.5, 4, 60)])[:, None]
y = np.sin(1.5 * x) + 0.15 * rng.normal(size=x.shape)

nets = [
    Network([1, 32, 32, 1], loss="mse", optimizer=Adam(0.01), seed=seed)
    for seed in range(20)
]
draws = [{"rows": rng.integers(len(x), size=len(x))} for _ in nets]
fit_many(nets, x, y, draws, epochs=600, batch_size=32, verbose=0)

grid = np.linspace(-5, 5, 300)[:, None]
curves = np.hstack([net.predict(grid) for net in nets])
mean, spread = curves.mean(axis=1), 2 * curves.std(axis=1)

ax = plt.subplots(layout="constrained")[1]
ax.plot(grid, curves, color="C0", alpha=0.2, linewidth=1)
ax.fill_between(grid[:, 0], mean - spread, mean + spread, alpha=0.15)
ax.plot(grid, mean, color="C0", label="mean of 20")
ax.plot(x, y, "k.", label="data")
ax.set(xlabel="x", ylabel="y", ylim=(-3, 3))
ax.set_title("they agree where there are data", loc="left")
ax.legend()
plt.show()
