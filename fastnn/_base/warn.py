"""Warnings that point at the user's line, however deep in fastnn they arise."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn_user"]

# scikit-learn's decorators surround the methods of the estimators.
_SKIPPED = (__name__.partition(".")[0], "sklearn")


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """``warnings.warn``, at the line outside fastnn that led here.

    The first frame that does not run a module of fastnn or scikit-learn is taken, so
    that a function may move or be split without its warnings pointing elsewhere.
    """
    level = 1
    frame = sys._getframe()
    while frame.f_back is not None and _is_skipped(frame.f_globals.get("__name__")):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)


def _is_skipped(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in _SKIPPED
