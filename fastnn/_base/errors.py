"""The exceptions that are fastnn's own; every other error is a built-in one."""


class BusyError(RuntimeError):
    """Another thread is using the network in a way that excludes this call.

    Any number of threads may predict at the same time. Training and changing the
    weights need the network for themselves: a second ``fit``, or a ``predict`` while
    another thread fits, raises this error at once instead of waiting or racing.
    """


class TrainingDiverged(RuntimeError):
    """A loss, a gradient or a new weight became infinite or not a number.

    The network keeps the weights, the optimizer state and the step count of the last
    step whose results were finite, so it can be inspected, saved or trained again, for
    example with a smaller learning rate.
    """


class ModelFormatError(ValueError):
    """A model file, or a part of one, is not what fastnn writes or can take."""
