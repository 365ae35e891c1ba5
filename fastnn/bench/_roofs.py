"""The roofs of this machine: its multiply-adds a second, and its bytes a second.

Both are measured by the kernels of the active instruction set
(csrc/kernels/roofline.inc.h), so ``FASTNN_ISA=avx2`` shows AVX2's.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastnn._core.native.engine import _measure_roof

if TYPE_CHECKING:
    from fastnn._base.types import Array


__all__ = ["Level", "Roofs", "find_caches"]

_BLOCK = 1024  # bytes, FNN_BLOCK
_SECONDS, _ATTEMPTS = 0.001, 4
_LEAST_MEMORY, _MOST_MEMORY = 64 << 20, 1 << 30


@dataclass(frozen=True)
class Level:
    """A place where data may lie.

    Parameters
    ----------
    name : str
        "L1", "L2", "L3" or "memory".
    size : int
        In bytes; of the memory, of the array that is measured.
    shared : bool
        Whether several cores share it.
    """

    name: str
    size: int
    shared: bool

    def holds(self, size: int, threads: int) -> bool:
        """Whether `size` bytes, divided among the threads, fit in."""
        return self.name == "memory" or size <= self._total(threads)

    def measured_bytes(self, threads: int) -> int:
        """Return the size of the array measured: half a cache, or all of the memory."""
        return self.size if self.name == "memory" else self._total(threads) // 2

    def _total(self, threads: int) -> int:
        return self.size * (1 if self.shared else threads)


def find_caches(
    folder: Path = Path("/sys/devices/system/cpu/cpu0/cache"),
) -> list[Level]:
    """Return the data caches of the first core, the smallest first.

    Where the system does not say, 32 kB and 1 MB are assumed.
    """
    levels = []
    for index in sorted(folder.glob("index*")):
        try:
            read = {
                name: (index / name).read_text().strip()
                for name in ("level", "type", "size")
            }
        except OSError:
            continue
        size = re.fullmatch(r"(\d+)([KMG]?)", read["size"])
        if read["type"] == "Instruction" or size is None or int(size[1]) == 0:
            continue
        scale = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[size[2]]
        # L1 and L2 belong to one core: that its two hardware threads share them does
        # not count.
        shared = int(read["level"]) >= 3
        levels.append(Level(f"L{read['level']}", int(size[1]) * scale, shared))
    return levels or [Level("L1", 32 << 10, False), Level("L2", 1 << 20, False)]


class Roofs:
    """Measures one roof at a time: each method takes a few milliseconds.

    Memory is touched first by the calling thread, as a user's arrays are: on a machine
    with several memory nodes the bandwidth is that of one of them.
    """

    def __init__(self) -> None:
        caches = find_caches()
        most = max(_LEAST_MEMORY, min(4 * caches[-1].size, _MOST_MEMORY))
        self.levels = [*caches, Level("memory", most, True)]
        self._memory: Array | None = None
        self._repeats: dict[tuple[object, ...], int] = {}

    def level_of(self, size: int, threads: int) -> Level:
        """Return the first level that holds `size` bytes."""
        return next(level for level in self.levels if level.holds(size, threads))

    def flops(self, dtype: str, threads: int) -> float:
        """Return the flops per second of independent multiply-adds on registers."""
        return self._rate("multiply_add", dtype, threads, None)

    def bandwidth(self, how: str, level: Level, threads: int) -> float:
        """Return the bytes per second of a "read" or a "copy" (read and written)."""
        size = max(level.measured_bytes(threads), 8 * _BLOCK * threads)
        return self._rate(how, "float32", threads, self._array(size))

    def _array(self, size: int) -> Array:
        if self._memory is None or len(self._memory) < size + 64:
            self._memory = None
            # Written to, or all of it would be mapped to one page of zeros.
            self._memory = np.empty(size + 64, np.uint8)
            self._memory.fill(0)
        start = -self._memory.ctypes.data % 64
        return self._memory[start : start + size]

    def _rate(self, roof: str, dtype: str, threads: int, memory: Array | None) -> float:
        key = (roof, dtype, threads, 0 if memory is None else len(memory))
        if key not in self._repeats:
            # The clock, not the rate: only C knows how much work a repeat is.
            start = time.perf_counter()
            _measure_roof(roof, dtype, threads, 4, memory)  # and once before
            once = (time.perf_counter() - start) / 5
            self._repeats[key] = max(1, min(100_000, round(_SECONDS / once)))
        # The best of a few: a roof is what can be reached, and a disturbance, such as
        # another process on this core, only makes it seem lower.
        repeats = self._repeats[key]
        return max(
            _measure_roof(roof, dtype, threads, repeats, memory)
            for _ in range(_ATTEMPTS)
        )
