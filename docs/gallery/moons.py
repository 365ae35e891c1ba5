"""What hidden units do

Each unit of the first layer is a line in the plane, and the boundary can only bend
where it crosses one: two units make a corner or two, sixteen a curve.
"""

import matplotlib.pyplot as plt

from fastnn import Adam, Network, datasets, fit_many, plotting

X, y = datasets.moons(300, noise=0.15, seed=0)
sizes = [2, 4, 16]
nets = [Network([2, n, 2], optimizer=Adam(0.02), seed=3) for n in sizes]
fit_many(nets, X, y, epochs=150, batch_size=32, verbose=0)

axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained", sharey=True)[1]
for ax, net, n in zip(axes, nets, sizes, strict=True):
    plotting.plot_decision_boundary(net, X, y, ax=ax, hidden_units=True)
    ax.get_legend().remove()
    ax.set_title(f"{n} units: {100 * net.score(X, y):.0f} %", loc="left")
    ax.label_outer()
plt.show()
