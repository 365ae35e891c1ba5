"""fastnn's number of threads, as threadpoolctl sees and limits it."""

import os
import sys
from typing import Any

from fastnn._base.version import __version__
from fastnn._core.native import engine

_shown: list[object] = []


def show_threads() -> None:
    """Register with threadpoolctl, once, if the program has imported it."""
    threadpoolctl: Any = sys.modules.get("threadpoolctl")
    if _shown or not hasattr(threadpoolctl, "register"):
        return

    class Controller(threadpoolctl.LibController):  # type: ignore
        user_api = internal_api = "fastnn"
        filename_prefixes = (os.path.basename(engine.__file__).lower(),)
        check_symbols = ("PyInit_engine",)

        def set_additional_attributes(self) -> None:
            # Without symbols it is not taken: a library of that name, of others.
            if self.filepath != os.path.realpath(engine.__file__):
                self.dynlib = None

        def get_version(self) -> str:
            return __version__

        def get_num_threads(self) -> int:
            return engine.get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            engine.set_num_threads(min(max(int(num_threads), 1), 256))

    _shown.append(Controller)
    threadpoolctl.register(Controller)
