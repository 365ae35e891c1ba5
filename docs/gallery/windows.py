"""A time series, by windows

The last 48 hours are the inputs, the next hour is the target; three quantiles at once
give a forecast with a band that should hold nine values out of ten.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastnn import Adam, Network, Quantile

rng = np.random.default_rng(0)
hours = np.arange(24 * 200)
series = np.sin(2 * np.pi * hours / 24) + 0.5 * np.sin(2 * np.pi * hours / 168)
series += (0.1 + 0.15 * (hours % 24 > 12)) * rng.normal(size=len(hours))

windows = np.lib.stride_tricks.sliding_window_view(series, 49)  # no copy is made
X, y = windows[:, :48], windows[:, 48]
X_train, y_train, X_test, y_test = X[:-336], y[:-336], X[-336:], y[-336:]

net = Network(
    [48, 64, 3], loss=Quantile((0.05, 0.5, 0.95)), optimizer=Adam(2e-3), seed=0
)
net.fit(X_train, y_train, epochs=40, verbose=0)
low, middle, high = net.predict(X_test).T
inside = np.mean((low <= y_test) & (y_test <= high))

ax = plt.subplots(figsize=(8, 3.4), layout="constrained")[1]
t = np.arange(len(y_test)) / 24
ax.fill_between(t, low, high, alpha=0.25, label="90 % band")
ax.plot(t, middle, label="forecast, an hour ahead")
ax.plot(t, y_test, "k.", markersize=3, label="what came")
ax.set(xlabel="day", ylim=(-2.8, 2))
ax.set_title(f"{100 * inside:.0f} % of the values are in the band", loc="left")
ax.legend(ncols=3, loc="lower center")
plt.show()
