"""What a wheel for Linux must be, besides tested: `python check_wheel.py FILE.whl`.

Below 2 MB; its binaries need the C library alone, in the version that the wheel's tag
promises at most; no path to libraries of the machine that built them.
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LIBRARIES = {"libc", "libm", "libpthread", "ld-linux-x86-64", "ld-linux-aarch64"}
TAG = re.compile(r"_manylinux_2_(\d+)_|-manylinux_2_(\d+)_")


def readelf(option: str, path: Path) -> str:
    command = ["readelf", "-W", option, path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def faults(wheel: Path) -> list[str]:
    """Whatever is wrong with it, a line each."""
    found = [] if wheel.stat().st_size < 2e6 else [f"{wheel.stat().st_size} bytes"]
    promised = [int(a or b) for a, b in re.findall(TAG, wheel.name)]
    if not promised:
        found.append("no tag of manylinux")
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        binaries = sorted(Path(folder).rglob("*.so*"))
        if len(binaries) != 2:
            found.append(f"{len(binaries)} binaries, expected engine and functions")
        for path in binaries:
            dynamic = readelf("--dynamic", path)
            needed = set(re.findall(r"\(NEEDED\).*\[(.*?)\.so", dynamic))
            if not needed <= LIBRARIES:
                found.append(f"{path.name} needs {sorted(needed - LIBRARIES)}")
            if re.search(r"\((RPATH|RUNPATH)\)", dynamic):
                found.append(f"{path.name} has a path to libraries")
            versions = re.findall(r"GLIBC_2\.(\d+)", readelf("--version-info", path))
            newest = max(map(int, versions))
            if promised and newest > min(promised):
                found.append(f"{path.name} needs glibc 2.{newest}")
    return found


if __name__ == "__main__":
    lines = faults(Path(sys.argv[1]))
    print(*lines or [f"{Path(sys.argv[1]).name} is as it should be"], sep="\n")
    sys.exit(bool(lines))
