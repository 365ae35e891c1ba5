"""When to stop

The training loss keeps falling, the validation loss does not: early stopping restores
the weights of the best epoch, which the picture marks.
"""

import matplotlib.pyplot as plt

from fastnn import EarlyStopping, Network, datasets, plotting

X, y, X_test, y_test = datasets.digits()
net = Network([64, 256, 10], input_scale=1 / 16, seed=0)
history = net.fit(
    X[:400],
    y[:400],
    epochs=200,
    batch_size=32,
    X_val=X_test,
    y_val=y_test,
    callbacks=[EarlyStopping(patience=25)],
    verbose=0,
)

plotting.plot_history(history)
plt.show()
