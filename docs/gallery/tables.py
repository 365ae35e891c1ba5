"""A table with text and gaps

A schema turns named columns, words and missing cells into inputs, and is saved with the
network; here it learns the rents of flats that do not exist.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastnn import EarlyStopping, Network, Schema, plotting

rng = np.random.default_rng(0)
n = 3000
size = rng.gamma(6, 12, n)
district = rng.choice(["harbour", "old town", "station"], n)
year = np.where(rng.random(n) < 0.2, np.nan, rng.integers(1890, 2020, n))
factor = np.select([district == "harbour", district == "old town"], [14, 18], 11)
rent = 250 + size * factor + 2 * (np.nan_to_num(year, nan=1950) - 1950)
rent *= rng.lognormal(0, 0.08, n)

train, test = np.arange(n) < 2400, np.arange(n) >= 2400
table = {"size": size, "district": district, "year": year}
rows = {name: column[train] for name, column in table.items()}
schema = Schema.from_table(rows)
print(schema.input_names)

net = Network([schema.n_inputs, 64, 64, 1], loss="huber", seed=0)
net.schema = schema
centre, width = rent[train].mean(), rent[train].std()
net.fit(
    rows,
    (rent[train] - centre) / width,
    epochs=200,
    validation_split=0.2,
    callbacks=[EarlyStopping(patience=15)],
    verbose=0,
)

rows = {name: column[test] for name, column in table.items()}
ax = plotting.plot_predictions(rent[test], net.predict(rows)[:, 0] * width + centre)
ax.set_title("rents of 600 flats that were held out", loc="left")
plt.show()
