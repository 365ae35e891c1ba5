"""The same networks, losses and updates in PyTorch, without anything of fastnn's."""

import torch
from activations import ROWS
from torch.nn import functional

from fastnn.activations import as_activation


def activate(activation, z):
    """y := act(z), of the rows of `activations`."""
    spec = as_activation(activation)
    if spec.name == "softmax":
        return functional.softmax(z, dim=1)
    (row,) = (r for r in ROWS.values() if as_activation(r.activation) == spec)
    return row.torch(functional, z)


def losses(spec, z, y):
    """The loss of each row (m,)."""
    if spec.name == "softmax_cross_entropy":
        return functional.cross_entropy(
            z, y, reduction="none", label_smoothing=spec.label_smoothing
        )
    if spec.name == "focal":
        c = (
            functional.cross_entropy(z, y, reduction="none")
            if z.shape[1] > 1
            else functional.binary_cross_entropy_with_logits(
                z[:, 0], y.to(z.dtype), reduction="none"
            )
        )
        return (1 - torch.exp(-c)) ** spec.gamma * c
    if spec.name == "hinge":
        if z.shape[1] == 1:
            return torch.relu(1 - (2 * y - 1) * z[:, 0])
        return functional.multi_margin_loss(z, y, reduction="none")
    if spec.name == "gaussian_nll":
        return functional.gaussian_nll_loss(
            z[:, ::2], y, z[:, 1::2].exp(), eps=spec.epsilon, reduction="none"
        ).mean(dim=1)
    if spec.name == "quantile":
        levels = torch.tensor(spec.levels, dtype=z.dtype)
        d = y[:, :, None] - z.reshape(len(z), -1, len(levels))
        return torch.maximum(levels * d, (levels - 1) * d).mean(dim=(1, 2))
    y = y.to(z.dtype).reshape(z.shape)
    if spec.name == "binary_cross_entropy":
        return functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(
            dim=1
        )
    if spec.name == "huber":
        return functional.huber_loss(z, y, reduction="none", delta=spec.delta).mean(
            dim=1
        )
    if spec.name == "poisson":
        return functional.poisson_nll_loss(z, y, reduction="none").mean(dim=1)
    function = {"mse": functional.mse_loss, "mae": functional.l1_loss}[spec.name]
    return function(z, y, reduction="none").mean(dim=1)


def periodic(x, first, second):
    """Column by column, as the paper has it."""
    n_terms, _, n_columns = first.shape
    values = []
    for j in range(n_columns):
        angles = 2 * torch.pi * x[:, j : j + 1] * first[:, 0, j] + second[:n_terms, j]
        values.append(torch.cos(angles) @ first[:, 1:, j] + second[n_terms:, j])
        values.append(x[:, j : j + 1])
    return torch.cat([*values, x[:, n_columns:]], dim=1)


def piecewise_linear(x, layer, first, second):
    values, start = [], 0
    for j, edges in enumerate(layer.bins):
        edges = torch.tensor(edges)
        shares = (x[:, j : j + 1] - edges[:-1]) / torch.diff(edges)
        low, high = torch.zeros(len(edges) - 1), torch.ones(len(edges) - 1)
        low[0], high[-1] = -torch.inf, torch.inf
        shares = torch.minimum(torch.maximum(shares, low), high)
        W = first[start : start + len(edges) - 1]
        values.append(functional.linear(shares, W.T, second[j]))
        start += len(edges) - 1
    return torch.cat([*values, x[:, len(values) :]], dim=1)


def categories(x, layer, first):
    n_front, tables = x.shape[1] - len(layer.counts), first.split(layer.counts)
    values = [
        functional.embedding(code.long() + 1, functional.pad(table, (0, 0, 1, 0)))
        for code, table in zip(x[:, n_front:].T, tables, strict=True)
    ]
    return torch.cat([x[:, :n_front], *values], dim=1)


class Twin:
    """A network with the weights and statistics of an engine."""

    def __init__(self, engine):
        self.plan = plan = engine.plan
        self.pairs = [
            tuple(
                torch.tensor(array, requires_grad=plan.layers[i].trainable)
                for array in pair
            )
            for i, pair in zip(
                plan.parametric_layers, engine.get_weights(), strict=True
            )
        ]
        for i, (_, second) in zip(plan.parametric_layers, self.pairs, strict=True):
            if not getattr(plan.layers[i], "use_bias", True):
                second.requires_grad_(False)
        self.statistics = [
            None if pair is None else tuple(map(torch.tensor, pair))
            for pair in engine.get_statistics()
        ]
        self.parameters = [a for pair in self.pairs for a in pair if a.requires_grad]
        self.factors = [  # of each
            factors
            for i, pair in zip(plan.parametric_layers, self.pairs, strict=True)
            for a, factors in zip(pair, plan.layers[i].factors, strict=True)
            if a.requires_grad
        ]
        # Those that are penalised, decay and have limited columns.
        self.penalised = [
            W
            for i, (W, _) in zip(plan.parametric_layers, self.pairs, strict=True)
            if plan.layers[i].name == "dense" and W.requires_grad
        ]

    def forward(self, x, training=True):
        pairs = iter(self.pairs)
        for layer, statistics in zip(self.plan.layers, self.statistics, strict=True):
            first, second = next(pairs)
            if layer.name == "dense":
                z = x @ first + second
            elif layer.name == "scale":
                z = x * first
            elif layer.name == "periodic_embedding":
                z = periodic(x, first, second)
            elif layer.name == "piecewise_linear_embedding":
                z = piecewise_linear(x, layer, first, second)
            elif layer.name == "embedding":
                z = categories(x, layer, first)
            elif layer.name == "parametric_activation":
                z = x + first * (activate(layer.function, x) - x)
            elif layer.name == "layer_norm":
                z = functional.layer_norm(x, x.shape[1:], first, second, layer.epsilon)
            else:
                z = functional.batch_norm(
                    x,
                    *statistics,
                    first,
                    second,
                    training and layer.trainable,
                    layer.momentum,
                    layer.epsilon,
                )
            x = activate(layer.activation, z)
        return x

    def backward(self, X, y, weight=None):
        """The mean loss; its gradients are then in the parameters."""
        for parameter in self.parameters:
            parameter.grad = None
        each = losses(self.plan.loss, self.forward(torch.tensor(X)), torch.tensor(y))
        w = torch.ones_like(each) if weight is None else torch.tensor(weight)
        loss = (each * w).sum() / w.sum()
        loss.backward()
        return loss.item()

    def gradients(self):
        """As `loss_and_gradients` has them."""
        return [
            tuple(torch.zeros_like(a) if a.grad is None else a.grad for a in pair)
            for pair in self.pairs
        ]


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of X. Chen et al. 2023, which PyTorch does not have."""

    def __init__(self, parameters, lr, betas):
        super().__init__(parameters, dict(lr=lr, betas=betas))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta_1, beta_2 = group["betas"]
            for p in group["params"]:
                state = self.state[p]
                m = state.setdefault("m", torch.zeros_like(p))
                p -= group["lr"] * torch.sign(beta_1 * m + (1 - beta_1) * p.grad)
                state["m"] = beta_2 * m + (1 - beta_2) * p.grad


def rule_of(optimizer, parameters, rate):
    """PyTorch's optimizer for the rule alone."""
    betas = getattr(optimizer, "beta_1", 0), getattr(optimizer, "beta_2", 0)
    epsilon = getattr(optimizer, "epsilon", 0)
    if optimizer.name == "sgd":
        return torch.optim.SGD(
            parameters,
            rate,
            momentum=optimizer.momentum,
            nesterov=optimizer.nesterov,
        )
    if optimizer.name == "rmsprop":
        return torch.optim.RMSprop(parameters, rate, alpha=optimizer.rho, eps=epsilon)
    if optimizer.name == "adagrad":
        return torch.optim.Adagrad(parameters, rate, eps=epsilon)
    if optimizer.name == "lion":
        return Lion(parameters, rate, betas)
    if optimizer.name == "nadam":
        return torch.optim.NAdam(
            parameters, rate, betas, epsilon, momentum_decay=optimizer.momentum_decay
        )
    return torch.optim.Adam(parameters, rate, betas, epsilon)


class Update:
    """An optimizer of fastnn's in PyTorch's terms, with what belongs to all of them.

    PyTorch's own clip_grad_norm_ divides by the norm plus 1e-6, and renorm by the norm
    plus 1e-7: they are written out here, and compared by a test of their own.
    """

    def __init__(self, optimizer, twin, rate):
        self.optimizer, self.twin, self.steps = optimizer, twin, 0
        groups = [{"params": [each]} for each in twin.parameters]
        self.rule = rule_of(optimizer, groups, rate)

    @torch.no_grad()
    def step(self, rate):
        o, parameters = self.optimizer, self.twin.parameters
        penalised = self.twin.penalised
        gradients = [p.grad for p in parameters]
        if o.clip_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, o.clip_value)
        if o.clip_norm is not None:
            norm = torch.linalg.vector_norm(torch.cat([g.ravel() for g in gradients]))
            for g in gradients:
                g *= min(1.0, o.clip_norm / norm.item())
        for W in penalised:
            W.grad += o.l1 * torch.sign(W) + o.l2 * W
        weight_decay = o.weight_decay
        if callable(weight_decay):
            weight_decay = weight_decay(self.steps)
        self.steps += 1
        limited = []
        for group, f in zip(self.rule.param_groups, self.twin.factors, strict=True):
            (parameter,) = group["params"]
            parameter *= 1 - rate * f.rate * weight_decay * f.decay
            group["lr"] = rate * f.rate
            if hasattr(o, "epsilon"):
                group["eps"] = o.epsilon * f.epsilon
            if getattr(o, "epsilon_hat", False):
                group["eps"] /= (1 - o.beta_2**self.steps) ** 0.5
            if f.rate and any(parameter is W for W in penalised):
                limited.append(parameter)
        self.rule.step()
        if o.max_norm is not None:
            for W in limited:
                norms = torch.linalg.vector_norm(W, dim=0)
                W *= torch.clamp(o.max_norm / norms, max=1.0)
