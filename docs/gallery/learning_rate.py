"""Find a learning rate

The rate grows with every update of a copy of the network until the loss runs away; a
tenth of the best rate is a good one to start with.
"""

import matplotlib.pyplot as plt

from fastnn import Network, datasets, plotting

X, y, X_test, y_test = datasets.digits()
net = Network([64, 64, 10], input_scale=1 / 16, seed=0)
search = net.find_learning_rate(X, y, stop=100.0)

plotting.plot_rate_search(search)
plt.show()
