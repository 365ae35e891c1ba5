"""Stop, save, load and resume

A training that is stopped halfway, saved to a file, loaded and resumed ends with the
same bits as one that never stopped.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from fastnn import Adam, Network, datasets
from fastnn.schedules import Cosine

X, y, X_test, y_test = datasets.digits()
validation = {"X_val": X_test, "y_val": y_test, "verbose": 0}


def new():
    rate = Adam(Cosine(0.005, epochs=40))
    return Network([64, 64, 10], optimizer=rate, input_scale=1 / 16, seed=0)


whole = new()
history = whole.fit(X, y, epochs=40, **validation)

first = new()
before = first.fit(X, y, epochs=15, **validation)
with tempfile.TemporaryDirectory() as folder:
    first.save(Path(folder, "half.safetensors"))
    second = Network.load(Path(folder, "half.safetensors"))
after = second.fit(X, y, epochs=40, resume=True, **validation)
assert (second.predict_proba(X_test) == whole.predict_proba(X_test)).all()

ax = plt.subplots(layout="constrained")[1]
loss = history.history["val_loss"]
ax.plot(history.epochs, loss, color="0.8", linewidth=7, label="without a stop")
ax.plot(before.epochs, before.history["val_loss"], label="until the stop")
ax.plot(after.epochs, after.history["val_loss"], label="after loading")
ax.set(yscale="log", xlabel="epoch", ylabel="validation loss")
ax.set_title("the same bits", loc="left")
ax.legend()
plt.show()
