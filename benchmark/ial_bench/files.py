"""Files that are either whole or absent.

Everything the harness writes goes to a temporary name beside its target, is flushed to the disk and then
renamed, so that a reader, a crash or a ``kill -9`` never meets half a file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ial_bench.errors import ConfigError, DataError, StorageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES = 1 << 30
"""Largest file that is read as a whole, where no smaller limit is known."""
_MENDS = {
    errno.ENOSPC: "free some space on that disk, or point the command at another one; finished work is kept",
    errno.EFBIG: "the system allows no file of that size here; raise the limit, or point the command at another disk",
    errno.EDQUOT: "your disk quota is used up; free some space, or point the command at another disk",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "that disk is read-only; choose another one",
    errno.ENOTDIR: "a part of that path is a file; choose another folder",
    errno.EISDIR: "a folder stands where a file is needed; move it away, or choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EEXIST: "a file stands where a folder is needed; choose another folder",
    errno.EIO: "the disk failed; look after it, then the same command goes on from what is finished",
    errno.ESTALE: "the network disk went away; mount it anew, then the same command goes on from what is finished",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or work with fewer --workers",
    errno.ENFILE: "the system has too many files open; close some",
}
_FAILURES = {
    errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE
}  # fmt: skip
"""Errors that only the disk or the system causes, whatever was being done."""
_MOST_CAUSES = 20

_TEMPORARY = re.compile(r"\..{1,60}\.writing(-[a-z0-9_]{8})?\.tmp", re.DOTALL)

# Safe and in POSIX form as it is, except for a leading ``./``. Ten times faster than pathlib.
_ORDINARY_PATH = re.compile(r"(?:\./)?([^/\\\0.\s][^/\\\0]*(?:/[^/\\\0.][^/\\\0]*)*)")


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a full, read-only or forbidden disk into a :class:`StorageError` naming `path`."""
    try:
        yield
    except Exception as error:
        number = _error_number(error)
        if number not in _MENDS:
            raise
        raise StorageError(f"cannot write {path}: {os.strerror(number)}", _MENDS[number]) from error


def check_storage(error: BaseException, place: Path) -> None:
    """Raise where the disk or the system caused an error, however often that was wrapped.

    Args:
        error: the error that was caught.
        place: the path that was worked on.

    Raises:
        StorageError: the disk is full or failed, or the system is out of open files.
    """
    cause: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if cause is None:
            return
        number = _error_number(cause)
        if number in _FAILURES:
            what = getattr(cause, "filename", None) or place
            raise StorageError(f"cannot go on with {what}: {os.strerror(number)}", _MENDS[number]) from error
        cause = cause.__cause__ or cause.__context__


def _error_number(error: BaseException) -> int:
    """The errno of an error, 0 if it has none. Libraries in Rust, such as safetensors, put it in their text."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(found[1]) if found else 0


def make_folder(path: Path) -> Path:
    """`path`, created with its parents.

    Raises:
        StorageError: it cannot be created.
    """
    with storage_errors(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # a parent that cannot hold folders, such as one of /proc
            raise StorageError(f"cannot make the folder {path}: {error.strerror}", "choose another folder") from error
    return path


def check_writable(folder: Path) -> None:
    """Make `folder` and try to write there, so that hours of work do not end at a closed door.

    Raises:
        StorageError: it cannot be written to.
    """
    make_folder(folder)
    with storage_errors(folder), tempfile.TemporaryFile(dir=folder):
        pass


def check_target(target: Path) -> None:
    """Refuse to write where something other than a file stands.

    Files are written by renaming: a link would lose the file that it leads to, and a device would be gone.

    Raises:
        StorageError: `target` is a link, a folder, a device, a pipe or a socket.
    """
    try:
        mode = target.lstat().st_mode
    except OSError:
        return  # nothing is there; any other fault shows when it is written
    if stat.S_ISLNK(mode):
        raise StorageError(
            f"cannot write {target}: it is a link, to {target.readlink()}",
            "name the file that it leads to, or remove the link",
        )
    if stat.S_ISDIR(mode):
        raise StorageError(f"cannot write {target}: {os.strerror(errno.EISDIR)}", _MENDS[errno.EISDIR])
    if not stat.S_ISREG(mode):
        raise StorageError(f"cannot write {target}: it is a device, a pipe or a socket", "name a file")


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path in `target`'s folder, synced and renamed to `target` when the block ends well.

    Raises:
        StorageError: as `check_target`, or the disk is full or cannot be written to.
    """
    check_target(target)
    make_folder(target.parent)
    with storage_errors(target):
        handle, temporary = _begun(target)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)


def _begun(target: Path) -> tuple[int, Path]:
    """An empty temporary file for `target`, and the open handle that holds its lock while it is in use.

    The name is always the same, so that the next writer takes over the file that a killed one left. Another name is
    used while another process writes there, and where the file system has no locks.
    """
    usual = target.with_name(f".{target.name[:60]}.writing.tmp")
    with contextlib.suppress(OSError):
        handle = os.open(usual, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        if _lock(handle) and _is_own(handle, usual):
            os.ftruncate(handle, 0)
            return handle, usual
        os.close(handle)
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:60]}.writing-", suffix=".tmp", dir=target.parent)
        _lock(handle)
        if _is_own(handle, Path(name)):
            return handle, Path(name)
        os.close(handle)  # swept in the moment before it was locked


def _is_own(handle: int, path: Path) -> bool:
    """Whether an open file still lies at `path` and nowhere else, and belongs to this user."""
    status = os.fstat(handle)
    with contextlib.suppress(OSError):
        return (
            os.path.samestat(status, path.lstat())
            and stat.S_ISREG(status.st_mode)
            and status.st_nlink == 1
            and status.st_uid == os.geteuid()
        )
    return False


def _lock(handle: int) -> bool:
    """Whether a file could be locked: False where another process has it, or its disk knows no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def sweep(folder: Path) -> None:
    """Remove temporary files that killed writers left in a folder or below it: those whose lock nobody holds.

    Files in use, files that cannot be locked or removed, and links stay.
    """
    for path in folder.rglob(".*.tmp"):
        if not _TEMPORARY.fullmatch(path.name):
            continue
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _lock(handle) and _is_own(handle, path):
                    path.unlink()
            finally:
                os.close(handle)


def write_bytes(target: Path, data: bytes) -> None:
    """Write `data` to `target`, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_text(target: Path, text: str) -> None:
    """Write `text` to `target` as UTF-8, whole or not at all."""
    write_bytes(target, text.encode())


def check_regular(path: Path) -> None:
    """Refuse a pipe, socket or device: reading it may block for ever or fill the memory.

    Raises:
        DataError: it is one. A missing file or a folder is left to whoever opens it.
    """
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise DataError(f"{path} is no file, but {_kind(mode)}", "write what it gives into a file, and name that")


def read_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a file, after a check of its size.

    Args:
        path: the file.
        most: limit in bytes.

    Raises:
        DataError: missing, no file, or too large.
    """
    try:
        # Non-blocking: opening a pipe that nobody writes to would wait.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:  # a file object would take longer than reading a record
            status = os.fstat(handle)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):  # reading refuses a folder
                raise DataError(f"{path} is no file, but {_kind(status.st_mode)}", "name a file")
            if status.st_size > most:
                raise DataError(f"{path} has {status.st_size:,} bytes, more than the {most:,} that it may have")
            data = b""
            while part := os.read(handle, status.st_size + 1 - len(data)):
                data += part
            return data
        finally:
            os.close(handle)
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_toml(path: Path) -> dict[str, Any]:
    """The tables in `path`.

    Raises:
        DataError: the file is missing, not UTF-8 or not TOML.
    """
    try:
        return tomllib.loads(read_file(path).decode())
    except (ValueError, RecursionError) as error:  # among them TOMLDecodeError and UnicodeDecodeError
        raise DataError(f"{path} is not valid TOML: {error}") from error


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        DataError: it is a pipe, socket or device.
        OSError: it cannot be read.
    """
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)


def _sha256(file: Any) -> str:
    total = hashlib.sha256()
    while block := file.read(1 << 20):
        total.update(block)
    return total.hexdigest()


def safe_relative(text: str) -> str:
    """A relative path from a foreign file, in POSIX form, that is sure to stay below its folder.

    Raises:
        DataError: the path is empty, absolute or climbs out of the folder with ``..``.
    """
    if ordinary := _ORDINARY_PATH.fullmatch(text):
        return ordinary[1]
    path = PurePosixPath(text.replace("\\", "/"))
    if not text.strip() or path.is_absolute() or ".." in path.parts or "\0" in text or str(path) == ".":
        raise DataError(f"unsafe photo path {text!r}", "paths must lie below the images folder: no '..', not absolute")
    return str(path)


def checked_name(name: str, whose: str = "dataset") -> str:
    """`name`, if it is a valid name of a dataset or a method: folders are named after it.

    Raises:
        ConfigError: empty, or with characters that a folder's name should not have.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", name):
        raise ConfigError(f"{name!r} cannot be a {whose}'s name", f"use letters, digits and - . _ + such as my-{whose}")
    return name


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
