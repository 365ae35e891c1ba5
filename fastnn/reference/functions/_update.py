"""What the stateless updates share: checks, and NumPy's warnings silenced."""

from dataclasses import asdict

import numpy as np

from fastnn._base.fields import check_integer, check_number
from fastnn._base.types import Array
from fastnn._plan.functions import check_update
from fastnn.optimizers import Optimizer
from fastnn.reference._updates import UPDATES, decay


def update(
    rule: str,
    optimizer: Optimizer,
    w: Array,
    dw: Array,
    step: int = 1,
    **state: Array,
) -> None:
    """Decay w, and update it and its state in place by a rule of UPDATES."""
    check_update(w, dw, **state)
    step = check_integer("step", step, 1)
    rate = check_number(
        "learning_rate", optimizer.learning_rate, "a finite number > 0", lambda x: x > 0
    )
    function, names = UPDATES[rule]
    values = {**asdict(optimizer), "step": step}
    with np.errstate(all="ignore"):
        if optimizer.weight_decay:
            decay(w, rate, optimizer.weight_decay)
        function(w, dw, *state.values(), **{name: values[name] for name in names})
