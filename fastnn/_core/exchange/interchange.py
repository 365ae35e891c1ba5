"""The methods of `Network` that exchange networks with other software.

The work is done in `onnx.py`, `torch.py`, `_sklearn_interchange.py` and `_c_export.py`,
which are imported when they are needed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from fastnn.losses import Loss
    from fastnn.network import Network
    from fastnn.optimizers import Optimizer

__all__ = ["Interchange"]


class Interchange:
    """What a network can be made of, and made into."""

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network as an ONNX model (needs the package onnx).

        Its input "X" (rows, n_inputs) is what `predict` takes; its outputs are "label"
        and "probabilities", or "values" of losses of quantities. See
        `fastnn.onnx.to_onnx`. The file is written all or nothing.

        Raises
        ------
        ImportError
            The package onnx is absent.
        OSError
            The file cannot be written; an old one is unchanged.
        ValueError
            The weights are more than the 2 GB that an ONNX file holds.
        """
        from fastnn.onnx import to_onnx

        from .files import write_atomically

        model = to_onnx(cast("Network", self))
        write_atomically(path, model.SerializeToString(deterministic=True))

    @classmethod
    def from_onnx(
        cls,
        path: str | os.PathLike[str],
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

        No code in the file is run. See `fastnn.onnx.from_onnx` for the arguments, the
        errors and what is understood.
        """
        from fastnn.onnx import from_onnx

        return from_onnx(
            path,
            output=output,
            loss=loss,
            optimizer=optimizer,
            dtype=dtype,
            seed=seed,
            backend=backend,
            num_threads=num_threads,
        )

    def to_torch(self) -> Any:
        """Return the network as a ``torch.nn.Sequential`` (needs the package torch).

        Its output is `decision_function`; see `fastnn.torch.to_torch`. For the weights
        alone there is `state_dict`, which needs no package.
        """
        from fastnn.torch import to_torch

        return to_torch(cast("Network", self))

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

        See `fastnn.torch.from_torch`.
        """
        from fastnn.torch import from_torch

        return from_torch(
            module,
            loss=loss,
            optimizer=optimizer,
            dtype=dtype,
            seed=seed,
            backend=backend,
            num_threads=num_threads,
        )

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
        from .sklearn import write_estimator

        return write_estimator(cast("Network", self), classes)

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

        Of scikit-learn, or of `fastnn.sklearn` with all its activations.

        It predicts the same, but labels 0, 1, ... for ``estimator.classes_``. Of two
        classes, the network has one output and the loss "binary_cross_entropy".

        Parameters
        ----------
        estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
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
        from fastnn.network import Network

        from .sklearn import read_estimator

        state = read_estimator(estimator, optimizer, dtype, seed)
        return Network._from_state(state, backend, num_threads)

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

        Parameters
        ----------
        path : str or path-like
            Ends with ".h".
        name : str, optional
            What all names in the header begin with; by default that of the file.
        self_test : bool, default False
            Also write ``NAME_test.c`` beside it, a program that compares 16 predictions
            with those of this network: it returns 0 if they agree to 1e-6 of the
            largest.
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
        from .c import export as _c_export
        from .files import write_atomically

        folder, file = os.path.split(os.fspath(path))
        stem, suffix = os.path.splitext(file)
        if suffix != ".h":
            raise ValueError(f"path must end with '.h', got {os.fspath(path)!r}")
        if rows is not None and not self_test:
            raise ValueError("rows is given, but self_test is False")
        if self_test and (not file.isprintable() or {*file} & {*'"\\'}):
            raise ValueError(
                "path must have a file name that #include can have, without quotes, "
                f"backslashes and line ends, got {file!r}"
            )
        network = cast("Network", self)
        header = _c_export.make_header(network, stem if name is None else name)
        if self_test:
            test = _c_export.make_self_test(
                network, stem if name is None else name, file, rows
            )
        write_atomically(path, header.encode())
        if self_test:
            test_path = os.path.join(folder, f"{stem}_test.c")
            write_atomically(test_path, test.encode())
