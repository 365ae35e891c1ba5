"""`Network`: the public face of a multilayer perceptron.

All its state is in a `Model`, and its methods call the functions that do the work:
training is in `_core/training`, files and other software are in `_core/exchange`. They
are imported where they are first called, so that `import fastnn` stays light.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ._base.names import ELSEWHERE, forgiving
from ._core.model.model import Model
from ._core.model.seeds import parse_seed
from ._plan import inputs
from ._plan.plan import Plan, make_plan
from ._plan.targets import parse_target_scaling
from ._plan.traps import warn_of_linear_layers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from ._base.types import Array
    from ._core.training.rate_search import RateSearch
    from ._plan.schema import Schema
    from .callbacks import Callback, History
    from .layers import Layer
    from .losses import Loss
    from .optimizers import Optimizer

__all__ = ["Network", "fit_many", "model_of", "network_of"]

_VALIDATION = {"validation_data": ("X_val", "y_val", "sample_weight_val")}


class Network:
    """A multilayer perceptron: layers, loss, optimizer, and the state of training.

    Layer i computes ``y := activation(x @ W + b)``; the loss of a batch is
    ``sum_i w_i l_i / sum_i w_i`` over its rows, with sample weights ``w_i``.

    Parameters
    ----------
    layers : list
        The number of inputs, then the layers: objects of `fastnn.layers`, or ints for
        Dense layers with ReLU in between and none on the last one.
    loss : str, Loss or callable, default "softmax_cross_entropy"
        From the raw outputs of the last layer, natural logarithm. Or a function of
        (outputs, targets), slower: `fastnn.losses.OwnLoss`.
    optimizer : str or Optimizer, default "adam"
        A name of `fastnn.optimizers.OPTIMIZERS`, or an object such as ``Adam(1e-3)``.
    dtype : {"float32", "float64", "bfloat16"}
        The type of the weights and of all arithmetic. "bfloat16" is float32 but for the
        operands of the dense layers' products, which are rounded to bfloat16
        (`fastnn.reference.round_to_bfloat16`); sums, weights, gradients and optimizer
        state stay float32, also in files. Almost twice as fast for large layers, on
        CPUs with AVX512-BF16 that multiply such pairs faster; where it is slower than
        float32, the first such network warns with the rates that were measured (see
        ``fastnn.build_info()``).
    seed : int, optional
        At least 0, below 2**64. Determines the initial weights and every shuffle; drawn
        from the system's entropy if None, and then found in `Network.seed`.
    backend : {"native", "numpy"}
        The C engine, or its readable reference in NumPy with the same meaning.
    num_threads : int, optional
        The most threads the native engine may use; None for all that this process may
        run on. Results do not depend on it.
    input_scale, input_shift : float or array_like (n_inputs,), default 1 and 0
        ``x := x * input_scale + input_shift`` is applied to all data as it is read,
        so that pixels stay uint8: ``input_scale=1/255``. Saved with the model.
    target_scale : "auto" or (mean, deviation), optional
        Learn ``(y - mean) / deviation`` of quantities y, and predict in their units:
        usual learning rates then suit any y. Each may be a number or one per target;
        "auto" is that of the rows of the first fit, weighted. Losses, also those of
        `evaluate`, and raw outputs are of the scaled targets; metrics, like what is
        predicted, are in the units of y. Saved with the model, and part of exports.
    target_range : "auto" or (low, high), optional
        Keep what is predicted within; "auto": from the least to the greatest y of the
        rows of the first fit. Training does not see it.

    Attributes
    ----------
    stop_training : bool
        Set to True by a callback to end `fit` after the epoch.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Any number of threads may predict with one network at the same time. To train it, or
    change its weights, while another thread uses it raises `BusyError`.

    Examples
    --------
    >>> import fastnn
    >>> X_train, y_train, X_test, y_test = fastnn.datasets.digits()
    >>> net = fastnn.Network([64, 32, 10], input_scale=1 / 16, seed=0)
    >>> history = net.fit(X_train, y_train, epochs=20, verbose=0)
    >>> history.history["accuracy"][-1] > 0.9
    True
    >>> net.predict(X_test[:5]).shape, net.predict_proba(X_test[:5]).shape
    ((5,), (5, 10))
    """

    _model: Model

    @forgiving
    def __init__(
        self,
        layers: Sequence[int | Layer],
        *,
        loss: str | Loss | Callable[..., Any] = "softmax_cross_entropy",
        optimizer: str | Optimizer = "adam",
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        backend: str = "native",
        num_threads: int | None = None,
        input_scale: ArrayLike = 1.0,
        input_shift: ArrayLike = 0.0,
        target_scale: str | tuple[ArrayLike, ArrayLike] | None = None,
        target_range: str | tuple[ArrayLike, ArrayLike] | None = None,
    ) -> None:
        plan = make_plan(layers, loss, optimizer, dtype)
        warn_of_linear_layers(plan)
        seed = parse_seed(seed)
        scaling = inputs.check_input_scaling(input_scale, input_shift, plan.n_inputs)
        targets = parse_target_scaling(target_scale, target_range, plan)
        self._model = Model.initial(plan, seed, scaling, backend, num_threads, targets)

    # Training

    @partial(forgiving, others=_VALIDATION)
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        epochs: int = 10,
        batch_size: int = 64,
        shuffle: bool = True,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        validation_split: float = 0.0,
        callbacks: Iterable[Callback] | Callback = (),
        verbose: int = 1,
        *,
        input_scale: ArrayLike | None = None,
        input_shift: ArrayLike | None = None,
        resume: bool = False,
        metrics: Iterable[str | Callable[..., Any]] = (),
        time_limit: float | None = None,
        accumulate: int = 1,
        rows: ArrayLike | None = None,
        rows_val: ArrayLike | None = None,
        communicator: Any = None,
        shards: int = 8,
    ) -> History:
        """Train for a number of epochs, going on from the weights as they are.

        So do the state of the optimizer and the schedule of its learning rate: a second
        fit begins with the rate of update `step`, not with that of update 0.

        Every check is made before anything changes. Ctrl-C stops on a step boundary;
        the network is then usable, and ``fit(..., resume=True)`` goes on.

        Parameters
        ----------
        X : array_like (n, n_inputs), or a table
            bool, integers or floats, in any layout; batches are converted as they are
            used, the whole set never. Or a table with named columns, see `schema`.
        y : array_like (n,) or (n, n_outputs)
            Labels 0..n_outputs-1, or one-hot or soft targets whose rows sum to 1; for
            "binary_cross_entropy" labels 0 and 1 of a single output, or a matrix of
            values 0 to 1; for all other losses a matrix of numbers, or (n,) of a single
            output.
        epochs : int, default 10
            Passes over the data.
        batch_size : int, default 64
            Rows per step; the last batch of an epoch has the rest.
        shuffle : bool, default True
            Take the rows of each epoch in an order drawn from the seed and the number
            of the epoch.
        sample_weight : array_like (n,), optional
            Finite weights >= 0. A row of weight 0 adds nothing to loss, accuracy and
            gradient; in the statistics of `BatchNorm` it counts like any other.
        class_weight : dict or "balanced", optional
            A factor by class, 1 for classes left out; or one that makes the classes
            that occur count the same, as in scikit-learn. Needs one class per row, as a
            label or one-hot.
        X_val, y_val, sample_weight_val : array_like, optional
            Evaluated after each epoch, as "val_loss" and, of classes, "val_accuracy".
        validation_split : float, default 0.0
            Instead of X_val: hold out this share of the rows, the last ones; warns if
            they are sorted by class.
        callbacks : Callback or sequence of Callback
            See `Callback`.
        verbose : {0, 1, 2} or bool, default 1
            Silent, a progress bar, or one line per epoch.
        input_scale, input_shift : float or array_like (n_inputs,), optional
            Replace those of the network from here on.
        resume : bool, default False
            Go on with the last fit, within the epoch that an interrupt ended, as if it
            had been given these arguments: with the same data and arguments, the result
            has the bits of an uninterrupted fit, also after `save` and `load`. It
            trains nothing if the last fit had all its `epochs`. Callbacks that remember
            (`EarlyStopping`, `ReduceOnPlateau`, ...) are not part of the network: give
            the same objects; new ones start afresh.
        metrics : sequence of str or callable, default ()
            What else to evaluate after each epoch on the validation data, never on the
            training data, as "val_<name>". Of classes "accuracy", "precision",
            "recall", "f1" (of class 1 of two, else the mean over classes), "roc_auc"
            and "top_<k>_accuracy"; of other losses "r2", "mean_squared_error" and
            "mean_absolute_error"; see `fastnn.metrics`, whose functions may be given
            too, also as `functools.partial` with options. A function of your own is
            called with the true and the predicted labels (of classes) or values,
            without weights, and returns a number.
        time_limit : float, optional
            Seconds of wall time, after which the training stops between two updates,
            as after Ctrl-C but without an exception: an unfinished epoch is not in the
            history, `cursor` says how far it came, and ``resume=True`` goes on to the
            bit. At least one update is made, unless that takes 0.5 s longer than the
            limit: then it is left, and nothing has changed.
        accumulate : int, default 1
            Mini-batches per update, whose gradient is that of all their rows together.
            The last update of an epoch has the rest.
        rows, rows_val : array_like (k,), optional
            Numbers of rows of X, or masks (n,): to train on these, and to validate on
            those. The result has the bits of a fit on ``X[rows]``, which is not made;
            only rows to validate on that do not follow each other are copied.
        communicator : mpi4py.MPI.Intracomm, optional
            Train on all its ranks, each of which makes this call with **its own rows**
            (`fastnn.rows_of_rank`) as X, y and X_val, and with the same network. Rank 0
            shows the progress and writes the files. See "One model on several
            machines" in the documentation for what is not possible then.
        shards : int, default 8
            With a communicator: a power of two, and a multiple of the number of ranks.
            All data are cut into as many shards, each of which gives as many rows to
            every mini-batch (and has its own statistics in `BatchNorm`, of which the
            mean is kept). On their number depend the bits of the result, not on the
            number of ranks.

        Returns
        -------
        History
            ``.history``: a dict with one list per quantity, one value per epoch:
            "loss" and, if the targets are classes, "accuracy"; those of validation.

        Raises
        ------
        TypeError, ValueError
            An argument is not as described; nothing has changed.
        TrainingDiverged
            The loss or a weight became infinite or NaN. The weights are those of the
            last finite step.
        BusyError
            Another thread trains or predicts.

        Examples
        --------
        >>> import fastnn
        >>> X_train, y_train, X_test, y_test = fastnn.datasets.digits()
        >>> net = fastnn.Network([64, 32, 10], input_scale=1 / 16, seed=0)
        >>> history = net.fit(
        ...     X_train, y_train, epochs=5, X_val=X_test, y_val=y_test, verbose=0
        ... )
        >>> sorted(history.history)
        ['accuracy', 'loss', 'val_accuracy', 'val_loss']
        """
        from ._core.training.loop import train
        from ._core.training.rows import prepare_rows

        prepare = partial(
            prepare_rows, self._model, self, X, y, epochs=epochs,
            batch_size=batch_size, shuffle=shuffle, sample_weight=sample_weight,
            class_weight=class_weight, validation=(X_val, y_val, sample_weight_val),
            validation_split=validation_split, callbacks=callbacks, verbose=verbose,
            scaling=(input_scale, input_shift), resume=resume, metrics=metrics,
            time_limit=time_limit, accumulate=accumulate, rows=rows, rows_val=rows_val,
        )  # fmt: skip
        if communicator is not None:
            from ._core.training.shards import fit_on_ranks

            return fit_on_ranks(communicator, shards, *prepare.args, **prepare.keywords)
        return train(self._model, prepare)

    @partial(forgiving, others=_VALIDATION)
    def fit_chunks(
        self,
        chunks: Iterable[Any] | Callable[[], Iterable[Any]],
        epochs: int = 1,
        batch_size: int = 64,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        callbacks: Iterable[Callback] | Callback = (),
        verbose: int = 1,
        *,
        metrics: Iterable[str | Callable[..., Any]] = (),
        time_limit: float | None = None,
        accumulate: int = 1,
    ) -> History:
        """Train on data that comes in chunks, each of which is trained on in its turn.

        For data that does not fit into memory, or is made as it is used. An epoch is
        one pass over the chunks; its loss is the weighted mean over all their rows.

        Parameters
        ----------
        chunks : iterable of (X, y) or (X, y, sample_weight), or callable
            Or a function without arguments that returns such an iterable, called for
            each epoch: a generator can be read only once. Memory maps are read batch by
            batch.
        epochs : int, default 1
            Passes over the chunks.
        batch_size : int, default 64
            Rows per step; the last batch of each chunk has the rest.
        shuffle : bool, default True
            Take the rows of each chunk in an order drawn from the seed and the numbers
            of epoch and chunk. The chunks keep their order.
        class_weight : dict, optional
            A factor by class, 1 for classes left out, as for `fit`.
        X_val, y_val, sample_weight_val, callbacks, verbose, metrics, accumulate
            As for `fit`.
        time_limit : float, optional
            Seconds of wall time, after which the training stops between two updates.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            An argument is not as described, and nothing has changed; or a chunk, whose
            number is named: the chunks before it have been trained on.
        TrainingDiverged, BusyError
            As for `fit`.

        Notes
        -----
        An epoch that Ctrl-C, an error or the time limit ends early does not count, and
        cannot be resumed within; its updates stay.

        Examples
        --------
        >>> import fastnn
        >>> X_train, y_train, X_test, y_test = fastnn.datasets.digits()
        >>> def chunks():
        ...     for start in range(0, len(X_train), 500):
        ...         yield X_train[start : start + 500], y_train[start : start + 500]
        >>> net = fastnn.Network([64, 32, 10], input_scale=1 / 16, seed=0)
        >>> history = net.fit_chunks(chunks, epochs=20, verbose=0)
        >>> net.score(X_test, y_test) > 0.9
        True
        """
        from ._core.training.chunks import prepare_chunks
        from ._core.training.loop import train

        prepare = partial(
            prepare_chunks, self._model, self, chunks, epochs=epochs,
            batch_size=batch_size, shuffle=shuffle, class_weight=class_weight,
            validation=(X_val, y_val, sample_weight_val), callbacks=callbacks,
            verbose=verbose, metrics=metrics, time_limit=time_limit,
            accumulate=accumulate,
        )  # fmt: skip
        return train(self._model, prepare)

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        batch_size: int = 64,
    ) -> Network:
        """Train for one epoch, silently; it never stops early. Returns the network.

        The state of the optimizer is kept from call to call, so that
        ``for _ in range(k): net.partial_fit(X, y)`` has the bits of
        ``net.fit(X, y, epochs=k)``. The arguments are those of `fit`.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 8, 2], seed=0)
        >>> net.partial_fit(np.eye(2), [0, 1]).epoch
        1
        """
        self.fit(X, y, 1, batch_size, sample_weight=sample_weight, verbose=0)
        return self

    def train_on_batch(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Make one step on these rows; return the loss before the update.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 8, 2], optimizer=fastnn.SGD(0.1), seed=0)
        >>> first = net.train_on_batch(np.eye(2), [0, 1])
        >>> net.train_on_batch(np.eye(2), [0, 1]) < first
        True
        """
        model = self._model
        if model.targets is not None:
            return model.engine.train_step(*model.check_rows(X, y, sample_weight))
        # Each call counts: the engine checks its arguments itself.
        return model.engine.train_step(model.rows_of(X), y, sample_weight)

    def loss_and_gradients(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, list[tuple[Array, Array]]]:
        """Return the loss and its gradient [(dW (n_in, n_out), db (n_out,)), ...].

        Those of the next update, as `train_on_batch` would find them: `Dropout` drops,
        and `BatchNorm` takes the statistics of these rows. Nothing changes, so a loop
        that sets weights itself drops the same units every time, and its batch norms
        never learn their statistics: `apply_gradients` makes an update of them.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 8, 2], seed=0)
        >>> loss, gradients = net.loss_and_gradients(np.eye(2), [0, 1])
        >>> [(dW.shape, db.shape) for dW, db in gradients]
        [((2, 8), (8,)), ((8, 2), (2,))]
        """
        rows = self._model.check_rows(X, y, sample_weight)
        return self._model.engine.loss_and_gradients(*rows)

    def backward(
        self, X: ArrayLike, d_outputs: ArrayLike
    ) -> tuple[list[tuple[Array, Array]], Array]:
        """Return the gradients of ``sum(net(X, training=True) * d_outputs)``.

        Wrt all parameters, [(dW, db), ...] as `loss_and_gradients` has them and
        `apply_gradients` takes them, and wrt X, (n, n_inputs). With d_outputs the
        gradient of any function of the raw outputs, they are that function's gradients:
        of a loss of your own, of another model that takes them, of a policy. The pass
        is that of the next update, as for `loss_and_gradients`: `Dropout` drops,
        `BatchNorm` takes the statistics of these rows, what is frozen has a gradient of
        zeros. Nothing changes.

        Parameters
        ----------
        X : array_like (n, n_inputs), or a table
            Of a table, and of codes of categories, d_inputs is that of the inputs as
            encoded; of codes it is 0.
        d_outputs : array_like (n, n_outputs)
            Finite.

        Raises
        ------
        TypeError, ValueError
            An argument is not as described.
        BusyError
            Another thread uses the network.

        Examples
        --------
        A step down the mean of the fourth power of the errors:

        >>> import numpy as np, fastnn
        >>> X, t = np.linspace(-1, 1, 64)[:, np.newaxis], np.ones((64, 1))
        >>> net = fastnn.Network([1, 16, 1], loss="mse", dtype="float64", seed=0)
        >>> error = net(X, training=True) - t
        >>> gradients, d_inputs = net.backward(X, 4 * error**3 / len(X))
        >>> net.apply_gradients(gradients)
        >>> bool(np.mean((net(X) - t) ** 4) < np.mean(error**4)), d_inputs.shape
        (True, (64, 1))
        """
        return self._model.backward(self._model.rows_of(X), d_outputs)

    def __call__(self, X: ArrayLike, training: bool = False) -> Array:
        """Return the raw outputs (n, n_outputs), as `decision_function` does.

        With ``training=True`` those of the pass of the next update, which `backward`
        and `loss_and_gradients` make: `Dropout` drops, `BatchNorm` takes the statistics
        of these rows.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 2], seed=0)
        >>> net.set_weights([(np.eye(2), np.array([0.5, 0]))])
        >>> net([[3, 5]])
        array([[3.5, 5. ]], dtype=float32)
        """
        rows = self._model.rows_of(X)
        if training:
            return self._model.engine.training_outputs(rows)
        return self._model.engine.forward(rows, "logits")

    def apply_gradients(self, gradients: Sequence[tuple[ArrayLike, ArrayLike]]) -> None:
        """Make one step by gradients that were worked out before.

        After ``loss_and_gradients(X, y)`` its gradients have the effect, to the bit, of
        ``train_on_batch(X, y)``; so do means or sums of those of several networks, or
        any others, in place of them. As in training they are clipped and penalised, the
        next update drops other units, and the statistics of `BatchNorm` become those
        that the last `loss_and_gradients` found, if nothing has set or trained them
        since.

        Parameters
        ----------
        gradients : list of (dW, db)
            As `loss_and_gradients` returns them.

        Raises
        ------
        TypeError, ValueError
            A shape does not fit or a value is not finite; nothing has changed.
        TrainingDiverged
            A new weight is not finite; nothing has changed.

        Examples
        --------
        The mean of the gradients of two halves is that of the whole:

        >>> import numpy as np, fastnn
        >>> X, y = np.eye(4), np.array([0, 1, 1, 0])
        >>> net = fastnn.Network([4, 8, 2], seed=0)
        >>> halves = [net.loss_and_gradients(X[i::2], y[i::2])[1] for i in range(2)]
        >>> net.apply_gradients(
        ...     [((V + W) / 2, (a + b) / 2) for (V, a), (W, b) in zip(*halves)]
        ... )
        """
        pairs = inputs.check_weights(gradients, self.plan, "gradients")
        self._model.engine.apply_gradients(pairs)

    def find_learning_rate(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        batch_size: int = 64,
        *,
        start: float = 1e-6,
        stop: float = 10.0,
        steps: int = 200,
    ) -> RateSearch:
        """Return the loss at growing learning rates, and one that is worth a try.

        A copy of the network makes `steps` updates, whose rates grow from `start` to
        `stop` by a factor; it ends before if the loss becomes four times the least.
        Nothing of this network changes.

        Returns
        -------
        RateSearch
            ``.rates`` and ``.losses``, smoothed with 0.9, ``.suggestion``: a tenth of
            the rate with the least loss, and ``.plot()``.

        References
        ----------
        L. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.

        Examples
        --------
        >>> import fastnn
        >>> X_train, y_train, X_test, y_test = fastnn.datasets.digits()
        >>> net = fastnn.Network([64, 32, 10], input_scale=1 / 16, seed=0)
        >>> found = net.find_learning_rate(X_train, y_train)
        >>> net.optimizer = fastnn.Adam(found.suggestion)
        >>> 1e-4 < found.suggestion < 0.1
        True
        """
        from ._core.training.rate_search import search_rate

        limits = (start, stop)
        return search_rate(self._model, X, y, sample_weight, batch_size, steps, limits)

    # Prediction

    def predict(self, X: ArrayLike) -> Array:
        """Return the label of each row; for losses of quantities, the values.

        The most probable label, int64 (n,); of labels that are equally probable, the
        first is taken. With "binary_cross_entropy" whether each output is more probable
        than not: int64 (n,) of 0 and 1 for one output, (n, n_outputs) for several. With
        a loss that has no classes, the predicted values: always (n, n_outputs), in the
        network's dtype.

        Parameters
        ----------
        X : array_like (n, n_inputs), or a table
            Finite, in any dtype and layout that `fit` takes; a table if the network has
            a `schema`.

        Raises
        ------
        TypeError, ValueError
            X is not as described.
        BusyError
            Another thread trains the network.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 2], seed=0)
        >>> net.set_weights([(np.eye(2), np.zeros(2))])
        >>> net.predict([[3, 5], [7, 1]])
        array([1, 0])
        """
        output = "labels" if self.plan.loss.is_classifier else "values"
        return self._model.outputs(self._model.rows_of(X), output)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class; for losses of quantities, the values.

        Always (n, n_outputs), in the network's dtype; of quantities the same as
        `predict`. From the raw outputs z, ``p_j := exp(z_j) / sum_k exp(z_k)`` with
        softmax cross-entropy, ``p_j := 1 / (1 + exp(-z_j))`` with binary cross-entropy.
        Row i has the same bits whatever the other rows are (with ``backend="numpy"``,
        up to rounding). Arguments and errors are those of `predict`.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 2], seed=0)
        >>> net.set_weights([(np.zeros((2, 2)), np.log([1, 3]))])
        >>> net.predict_proba([[1, 2]]).round(4)
        array([[0.25, 0.75]], dtype=float32)
        """
        return self._model.outputs(self._model.rows_of(X))

    def decision_function(self, X: ArrayLike) -> Array:
        """Return the raw outputs of the last layer, (n, n_outputs).

        They are what softmax, the sigmoid or, with "poisson", exp turns into what
        `predict_proba` returns; with the other losses they are the predicted values,
        before `target_scale` brings them into the units of y. Arguments and errors are
        those of `predict`.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 2], seed=0)
        >>> net.set_weights([(np.eye(2), np.array([0.5, 0]))])
        >>> net.decision_function([[3, 5]])
        array([[3.5, 5. ]], dtype=float32)
        """
        return self._model.engine.forward(self._model.rows_of(X), "logits")

    def predict_one(self, x: ArrayLike, out: Array | None = None) -> Array:
        """Return the probabilities of one row x (n_inputs,), in microseconds.

        For losses of quantities, the values: a row of `predict_proba` in any case.

        Parameters
        ----------
        x : array_like (n_inputs,)
        out : ndarray (n_outputs,), optional
            Written to and returned: C-contiguous, writable, of the network's dtype, and
            apart from x.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 8, 2], seed=0)
        >>> x = np.array([0.5, -0.5], dtype="float32")
        >>> bool((net.predict_one(x) == net.predict_proba([x])[0]).all())
        True
        """
        return self._model.in_units(self._model.engine.predict_one(x, out))

    def evaluate(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Return {"loss": ..., "accuracy": ...}, the weighted means over the rows.

        ``sum_i w_i l_i / sum_i w_i``, and the same of whether the label of row i is the
        one predicted; the label of a soft target is its most probable one. With a loss
        that has no classes, there is only "loss". The arguments are those of `fit`.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 2], seed=0)
        >>> net.set_weights([(np.eye(2), np.zeros(2))])
        >>> net.evaluate([[9, 0], [0, 9], [9, 0]], [0, 1, 1])["accuracy"]
        0.6666666666666666
        """
        return self._model.evaluate(self._model.check_rows(X, y, sample_weight))

    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the accuracy; with a loss that has no classes, R2.

        The share of rows whose label is predicted, or the coefficient of determination
        as `fastnn.metrics.r2` defines it.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 2], seed=0)
        >>> net.set_weights([(np.eye(2), np.zeros(2))])
        >>> net.score([[9, 0], [0, 9], [9, 0], [9, 0]], [0, 1, 1, 0])
        0.75
        """
        from .metrics import r2

        rows = self._model.check_rows(X, y, sample_weight)
        if self.plan.loss.is_classifier:
            return self._model.evaluate(rows)["accuracy"]
        values = self._model.outputs(rows.X)[:, self.plan.point]
        return r2(self._model.unscaled(rows.y), values, sample_weight=rows[2])

    # Weights

    def get_weights(self) -> list[tuple[Array, Array]]:
        """Return copies of the weights, [(W (n_in, n_out), b (n_out,)), ...].

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([4, 8, 3], seed=0)
        >>> [(W.shape, b.shape) for W, b in net.get_weights()]
        [((4, 8), (8,)), ((8, 3), (3,))]
        """
        return self._model.engine.get_weights()

    def set_weights(self, weights: Sequence[tuple[ArrayLike, ArrayLike]]) -> None:
        """Set all weights from [(W (n_in, n_out), b (n_out,)), ...], copied.

        The state of the optimizer stays.

        Raises
        ------
        TypeError, ValueError
            A shape does not fit or a value is not finite; nothing has changed.

        Examples
        --------
        >>> import fastnn
        >>> net, twin = (fastnn.Network([4, 8, 3], seed=seed) for seed in (0, 1))
        >>> twin.set_weights(net.get_weights())
        """
        self._model.engine.set_weights(inputs.check_weights(weights, self.plan))

    def freeze(self, *layers: int) -> None:
        """Let training leave layers as they are, from the next update on.

        As ``trainable=False`` does from the start: weights, the running statistics of a
        `BatchNorm` and the state of the optimizer stay. Files keep what is frozen.

        Parameters
        ----------
        *layers : int
            Their numbers, as in `summary`, or from the end if negative. Without any:
            all that have parameters.

        Raises
        ------
        TypeError, ValueError
            There is no such layer, or it has no parameters; nothing has changed.
        BusyError
            Another thread is training or predicting.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([4, 8, 3], seed=0)
        >>> net.freeze()
        >>> net.unfreeze(-1)
        >>> [layer.trainable for layer in net.plan.layers]
        [False, True]
        """
        self._model.set_trainable(layers, False)

    def unfreeze(self, *layers: int) -> None:
        """Train layers again that are frozen; as `freeze`."""
        self._model.set_trainable(layers, True)

    def state_dict(self) -> dict[str, Array]:
        """Return copies of the weights under PyTorch's names and in its layout.

        The names are those of an ``nn.Sequential`` in which each activation is a module
        of its own: "0.weight" (n_out, n_in), "0.bias", "2.weight", ...

        Examples
        --------
        >>> import fastnn
        >>> state = fastnn.Network([4, 8, 3], seed=0).state_dict()
        >>> {name: array.shape for name, array in state.items()}
        {'0.weight': (8, 4), '0.bias': (8,), '2.weight': (3, 8), '2.bias': (3,)}
        """
        from ._core.exchange.state_dict import to_state_dict

        return to_state_dict(self.plan, *self._model.get_parameters())

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Set all weights from a dict as `state_dict` returns it, or PyTorch's.

        Raises
        ------
        ValueError
            A name is missing or unknown, a shape differs or a value is not finite; the
            message names the array as `state` does. Nothing has changed.
        """
        from ._core.exchange.state_dict import from_state_dict

        self._model.set_parameters(from_state_dict(self.plan, state))

    # Files

    def save(
        self, path: str | os.PathLike[str], *, include_optimizer: bool = True
    ) -> None:
        """Write the network to a safetensors file, all or nothing.

        The file has all that prediction and exact resumption need. It is written under
        a temporary name in the same folder and then renamed, so that a crash at any
        time leaves the old file or the new one. The same state gives the same bytes.

        Parameters
        ----------
        path : str or path-like
        include_optimizer : bool, default True
            False leaves out the state of the optimizer: Adam's makes a file three times
            as large. Training then goes on with fresh state.

        Raises
        ------
        OSError
            The file cannot be written; an old one is unchanged.

        Examples
        --------
        >>> import os, tempfile, fastnn
        >>> net = fastnn.Network([4, 8, 3], seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "model.safetensors")
        ...     net.save(path)
        ...     same = fastnn.Network.load(path)
        >>> bool((same.get_weights()[0][0] == net.get_weights()[0][0]).all())
        True
        """
        from ._core.exchange.model_file import save

        save(self._model.state(include_optimizer), path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        sha256: str | None = None,
        allow_non_finite: bool = False,
        backend: str = "native",
        num_threads: int | None = None,
    ) -> Network:
        """Read a network that `save` wrote; no code in the file is ever run.

        Parameters
        ----------
        path : str or path-like
        sha256 : str, optional
            The SHA-256 of the file in hexadecimal, as ``sha256sum`` prints it; any
            other file is refused.
        allow_non_finite : bool, default False
            Take weights that are infinite or NaN.
        backend, num_threads
            As for `Network`: they belong to the machine, not to the model.

        Raises
        ------
        ModelFormatError
            The file is damaged, or not what fastnn writes, or not the one pinned.
        OSError
            The file cannot be read.
        """
        from ._core.exchange.model_file import load

        state = load(path, sha256, allow_non_finite)
        return cls._of(Model.from_state(state, backend, num_threads))

    def __getstate__(self) -> dict[str, Any]:
        from ._core.exchange.model_file import to_bytes

        model, data = self._model, to_bytes(self._model.state())
        n = model.num_threads
        return {"model": data, "backend": model.backend, "num_threads": n}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from ._core.exchange.model_file import from_bytes

        made = from_bytes(state["model"])
        self._model = Model.from_state(made, state["backend"], state["num_threads"])

    @classmethod
    def _of(cls, model: Model) -> Network:
        """Return the network that is the face of a model."""
        network = cls.__new__(cls)
        network._model = model
        return network

    # Other software

    def to_onnx(self, path: str | os.PathLike[str], *, columns: bool = False) -> None:
        """Write the network as an ONNX model, all or nothing (needs the package onnx).

        The input "X" is (rows, n_inputs), in the network's dtype and as `predict` takes
        it: the input scaling is part of the model. The outputs are those of a
        prediction. Of classes, "label", int64, is what `predict` returns, and
        "probabilities" (rows, n_outputs) what `predict_proba` returns; of quantities
        there is only "values" (rows, n_outputs). Of a network of dtype "bfloat16" the
        model is float32, and the operands of products are not rounded.

        With `columns`, the model takes a table as it is, and encodes it: for each
        column of the `schema` that is used there is an input (rows, 1) of its name,
        float64 for numbers, truth values (1 and 0) and dates (seconds since 1970, of
        UTC), string for text. NaN and text that is unknown, such as "", are missing.
        "label" is then the name of the class.

        `fastnn.onnx.to_onnx` returns the model instead.

        Parameters
        ----------
        path : str or path-like
        columns : bool, default False

        Notes
        -----
        Opset 13, IR version 7, with the operators that ONNX Runtime has for the dtype.
        The number of rows is free. `Dropout` is left out; `BatchNorm` and the input
        scaling are folded into the weights next to them, unless that would cost
        accuracy: a shift of several standard deviations is added before the first layer
        instead.

        Raises
        ------
        ImportError
            The package onnx is absent.
        OSError
            The file cannot be written; an old one is unchanged.
        ValueError
            The weights are more than the 2 GB that an ONNX file holds, or there is no
            schema for `columns`.
        """
        from ._core.exchange.files import write_atomically
        from ._core.exchange.onnx.model import make_onnx

        model = make_onnx(self._model.state(include_optimizer=False), columns)
        write_atomically(path, model.SerializeToString(deterministic=True))

    @classmethod
    def from_onnx(
        cls,
        model: str | os.PathLike[str] | bytes | Any,
        *,
        output: str | None = None,
        loss: str | Loss | None = None,
        optimizer: str | Optimizer = "adam",
        dtype: DTypeLike | None = None,
        seed: int | None = None,
        backend: str = "native",
        num_threads: int | None = None,
    ) -> Network:
        """Read an ONNX model that is a multilayer perceptron (needs the package onnx).

        `predict_proba` then returns what the model's output is, but of a model that
        ends with ``LogSoftmax`` the probabilities, not their logarithms. Understood are
        ``Gemm``, ``MatMul``, sums and products with constants, ``BatchNormalization``,
        ``LayerNormalization``, ``Scaler`` and the 13 activations, as operators or
        composed of others as PyTorch, skl2onnx and `to_onnx` write them. ``Dropout``,
        ``Identity``, ``Cast``, ``Flatten``, an ``Imputer`` of NaN, which networks
        refuse, and branches that end in labels are left out; a fixed number of rows
        becomes any. Before ``Flatten`` or ``Reshape``, rows of several dimensions may
        only pass through what takes each value on its own.

        Parameters
        ----------
        model : str, path-like, bytes or onnx.ModelProto
            A file, its content, or what onnx has read. No code in it is run. Tensors of
            a file may lie in others in its folder or below, where `torch.onnx.export`
            writes them; no link may lead out of it.
        output : str, optional
            The name of the output to predict, if more than one has floating-point
            numbers.
        loss : str or Loss, optional
            By default what the graph ends with tells: softmax and ``LogSoftmax`` are
            those of "softmax_cross_entropy", sigmoid of "binary_cross_entropy", exp of
            "poisson", anything else is "mse". For a model that returns raw outputs
            (logits), as PyTorch's classifiers do, name the loss: `decision_function` is
            then what the model's output is.
        optimizer, seed, backend, num_threads
            As for `Network`.
        dtype : {"float32", "float64"}, optional
            By default that of the model's weights.

        Raises
        ------
        ImportError
            The package onnx is absent.
        ModelFormatError
            The file is no ONNX model, is damaged, or has something else than described,
            which is named.
        OSError
            The file cannot be read.
        TypeError, ValueError
            Another argument is not as described.
        """
        from ._core.exchange.onnx.model import read_onnx
        from ._core.exchange.stack import Options

        state = read_onnx(model, output, loss, Options(optimizer, dtype, seed))
        return cls._of(Model.from_state(state, backend, num_threads))

    def to_torch(self) -> Any:
        """Return a ``torch.nn.Sequential`` with the same names and weights.

        Its output is that of `decision_function`: raw outputs (logits), as PyTorch's
        losses expect them; with a `target_scale` what `predict` returns, by a module
        "target". It is in evaluation mode; layers that fastnn does not train have
        ``requires_grad`` False. The module's ``state_dict()`` has the names and values
        of `state_dict`, which needs no package, and fits `load_state_dict`; an input
        scaling is a module before the others, named "input", without a state. Of
        a network of dtype "bfloat16" it has the float32 weights, and does not round the
        operands of products.
        """
        from ._core.exchange.torch import make_module

        return make_module(self._model.state(include_optimizer=False))

    @classmethod
    def from_torch(
        cls,
        module: Any,
        *,
        loss: str | Loss | None = None,
        optimizer: str | Optimizer = "adam",
        dtype: DTypeLike | None = None,
        seed: int | None = None,
        backend: str = "native",
        num_threads: int | None = None,
    ) -> Network:
        """Return the network that a ``torch.nn.Sequential`` is (needs torch).

        Understood are ``Linear``, ``Dropout``, ``BatchNorm1d``, ``LayerNorm``, the
        modules of the 13 activations, ``Flatten`` and ``Identity``,
        `fastnn.torch.InputScaling` and `fastnn.torch.Scale`, and ``nn.Sequential``
        within. Parameters that need no gradient make a layer that is not trainable. A
        module in several places becomes a layer in each. Nothing is shared: neither
        with the module nor between such layers, which training may make different.

        Parameters
        ----------
        module : torch.nn.Sequential
        loss : str or Loss, optional
            By default what the last module tells: ``Softmax`` and ``LogSoftmax`` are
            those of "softmax_cross_entropy", ``Sigmoid`` is that of
            "binary_cross_entropy", anything else is "mse". A classifier that returns
            raw outputs (logits) looks like a regression: name its loss. Without it,
            several raw outputs warn.
        optimizer, seed, backend, num_threads
            As for `Network`.
        dtype : {"float32", "float64"}, optional
            By default that of the module's weights.

        Raises
        ------
        TypeError
            The module is no ``nn.Sequential``, or has a module that fastnn does not
            have, hooks, or a ``forward`` of its own.
        ValueError
            A module has an option that fastnn does not have, only some of its
            parameters need gradients, or an argument is wrong: `loss`, where
            ``LogSoftmax`` says another.
        """
        from ._core.exchange.stack import Options
        from ._core.exchange.torch import read_module

        state = read_module(module, loss, Options(optimizer, dtype, seed))
        return cls._of(Model.from_state(state, backend, num_threads))

    def to_sklearn(self, classes: ArrayLike | None = None) -> Any:
        """Return a fitted MLPClassifier or MLPRegressor (needs scikit-learn).

        It has the weights and predicts the same; its solver and other settings are
        scikit-learn's defaults. `Dropout` is left out, `BatchNorm` and the input
        scaling are folded into the weights. Of dtype "bfloat16" it has the float32
        weights, and does not round the operands of products.

        Parameters
        ----------
        classes : array_like (n_classes,), optional
            The labels that the estimator predicts for 0, 1, ...; by default these. Not
            of several labels, whose columns have 0 and 1.

        Raises
        ------
        ImportError
            scikit-learn is absent, or older than 1.7 where the loss is "poisson".
        ValueError
            `classes` is not as described, or
            scikit-learn has no such network: it has one activation of identity,
            sigmoid, tanh and relu in all hidden layers, and only dense layers.
        """
        from ._core.exchange.sklearn import write_estimator

        return write_estimator(self._model.state(include_optimizer=False), classes)

    @classmethod
    def from_sklearn(
        cls,
        estimator: Any,
        *,
        optimizer: str | Optimizer = "adam",
        dtype: DTypeLike | None = None,
        seed: int | None = None,
        backend: str = "native",
        num_threads: int | None = None,
    ) -> Network:
        """Return the network that a fitted MLPClassifier or MLPRegressor is.

        Of scikit-learn, or of `fastnn.sklearn` with all its activations; or a
        ``Pipeline`` of ``StandardScaler``, ``MinMaxScaler``, ``MaxAbsScaler`` or
        ``RobustScaler`` and one of these.

        It predicts the same, but labels 0, 1, ... for ``estimator.classes_``. Of two
        classes, the network has one output and the loss "binary_cross_entropy".

        Parameters
        ----------
        estimator : MLPClassifier, MLPRegressor or Pipeline
            Fitted.
        optimizer, seed, backend, num_threads
            As for `Network`.
        dtype : {"float32", "float64"}, optional
            By default that of the estimator's weights.

        Raises
        ------
        TypeError, ValueError
            The estimator is something else or not fitted, or an argument is wrong.
        """
        from ._core.exchange.sklearn import read_estimator

        state = read_estimator(estimator, optimizer, dtype, seed)
        return cls._of(Model.from_state(state, backend, num_threads))

    def to_c(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        self_test: bool = False,
        rows: ArrayLike | None = None,
    ) -> None:
        """Write the network as a C header: weights and code, without dependencies.

        ``NAME_predict(x, out)`` reads a row as `predict_one` takes it (the input
        scaling is in it) and writes what `predict_proba` returns, in the network's
        dtype; of classes, ``NAME_label(out)`` is the label. It is C99, allocates
        nothing, and needs only <math.h>. Of dtype "bfloat16" all of it is float: the
        operands of products are not rounded, nor in what the self-test expects.

        If all columns of the `schema` are numbers or truth values (1 and 0), and are
        encoded, ``NAME_predict_row(row, out)`` takes them as they are, double, in the
        order of ``NAME_column_names``; NaN is missing.

        Parameters
        ----------
        path : str or path-like
            Ends with ".h".
        name : str, optional
            What all names in the header begin with; by default that of the file.
        self_test : bool, default False
            Also write ``NAME_test.c`` next to it, a program that compares 16
            predictions with those of this network: it returns 0 if they agree to 1e-6
            of the largest.
        rows : array_like (n, n_inputs), optional
            What the self-test predicts; by default rows that are standard normal once
            they are scaled.

        Raises
        ------
        OSError
            A file cannot be written; an old one is unchanged.
        TypeError, ValueError
            An argument is not as described.

        Examples
        --------
        >>> import os, tempfile, fastnn
        >>> net = fastnn.Network([4, 8, 3], seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.to_c(os.path.join(folder, "iris.h"), self_test=True)
        ...     sorted(os.listdir(folder))
        ['iris.h', 'iris_test.c']
        """
        from ._core.exchange.c.export import write_c

        state = self._model.state(include_optimizer=False)
        write_c(state, path, name, self_test, rows)

    # Description

    @property
    def plan(self) -> Plan:
        """Layers, loss, optimizer and dtype, as data."""
        return self._model.engine.plan

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the weights."""
        return np.dtype(self.plan.array_dtype)

    @property
    def backend(self) -> str:
        """Which engine computes: "native" or "numpy"."""
        return self._model.backend

    @property
    def seed(self) -> int:
        """The seed of the initial weights and of the shuffles."""
        return self._model.seed

    @property
    def n_parameters(self) -> int:
        """The number of weights and biases."""
        return self.plan.n_parameters

    @property
    def step(self) -> int:
        """The number of updates made, which a schedule of the learning rate is given.

        It goes on from fit to fit; see `optimizer` for what sets it to 0.
        """
        return self._model.engine.step

    @property
    def epoch(self) -> int:
        """The number of epochs completed."""
        return self._model.epoch

    @property
    def cursor(self) -> int:
        """The rows that an interrupted epoch has behind it; 0 between epochs."""
        return self._model.progress.cursor[0]

    @property
    def num_threads(self) -> int:
        """The most threads the engine may use."""
        return self._model.engine.num_threads

    @num_threads.setter
    def num_threads(self, value: int) -> None:
        self._model.set_num_threads(value)

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer; assign another one to change, say, the learning rate.

        If the new one keeps the same arrays per weight (see
        `fastnn.optimizers.Optimizer.state_names`), state and `step` go on, and so does
        a schedule of the learning rate. Else the state starts afresh, and `step` at 0.
        """
        return self.plan.optimizer

    @optimizer.setter
    def optimizer(self, value: str | Optimizer) -> None:
        self._model.set_optimizer(value)

    @property
    def schema(self) -> Schema | None:
        """The table that the network knows: a `fastnn.Schema`, or None.

        A fit on a table with named columns (of pandas, polars, pyarrow, a dict of
        arrays) makes it, unless there is one already; it can be assigned before, and is
        saved with the model. From then on, whatever takes X takes a table and finds the
        columns by their **names**, in any order; a plain array has the inputs as the
        schema encodes them, and is refused where it cannot be. A fit on columns of
        numbers takes them as they are.

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, 2.0, 8.0, 9.0], "colour": ["red", "blue"] * 2}
        >>> net = fastnn.Network([2, 8, 2], seed=0)
        >>> history = net.fit(table, [0, 0, 1, 1], epochs=100, verbose=0)
        >>> net.schema.input_names
        ('size', 'colour=blue|red')
        >>> net.predict({"colour": ["red", "green"], "size": [1.5, 8.5]})
        array([0, 1])
        """
        return self._model.schema

    @schema.setter
    def schema(self, value: Schema | None) -> None:
        self._model.set_schema(value)

    @property
    def target_scale(self) -> str | tuple[Array, Array] | None:
        """Mean and deviation of the targets, (n_targets,); "auto" before a fit.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([1, 1], loss="mse", target_scale="auto", seed=0)
        >>> history = net.fit([[0], [1]], [900, 1100], epochs=1, verbose=0)
        >>> net.target_scale
        (array([1000.]), array([100.]))
        """
        return None if (of := self._model.targets) is None else of.scale

    @property
    def target_range(self) -> str | tuple[Array, Array] | None:
        """Least and greatest prediction, (n_targets,); "auto" before a fit."""
        return None if (of := self._model.targets) is None else of.range

    @property
    def stop_training(self) -> bool:
        """Whether `fit` ends after this epoch: a callback sets it to True."""
        return self._model.stop_training

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._model.stop_training = value

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            hint = f"; see {ELSEWHERE[name]}" if name in ELSEWHERE else ""
            text = f"'Network' object has no attribute {name!r}{hint}"
            raise AttributeError(text, name=name, obj=self)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, as data; those that a network was made of, or like them."""
        return self.plan.layers

    def activations(self, X: ArrayLike, layer: int | None = None) -> Any:
        """Return what the layers pass on in prediction, [(n, n_outputs), ...].

        Of all layers, or of one as an array: its number, from the end if negative.
        `Dropout` passes on what it is given. They are worked out by the reference, so
        the last are those of `decision_function` up to rounding.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([4, 8, 3], seed=0)
        >>> [outputs.shape for outputs in net.activations(np.eye(4))]
        [(4, 8), (4, 3)]
        >>> net.activations(np.eye(4), layer=0).min() >= 0  # of ReLU
        np.True_
        """
        from ._core.model.look import activations

        return activations(self._model, X, layer)

    def __getitem__(self, index: int | slice) -> Any:
        """Return a layer, or a network of several in a row: ``net[:2]``.

        The new network has copies of the weights, and a fresh optimizer. If the first
        layer is one of them, it has the input scaling and the schema; if the last is,
        the loss, else "mse". One of them is a `Dense`. ``[*net.layers[:2]]`` are layers
        for another network, with weights of its own.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([4, 8, 3], seed=0)
        >>> net[0], net[:1](np.eye(4)).shape
        (Dense(units=8, activation='relu'), (4, 8))
        >>> other = fastnn.Network([4, *net.layers[:1], fastnn.Dense(2)], seed=1)
        >>> other.set_weights([*net[:1].get_weights(), *other.get_weights()[1:]])
        """
        if not isinstance(index, slice):
            return self.plan.layers[index]
        from ._core.model.look import part_of

        return self._of(part_of(self._model, index))

    def summary(self) -> str:
        """Return a table of the layers as text, to be printed.

        Examples
        --------
        >>> import fastnn
        >>> print(fastnn.Network([784, 128, 10], seed=0).summary())
        layer  type   inputs  outputs  activation  parameters
        0      dense     784      128  relu           100,480
        1      dense     128       10  identity         1,290
        101,770 parameters (float32, 0.41 MB), softmax_cross_entropy, adam
        """
        from ._core.model.summary import summarize

        return summarize(self.plan)

    def _repr_html_(self) -> str:
        from ._core.model.summary import summary_html

        return summary_html(self.plan)

    def __repr__(self) -> str:
        plan = self.plan
        layers = ", ".join(map(repr, (plan.n_inputs, *plan.layers)))
        return (
            f"Network([{layers}], loss={plan.loss!r}, optimizer={plan.optimizer!r}, "
            f"dtype={plan.dtype!r}, seed={self.seed})"
        )


def fit_many(
    networks: Iterable[Network],
    X: ArrayLike,
    y: ArrayLike,
    each: Iterable[Mapping[str, Any]] | None = None,
    *,
    verbose: int = 1,
    num_threads: int | None = None,
    **options: Any,
) -> list[History]:
    """Fit many networks at the same time, each with the bits of its own `Network.fit`.

    Threads take whole networks, those with the most work first, and no thread waits for
    another one; once fewer networks are left than threads, a network has several. X is
    shared. Results depend neither on the number of threads nor on the order.

    Parameters
    ----------
    networks : sequence of Network
        Different objects, of any layers, losses, optimizers and seeds.
    X, y : array_like or table
        As for `Network.fit`, for all networks.
    each : sequence of dict, optional
        For each network, arguments of `Network.fit` that replace those of all:
        ``{"rows": train, "rows_val": test, "epochs": 20}``. Callbacks belong here:
        two networks cannot have the same object.
    verbose : {0, 1}, default 1
        Silent, or one progress bar over all networks.
    num_threads : int, optional
        The most threads at work; None for all that this process may use. Within a
        callback of another `fit_many` it is 1.
    **options
        Arguments of `Network.fit` for all networks, such as `epochs`, `batch_size`,
        `sample_weight`, `X_val`, `metrics`; `time_limit` is that of each of them.

    Returns
    -------
    list of History
        In the order of the networks. Where a fit failed, `History.error` is the
        exception and `History.history` has the epochs before it; the others go on, and
        a RuntimeWarning counts the failures.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described; nothing has changed.
    Exception
        All fits failed: the error of the first network.

    Notes
    -----
    Ctrl-C stops all networks on a step boundary, within 0.5 s unless one of them is
    being validated; the same call with ``resume=True`` goes on with those that have
    begun. Callbacks and functions as metrics are called in the thread that fits their
    network, one at a time for each network. Networks of the backend "numpy" are fitted
    one after the other.

    Examples
    --------
    Five folds, of which each validates on the rows that the others train on:

    >>> import numpy as np, fastnn
    >>> X, y, _, _ = fastnn.datasets.digits()
    >>> folds = np.arange(len(y)) % 5
    >>> networks = [fastnn.Network([64, 32, 10], input_scale=1 / 16) for _ in range(5)]
    >>> histories = fastnn.fit_many(
    ...     networks,
    ...     X,
    ...     y,
    ...     [{"rows": folds != i, "rows_val": folds == i} for i in range(5)],
    ...     epochs=20,
    ...     verbose=0,
    ... )
    >>> min(h.history["val_accuracy"][-1] for h in histories) > 0.8
    True
    """
    from ._core.training.many import fit_all, make_fits

    given: list[Any] = [*networks] if isinstance(networks, Iterable) else [networks]
    for i, network in enumerate(given):
        if not isinstance(network, Network):
            raise TypeError(f"networks[{i}] must be a fastnn.Network, got {network!r}")
    return fit_all(make_fits(given, X, y, each, options), num_threads, verbose)


def model_of(network: Network) -> Model:
    """Return what a network is the face of, for what its methods do not give."""
    return network._model


def network_of(model: Model) -> Network:
    """Return a network that is the face of a model."""
    return Network._of(model)
