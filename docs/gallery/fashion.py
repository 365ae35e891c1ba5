"""Fashion-MNIST: what is mistaken for what

A confusion matrix says more than an accuracy: most errors are shirts. Without the data
set (FASTNN_DATA names its folder) the same is drawn for the digits that come with
fastnn.
"""

import os

import matplotlib.pyplot as plt

from fastnn import Adam, Dense, Dropout, Network, datasets, metrics, plotting

if "FASTNN_DATA" in os.environ:
    X, y, X_test, y_test = datasets.fashion_mnist()
    names, highest, epochs = datasets.FASHION_MNIST_CLASSES, 255, 6
else:
    X, y, X_test, y_test = datasets.digits()
    names, highest, epochs = None, 16, 30

net = Network(
    [X.shape[1], Dense(128, "relu"), Dropout(0.1), Dense(10)],
    optimizer=Adam(0.002),
    input_scale=1 / highest,
    seed=0,
)
net.fit(X, y, epochs=epochs, batch_size=128, verbose=0)

matrix = metrics.confusion_matrix(y_test, net.predict(X_test))
ax = plt.subplots(figsize=(6, 5.2), layout="constrained")[1]
plotting.plot_confusion_matrix(matrix, names, ax)
ax.set_title(f"{100 * net.score(X_test, y_test):.1f} % right", loc="left")
plt.show()
