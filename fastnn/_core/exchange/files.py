"""Writing files so that a crash leaves the old content or the new one; reading them.

Every file that fastnn saves for the user goes through `write_atomically`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from typing import BinaryIO

from fastnn._base.errors import ModelFormatError

__all__ = ["open_regular", "write_atomically"]

try:
    import fcntl
except ImportError:  # Windows, which neither renames nor removes an open file
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".fastnn-tmp"
_LONGEST = 100  # bytes of a name, of the 255 or fewer that a file system has
_ABANDONED = 600  # seconds after which a file is, where locks do not say so
_BINARY = getattr(os, "O_BINARY", 0)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Make `data` the content of a regular file, all or nothing, and durable.

    The data goes to a new file in the same folder, to the disk (fsync), and then takes
    the name (rename); the folder is synced last. A replaced file hands on its
    permission bits; a symbolic link stays and its target is replaced. Files that killed
    processes left behind on their way to the same path are removed.

    Raises
    ------
    OSError
        The path is something else than a regular file, or the system refuses a step.
        Up to the rename, the old file is unchanged.
    TypeError, ValueError
        The path is none, or has a null character.
    """
    path = os.path.realpath(os.fsdecode(path))
    folder, name = os.path.split(path)
    mode = _replaceable_mode(path)
    prefix = _temporary_prefix(name)
    _remove_leftovers(folder, prefix)
    temporary, fd = _create_temporary(folder, prefix)
    with contextlib.ExitStack() as opened:
        opened.callback(os.close, fd)  # and with it the lock
        try:
            if mode is not None and fcntl:
                os.fchmod(fd, mode)
            _write_all(fd, data)
            os.fsync(fd)
            if not fcntl:
                opened.close()
            os.replace(temporary, path)
        except BaseException:
            if not fcntl:
                opened.close()
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    if fcntl:
        _sync_folder(folder)


@contextlib.contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file to be read, with its size; ModelFormatError if it is not regular."""
    # A pipe must not block, nor a device be read without end.
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ModelFormatError("not a regular file")
        with open(fd, "rb", closefd=False) as file:
            yield file, status.st_size
    finally:
        os.close(fd)


def _replaceable_mode(path: str) -> int | None:
    """Permission bits of the file to be replaced; None if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        # A rename would put a file in the place of a device or pipe.
        raise OSError(errno.EINVAL, "not a regular file", path)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return stat.S_IMODE(status.st_mode)


def _temporary_prefix(name: str) -> str:
    """How temporary files of that name begin; they fit wherever the name does."""
    data = os.fsencode(name)
    if len(data) > _LONGEST:
        return f".{hashlib.sha256(data).hexdigest()[:32]}."
    return f".{name}."


def _create_temporary(folder: str, prefix: str) -> tuple[str, int]:
    """Create and lock a new file; the lock says that its writer is alive."""
    while True:
        temporary = os.path.join(folder, f"{prefix}{secrets.token_hex(8)}{_SUFFIX}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
        fd = os.open(temporary, flags, 0o666)
        try:
            _try_lock(fd)
            os.stat(temporary)
        except (BlockingIOError, FileNotFoundError):
            # Another writer took it for a leftover before the lock was set.
            os.close(fd)
            continue
        except BaseException:
            os.close(fd)
            os.unlink(temporary)
            raise
        return temporary, fd


def _remove_leftovers(folder: str, prefix: str) -> None:
    for entry in os.listdir(folder or "."):
        if entry.startswith(prefix) and entry.endswith(_SUFFIX):
            with contextlib.suppress(OSError):
                _remove_if_abandoned(os.path.join(folder, entry))


def _remove_if_abandoned(path: str) -> None:
    if not fcntl:
        if time.time() - os.lstat(path).st_mtime > _ABANDONED:
            os.unlink(path)
        return
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(path, flags)
    try:
        if _try_lock(fd):
            os.unlink(path)
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    """Lock a file, or raise BlockingIOError; False if the file system has no locks."""
    if not fcntl:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            return False
        raise
    return True


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _sync_folder(folder: str) -> None:
    fd = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
