"""What the first layer looks for

Weights drawn as images, the strongest units first and all on one scale: red pixels
speak for a unit, blue ones against it. Strong weight decay has removed what was of
no use.
"""

import os

import matplotlib.pyplot as plt

from fastnn import AdamW, Network, datasets, plotting

if "FASTNN_DATA" in os.environ:  # MNIST, 28 x 28 pixels
    X, y, _, _ = datasets.mnist()
    X, y, highest = X[:12000], y[:12000], 255
else:  # the digits that come with fastnn, 8 x 8
    X, y, _, _ = datasets.digits()
    highest = 16

net = Network(
    [X.shape[1], 40, 10],
    optimizer=AdamW(0.002, weight_decay=1.0),
    input_scale=1 / highest,
    seed=0,
)
net.fit(X, y, epochs=20, verbose=0)

plotting.plot_weights(net, n_units=24)
plt.show()
