"""C for a microcontroller

A network becomes one C header without dependencies; here it straightens the curve of a
temperature sensor, compiled and run with the C compiler of this machine.
"""

import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fastnn import Adam, Dense, Network
from fastnn.schedules import OneCycle

volts = np.linspace(0.2, 3.1, 400)[:, None]
celsius = 1 / (1 / 298.15 + np.log(volts / (3.3 - volts)) / 3950) - 273.15

scale = celsius.std()
net = Network(
    [1, Dense(12, "tanh"), Dense(12, "tanh"), Dense(1)],
    loss="mse", optimizer=Adam(OneCycle(0.03, epochs=400)), seed=0,
    input_scale=1 / 1.5, input_shift=-1.1,
)  # fmt: skip
net.fit(volts, (celsius - celsius.mean()) / scale, epochs=400, batch_size=32, verbose=0)

MAIN = """
#include <stdio.h>
#include "sensor.h"
int main(void) {
  float x[1], out[1];
  while (scanf("%f", x) == 1) { sensor_predict(x, out); printf("%f\\n", out[0]); }
  return 0;
}
"""
with tempfile.TemporaryDirectory() as folder:
    net.to_c(Path(folder, "sensor.h"))
    Path(folder, "main.c").write_text(MAIN)
    build = ["cc", "-std=c99", "-Os", "main.c", "-lm", "-o", "main"]
    subprocess.run(build, cwd=folder, check=True)
    rows = "\n".join(f"{v:.6f}" for v in volts[:, 0])
    done = subprocess.run(
        [f"{folder}/main"], input=rows, capture_output=True, text=True, check=True
    )
found = np.array(done.stdout.split(), float) * scale + celsius.mean()

top, below = plt.subplots(2, sharex=True, layout="constrained", height_ratios=[2, 1])[1]
top.plot(volts, celsius, color="0.7", linewidth=6, label="the sensor's equation")
top.plot(volts, found, label=f"{net.n_parameters} weights in C")
top.set(ylabel="temperature, °C", title="a thermistor, straightened")
top.legend()
below.plot(volts, found - celsius[:, 0])
below.set(xlabel="volts", ylabel="error, °C")
plt.show()
