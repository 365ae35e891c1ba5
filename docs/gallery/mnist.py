"""Handwritten digits, and the errors that remain

Trains on MNIST where the environment variable FASTNN_DATA names a folder that has it,
and otherwise on the small digits that come with fastnn; then shows what is still read
wrongly.
"""

import os

import matplotlib.pyplot as plt

from fastnn import Adam, Network, datasets, plotting
from fastnn.schedules import OneCycle

if "FASTNN_DATA" in os.environ:  # 60,000 images of 28 x 28 pixels, 0 to 255
    X, y, X_test, y_test = datasets.mnist()
    widths, highest, epochs = [784, 128, 10], 255, 8
else:  # 1,437 images of 8 x 8 pixels, 0 to 16
    X, y, X_test, y_test = datasets.digits()
    widths, highest, epochs = [64, 64, 10], 16, 40

rate = OneCycle(0.004, epochs=epochs)
net = Network(widths, optimizer=Adam(rate), input_scale=1 / highest, seed=0)
net.fit(X, y, epochs=epochs, batch_size=128, verbose=0)

print(f"test accuracy {net.score(X_test, y_test):.4f}")
ax = plotting.plot_misclassified(net, X_test, y_test, n_images=15)
plt.show()
