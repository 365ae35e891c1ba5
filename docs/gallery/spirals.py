"""Three spirals

Two hidden layers wind a boundary between three spiral arms; the rows that end up on the
wrong side are circled.
"""

import matplotlib.pyplot as plt

from fastnn import Adam, Network, datasets, plotting

X, y = datasets.spirals(150, n_classes=3, noise=0.12, seed=0)
net = Network([2, 64, 64, 3], optimizer=Adam(0.01), seed=0)
net.fit(X, y, epochs=150, batch_size=32, verbose=0)

ax = plotting.plot_decision_boundary(net, X, y)
ax.set_title(f"{100 * net.score(X, y):.1f} % of {len(y)} points", loc="left")
plt.show()
