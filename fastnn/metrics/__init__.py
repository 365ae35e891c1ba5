"""Metrics of predictions, by scikit-learn's definitions; arrays in, numbers out.

Where scikit-learn divides by zero and warns, precision, recall and F1 are 0 without a
warning (its ``zero_division=0``), and what has no value at all is NaN: the AUC if only
one class occurs, the R2 of a single row. `Network.fit` takes these functions by name.

| metric | from | of |
| --- | --- | --- |
| `accuracy`, `confusion_matrix`, `precision`, `recall`, `f1` | labels | classes |
| `top_k_accuracy`, `roc_auc`, `log_loss` | a score for each class | classes |
| `r2`, `mean_squared_error`, `mean_absolute_error` | values | quantities |

Functions here know arrays only, not networks.
"""

from ._labels import accuracy, confusion_matrix, f1, precision, recall
from ._scores import log_loss, roc_auc, top_k_accuracy
from ._values import mean_absolute_error, mean_squared_error, r2

__all__ = [
    "accuracy",
    "confusion_matrix",
    "f1",
    "log_loss",
    "mean_absolute_error",
    "mean_squared_error",
    "precision",
    "r2",
    "recall",
    "roc_auc",
    "top_k_accuracy",
]
